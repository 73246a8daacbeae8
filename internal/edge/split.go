package edge

// Split is what tells the people of a route apart: whose bucket it is that the
// weight is compared with. All kinds are the same for ever, and raising a weight
// moves nobody back.
type Split string

const (
	// ByVisitor takes the cookie cutover_visitor, which everybody has.
	ByVisitor Split = ""
	// ByUserID takes the cookie user_id, so that a person is on one system in all
	// browsers; who has none, or none that is well-formed, is placed as a visitor.
	// Logging in or out can change the system.
	ByUserID Split = "user_id"
	// ByUserIDDigit takes the last digit of the cookie user_id: at 10 percent go
	// serves those that end in 0, at 50 those that end in 0 to 4. Between two tens
	// it serves as many as at the higher one. Who has no such digit is on python
	// below 100.
	ByUserIDDigit Split = "user_id_digit"
)

// Valid tells whether there is such a split.
func (s Split) Valid() bool {
	return s == ByVisitor || s == ByUserID || s == ByUserIDDigit
}

// String names the split, the default one too.
func (s Split) String() string {
	if s == ByVisitor {
		return "visitor"
	}
	return string(s)
}

// Bucket places a request by the values of its cookies cutover_visitor and
// user_id, "" where it has none.
func (s Split) Bucket(visitor, user string) int {
	switch {
	case s == ByUserIDDigit:
		if digit, found := lastDigit(user); found {
			return digit * buckets / 10
		}
		return lastBucket
	case s == ByUserID && isUser(user):
		return Bucket(user)
	default:
		return Bucket(visitor)
	}
}

// lastDigit is what a user id ends in, if that is a digit.
func lastDigit(user string) (digit int, found bool) {
	if user == "" {
		return 0, false
	}
	last := user[len(user)-1]
	return int(last - '0'), '0' <= last && last <= '9'
}
