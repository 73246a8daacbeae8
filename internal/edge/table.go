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
}

// Route is a part of the application. It has a weight, or a pin: the system
// that serves it whatever the weights are.
type Route struct {
	Name   string
	Prefix string
	Weight Weight
	Pin    System
}

// maxGeneration is the highest that a number in Lua tells from its neighbours.
const maxGeneration = 1<<53 - 1

const maxNameLength = 64

// Equal tells whether two tables say the same, in the same order.
func (t Table) Equal(other Table) bool {
	return t.Generation == other.Generation && t.Latched == other.Latched && t.Home == other.Home &&
		slices.Equal(t.Routes, other.Routes)
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
	case r.Pin == "" && !r.Weight.valid():
		err = fmt.Errorf("the weight %s is not a percentage from 0 to 100", r.Weight)
	case r.Pin != "" && !r.Pin.Valid():
		err = fmt.Errorf("it is pinned to %q, neither python nor go", r.Pin)
	case r.Pin != "" && r.Weight != 0:
		err = errors.New("it has both a pin and a weight")
	case latched && r.Weight != 0:
		err = errors.New("it has a weight above 0 in a latched table")
	}
	if err != nil {
		return fmt.Errorf("route %q: %w", r.Name, err)
	}
	return nil
}

func notInName(char rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", char)
}

// notInPrefix also tells octets that are not UTF-8.
func notInPrefix(char rune) bool {
	return char <= ' ' || char == 0x7f || char == utf8.RuneError || strings.ContainsRune(`"%?#\`, char)
}
