package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The last resort works whatever state guard and nginx are in, survives
// restarts, and ends with a resume.
func TestBreakGlass(t *testing.T) {
	env := useShared(t)
	for _, test := range []struct {
		name string
		hurt func()
		mend func()
	}{
		{"all is well", func() {}, func() {}},
		{"the guard is dead", func() {
			require.NoError(t, env.engine.Kill(t.Context(), env.stack.Container("guard")))
		}, func() {
			require.NoError(t, env.engine.Start(t.Context(), env.stack.Container("guard")))
		}},
		{"nginx is stopped", func() {
			require.NoError(t, env.engine.Kill(t.Context(), env.stack.Container("nginx")))
		}, func() {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env.reset(t)
			person := env.newVisitor(&http.Transport{DisableKeepAlives: true})
			env.must(t, "route", "users", "100")
			require.NoError(t, person.login(t.Context(), "user4"))
			require.Equal(t, "go", person.get(t, "/api/users/").servedBy)

			test.hurt()
			begin := time.Now()
			env.must(t, "rollback", "--break-glass", "--reason", "a test's \"quotes\" & $(more)")
			t.Logf("after %s", time.Since(begin).Round(time.Millisecond))
			require.Eventually(t, func() bool {
				a, err := person.do(t.Context(), http.MethodGet, "/api/users/", nil)
				return err == nil && a.status == http.StatusOK && a.servedBy == "python"
			}, 20*time.Second, 20*time.Millisecond)
			assert.Equal(t, "user4", person.me(t))

			env.crash(t, "nginx")
			env.awaitHealthy(t, "nginx")
			test.mend()
			env.awaitHealthy(t, "guard")
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				s := env.status(t)
				assert.True(c, s.Guard.Reachable)
				assert.True(c, s.Latched)
				assert.True(c, s.BreakGlass.Active)
				assert.Equal(c, "a test's \"quotes\" & $(more)", s.BreakGlass.Reason)
			}, 20*time.Second, 100*time.Millisecond)
			assert.Equal(t, "python", person.get(t, "/api/users/").servedBy)
			run := env.run(t.Context(), "route", "users", "10")
			assert.Equal(t, 3, run.code, run.stderr)

			env.must(t, "resume", "--reason", "mended")
			s := env.status(t)
			assert.False(t, s.BreakGlass.Active)
			assert.False(t, s.Latched)
			env.must(t, "route", "users", "100")
			assert.Equal(t, "go", person.get(t, "/api/users/").servedBy)
			assert.Equal(t, "user4", person.me(t))
		})
	}
}
