package rollout

import (
	"slices"

	"github.com/cutover-dev/cutover/internal/edge"
)

// StepRequest asks to begin or to complete a step.
type StepRequest struct {
	Step       string
	Generation uint64       // that its author saw
	Gates      []GateResult // of the step, all of them
	// Acks are reasons by gate. A one-way step is acknowledged under its own
	// name.
	Acks    map[string]string
	Context string // what the gates' evidence is about
}

// Next is the index of the step that follows, or of the one that is under way;
// len(plan.Steps) when all are done.
//
// The step that a state is at is the last one whose weights, jobs and home are
// still reached: after a rollback it is the last one with everything on
// python, whatever the state says that was completed.
func (s State) Next(plan Plan) int {
	if s.Progress != nil {
		if i := plan.find(s.Progress.Step); i >= 0 {
			return i
		}
	}
	return plan.position(s) + 1
}

// Begin applies a step: the next one of the plan, with its gates before it. A
// nil event means that it is under way already, as it should be: its author saw
// that, or began it himself and did not hear the answer.
func (s State) Begin(plan Plan, r StepRequest, cause Cause) (State, *Event, error) {
	if err := s.mayAdvance(cause); err != nil {
		return s, nil, err
	}
	next := s.Next(plan)
	if next >= len(plan.Steps) {
		return s, nil, refuse(OutOfOrder, "Every step of the plan %q is done.", s.Plan.Name)
	}
	step := plan.Steps[next]
	if step.Name != r.Step {
		return s, nil, refuse(OutOfOrder, "The step %s cannot begin now: %s is next.%s", r.Step, step.Name, s.lastChange())
	}
	target := plan.target(next)
	if s.Progress != nil && target.equals(s) && (r.Generation == s.Generation || s.Progress.Actor == cause.Actor) {
		return s, nil, nil
	}
	if err := s.current(r.Generation); err != nil {
		return s, nil, err
	}
	acks, err := s.admit(step, step.Before, r)
	if err != nil {
		return s, nil, err
	}
	after := s.next()
	if step.Label == OneWay {
		reason := r.Acks[step.Name]
		if reason == "" {
			return s, nil, refuse(GateClosed, "There is no way back after the step %s; it needs an acknowledgement: --ack %s=REASON.", step.Name, step.Name)
		}
		acks = append(acks, Ack{Gate: step.Name, Reason: reason, Context: r.Context})
		after.OneWay = step.Name
	}
	after = after.withAcks(acks, cause)
	after.Routes, after.Home = target.routes, target.home
	after.First, after.Last = plan.First, plan.Last
	after.Jobs = target.jobs
	after.Phase = step.Phase
	after.Progress = &Progress{Phase: step.Phase, Step: step.Name, Since: cause.time(), Actor: cause.Actor}
	after, event := changed(ActionBegin, s, after, cause)
	return after, event, nil
}

// Complete ends the step under way, with its gates after it. A nil event means
// that its author completed it before and did not hear the answer.
func (s State) Complete(plan Plan, r StepRequest, cause Cause) (State, *Event, error) {
	if s.Progress == nil && s.Step == r.Step && !s.Latched && s.Step != "" && s.Changed.Actor == cause.Actor {
		return s, nil, nil
	}
	if err := s.mayAdvance(cause); err != nil {
		return s, nil, err
	}
	if s.Progress == nil || s.Progress.Step != r.Step || plan.find(r.Step) < 0 {
		return s, nil, refuse(OutOfOrder, "The step %s is not under way.%s", r.Step, s.lastChange())
	}
	if err := s.current(r.Generation); err != nil {
		return s, nil, err
	}
	i := plan.find(r.Step)
	if !plan.target(i).equals(s) {
		return s, nil, refuse(OutOfOrder, "The weights are not those of the step %s any more.%s", r.Step, s.lastChange())
	}
	acks, err := s.admit(plan.Steps[i], plan.Steps[i].After, r)
	if err != nil {
		return s, nil, err
	}
	after := s.next().withAcks(acks, cause)
	after.Step, after.Progress = r.Step, nil
	after, event := changed(ActionComplete, s, after, cause)
	return after, event, nil
}

// Private

func (s State) mayAdvance(cause Cause) error {
	if err := cause.validate(); err != nil {
		return err
	}
	switch {
	case s.Latched:
		return refuse(Latched, "Everything is latched on python since a rollback (%s); resume first.", s.LatchReason)
	case s.Paused:
		return refuse(Paused, "The migration is paused (%s); resume first.", s.PauseReason)
	}
	return nil
}

func (p Plan) find(step string) int {
	return slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == step })
}

func (p Plan) phaseOf(step string) string {
	if i := p.find(step); i >= 0 {
		return p.Steps[i].Phase
	}
	if len(p.Steps) > 0 {
		return p.Steps[0].Phase
	}
	return ""
}

// position is the index of the step that a state is at, -1 before the first.
func (p Plan) position(s State) int {
	for i := p.find(s.Step); i >= 0; i-- {
		if p.target(i).reachedBy(s) {
			return i
		}
	}
	return -1
}

// furthest is the last step that a state can have reached by its weights alone.
func (p Plan) furthest(s State) string {
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if p.target(i).equals(s) {
			return p.Steps[i].Name
		}
	}
	return ""
}

// target is what holds from a step on, until the next one begins.
type target struct {
	routes []Route
	jobs   []Job
	home   edge.System
}

func (p Plan) target(step int) target {
	t := target{routes: p.routes(), jobs: p.jobs(), home: edge.Python}
	weights, owners := map[string]edge.Weight{}, map[string]edge.System{}
	for _, s := range p.Steps[:step+1] {
		for _, w := range s.Weights {
			weights[w.Route] = w.Weight
		}
		for _, job := range s.Jobs {
			owners[job.Name] = job.Owner
		}
		if s.Work == StopPython {
			t.home = edge.Go
		}
	}
	for i, route := range t.routes {
		t.routes[i].Weight = weights[route.Name]
	}
	for i, job := range t.jobs {
		if owner := owners[job.Name]; owner != "" {
			t.jobs[i].Owner = owner
		}
	}
	if t.home == edge.Go {
		t.routes = withoutPython(t.routes)
	}
	return t
}

// withoutPython leaves out what only python serves: it is not there any more.
func withoutPython(routes []Route) []Route {
	return slices.DeleteFunc(slices.Clone(routes), func(r Route) bool { return r.Pin == edge.Python })
}

func (t target) equals(s State) bool {
	return slices.Equal(t.routes, s.Routes) && slices.Equal(t.jobs, s.Jobs) && t.home == s.Home
}

// reachedBy tells whether a state is at least so far.
func (t target) reachedBy(s State) bool {
	if t.home == edge.Go && s.Home != edge.Go || !slices.Equal(t.jobs, s.Jobs) {
		return false
	}
	for _, route := range t.routes {
		if s.weightOf(route) < route.Weight {
			return false
		}
	}
	return true
}
