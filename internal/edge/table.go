// Package edge knows the routing table of the edge: what may stand in it, where
// it sends a request, and how it is applied and read back. The Lua in nginx/lua
// holds the same rules; the test of the edge image proves the two equal.
package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// Table says where requests go. Its JSON form is the one that nginx reads, over
// its control server and from the saved copy.
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

// MarshalJSON writes a list of routes also where there are none.
func (t Table) MarshalJSON() ([]byte, error) {
	type plain Table
	if t.Routes == nil {
		t.Routes = []Route{}
	}
	return json.Marshal(plain(t))
}

// wireRoute is a route as nginx reads it, with exactly one of weight and pin.
type wireRoute struct {
	Name   string `json:"name"`
	Prefix string `json:"prefix"`
	Weight *int   `json:"weight_bp,omitempty"`
	Pin    System `json:"pin,omitempty"`
}

// MarshalJSON writes the route as nginx reads it.
func (r Route) MarshalJSON() ([]byte, error) {
	wire := wireRoute{Name: r.Name, Prefix: r.Prefix, Pin: r.Pin}
	if r.Pin == "" {
		points := int(r.Weight)
		wire.Weight = &points
	}
	return json.Marshal(wire)
}

// UnmarshalJSON reads the route as nginx writes it.
func (r *Route) UnmarshalJSON(text []byte) error {
	var wire wireRoute
	if err := json.Unmarshal(text, &wire); err != nil {
		return err
	}
	if (wire.Weight == nil) == (wire.Pin == "") {
		return fmt.Errorf("route %q has to have either a weight_bp or a pin", wire.Name)
	}
	*r = Route{Name: wire.Name, Prefix: wire.Prefix, Pin: wire.Pin}
	if wire.Weight != nil {
		r.Weight = Weight(*wire.Weight)
	}
	return nil
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

func (r Route) validate() error {
	// "-" is where the counters keep what no route matched.
	if r.Name == "" || r.Name == Unmatched || len(r.Name) > maxNameLength || strings.ContainsFunc(r.Name, notInName) {
		return fmt.Errorf("the route name %q is not 1 to %d letters, digits, dots, dashes and underscores",
			r.Name, maxNameLength)
	}
	err := validatePrefix(r.Prefix)
	switch {
	case err != nil:
	case r.Pin == "" && !r.Weight.valid():
		err = fmt.Errorf("the weight %s is not a percentage from 0 to 100", r.Weight)
	case r.Pin != "" && !r.Pin.Valid():
		err = fmt.Errorf("it is pinned to %q, neither python nor go", r.Pin)
	case r.Pin != "" && r.Weight != 0:
		err = errors.New("it has both a pin and a weight")
	}
	if err != nil {
		return fmt.Errorf("route %q: %w", r.Name, err)
	}
	return nil
}

func notInName(char rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", char)
}
