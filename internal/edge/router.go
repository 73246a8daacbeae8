package edge

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Router is the reference for what the edge does with a request: it finds the
// route by the longest prefix, compared segment by segment, and chooses who
// answers. No request passes through it. Table.Validate builds one, and the tests
// ask it and nginx the same questions.
type Router struct {
	table  Table
	root   *node
	routes map[string]*Route // by name
	places map[string]int    // the buckets of those in first and last
}

// node is a place in the tree of path segments.
type node struct {
	children map[string]*node
	route    *Route
}

// Request is what the edge looks at.
type Request struct {
	Method  string
	Target  string // as in the request line: escaped, and with its query
	Visitor string // 32 hexadecimal digits
	User    string // the cookie user_id, "" without
	Page    string // the header HX-Current-URL, "" without
	Force   System // what a tester with the token asks for, "" without
}

// Choice says who answers a request: a system, or the edge itself with a status.
type Choice struct {
	Route  string // Unmatched where there is none
	System System // Self for the edge
	Status int    // of the edge's own answer, else 0
}

// NewRouter makes a router of a table, or says what is wrong with the table.
func NewRouter(table Table) (*Router, error) {
	if err := errors.Join(table.validateHead(), table.validateVisitors()); err != nil {
		return nil, err
	}
	router := &Router{
		table:  table,
		root:   &node{},
		routes: make(map[string]*Route, len(table.Routes)),
		places: make(map[string]int, len(table.First)+len(table.Last)),
	}
	for _, route := range table.Routes {
		if err := route.validate(table.Latched); err != nil {
			return nil, err
		}
		if router.routes[route.Name] != nil {
			return nil, fmt.Errorf("two routes are named %q", route.Name)
		}
		router.routes[route.Name] = &route
		if err := router.plant(&route); err != nil {
			return nil, err
		}
	}
	for _, route := range table.Routes {
		if err := router.checkFollower(route); err != nil {
			return nil, err
		}
	}
	for _, entry := range table.First {
		router.places[entry] = 0
	}
	for _, entry := range table.Last {
		router.places[entry] = lastBucket
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

// Choose says who answers a request.
func (r *Router) Choose(request Request) Choice {
	route, found := r.Match(request.Target)
	if !found {
		return Choice{Route: Unmatched, System: r.system(nil, request)}
	}
	if route.Follows == "" {
		return Choice{Route: route.Name, System: r.system(&route, request)}
	}
	switch {
	case r.system(r.page(route, request.Page), request) == Go:
		return Choice{Route: route.Name, System: Go}
	case request.Method == http.MethodGet || request.Method == http.MethodHead:
		return Choice{Route: route.Name, System: Self, Status: http.StatusOK} // with HX-Refresh
	default:
		return Choice{Route: route.Name, System: Self, Status: http.StatusConflict}
	}
}

// system is the one that serves a route, or what no route matches.
func (r *Router) system(route *Route, request Request) System {
	switch {
	case route != nil && route.Pin != "": // only one system has what is pinned
		return route.Pin
	case request.Force.Valid() && !r.table.Latched:
		return request.Force
	case route == nil:
		return r.table.Home
	case route.Weight.Takes(r.bucket(route, request)):
		return Go
	default:
		return Python
	}
}

// bucket is where a request is placed: by name, or by the route's split.
func (r *Router) bucket(route *Route, request Request) int {
	if entry := r.named(request.Visitor, request.User); entry != "" {
		return r.places[entry]
	}
	return route.By.Bucket(request.Visitor, request.User)
}

// named is the entry of first or last that counts for somebody, "" for none.
func (r *Router) named(visitor, user string) string {
	for _, entry := range []string{visitorEntry + visitor, userEntry + user} {
		if _, found := r.places[entry]; found {
			return entry
		}
	}
	return ""
}

// page is the route of the page that a request for a follower comes from, nil
// where no route matches the page.
func (r *Router) page(follower Route, url string) *Route {
	target, ok := targetOf(url)
	if !ok {
		return r.routes[follower.Follows]
	}
	route, found := r.Match(target)
	switch {
	case !found:
		return nil
	case route.Follows != "":
		return r.routes[route.Follows]
	default:
		return &route
	}
}

// targetOf is the request target of a page's address, which is absolute or a
// path.
func targetOf(url string) (target string, ok bool) {
	if strings.HasPrefix(url, "/") {
		return url, true
	}
	scheme, rest, found := strings.Cut(url, "://")
	if !found || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	switch {
	case rest == "" || end == 0:
		return "", false // no host
	case end < 0:
		return "/", true
	default:
		return rest[end:], true
	}
}

func (r *Router) checkFollower(route Route) error {
	if route.Follows == "" {
		return nil
	}
	followed := r.routes[route.Follows]
	switch {
	case followed == nil:
		return fmt.Errorf("route %q follows %q, which there is not", route.Name, route.Follows)
	case followed.Pin != "" || followed.Follows != "":
		return fmt.Errorf("route %q follows %q, which has no weight", route.Name, route.Follows)
	}
	return nil
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
