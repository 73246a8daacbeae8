package edge_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/edge"
)

func TestExplaining(t *testing.T) {
	named := []string{"visitor:" + someVisitor, "user:42"}
	for _, c := range []struct {
		what   string
		route  edge.Route
		lists  edge.Table
		person edge.Person
		system edge.System
		bucket int
		why    string
	}{
		{"below", edge.Route{Weight: 7759}, edge.Table{}, edge.Person{Visitor: someVisitor},
			edge.Go, 7758, "by visitor " + someVisitor + ": bucket 7758, below 7759 (77.59 %)"},
		{"not below", edge.Route{Weight: 7758}, edge.Table{}, edge.Person{Visitor: someVisitor, User: "7"},
			edge.Python, 7758, "by visitor " + someVisitor + ": bucket 7758, not below 7758 (77.58 %)"},
		{"who is not known", edge.Route{Weight: 5000}, edge.Table{}, edge.Person{User: "7"},
			"", -1, "by visitor, who is not known"},
		{"nobody", edge.Route{}, edge.Table{First: named}, edge.Person{User: "42"}, edge.Python, -1, "nobody is on go, which has 0 %"},
		{"everybody", edge.Route{Weight: edge.AllGo}, edge.Table{Last: named}, edge.Person{User: "42"}, edge.Go, -1, "everybody is on go, which has 100 %"},
		{"pinned", edge.Route{Pin: edge.Go}, edge.Table{Latched: true}, edge.Person{User: "42"}, edge.Go, -1, "pinned: only go has it"},
		{"latched", edge.Route{By: edge.ByUserID}, edge.Table{Latched: true, First: named}, edge.Person{User: "42"},
			edge.Python, -1, "latched: since a rollback everybody is on python"},
		{"by user", edge.Route{Weight: 263, By: edge.ByUserID}, edge.Table{}, edge.Person{User: "123456789"},
			edge.Go, 262, "by user 123456789: bucket 262, below 263 (2.63 %)"},
		{"by user, not logged in", edge.Route{Weight: 5000, By: edge.ByUserID}, edge.Table{}, edge.Person{Visitor: someVisitor},
			edge.Python, 7758, "no user id, so by visitor " + someVisitor + ": bucket 7758, not below 5000 (50 %)"},
		{"by digit", edge.Route{Weight: 5000, By: edge.ByUserIDDigit}, edge.Table{}, edge.Person{User: "34"},
			edge.Go, 4000, "by the last digit of user 34: bucket 4000, below 5000 (50 %)"},
		{"by digit, not logged in", edge.Route{Weight: 9999, By: edge.ByUserIDDigit}, edge.Table{}, edge.Person{Visitor: someVisitor},
			edge.Python, 9999, "by the last digit of a user id, which is not there: bucket 9999, not below 9999 (99.99 %)"},
		{"by digit, without one", edge.Route{Weight: 9000, By: edge.ByUserIDDigit}, edge.Table{}, edge.Person{User: "7a"},
			edge.Python, 9999, "by the last digit, which user 7a has not: bucket 9999, not below 9000 (90 %)"},
		{"a first user", edge.Route{Weight: 1}, edge.Table{First: named}, edge.Person{User: "42"}, edge.Go, -1, "the plan has user:42 go first"},
		{"a last user", edge.Route{Weight: 9999, By: edge.ByUserIDDigit}, edge.Table{Last: []string{"user:42"}}, edge.Person{User: "42"},
			edge.Python, -1, "the plan has user:42 go last"},
		{"a first visitor", edge.Route{Weight: 1, By: edge.ByUserID}, edge.Table{First: named[:1], Last: named[1:]},
			edge.Person{Visitor: someVisitor, User: "42"}, edge.Go, -1, "the plan has visitor:" + someVisitor + " go first"},
		{"a user whose browser may be named", edge.Route{Weight: 1}, edge.Table{First: named[1:], Last: named[:1]}, edge.Person{User: "42"},
			edge.Go, -1, "the plan has user:42 go first; except in the browsers that the plan has go last"},
		{"a bucket whose browser may be named", edge.Route{Weight: 1000, By: edge.ByUserIDDigit}, edge.Table{First: named[:1]}, edge.Person{User: "7"},
			edge.Python, 7000, "by the last digit of user 7: bucket 7000, not below 1000 (10 %); except in the browsers that the plan has go first"},
	} {
		table := tableOf(c.route)
		table.Latched, table.First, table.Last = c.lists.Latched, c.lists.First, c.lists.Last
		router, err := edge.NewRouter(table)
		require.NoError(t, err, c.what)
		require.NoError(t, c.person.Check(), c.what)
		assert.Equal(t, []edge.Explanation{
			{Route: table.Routes[0], System: c.system, Bucket: c.bucket, Why: c.why},
			{Route: edge.Route{Name: edge.Unmatched}, System: edge.Python, Bucket: -1, Why: "no route matches, and home is python"},
		}, router.Explain(c.person), c.what)
	}
}

