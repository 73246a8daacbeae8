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

	"github.com/cutover-dev/cutover/internal/load"
)

// acknowledged are the gates of the p2k16 plan that only a person can answer,
// or whose evidence is made by commands that this story does not run.
var acknowledged = []string{
	"deployment-pipeline", "rollback-tested", "benchmarks-established",
	"dashboards-set-up", "systems-compatible", "rollback-triggers",
}

func acks() []string {
	var args []string
	for _, gate := range acknowledged {
		args = append(args, "--ack", gate+"=not part of this story")
	}
	return args
}

// The whole migration under load: python only, side by side, each week of the
// gradual phase, Go only, and all the way back. Nobody gets an error, and
// nobody is logged out.
func TestMigrationReachesGoOnlyAndComesBack(t *testing.T) {
	env := ownEnvironment(t, "migration", nil)
	env.up(t)
	crowd := newCrowd(t, env, 200)
	stopLoad := crowd.start(t, 90)
	defer stopLoad()

	advance := func(t *testing.T, args ...string) advanced {
		t.Helper()
		var report advanced
		run := env.run(t.Context(), append(append([]string{"advance", "--json", "--bake", "8s"}, acks()...), args...)...)
		require.Zero(t, run.code, "%s", run.stderr)
		require.NoError(t, json.Unmarshal([]byte(run.stdout), &report))
		return report
	}

	t.Run("python only", func(t *testing.T) {
		run := env.run(t.Context(), "advance")
		assert.Equal(t, 6, run.code, "what nobody has answered stops it")
		assert.Contains(t, run.stderr, "--ack deployment-pipeline=")
		s := env.status(t)
		assert.Equal(t, "preparation", s.Phase)
		assert.Equal(t, "python", s.Home)
		assert.Equal(t, []string{"python"}, crowd.servedBy(t, "/api/auth/me", "/api/users/", "/dashboard"))

		env.must(t, "rollback", "--reason", "before anything has begun")
		s = env.status(t)
		assert.True(t, s.Latched)
		assert.Empty(t, s.Step)
		assert.Equal(t, 3, env.run(t.Context(), append([]string{"advance"}, acks()...)...).code, "latched")
		env.must(t, "resume", "--reason", "it was a drill")
	})
	t.Run("side by side", func(t *testing.T) {
		env.must(t, "db", "backup")
		report := advance(t, "--to", "side-by-side")
		assert.Len(t, report.Steps, 4)
		assert.Equal(t, "side-by-side", report.To)
		s := env.status(t)
		assert.Equal(t, "parallel", s.Phase)
		assert.Equal(t, []string{"python"}, crowd.servedBy(t, "/api/auth/me", "/api/users/", "/dashboard"))
	})
	t.Run("week 1: authentication", func(t *testing.T) {
		advance(t, "--to", "auth-100")
		assert.Equal(t, 100.0, env.status(t).weight(t, "auth"))
		assert.Equal(t, []string{"go"}, crowd.servedBy(t, "/api/auth/me"))
		assert.Equal(t, []string{"python"}, crowd.servedBy(t, "/api/users/", "/dashboard"))
	})
	t.Run("week 2: users, with the A/B split", func(t *testing.T) {
		advance(t, "--to", "users-50")
		assert.ElementsMatch(t, []string{"go", "python"}, crowd.servedBy(t, "/api/users/"))
		advance(t, "--to", "users-100")
		assert.Equal(t, []string{"go"}, crowd.servedBy(t, "/api/users/"))
	})
	t.Run("week 3: everything else", func(t *testing.T) {
		advance(t, "--to", "rest-50")
		assert.ElementsMatch(t, []string{"go", "python"}, crowd.servedBy(t, "/api/badges/", "/api/tools/", "/dashboard"))
	})
	t.Run("go only", func(t *testing.T) {
		advance(t, "--to", "jobs-on-go")
		run := env.run(t.Context(), "advance")
		assert.Equal(t, 6, run.code, "nobody has read through python what Go wrote")
		assert.Contains(t, run.stderr, "cutover db reverse makes one")
		env.must(t, "db", "reverse")
		report := advance(t, "--all")
		assert.Equal(t, "archive", report.To, "a one-way step has to be acknowledged")
		for _, step := range report.Steps {
			assert.Equal(t, "pass", step.Verdict, step.Name)
		}
		s := env.status(t)
		assert.Equal(t, "go", s.Home)
		assert.Equal(t, "full", s.Phase)
		assert.Equal(t, "exited", s.service("flask"))
		assert.Equal(t, []string{"go"}, crowd.servedBy(t, "/api/auth/me", "/api/users/", "/api/badges/", "/api/tools/", "/dashboard", "/"))
		assert.Equal(t, int64(1), number(t, env.db(t), "SELECT count(*) FROM jobs WHERE owner = 'go'"))
		var gates struct {
			Gates []struct{ Name, Verdict string }
		}
		require.NoError(t, json.Unmarshal([]byte(env.must(t, "check", "--json", "python-stopped", "configuration-clean", "legacy-archived", "jobs-done-once")), &gates))
		assert.Len(t, gates.Gates, 4)

		env.must(t, "up") // leaves python where it is
		assert.Equal(t, "exited", env.status(t).service("flask"))
		run = env.run(t.Context(), "route", "users", "50")
		assert.Equal(t, 2, run.code, "no share can go to a system that is stopped")
		run = env.run(t.Context(), "advance")
		assert.Equal(t, 6, run.code, "there is no way back after the next step")
		assert.Contains(t, run.stderr, "--ack contract-schema=")
	})
	t.Run("and back", func(t *testing.T) {
		env.must(t, "rollback", "--reason", "the story's end")
		s := env.status(t)
		assert.True(t, s.Latched)
		assert.Equal(t, "python", s.Home)
		assert.Equal(t, "side-by-side", s.Step, "the last step with everything on python")
		assert.Equal(t, []string{"python"}, crowd.servedBy(t, "/api/auth/me", "/api/users/", "/dashboard", "/static/style.css"))
		db := env.db(t)
		require.Eventually(t, func() bool {
			return number(t, db, "SELECT count(*) FROM jobs WHERE owner = 'python'") == 1
		}, 40*time.Second, 100*time.Millisecond, "the background jobs go back, too")
	})
	stopLoad()
	assert.Empty(t, crowd.problems)
	for i, person := range crowd.people {
		assert.Equal(t, fmt.Sprintf("user%d", i+1), person.me(t), "still logged in")
	}
}

