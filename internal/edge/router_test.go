package edge_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/edge"
)

// matches says which route a request belongs to, "" for none. The test of the
// edge image asks nginx the same.
var matches = map[string]string{
	"/api/users":                "users",
	"/api/users/":               "users",
	"/api/users/7?page=2":       "users",
	"/api/users?next=/api/auth": "users",
	"/api/users/me":             "me",
	"/api/users/me/":            "me",
	"/api/users/menu":           "users",
	"/api/usersX":               "api",
	"/api/USERS/":               "api",
	"/api":                      "api",
	"/apis":                     "",
	"/":                         "",
	"/?x=/api/users":            "",
	// Escapes: python decodes the whole path before it looks for a route.
	"/api/%75sers/7":    "users",
	"/api%2Fusers%2f7":  "users",
	"/api/users%3Fx":    "api",
	"/s%C3%B8k/person":  "search",
	"/søk/person":       "search",
	"/api/users%252Fme": "api",
	// It takes dot segments for names.
	"/api/users/../auth":     "users",
	"/api/users/%2e%2e/auth": "users",
	"/x/../api/users/":       "",
	"/./api/users/":          "",
	// It drops slashes at the front, and may merge the others.
	"//api///users//7": "users",
	"/api/users//me":   "me",
	"/api%2F/users":    "users",
}

func exampleTable() edge.Table {
	return edge.Table{Generation: 1, Home: edge.Python, Routes: []edge.Route{
		{Name: "users", Prefix: "/api/users/", Weight: 5000},
		{Name: "api", Prefix: "/api", Weight: 10000},
		{Name: "me", Prefix: "/api/users/me", Pin: edge.Python},
		{Name: "search", Prefix: "/søk/", Pin: edge.Go},
	}}
}

func TestLongestPrefixWins(t *testing.T) {
	router, err := edge.NewRouter(exampleTable())
	require.NoError(t, err)
	for target, want := range matches {
		route, found := router.Match(target)
		assert.Equal(t, want, route.Name, target)
		assert.Equal(t, want != "", found, target)
	}
}

func TestRootPrefixMatchesEverything(t *testing.T) {
	router, err := edge.NewRouter(edge.Table{Home: edge.Python, Routes: []edge.Route{
		{Name: "pages", Prefix: "/"}, {Name: "auth", Prefix: "/api/auth"},
	}})
	require.NoError(t, err)
	for target, want := range map[string]string{"/": "pages", "": "pages", "/x": "pages", "/api/": "pages", "/api/auth": "auth"} {
		route, _ := router.Match(target)
		assert.Equal(t, want, route.Name, target)
	}
}

func TestChoosingASystem(t *testing.T) {
	const visitor = "0123456789abcdef0123456789abcdef" // bucket 7758
	for name, c := range map[string]struct {
		table edge.Table
		want  edge.System
	}{
		"nothing matches, home is python": {edge.Table{Home: edge.Python}, edge.Python},
		"nothing matches, home is go":     {edge.Table{Home: edge.Go}, edge.Go},
		"below the weight":                {tableOf(edge.Route{Weight: 7759}), edge.Go},
		"at the weight":                   {tableOf(edge.Route{Weight: 7758}), edge.Python},
		"pinned to python":                {tableOf(edge.Route{Pin: edge.Python}), edge.Python},
		"pinned to go":                    {tableOf(edge.Route{Pin: edge.Go}), edge.Go},
	} {
		router, err := edge.NewRouter(c.table)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, router.Choose(edge.Request{Target: "/a/b", Visitor: visitor}).System, name)
	}
}

// The tree agrees with comparing every prefix, in its normal form, with the
// path in its own.
func TestMatchEqualsANaiveReference(t *testing.T) {
	segment := rapid.SampledFrom([]string{"api", "users", "auth", "a", "A", "b.c", "é", "..", "."})
	prefix := rapid.Custom(func(t *rapid.T) string {
		parts := rapid.SliceOfN(segment.Filter(isName), 0, 3).Draw(t, "parts")
		return "/" + strings.Join(parts, "/")
	})
	path := rapid.Custom(func(t *rapid.T) string {
		var path strings.Builder
		for _, part := range rapid.SliceOfN(segment, 0, 5).Draw(t, "parts") {
			path.WriteString(rapid.SampledFrom([]string{"/", "//", "%2F"}).Draw(t, "slash"))
			path.WriteString(rapid.SampledFrom([]string{part, url.PathEscape(part), escapeAll(part)}).Draw(t, "part"))
		}
		return path.String()
	})
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.SliceOfNDistinct(prefix, 0, 6, rapid.ID).Draw(t, "prefixes")
		table := edge.Table{Home: edge.Python}
		for i, prefix := range prefixes {
			table.Routes = append(table.Routes, edge.Route{Name: string(rune('a' + i)), Prefix: prefix})
		}
		router, err := edge.NewRouter(table)
		require.NoError(t, err)
		target := path.Draw(t, "path")

		route, found := router.Match(target + "?" + path.Draw(t, "query"))

		want, longest := "", -1
		for _, candidate := range table.Routes {
			if length := naiveMatch(t, candidate.Prefix, target); length > longest {
				want, longest = candidate.Name, length
			}
		}
		assert.Equal(t, want, route.Name)
		assert.Equal(t, longest >= 0, found)
	})
}

func naiveMatch(t *rapid.T, prefix, target string) int {
	prefix = strings.TrimSuffix(prefix, "/") + "/"
	decoded, err := url.PathUnescape(target)
	require.NoError(t, err)
	path := "/" + decoded + "/"
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	if !strings.HasPrefix(path, prefix) {
		return -1
	}
	return len(prefix)
}

func isName(segment string) bool {
	return segment != "." && segment != ".."
}

func escapeAll(text string) string {
	var escaped strings.Builder
	for _, octet := range []byte(text) {
		escaped.WriteByte('%')
		escaped.WriteByte("0123456789abcdef"[octet>>4])
		escaped.WriteByte("0123456789ABCDEF"[octet&15])
	}
	return escaped.String()
}

func tableOf(route edge.Route) edge.Table {
	route.Name, route.Prefix = "route", "/a/"
	return edge.Table{Generation: 1, Home: edge.Python, Routes: []edge.Route{route}}
}
