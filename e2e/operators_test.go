package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/rollout"
)

// Of two operators who advance at once one wins; the other is told to whom, and
// nothing is done twice.
func TestTwoOperatorsAdvanceAtOnce(t *testing.T) {
	env := useQuick(t)
	before := len(env.journal(t))
	wins := map[string]int{}
	operators := []string{"alice", "bob"}
	steps := []string{"auth-10", "auth-100", "users-10", "users-50", "users-100"}
	for _, step := range steps {
		runs := make([]commandRun, len(operators))
		var running sync.WaitGroup
		for i, operator := range operators {
			running.Go(func() {
				runs[i] = env.as(t.Context(), operator, append([]string{"advance", "--to", step, "--bake", "1s"}, bakeAcks()...)...)
			})
		}
		running.Wait()
		winner := slices.IndexFunc(runs, func(run commandRun) bool { return run.code == 0 })
		require.GreaterOrEqual(t, winner, 0, "nobody won: %s\n%s", runs[0].stderr, runs[1].stderr)
		loser := runs[1-winner]
		assert.Equal(t, 3, loser.code, "%s", loser.stderr)
		last := strings.Split(strings.TrimSpace(loser.stderr), "\n")
		assert.Contains(t, last[len(last)-1], operators[winner], "the loser is told who won")
		wins[operators[winner]]++
		st := env.status(t)
		assert.Equal(t, step, st.Step)
		assert.Nil(t, st.Progress)
	}
	var done []string
	for _, line := range env.journal(t)[before:] {
		done = append(done, eventName(t, line))
	}
	var want []string
	for _, step := range steps {
		want = append(want, "begin "+step, "complete "+step)
	}
	assert.Equal(t, want, done)
	explains(t, env)
	t.Logf("wins: %v", wins)
}

// Who goes on with a step that another operator left under way may complete it.
func TestAnotherOperatorGoesOn(t *testing.T) {
	env := useQuick(t)
	p := env.start(t, "alice", nil, append([]string{"advance", "--bake", "5m"}, bakeAcks()...)...)
	env.awaitStep(t, "auth-10")
	p.kill(t)
	run := env.as(t.Context(), "bob", append([]string{"advance", "--bake", "0s"}, bakeAcks()...)...)
	require.Zero(t, run.code, run.stderr)
	assert.Contains(t, run.stderr, "goes on, begun by alice")
	assert.Equal(t, "auth-10", env.status(t).Step)
}

// The guard follows the plan that it was given: who works with another one is
// refused, until the difference was shown and accepted.
func TestAnotherPlanIsRefusedUntilAdopted(t *testing.T) {
	env := useQuick(t)
	env.advance(t, "--to", "auth-100")
	variant := func(from, to string) (path string) {
		path, err := variantPlan(t.TempDir(), "period: 10s", "period: 2s", "watch: 5s", "watch: 2s", from, to)
		require.NoError(t, err)
		return path
	}
	longer := variant("bake: 15s", "bake: 20s")
	other := variant("prefix: /api/tools/", "prefix: /api/devices/")
	weights := variant("routes: {auth: 10}", "routes: {auth: 10, users: 5}")

	before := env.status(t)
	for _, path := range []string{longer, other, weights} {
		for _, args := range [][]string{
			append([]string{"advance"}, bakeAcks()...), {"advance", "--all"}, {"check"}, {"route", "users", "10"}, {"route", "users", "10", "--force"},
		} {
			run := env.run(t.Context(), append([]string{"--plan", path}, args...)...)
			assert.Equal(t, 3, run.code, "%v: %s", args, run.stderr)
			assert.Contains(t, run.stderr, "cutover plan --adopt", "%v", args)
		}
	}
	shown := env.must(t, "plan", "--plan", longer)
	assert.Contains(t, shown, "The guard follows another one")
	assert.Contains(t, shown, "20")
	assert.Contains(t, env.must(t, "plan", "--plan", other), "/api/devices/")
	assert.Equal(t, before.Generation, env.status(t).Generation, "showing changes nothing")

	// Traffic is moved: another bake is accepted, other routes and other weights
	// of what is done are not.
	for _, path := range []string{other, weights} {
		run := env.run(t.Context(), "plan", "--adopt", "--plan", path)
		assert.Equal(t, 3, run.code, run.stderr)
	}
	env.must(t, "plan", "--adopt", "--plan", longer)
	after := env.status(t)
	assert.Equal(t, before.Step, after.Step)
	assert.Equal(t, before.Routes, after.Routes)
	run := env.run(t.Context(), append([]string{"advance"}, bakeAcks()...)...)
	assert.Equal(t, 3, run.code, "the old file is the other plan now")
	env.must(t, "route", "users", "0") // back is never refused
	env.must(t, "plan", "--adopt")
	env.advance(t)
	assert.Equal(t, "users-10", env.status(t).Step)
}

// eventName is what an event did to which step.
func eventName(t *testing.T, line string) string {
	t.Helper()
	var event rollout.Event
	require.NoError(t, json.Unmarshal([]byte(line), &event))
	if event.After.Progress != nil {
		return fmt.Sprintf("%s %s", event.Action, event.After.Progress.Step)
	}
	return fmt.Sprintf("%s %s", event.Action, event.After.Step)
}
