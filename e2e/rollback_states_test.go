package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/load"
)

// A rollback works in every state of the migration and of what it depends on,
// under load and at once; the migration begins again from there.
func TestRollbackWorksInEveryState(t *testing.T) {
	story := newRollbackStory(t)
	story.tryAll(t)
	assert.Less(t, story.percentile(t, 100), 3*lastByGo, "one of each kind, on whatever machine")
}

func TestVerifyRollbackWorksInEveryState(t *testing.T) {
	end := time.Now().Add(5 * verifyDuration(t))
	story := newRollbackStory(t)
	for time.Now().Before(end) && !t.Failed() {
		story.tryAll(t)
	}
	assert.Less(t, story.percentile(t, 95), lastByGo)
}

// lastByGo is how long after the command's start a request may begin that Go
// still answers, at the 95th percentile, while python runs.
const lastByGo = time.Second

type rollbackStory struct {
	env   *environment
	crowd *crowd

	mu      sync.Mutex
	sent    []sent
	waiting map[int]time.Time // when requests began that have no answer yet

	took []time.Duration // from a command's start to the last request that Go answered
}

func newRollbackStory(t *testing.T) *rollbackStory {
	s := &rollbackStory{env: useQuick(t), waiting: map[int]time.Time{}}
	s.crowd = newCrowd(t, s.env, 40)
	for _, person := range s.crowd.people {
		person.http.Timeout = 10 * time.Second
	}
	paths := []string{"/api/auth/me", "/api/users/?per_page=5", "/login"}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		load.Arrivals{Rate: 80, Duration: time.Hour}.Run(ctx, func(ctx context.Context, n int, _ time.Time) {
			began := time.Now()
			s.mu.Lock()
			s.waiting[n] = began
			s.mu.Unlock()
			a, err := s.crowd.people[n%len(s.crowd.people)].do(ctx, http.MethodGet, paths[n%len(paths)], nil)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.waiting, n)
			if err != nil {
				return // what is down fails it: only who answered is asked for
			}
			s.sent = append(s.sent, sent{began, time.Now(), a.servedBy})
		})
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return s
}

func (s *rollbackStory) tryAll(t *testing.T) {
	guard := s.env.stack.Container("guard")
	kill := func(service string) func(*testing.T) func() {
		return func(t *testing.T) func() {
			container := s.env.stack.Container(service)
			require.NoError(t, s.env.engine.Kill(t.Context(), container))
			return func() {
				require.NoError(t, s.env.engine.Start(t.Context(), container))
				s.env.awaitHealthy(t, service)
			}
		}
	}
	for _, test := range []struct {
		name  string
		reach string // the step to be at, "" for none beyond the preparation
		hurt  func(*testing.T) (mend func())
	}{
		{"parallel", "", nil},
		{"mid-bake", "auth-10", s.bake}, // of the next step
		{"paused", "users-50", func(t *testing.T) func() {
			s.env.must(t, "pause", "--reason", "the story")
			return func() {}
		}},
		{"100 %", "all-on-go", nil},
		{"guard dead", "users-100", kill("guard")},
		{"guard paused", "users-100", func(t *testing.T) func() {
			require.NoError(t, s.env.engine.Pause(t.Context(), guard))
			return func() {}
		}},
		{"guard hung", "users-100", func(t *testing.T) func() {
			_, err := s.env.engine.Exec(t.Context(), guard, "sh", "-c", "kill -STOP $(pidof -x guard)")
			require.NoError(t, err)
			return func() {}
		}},
		{"postgres dead", "users-100", kill("postgres")},
		{"redis dead", "users-100", kill("redis")},
		{"prometheus dead", "users-100", kill("prometheus")},
		{"the guard's volume full", "users-100", s.fill},
		{"nginx restarted meanwhile", "users-100", func(t *testing.T) func() {
			s.env.crash(t, "nginx")
			return func() {}
		}},
		{"python stopped", "stop-python", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.reach != "" {
				s.env.advance(t, "--to", test.reach)
			}
			mend := func() {}
			if test.hurt != nil {
				mend = test.hurt(t)
			}
			begin := time.Now()
			run := s.env.as(t.Context(), "bob", "rollback", "--json", "--reason", test.name)
			acknowledged := time.Now()
			mended := sync.OnceFunc(mend)
			defer mended()
			require.Zero(t, run.code, "%s%s", run.stdout, run.stderr)
			var result struct{ Through, Why string }
			require.NoError(t, json.Unmarshal([]byte(run.stdout), &result))
			took := s.lastGo(t, begin, acknowledged)
			t.Logf("%s: the last request that Go answered began %s after the command, which took %s (through %s %s)",
				test.name, took.Round(time.Millisecond), acknowledged.Sub(begin).Round(time.Millisecond), result.Through, result.Why)
			if test.reach != "" && test.reach != "stop-python" {
				s.took = append(s.took, took)
			}
			mended()
			s.judge(t)
		})
	}
}

