// Package edge knows the routing table of the edge: what may stand in it, where
// it sends a request, and how it is applied and read back. The Lua in nginx/lua
// holds the same rules; the test of the edge image proves the two equal.
package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// System is one of the two implementations behind the edge.
type System string

// The legacy system, and the new one.
const (
	Python System = "python"
	Go     System = "go"
)

// Valid tells whether there is such a system.
func (s System) Valid() bool {
	return s == Python || s == Go
}

// Table says where requests go. While it is latched, every weight is 0. Its JSON
// form is the one that nginx reads, over its control server and from the saved
// copy.
type Table struct {
	Generation uint64  `json:"generation"`
	Latched    bool    `json:"latched"`
	Home       System  `json:"home"` // serves what no route matches
	Routes     []Route `json:"routes"`
	// Visitors that go to Go at any weight above 0, and only at 100:
	// "visitor:" and the 32 hexadecimal digits of their cookie, or "user:" and
	// the value of the cookie user_id. What is said of a visitor counts before
	// what is said of a user.
	First []string `json:"first,omitempty"`
	Last  []string `json:"last,omitempty"`
}

// Route is a part of the application. It has a weight, or a pin: the system
// that serves it whatever the weights are. Or it exists in Go alone and follows
// the page that asks for it: where the page is python's, the edge answers that
// the page has to be loaded anew. The route it names stands for the page of a
// request that does not say where it comes from. Only a route with a weight is
// split.
type Route struct {
	Name    string
	Prefix  string
	Weight  Weight
	By      Split
	Pin     System
	Follows string
}

// maxGeneration is the highest that a number in Lua tells from its neighbours.
const maxGeneration = 1<<53 - 1

const maxNameLength = 64

const (
	maxEntries    = 10000 // in first and last together
	maxUserLength = 64
	visitorLength = 32
)

// How entries of first and last begin.
const (
	visitorEntry = "visitor:"
	userEntry    = "user:"
)

// Equal tells whether two tables say the same, in the same order.
func (t Table) Equal(other Table) bool {
	return t.Generation == other.Generation && t.Latched == other.Latched && t.Home == other.Home &&
		slices.Equal(t.Routes, other.Routes) && slices.Equal(t.First, other.First) && slices.Equal(t.Last, other.Last)
}

// Validate says what is wrong with a table, if anything.
func (t Table) Validate() error {
	_, err := NewRouter(t)
	return err
}

func (t Table) validateHead() error {
	if t.Generation > maxGeneration {
		return fmt.Errorf("the generation %d is too high for the edge", t.Generation)
	}
	if !t.Home.Valid() {
		return fmt.Errorf("the home is %q, neither python nor go", t.Home)
	}
	return nil
}

// validateVisitors says what is wrong with first and last, if anything.
func (t Table) validateVisitors() error {
	if len(t.First)+len(t.Last) > maxEntries {
		return fmt.Errorf("first and last have more than %d entries", maxEntries)
	}
	listed := make(map[string]bool, len(t.First)+len(t.Last))
	for _, entries := range [][]string{t.First, t.Last} {
		for _, entry := range entries {
			if err := CheckVisitor(entry); err != nil {
				return err
			}
			if listed[entry] {
				return fmt.Errorf("first and last name %q twice", entry)
			}
			listed[entry] = true
		}
	}
	return nil
}

// CheckVisitor says what is wrong with an entry of first or last, if anything.
func CheckVisitor(entry string) error {
	visitor, ofVisitor := strings.CutPrefix(entry, visitorEntry)
	user, ofUser := strings.CutPrefix(entry, userEntry)
	if ofVisitor && isVisitor(visitor) || ofUser && isUser(user) {
		return nil
	}
	return fmt.Errorf("%q is neither \"visitor:\" with 32 hexadecimal digits nor \"user:\" with 1 to %d letters, digits, dashes and underscores",
		entry, maxUserLength)
}

// CheckName says what is wrong with the name of a route, if anything.
func CheckName(name string) error {
	// "-" is where the counters keep what no route matched.
	if name == "" || name == Unmatched || len(name) > maxNameLength || strings.ContainsFunc(name, notInName) {
		return fmt.Errorf("the route name %q is not 1 to %d letters, digits, dots, dashes and underscores",
			name, maxNameLength)
	}
	return nil
}

// CheckPrefix says what is wrong with the prefix of a route, if anything.
func CheckPrefix(prefix string) error {
	if !strings.HasPrefix(prefix, "/") {
		return fmt.Errorf("the prefix %q does not begin with a slash", prefix)
	}
	if strings.ContainsFunc(prefix, notInPrefix) {
		return fmt.Errorf(`the prefix %q holds white space or one of " %% ? # \`, prefix)
	}
	if strings.Contains(prefix, "//") {
		return fmt.Errorf("the prefix %q has an empty segment", prefix)
	}
	for segment := range segments(prefix) {
		if segment == "." || segment == ".." {
			return fmt.Errorf("the prefix %q has a dot segment", prefix)
		}
	}
	return nil
}

func (r Route) validate(latched bool) error {
	if err := CheckName(r.Name); err != nil {
		return err
	}
	err := CheckPrefix(r.Prefix)
	switch {
	case err != nil:
	case r.Follows != "":
		err = r.validateFollower()
	case r.Pin == "" && !r.Weight.valid():
		err = fmt.Errorf("the weight %s is not a percentage from 0 to 100", r.Weight)
	case r.Pin != "" && !r.Pin.Valid():
		err = fmt.Errorf("it is pinned to %q, neither python nor go", r.Pin)
	case r.Pin != "" && r.Weight != 0:
		err = errors.New("it has both a pin and a weight")
	case r.Pin != "" && r.By != ByVisitor:
		err = errors.New("it is pinned, and cannot be split by anything")
	case !r.By.Valid():
		err = fmt.Errorf("it is split by %q, neither user_id nor user_id_digit", string(r.By))
	case latched && r.Weight != 0:
		err = errors.New("it has a weight above 0 in a latched table")
	}
	if err != nil {
		return fmt.Errorf("route %q: %w", r.Name, err)
	}
	return nil
}

func (r Route) validateFollower() error {
	if r.Pin != "" || r.Weight != 0 {
		return errors.New("it follows another route and has a weight or a pin as well")
	}
	if r.By != ByVisitor {
		return errors.New("it follows another route, and cannot be split by anything")
	}
	return nil
}

func isVisitor(visitor string) bool {
	return len(visitor) == visitorLength && strings.Trim(visitor, "0123456789abcdefABCDEF") == ""
}

func isUser(user string) bool {
	return user != "" && len(user) <= maxUserLength && !strings.ContainsFunc(user, notInUser)
}

func notInUser(char rune) bool {
	return char == '.' || notInName(char)
}

func notInName(char rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", char)
}

// notInPrefix also tells octets that are not UTF-8.
func notInPrefix(char rune) bool {
	return char <= ' ' || char == 0x7f || char == utf8.RuneError || strings.ContainsRune(`"%?#\`, char)
}
