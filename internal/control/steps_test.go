package control_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// stepped is the plan with steps.
func stepped() rollout.Plan {
	p := plan
	p.Hash = "stepped"
	p.Jobs = []rollout.PlanJob{{Name: "expire", Owner: edge.Python, Assign: "UPDATE"}}
	p.Steps = []rollout.Step{
		{Phase: "one", Name: "some", Label: rollout.Safe, Weights: []rollout.StepWeight{{Route: "auth", Weight: 2500}}, Before: []string{"routing"}, After: []string{"errors"}},
		{Phase: "one", Name: "all", Label: rollout.Safe, Weights: []rollout.StepWeight{{Route: "auth", Weight: 10000}, {Route: "users", Weight: 10000}}},
		{Phase: "two", Name: "jobs", Label: rollout.Safe, Jobs: []rollout.PlanJob{{Name: "expire", Owner: edge.Go}}},
		{Phase: "two", Name: "stop", Label: rollout.Safe, Work: rollout.StopPython},
		{Phase: "two", Name: "remove", Label: rollout.OneWay, Work: rollout.RemovePython},
	}
	return p
}

func (r *rig) adopt() (control.Moved, error) {
	return r.writer.AdoptPlan(r.t.Context(), control.PlanRequest{Actor: "kari", Plan: stepped()})
}

func (r *rig) ask(step string) control.StepRequest {
	return control.StepRequest{
		Actor: "kari", Step: step, Generation: r.generation(), Context: "these images", Acks: map[string]string{"remove": "meant"},
		Gates: []rollout.GateResult{{Name: "routing", Verdict: rollout.Pass}, {Name: "errors", Verdict: rollout.Pass}},
	}
}

func (r *rig) begin(step string) (control.Moved, error) {
	return r.writer.Begin(r.t.Context(), r.ask(step))
}

func (r *rig) complete(step string) (control.Moved, error) {
	return r.writer.Complete(r.t.Context(), r.ask(step))
}

func (r *rig) pause() (control.Moved, error) {
	return r.writer.Pause(r.t.Context(), control.PauseRequest{Actor: "kari"})
}

func (r *rig) find() (control.Moved, error) {
	return r.writer.Find(r.t.Context(), control.FindingRequest{Actor: "kari", Name: "backup", Verdict: rollout.Pass})
}

// upTo completes the steps up to one, with it.
func (r *rig) upTo(last string) {
	r.must(r.adopt())
	for _, step := range stepped().Steps {
		r.must(r.begin(step.Name))
		r.must(r.complete(step.Name))
		if step.Name == last {
			return
		}
	}
}

func TestAPI_CarriesOutStepsPausesAndFindings(t *testing.T) {
	a := newAPI(t)
	ctx := t.Context()
	none, err := a.client.Plan(ctx)
	require.NoError(t, err)
	assert.Empty(t, none)
	a.must(a.client.AdoptPlan(ctx, control.PlanRequest{Actor: "kari", Plan: stepped()}))
	held, err := a.client.Plan(ctx)
	require.NoError(t, err)
	assert.Equal(t, stepped(), held)

	moved := a.must(a.client.Begin(ctx, a.ask("some")))
	assert.Equal(t, "some", moved.State.Progress.Step)
	assert.Equal(t, edge.Weight(2500), a.edge.weight())
	again := a.must(a.client.Begin(ctx, a.ask("some")))
	assert.Nil(t, again.Event)
	assert.Equal(t, moved.State, again.State)

	moved = a.must(a.client.Pause(ctx, control.PauseRequest{Actor: "ola", Reason: "lunch"}))
	assert.True(t, moved.State.Paused)
	_, err = a.client.Complete(ctx, a.ask("some"))
	assert.Equal(t, rollout.Paused, a.code(err))
	a.must(a.client.Resume(ctx, control.ResumeRequest{Actor: "ola", Reason: "back", Generation: a.generation()}))

	moved = a.must(a.client.Find(ctx, control.FindingRequest{Actor: "ola", Name: "backup", Verdict: rollout.Pass, Summary: "whole", Context: "these images", Evidence: map[string]any{"rows": 7}}))
	finding, known := moved.State.Found("backup")
	assert.True(t, known)
	assert.Equal(t, "ola", finding.Actor)
	a.must(a.client.Complete(ctx, a.ask("some")))

	var actions []rollout.Action
	var found map[string]any
	for event, err := range a.client.Events(ctx, 0, false) {
		require.NoError(t, err)
		actions = append(actions, event.Action)
		if event.Action == rollout.ActionFinding {
			found = event.Evidence
		}
	}
	assert.Equal(t, []rollout.Action{"plan", "begin", "pause", "resume", "finding", "complete"}, actions)
	assert.Equal(t, map[string]any{"rows": 7.0}, found)
	status, err := a.client.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, "some", status.State.Step)
	assert.Equal(t, a.writer.State(), status.State)
	a.requireAgreement("")
}

