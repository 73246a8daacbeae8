package rollout_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// revised is the plan after somebody has changed it.
func revised(change func(*rollout.Plan)) rollout.Plan {
	plan := migration()
	plan.Hash = "revised"
	if change != nil {
		change(&plan)
	}
	return plan
}

func TestAdoptPlan_WhileTrafficIsMovedTakesWhatSaysTheSameOfTheDone(t *testing.T) {
	baking := begun(t, upTo(t, "some"), "all")
	for name, c := range map[string]struct {
		state  rollout.State
		change func(*rollout.Plan)
		fits   bool
	}{
		"the same steps":                {upTo(t, "some"), nil, true},
		"more steps to come":            {upTo(t, "some"), func(p *rollout.Plan) { p.Steps = append(p.Steps, rollout.Step{Name: "more"}) }, true},
		"fewer steps to come":           {upTo(t, "some"), func(p *rollout.Plan) { p.Steps = p.Steps[:3] }, true},
		"other weights to come":         {upTo(t, "some"), func(p *rollout.Plan) { p.Steps[2].Weights[0].Weight = 5000 }, true},
		"a step between the done":       {upTo(t, "some"), func(p *rollout.Plan) { p.Steps = append([]rollout.Step{{Name: "first"}}, p.Steps...) }, true},
		"other gates":                   {upTo(t, "some"), func(p *rollout.Plan) { p.Steps[1].Before = nil }, true},
		"a lower weight of the done":    {upTo(t, "some"), func(p *rollout.Plan) { p.Steps[1].Weights[0].Weight = 500 }, true},
		"a higher weight of the done":   {upTo(t, "some"), func(p *rollout.Plan) { p.Steps[1].Weights[0].Weight = 1100 }, false},
		"the done has another name":     {upTo(t, "some"), func(p *rollout.Plan) { p.Steps[1].Name = "few" }, false},
		"another prefix":                {upTo(t, "some"), func(p *rollout.Plan) { p.Routes[0].Prefix = "/auth/" }, false},
		"another split":                 {upTo(t, "some"), func(p *rollout.Plan) { p.Routes[0].By = edge.ByUserID }, false},
		"another route":                 {upTo(t, "some"), func(p *rollout.Plan) { p.Routes = append(p.Routes, rollout.PlanRoute{Name: "x", Prefix: "/x"}) }, false},
		"other visitors":                {upTo(t, "some"), func(p *rollout.Plan) { p.First = []string{"user:1"} }, false},
		"another job":                   {upTo(t, "some"), func(p *rollout.Plan) { p.Jobs[0].Name = "mail"; p.Steps[3].Jobs[0].Name = "mail" }, false},
		"one job more":                  {upTo(t, "some"), func(p *rollout.Plan) { p.Jobs = append(p.Jobs, rollout.PlanJob{Name: "mail", Owner: edge.Go}) }, false},
		"a job of another":              {upTo(t, "some"), func(p *rollout.Plan) { p.Jobs[0].Owner = edge.Go }, false},
		"a job assigned otherwise":      {upTo(t, "some"), func(p *rollout.Plan) { p.Jobs[0].Assign = "better sql" }, true},
		"under way":                     {baking, nil, true},
		"under way, with other weights": {baking, func(p *rollout.Plan) { p.Steps[2].Weights[0].Weight = 2000 }, true},
		"under way, under another name": {baking, func(p *rollout.Plan) { p.Steps[2].Name = "everything" }, false},
		"python is stopped":             {upTo(t, "stop"), nil, true},
		"stopped later":                 {upTo(t, "stop"), func(p *rollout.Plan) { p.Steps[4].Work = rollout.NoWork }, true},
		"stopped, jobs not handed over": {upTo(t, "stop"), func(p *rollout.Plan) { p.Steps[3].Jobs = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			after, event, err := c.state.AdoptPlan(revised(c.change), someone)

			if !c.fits {
				refused(t, rollout.PlanDiffers, err)
				assert.Equal(t, c.state, after)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "revised", event.Plan.Hash)
			assert.Equal(t, "revised", after.Plan.Hash)
			assert.Equal(t, c.state.Routes, after.Routes)
			assert.Equal(t, c.state.Jobs, after.Jobs)
			assert.Equal(t, c.state.Step, after.Step)
			assert.Equal(t, c.state.Progress, after.Progress)
			assert.Equal(t, c.state.Home, after.Home)
		})
	}
}

