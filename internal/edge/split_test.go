package edge_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/edge"
)

const someVisitor = "0123456789abcdef0123456789abcdef" // bucket 7758

func TestSplitByUserIDFallsBackToTheVisitor(t *testing.T) {
	for user, want := range map[string]int{
		"":                      7758,
		"123456789":             262, // the polynomial's check value
		"a_B-9":                 edge.Bucket("a_B-9"),
		"a.b":                   7758,
		"a b":                   7758,
		"æ":                     7758,
		fmt.Sprintf("%64d", 1):  7758,
		fmt.Sprintf("%064d", 1): edge.Bucket(fmt.Sprintf("%064d", 1)),
		fmt.Sprintf("%065d", 1): 7758,
	} {
		assert.Equal(t, want, edge.ByUserID.Bucket(someVisitor, user), "%q", user)
		assert.Equal(t, 7758, edge.ByVisitor.Bucket(someVisitor, user), "%q", user)
	}
}

// The strategy's own rule is `~*[0-4]$ go_backend`.
func TestSplitByDigitIsTheStrategysRule(t *testing.T) {
	for user, from := range map[string]edge.Weight{ // the first tens that go serves
		"0": 1000, "7": 8000, "10": 1000, "34": 5000, "35": 6000, "a9": 10000, "x.4": 5000,
		"": 10000, "a": 10000, "4a": 10000, "4 ": 10000, "٤": 10000, "/": 10000, ":": 10000,
	} {
		for weight := edge.Weight(0); weight <= edge.AllGo; weight += 1000 {
			assert.Equal(t, weight >= from, weight.Takes(edge.ByUserIDDigit.Bucket(someVisitor, user)), "%q at %s", user, weight)
		}
	}
	assert.True(t, edge.Weight(1).Takes(edge.ByUserIDDigit.Bucket(someVisitor, "10")), "a share between two tens counts as the higher one")
}

func TestRaisingAWeightMovesNobodyBackWhateverTheSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		by := split().Draw(t, "by")
		request := edge.Request{Target: "/a/b", Visitor: visitor().Draw(t, "visitor"), User: userID().Draw(t, "user")}
		var named edge.Table
		named.First = rapid.SliceOfN(entry(), 0, 1).Draw(t, "first")
		if named.Last = rapid.SliceOfN(entry(), 0, 1).Draw(t, "last"); slices.Equal(named.First, named.Last) {
			named.Last = nil
		}
		var before edge.System
		weights := append(rapid.SliceOfN(rapid.IntRange(0, int(edge.AllGo)), 1, 8).Draw(t, "weights"), 0, int(edge.AllGo))
		slices.Sort(weights)
		for _, weight := range weights {
			table := tableOf(edge.Route{Weight: edge.Weight(weight), By: by})
			table.First, table.Last = named.First, named.Last
			router, err := edge.NewRouter(table)
			require.NoError(t, err)
			system := router.Choose(request).System
			if before == edge.Go {
				require.Equal(t, edge.Go, system, "moved back at %d", weight)
			}
			if weight == 0 {
				require.Equal(t, edge.Python, system)
			}
			before = system
		}
		assert.Equal(t, edge.Go, before, "at 100 percent")
	})
}

// A user is on one system in all browsers.
func TestSplitByUserIDIsTheSameInEveryBrowser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		user := rapid.StringMatching(`[0-9A-Za-z_-]{1,64}`).Draw(t, "user")
		for _, by := range []edge.Split{edge.ByUserID, edge.ByUserIDDigit} {
			assert.Equal(t, by.Bucket(visitor().Draw(t, "one"), user), by.Bucket(visitor().Draw(t, "other"), user))
		}
	})
}

func TestFollowersAreSplitAsTheirPages(t *testing.T) {
	router, err := edge.NewRouter(edge.Table{Home: edge.Python, Routes: []edge.Route{
		{Name: "pages", Prefix: "/", Weight: 5000},
		{Name: "users", Prefix: "/users", Weight: 5000, By: edge.ByUserIDDigit},
		{Name: "fragments", Prefix: "/htmx", Follows: "pages"},
	}})
	require.NoError(t, err)
	for page, want := range map[string]edge.System{"/users": edge.Go, "/": edge.Self} {
		choice := router.Choose(edge.Request{Method: "GET", Target: "/htmx/x", Page: page, Visitor: someVisitor, User: "3"})
		assert.Equal(t, want, choice.System, page)
	}
}

func TestOnlyARouteWithAWeightIsSplit(t *testing.T) {
	for problem, route := range map[string]edge.Route{
		`route "route": it is split by "name", neither user_id nor user_id_digit`:    {By: "name"},
		`route "route": it is pinned, and cannot be split by anything`:               {By: edge.ByUserID, Pin: edge.Go},
		`route "route": it follows another route, and cannot be split by anything`:   {By: edge.ByUserID, Follows: "route"},
		`route "route": it is split by "visitor", neither user_id nor user_id_digit`: {By: "visitor"},
	} {
		assert.EqualError(t, tableOf(route).Validate(), problem)
	}
}

func split() *rapid.Generator[edge.Split] {
	return rapid.SampledFrom([]edge.Split{edge.ByVisitor, edge.ByUserID, edge.ByUserIDDigit})
}

// userID makes what may stand in the cookie user_id, "" for none.
func userID() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[1-9][0-9]{0,6}`),
		rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}`), rapid.StringMatching(`[ -~]{0,70}`))
}

// entry makes an entry of first or last, now and then for somebody that the
// other generators make too.
func entry() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.Map(rapid.StringMatching(`[1-9]`), func(user string) string { return "user:" + user }),
		rapid.Map(visitor(), func(visitor string) string { return "visitor:" + visitor }))
}
