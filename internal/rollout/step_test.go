package rollout_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// migration is a plan with everything that a step can do.
func migration() rollout.Plan {
	weights := func(weight edge.Weight, routes ...string) (all []rollout.StepWeight) {
		for _, route := range routes {
			all = append(all, rollout.StepWeight{Route: route, Weight: weight})
		}
		return all
	}
	return rollout.Plan{
		Name: "p2k16", Hash: "steps",
		Routes: []rollout.PlanRoute{
			{Name: "auth", Prefix: "/api/auth/"}, {Name: "users", Prefix: "/api/users/"}, {Name: "pages", Prefix: "/"},
			{Name: "assets", Prefix: "/assets/", Pin: edge.Go}, {Name: "static", Prefix: "/static/", Pin: edge.Python},
			{Name: "htmx", Prefix: "/htmx/", Follows: "pages"},
		},
		Together: [][]string{{"users", "pages"}},
		Jobs:     []rollout.PlanJob{{Name: "expire", Owner: edge.Python, Assign: "sql"}},
		Steps: []rollout.Step{
			{Phase: "one", Name: "ready", Label: rollout.Safe, Before: []string{"backup", "trained"}},
			{Phase: "two", Name: "some", Label: rollout.Safe, Weights: weights(1000, "auth"), Before: []string{"routing"}, After: []string{"errors"}, Bake: 10},
			{Phase: "two", Name: "all", Label: rollout.Lossy, Weights: weights(10000, "auth", "users", "pages"), Before: []string{"routing"}, After: []string{"errors"}, Bake: 10},
			{Phase: "three", Name: "jobs", Label: rollout.Safe, Jobs: []rollout.PlanJob{{Name: "expire", Owner: edge.Go}}},
			{Phase: "three", Name: "stop", Label: rollout.Safe, Work: rollout.StopPython, Before: []string{"idle"}},
			{Phase: "three", Name: "archive", Label: rollout.Safe, Work: rollout.ArchivePython},
			{Phase: "three", Name: "remove", Label: rollout.OneWay, Work: rollout.RemovePython},
		},
	}
}

// ask is a request of a step whose gates all pass, by somebody who has seen the
// state.
func ask(state rollout.State, step string) rollout.StepRequest {
	r := rollout.StepRequest{Step: step, Generation: state.Generation, Context: "these images", Acks: map[string]string{"remove": "meant"}}
	for _, gate := range []string{"backup", "trained", "routing", "errors", "idle"} {
		r.Gates = append(r.Gates, rollout.GateResult{Name: gate, Verdict: rollout.Pass})
	}
	return r
}

// upTo is the state after a step was completed, "" for none.
func upTo(t *testing.T, step string) rollout.State {
	t.Helper()
	plan := migration()
	state, _, err := rollout.NewState(edge.Python).AdoptPlan(plan, someone)
	require.NoError(t, err)
	for state.Step != step {
		next := plan.Steps[state.Next(plan)].Name
		state = begun(t, state, next)
		state, _, err = state.Complete(plan, ask(state, next), someone)
		require.NoError(t, err)
	}
	return state
}

func begun(t *testing.T, state rollout.State, step string) rollout.State {
	t.Helper()
	state, event, err := state.Begin(migration(), ask(state, step), someone)
	require.NoError(t, err)
	require.NotNil(t, event)
	require.NoError(t, state.Validate())
	return state
}

func TestBegin_AppliesTheStepAndCompleteEndsIt(t *testing.T) {
	plan, before := migration(), upTo(t, "ready")
	require.Equal(t, "ready", before.Step)

	state, event, err := before.Begin(plan, ask(before, "some"), someone)

	require.NoError(t, err)
	assert.Equal(t, rollout.ActionBegin, event.Action)
	assert.Equal(t, before.Generation+1, state.Generation)
	assert.Equal(t, &rollout.Progress{Phase: "two", Step: "some", Since: event.Time, Actor: "kari"}, state.Progress)
	assert.Equal(t, "ready", state.Step)
	assert.Equal(t, edge.Weight(1000), state.Routes[0].Weight)
	assert.Equal(t, "some", state.Changed.Step)
	assert.Equal(t, 1, state.Next(plan))

	done, event, err := state.Complete(plan, ask(state, "some"), someone)
	require.NoError(t, err)
	assert.Equal(t, rollout.ActionComplete, event.Action)
	assert.Nil(t, done.Progress)
	assert.Equal(t, "some", done.Step)
	assert.Equal(t, "two", done.Phase)
	assert.Equal(t, 2, done.Next(plan))
	assert.Equal(t, state.Routes, done.Routes)
}

