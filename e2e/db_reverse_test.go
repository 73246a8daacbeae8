package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reversed is what db reverse --json says.
type reversed struct {
	code        int
	Verdict     string
	Writes      int
	Paths       int
	Differences []struct {
		Path, Field, Python, Go string
		Writes                  []struct{ Action string }
	}
	List []struct {
		Action    string
		RequestID *string `json:"request_id"`
	}
}

func (env *environment) reversed(t *testing.T, flags ...string) reversed {
	t.Helper()
	run := env.run(t.Context(), append([]string{"db", "reverse", "--json"}, flags...)...)
	r := reversed{code: run.code}
	require.NoError(t, json.Unmarshal([]byte(run.stdout), &r), "%s%s", run.stdout, run.stderr)
	return r
}

// allOnGo moves every route to Go.
func (env *environment) allOnGo(t *testing.T) {
	t.Helper()
	for _, route := range env.status(t).Routes {
		env.must(t, "route", route.Name, "100")
	}
}

// freeTool is a tool that everybody may use and nobody has.
func (env *environment) freeTool(t *testing.T) int64 {
	t.Helper()
	return number(t, env.db(t), `SELECT max(id) FROM tools t WHERE circle_id IS NULL
		AND NOT EXISTS (SELECT FROM checkouts WHERE tool_id = t.id AND ended_at IS NULL)`)
}

// What Go wrote of every kind reads the same through python; what does not is
// found, and the way back is not closed then, nor by whom somebody on python
// needs it, nor without a reason. Once closed it is closed.
func TestWayBackIsClosedOnlyWhenNobodyNeedsIt(t *testing.T) {
	env := ownEnvironment(t, "contract", nil) // there is no way back from where it ends
	env.up(t)
	db := env.db(t)
	since := time.Now().UTC().Format(time.RFC3339)
	assert.Equal(t, 6, env.reversed(t, "--since", since).code, "no data is no pass")
	env.allOnGo(t)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	person, admin := env.newVisitor(transport), env.newVisitor(transport)
	require.NoError(t, person.login(t.Context(), "user41"))
	require.NoError(t, admin.login(t.Context(), "admin"))
	account := number(t, db, "SELECT id FROM accounts WHERE username = 'user41'")
	tool := env.freeTool(t)
	for _, write := range []struct {
		who          *visitor
		method, path string
		body         any
	}{
		{person, http.MethodPut, fmt.Sprintf("/api/users/%d", account), map[string]any{"name": "  Ærlig \u2028 <b>  "}},
		{person, http.MethodPost, fmt.Sprintf("/api/tools/%d/checkout", tool), nil},
		{admin, http.MethodPost, "/api/badges/", map[string]any{"title": "Reversed", "description": nil}},
		{admin, http.MethodPost, "/api/badges/1/award", map[string]any{"account_id": account}},
		{person, http.MethodPost, fmt.Sprintf("/api/tools/%d/checkin", tool), nil},
	} {
		a, err := write.who.do(t.Context(), write.method, write.path, write.body)
		require.NoError(t, err)
		require.Less(t, a.status, 300, "%s: %s", write.path, a.body)
		require.Equal(t, "go", a.servedBy)
	}
	good := env.reversed(t, "--since", since, "--list")
	assert.Zero(t, good.code, "%+v", good.Differences)
	assert.Equal(t, "pass", good.Verdict)
	assert.Equal(t, 7, good.Writes)
	require.Len(t, good.List, 7)
	for _, write := range good.List {
		require.NotNil(t, write.RequestID, write.Action)
	}

	contract := func(want int, says string, flags ...string) {
		t.Helper()
		run := env.run(t.Context(), append([]string{"db", "contract"}, flags...)...)
		assert.Equal(t, want, run.code, run.stderr)
		assert.Contains(t, run.stderr, says)
	}
	contract(2, "--ack REASON")
	contract(3, "cutover db expand comes first", "--ack", "a test")
	env.must(t, "db", "expand")
	env.must(t, "route", "tools", "99.99")
	contract(3, "tools is at 99.99 %", "--ack", "a test")
	env.must(t, "route", "tools", "100")
	event := number(t, db, "INSERT INTO events (system, action, details) VALUES ('go', 'membership.expire', '{\"account\": \"nobody\"}') RETURNING id")
	bad := env.reversed(t, "--since", since)
	assert.Equal(t, 3, bad.code)
	require.Len(t, bad.Differences, 1)
	assert.Equal(t, "status", bad.Differences[0].Field)
	assert.Equal(t, "membership.expire", bad.Differences[0].Writes[0].Action)
	contract(3, "the reverse check says fail", "--ack", "a test")
	assert.Zero(t, env.migrations(t, "status").applied("contract"))
	_, err := db.Exec(t.Context(), "DELETE FROM events WHERE id = $1", event)
	require.NoError(t, err)

	env.must(t, "db", "contract", "--ack", "a test")
	assert.Equal(t, 3, env.migrations(t, "status").applied("contract"))
	require.NoError(t, env.directVisitor(t, "go").login(t.Context(), "user41"))
	assert.Error(t, env.directVisitor(t, "python").login(t.Context(), "user41"), "python does not say who made the session")
	run := env.run(t.Context(), "rollback", "--reason", "a test")
	assert.Equal(t, 3, run.code, run.stderr)
	assert.Contains(t, run.stderr, "there is no way back")
	assert.Contains(t, env.must(t, "events"), "closed the way back by db contract: a test")
	run = env.run(t.Context(), "db", "down")
	assert.Equal(t, 3, run.code, run.stderr)
	assert.Contains(t, run.stderr, "no way down")
	assert.Equal(t, 4, env.migrations(t, "status").applied("expand"))
}