func TestExplainingFollowers(t *testing.T) {
	pages := edge.Route{Name: "pages", Prefix: "/", By: edge.ByUserIDDigit}
	for weight, want := range map[edge.Weight]edge.Explanation{
		5000: {System: edge.Go, Bucket: 4000, Why: "it follows its page; pages: by the last digit of user 4: bucket 4000, below 5000 (50 %)"},
		4000: {System: edge.Self, Bucket: 4000, Why: "it follows its page, which is on python and has to be loaded anew; " +
			"pages: by the last digit of user 4: bucket 4000, not below 4000 (40 %)"},
	} {
		pages.Weight = weight
		want.Route = edge.Route{Name: "fragments", Prefix: "/htmx", Follows: "pages"}
		router, err := edge.NewRouter(edge.Table{Home: edge.Python, Routes: []edge.Route{want.Route, pages}})
		require.NoError(t, err)
		explanations := router.Explain(edge.Person{User: "4"})
		require.Len(t, explanations, 2, "the root is a route")
		assert.Equal(t, want, explanations[0])
	}
}

// What is explained is what is done: for one who is known, and, of one whose
// visitor is not known, in every browser that has no name.
func TestExplanationsAgreeWithTheRouter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := edge.Table{Home: rapid.SampledFrom([]edge.System{edge.Python, edge.Go}).Draw(t, "home")}
		table.Routes = []edge.Route{
			{Name: "one", Prefix: "/one", By: split().Draw(t, "one"), Weight: weights().Draw(t, "weight")},
			{Name: "two", Prefix: "/two", By: split().Draw(t, "two"), Weight: weights().Draw(t, "weight")},
			{Name: "pinned", Prefix: "/pinned", Pin: edge.Go},
			{Name: "follower", Prefix: "/follower", Follows: "two"},
		}
		listed := rapid.SliceOfNDistinct(entry(), 0, 4, rapid.ID).Draw(t, "listed")
		cut := rapid.IntRange(0, len(listed)).Draw(t, "cut")
		table.First, table.Last = listed[:cut], listed[cut:]
		router, err := edge.NewRouter(table)
		require.NoError(t, err)
		user := userID().Draw(t, "user")
		unnamed := visitor().Filter(func(visitor string) bool { return !slices.Contains(listed, "visitor:"+visitor) })
		people := []string{"", unnamed.Draw(t, "visitor")}
		for _, entry := range listed {
			if named, found := strings.CutPrefix(entry, "visitor:"); found {
				people = append(people, named)
			}
		}

		for _, known := range people {
			for _, e := range router.Explain(edge.Person{Visitor: known, User: user}) {
				browser := known
				if browser == "" {
					browser = unnamed.Draw(t, "any visitor")
				}
				choice := router.Choose(edge.Request{Method: "GET", Target: e.Route.Prefix + "/x", Visitor: browser, User: user})
				require.Equal(t, e.Route.Name, choice.Route)
				if e.System != "" {
					require.Equal(t, choice.System, e.System, e.Why)
				} else {
					require.Empty(t, known)
				}
			}
		}
	})
}

func TestCheckingAPerson(t *testing.T) {
	for problem, person := range map[string]edge.Person{
		`there is neither a visitor nor a user id`:                                       {},
		`the visitor "123" is not the 32 hexadecimal digits of a cookie cutover_visitor`: {Visitor: "123", User: "7"},
		`the user id "kari@b" is not 1 to 64 letters, digits, dashes and underscores`:    {User: "kari@b"},
		`the user id "a b" is not 1 to 64 letters, digits, dashes and underscores`:       {Visitor: someVisitor, User: "a b"},
	} {
		assert.EqualError(t, person.Check(), problem)
	}
	assert.NoError(t, edge.Person{Visitor: someVisitor}.Check())
	assert.NoError(t, edge.Person{User: "a_B-9"}.Check())
}

func weights() *rapid.Generator[edge.Weight] {
	return rapid.OneOf(rapid.SampledFrom([]edge.Weight{0, 1, 5000, 9999, edge.AllGo}),
		rapid.Map(rapid.IntRange(0, int(edge.AllGo)), func(points int) edge.Weight { return edge.Weight(points) }))
}
