package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/load"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Every service that is killed comes back by itself, with nothing lost: the
// table, the journal, the sessions and the data are what they were.
func TestKilledServicesComeBack(t *testing.T) {
	env := useShared(t)
	person := env.newVisitor(&http.Transport{DisableKeepAlives: true})
	require.NoError(t, person.login(t.Context(), "user9"))
	env.must(t, "route", "users", "100")
	env.must(t, "route", "badges", "37.5")
	before := env.status(t)
	events := env.journal(t)

	for _, service := range stack.ServiceNames() {
		t.Run(service, func(t *testing.T) {
			env.crash(t, service)
			begin := time.Now()
			env.awaitHealthy(t, service)
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				for _, system := range systems {
					a, err := person.do(t.Context(), http.MethodGet, "/health/"+system, nil)
					assert.NoError(c, err)
					assert.Equal(c, http.StatusOK, a.status, "%s: %s", system, a.body)
				}
				assert.True(c, env.status(t).Guard.Reachable)
			}, 30*time.Second, 100*time.Millisecond)
			t.Logf("well again after %s", time.Since(begin).Round(10*time.Millisecond))

			after := env.status(t)
			assert.Equal(t, before.Generation, after.Generation)
			assert.Equal(t, 100.0, after.weight(t, "users"))
			assert.Equal(t, 37.5, after.weight(t, "badges"))
			assert.Equal(t, "go", person.get(t, "/api/users/").servedBy)
			assert.Equal(t, "user9", person.me(t), "still logged in")
			assert.Equal(t, events, env.journal(t))
		})
	}
}

// crash kills all processes of a service, as a fault would: the engine has not
// been told, so that its restart policy acts.
func (env *environment) crash(t *testing.T, service string) {
	t.Helper()
	container := env.stack.Container(service)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	before, err := env.engine.Inspect(ctx, container)
	require.NoError(t, err)
	// The exec dies with the rest, so its own end says nothing.
	_, _ = env.engine.Exec(ctx, container, "sh", "-c", "kill -9 -1")
	require.Eventually(t, func() bool {
		now, err := env.engine.Inspect(ctx, container)
		return err == nil && (now.State != "running" || now.Health != before.Health)
	}, 10*time.Second, 5*time.Millisecond, "%s was not hurt", service)
}

// journal is every line of the journal.
func (env *environment) journal(t *testing.T) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(env.must(t, "events", "--json")), "\n")
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
	return lines
}

// Applications that were stopped and started in the opposite order have
// exchanged their addresses; each route goes to its own system all the same.
func TestExchangedAddressesMisleadNobody(t *testing.T) {
	exchangeAddresses(t, 2)
}

func TestVerifyExchangedAddressesMisleadNobody(t *testing.T) {
	verifyDuration(t)
	exchangeAddresses(t, 10)
}

var renderedBy = regexp.MustCompile(`rendered by <strong>(\w+)</strong>`)

func exchangeAddresses(t *testing.T, rounds int) {
	env := useShared(t)
	env.must(t, "route", "pages", "50")
	person := env.loadVisitor(t)
	person.http.Jar = nil // somebody new with each request
	var mu sync.Mutex
	served := map[string]time.Time{}
	var wrong []string
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		load.Arrivals{Rate: 50, Duration: time.Hour}.Run(ctx, func(_ context.Context, _ int, _ time.Time) {
			a, err := person.do(t.Context(), http.MethodGet, "/login", nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.status != http.StatusOK {
				return // a system was away
			}
			by := renderedBy.FindSubmatch(a.body)
			if by == nil || string(by[1]) != a.servedBy {
				wrong = append(wrong, fmt.Sprintf("by %s, says nginx: %.200s", a.servedBy, a.body))
			}
			served[a.servedBy] = time.Now()
		})
	})
	defer running.Wait()
	defer stop()

	names := []string{"flask", "goapp"}
	for round := range rounds {
		for _, name := range names {
			require.NoError(t, env.engine.Kill(t.Context(), env.stack.Container(name)))
		}
		names[0], names[1] = names[1], names[0]
		for _, name := range names {
			require.NoError(t, env.engine.Start(t.Context(), env.stack.Container(name)))
		}
		for _, name := range names {
			env.awaitHealthy(t, name)
		}
		healthy := time.Now()
		for _, system := range systems {
			require.Eventually(t, func() bool {
				mu.Lock()
				defer mu.Unlock()
				return served[system].After(healthy)
			}, 2*time.Second, 5*time.Millisecond, "%s did not serve again within 2 s in round %d", system, round+1)
		}
	}
	stop()
	running.Wait()
	assert.Empty(t, wrong)
}
