package rollout_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// history applies anything to a state and keeps the journal that results.
type history struct {
	state   rollout.State
	plans   []rollout.Plan
	journal []string // events as they were written at the time
	tables  []edge.Table
}

// plan is the one that the state follows.
func (h *history) plan() rollout.Plan {
	for _, plan := range h.plans {
		if plan.Hash == h.state.Plan.Hash {
			return plan
		}
	}
	return rollout.Plan{}
}

// step tries to begin or to complete a step, with any answers of its gates.
func (h *history) step(t *rapid.T, begin bool) {
	plan, before := h.plan(), h.state
	if len(plan.Steps) == 0 {
		return
	}
	next := min(before.Next(plan), len(plan.Steps)-1)
	if rapid.IntRange(0, 9).Draw(t, "another") == 0 {
		next = rapid.IntRange(0, len(plan.Steps)-1).Draw(t, "step")
	}
	step := plan.Steps[next]
	request := rollout.StepRequest{
		Step:       step.Name,
		Generation: before.Generation - uint64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "behind")),
		Acks:       map[string]string{},
		Context:    anyContext().Draw(t, "context"),
	}
	gates := step.After
	if begin {
		gates = step.Before
	}
	open := true
	for _, gate := range gates {
		verdict := rapid.SampledFrom([]rollout.Verdict{rollout.Pass, rollout.Pass, rollout.Pass, rollout.NotApplicable, rollout.Inconclusive, rollout.Fail}).Draw(t, gate)
		request.Gates = append(request.Gates, rollout.GateResult{Name: gate, Verdict: verdict})
		_, acked := before.Acknowledged(gate, request.Context)
		if rapid.Bool().Draw(t, "ack") {
			request.Acks[gate] = "seen"
			acked = true
		}
		open = open && verdict != rollout.Fail && (verdict != rollout.Inconclusive || acked)
	}
	if rapid.Bool().Draw(t, "one-way") {
		request.Acks[step.Name] = "meant"
	}
	var after rollout.State
	var event *rollout.Event
	var err error
	if begin {
		after, event, err = before.Begin(plan, request, someone)
	} else {
		after, event, err = before.Complete(plan, request, someone)
	}
	h.take(t, after, event, err)
	if event == nil {
		return
	}
	require.True(t, open, "through its gates")
	require.False(t, before.Latched || before.Paused)
	require.Equal(t, before.Generation, request.Generation)
	if begin {
		require.Equal(t, next, before.Next(plan), "the next one")
		require.Equal(t, step.Name, after.Progress.Step)
		require.True(t, step.Label != rollout.OneWay || request.Acks[step.Name] != "" && after.OneWay == step.Name)
	} else {
		require.Equal(t, before.Table().Routes, after.Table().Routes)
		require.Equal(t, step.Name, after.Step)
		require.Equal(t, next+1, after.Next(plan))
	}
}

func anyContext() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"these images", "other images"})
}

func refusedWith(t *rapid.T, code rollout.Code, err error) {
	var refusal *rollout.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, code, refusal.Code)
}