func TestAPI_RefusesStepsWithTheirCode(t *testing.T) {
	a := newAPI(t)
	a.must(a.adopt())
	a.must(a.begin("some"))
	for name, c := range map[string]struct {
		path, body string
		status     int
		code       rollout.Code
	}{
		"another is next":       {"/v1/begin", `{"actor":"kari","step":"all","generation":2}`, 409, rollout.OutOfOrder},
		"not under way":         {"/v1/complete", `{"actor":"kari","step":"all","generation":2}`, 409, rollout.OutOfOrder},
		"nobody spoke of gates": {"/v1/complete", `{"actor":"kari","step":"some","generation":2}`, 409, rollout.GateClosed},
		"a gate fails":          {"/v1/complete", `{"actor":"kari","step":"some","generation":2,"gates":[{"name":"errors","verdict":"fail"}],"acks":{"errors":"so what"}}`, 409, rollout.GateClosed},
		"a gate of no sense":    {"/v1/complete", `{"actor":"kari","step":"some","generation":2,"gates":[{"name":"errors","verdict":"fine"}]}`, 422, rollout.Invalid},
		"stale":                 {"/v1/complete", `{"actor":"kari","step":"some","generation":1,"gates":[{"name":"errors","verdict":"pass"}]}`, 409, rollout.Stale},
		"no actor":              {"/v1/complete", `{"step":"some","generation":2}`, 422, rollout.Invalid},
		"pause by nobody":       {"/v1/pause", `{"reason":"r"}`, 422, rollout.Invalid},
		"finding of no verdict": {"/v1/finding", `{"actor":"kari","name":"backup"}`, 422, rollout.Invalid},
		"finding of no name":    {"/v1/finding", `{"actor":"kari","verdict":"pass"}`, 422, rollout.Invalid},
		"unknown field":         {"/v1/begin", `{"actor":"kari","step":"some","force":true}`, 422, rollout.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			status, failure := a.send("POST", c.path, c.body)
			assert.Equal(t, c.status, status)
			assert.Equal(t, c.code, failure.Error.Code, failure.Error.Message)
		})
	}
	assert.Equal(t, uint64(2), a.generation(), "nothing was changed")

	a.must(a.rollback())
	status, failure := a.send("POST", "/v1/pause", `{"actor":"kari"}`)
	assert.Equal(t, http.StatusLocked, status)
	assert.Equal(t, rollout.Latched, failure.Error.Code)
	status, _ = a.send("POST", "/v1/begin", `{"actor":"kari","step":"some","generation":3}`)
	assert.Equal(t, http.StatusLocked, status)
}

func TestAPI_AfterAOneWayStepThereIsNoRollback(t *testing.T) {
	a := newAPI(t)
	a.upTo("stop")
	moved := a.must(a.begin("remove"))
	assert.Equal(t, "remove", moved.State.OneWay)
	status, failure := a.send("POST", "/v1/rollback", `{"actor":"kari","reason":"r","force":true}`)
	assert.Equal(t, http.StatusConflict, status)
	assert.Equal(t, rollout.NoWayBack, failure.Error.Code)
	assert.Equal(t, edge.Weight(10000), a.edge.weight())
}

func TestAPI_ListsTargetsAsLongAsTheyAreThere(t *testing.T) {
	a := newAPI(t)
	targets := func() (jobs []string) {
		var groups []struct {
			Targets []string          `json:"targets"`
			Labels  map[string]string `json:"labels"`
		}
		require.NoError(t, json.Unmarshal([]byte(get(t, a.public+"/targets", http.StatusOK)), &groups))
		for _, group := range groups {
			jobs = append(jobs, group.Labels["job"]+" "+group.Targets[0])
		}
		return jobs
	}
	a.upTo("jobs")
	assert.Equal(t, []string{"python flask:5000", "go goapp:8080"}, targets())
	a.must(a.begin("stop"))
	assert.Equal(t, []string{"go goapp:8080"}, targets())
	a.must(a.rollback())
	assert.Equal(t, []string{"python flask:5000", "go goapp:8080"}, targets())
}

