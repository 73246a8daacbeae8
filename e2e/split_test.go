package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What `split explain` says of a person is what happens to them.
func TestSplitExplainSaysWhoServesSomebody(t *testing.T) {
	env := useShared(t)
	paths := map[string]string{"auth": "/api/auth/me", "users": "/api/users/1", "tools": "/api/tools/"}
	for name, percent := range map[string]string{"auth": "50", "users": "33.33", "tools": "100"} {
		env.must(t, "route", name, percent)
	}
	seen := map[string]int{}
	for i := range 12 {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		person := env.newVisitor(transport)
		require.NoError(t, person.login(t.Context(), fmt.Sprintf("user%d", i+1)))
		explained := env.explain(t, "--user", person.cookie(t, "user_id"), "--visitor", person.cookie(t, "cutover_visitor"))
		for route, path := range paths {
			servedBy := person.get(t, path).servedBy
			assert.Equal(t, servedBy, explained[route].System, "%s of user%d: %s", route, i+1, explained[route].Why)
			seen[servedBy]++
		}
	}
	assert.NotZero(t, seen["go"])
	assert.NotZero(t, seen["python"])

	stranger := env.explain(t, "--user", "1")
	assert.Empty(t, stranger["auth"].System, "it depends on the browser")
	assert.Equal(t, "go", stranger["tools"].System)
	run := env.run(t.Context(), "split", "explain", "--user", "1", "--route", "nonsense")
	assert.Equal(t, 2, run.code)
	assert.Contains(t, run.stderr, `the edge has no route "nonsense"`)
}

// explanation is what split explain --json says of one route.
type explanation struct{ Name, System, Why string }

// explain is keyed by the names of the routes.
func (env *environment) explain(t *testing.T, args ...string) map[string]explanation {
	t.Helper()
	var document struct{ Routes []explanation }
	text := env.must(t, append([]string{"split", "explain", "--json"}, args...)...)
	require.NoError(t, json.Unmarshal([]byte(text), &document))
	routes := map[string]explanation{}
	for _, route := range document.Routes {
		routes[route.Name] = route
	}
	return routes
}
