package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// succeeds sends a request that has to go well.
func (v *visitor) succeeds(t *testing.T, method, path string, body any) answer {
	t.Helper()
	a, err := v.do(t.Context(), method, path, body)
	require.NoError(t, err)
	require.Less(t, a.status, 300, "%s %s: %s", method, path, a.body)
	return a
}

// What one system has read, and the other then writes, the first reads anew
// within a second: neither holds on to what it knew.
func TestWhatOneWritesTheOtherReads(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	account := number(t, db, "SELECT id FROM accounts WHERE username = 'user50'")
	user := fmt.Sprintf("/api/users/%d", account)
	tool := env.freeTool(t)
	var toolName string
	require.NoError(t, db.QueryRow(t.Context(), "SELECT name FROM tools WHERE id = $1", tool).Scan(&toolName))
	held := fmt.Sprintf(`"name":%q,`, toolName)
	badges := fmt.Sprintf("/api/badges/?per_page=100&page=%d", number(t, db, "SELECT 1 + count(*) / 100 FROM badges WHERE title < 'Two writers'"))
	tools := fmt.Sprintf("/api/tools/?per_page=100&page=%d", number(t, db, "SELECT 1 + count(*) / 100 FROM tools WHERE (name, id) < ($1, $2)", toolName, tool))
	for i, reads := range systems {
		writes := systems[1-i]
		reader, writer, admin := env.directVisitor(t, reads), env.directVisitor(t, writes), env.directVisitor(t, writes)
		require.NoError(t, reader.login(t.Context(), "user51"))
		require.NoError(t, writer.login(t.Context(), "user50"))
		require.NoError(t, admin.login(t.Context(), "admin"))
		title := "Two writers, read by " + reads
		holder := func(body string) string {
			_, rest, found := strings.Cut(body, held)
			require.True(t, found, body)
			end, _, _ := strings.Cut(rest, `"name":`)
			return end
		}
		for _, step := range []struct {
			name, path string
			write      func()
			right      func(body string) bool
		}{
			{"a name", user, func() { writer.succeeds(t, http.MethodPut, user, map[string]any{"name": "Written by " + writes}) },
				func(body string) bool { return strings.Contains(body, "Written by "+writes) }},
			{"no name", user, func() { writer.succeeds(t, http.MethodPut, user, map[string]any{"name": nil}) },
				func(body string) bool { return strings.Contains(body, `"name":null`) }},
			{"a badge", badges, func() { admin.succeeds(t, http.MethodPost, "/api/badges/", map[string]any{"title": title}) },
				func(body string) bool { return strings.Contains(body, title) }},
			{"an award", user, func() {
				badge := number(t, db, "SELECT id FROM badges WHERE title = $1", title)
				admin.succeeds(t, http.MethodPost, fmt.Sprintf("/api/badges/%d/award", badge), map[string]any{"account_id": account})
			}, func(body string) bool { return strings.Contains(body, title) }},
			{"a checkout", tools, func() { writer.succeeds(t, http.MethodPost, fmt.Sprintf("/api/tools/%d/checkout", tool), nil) },
				func(body string) bool { return strings.Contains(holder(body), `"user50"`) }},
			{"a checkin", tools, func() { writer.succeeds(t, http.MethodPost, fmt.Sprintf("/api/tools/%d/checkin", tool), nil) },
				func(body string) bool { return strings.Contains(holder(body), `"checkout":null`) }},
		} {
			before := reader.succeeds(t, http.MethodGet, step.path, nil)
			require.False(t, step.right(string(before.body)), "%s on %s", step.name, reads)
			step.write()
			require.Eventually(t, func() bool {
				return step.right(string(reader.succeeds(t, http.MethodGet, step.path, nil).body))
			}, time.Second, 20*time.Millisecond, "%s, written by %s, as %s reads it", step.name, writes, reads)
		}

		// Who is disabled or logged out on one is so on the other.
		require.Equal(t, "user51", reader.me(t))
		other := fmt.Sprintf("/api/users/%d", number(t, db, "SELECT id FROM accounts WHERE username = 'user51'"))
		gone := func() bool { return reader.get(t, "/api/auth/me").status == http.StatusUnauthorized }
		admin.succeeds(t, http.MethodPut, other, map[string]any{"enabled": false})
		require.Eventually(t, gone, time.Second, 20*time.Millisecond, "%s knows who was disabled", reads)
		admin.succeeds(t, http.MethodPut, other, map[string]any{"enabled": true})
		require.Eventually(t, func() bool { return !gone() }, time.Second, 20*time.Millisecond)
		same := env.directVisitor(t, writes)
		same.http.Jar = reader.http.Jar
		same.succeeds(t, http.MethodPost, "/api/auth/logout", nil)
		require.Eventually(t, gone, time.Second, 20*time.Millisecond, "%s knows who logged out", reads)
	}
}

