package e2e

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Whatever dies while the migration advances, and whenever: the next status is
// consistent, the next advance finishes, and users notice nothing.
func TestAdvanceSurvivesKills(t *testing.T) {
	surviveKills(t, 5)
}

func TestVerifyAdvanceSurvivesKills(t *testing.T) {
	verifyDuration(t)
	surviveKills(t, 100)
}

func surviveKills(t *testing.T, kills int) {
	env := useQuick(t)
	story := &killStory{env: env, crowd: newCrowd(t, env, 40)}
	var err error
	story.plan, err = plan.Load(env.getenv("CUTOVER_PLAN"))
	require.NoError(t, err)
	stopLoad := story.crowd.start(t, 40)
	defer stopLoad()
	builtProgram(t)

	for killed := 0; killed < kills; {
		story.passBegan = len(env.journal(t))
		for killed < kills && env.status(t).Step != "archive" {
			story.killOnce(t, killed%2 == 0)
			killed++
		}
		env.must(t, story.advanceArgs("--all")...)
		story.judgeGoOnly(t)
		env.must(t, "rollback", "--reason", "begin again")
		env.must(t, "resume", "--reason", "begin again")
	}
	t.Logf("killed %d times: %v; Go only was reached %d times", kills, story.during, story.reached)
	stopLoad()
	assert.Empty(t, story.crowd.problems)
	for _, person := range story.crowd.people {
		person.me(t)
	}
}

type killStory struct {
	env        *environment
	crowd      *crowd
	plan       *plan.Plan
	generation uint64         // that was seen last
	passBegan  int            // the journal's length at the beginning of this pass
	during     map[string]int // kills by what was killed in which step
	reached    int            // how often go only was
}

func (s *killStory) advanceArgs(args ...string) []string {
	return append(append([]string{"advance", "--bake", "300ms"}, bakeAcks()...), args...)
}

// killOnce lets the program advance, kills it or the guard at some moment, and
// looks at what is left.
func (s *killStory) killOnce(t *testing.T, command bool) {
	t.Helper()
	p := s.env.start(t, "e2e", nil, s.advanceArgs("--all")...)
	moment := 100*time.Millisecond + rand.N(3*time.Second)
	select {
	case <-p.ended:
	case <-time.After(moment): // the moment itself is what is tried
	}
	what := "guard"
	if command {
		what = "command"
		p.kill(t)
	} else {
		s.env.crash(t, "guard")
	}
	at := s.consistent(t)
	t.Logf("the %s was killed after %s: %s", what, moment.Round(time.Millisecond), at)
	if s.during == nil {
		s.during = map[string]int{}
	}
	s.during[what+" "+at]++
	if !command {
		// The one that goes on notices nothing but a pause.
		time.AfterFunc(rand.N(time.Second), func() { _ = p.command.Process.Kill() })
		code := p.wait(t, 10*time.Second)
		assert.Contains(t, []int{0, -1}, code, "%s", p.stderr.String())
		s.consistent(t)
	}
	if s.env.status(t).Step == "archive" {
		return
	}
	s.env.must(t, s.advanceArgs()...)
	s.consistent(t)
}

// consistent makes sure that state, edge and journal say the same, and that it
// is something that the plan says. It returns where the migration is.
func (s *killStory) consistent(t *testing.T) (where string) {
	t.Helper()
	var st status
	await(t, 30*time.Second, "guard and edge agree", func() bool {
		st = s.env.status(t)
		if st.Guard.Reachable && st.Guard.InSync {
			return true
		}
		// The engine's own pause before it starts what died grows to a minute.
		assert.NoError(t, s.env.stack.EnsureStarted(t.Context(), "guard"))
		return false
	})
	require.GreaterOrEqual(t, st.Generation, s.generation, "the generation never goes back")
	s.generation = st.Generation
	where, step := "after "+st.Step, st.Step
	if st.Progress != nil {
		where, step = "in "+st.Progress.Step, st.Progress.Step
	}
	weights, home := s.expected(step)
	for _, route := range st.Routes {
		require.Equal(t, weights[route.Name], route.Weight, "%s %s", route.Name, where)
	}
	require.Equal(t, home, st.Home, where)
	explains(t, s.env)
	return where
}

// expected are the weights and the home that the plan has at a step.
func (s *killStory) expected(name string) (weights map[string]float64, home string) {
	weights, home = map[string]float64{}, "python"
	for _, phase := range s.plan.Phases {
		for _, step := range phase.Steps {
			for route, weight := range step.Routes {
				weights[route] = weight.Value.Percent()
			}
			if step.Work == string(rollout.StopPython) {
				home = "go"
			}
			if step.Name == name {
				return weights, home
			}
		}
	}
	return nil, ""
}

// judgeGoOnly makes sure that the end was reached, each step once.
func (s *killStory) judgeGoOnly(t *testing.T) {
	t.Helper()
	st := s.env.status(t)
	assert.Equal(t, "archive", st.Step)
	assert.Equal(t, "go", st.Home)
	assert.Equal(t, "exited", st.service("flask"))
	s.reached++
	begun, completed := map[string]int{}, map[string]int{}
	for _, line := range s.env.journal(t)[s.passBegan:] {
		var event rollout.Event
		require.NoError(t, json.Unmarshal([]byte(line), &event))
		switch event.Action {
		case rollout.ActionBegin:
			begun[event.After.Progress.Step]++
		case rollout.ActionComplete:
			completed[event.After.Step]++
		}
	}
	for _, phase := range s.plan.Phases[2:] { // from where a rollback leads to
		for _, step := range phase.Steps {
			if step.Label == string(rollout.OneWay) {
				continue
			}
			assert.Equal(t, 1, begun[step.Name], "%s was begun", step.Name)
			assert.Equal(t, 1, completed[step.Name], "%s was completed", step.Name)
		}
	}
}

// explains makes sure that the journal is whole: each event begins where the one
// before it has ended, and the last one has left the table that the edge has.
func explains(t *testing.T, env *environment) {
	t.Helper()
	// Somebody may be moving something between the two readings.
	await(t, 10*time.Second, "the journal's last event has left the table that the edge has", func() bool {
		last := whole(t, env.journal(t))
		return env.table(t).Equal(last.After.Table())
	})
}

// whole follows a journal to its last event.
func whole(t *testing.T, journal []string) (last rollout.Event) {
	t.Helper()
	for i, line := range journal {
		var event rollout.Event
		require.NoError(t, json.Unmarshal([]byte(line), &event))
		require.EqualValues(t, i+1, event.Seq)
		require.Greater(t, event.Generation, last.Generation)
		if i > 0 {
			require.True(t, reflect.DeepEqual(last.After, event.Before), "event %d does not begin where %d has ended", event.Seq, last.Seq)
		}
		last = event
	}
	return last
}

// table is what nginx itself says that it has.
func (env *environment) table(t *testing.T) (table edge.Table) {
	t.Helper()
	result, err := env.engine.Exec(t.Context(), env.stack.Container("nginx"), "guard", "get", "unix:/var/lib/cutover/run/edge.sock", "/table")
	require.NoError(t, err)
	require.Zero(t, result.Exit, result.Stderr)
	require.NoError(t, json.Unmarshal([]byte(result.Stdout), &table))
	return table
}
