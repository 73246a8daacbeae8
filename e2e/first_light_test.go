package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/load"
)

// A user who logged in on python stays logged in while a route moves to Go
// under load, and after it was taken back.
func TestSessionSurvivesMoveToGoAndBack(t *testing.T) {
	env := useShared(t)
	people := make([]*visitor, 40)
	transport := &http.Transport{MaxIdleConnsPerHost: len(people)}
	defer transport.CloseIdleConnections()
	for i := range people {
		people[i] = env.newVisitor(transport)
		name := fmt.Sprintf("user%d", i+1)
		require.NoError(t, people[i].login(t.Context(), name))
		require.Equal(t, name, people[i].me(t))
		require.Equal(t, "python", people[i].get(t, "/api/users/").servedBy)
	}

	// Load runs through all of it.
	var mu sync.Mutex
	served := map[string]int{}
	var problems []string
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		load.Arrivals{Rate: 60, Duration: 5 * time.Minute}.Run(ctx, func(ctx context.Context, n int, _ time.Time) {
			a, err := people[n%len(people)].do(ctx, http.MethodGet, "/api/users/?per_page=5", nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case ctx.Err() != nil: // the load was stopped
			case err != nil:
				problems = append(problems, err.Error())
			case a.status != http.StatusOK:
				problems = append(problems, fmt.Sprintf("%d by %s: %s", a.status, a.servedBy, a.body))
			default:
				served[a.servedBy]++
			}
		})
	})
	servedBy := func(system string) int {
		mu.Lock()
		defer mu.Unlock()
		return served[system]
	}
	stopLoad := func() { stop(); running.Wait() }
	defer stopLoad()

	env.must(t, "route", "users", "50", "--reason", "the story")
	require.Eventually(t, func() bool { return servedBy("go") > 200 }, time.Minute, 50*time.Millisecond)
	assert.Equal(t, 50.0, env.status(t).weight(t, "users"))

	onGo := 0
	for i, person := range people {
		a := person.get(t, "/api/users/")
		assert.Equal(t, http.StatusOK, a.status)
		if a.servedBy == "go" {
			onGo++
		}
		assert.Equal(t, a.servedBy, person.get(t, "/api/users/1").servedBy, "a visitor does not switch")
		assert.Equal(t, fmt.Sprintf("user%d", i+1), person.me(t))
	}
	assert.Greater(t, onGo, 5)
	assert.Less(t, onGo, 35)

	env.must(t, "rollback", "--reason", "the story's end")
	before := servedBy("python")
	require.Eventually(t, func() bool { return servedBy("python") > before+100 }, time.Minute, 50*time.Millisecond)
	stopLoad()
	assert.Empty(t, problems)

	s := env.status(t)
	assert.True(t, s.Latched)
	assert.Zero(t, s.weight(t, "users"))
	for i, person := range people {
		assert.Equal(t, "python", person.get(t, "/api/users/").servedBy)
		assert.Equal(t, fmt.Sprintf("user%d", i+1), person.me(t), "still logged in")
	}
}

// A session that Go made is good on python, and ends on both when either ends
// it.
func TestSessionOfOneSystemIsGoodOnTheOther(t *testing.T) {
	env := useShared(t)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, test := range []struct {
		name               string
		login, use, logout float64 // weights of auth and users at each moment
	}{
		{"made by python, ended by go", 0, 100, 100},
		{"made by go, ended by python", 100, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			person := env.newVisitor(transport)
			env.must(t, "route", "auth", fmt.Sprint(test.login))
			require.NoError(t, person.login(t.Context(), "user7"))
			old := person.cookie(t, "session_id")
			require.NotEmpty(t, old)

			env.must(t, "route", "auth", fmt.Sprint(test.use))
			env.must(t, "route", "users", fmt.Sprint(test.use))
			assert.Equal(t, "user7", person.me(t))
			assert.Equal(t, http.StatusOK, person.get(t, "/api/users/").status)

			require.NoError(t, person.login(t.Context(), "user7"))
			assert.NotEqual(t, old, person.cookie(t, "session_id"), "the id is new after a login")

			a, err := person.do(t.Context(), http.MethodPost, "/api/auth/logout", nil)
			require.NoError(t, err)
			assert.Equal(t, http.StatusOK, a.status)
			assert.Equal(t, http.StatusUnauthorized, person.get(t, "/api/auth/me").status)
			assert.Equal(t, http.StatusUnauthorized, person.get(t, "/api/users/").status)
		})
	}
}
