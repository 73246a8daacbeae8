package edge

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Router is the reference for what the edge does with a request: it finds the
// route by the longest prefix, compared segment by segment, and chooses the
// system. No request passes through it. Table.Validate builds one, and the tests
// ask it and nginx the same questions.
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
		if err := route.validate(table.Latched); err != nil {
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

// segments are the parts of a path between its slashes. Empty ones do not
// count: python drops slashes at the front, and may merge the others. Go does
// not, but finds nothing under such a path, wherever it is sent.
func segments(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for segment := range strings.SplitSeq(path, "/") {
			if segment != "" && !yield(segment) {
				return
			}
		}
	}
}

// pathOf is the path of a request target as python reads it: without query and
// fragment, percent-decoded (an encoded slash too), and with its dot segments,
// which it takes for names. Go splits a path before it decodes it and redirects
// away from dot segments; the rule has to be one for both, and a path that they
// read differently belongs to the route that python finds.
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