func TestAStepThatTheEdgeDoesNotTakeIsNotBegun(t *testing.T) {
	r := newRig(t)
	r.upTo("jobs")
	before := r.writer.State()
	r.edge.set(func(e *fakeEdge) { e.refuses = true })
	_, err := r.begin("stop")
	assert.Equal(t, control.EdgeUnreachable, r.code(err))
	r.edge.set(func(e *fakeEdge) { e.refuses = false })
	require.NoError(t, r.writer.Reconcile(t.Context()))

	state := r.writer.State()
	assert.Nil(t, state.Progress)
	assert.Equal(t, before.Routes, state.Routes)
	assert.Equal(t, before.Home, state.Home)
	assert.Equal(t, before.Jobs, state.Jobs)
	r.must(r.begin("stop"))
	assert.Equal(t, edge.Go, r.writer.State().Home)
	r.requireAgreement("")
}

// A guard that dies at any point of the step that stops python leaves a state
// from which the step can be begun again, and python its own paths until then.
func TestStopPython_DyingAtAnyPointIsBegunAgain(t *testing.T) {
	for _, powerLost := range []bool{false, true} {
		for step, died := 1, true; died; step++ {
			r := newRig(t)
			p := stepped()
			p.Routes = append(slices.Clone(p.Routes), rollout.PlanRoute{Name: "static", Prefix: "/static/", Pin: edge.Python})
			r.must(r.writer.AdoptPlan(t.Context(), control.PlanRequest{Actor: "kari", Plan: p}))
			for _, name := range []string{"some", "all", "jobs"} {
				r.must(r.begin(name))
				r.must(r.complete(name))
			}
			r.mortal(step)
			_, err := r.begin("stop")
			died = r.disk.Dead()
			r.crash(powerLost)
			require.NoError(t, r.writer.Reconcile(t.Context()))

			state := r.writer.State()
			pinned := slices.ContainsFunc(state.Routes, func(route rollout.Route) bool { return route.Name == "static" })
			require.Equal(t, state.Home == edge.Python, pinned, "step %d", step)
			r.requireAgreement("")
			if !died {
				require.NoError(t, err)
				require.Greater(t, step, 8)
			}
			r.must(r.begin("stop"))
			r.must(r.complete("stop"))
			require.Equal(t, edge.Go, r.writer.State().Home)
			require.Equal(t, "stop", r.writer.State().Step)
		}
	}
}

func TestThePlanSurvivesTheGuard(t *testing.T) {
	r := newRig(t)
	r.upTo("some")
	r.crash(true)
	assert.Equal(t, stepped(), r.writer.Plan())
	r.must(r.begin("all"))

	r.disk.Put(file("state.json"), "nonsense")
	r.crash(true)
	assert.Equal(t, stepped(), r.writer.Plan(), "the journal has it")
	r.disk.Put(file("journal.jsonl"), "")
	r.crash(true)
	assert.Equal(t, stepped(), r.writer.Plan(), "the state has it")
	r.must(r.complete("all"))
}

func TestALostPlanIsAdoptedAgainWhereItWas(t *testing.T) {
	r := newRig(t)
	r.upTo("jobs")
	state := r.writer.State()
	text, ok := r.disk.Get(file("state.json"))
	require.True(t, ok)
	var content map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &content))
	delete(content, "plan_content")
	changed, err := json.Marshal(content)
	require.NoError(t, err)
	r.disk.Put(file("state.json"), string(changed))
	r.disk.Put(file("journal.jsonl"), "")
	r.crash(false)
	require.Empty(t, r.writer.Plan())
	_, err = r.begin("stop")
	require.Error(t, err, "whose steps are not known")

	r.must(r.adopt())

	found := r.writer.State()
	assert.Equal(t, state.Step, found.Step)
	assert.Equal(t, state.Jobs, found.Jobs)
	assert.Equal(t, state.Routes, found.Routes)
	r.must(r.begin("stop"))
}