func TestStep_IsRefused(t *testing.T) {
	plan, ready := migration(), upTo(t, "ready")
	some := begun(t, ready, "some")
	changed := func(state rollout.State, change func(*rollout.StepRequest)) rollout.StepRequest {
		r := ask(state, "some")
		change(&r)
		return r
	}
	paused, _, err := ready.Pause(someone)
	require.NoError(t, err)
	pausedBaking, _, err := some.Pause(someone)
	require.NoError(t, err)
	latched, _, err := some.Rollback(plan, someone)
	require.NoError(t, err)
	moved, _, err := some.Route(plan, "auth", 2000, some.Generation, someone)
	require.NoError(t, err)
	end := upTo(t, "remove")
	archived := upTo(t, "archive")
	for name, c := range map[string]struct {
		state    rollout.State
		complete bool
		request  rollout.StepRequest
		code     rollout.Code
		says     string
	}{
		"stale":                 {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Generation-- }), rollout.Stale, "kari completed the step ready"},
		"ahead":                 {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Generation++ }), rollout.Stale, ""},
		"not the next":          {ready, false, ask(ready, "all"), rollout.OutOfOrder, "The step all cannot begin now: some is next. The last change: kari completed the step ready at"},
		"done before":           {ready, false, ask(ready, "ready"), rollout.OutOfOrder, "some is next"},
		"no such step":          {ready, false, ask(ready, "dance"), rollout.OutOfOrder, "some is next"},
		"another is under way":  {some, false, ask(some, "all"), rollout.OutOfOrder, "some is next"},
		"all is done":           {end, false, ask(end, "remove"), rollout.OutOfOrder, "Every step of the plan"},
		"paused":                {paused, false, ask(paused, "some"), rollout.Paused, "a test"},
		"latched":               {latched, false, ask(latched, "some"), rollout.Latched, "resume first"},
		"nothing was said":      {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Gates = nil }), rollout.GateClosed, "Nothing was said about the gate routing"},
		"a gate fails":          {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Gates[2].Verdict = rollout.Fail }), rollout.GateClosed, "cannot be acknowledged"},
		"a failure with an ack": {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Gates[2].Verdict = rollout.Fail; r.Acks["routing"] = "so what" }), rollout.GateClosed, "cannot be acknowledged"},
		"a gate has no answer":  {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Gates[2].Verdict = rollout.Inconclusive }), rollout.GateClosed, "--ack routing=REASON"},
		"a verdict of no kind":  {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Gates[2].Verdict = "passed" }), rollout.Invalid, "which is none"},
		"no verdict":            {ready, false, changed(ready, func(r *rollout.StepRequest) { r.Gates[2].Verdict = "" }), rollout.Invalid, "which is none"},
		"one-way, not meant":    {archived, false, changed(archived, func(r *rollout.StepRequest) { r.Step, r.Acks = "remove", nil }), rollout.GateClosed, "There is no way back after the step remove"},

		"completed, not begun":     {ready, true, ask(ready, "some"), rollout.OutOfOrder, "The step some is not under way"},
		"completed, another is":    {some, true, ask(some, "all"), rollout.OutOfOrder, "The step all is not under way"},
		"completed, stale":         {some, true, changed(some, func(r *rollout.StepRequest) { r.Generation-- }), rollout.Stale, ""},
		"completed, paused":        {pausedBaking, true, ask(pausedBaking, "some"), rollout.Paused, ""},
		"completed, latched":       {latched, true, ask(latched, "some"), rollout.Latched, ""},
		"completed, moved since":   {moved, true, ask(moved, "some"), rollout.OutOfOrder, "The weights are not those of the step some any more. The last change: kari changed a weight"},
		"completed, gate fails":    {some, true, changed(some, func(r *rollout.StepRequest) { r.Gates[3].Verdict = rollout.Fail }), rollout.GateClosed, "The gate errors of the step some fails"},
		"completed, gate unspoken": {some, true, changed(some, func(r *rollout.StepRequest) { r.Gates = r.Gates[:3] }), rollout.GateClosed, "Nothing was said about the gate errors"},
	} {
		t.Run(name, func(t *testing.T) {
			carryOut := c.state.Begin
			if c.complete {
				carryOut = c.state.Complete
			}
			after, event, err := carryOut(plan, c.request, someone)
			refused(t, c.code, err)
			assert.Contains(t, err.Error(), c.says)
			assert.Nil(t, event)
			assert.Equal(t, c.state, after)

			_, _, err = carryOut(plan, c.request, rollout.Cause{})
			refused(t, rollout.Invalid, err)
		})
	}
}

