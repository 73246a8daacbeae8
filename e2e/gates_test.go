package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// check answers with its exit code: all pass, one fails, one has no answer. What
// is down is a failure or no answer, never a pass.
func TestCheckAnswersWithItsExitCode(t *testing.T) {
	env := useQuick(t)
	run, gates := env.check(t, "go-environment", "monitoring-configured", "health-checks", "routing-configured", "sessions-shared")
	assert.Equal(t, 0, run.code, run.stdout)
	for name, verdict := range gates {
		assert.Equal(t, "pass", verdict, name)
	}

	// What comes by itself is waited for, so both are asked at the same time.
	for _, service := range []string{"goapp", "prometheus"} {
		container := env.stack.Container(service)
		require.NoError(t, env.engine.Kill(t.Context(), container))
		t.Cleanup(func() {
			assert.NoError(t, env.engine.Start(context.Background(), container))
			env.awaitHealthy(t, service)
		})
	}
	var asking sync.WaitGroup
	begin := time.Now()
	asking.Go(func() {
		run, gates := env.check(t, "routing-configured", "go-environment")
		assert.Equal(t, 3, run.code, run.stdout)
		assert.Equal(t, map[string]string{"routing-configured": "pass", "go-environment": "fail"}, gates)
	})
	asking.Go(func() {
		run, gates := env.check(t, "routing-configured", "monitoring-configured")
		assert.Equal(t, 6, run.code, run.stdout)
		assert.Equal(t, map[string]string{"routing-configured": "pass", "monitoring-configured": "inconclusive"}, gates)
	})
	asking.Wait()
	assert.Less(t, time.Since(begin), time.Minute)
	run, _ = env.check(t, "no-such-gate")
	assert.Equal(t, 2, run.code)
}

// What a person took responsibility for is remembered, as long as it is about
// the same images, plan and schema.
func TestAcknowledgementsBecomeStale(t *testing.T) {
	env := useQuick(t)
	env.advance(t) // with acknowledgements
	run, gates := env.check(t, "dashboards-set-up")
	assert.Equal(t, 0, run.code, "remembered: %s", run.stdout)
	assert.Equal(t, "inconclusive", gates["dashboards-set-up"], "an acknowledgement is not a pass")

	db := env.db(t)
	_, err := db.Exec(t.Context(), "CREATE TABLE another_schema (id int)")
	require.NoError(t, err)
	run, _ = env.check(t, "dashboards-set-up")
	assert.Equal(t, 6, run.code, "said about another schema")
	run = env.run(t.Context(), "advance", "--bake", "0s")
	assert.Equal(t, 6, run.code, run.stderr)
	assert.Contains(t, run.stderr, "Who takes the responsibility for what has no answer goes on with: cutover advance --ack ")
	assert.Equal(t, "auth-10", env.status(t).Step)
	_, err = db.Exec(t.Context(), "DROP TABLE another_schema")
	require.NoError(t, err)
	run, _ = env.check(t, "dashboards-set-up")
	assert.Equal(t, 0, run.code, "said about this schema")
}

// Python is not stopped while anybody still needs it.
func TestPythonIsIdleOnlyIfNobodyNeedsIt(t *testing.T) {
	env := useQuick(t)
	run, _ := env.check(t, "python-idle")
	assert.Equal(t, 3, run.code)
	assert.Contains(t, run.stdout, "the job expire-memberships is python's")
	env.advance(t, "--to", "jobs-on-go")
	run, _ = env.check(t, "python-idle")
	require.Equal(t, 0, run.code, run.stdout)

	person := env.newVisitor(&http.Transport{DisableKeepAlives: true})
	db := env.db(t)
	for _, test := range []struct {
		name, says string
		disturb    func(ctx context.Context) error
	}{
		{"a request", "python answered", func(ctx context.Context) error {
			a, err := person.do(ctx, http.MethodGet, "/static/style.css", nil)
			if err == nil && a.servedBy != "python" {
				err = fmt.Errorf("served by %s", a.servedBy)
			}
			return err
		}},
		{"a write", "python wrote", func(ctx context.Context) error {
			_, err := db.Exec(ctx, "INSERT INTO events (system, action, created_at) VALUES ('python', 'story', now())")
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			var disturbing sync.WaitGroup
			disturbing.Go(func() {
				for tick := time.NewTicker(300 * time.Millisecond); ; {
					select {
					case <-ctx.Done():
						tick.Stop()
						return
					case <-tick.C:
					}
					if err := test.disturb(t.Context()); err != nil {
						assert.NoError(t, err)
						return
					}
				}
			})
			run, _ := env.check(t, "python-idle")
			stop()
			disturbing.Wait()
			assert.Equal(t, 3, run.code, run.stdout)
			assert.Contains(t, run.stdout, test.says)
		})
	}
	t.Run("a foreign connection", func(t *testing.T) {
		conn := env.dbAs(t, "python", "python")
		run, _ := env.check(t, "python-idle")
		assert.Equal(t, 3, run.code, run.stdout)
		assert.Contains(t, run.stdout, "somebody else uses the database role python")
		require.NoError(t, conn.Close(t.Context()))
	})
	run = env.run(t.Context(), "advance", "--bake", "0s", "--ack", "python-idle=I know better")
	if run.code != 0 {
		assert.Equal(t, 6, run.code, run.stderr) // for want of requests, not for python
	}
	assert.Equal(t, "go", env.status(t).Home)
}

// check asks gates, and returns their verdicts.
func (env *environment) check(t *testing.T, gates ...string) (commandRun, map[string]string) {
	t.Helper()
	run := env.run(t.Context(), append([]string{"check", "--json"}, gates...)...)
	verdicts := map[string]string{}
	if run.stdout == "" {
		return run, verdicts
	}
	var document struct {
		Gates []struct{ Name, Verdict string }
	}
	if assert.NoError(t, json.Unmarshal([]byte(run.stdout), &document), run.stdout) {
		for _, g := range document.Gates {
			verdicts[g.Name] = g.Verdict
		}
	}
	return run, verdicts
}
