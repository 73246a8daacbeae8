package e2e

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// migrations is what db status --json says.
type migrations struct {
	Migrations []struct{ Name, Kind, State string }
	Invalid    []string `json:"invalid_indexes"`
	Ran        []struct{ Name string }
}

func (env *environment) migrations(t *testing.T, args ...string) migrations {
	t.Helper()
	var m migrations
	require.NoError(t, json.Unmarshal([]byte(env.must(t, append(append([]string{"db"}, args...), "--json")...)), &m))
	return m
}

// applied counts the migrations of a kind that were run.
func (m migrations) applied(kind string) (count int) {
	for _, migration := range m.Migrations {
		if migration.Kind == kind && migration.State == "applied" {
			count++
		}
	}
	return count
}

// takeBack leaves the schema as the story found it.
func (env *environment) takeBack(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // the test's own is over
		defer cancel()
		run := env.run(ctx, "db", "down")
		assert.Zero(t, run.code, run.stderr)
	})
}

const (
	hasLastLogin = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'accounts' AND column_name = 'last_login_go'"
	hasCreatedBy = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'sessions' AND column_name = 'created_by_system'"
	validIndexes = "SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text IN ('idx_accounts_email_enabled', 'idx_sessions_user_id')"
)

// Both systems log people in before the expansion, with it, and after it was
// taken back; with it each session says who made it, and Go's logins are noted.
func TestExpandSuitsBothSystems(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	env.takeBack(t)
	logIn := func(system, name string) {
		t.Helper()
		require.NoError(t, env.directVisitor(t, system).login(t.Context(), name), system)
	}
	for _, system := range systems {
		logIn(system, "user31")
	}
	dry := env.must(t, "db", "expand", "--dry-run")
	assert.Contains(t, dry, "ADD COLUMN IF NOT EXISTS last_login_go")
	assert.Contains(t, dry, "CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_sessions_user_id")
	assert.Zero(t, number(t, db, hasLastLogin), "a dry run changed something")
	assert.Zero(t, env.migrations(t, "status").applied("expand"), "a dry run changed something")

	first := env.migrations(t, "expand")
	assert.Len(t, first.Ran, 4)
	assert.Equal(t, 4, first.applied("expand"))
	assert.Zero(t, first.applied("contract"))
	assert.EqualValues(t, 1, number(t, db, hasLastLogin))
	assert.EqualValues(t, 1, number(t, db, hasCreatedBy))
	assert.EqualValues(t, 2, number(t, db, validIndexes))
	again := env.migrations(t, "expand")
	assert.Empty(t, again.Ran, "what was run is run again")

	account := number(t, db, "SELECT id FROM accounts WHERE username = 'user31'")
	newest := number(t, db, "SELECT max(id) FROM sessions")
	logIn("python", "user31")
	assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM sessions WHERE id > $1 AND user_id = $2 AND created_by_system = 'python'", newest, account))
	assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM accounts WHERE id = $1 AND last_login_go IS NULL", account))
	logIn("go", "user31")
	assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM sessions WHERE id > $1 AND user_id = $2 AND created_by_system = 'go'", newest, account))
	assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM accounts WHERE id = $1 AND abs(extract(epoch FROM now() - last_login_go)) < 60", account))
	assert.EqualValues(t, 1, number(t, db, "SELECT count(DISTINCT created_by_system) FROM sessions WHERE id <= $1", newest), "older sessions are python's")

	down := env.migrations(t, "down")
	assert.Len(t, down.Ran, 4)
	assert.Zero(t, number(t, db, hasLastLogin)+number(t, db, hasCreatedBy)+number(t, db, validIndexes))
	for _, system := range systems {
		logIn(system, "user31")
	}
	assert.Empty(t, env.migrations(t, "down").Ran)
}

// What an interrupted build left is rebuilt: the next one would take it for
// the real index.
func TestExpandRebuildsInvalidIndexes(t *testing.T) {
	env := useShared(t)
	db, reader := env.db(t), env.db(t)
	env.takeBack(t)
	// A build waits for whoever looked at the table before, and is cut off.
	_, err := reader.Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ")
	require.NoError(t, err)
	number(t, reader, "SELECT count(*) FROM accounts")
	_, err = db.Exec(t.Context(), "SET statement_timeout = '500ms'")
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), "CREATE INDEX CONCURRENTLY idx_accounts_email_enabled ON accounts (email, enabled)")
	require.ErrorContains(t, err, "statement timeout")
	_, err = reader.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.Equal(t, []string{"idx_accounts_email_enabled"}, env.migrations(t, "status").Invalid)

	assert.Empty(t, env.migrations(t, "expand").Invalid)
	assert.EqualValues(t, 2, number(t, db, validIndexes))
}

// A migration gives way to whoever holds its table: it is refused when that
// takes too long, says who it is, and goes on when the table is free.
func TestExpandGivesWay(t *testing.T) {
	env := useShared(t)
	reader, db := env.db(t), env.db(t)
	env.takeBack(t)
	tx, err := reader.Begin(t.Context())
	require.NoError(t, err)
	holding := func(tx pgx.Tx) {
		var count int64
		require.NoError(t, tx.QueryRow(t.Context(), "SELECT count(*) FROM accounts").Scan(&count))
	}
	holding(tx)
	run := env.run(t.Context(), "db", "expand", "--patience", "1s")
	assert.Equal(t, 3, run.code, run.stderr)
	assert.Contains(t, run.stderr, "00001_accounts_last_login_go did not get its lock")
	assert.Contains(t, run.stderr, "SELECT count(*) FROM accounts")
	assert.Zero(t, number(t, db, hasLastLogin))

	done := make(chan commandRun, 1)
	go func() { done <- env.run(t.Context(), "db", "expand") }()
	// Meanwhile nobody waits long: each attempt holds others up for a moment.
	require.Eventually(t, func() bool {
		return number(t, db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE accounts%'") > 0
	}, 30*time.Second, 5*time.Millisecond)
	begin := time.Now()
	number(t, db, "SELECT count(*) FROM accounts WHERE id = 1")
	assert.Less(t, time.Since(begin), time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
	run = <-done
	assert.Zero(t, run.code, run.stderr)
	assert.EqualValues(t, 1, number(t, db, hasLastLogin))
}
