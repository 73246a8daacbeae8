package rollout_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

var plan = rollout.Plan{Name: "p2k16", Hash: "abc", Routes: []rollout.PlanRoute{
	{Name: "auth", Prefix: "/api/auth/"},
	{Name: "users", Prefix: "/api/users/"},
	{Name: "assets", Prefix: "/assets/", Pin: edge.Go},
}}

func TestAdoptPlan_StartsWithEverythingOnPython(t *testing.T) {
	state, event, err := rollout.NewState(edge.Python).AdoptPlan(plan, someone)

	require.NoError(t, err)
	assert.Equal(t, rollout.ActionPlan, event.Action)
	assert.Equal(t, uint64(1), state.Generation)
	assert.Equal(t, rollout.PlanID{Name: "p2k16", Hash: "abc"}, state.Plan)
	assert.Equal(t, edge.Table{Generation: 1, Home: edge.Python, Routes: []edge.Route{
		{Name: "auth", Prefix: "/api/auth/"},
		{Name: "users", Prefix: "/api/users/"},
		{Name: "assets", Prefix: "/assets/", Pin: edge.Go},
	}}, state.Table())
}

func TestAdoptPlan_TwiceChangesNothing(t *testing.T) {
	state := moved(t, 2500)

	again, event, err := state.AdoptPlan(plan, someone)

	require.NoError(t, err)
	assert.Nil(t, event)
	assert.Equal(t, state, again)
}

func TestAdoptPlan_TakesAnotherPlanOnlyWhileNothingIsMoved(t *testing.T) {
	other := rollout.Plan{Name: "p2k16", Hash: "def", Routes: plan.Routes[:1]}

	_, _, err := moved(t, 1).AdoptPlan(other, someone)
	refused(t, rollout.PlanDiffers, err)
	latched, _, _ := moved(t, 0).Rollback(plan, someone)
	_, _, err = latched.AdoptPlan(other, someone)
	refused(t, rollout.PlanDiffers, err)
	state, _, err := moved(t, 0).AdoptPlan(other, someone)
	require.NoError(t, err)
	assert.Len(t, state.Routes, 1)
}

func TestAdoptPlan_TakesUpWeightsThatOnlyTheEdgeRemembers(t *testing.T) {
	found, _ := rollout.Reconcile(rollout.NewState(edge.Python), moved(t, 2500).Table(), someone)
	require.Equal(t, rollout.PlanID{}, found.Plan)

	state, _, err := found.AdoptPlan(plan, someone)

	require.NoError(t, err)
	assert.Equal(t, "abc", state.Plan.Hash)
	assert.Equal(t, edge.Weight(2500), state.Routes[0].Weight)
	_, _, err = found.AdoptPlan(rollout.Plan{Name: "x", Hash: "y", Routes: plan.Routes[:1]}, someone)
	refused(t, rollout.PlanDiffers, err)
}

func TestAdoptPlan_RefusesWhatTheEdgeCouldNotUse(t *testing.T) {
	for name, routes := range map[string][]rollout.PlanRoute{
		"none":               {},
		"no name":            {{Prefix: "/"}},
		"reserved name":      {{Name: "-", Prefix: "/"}},
		"name with a space":  {{Name: "a b", Prefix: "/"}},
		"same name":          {{Name: "a", Prefix: "/a"}, {Name: "a", Prefix: "/b"}},
		"no prefix":          {{Name: "a"}},
		"relative prefix":    {{Name: "a", Prefix: "a/"}},
		"query":              {{Name: "a", Prefix: "/a?b"}},
		"same prefix":        {{Name: "a", Prefix: "/a"}, {Name: "b", Prefix: "/a/"}},
		"unknown system":     {{Name: "a", Prefix: "/a", Pin: "ruby"}},
		"empty segment":      {{Name: "a", Prefix: "/a//b"}},
		"dot segment":        {{Name: "a", Prefix: "/a/../b"}},
		"escape":             {{Name: "a", Prefix: "/a%20b"}},
		"control characters": {{Name: "a", Prefix: "/a\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := rollout.NewState(edge.Python).AdoptPlan(rollout.Plan{Name: "p", Hash: "h", Routes: routes}, someone)

			refused(t, rollout.Invalid, err)
		})
	}
}

