package advance_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cutover-dev/cutover/internal/advance"
	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// world is an environment that a migration goes on in: a guard with the real
// rules, an edge with requests, and gates that answer what they are told to.
type world struct {
	plan  *plan.Plan
	steps rollout.Plan

	state   rollout.State
	journal []rollout.Event

	rate    float64 // requests a second and route
	failing bool    // what go answers
	counted map[string]map[edge.System]float64
	since   time.Time
	epoch   string
	slow    time.Duration // the age of the oldest request

	says  map[string]rollout.Verdict // of gates that judge no bake; missing is pass
	about string
	works []rollout.Work
	fails error // of the next work

	calls  []string
	before func(call string) error // of each call, may change anything
	after  func(call string) error
}

var errGone = errors.New("the guard was not reached")

func newWorld() *world {
	w := &world{rate: 10, epoch: "e", about: "these images", says: map[string]rollout.Verdict{}, counted: map[string]map[edge.System]float64{}, since: time.Now()}
	w.plan = &plan.Plan{
		Gates: []plan.Gate{
			{Name: "routing", Routing: &struct{}{}}, {Name: "trained", Acknowledge: "that the team is trained"},
			{Name: "idle", Idle: &plan.IdleGate{}}, {Name: "stopped", Stopped: &plan.SystemGate{}}, {Name: "errors", Errors: &plan.ErrorsGate{}},
		},
		Phases: []plan.Phase{{Name: "p", Steps: []plan.Step{{Name: "ready", Says: "All is ready"}, {Name: "remove", Label: "one-way"}}}},
	}
	w.steps = rollout.Plan{
		Name: "p", Hash: "h",
		Routes: []rollout.PlanRoute{{Name: "a", Prefix: "/a"}, {Name: "b", Prefix: "/"}},
		Jobs:   []rollout.PlanJob{{Name: "job", Owner: edge.Python}},
		Steps: []rollout.Step{
			{Phase: "p", Name: "ready", Before: []string{"routing", "trained"}},
			{Phase: "p", Name: "half", Weights: []rollout.StepWeight{{Route: "a", Weight: 5000}}, Before: []string{"routing"}, After: []string{"errors"}, Bake: 10},
			{Phase: "p", Name: "all", Weights: []rollout.StepWeight{{Route: "a", Weight: 10000}, {Route: "b", Weight: 10000}}, After: []string{"errors"}, Bake: 10},
			{Phase: "p", Name: "job", Jobs: []rollout.PlanJob{{Name: "job", Owner: edge.Go}}},
			{Phase: "p", Name: "stop", Work: rollout.StopPython, Before: []string{"idle"}, After: []string{"stopped"}},
			{Phase: "p", Name: "remove", Work: rollout.RemovePython, Label: rollout.OneWay, Before: []string{"trained"}},
		},
	}
	state, event, err := rollout.NewState(edge.Python).AdoptPlan(w.steps, rollout.Cause{Actor: "kari"})
	if err != nil {
		panic(err)
	}
	w.record(state, event, nil)
	return w
}

// call is one thing that is asked of the world.
func (w *world) call(ctx context.Context, name string, carryOut func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.calls = append(w.calls, name)
	if w.before != nil {
		if err := w.before(name); err != nil {
			return err
		}
	}
	carryOut()
	if w.after != nil {
		return w.after(name)
	}
	return nil
}

func (w *world) record(state rollout.State, event *rollout.Event, err error) error {
	var refusal *rollout.Refusal
	if errors.As(err, &refusal) {
		return &control.Error{Code: refusal.Code, Message: refusal.Message}
	}
	if event != nil {
		w.flow()
		w.state, w.journal = state, append(w.journal, *event)
	}
	return err
}

func (w *world) Status(ctx context.Context) (status control.Status, err error) {
	err = w.call(ctx, "status", func() { status.State = w.state })
	return status, err
}

func (w *world) Begin(ctx context.Context, r control.StepRequest) (moved control.Moved, err error) {
	var refused error
	err = w.call(ctx, "begin "+r.Step, func() {
		state, event, err := w.state.Begin(w.steps, request(r), rollout.Cause{Actor: r.Actor, At: time.Now(), Reason: r.Reason})
		refused = w.record(state, event, err)
		moved = control.Moved{Applied: true, Recorded: true, State: state, Event: event}
	})
	return moved, errors.Join(err, refused)
}

