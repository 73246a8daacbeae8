package edge_test

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func TestTableHasTheFormThatNginxReads(t *testing.T) {
	table := edge.Table{Generation: 7, Latched: true, Home: edge.Python, Routes: []edge.Route{
		{Name: "auth", Prefix: "/api/auth/", Weight: 2550},
		{Name: "users", Prefix: "/api/users/"},
		{Name: "tools", Prefix: "/api/tools/", By: edge.ByUserIDDigit},
		{Name: "assets", Prefix: "/assets/", Pin: edge.Go},
	}}

	text, err := json.Marshal(table)

	require.NoError(t, err)
	assert.JSONEq(t, `{"generation":7,"latched":true,"home":"python","routes":[
		{"name":"auth","prefix":"/api/auth/","weight_bp":2550},
		{"name":"users","prefix":"/api/users/","weight_bp":0},
		{"name":"tools","prefix":"/api/tools/","weight_bp":0,"by":"user_id_digit"},
		{"name":"assets","prefix":"/assets/","pin":"go"}]}`, string(text))
	var back edge.Table
	require.NoError(t, json.Unmarshal(text, &back))
	assert.True(t, table.Equal(back))
}

func TestTableWithoutRoutesWritesAList(t *testing.T) {
	text, err := json.Marshal(edge.Table{Home: edge.Go})

	require.NoError(t, err)
	assert.JSONEq(t, `{"generation":0,"latched":false,"home":"go","routes":[]}`, string(text))
}

func TestReadingATableIsAsStrictAsNginx(t *testing.T) {
	good, bad := tables(t)
	for name, text := range sorted(good) {
		assert.NoError(t, readTable(text), name)
	}
	for name, text := range sorted(bad) {
		assert.Error(t, readTable(text), name)
	}
}

func TestReadingATableSaysWhatIsWrong(t *testing.T) {
	for text, problem := range map[string]string{
		`{"generation":1,"latched":false,"home":"go"}`:                         `the table has no field "routes"`,
		`{"generation":1,"latched":false,"home":"go","x":1}`:                   `the table cannot be read: it has an unknown field "x"`,
		`{"generation":1,"latched":null,"home":"go","routes":[]}`:              `the table cannot be read: its field "latched" is null`,
		"{\"generation\":1,\"latched\":false,\"home\":\"\xff\",\"routes\":[]}": `the table is not UTF-8`,
	} {
		assert.EqualError(t, readTable(text), problem)
	}
}