func TestRoute_RefusesWhatTheStateDoesNotAllow(t *testing.T) {
	state := moved(t, 0)
	latched, _, _ := state.Rollback(plan, someone)
	for name, refusal := range map[string]struct {
		state      rollout.State
		route      string
		weight     edge.Weight
		generation uint64
		cause      rollout.Cause
		code       rollout.Code
	}{
		"stale":     {state, "auth", 1, state.Generation - 1, someone, rollout.Stale},
		"ahead":     {state, "auth", 1, state.Generation + 1, someone, rollout.Stale},
		"latched":   {latched, "auth", 1, latched.Generation, someone, rollout.Latched},
		"unknown":   {state, "nothing", 1, state.Generation, someone, rollout.UnknownRoute},
		"no plan":   {rollout.State{}, "auth", 1, 0, someone, rollout.UnknownRoute},
		"pinned":    {state, "assets", 1, state.Generation, someone, rollout.Invalid},
		"too much":  {state, "auth", 10001, state.Generation, someone, rollout.Invalid},
		"negative":  {state, "auth", -1, state.Generation, someone, rollout.Invalid},
		"anonymous": {state, "auth", 1, state.Generation, rollout.Cause{}, rollout.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, event, err := refusal.state.Route(plan, refusal.route, refusal.weight, refusal.generation, refusal.cause)

			refused(t, refusal.code, err)
			assert.Nil(t, event)
		})
	}
}

func TestOnlyLowers(t *testing.T) {
	before := moved(t, 2500)
	latched, _, _ := before.Rollback(plan, someone)
	resumed, _, err := latched.Resume(latched.Generation, someone)
	require.NoError(t, err)
	pinned := moved(t, 100)
	pinned.Routes[1].Pin = edge.Go
	home := moved(t, 100)
	home.Home = edge.Go
	for name, c := range map[string]struct {
		before, after rollout.State
		want          bool
	}{
		"lower":          {before, moved(t, 100), true},
		"higher":         {before, moved(t, 2501), false},
		"a route pinned": {before, pinned, false},
		"another home":   {before, home, false},
		"a rollback":     {before, latched, false},
		"a resume":       {latched, resumed, false},
		"the first plan": {rollout.NewState(edge.Python), moved(t, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, rollout.OnlyLowers(c.before, c.after))
		})
	}
}

func TestRollback_LatchesUntilResumed(t *testing.T) {
	before := moved(t, 2500)

	state, event, err := before.Rollback(plan, rollout.Cause{Actor: "kari", Reason: "errors"})
	require.NoError(t, err)

	assert.Equal(t, rollout.ActionRollback, event.Action)
	assert.True(t, state.Latched)
	assert.Equal(t, "errors", state.LatchReason)
	assert.Zero(t, total(state))
	assert.Equal(t, edge.Weight(2500), before.Routes[0].Weight, "the state before is not touched")

	again, event, err := state.Rollback(plan, someone)
	require.NoError(t, err)
	assert.Nil(t, event)
	assert.Equal(t, state, again)

	_, _, err = state.Resume(state.Generation, rollout.Cause{Actor: "kari"})
	refused(t, rollout.Invalid, err)
	_, _, err = state.Resume(before.Generation, someone)
	refused(t, rollout.Stale, err)
	state, event, err = state.Resume(state.Generation, someone)
	require.NoError(t, err)
	assert.Equal(t, rollout.ActionResume, event.Action)
	assert.False(t, state.Latched)
	assert.Empty(t, state.LatchReason)
	assert.Zero(t, total(state))
}