func TestAdoptPlan_OtherWeightsOfTheStepUnderWayHaveToBeBegunAgain(t *testing.T) {
	plan := revised(func(p *rollout.Plan) { p.Steps[2].Weights[0].Weight = 2000 })
	state, _, err := begun(t, upTo(t, "some"), "all").AdoptPlan(plan, someone)
	require.NoError(t, err)
	_, _, err = state.Complete(plan, ask(state, "all"), someone)
	refused(t, rollout.OutOfOrder, err)
	state, event, err := state.Begin(plan, ask(state, "all"), someone)
	require.NoError(t, err)
	require.NotNil(t, event)
	assert.Equal(t, edge.Weight(2000), state.Routes[0].Weight)
}

func TestAdoptPlan_AnyPlanWhileNothingIsMoved(t *testing.T) {
	other := revised(func(p *rollout.Plan) { p.Routes[0].Prefix = "/auth/" })
	state, _, err := begun(t, upTo(t, ""), "ready").AdoptPlan(other, someone)
	require.NoError(t, err)
	assert.Nil(t, state.Progress)
	assert.Empty(t, state.Step)
	assert.Equal(t, "/auth/", state.Routes[0].Prefix)
	assert.Equal(t, "one", state.Phase)
}

// A guard that has lost its record takes the weights from the edge, and where
// the migration stands from the weights and the plan.
func TestAdoptPlan_FindsItsPlaceByTheWeights(t *testing.T) {
	for _, step := range []string{"ready", "some", "all", "stop"} {
		t.Run(step, func(t *testing.T) {
			before := upTo(t, step)
			found, _ := rollout.Reconcile(rollout.NewState(edge.Python), before.Table(), someone)
			require.Empty(t, found.Step)

			state, _, err := found.AdoptPlan(migration(), someone)

			require.NoError(t, err)
			require.NoError(t, state.Validate())
			assert.Equal(t, before.Routes, state.Routes)
			assert.Equal(t, before.Home, state.Home)
			if step == "stop" {
				// Nothing tells the last steps apart.
				assert.Equal(t, "remove", state.Step)
				assert.Equal(t, edge.Go, state.Jobs[0].Owner, "python is not there to do it")
			} else {
				assert.Equal(t, step, state.Step)
				assert.Equal(t, edge.Python, state.Jobs[0].Owner)
			}
			assert.Equal(t, migration().Steps[max(state.Next(migration())-1, 0)].Phase, state.Phase)
		})
	}
}

// A guard that has its state and not its plan keeps what it knows.
func TestAdoptPlan_ALostPlanLosesNoStep(t *testing.T) {
	for _, before := range []rollout.State{upTo(t, "jobs"), begun(t, upTo(t, "jobs"), "stop"), begun(t, upTo(t, ""), "ready")} {
		lost := before
		lost.Plan = rollout.PlanID{}
		state, _, err := lost.AdoptPlan(migration(), someone)
		require.NoError(t, err)
		assert.Equal(t, before.Routes, state.Routes)
		assert.Equal(t, before.Jobs, state.Jobs)
		assert.Equal(t, before.Step, state.Step)
		assert.Equal(t, before.Progress, state.Progress)
		assert.Equal(t, before.Phase, state.Phase)
	}
	lost := begun(t, upTo(t, "some"), "all")
	lost.Plan = rollout.PlanID{}
	state, _, err := lost.AdoptPlan(revised(func(p *rollout.Plan) { p.Steps[2].Name = "everything" }), someone)
	require.NoError(t, err)
	assert.Nil(t, state.Progress, "that step is not known")
	assert.Equal(t, "everything", state.Step)
}

