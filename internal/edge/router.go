package edge

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Router finds the route of a request as the edge does: by the longest prefix,
// compared segment by segment.
type Router struct {
	table Table
	root  *node
}

// node is a place in the tree of path segments.
type node struct {
	children map[string]*node
	route    *Route
}

// NewRouter makes a router of a table, or says what is wrong with the table.
func NewRouter(table Table) (*Router, error) {
	if err := table.validateHead(); err != nil {
		return nil, err
	}
	router := &Router{table: table, root: &node{}}
	names := make(map[string]bool, len(table.Routes))
	for _, route := range table.Routes {
		if err := route.validate(); err != nil {
			return nil, err
		}
		if names[route.Name] {
			return nil, fmt.Errorf("two routes are named %q", route.Name)
		}
		names[route.Name] = true
		if err := router.plant(&route); err != nil {
			return nil, err
		}
	}
	return router, nil
}

// Match finds the route of a request target as it stands in the request line:
// escaped, and with its query.
func (r *Router) Match(target string) (Route, bool) {
	place := r.root
	found := place.route
	for segment := range segments(pathOf(target)) {
		place = place.children[segment]
		if place == nil {
			break
		}
		if place.route != nil {
			found = place.route
		}
	}
	if found == nil {
		return Route{}, false
	}
	return *found, true
}

// Choose is the system that answers a visitor's request.
func (r *Router) Choose(target, visitor string) System {
	route, found := r.Match(target)
	switch {
	case !found:
		return r.table.Home
	case route.Pin != "":
		return route.Pin
	case route.Weight.Takes(Bucket(visitor)):
		return Go
	default:
		return Python
	}
}

// NormalizePrefix gives a prefix the form that ends with a slash: "/api/users"
// and "/api/users/" mean the same.
func NormalizePrefix(prefix string) (string, error) {
	if err := validatePrefix(prefix); err != nil {
		return "", err
	}
	return strings.TrimSuffix(prefix, "/") + "/", nil
}

func (r *Router) plant(route *Route) error {
	place := r.root
	for segment := range segments(route.Prefix) {
		next := place.children[segment]
		if next == nil {
			next = &node{}
			if place.children == nil {
				place.children = map[string]*node{}
			}
			place.children[segment] = next
		}
		place = next
	}
	if place.route != nil {
		return fmt.Errorf("routes %q and %q have the same prefix %q", place.route.Name, route.Name, route.Prefix)
	}
	place.route = route
	return nil
}

func validatePrefix(prefix string) error {
	if !strings.HasPrefix(prefix, "/") {
		return fmt.Errorf("the prefix %q does not begin with a slash", prefix)
	}
	if strings.ContainsFunc(prefix, isForbidden) {
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

func isForbidden(char rune) bool {
	return char <= ' ' || char == 0x7f || char == utf8.RuneError || strings.ContainsRune(`"%?#\`, char)
}

// segments are the parts of a path between its slashes. Empty ones do not
// count, because both applications merge slashes.
func segments(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for segment := range strings.SplitSeq(path, "/") {
			if segment != "" && !yield(segment) {
				return
			}
		}
	}
}

// pathOf is the path of a request target as the applications see it: without
// query and fragment, percent-decoded, and with its dot segments, which neither
// of them resolves before it looks for a route.
func pathOf(target string) string {
	raw, _, _ := strings.Cut(target, "?")
	raw, _, _ = strings.Cut(raw, "#")
	if !strings.Contains(raw, "%") {
		return raw
	}
	var decoded strings.Builder
	for i := 0; i < len(raw); i++ {
		if octet, err := escape(raw[i:]); err == nil {
			decoded.WriteByte(octet)
			i += len("%41") - 1
		} else {
			decoded.WriteByte(raw[i])
		}
	}
	return decoded.String()
}

// escape reads the percent-encoded octet that a text begins with.
func escape(text string) (byte, error) {
	if len(text) < 3 || text[0] != '%' {
		return 0, errors.New("no escape")
	}
	octet, err := strconv.ParseUint(text[1:3], 16, 8)
	return byte(octet), err
}
