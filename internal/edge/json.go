package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MarshalJSON writes a list of routes also where there are none.
func (t Table) MarshalJSON() ([]byte, error) {
	type plain Table
	if t.Routes == nil {
		t.Routes = []Route{}
	}
	return json.Marshal(plain(t))
}

// UnmarshalJSON is as strict as nginx: the text has every field of a table but
// the lists of visitors, which may be missing, and no other one.
func (t *Table) UnmarshalJSON(text []byte) error {
	if !utf8.Valid(text) {
		return errors.New("the table is not UTF-8")
	}
	fields, err := members(text, "generation", "latched", "home", "routes", "first", "last")
	if err != nil {
		return fmt.Errorf("the table cannot be read: %w", err)
	}
	for _, name := range []string{"generation", "latched", "home", "routes"} {
		if fields[name] == nil {
			return fmt.Errorf("the table has no field %q", name)
		}
	}
	type plain Table // without this method
	var read plain
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("the table cannot be read: %w", err)
	}
	*t = Table(read)
	// Absent and empty mean the same.
	if len(t.First) == 0 {
		t.First = nil
	}
	if len(t.Last) == 0 {
		t.Last = nil
	}
	return nil
}

// wireRoute is a route as nginx reads it, with exactly one of weight, pin and
// follows; what a weight is split by is left out where it is the visitor.
type wireRoute struct {
	Name    string  `json:"name"`
	Prefix  string  `json:"prefix"`
	Weight  *points `json:"weight_bp,omitempty"`
	By      *Split  `json:"by,omitempty"`
	Pin     *System `json:"pin,omitempty"`
	Follows *string `json:"follows,omitempty"`
}

// points are basis points, written in digits alone.
type points int

func (p *points) UnmarshalJSON(text []byte) error {
	if !isDigits(string(text)) {
		return fmt.Errorf("the weight_bp %s is not written in digits alone", text)
	}
	number, err := strconv.Atoi(string(text))
	*p = points(number)
	return err
}

// MarshalJSON writes the route as nginx reads it.
func (r Route) MarshalJSON() ([]byte, error) {
	wire := wireRoute{Name: r.Name, Prefix: r.Prefix}
	switch {
	case r.Follows != "":
		wire.Follows = &r.Follows
	case r.Pin != "":
		wire.Pin = &r.Pin
	default:
		weight := points(r.Weight)
		wire.Weight = &weight
		if r.By != ByVisitor {
			wire.By = &r.By
		}
	}
	return json.Marshal(wire)
}

// UnmarshalJSON reads the route as strictly as nginx does.
func (r *Route) UnmarshalJSON(text []byte) error {
	fields, err := members(text, "name", "prefix", "weight_bp", "by", "pin", "follows")
	if err != nil {
		return err
	}
	var wire wireRoute
	if err := json.Unmarshal(text, &wire); err != nil {
		return err
	}
	*r = Route{Name: wire.Name, Prefix: wire.Prefix}
	delete(fields, "name")
	delete(fields, "prefix")
	delete(fields, "by")
	switch {
	case len(fields) != 1:
		return fmt.Errorf("route %q has to have either a weight_bp, a pin or follows", r.Name)
	case wire.By != nil && wire.Weight == nil:
		return fmt.Errorf("route %q has a by, and no weight_bp that it could split", r.Name)
	// One that names the default would be written without it.
	case wire.By != nil && (*wire.By == ByVisitor || !wire.By.Valid()):
		return fmt.Errorf("route %q is split by %q, neither user_id nor user_id_digit", r.Name, string(*wire.By))
	case wire.Weight != nil:
		r.Weight = Weight(*wire.Weight)
		if wire.By != nil {
			r.By = *wire.By
		}
	// A route with an empty pin, or that follows nobody, would be one with a weight.
	case wire.Pin != nil && !wire.Pin.Valid():
		return fmt.Errorf("route %q is pinned to %q, neither python nor go", r.Name, *wire.Pin)
	case wire.Pin != nil:
		r.Pin = *wire.Pin
	case *wire.Follows == "":
		return fmt.Errorf("route %q follows a route without a name", r.Name)
	default:
		r.Follows = *wire.Follows
	}
	return nil
}

// members takes an object apart. Unlike encoding/json it refuses null, and
// names that are written in another case.
func members(text []byte, allowed ...string) (map[string]json.RawMessage, error) {
	var found map[string]json.RawMessage
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errors.New("it is null")
	}
	for name, value := range found {
		if !slices.Contains(allowed, name) {
			return nil, fmt.Errorf("it has an unknown field %q", name)
		}
		if string(value) == "null" {
			return nil, fmt.Errorf("its field %q is null", name)
		}
	}
	return found, nil
}
