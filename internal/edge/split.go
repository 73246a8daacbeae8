package edge

// Split says what a visitor's bucket is made from.
type Split string

// The kinds of split.
const (
	ByVisitor     Split = ""
	ByUserID      Split = "user_id"
	ByUserIDDigit Split = "user_id_digit"
)