func TestAdoptPlan_RefusesStepsThatCouldNotBeCarriedOut(t *testing.T) {
	for name, change := range map[string]func(*rollout.Plan){
		"no hash":              func(p *rollout.Plan) { p.Hash = "" },
		"no name":              func(p *rollout.Plan) { p.Name = "" },
		"a step without name":  func(p *rollout.Plan) { p.Steps[0].Name = "" },
		"two of a name":        func(p *rollout.Plan) { p.Steps[1].Name = "ready" },
		"weight of nothing":    func(p *rollout.Plan) { p.Steps[1].Weights[0].Route = "nothing" },
		"weight of the pinned": func(p *rollout.Plan) { p.Steps[1].Weights[0].Route = "assets" },
		"weight of a follower": func(p *rollout.Plan) { p.Steps[1].Weights[0].Route = "htmx" },
		"too much":             func(p *rollout.Plan) { p.Steps[1].Weights[0].Weight = 10001 },
		"negative":             func(p *rollout.Plan) { p.Steps[1].Weights[0].Weight = -1 },
		"job of nothing":       func(p *rollout.Plan) { p.Steps[3].Jobs[0].Name = "nothing" },
		"job of nobody":        func(p *rollout.Plan) { p.Steps[3].Jobs[0].Owner = "ruby" },
		"work of no kind":      func(p *rollout.Plan) { p.Steps[4].Work = "dance" },
	} {
		t.Run(name, func(t *testing.T) {
			_, event, err := rollout.NewState(edge.Python).AdoptPlan(revised(change), someone)
			refused(t, rollout.Invalid, err)
			assert.Nil(t, event)
		})
	}
}

func TestReconcile_AtTheEndOfPython(t *testing.T) {
	jobs, stop := upTo(t, "jobs"), begun(t, upTo(t, "jobs"), "stop")
	lost := rollout.NewState(edge.Go).Table()
	older := stop.Table()
	older.Generation--
	older.Routes[0].Weight = 5000 // nobody can have meant it
	for name, c := range map[string]struct {
		recorded rollout.State
		actual   edge.Table
		home     edge.System
		total    edge.Weight
		event    bool
	}{
		"stopped, and the edge has it":      {stop, stop.Table(), edge.Go, 30000, false},
		"stopped, the edge has lost all":    {stop, lost, edge.Go, 30000, false},
		"stopped, the edge does not yet":    {stop, jobs.Table(), edge.Python, 30000, true},
		"stopped, not recorded":             {jobs, stop.Table(), edge.Python, 30000, true},
		"stopped, the edge keeps something": {stop, older, edge.Go, 30000, false},
		"nothing is recorded":               {rollout.NewState(edge.Python), stop.Table(), edge.Go, 30000, true},
	} {
		t.Run(name, func(t *testing.T) {
			state, event := rollout.Reconcile(c.recorded, c.actual, someone)

			require.NoError(t, state.Validate())
			assert.Equal(t, c.home, state.Home)
			assert.Equal(t, c.total, total(state))
			assert.Equal(t, c.event, event != nil)
			if c.home == edge.Python {
				assert.Contains(t, routeNames(state), "static", "where python is, what only python has is python's")
			}
		})
	}
}

func TestReconcile_AfterTheHomeGoesBackTheStepIsBegunAgain(t *testing.T) {
	plan, jobs := migration(), upTo(t, "jobs")
	stop := begun(t, jobs, "stop")
	state, _ := rollout.Reconcile(stop, jobs.Table(), someone)
	require.Equal(t, 4, state.Next(plan))
	again, event, err := state.Begin(plan, ask(state, "stop"), someone)
	require.NoError(t, err)
	require.NotNil(t, event)
	assert.Equal(t, stop.Routes, again.Routes)
	assert.Equal(t, edge.Go, again.Home)
}