func (w *world) Complete(ctx context.Context, r control.StepRequest) (moved control.Moved, err error) {
	var refused error
	err = w.call(ctx, "complete "+r.Step, func() {
		state, event, err := w.state.Complete(w.steps, request(r), rollout.Cause{Actor: r.Actor, At: time.Now()})
		refused = w.record(state, event, err)
		moved = control.Moved{Applied: true, Recorded: true, State: state, Event: event}
	})
	return moved, errors.Join(err, refused)
}

func request(r control.StepRequest) rollout.StepRequest {
	return rollout.StepRequest{Step: r.Step, Generation: r.Generation, Gates: r.Gates, Acks: r.Acks, Context: r.Context}
}

// Check has what judges a bake judged for real.
func (w *world) Check(ctx context.Context, g plan.Gate, state rollout.State, bake *gate.Bake) (result gate.Result) {
	result = gate.Result{Name: g.Name, Verdict: rollout.Inconclusive, Evidence: map[string]any{}}
	_ = w.call(ctx, "gate "+g.Name, func() {
		switch said := w.says[g.Name]; {
		case said != "":
			result.Verdict = said
		case g.OnBake() || g.Acknowledge != "":
			result = (&gate.Checker{}).Check(ctx, g, state, bake)
		case g.Name == "idle" && w.worked(rollout.StopPython):
			result.Verdict = rollout.Fail // whoever is stopped does not say that it is idle
		case g.Name == "stopped" && !w.worked(rollout.StopPython):
			result.Verdict = rollout.Fail
		default:
			result.Verdict = rollout.Pass
		}
	})
	return result
}

func (w *world) worked(work rollout.Work) bool { return slices.Contains(w.works, work) }

func (w *world) Do(ctx context.Context, work rollout.Work) error {
	var failed error
	err := w.call(ctx, "work "+string(work), func() {
		if failed, w.fails = w.fails, nil; failed == nil {
			w.works = append(w.works, work)
			if work == rollout.RemovePython {
				w.about = "other images" // one of them is gone
			}
		}
	})
	return errors.Join(err, failed)
}

// Counters counts what was asked since the last look.
func (w *world) Counters(ctx context.Context) (counters edge.Counters, err error) {
	err = w.call(ctx, "counters", func() {
		w.flow()
		counters = edge.Counters{Epoch: w.epoch, Requests: map[string]map[edge.System]edge.Classes{}}
		for route, systems := range w.counted {
			counters.Requests[route] = map[edge.System]edge.Classes{edge.Python: {"2xx": uint64(systems[edge.Python])}, edge.Go: {"2xx": uint64(systems[edge.Go]), "5xx": uint64(systems["failed"])}}
		}
		if w.slow > 0 {
			counters.InFlight = map[string]map[edge.System]edge.InFlight{"a": {edge.Python: {Count: 1, Oldest: w.slow.Seconds()}}}
		}
	})
	return counters, err
}

func (w *world) flow() {
	requests := w.rate * time.Since(w.since).Seconds()
	w.since = time.Now()
	for _, route := range w.state.Routes {
		if w.counted[route.Name] == nil {
			w.counted[route.Name] = map[edge.System]float64{}
		}
		system := edge.Go
		if w.failing {
			system = "failed"
		}
		w.counted[route.Name][system] += requests * route.Weight.Percent() / 100
		w.counted[route.Name][edge.Python] += requests * (100 - route.Weight.Percent()) / 100
	}
}

type silence struct{}

func (silence) Emit(event.Event) {}

var allAcks = map[string]string{"trained": "by me", "remove": "meant"}

// run is a run of somebody who acknowledges everything.
func (w *world) run() *advance.Advance {
	return &advance.Advance{
		Plan: w.plan, Steps: w.steps, Guard: w, Gates: w, Edge: w, Worker: w, Events: silence{}, Actor: "kari", Acks: allAcks,
		About: func(context.Context) (string, error) { return w.about, nil },
	}
}

// actions are what the journal tells, without the plan.
func (w *world) actions() (all []string) {
	for _, e := range w.journal[1:] {
		name := e.After.Step
		if e.After.Progress != nil {
			name = e.After.Progress.Step
		}
		all = append(all, string(e.Action)+" "+name)
	}
	return all
}

func (w *world) named(prefix string) (found []string) {
	for _, call := range w.calls {
		if strings.HasPrefix(call, prefix) {
			found = append(found, call)
		}
	}
	return found
}

var once = []string{
	"begin ready", "complete ready", "begin half", "complete half", "begin all", "complete all",
	"begin job", "complete job", "begin stop", "complete stop", "begin remove", "complete remove",
}

// inTime runs a test in a world with a clock of its own.
func inTime(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld()) })
}
