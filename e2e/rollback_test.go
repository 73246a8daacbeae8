package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rollback works when the guard does not, and the guard that comes back leaves
// traffic where it is.
func TestRollbackWithoutGuard(t *testing.T) {
	env := useShared(t)
	guard := env.stack.Container("guard")
	for _, test := range []struct {
		name string
		hurt func(ctx context.Context) error
		why  string
	}{
		{"killed", func(ctx context.Context) error { return env.engine.Kill(ctx, guard) }, "the guard was not running"},
		{"paused", func(ctx context.Context) error { return env.engine.Pause(ctx, guard) }, "the guard was paused"},
		{"stopped process", func(ctx context.Context) error {
			_, err := env.engine.Exec(ctx, guard, "sh", "-c", "kill -STOP $(pidof -x guard)")
			return err
		}, "the guard did not answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env.reset(t)
			t.Cleanup(func() { env.awaitHealthy(t, "guard") })
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			person := env.newVisitor(transport)
			env.must(t, "route", "auth", "100")
			require.NoError(t, person.login(t.Context(), "user3"))
			require.Equal(t, "go", person.get(t, "/api/auth/me").servedBy)

			require.NoError(t, test.hurt(t.Context()))
			begin := time.Now()
			out := env.must(t, "rollback", "--reason", test.name)
			t.Logf("%s after %s: %s", test.name, time.Since(begin).Round(time.Millisecond), out)
			assert.Contains(t, out, "All traffic is on python")
			assert.Contains(t, out, "at the edge directly, because "+test.why)
			assert.Equal(t, "python", person.get(t, "/api/auth/me").servedBy)

			// The guard comes back, and reconciles at least once.
			env.awaitHealthy(t, "guard")
			require.Eventually(t, func() bool { return env.status(t).Guard.Reachable }, 30*time.Second, 100*time.Millisecond)
			s := env.status(t)
			assert.True(t, s.Latched)
			assert.Zero(t, s.weight(t, "auth"))
			assert.Equal(t, "python", person.get(t, "/api/auth/me").servedBy)
			assert.Equal(t, "user3", person.me(t))

			run := env.run(t.Context(), "route", "auth", "10")
			assert.Equal(t, 3, run.code, "a latched route stays where it is")
			assert.Contains(t, run.stderr, "latched")
		})
	}
}

// What moves traffic forward is refused with the right exit code when it names
// nonsense or lost a race.
func TestBadRequestsAreRefused(t *testing.T) {
	env := useShared(t)
	before := env.status(t)
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"route", "users", "101"}, 2, "over 100"},
		{[]string{"route", "users", "x"}, 2, `"x"`},
		{[]string{"route", "users", "NaN"}, 2, "0 to 100"},
		{[]string{"route", "users", "-1"}, 2, "0 to 100"},
		{[]string{"route", "users", "0.123"}, 2, "two decimals"},
		{[]string{"route", "users"}, 2, "--help"},
		{[]string{"route", "nothing", "5"}, 2, "nothing"},
		{[]string{"route", "users", "5", "--generation", "1"}, 3, "generation"},
		{[]string{"resume"}, 2, "--reason"},
		{[]string{"status", "--progress", "loud"}, 2, "loud"},
		{[]string{"nonsense"}, 2, "nonsense"},
	} {
		run := env.run(t.Context(), test.args...)
		assert.Equal(t, test.code, run.code, "%v: %s", test.args, run.stderr)
		assert.Contains(t, run.stderr, test.says, "%v", test.args)
	}
	assert.Equal(t, before.Generation, env.status(t).Generation, "nothing was changed")

	for _, args := range [][]string{{"status"}, {"route", "users", "5"}, {"rollback"}, {"resume", "--reason", "x"}, {"events"}, {"plan"}, {"db", "seed"}} {
		run := runCommand(t.Context(), freePorts, append([]string{"--project", "no-such-environment"}, args...)...)
		assert.Equal(t, 2, run.code, "%v: %s", args, run.stderr)
		assert.Contains(t, run.stderr, "--project no-such-environment: there is no environment of this name", "%v", args)
	}
	run := runCommand(t.Context(), freePorts, "--project", "No Name", "status")
	assert.Equal(t, 2, run.code)
}

// Nobody is sent to a Go that does not answer, unless by force.
func TestRouteToDeadGoIsRefused(t *testing.T) {
	env := useShared(t)
	goapp := env.stack.Container("goapp")
	require.NoError(t, env.engine.Kill(t.Context(), goapp))
	t.Cleanup(func() {
		assert.NoError(t, env.engine.Start(context.Background(), goapp))
		env.awaitHealthy(t, "goapp")
	})
	run := env.run(t.Context(), "route", "badges", "10")
	assert.Equal(t, 3, run.code, run.stderr)
	assert.Contains(t, run.stderr, "Go does not answer")
	assert.Zero(t, env.status(t).weight(t, "badges"))
	env.must(t, "route", "badges", "10", "--force")
	assert.Contains(t, env.must(t, "status"), "Who is on Go is not served")
	env.must(t, "route", "badges", "0") // back is never refused
}
