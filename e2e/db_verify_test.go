package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// verification is what db verify --json says.
type verification struct {
	code       int
	Verdict    string
	Baseline   struct{ Recorded bool }
	RowsPerS   float64 `json:"rows_per_s"`
	Rows       int64
	Tables     []verifiedTable
	Invariants []struct {
		Name, Verdict string
		Count         int64
	}
}

type verifiedTable struct {
	Name        string
	Rows        int64
	RowsPerS    float64 `json:"rows_per_s"`
	Added       int64
	Differences []struct {
		From, To int64
		Keys     []int64
	}
}

func (env *environment) verification(t *testing.T, flags ...string) verification {
	t.Helper()
	run := env.run(t.Context(), append([]string{"db", "verify", "--json"}, flags...)...)
	v := verification{code: run.code}
	require.NoError(t, json.Unmarshal([]byte(run.stdout), &v), "%s%s", run.stdout, run.stderr)
	return v
}

// different lists the tables with differences.
func (v verification) different() (names []string) {
	for _, table := range v.Tables {
		if len(table.Differences) > 0 {
			names = append(names, table.Name)
		}
	}
	return names
}

func (v verification) table(t *testing.T, name string) verifiedTable {
	t.Helper()
	for _, table := range v.Tables {
		if table.Name == name {
			return table
		}
	}
	require.Fail(t, "no table "+name)
	return verifiedTable{}
}

// awaitExpiry waits until the background job has ended the memberships that are
// over: otherwise it writes in the middle of a comparison.
func (env *environment) awaitExpiry(t *testing.T) {
	t.Helper()
	db := env.db(t)
	require.Eventually(t, func() bool {
		return number(t, db, "SELECT count(*) FROM memberships WHERE status = 'active' AND ends_on < (now() AT TIME ZONE 'Europe/Oslo')::date") == 0
	}, 2*time.Minute, 200*time.Millisecond)
}

// A byte that changed is found and located, whoever changed it; new rows are
// counted; what the migrations add is no difference; an invariant that does
// not hold is named.
func TestVerifiesWhatTheTablesHeld(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	env.takeBack(t)
	exec := func(sql string, arguments ...any) {
		t.Helper()
		_, err := db.Exec(t.Context(), sql, arguments...)
		require.NoError(t, err)
	}
	env.awaitExpiry(t)
	recorded := env.verification(t, "--record")
	assert.Zero(t, recorded.code)
	assert.True(t, recorded.Baseline.Recorded)
	for _, invariant := range recorded.Invariants {
		assert.Equal(t, "pass", invariant.Verdict, invariant.Name)
	}
	env.must(t, "db", "expand")
	same := env.verification(t)
	assert.Zero(t, same.code)
	assert.Equal(t, "pass", same.Verdict)
	assert.Empty(t, same.different())
	assert.Equal(t, recorded.Rows, same.Rows)

	exec("UPDATE accounts SET name = overlay(name placing chr(ascii(name) + 1) from 1 for 1) WHERE username = 'user700'")
	account := number(t, db, "SELECT id FROM accounts WHERE username = 'user700'")
	changed := env.verification(t)
	assert.Equal(t, 3, changed.code)
	assert.Equal(t, "fail", changed.Verdict)
	assert.Equal(t, []string{"accounts"}, changed.different())
	differences := changed.table(t, "accounts").Differences
	require.Len(t, differences, 1)
	assert.LessOrEqual(t, differences[0].From, account)
	assert.GreaterOrEqual(t, differences[0].To, account)
	assert.LessOrEqual(t, differences[0].To-differences[0].From, int64(1000))
	assert.Contains(t, differences[0].Keys, account)
	exec("UPDATE accounts SET name = overlay(name placing chr(ascii(name) - 1) from 1 for 1) WHERE username = 'user700'")
	assert.Empty(t, env.verification(t).different())

	require.NoError(t, env.directVisitor(t, "go").login(t.Context(), "user32"))
	added := env.verification(t)
	assert.Zero(t, added.code, "%+v", added)
	assert.EqualValues(t, 1, added.table(t, "sessions").Added)
	assert.EqualValues(t, 1, added.table(t, "events").Added)

	award := number(t, db, "INSERT INTO awards (badge_id, account_id) VALUES ((SELECT min(id) FROM badges), 8999999999) RETURNING id")
	broken := env.verification(t)
	exec("DELETE FROM awards WHERE id = $1", award)
	assert.Equal(t, 3, broken.code)
	for _, invariant := range broken.Invariants {
		want := map[bool]string{true: "fail", false: "pass"}[invariant.Name == "every award has its member"]
		assert.Equal(t, want, invariant.Verdict, invariant.Name)
	}
	exec("DELETE FROM events WHERE id = (SELECT min(id) FROM events)")
	assert.Equal(t, []string{"events"}, env.verification(t).different())
}
