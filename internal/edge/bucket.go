package edge

import "hash/crc32"

const (
	buckets    = 10000
	lastBucket = buckets - 1
)

// Bucket places a key, such as the value of the cookie cutover_visitor, in one
// of 10,000 buckets. It is the same for ever: go gets the buckets below a route's
// weight.
func Bucket(key string) int {
	return int(crc32.ChecksumIEEE([]byte(key)) % buckets)
}