func TestReconcile(t *testing.T) {
	at0, at25 := moved(t, 0), moved(t, 2500)
	latched, _, _ := at25.Rollback(plan, someone)
	resumed, _, err := latched.Resume(latched.Generation, someone)
	require.NoError(t, err)
	lost := rollout.NewState(edge.Python)
	for name, c := range map[string]struct {
		recorded   rollout.State
		actual     edge.Table
		generation uint64
		weight     edge.Weight
		latched    bool
		event      bool
	}{
		"in sync":                                  {at25, at25.Table(), 2, 2500, false, false},
		"nothing anywhere":                         {lost, lost.Table(), 0, 0, false, false},
		"a forward move that was not applied":      {at25, at0.Table(), 3, 0, false, true},
		"a rollback that was not recorded":         {at25, latched.Table(), 3, 0, true, true},
		"a rollback that was not applied":          {latched, at25.Table(), 3, 0, true, false},
		"a resume that was not applied":            {resumed, latched.Table(), 5, 0, true, true},
		"an edge that lost its table":              {at25, lost.Table(), 3, 0, false, true},
		"an edge that lost a table without weight": {at0, lost.Table(), 1, 0, false, false},
		"a state that was lost":                    {lost, at25.Table(), 2, 2500, false, true},
		"an old state of an edge that is further":  {at0, at25.Table(), 3, 0, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			state, event := rollout.Reconcile(c.recorded, c.actual, someone)

			assert.Equal(t, c.generation, state.Generation)
			assert.Equal(t, c.weight, total(state))
			assert.Equal(t, c.latched, state.Latched)
			assert.Equal(t, c.event, event != nil)
		})
	}
}

func TestReconcile_ForgetsAPlanThatTheEdgeIsPast(t *testing.T) {
	recorded := moved(t, 0)
	actual := recorded.Table()
	actual.Generation = 9
	actual.Routes = actual.Routes[:1]

	state, _ := rollout.Reconcile(recorded, actual, someone)

	assert.Equal(t, uint64(9), state.Generation)
	assert.Equal(t, rollout.PlanID{}, state.Plan)
	assert.Len(t, state.Routes, 1)
}

func TestUndo(t *testing.T) {
	at0, at25 := moved(t, 0), moved(t, 2500)
	planless := rollout.NewState(edge.Python)

	undone, event := rollout.Undo(at25, at0, someone)
	assert.NotNil(t, event)
	assert.Zero(t, total(undone))
	assert.Equal(t, at25.Generation+1, undone.Generation)

	lowered, _, err := at25.Route(plan, "auth", 100, at25.Generation, someone)
	require.NoError(t, err)
	undone, event = rollout.Undo(lowered, at25, someone)
	assert.Nil(t, event, "what was lowered stays so")
	assert.Equal(t, lowered, undone)

	undone, event = rollout.Undo(at0, planless, someone)
	assert.NotNil(t, event)
	assert.Empty(t, undone.Routes)
	assert.Empty(t, undone.Plan)
}

func TestTime_IsWrittenWithMilliseconds(t *testing.T) {
	oslo := time.FixedZone("CET", 3600)
	text, err := json.Marshal(rollout.Time{Time: time.Date(2026, 1, 2, 4, 4, 5, 0, oslo)})

	require.NoError(t, err)
	assert.Equal(t, `"2026-01-02T03:04:05.000Z"`, string(text))
}

// moved is the state with the plan, and auth at a weight.
func moved(t *testing.T, weight edge.Weight) rollout.State {
	t.Helper()
	state, _, err := rollout.NewState(edge.Python).AdoptPlan(plan, someone)
	require.NoError(t, err)
	state, _, err = state.Route(plan, "auth", weight, state.Generation, someone)
	require.NoError(t, err)
	return state
}

func refused(t *testing.T, code rollout.Code, err error) {
	t.Helper()
	var refusal *rollout.Refusal
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, code, refusal.Code)
}