func TestCheckingNamesAndPrefixes(t *testing.T) {
	assert.NoError(t, edge.CheckName("api.users-v2_x"))
	assert.EqualError(t, edge.CheckName("a b"),
		`the route name "a b" is not 1 to 64 letters, digits, dots, dashes and underscores`)
	assert.NoError(t, edge.CheckPrefix("/api/søk"))
	assert.EqualError(t, edge.CheckPrefix("/a?b"), `the prefix "/a?b" holds white space or one of " % ? # \`)
	assert.Error(t, edge.CheckPrefix("/a\xff"), "not UTF-8")
}

func TestRouteNeedsOneOfWeightAndPin(t *testing.T) {
	for _, text := range []string{
		`{"name":"auth","prefix":"/"}`,
		`{"name":"auth","prefix":"/","weight_bp":0,"pin":"go"}`,
	} {
		var route edge.Route
		assert.EqualError(t, json.Unmarshal([]byte(text), &route), `route "auth" has to have either a weight_bp, a pin or follows`)
	}
}

func TestReadingARouteSaysWhatItCannotBeSplitBy(t *testing.T) {
	for text, problem := range map[string]string{
		`{"name":"auth","prefix":"/","weight_bp":0,"by":"visitor"}`: `route "auth" is split by "visitor", neither user_id nor user_id_digit`,
		`{"name":"auth","prefix":"/","weight_bp":0,"by":""}`:        `route "auth" is split by "", neither user_id nor user_id_digit`,
		`{"name":"auth","prefix":"/","pin":"go","by":"user_id"}`:    `route "auth" has a by, and no weight_bp that it could split`,
		`{"name":"auth","prefix":"/","by":"user_id"}`:               `route "auth" has to have either a weight_bp, a pin or follows`,
	} {
		var route edge.Route
		assert.EqualError(t, json.Unmarshal([]byte(text), &route), problem)
	}
}

func TestEqualComparesEverything(t *testing.T) {
	for name, change := range map[string]func(*edge.Table){
		"generation": func(t *edge.Table) { t.Generation++ },
		"latch":      func(t *edge.Table) { t.Latched = true },
		"home":       func(t *edge.Table) { t.Home = edge.Go },
		"weight":     func(t *edge.Table) { t.Routes[0].Weight++ },
		"split":      func(t *edge.Table) { t.Routes[0].By = edge.ByUserID },
		"routes":     func(t *edge.Table) { t.Routes = t.Routes[1:] },
	} {
		changed := exampleTable()
		change(&changed)
		assert.False(t, exampleTable().Equal(changed), name)
	}
	assert.True(t, exampleTable().Equal(exampleTable()))
}

func TestValidate(t *testing.T) {
	assert.NoError(t, exampleTable().Validate())

	for problem, change := range map[string]func(*edge.Table){
		`the home is "", neither python nor go`:                              func(t *edge.Table) { t.Home = "" },
		`the generation 9007199254740992 is too high for the edge`:           func(t *edge.Table) { t.Generation = 1 << 53 },
		`two routes are named "users"`:                                       func(t *edge.Table) { t.Routes[1].Name = "users" },
		`routes "users" and "api" have the same prefix "/api/users"`:         func(t *edge.Table) { t.Routes[1].Prefix = "/api/users" },
		`route "users": the weight -0.01 is not a percentage from 0 to 100`:  func(t *edge.Table) { t.Routes[0].Weight = -1 },
		`route "users": the weight 100.01 is not a percentage from 0 to 100`: func(t *edge.Table) { t.Routes[0].Weight = 10001 },
		`route "users": it is pinned to "perl", neither python nor go`: func(t *edge.Table) {
			t.Routes[0] = edge.Route{Name: "users", Prefix: "/u", Pin: "perl"}
		},
		`route "users": it has a weight above 0 in a latched table`:                func(t *edge.Table) { t.Latched = true },
		`route "users": it has both a pin and a weight`:                            func(t *edge.Table) { t.Routes[0].Pin = edge.Go },
		`route "users": the prefix "" does not begin with a slash`:                 func(t *edge.Table) { t.Routes[0].Prefix = "" },
		`route "users": the prefix "api/" does not begin with a slash`:             func(t *edge.Table) { t.Routes[0].Prefix = "api/" },
		`route "users": the prefix "/api//users" has an empty segment`:             func(t *edge.Table) { t.Routes[0].Prefix = "/api//users" },
		`route "users": the prefix "/api/../users" has a dot segment`:              func(t *edge.Table) { t.Routes[0].Prefix = "/api/../users" },
		`route "users": the prefix "/a%2Fb" holds white space or one of " % ? # \`: func(t *edge.Table) { t.Routes[0].Prefix = "/a%2Fb" },
		`route "users": the prefix "/a b" holds white space or one of " % ? # \`:   func(t *edge.Table) { t.Routes[0].Prefix = "/a b" },
	} {
		table := exampleTable()
		change(&table)
		assert.EqualError(t, table.Validate(), problem)
	}
}

func TestValidateRefusesRouteNames(t *testing.T) {
	for _, name := range []string{"", "-", "a b", "a:b", "æ", strings.Repeat("a", 65)} {
		table := tableOf(edge.Route{})
		table.Routes[0].Name = name
		assert.ErrorContains(t, table.Validate(), "is not 1 to 64 letters, digits, dots, dashes and underscores", name)
	}
}

// tables are texts of tables that both Go and nginx take, and that both refuse.
func tables(t testing.TB) (good, bad map[string]string) {
	t.Helper()
	content, err := os.ReadFile("testdata/tables.json")
	require.NoError(t, err)
	var listed struct{ Good, Bad map[string]string }
	require.NoError(t, json.Unmarshal(content, &listed))
	// These cannot stand in a file of JSON.
	const route = `{"generation":7,"latched":false,"home":"python","routes":[{"name":"NAME","prefix":"/PREFIX","weight_bp":0}]}`
	listed.Bad["name that is not UTF-8"] = strings.ReplaceAll(route, "NAME", "\xff")
	listed.Bad["prefix that is not UTF-8"] = strings.ReplaceAll(route, "PREFIX", "a\xc3")
	listed.Bad["prefix with an overlong slash"] = strings.ReplaceAll(route, "PREFIX", "a\xc0\xaf")
	return listed.Good, listed.Bad
}

func readTable(text string) error {
	var table edge.Table
	if err := json.Unmarshal([]byte(text), &table); err != nil {
		return err
	}
	return table.Validate()
}

// sorted goes through a map in the order of its keys.
func sorted[K cmp.Ordered, V any](entries map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			if !yield(key, entries[key]) {
				return
			}
		}
	}
}