// advanced is what advance --json says.
type advanced struct {
	From, To string
	Steps    []struct {
		Name, Verdict string
		Gates         []struct{ Name, Verdict, Acknowledged string }
	}
}

func (s status) service(name string) string {
	for _, service := range s.Services {
		if service.Name == name {
			return service.State
		}
	}
	return ""
}

// crowd is a number of people who are logged in and go on using the
// application.
type crowd struct {
	people []*visitor

	mu       sync.Mutex
	answered int
	problems []string
}

func newCrowd(t *testing.T, env *environment, size int) *crowd {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	c := &crowd{people: make([]*visitor, size)}
	for i := range c.people {
		c.people[i] = env.newVisitor(transport)
		require.NoError(t, c.people[i].login(t.Context(), fmt.Sprintf("user%d", i+1)))
	}
	return c
}

// start has the crowd make requests of all routes, and returns what ends it.
func (c *crowd) start(t *testing.T, rate float64) (stop func()) {
	t.Helper()
	paths := []string{"/api/auth/me", "/api/auth/me", "/api/users/?per_page=5", "/api/badges/", "/api/tools/", "/api/memberships/", "/dashboard"}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		load.Arrivals{Rate: rate, Duration: 15 * time.Minute}.Run(ctx, func(ctx context.Context, n int, _ time.Time) {
			path := paths[n%len(paths)]
			a, err := c.people[(n/len(paths))%len(c.people)].do(ctx, http.MethodGet, path, nil)
			c.mu.Lock()
			defer c.mu.Unlock()
			switch {
			case ctx.Err() != nil: // it was ended
			case err != nil:
				c.problems = append(c.problems, path+": "+err.Error())
			case a.status != http.StatusOK:
				c.problems = append(c.problems, fmt.Sprintf("%s: %d by %s: %.200s", path, a.status, a.servedBy, a.body))
			default:
				c.answered++
			}
		})
	})
	return func() { cancel(); running.Wait() }
}

// servedBy are the systems that answer the crowd's requests of some paths.
func (c *crowd) servedBy(t *testing.T, paths ...string) (systems []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, person := range c.people[:40] {
		for _, path := range paths {
			if system := person.get(t, path).servedBy; !seen[system] {
				seen[system] = true
				systems = append(systems, system)
			}
		}
	}
	return systems
}
