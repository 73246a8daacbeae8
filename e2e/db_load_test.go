package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/load"
)

// writers are people who write through the edge, about half of them on each
// system.
type writers struct {
	people []*visitor
	ids    []int64
}

// newWriters logs so many people in.
func (env *environment) newWriters(t *testing.T, count int) *writers {
	t.Helper()
	w := &writers{}
	db := env.db(t)
	env.must(t, "route", "users", "50")
	transport := &http.Transport{MaxIdleConnsPerHost: 500}
	t.Cleanup(transport.CloseIdleConnections)
	for n := range count {
		name := fmt.Sprintf("user%d", 100+n)
		person := env.newVisitor(transport)
		require.NoError(t, person.login(t.Context(), name))
		w.people = append(w.people, person)
		w.ids = append(w.ids, number(t, db, "SELECT id FROM accounts WHERE username = $1", name))
	}
	return w
}

// outcome is how a load of writes went.
type outcome struct {
	sent, failed int
	p50, p99     time.Duration
	slowest      time.Duration
	slip         time.Duration
	example      string // of a failure
	served       map[string]int
}

// write has accounts changed at a rate until ctx ends or the time is over;
// latencies count from the intended start.
func (w *writers) write(ctx context.Context, rate float64, duration time.Duration) outcome {
	var mutex sync.Mutex
	o := outcome{served: map[string]int{}}
	var took []time.Duration
	summary := load.Arrivals{Rate: rate, Duration: duration}.Run(ctx, func(_ context.Context, n int, intended time.Time) {
		i := n % len(w.people)
		// A write that is under way when the load ends is waited for.
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		a, err := w.people[i].do(asking, http.MethodPut, fmt.Sprintf("/api/users/%d", w.ids[i]), map[string]any{"name": fmt.Sprintf("Skriver %d", n)})
		mutex.Lock()
		defer mutex.Unlock()
		took = append(took, time.Since(intended))
		o.served[a.servedBy]++
		if err != nil || a.status != http.StatusOK {
			o.failed++
			o.example = fmt.Sprintf("%s: %d %s %v", a.servedBy, a.status, a.body, err)
		}
	})
	slices.Sort(took)
	o.sent, o.slip = summary.Sent, summary.SlipP99
	if len(took) > 0 {
		o.p50, o.p99, o.slowest = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	}
	return o
}

func (o outcome) String() string {
	return fmt.Sprintf("%d sent, %d failed, p50 %s, p99 %s, slowest %s, slip p99 %s, by %v %s", o.sent, o.failed,
		o.p50.Round(time.Millisecond), o.p99.Round(time.Millisecond), o.slowest.Round(time.Millisecond), o.slip.Round(time.Millisecond), o.served, o.example)
}

// during writes as long as do takes, and a little before and after.
func (w *writers) during(t *testing.T, rate float64, do func()) outcome {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	result := make(chan outcome, 1)
	go func() { result <- w.write(ctx, rate, 10*time.Minute) }()
	settle := func() {
		select {
		case <-t.Context().Done():
		case <-time.After(2 * time.Second):
		}
	}
	settle()
	do()
	settle()
	stop()
	return <-result
}

// At a million accounts and 200 writes a second the schema is expanded, and
// backed up, without a failed request and without a long wait, also while a
// reader holds the table.
func TestVerifyExpandUnderLoad(t *testing.T) {
	duration := verifyDuration(t)
	env := ownEnvironment(t, "expand-load", nil)
	env.up(t)
	env.must(t, "db", "seed", "--accounts", "1000000", "--seed", "7")
	const rate = 200
	w := env.newWriters(t, 60)
	w.write(t.Context(), rate, 5*time.Second) // both warm up
	without := w.write(t.Context(), rate, min(duration, 30*time.Second))
	t.Logf("without:       %s", without)
	require.Zero(t, without.failed, "%s", without)
	limit := without.p99 + 250*time.Millisecond
	judge := func(name string, with outcome) {
		t.Logf("%-14s %s (limit %s)", name+":", with, limit.Round(time.Millisecond))
		assert.Zero(t, with.failed, name)
		for _, system := range systems {
			assert.Greater(t, with.served[system], with.sent/10, "%s: too little by %s", name, system)
		}
		assert.LessOrEqual(t, with.slowest, limit, name)
	}

	judge("expand", w.during(t, rate, func() { env.must(t, "db", "expand") }))
	assert.Equal(t, 4, env.migrations(t, "status").applied("expand"))
	env.must(t, "db", "down")

	reader := env.db(t)
	judge("with a reader", w.during(t, rate, func() {
		tx, err := reader.Begin(t.Context())
		require.NoError(t, err)
		var count int64
		require.NoError(t, tx.QueryRow(t.Context(), "SELECT count(*) FROM accounts").Scan(&count))
		released := make(chan error, 1)
		go func() {
			time.Sleep(5 * time.Second) // the reader of the check
			released <- tx.Rollback(context.WithoutCancel(t.Context()))
		}()
		env.must(t, "db", "expand")
		require.NoError(t, <-released)
	}))
	assert.Equal(t, 4, env.migrations(t, "status").applied("expand"))

	// The backup under the same load, against a plain dump in the same run.
	var plain, proved time.Duration
	backup := w.during(t, rate, func() {
		began := time.Now()
		dump := exec.CommandContext(t.Context(), "docker", "exec", env.stack.Container("postgres"), "pg_dump", "--host=/run/postgresql", "--username=postgres", "p2k16")
		dump.Stdout = discard{}
		require.NoError(t, dump.Run())
		plain = time.Since(began)
		began = time.Now()
		env.must(t, "db", "backup")
		proved = time.Since(began)
	})
	t.Logf("backup:        %s", backup)
	t.Logf("plain dump %s, backup with proof %s: %.2f times", plain.Round(time.Millisecond), proved.Round(time.Millisecond), proved.Seconds()/plain.Seconds())
	assert.Zero(t, backup.failed)
	assert.LessOrEqual(t, proved.Seconds(), 2.5*plain.Seconds())

	env.awaitExpiry(t)
	quiet := env.verification(t, "--record")
	t.Logf("verify: %d rows, %.0f a second", quiet.Rows, quiet.RowsPerS)
	assert.GreaterOrEqual(t, quiet.RowsPerS, 500_000.0)
	for _, table := range quiet.Tables {
		if table.Rows >= 100_000 {
			assert.GreaterOrEqual(t, table.RowsPerS, 500_000.0, table.Name)
		}
	}
	db := env.db(t)
	_, err := db.Exec(t.Context(), "UPDATE accounts SET email = overlay(email placing 'X' from 1 for 1) WHERE id = 654321")
	require.NoError(t, err)
	found := env.verification(t)
	assert.Equal(t, []string{"accounts"}, found.different())
	assert.Equal(t, []int64{654321}, found.table(t, "accounts").Differences[0].Keys)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