func TestStep_TwiceByItsAuthorDoesNothing(t *testing.T) {
	plan, ready := migration(), upTo(t, "ready")
	some := begun(t, ready, "some")
	again, event, err := some.Begin(plan, ask(ready, "some"), someone)
	require.NoError(t, err)
	assert.Nil(t, event)
	assert.Equal(t, some, again)

	other := rollout.Cause{Actor: "ola", At: someone.At}
	_, _, err = some.Begin(plan, ask(ready, "some"), other)
	refused(t, rollout.Stale, err)
	_, event, err = some.Begin(plan, ask(some, "some"), other)
	require.NoError(t, err)
	assert.Nil(t, event, "who sees that it is under way goes on with it")

	done, _, err := some.Complete(plan, ask(some, "some"), someone)
	require.NoError(t, err)
	again, event, err = done.Complete(plan, ask(some, "some"), someone)
	require.NoError(t, err)
	assert.Nil(t, event)
	assert.Equal(t, done, again)
	_, _, err = done.Complete(plan, ask(some, "some"), other)
	refused(t, rollout.OutOfOrder, err)
}

func TestBegin_PutsRightWhatWasChangedSince(t *testing.T) {
	plan := migration()
	some := begun(t, upTo(t, "ready"), "some")
	moved, _, err := some.Route(plan, "auth", 5000, some.Generation, someone)
	require.NoError(t, err)

	closed := ask(moved, "some")
	closed.Gates = nil
	_, _, err = moved.Begin(plan, closed, someone)
	refused(t, rollout.GateClosed, err)
	state, event, err := moved.Begin(plan, ask(moved, "some"), someone)

	require.NoError(t, err)
	assert.NotNil(t, event)
	assert.Equal(t, edge.Weight(1000), state.Routes[0].Weight)
}

func TestAcks_HoldForWhatTheyWereSaidAbout(t *testing.T) {
	plan, state := migration(), upTo(t, "")
	r := ask(state, "ready")
	r.Gates[0].Verdict, r.Gates[1].Verdict = rollout.Inconclusive, rollout.Pass
	r.Acks = map[string]string{"backup": "made by hand", "trained": "not needed", "strange": "x"}

	state, event, err := state.Begin(plan, r, someone)

	require.NoError(t, err)
	assert.Equal(t, []rollout.Ack{{Gate: "backup", Reason: "made by hand", Actor: "kari", Time: event.Time, Context: "these images"}}, state.Acks, "those that were needed")
	_, said := state.Acknowledged("backup", "these images")
	assert.True(t, said)
	_, said = state.Acknowledged("backup", "other images")
	assert.False(t, said)

	state, _, err = state.Rollback(plan, someone)
	require.NoError(t, err)
	state, _, err = state.Resume(state.Generation, someone)
	require.NoError(t, err)
	r.Generation, r.Acks = state.Generation, nil
	remembered, _, err := state.Begin(plan, r, someone)
	require.NoError(t, err)
	assert.Equal(t, "made by hand", remembered.Acks[0].Reason)
	r.Context = "other images"
	_, _, err = state.Begin(plan, r, someone)
	refused(t, rollout.GateClosed, err)
	r.Acks = map[string]string{"backup": "made again"}
	state, _, err = state.Begin(plan, r, someone)
	require.NoError(t, err)
	require.Len(t, state.Acks, 1, "in the place of the earlier one")
	assert.Equal(t, "made again", state.Acks[0].Reason)
}

