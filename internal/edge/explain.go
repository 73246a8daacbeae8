package edge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Person is somebody whose requests are explained.
type Person struct {
	Visitor string // the cookie cutover_visitor, "" where it is not known
	User    string // the cookie user_id, "" for one who is not logged in
}

// Check says what is wrong with the two values, if anything. One of them has to
// be there.
func (p Person) Check() error {
	switch {
	case p == Person{}:
		return errors.New("there is neither a visitor nor a user id")
	case p.Visitor != "" && !isVisitor(p.Visitor):
		return fmt.Errorf("the visitor %q is not the %d hexadecimal digits of a cookie cutover_visitor", p.Visitor, visitorLength)
	case p.User != "" && !isUser(p.User):
		return fmt.Errorf("the user id %q is not 1 to %d letters, digits, dashes and underscores", p.User, maxUserLength)
	}
	return nil
}

// Explanation says who serves a person on one route, and why. A tester's wish
// can be another.
type Explanation struct {
	Route  Route  // named Unmatched for what no route matches
	System System // "" where it depends on the visitor, who is not known; Self for the edge
	Bucket int    // the one that decided, -1 where none did
	Why    string // the rest of a sentence
}

// Explain says for each route who serves a person, in the table's order, and
// then who serves the paths without a route, where there are any.
func (r *Router) Explain(person Person) []Explanation {
	explanations := make([]Explanation, 0, len(r.table.Routes)+1)
	for _, route := range r.table.Routes {
		if route.Follows == "" {
			explanations = append(explanations, r.explain(route, person))
		} else {
			explanations = append(explanations, r.explainFollower(route, person))
		}
	}
	if r.root.route == nil {
		explanations = append(explanations, Explanation{
			Route: Route{Name: Unmatched}, System: r.table.Home, Bucket: -1,
			Why: fmt.Sprintf("no route matches, and home is %s", r.table.Home),
		})
	}
	return explanations
}

func (r *Router) explain(route Route, person Person) Explanation {
	request := Request{Visitor: person.Visitor, User: person.User}
	e := Explanation{Route: route, System: r.system(&route, request), Bucket: -1}
	entry := r.named(person.Visitor, person.User)
	switch {
	case route.Pin != "":
		e.Why = fmt.Sprintf("pinned: only %s has it", route.Pin)
	case r.table.Latched:
		e.Why = "latched: since a rollback everybody is on python"
	case route.Weight == 0:
		e.Why = "nobody is on go, which has 0 %"
	case route.Weight == AllGo:
		e.Why = "everybody is on go, which has 100 %"
	case entry != "":
		e.Why = fmt.Sprintf("the plan has %s go %s", entry, r.placeOf(entry)) + r.exception(e.System, person)
	case person.Visitor == "" && route.needsVisitor(person.User):
		e.System, e.Why = "", basisOf(route.By, person)+", who is not known"
	default:
		e.Bucket = r.bucket(&route, request)
		e.Why = fmt.Sprintf("%s: bucket %d, %s %d (%s %%)", basisOf(route.By, person), e.Bucket,
			map[System]string{Go: "below", Python: "not below"}[e.System], int(route.Weight), route.Weight) +
			r.exception(e.System, person)
	}
	return e
}

// explainFollower explains requests that come from a page of the route that is
// followed.
func (r *Router) explainFollower(route Route, person Person) Explanation {
	page := r.explain(*r.routes[route.Follows], person)
	e := Explanation{Route: route, System: page.System, Bucket: page.Bucket}
	e.Why = fmt.Sprintf("it follows its page; %s: %s", page.Route.Name, page.Why)
	if page.System == Python {
		e.System = Self
		e.Why = fmt.Sprintf("it follows its page, which is on python and has to be loaded anew; %s: %s", page.Route.Name, page.Why)
	}
	return e
}

// basisOf is what a person is placed by.
func basisOf(by Split, person Person) string {
	visitor := strings.TrimSpace("by visitor " + person.Visitor)
	_, ends := lastDigit(person.User)
	switch {
	case by == ByVisitor:
		return visitor
	case by == ByUserID && isUser(person.User):
		return "by user " + person.User
	case by == ByUserID:
		return "no user id, so " + visitor
	case person.User == "":
		return "by the last digit of a user id, which is not there"
	case ends:
		return "by the last digit of user " + person.User
	default:
		return fmt.Sprintf("by the last digit, which user %s has not", person.User)
	}
}

// exception names the browsers in which a person whose visitor is not known is
// not served by the system.
func (r *Router) exception(system System, person Person) string {
	list, entries := "first", r.table.First
	if system == Go {
		list, entries = "last", r.table.Last
	}
	if person.Visitor == "" && slices.ContainsFunc(entries, func(entry string) bool { return strings.HasPrefix(entry, visitorEntry) }) {
		return fmt.Sprintf("; except in the browsers that the plan has go %s", list)
	}
	return ""
}

// placeOf is the list that an entry is in.
func (r *Router) placeOf(entry string) string {
	if r.places[entry] == lastBucket {
		return "last"
	}
	return "first"
}

// needsVisitor tells whether the visitor decides for a user.
func (r Route) needsVisitor(user string) bool {
	return r.By == ByVisitor || r.By == ByUserID && !isUser(user)
}
