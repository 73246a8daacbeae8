package edge

import "hash/crc32"

const buckets = 10000

// Bucket places a visitor, the value of the cookie cutover_visitor, in one of
// 10,000 buckets. It is the same for ever: go gets the buckets below a route's
// weight.
func Bucket(visitor string) int {
	return int(crc32.ChecksumIEEE([]byte(visitor)) % buckets)
}