func TestStopPython_MakesGoTheHomeAndRollbackBringsEverythingBack(t *testing.T) {
	plan := migration()
	state := upTo(t, "stop")
	assert.Equal(t, edge.Go, state.Home)
	assert.Equal(t, []string{"auth", "users", "pages", "assets", "htmx"}, routeNames(state), "what only python serves is left out")
	_, _, err := state.Route(plan, "auth", 5000, state.Generation, someone)
	refused(t, rollout.Invalid, err)
	assert.Equal(t, edge.Go, state.Jobs[0].Owner)

	back, _, err := state.Rollback(plan, someone)

	require.NoError(t, err)
	require.NoError(t, back.Validate())
	assert.Equal(t, edge.Python, back.Home)
	assert.Equal(t, []string{"auth", "users", "pages", "assets", "static", "htmx"}, routeNames(back))
	assert.Zero(t, total(back))
	assert.Equal(t, edge.Python, back.Jobs[0].Owner)
	assert.Equal(t, "ready", back.Step, "the last with everything on python")
	assert.Equal(t, "one", back.Phase)
	assert.Equal(t, 1, back.Next(plan))

	lost, _, err := state.Rollback(rollout.Plan{}, someone)
	require.NoError(t, err)
	require.NoError(t, lost.Validate())
	assert.Zero(t, total(lost))
	assert.Empty(t, lost.Step)
}

func TestOneWay_HasNoWayBack(t *testing.T) {
	plan, state := migration(), begun(t, upTo(t, "archive"), "remove")
	assert.Equal(t, "remove", state.OneWay)
	ack, said := state.Acknowledged("remove", "these images")
	assert.True(t, said)
	assert.Equal(t, "meant", ack.Reason)

	after, event, err := state.Rollback(plan, someone)
	refused(t, rollout.NoWayBack, err)
	assert.Nil(t, event)
	assert.Equal(t, state, after)
	assert.False(t, rollout.OnlyLowers(upTo(t, "archive"), state))

	archived := upTo(t, "archive")
	undone, event := rollout.Undo(state, archived, someone)
	require.NotNil(t, event, "what the edge did not take was not begun")
	assert.Empty(t, undone.OneWay)
	assert.Nil(t, undone.Progress)
}

func TestRoute_MovesTogetherWhatThePlanBinds(t *testing.T) {
	plan, state := migration(), upTo(t, "")
	state, _, err := state.Route(plan, "pages", 2500, state.Generation, someone)
	require.NoError(t, err)
	assert.Equal(t, []edge.Weight{0, 2500, 2500}, []edge.Weight{state.Routes[0].Weight, state.Routes[1].Weight, state.Routes[2].Weight})
	state, _, err = state.Route(plan, "auth", 100, state.Generation, someone)
	require.NoError(t, err)
	assert.Equal(t, edge.Weight(100), state.Routes[0].Weight)
	_, _, err = state.Route(plan, "nothing", 100, state.Generation, someone)
	assert.EqualError(t, err, `The plan "p2k16" has no route "nothing"; it has auth, users, pages.`)
	_, _, err = state.Route(plan, "htmx", 100, state.Generation, someone)
	assert.ErrorContains(t, err, "follows pages")
}

