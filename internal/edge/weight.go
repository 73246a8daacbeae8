package edge

import (
	"fmt"
	"strconv"
	"strings"
)

// Weight is the share of a route's visitors that go serves. It counts basis
// points, hundredths of a percent; people and JSON see a percentage.
type Weight int

// AllGo is the weight with which go serves everybody.
const AllGo Weight = 10000

const basisPoints = 100 // in a percent

// ParseWeight reads a percentage such as "25" or "25.5".
func ParseWeight(percent string) (Weight, error) {
	whole, decimals, found := strings.Cut(percent, ".")
	if !isDigits(whole) || found && !isDigits(decimals) {
		return 0, fmt.Errorf("%q is not a percentage from 0 to 100", percent)
	}
	if len(decimals) > 2 {
		return 0, fmt.Errorf("the percentage %s has more than two decimals", percent)
	}
	decimals += strings.Repeat("0", 2-len(decimals))
	points, err := strconv.Atoi(whole + decimals)
	if err != nil || Weight(points) > AllGo {
		return 0, fmt.Errorf("the percentage %s is over 100", percent)
	}
	return Weight(points), nil
}

// Percent is the weight as a number from 0 to 100.
func (w Weight) Percent() float64 {
	return float64(w) / basisPoints
}

// String is the percentage without a sign: "25.5".
func (w Weight) String() string {
	return strconv.FormatFloat(w.Percent(), 'f', -1, 64)
}

// Takes tells whether go serves the visitors in a bucket. A higher weight takes
// all that a lower one takes, so that raising it moves nobody back.
func (w Weight) Takes(bucket int) bool {
	return bucket < int(w)
}

// MarshalJSON writes the percentage as a number.
func (w Weight) MarshalJSON() ([]byte, error) {
	return []byte(w.String()), nil
}

// UnmarshalJSON reads a number that ParseWeight takes. It refuses null, which
// would otherwise mean 0.
func (w *Weight) UnmarshalJSON(text []byte) error {
	parsed, err := ParseWeight(string(text))
	if err != nil {
		return err
	}
	*w = parsed
	return nil
}

func (w Weight) valid() bool {
	return w >= 0 && w <= AllGo
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