func TestPreview_TellsEachOperationWithItsCause(t *testing.T) {
	plan := migration()
	state := upTo(t, "ready")
	moved, _, err := state.Route(plan, "auth", 2500, state.Generation, someone)
	require.NoError(t, err)
	lines := func(previews []rollout.Preview) (all []string) {
		for _, preview := range previews {
			all = append(all, "step "+preview.Step.Name)
			for _, operation := range preview.Operations {
				all = append(all, operation.String())
			}
		}
		return all
	}

	assert.Equal(t, []string{
		"step some", "weight auth: 0 % → 10 % (step some of phase two)",
		"step all", "weight auth: 10 % → 100 % (step all of phase two)", "weight users: 0 % → 100 % (step all of phase two)", "weight pages: 0 % → 100 % (step all of phase two)",
		"step jobs", "job expire: python → go (step jobs of phase three): sql",
		"step stop", "remove route static (python is stopped, and only python has it)", "home edge: python → go (step stop of phase three)", "work stop-python (step stop of phase three)",
		"step archive", "work archive-python (step archive of phase three)",
		"step remove", "work remove-python (step remove of phase three)",
	}, lines(state.Preview(plan, 6)))
	assert.Equal(t, []string{"step some", "weight auth: 25 % → 10 % (step some of phase two)"}, lines(moved.Preview(plan, 1)))
	pages, _, err := state.Route(plan, "pages", 2500, state.Generation, someone)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"step some", "weight auth: 0 % → 10 % (step some of phase two)",
		"weight users: 25 % → 0 % (the plan has it so; it was changed outside of it)", "weight pages: 25 % → 0 % (the plan has it so; it was changed outside of it)",
	}, lines(pages.Preview(plan, 1)))
	assert.Empty(t, state.Preview(plan, 0), "that is done")
	assert.Empty(t, upTo(t, "remove").Preview(plan, 6))

	baking := begun(t, state, "some")
	previews := baking.Preview(plan, 2)
	require.Len(t, previews, 2)
	assert.True(t, previews[0].Resumes)
	assert.Empty(t, previews[0].Operations)
	assert.False(t, previews[1].Resumes)
	assert.Equal(t, previews[0].After, previews[1].Before)

	back, _, err := upTo(t, "stop").Rollback(plan, someone)
	require.NoError(t, err)
	assert.Equal(t, lines(state.Preview(plan, 6)), lines(back.Preview(plan, 6)), "after a rollback it is all to do again")
}

func TestPreview_IsWhatHappens(t *testing.T) {
	plan := migration()
	state := upTo(t, "")
	for _, preview := range state.Preview(plan, 6) {
		assert.Equal(t, state.Routes, preview.Before)
		state = begun(t, state, preview.Step.Name)
		assert.Equal(t, state.Routes, preview.After)
		var err error
		state, _, err = state.Complete(plan, ask(state, preview.Step.Name), someone)
		require.NoError(t, err)
	}
	assert.Equal(t, "remove", state.Step)
}

func TestDifference(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*rollout.Plan)
		want   []string
	}{
		"comments": {nil, []string{"~ nothing that the guard knows of: gates, limits or comments"}},
		"a prefix": {func(p *rollout.Plan) { p.Routes[0].Prefix = "/auth/" }, []string{"~ route auth: /api/auth/ → /auth/"}},
		"a split":  {func(p *rollout.Plan) { p.Routes[0].By = edge.ByUserID }, []string{"~ route auth: /api/auth/ → /api/auth/ by user_id"}},
		"routes": {func(p *rollout.Plan) {
			p.Routes = append(p.Routes[1:], rollout.PlanRoute{Name: "x", Prefix: "/x", Pin: edge.Go})
		}, []string{"- route auth: /api/auth/", "+ route x: /x always on go"}},
		"a job":          {func(p *rollout.Plan) { p.Jobs[0].Assign = "better" }, []string{"~ job expire: by python, assigned by sql → by python, assigned by better"}},
		"what is bound":  {func(p *rollout.Plan) { p.Together = nil }, []string{"~ together: users and pages → none"}},
		"who goes first": {func(p *rollout.Plan) { p.First = []string{"user:1", "user:2"} }, []string{"~ visitors first: none → user:1 user:2"}},
		"who goes last":  {func(p *rollout.Plan) { p.Last = []string{"user:1"} }, []string{"~ visitors last: none → user:1"}},
		"a weight":       {func(p *rollout.Plan) { p.Steps[1].Weights[0].Weight = 2050 }, []string{"~ step some: phase two, safe, bakes 10s, auth 10 %, gates routing errors → phase two, safe, bakes 10s, auth 20.5 %, gates routing errors"}},
		"a gate":         {func(p *rollout.Plan) { p.Steps[5].After = []string{"archived"} }, []string{"~ step archive: phase three, safe, bakes 0s, archive-python → phase three, safe, bakes 0s, archive-python, gates archived"}},
		"a step":         {func(p *rollout.Plan) { p.Steps = p.Steps[:6] }, []string{"- step remove: phase three, one-way, bakes 0s, remove-python"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, rollout.Difference(migration(), revised(c.change)))
		})
	}
	assert.Empty(t, rollout.Difference(migration(), migration()))
	assert.Len(t, rollout.Difference(rollout.Plan{}, migration()), 6+1+1+7, "all of it, for a guard that has none")
}