func TestPause_HoldsStepsAndNothingElse(t *testing.T) {
	plan, some := migration(), begun(t, upTo(t, "ready"), "some")
	_, _, err := some.Pause(rollout.Cause{})
	refused(t, rollout.Invalid, err)
	paused, event, err := some.Pause(rollout.Cause{Actor: "ola", Reason: "lunch"})
	require.NoError(t, err)
	assert.Equal(t, rollout.ActionPause, event.Action)
	assert.Equal(t, some.Routes, paused.Routes)
	assert.Equal(t, some.Progress, paused.Progress)
	again, event, err := paused.Pause(someone)
	require.NoError(t, err)
	assert.Nil(t, event)
	assert.Equal(t, paused, again)

	back, _, err := paused.Rollback(plan, someone)
	require.NoError(t, err)
	assert.False(t, back.Paused)
	_, _, err = back.Pause(someone)
	refused(t, rollout.Latched, err)
	_, _, err = paused.Resume(some.Generation, someone)
	refused(t, rollout.Stale, err)
	resumed, _, err := paused.Resume(paused.Generation, someone)
	require.NoError(t, err)
	assert.False(t, resumed.Paused)
	assert.Equal(t, some.Routes, resumed.Routes)
	_, event, err = resumed.Resume(1, someone)
	require.NoError(t, err)
	assert.Nil(t, event)
	_, event, err = resumed.Complete(plan, ask(resumed, "some"), someone)
	require.NoError(t, err)
	assert.NotNil(t, event)
}

func TestFind_KeepsTheLastOfEachName(t *testing.T) {
	state := upTo(t, "")
	find := func(finding rollout.Finding) (err error) {
		state, _, err = state.Find(finding, someone)
		return err
	}
	for name, finding := range map[string]rollout.Finding{
		"no name":       {Verdict: rollout.Pass},
		"long name":     {Name: strings.Repeat("x", 65), Verdict: rollout.Pass},
		"long summary":  {Name: "x", Verdict: rollout.Pass, Summary: strings.Repeat("x", 1001)},
		"no verdict":    {Name: "x"},
		"not a verdict": {Name: "x", Verdict: rollout.NotApplicable},
	} {
		refused(t, rollout.Invalid, find(finding))
		assert.Empty(t, state.Findings, name)
	}
	require.NoError(t, find(rollout.Finding{Name: "backup", Verdict: rollout.Fail, Context: "a", Actor: "somebody else"}))
	require.NoError(t, find(rollout.Finding{Name: "drill", Verdict: rollout.Pass, Context: "a"}))
	require.NoError(t, find(rollout.Finding{Name: "backup", Verdict: rollout.Pass, Context: "b", Summary: "whole"}))
	found, known := state.Found("backup")
	require.True(t, known)
	assert.Equal(t, rollout.Finding{Name: "backup", Verdict: rollout.Pass, Context: "b", Summary: "whole", Actor: "kari", Time: state.Changed.Time}, found)
	assert.Len(t, state.Findings, 2)
	_, known = state.Found("benchmark")
	assert.False(t, known)
	for i := range 62 {
		require.NoError(t, find(rollout.Finding{Name: strings.Repeat("y", i+1), Verdict: rollout.Pass}))
	}
	refused(t, rollout.Invalid, find(rollout.Finding{Name: "one too many", Verdict: rollout.Pass}))
	require.NoError(t, find(rollout.Finding{Name: "backup", Verdict: rollout.Pass}), "that is no more than there were")
}

func TestLowering_NeedsNoJournalBefore(t *testing.T) {
	plan := migration()
	plan.Steps[2].Weights, plan.Steps[2].Before = []rollout.StepWeight{{Route: "auth", Weight: 500}}, nil
	some := upTo(t, "some")
	state, _, err := some.Begin(plan, ask(some, "all"), someone)
	require.NoError(t, err)
	assert.True(t, rollout.OnlyLowers(some, state), "a step that lowers is a move back")
	assert.Equal(t, 2, state.Next(plan))
	done, _, err := state.Complete(plan, ask(state, "all"), someone)
	require.NoError(t, err)
	assert.Equal(t, 3, done.Next(plan))
	jobs := upTo(t, "all")
	given := begun(t, jobs, "jobs")
	assert.False(t, rollout.OnlyLowers(jobs, given), "a job that changes hands is a move forward")
}

func routeNames(state rollout.State) (names []string) {
	for _, route := range state.Routes {
		names = append(names, route.Name)
	}
	return names
}