// Two who change different fields of one account at the same moment, on either
// system, both get what they wanted.
func TestConcurrentChangesBothSurvive(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	account := number(t, db, "SELECT id FROM accounts WHERE username = 'user52'")
	path := fmt.Sprintf("/api/users/%d", account)
	admins := map[string]*visitor{}
	for _, system := range systems {
		admins[system] = env.directVisitor(t, system)
		require.NoError(t, admins[system].login(t.Context(), "admin"))
	}
	for round := range 20 {
		names, emails := systems[round%2], systems[1-round%2]
		name, email := fmt.Sprintf("Round %d", round), fmt.Sprintf("round%d@example.com", round)
		var both sync.WaitGroup
		for system, change := range map[string]map[string]any{names: {"name": name}, emails: {"email": email}} {
			both.Go(func() {
				a, err := admins[system].do(t.Context(), http.MethodPut, path, change)
				if assert.NoError(t, err) {
					assert.Equal(t, http.StatusOK, a.status, "%s: %s", system, a.body)
				}
			})
		}
		both.Wait()
		assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM accounts WHERE id = $1 AND name = $2 AND email = $3", account, name, email),
			"round %d: the name by %s, the email by %s", round, names, emails)
	}
	admins["go"].succeeds(t, http.MethodPut, path, map[string]any{"email": "user52@example.com"})
}

// The same writes leave the same values, whichever system makes them: types,
// moments, NULL against empty, spaces, case.
func TestBothWriteTheSameValues(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	env.takeBack(t)
	env.must(t, "db", "expand")
	account := number(t, db, "SELECT id FROM accounts WHERE username = 'user53'")
	tool := env.freeTool(t)
	user := fmt.Sprintf("/api/users/%d", account)
	// Moments become the seconds since the request, numbers that count up are left out.
	rows := func(sql string, arguments ...any) (found []map[string]any) {
		t.Helper()
		result, err := db.Query(t.Context(), "SELECT to_jsonb(r) FROM ("+sql+") r", arguments...)
		require.NoError(t, err)
		for result.Next() {
			var text []byte
			require.NoError(t, result.Scan(&text))
			var row map[string]any
			require.NoError(t, json.Unmarshal(text, &row))
			found = append(found, row)
		}
		require.NoError(t, result.Err())
		return found
	}
	const soon = "abs(extract(epoch FROM now() - %s)) < 30"
	values := map[string][]any{}
	for _, system := range systems {
		last := func(table string) int64 { return number(t, db, "SELECT coalesce(max(id), 0) FROM "+table) }
		sessions, events, badges, awards, checkouts := last("sessions"), last("events"), last("badges"), last("awards"), last("checkouts")
		person, admin := env.directVisitor(t, system), env.directVisitor(t, system)
		require.NoError(t, person.login(t.Context(), "user53"))
		require.NoError(t, admin.login(t.Context(), "admin"))
		for _, change := range []map[string]any{
			{"name": "  two spaces  "}, {"name": ""}, {"name": nil}, {"name": "İi ſS ß"}, {"name": "a\u0301 \u00e1"},
			{"email": "User53@Example.COM"}, {"email": "user53@example.com"}, {"name": "Ærlig 🦀", "email": "user53@example.com"},
		} {
			person.succeeds(t, http.MethodPut, user, change)
			values[system] = append(values[system], rows("SELECT name, email, enabled, created_at FROM accounts WHERE id = $1", account))
		}
		for _, badge := range []map[string]any{
			{"title": "  Values A of " + system}, {"title": "Values b of " + system + "  ", "description": ""}, {"title": "Values ß of " + system, "description": " \t "},
		} {
			admin.succeeds(t, http.MethodPost, "/api/badges/", badge)
		}
		badge := number(t, db, "SELECT max(id) FROM badges")
		admin.succeeds(t, http.MethodPost, fmt.Sprintf("/api/badges/%d/award", badge), map[string]any{"account_id": account})
		person.succeeds(t, http.MethodPost, fmt.Sprintf("/api/tools/%d/checkout", tool), nil)
		person.succeeds(t, http.MethodPost, fmt.Sprintf("/api/tools/%d/checkin", tool), nil)
		values[system] = append(values[system],
			rows("SELECT replace(title, $2, 'SYSTEM') AS title, description, circle_id, "+fmt.Sprintf(soon, "created_at")+" AS soon FROM badges WHERE id > $1 ORDER BY id", badges, system),
			rows("SELECT badge_id = $2 AS badge, account_id, awarded_by, "+fmt.Sprintf(soon, "created_at")+" AS soon FROM awards WHERE id > $1 ORDER BY id", awards, badge),
			rows("SELECT tool_id, account_id, "+fmt.Sprintf(soon, "started_at")+" AS soon, "+fmt.Sprintf(soon, "ended_at")+" AS ended FROM checkouts WHERE id > $1 ORDER BY id", checkouts),
			rows("SELECT user_id, length(session_id_hash) AS length, extract(epoch FROM expires_at - created_at) AS ttl, "+fmt.Sprintf(soon, "created_at")+
				" AS soon, replace(created_by_system, $2, 'SYSTEM') AS by FROM sessions WHERE id > $1 ORDER BY id", sessions, system),
			rows("SELECT replace(system, $2, 'SYSTEM') AS system, account_id, action, details - 'badge' - 'award' - 'checkout' AS details, details ?| ARRAY['badge', 'award', 'checkout'] AS made, "+
				fmt.Sprintf(soon, "created_at")+" AS soon FROM events WHERE id > $1 AND action <> 'membership.expire' ORDER BY id", events, system),
		)
		person.succeeds(t, http.MethodPost, "/api/auth/logout", nil)
		assert.Zero(t, number(t, db, "SELECT count(*) FROM sessions WHERE id > $1 AND user_id = $2", sessions, account), "%s: a logout leaves its session's row", system)
	}
	text := func(system string) string {
		all, err := json.MarshalIndent(values[system], "", " ")
		require.NoError(t, err)
		assert.NotContains(t, string(all), `"soon": false`, system)
		return string(all)
	}
	assert.Equal(t, text("python"), text("go"))
}