// owners is a database that may be away.
type owners struct {
	mu    sync.Mutex
	away  bool
	jobs  map[string]edge.System
	asked []time.Time
}

func (o *owners) assign(_ context.Context, jobs []rollout.PlanJob) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, time.Now())
	if o.away {
		return errDown
	}
	for _, job := range jobs {
		o.jobs[job.Name] = job.Owner
	}
	return nil
}

func (o *owners) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// owner is whose the job is by the database.
func (o *owners) owner() edge.System {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.jobs["expire"]
}

// times are when it was asked.
func (o *owners) times() []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

// keepJobs runs a test while the jobs are kept, with a clock of its own.
func keepJobs(t *testing.T, test func(r *rig, o *owners)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, o := newRig(t), &owners{jobs: map[string]edge.System{}}
		r.upTo("all")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { r.writer.KeepJobs(ctx, o.assign); close(ended) }()
		synctest.Wait()
		test(r, o)
		cancel()
		<-ended
	})
}

func TestKeepJobs_GivesThemToTheirOwners(t *testing.T) {
	keepJobs(t, func(r *rig, o *owners) {
		assigned, problem := r.writer.JobsAssigned()
		assert.True(r.t, assigned)
		assert.Empty(r.t, problem)
		assert.Equal(r.t, edge.Python, o.owner())

		r.must(r.begin("jobs"))
		assigned, _ = r.writer.JobsAssigned()
		assert.False(r.t, assigned, "not yet")
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		assert.Equal(r.t, edge.Go, o.owner())
		assigned, _ = r.writer.JobsAssigned()
		assert.True(r.t, assigned)

		r.must(r.rollback())
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		assert.Equal(r.t, edge.Python, o.owner())
		assert.Len(r.t, o.times(), 3, "once for each change")

		o.set(func() { o.jobs["expire"] = edge.Go }) // by hand
		time.Sleep(31 * time.Second)
		synctest.Wait()
		assert.Equal(r.t, edge.Python, o.owner())
	})
}

func TestKeepJobs_WaitsForADatabaseThatIsAway(t *testing.T) {
	keepJobs(t, func(r *rig, o *owners) {
		o.set(func() { o.away = true })
		r.must(r.begin("jobs"))
		r.must(r.complete("jobs")) // nobody waits for the database
		before := len(o.times())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assigned, problem := r.writer.JobsAssigned()
		assert.False(r.t, assigned)
		assert.Contains(r.t, problem, "The background jobs could not be given to their owners: connection refused")
		asked := o.times()[before:]
		assert.LessOrEqual(r.t, len(asked), 11)
		assert.GreaterOrEqual(r.t, len(asked), 8)
		for i := 1; i < len(asked); i++ {
			assert.GreaterOrEqual(r.t, asked[i].Sub(asked[i-1]), time.Second, "it is left alone for a while")
		}
		assert.Equal(r.t, edge.Python, o.owner())

		o.set(func() { o.away = false })
		time.Sleep(1200 * time.Millisecond)
		synctest.Wait()
		assigned, problem = r.writer.JobsAssigned()
		assert.True(r.t, assigned)
		assert.Empty(r.t, problem)
		assert.Equal(r.t, edge.Go, o.owner())
	})
}

func TestKeepJobs_OfALostPlanAreNotTakenForAssigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.upTo("jobs")
		text, _ := r.disk.Get(file("state.json"))
		var content map[string]any
		require.NoError(t, json.Unmarshal([]byte(text), &content))
		delete(content, "plan_content")
		changed, err := json.Marshal(content)
		require.NoError(t, err)
		r.disk.Put(file("state.json"), string(changed))
		r.disk.Put(file("journal.jsonl"), "")
		r.crash(false)
		o := &owners{jobs: map[string]edge.System{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { r.writer.KeepJobs(ctx, o.assign); close(ended) }()
		synctest.Wait()
		assigned, problem := r.writer.JobsAssigned()
		assert.False(t, assigned)
		assert.Contains(t, problem, "The plan was lost")

		r.must(r.adopt())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assigned, _ = r.writer.JobsAssigned()
		assert.True(t, assigned)
		assert.Equal(t, edge.Go, o.owner())
		cancel()
		<-ended
	})
}