// Whatever is done in whatever order, the state stays sound and the journal
// explains it.
func TestProperty_AnySequenceKeepsTheRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{state: rollout.NewState(edge.Python)}
		t.Repeat(map[string]func(*rapid.T){
			"plan": func(t *rapid.T) {
				before := h.state
				plan := anyPlan().Draw(t, "plan")
				after, event, err := before.AdoptPlan(plan, someone)
				h.plans = append(h.plans, plan)
				h.take(t, after, event, err)
				if after.Home == edge.Python {
					require.LessOrEqual(t, total(after), total(before))
				}
			},
			"begin":    func(t *rapid.T) { h.step(t, true) },
			"complete": func(t *rapid.T) { h.step(t, false) },
			"advance": func(t *rapid.T) {
				h.step(t, true)
				h.step(t, false)
			},
			"pause": func(t *rapid.T) {
				after, event, err := h.state.Pause(someone)
				h.take(t, after, event, err)
				require.Equal(t, total(h.state), total(after))
			},
			"find": func(t *rapid.T) {
				finding := rollout.Finding{Name: "backup", Verdict: rollout.Pass, Context: anyContext().Draw(t, "context")}
				after, event, err := h.state.Find(finding, someone)
				h.take(t, after, event, err)
			},
			"crash": func(t *rapid.T) {
				// What is found after it is what was recorded, and an edge that is
				// at most as far.
				text, err := json.Marshal(h.state)
				require.NoError(t, err)
				var found rollout.State
				require.NoError(t, json.Unmarshal(text, &found))
				require.Equal(t, h.state, found)
			},
			"route": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"a", "b", "c", "pin"}).Draw(t, "route")
				generation := h.state.Generation - uint64(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "behind"))
				before := h.state
				after, event, err := before.Route(h.plan(), name, anyWeight().Draw(t, "weight"), generation, someone)
				h.take(t, after, event, err)
				if event != nil {
					require.Equal(t, before.Generation, generation)
					require.False(t, before.Latched)
				}
			},
			"rollback": func(t *rapid.T) {
				before := h.state
				after, event, err := before.Rollback(h.plan(), someone)
				h.take(t, after, event, err)
				if before.OneWay != "" && !before.Latched {
					refusedWith(t, rollout.NoWayBack, err)
					return
				}
				require.NoError(t, err)
				require.True(t, after.Latched)
				require.Zero(t, total(after))
				require.Equal(t, edge.Python, after.Home)
				require.Nil(t, after.Progress)
				for _, job := range after.Jobs {
					require.Equal(t, job.Initial, job.Owner)
				}
			},
			"resume": func(t *rapid.T) {
				after, event, err := h.state.Resume(h.state.Generation, someone)
				h.take(t, after, event, err)
				require.Equal(t, total(h.state), total(after))
			},
			"reconcile": func(t *rapid.T) {
				before, actual := h.state, h.anyTable(t)
				after, event := rollout.Reconcile(before, actual, someone)
				h.take(t, after, event, nil)
				notForward(t, after, before, actual)
				require.Equal(t, before.OneWay, after.OneWay)
				again, more := rollout.Reconcile(after, after.Table(), someone)
				require.Nil(t, more, "reconciling ends")
				require.Equal(t, after, again)
				if !rollout.InSync(after, actual) {
					require.Greater(t, after.Generation, actual.Generation, "the edge would refuse it")
				}
			},
			"undo": func(t *rapid.T) {
				before := h.state
				moved, event, err := before.Route(h.plan(), "a", anyWeight().Draw(t, "weight"), before.Generation, someone)
				h.take(t, moved, event, err)
				after, event := rollout.Undo(moved, before, someone)
				h.take(t, after, event, nil)
				notForward(t, after, moved, before.Table())
			},
			"undo a step": func(t *rapid.T) {
				before := h.state
				h.step(t, true)
				begun := h.state
				after, event := rollout.Undo(begun, before, someone)
				h.take(t, after, event, nil)
				notForward(t, after, begun, before.Table())
				require.Equal(t, before.OneWay, after.OneWay)
				require.Equal(t, before.Progress, after.Progress)
				if !before.Latched {
					require.Equal(t, before.Jobs, after.Jobs)
				}
			},
			"": func(t *rapid.T) { require.NoError(t, h.state.Validate()) },
		})
		h.replay(t)
	})
}

// take makes a result the present state, if it obeys what holds for all.
func (h *history) take(t *rapid.T, after rollout.State, event *rollout.Event, err error) {
	if err != nil {
		require.Nil(t, event)
		require.ErrorAs(t, err, new(*rollout.Refusal))
	}
	if event == nil {
		require.Equal(t, h.state, after, "a change without an event")
		return
	}
	require.Greater(t, after.Generation, h.state.Generation)
	require.Equal(t, after.Generation, event.Generation)
	require.Equal(t, h.state, event.Before)
	require.Equal(t, after, event.After)
	if event.Action != rollout.ActionReconcile && h.state.OneWay != "" {
		require.Equal(t, h.state.OneWay, after.OneWay, "that there is no way back is not forgotten")
	}
	line, err := json.Marshal(event)
	require.NoError(t, err)
	h.journal = append(h.journal, string(line))
	h.tables = append(h.tables, after.Table())
	h.state = after
}

// replay follows the journal: it leads to the state without a gap.
func (h *history) replay(t *rapid.T) {
	replayed := rollout.NewState(edge.Python)
	for _, line := range h.journal {
		var event rollout.Event
		require.NoError(t, json.Unmarshal([]byte(line), &event))
		require.Equal(t, replayed, event.Before)
		replayed = event.After
	}
	require.Equal(t, h.state, replayed)
}

// anyTable is what an edge may be found with: nothing, an earlier table, or
// one that nobody here has made.
func (h *history) anyTable(t *rapid.T) edge.Table {
	table := rollout.NewState(edge.Python).Table()
	if len(h.tables) > 0 && rapid.Bool().Draw(t, "known") {
		table = rapid.SampledFrom(h.tables).Draw(t, "table")
	}
	table.Routes = slices.Clone(table.Routes)
	if rapid.Bool().Draw(t, "changed") {
		table.Generation = uint64(rapid.IntRange(1, int(h.state.Generation)+3).Draw(t, "generation"))
		table.Latched = rapid.Bool().Draw(t, "latched")
		table.Home = rapid.SampledFrom([]edge.System{edge.Python, edge.Go}).Draw(t, "home")
		table.First = rapid.SampledFrom([][]string{nil, {"user:1"}, {"user:2", "user:1"}}).Draw(t, "first")
		table.Last = rapid.SampledFrom([][]string{nil, {"user:3"}, {"user:4"}}).Draw(t, "last")
		for i, route := range table.Routes {
			if route.Pin == "" && route.Follows == "" {
				table.Routes[i].Weight = anyWeight().Draw(t, "weight")
			}
		}
	}
	return table
}

