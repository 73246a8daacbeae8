package e2e

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The guard hands jobs over and sees what all sessions do, and no more; its
// password is its own, and it gets in when nobody else does.
func TestGuardsDatabaseRole(t *testing.T) {
	env := useShared(t)
	for _, service := range []string{"guard", "nginx", "flask", "goapp", "postgres", "redis"} {
		result, err := env.engine.Exec(t.Context(), env.stack.Container(service), "cat", "/run/secrets/guard/postgres_password")
		require.NoError(t, err)
		assert.Equal(t, service == "guard", result.Exit == 0, "%s: %s", service, result.Stderr)
	}

	guard := env.dbAs(t, "guard", "guard")
	give := func(ctx context.Context, owner string) {
		t.Helper()
		tag, err := guard.Exec(ctx, "UPDATE jobs SET owner = $2 WHERE name = $1", theJob, owner)
		require.NoError(t, err)
		assert.EqualValues(t, 1, tag.RowsAffected())
	}
	give(t.Context(), "go")
	give(t.Context(), "python")
	assert.Positive(t, number(t, guard, "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('python', 'go')"))
	assert.Zero(t, number(t, guard, "SELECT count(*) FROM pg_stat_activity WHERE query = '<insufficient privilege>'"))
	for _, allowed := range []string{"SELECT count(*) FROM jobs", "SELECT count(*) FROM job_runs", "SELECT count(*) FROM events"} {
		number(t, guard, allowed)
	}
	for _, forbidden := range []string{
		"UPDATE jobs SET period = '1 day'", "UPDATE jobs SET name = 'x'", "DELETE FROM jobs", "DELETE FROM job_runs",
		"INSERT INTO job_runs (job, slot, system) VALUES ('expire-memberships', now(), 'go')",
		"DELETE FROM events", "SELECT count(*) FROM accounts", "SELECT count(*) FROM sessions", "CREATE TABLE x ()",
	} {
		_, err := guard.Exec(t.Context(), forbidden)
		var refused *pgconn.PgError
		if assert.True(t, errors.As(err, &refused), "%s: %v", forbidden, err) {
			assert.Equal(t, "42501", refused.Code, forbidden)
		}
	}
	_, err := guard.Exec(t.Context(), "UPDATE jobs SET owner = 'ruby'")
	assert.ErrorContains(t, err, "check constraint")
	require.NoError(t, guard.Close(t.Context()))

	taker, err := env.engine.Tunnel(t.Context(), env.stack.Container("flask"), "python3", "-c", `
import sys, psycopg
password = open("/run/secrets/flask/postgres_password").read()
held = []
try:
    while True:
        held.append(psycopg.connect(host="postgres", user="python", dbname="p2k16", password=password))
except psycopg.OperationalError as error:
    print(len(held), str(error).replace("\n", " "), flush=True)
sys.stdin.read()
`)
	require.NoError(t, err)
	require.NoError(t, taker.SetDeadline(time.Now().Add(time.Minute)))
	line, err := bufio.NewReader(taker).ReadString('\n')
	require.NoError(t, err)
	t.Log(strings.TrimSpace(line))
	assert.Contains(t, line, "remaining connection slots are reserved")
	guard = env.dbAs(t, "guard", "guard")
	give(t.Context(), "python")
	require.NoError(t, taker.Close())
	require.Eventually(t, func() bool {
		return number(t, guard, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'python'") < 100
	}, 30*time.Second, 100*time.Millisecond, "the connections are given back")
}