// percentile of the times from a command to the last request that Go answered.
func (s *rollbackStory) percentile(t *testing.T, percent int) time.Duration {
	t.Helper()
	require.NotEmpty(t, s.took)
	slices.Sort(s.took)
	at := func(percent int) time.Duration { return s.took[(len(s.took)*percent+99)/100-1].Round(time.Millisecond) }
	t.Logf("from the command to the last request that Go answered, python running, %d rollbacks: median %s, p95 %s, longest %s",
		len(s.took), at(50), at(95), at(100))
	return at(percent)
}

// bake has alice advance; the returned function waits for the end of her
// command, which is told who took the step back.
func (s *rollbackStory) bake(t *testing.T) func() {
	ended := make(chan commandRun, 1)
	go func() {
		ended <- s.env.as(t.Context(), "alice", append([]string{"advance", "--bake", "5m"}, bakeAcks()...)...)
	}()
	s.env.awaitStep(t, "auth-100")
	return func() {
		run := <-ended
		assert.Equal(t, 3, run.code, run.stderr)
		assert.Contains(t, run.stderr, "bob")
	}
}

// fill takes all of the volume that the guard records on, until nothing more
// fits.
func (s *rollbackStory) fill(t *testing.T) func() {
	nginx := s.env.stack.Container("nginx")
	result, err := s.env.engine.Exec(t.Context(), nginx, "sh", "-c", "cat /dev/zero > /var/lib/cutover/filling; echo >> /var/lib/cutover/filling")
	require.NoError(t, err)
	require.NotZero(t, result.Exit, "the volume has space left")
	return func() {
		result, err := s.env.engine.Exec(t.Context(), nginx, "rm", "/var/lib/cutover/filling")
		require.NoError(t, err)
		require.Zero(t, result.Exit, result.Stderr)
	}
}

// lastGo waits until requests that began after the acknowledgement were answered
// by python, and all that began before by anybody, and tells how long after the command's start the last one began that
// Go answered.
func (s *rollbackStory) lastGo(t *testing.T, begin, acknowledged time.Time) (took time.Duration) {
	t.Helper()
	await(t, 20*time.Second, "python answers", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, began := range s.waiting {
			if began.Before(acknowledged) {
				return false
			}
		}
		later := 0
		for _, r := range s.sent {
			if r.servedBy == "python" && r.began.After(acknowledged.Add(200*time.Millisecond)) {
				later++
			}
		}
		return later > 10
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sent {
		if r.servedBy == "go" && r.began.After(begin) {
			took = max(took, r.began.Sub(begin))
		}
	}
	s.sent = nil
	return took
}

// judge makes sure that everything is on python and stays there, that nobody was
// logged out, and that the migration goes on when it is told to.
func (s *rollbackStory) judge(t *testing.T) {
	t.Helper()
	env := s.env
	env.awaitHealthy(t, "guard")
	env.awaitHealthy(t, "flask")
	await(t, 30*time.Second, "the guard is back", func() bool {
		st := env.status(t)
		return st.Guard.Reachable && st.Guard.InSync
	})
	st := env.status(t)
	assert.True(t, st.Latched)
	assert.False(t, st.Paused)
	assert.Nil(t, st.Progress)
	assert.Equal(t, "python", st.Home)
	assert.Equal(t, "side-by-side", st.Step, "the last one with everything on python")
	for _, route := range st.Routes {
		assert.Zero(t, route.Weight, route.Name)
	}
	assert.Equal(t, []string{"python"}, s.crowd.servedBy(t, "/api/auth/me", "/static/style.css"))
	for i, person := range s.crowd.people {
		if i%8 == 0 {
			assert.Equal(t, fmt.Sprintf("user%d", i+1), person.me(t), "still logged in")
		}
	}
	run := env.run(t.Context(), append([]string{"advance", "--bake", "0s"}, bakeAcks()...)...)
	assert.Equal(t, 3, run.code, "latched")
	env.must(t, "resume", "--reason", "the cause is mended")
	env.advance(t)
	assert.Equal(t, "auth-10", env.status(t).Step)
	env.must(t, "rollback", "--reason", "the next case")
	env.must(t, "resume", "--reason", "the next case")
	explains(t, env)
}