// After a rollback each request is listed that Go failed and that may have
// changed something, and whether it did.
func TestIncidentsTellWhatWasCommitted(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	env.must(t, "route", "tools", "100")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	person := env.newVisitor(transport)
	require.NoError(t, person.login(t.Context(), "user42"))
	tool := env.freeTool(t)
	checkout := fmt.Sprintf("/api/tools/%d/checkout", tool)

	// The sink is silent, so that the answer comes long after the commit: the
	// client does not wait for it.
	sink, goapp := env.stack.Container("sink"), env.stack.Container("goapp")
	require.NoError(t, env.engine.Pause(t.Context(), sink))
	hasty, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	_, err := person.do(hasty, http.MethodPost, checkout, nil)
	cancel()
	require.NoError(t, env.engine.Unpause(context.WithoutCancel(t.Context()), sink))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Eventually(t, func() bool {
		return number(t, db, "SELECT count(*) FROM checkouts WHERE tool_id = $1 AND ended_at IS NULL", tool) == 1
	}, 10*time.Second, 50*time.Millisecond)
	t.Cleanup(func() {
		_, err := db.Exec(context.WithoutCancel(t.Context()), "UPDATE checkouts SET ended_at = now() WHERE tool_id = $1 AND ended_at IS NULL", tool)
		assert.NoError(t, err)
	})

	require.NoError(t, env.engine.Kill(t.Context(), goapp))
	t.Cleanup(func() {
		assert.NoError(t, env.engine.Start(context.Background(), goapp))
		env.awaitHealthy(t, "goapp")
	})
	failed := person.post(t, fmt.Sprintf("/api/tools/%d/checkin", tool), nil)
	require.GreaterOrEqual(t, failed.status, 500)
	person.get(t, "/api/tools/") // fails too, and is no incident
	env.must(t, "rollback", "--reason", "Go is dead")

	var found []struct {
		Method, Path, Route, User string
		RequestID                 string `json:"request_id"`
		Status                    int
		Committed                 bool
	}
	require.Eventually(t, func() bool { // the edge writes its log once a second
		var result struct{ Incidents json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(env.must(t, "db", "incidents", "--json")), &result))
		found = nil
		require.NoError(t, json.Unmarshal(result.Incidents, &found))
		return len(found) >= 2
	}, 15*time.Second, 200*time.Millisecond)
	require.Len(t, found, 2)
	account := fmt.Sprint(number(t, db, "SELECT id FROM accounts WHERE username = 'user42'"))
	for i, want := range []struct {
		path      string
		committed bool
	}{{checkout, true}, {fmt.Sprintf("/api/tools/%d/checkin", tool), false}} {
		assert.Equal(t, want.path, found[i].Path)
		assert.Equal(t, want.committed, found[i].Committed, want.path)
		assert.Equal(t, http.MethodPost, found[i].Method)
		assert.Equal(t, "tools", found[i].Route)
		assert.Equal(t, account, found[i].User)
		assert.NotEmpty(t, found[i].RequestID)
	}
}
