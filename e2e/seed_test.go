package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// checksum is one number for all rows of a table.
func checksum(t *testing.T, db *pgx.Conn, table string) (rows int64, sum string) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM "+
		pgx.Identifier{table}.Sanitize()+" t").Scan(&rows, &sum))
	return rows, sum
}

// The same numbers make the same data, and others make other data.
func TestSeedIsDeterministic(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own is over
		defer cancel()
		run := env.run(ctx, "db", "seed", "--accounts", "1000", "--seed", "1")
		assert.Zero(t, run.code, run.stderr)
		// The stories that compare the systems want data that stay as they are.
		assert.Eventually(t, func() bool {
			var due int
			err := db.QueryRow(ctx, "SELECT count(*) FROM memberships WHERE status = 'active' AND ends_on < current_date").Scan(&due)
			return assert.NoError(t, err) && due == 0
		}, 30*time.Second, 100*time.Millisecond, "due memberships were not expired")
	})
	seed := func(accounts, seed string) (sums []string) {
		var result struct {
			Seeded   bool
			Accounts int
		}
		require.NoError(t, json.Unmarshal([]byte(env.must(t, "db", "seed", "--accounts", accounts, "--seed", seed, "--json")), &result))
		assert.True(t, result.Seeded)
		// Memberships expire by themselves, with runs of the job, and logins
		// write the others.
		for _, table := range []string{"accounts", "badges", "awards", "tools", "circles", "circle_members", "checkouts", "jobs"} {
			_, sum := checksum(t, db, table)
			sums = append(sums, sum)
		}
		return sums
	}
	first := seed("300", "7")
	assert.EqualValues(t, 300, number(t, db, "SELECT count(*) FROM accounts WHERE username ~ '^user[0-9]+$'"))
	assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM jobs WHERE (name, period, owner) = ('expire-memberships', '10 seconds', 'python')"))
	assert.NotEqual(t, first, seed("300", "8"))
	assert.Equal(t, first, seed("300", "7"))

	run := env.run(t.Context(), "db", "seed", "--accounts", "-1")
	assert.Equal(t, 2, run.code, run.stderr)
	run = env.run(t.Context(), "db", "seed", "--accounts", "many")
	assert.Equal(t, 2, run.code, run.stderr)

	// A database that somebody else filled is not touched.
	var mark string
	require.NoError(t, db.QueryRow(t.Context(), "SELECT quote_literal(obj_description('public'::regnamespace))").Scan(&mark))
	_, err := db.Exec(t.Context(), "COMMENT ON SCHEMA public IS 'mine'")
	require.NoError(t, err)
	run = env.run(t.Context(), "db", "seed", "--accounts", "5")
	assert.Equal(t, 3, run.code, run.stderr)
	assert.EqualValues(t, 300, number(t, db, "SELECT count(*) FROM accounts WHERE username ~ '^user[0-9]+$'"))
	_, err = db.Exec(t.Context(), "COMMENT ON SCHEMA public IS "+mark)
	require.NoError(t, err)
}

// A million accounts are made in about a minute, and both systems answer their
// members in time.
func TestVerifyMillionAccounts(t *testing.T) {
	verifyDuration(t)
	env := ownEnvironment(t, "million", nil)
	env.up(t)
	begin := time.Now()
	t.Log(env.must(t, "db", "seed", "--accounts", "1000000", "--seed", "7"))
	t.Logf("in all %s", time.Since(begin).Round(time.Second/10))
	for _, system := range systems {
		admin := env.directVisitor(t, system)
		require.NoError(t, admin.login(t.Context(), "admin"))
		for _, path := range []string{
			"/api/users/", "/api/users/?page=1000", "/api/users/?page=10000&per_page=100", "/api/users/?q=berg", "/api/users/?q=berg&page=1000", "/api/users/?q=user999999", "/api/users/?q=nobody+at+all",
			"/api/users/999999", "/api/badges/", "/api/tools/", "/api/memberships/", "/api/memberships/?page=1000", "/api/memberships/?account_id=500000", "/users?q=berg", "/dashboard",
		} {
			begin := time.Now()
			a := admin.get(t, path)
			assert.Equal(t, http.StatusOK, a.status, "%s %s: %.200s", system, path, a.body)
			t.Logf("%-6s %-40s %s", system, path, time.Since(begin).Round(time.Millisecond))
		}
	}
}
