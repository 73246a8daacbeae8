package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/load"
)

// A change of weight costs nobody a request, and is in force at once.
func TestWeightChangesLoseNothing(t *testing.T) {
	env := useShared(t)
	person := env.loadVisitor(t)
	require.NoError(t, person.login(t.Context(), "user1"))
	// The resource knows no POST: both systems refuse it alike.
	changeWeights(t, env, person, trial{300, 10 * time.Second, 20, http.StatusMethodNotAllowed})
}

func TestVerifyWeightChangesLoseNothing(t *testing.T) {
	env := useShared(t)
	person := env.loadVisitor(t)
	require.NoError(t, person.login(t.Context(), "user1"))
	changeWeights(t, env, person, trial{300, verifyDuration(t), 20, http.StatusMethodNotAllowed})
}

// verifyDuration skips a long check unless it was asked for, and says how long
// its load runs.
func verifyDuration(t *testing.T) time.Duration {
	t.Helper()
	if !*verify {
		t.Skip("one of the long checks: make verify")
	}
	seconds, err := strconv.Atoi(os.Getenv("VERIFY_SECONDS"))
	require.NoError(t, err, "VERIFY_SECONDS")
	return time.Duration(seconds) * time.Second
}

// loadVisitor keeps as many connections as a load needs.
func (env *environment) loadVisitor(t *testing.T) *visitor {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 500}
	t.Cleanup(transport.CloseIdleConnections)
	return env.newVisitor(transport)
}

// trial is how weights are changed under load.
type trial struct {
	rate     float64 // requests a second
	duration time.Duration
	changes  int
	posted   int // the status of an answer to a POST
}

// grace is how long after the acknowledgement of a change a request may have
// started and still be answered by the old system.
const grace = 10 * time.Millisecond

// sent is one request that was answered.
type sent struct {
	began, ended time.Time
	servedBy     string
}

// change is one weight that was acknowledged; between asked and acked both the
// old system and the new one may answer.
type change struct {
	asked, acked time.Time
	system       string
}

func changeWeights(t *testing.T, env *environment, person *visitor, trial trial) {
	t.Helper()
	// Weights 0 and 100, so that every request says which table it met.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	var requests []sent
	var problems []string
	var summary load.Summary
	var running sync.WaitGroup
	running.Go(func() {
		summary = load.Arrivals{Rate: trial.rate, Duration: time.Hour}.Run(ctx, func(_ context.Context, n int, _ time.Time) {
			method, body, want := http.MethodGet, any(nil), http.StatusOK
			if n%2 == 1 {
				method, body, want = http.MethodPost, map[string]int{"n": n}, trial.posted
			}
			at := time.Now()
			a, err := person.do(t.Context(), method, "/api/users/1", body)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems = append(problems, err.Error())
				return
			}
			if a.status != want {
				problems = append(problems, fmt.Sprintf("%s: %d by %s: %s", method, a.status, a.servedBy, a.body))
			}
			requests = append(requests, sent{at, time.Now(), a.servedBy})
		})
	})

	history := []change{{system: "python"}}
	for i := range trial.changes {
		asked := time.Now()
		system := [2]string{"go", "python"}[i%2]
		env.must(t, "route", "users", [2]string{"100", "0"}[i%2])
		history = append(history, change{asked, time.Now(), system})
		select {
		case <-time.After(trial.duration / time.Duration(trial.changes)):
		case <-t.Context().Done():
		}
	}
	stop()
	running.Wait()

	t.Logf("%d requests, %d changes of weight, slip p99 %s", summary.Sent, trial.changes, summary.SlipP99)
	require.Greater(t, summary.Sent, int(0.8*trial.rate*trial.duration.Seconds()))
	last := slices.MaxFunc(requests, func(a, b sent) int { return a.began.Compare(b.began) })
	assert.True(t, last.began.After(history[trial.changes].acked.Add(grace)), "the last change had no traffic")
	assert.Empty(t, problems)
	late := 0
	for _, r := range requests {
		if !allowed(history, r) {
			late++
		}
	}
	assert.Zero(t, late, "requests answered by the old system although they began more than %s after the acknowledgement", grace)
}

// allowed says whether the system that answered a request was in force at some
// moment while the request was under way.
func allowed(history []change, r sent) bool {
	for i, c := range history {
		begun := c.asked.Before(r.ended)
		superseded := i+1 < len(history) && r.began.After(history[i+1].acked.Add(grace))
		if c.system == r.servedBy && begun && !superseded {
			return true
		}
	}
	return false
}