func notForward(t *rapid.T, after, recorded rollout.State, actual edge.Table) {
	if after.Home == edge.Go {
		require.True(t, actual.Home == edge.Go || actual.Generation == 0 && recorded.Home == edge.Go)
		return // python is not there, so everything is on go
	}
	for _, route := range after.Routes {
		if recorded.Generation > 0 {
			require.LessOrEqual(t, route.Weight, weightIn(recorded.Table(), route.Name))
		}
		require.LessOrEqual(t, route.Weight, weightIn(actual, route.Name))
	}
	// What only python has stays python's where one of the two says that python
	// is there.
	for _, c := range []struct{ back, gone edge.Table }{{actual, recorded.Table()}, {recorded.Table(), actual}} {
		if c.back.Generation == 0 || c.gone.Generation == 0 || c.back.Home != edge.Python || c.gone.Home != edge.Go {
			continue
		}
		for _, route := range c.back.Routes {
			if route.Pin == edge.Python {
				require.True(t, slices.ContainsFunc(after.Routes, func(r rollout.Route) bool { return r.Name == route.Name && r.Pin == edge.Python }))
			}
		}
	}
	for _, visitor := range after.First {
		require.Contains(t, actual.First, visitor)
		require.True(t, recorded.Generation == 0 || slices.Contains(recorded.First, visitor))
	}
	for _, visitor := range actual.Last {
		require.Contains(t, after.Last, visitor)
	}
	if recorded.Latched || actual.Latched {
		require.True(t, after.Latched)
	}
	// An edge without a table knows of no home.
	if actual.Home == edge.Python && (actual.Generation > 0 || recorded.Generation == 0) || recorded.Generation > 0 && recorded.Home == edge.Python {
		require.Equal(t, edge.Python, after.Home)
	}
}

func weightIn(table edge.Table, name string) edge.Weight {
	for _, route := range table.Routes {
		if route.Name == name {
			return route.Weight
		}
	}
	return 0
}

func total(state rollout.State) edge.Weight {
	var sum edge.Weight
	for _, route := range state.Routes {
		sum += route.Weight
	}
	return sum
}

var someone = rollout.Cause{Actor: "kari", Reason: "a test", At: time.Unix(1767323045, 678e6).UTC()}

func anyWeight() *rapid.Generator[edge.Weight] {
	return rapid.Custom(func(t *rapid.T) edge.Weight {
		return edge.Weight(rapid.SampledFrom([]int{0, 1, 2500, 10000}).Draw(t, "hundredths"))
	})
}

func anyPlan() *rapid.Generator[rollout.Plan] {
	pinned := rollout.PlanRoute{Name: "pin", Prefix: "/assets/", Pin: edge.Go}
	a := rollout.PlanRoute{Name: "a", Prefix: "/a"}
	b := rollout.PlanRoute{Name: "b", Prefix: "/b/"}
	c := rollout.PlanRoute{Name: "c", Prefix: "/"}
	follower := rollout.PlanRoute{Name: "follower", Prefix: "/f", Follows: "c"}
	legacy := rollout.PlanRoute{Name: "legacy", Prefix: "/static/", Pin: edge.Python}
	steps := []rollout.Step{
		{Phase: "one", Name: "look", Before: []string{"g1"}},
		{Phase: "one", Name: "some", Weights: []rollout.StepWeight{{Route: "a", Weight: 2500}, {Route: "b", Weight: 2500}}, Before: []string{"g1", "g2"}, After: []string{"g3"}},
		{Phase: "two", Name: "all", Weights: []rollout.StepWeight{{Route: "a", Weight: 10000}, {Route: "b", Weight: 10000}}, After: []string{"g3"}},
		{Phase: "two", Name: "jobs", Jobs: []rollout.PlanJob{{Name: "job", Owner: edge.Go}}},
		{Phase: "two", Name: "stop", Work: rollout.StopPython, Before: []string{"g4"}},
		{Phase: "two", Name: "remove", Work: rollout.RemovePython, Label: rollout.OneWay},
	}
	return rapid.SampledFrom([]rollout.Plan{
		{
			Name: "p", Hash: "stepped", Routes: []rollout.PlanRoute{a, b, pinned, legacy}, Steps: steps,
			Jobs: []rollout.PlanJob{{Name: "job", Owner: edge.Python}}, Together: [][]string{{"a", "b"}},
		},
		{
			Name: "p", Hash: "longer", Routes: []rollout.PlanRoute{a, b, pinned, legacy}, Steps: append(slices.Clone(steps), rollout.Step{Phase: "three", Name: "more"}),
			Jobs: []rollout.PlanJob{{Name: "job", Owner: edge.Python}},
		},
		{Name: "p", Hash: "1", Routes: []rollout.PlanRoute{a, b, pinned}},
		{Name: "p", Hash: "2", Routes: []rollout.PlanRoute{a, c, pinned}},
		{Name: "p", Hash: "3", Routes: []rollout.PlanRoute{b, c, follower}, First: []string{"user:1"}, Last: []string{"user:3"}},
		{Name: "p", Hash: "4", Routes: []rollout.PlanRoute{b, c, follower}, First: []string{"user:1", "user:2"}},
		{Name: "p", Hash: "invalid", Routes: []rollout.PlanRoute{b, b}},
	})
}
