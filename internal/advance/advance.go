// Package advance carries a migration forward: gates before a step, the step
// itself, its bake, gates after it. It can be ended at any point, and goes on
// from what the guard has recorded.
package advance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Guard is who moves traffic. Beginning or completing a step twice does
// nothing the second time.
type Guard interface {
	Status(ctx context.Context) (control.Status, error)
	Begin(ctx context.Context, r control.StepRequest) (control.Moved, error)
	Complete(ctx context.Context, r control.StepRequest) (control.Moved, error)
}

// Gates answers gates.
type Gates interface {
	Check(ctx context.Context, g plan.Gate, state rollout.State, bake *gate.Bake) gate.Result
}

// Edge is read to know what a bake brought.
type Edge interface {
	Counters(ctx context.Context) (edge.Counters, error)
}

// Worker does what a step does besides moving traffic. Doing it twice does
// nothing the second time.
type Worker interface {
	Do(ctx context.Context, work rollout.Work) error
}

// Advance is one run.
type Advance struct {
	Plan   *plan.Plan
	Steps  rollout.Plan // the same, as the guard has it
	Guard  Guard
	Gates  Gates
	Edge   Edge
	Worker Worker
	Events event.Sink
	Actor  string
	Acks   map[string]string // reasons by gate or one-way step
	Bake   *time.Duration    // in the place of the plan's
	// About says what the gates' evidence is about now: a step may change that.
	About func(ctx context.Context) (string, error)
}

// Report is what a run did. Its JSON form is what advance --json prints.
type Report struct {
	SchemaVersion int          `json:"schema_version"`
	From          string       `json:"from"`
	To            string       `json:"to"`
	Steps         []StepReport `json:"steps"`
}

// UnderWay is the step that was begun and not completed, "" for none.
func (r Report) UnderWay() string {
	for _, step := range r.Steps {
		if step.Begun && step.Verdict != rollout.Pass {
			return step.Name
		}
	}
	return ""
}

// StepReport is what became of a step: pass when it was completed.
type StepReport struct {
	Name    string          `json:"name"`
	Phase   string          `json:"phase"`
	Begun   bool            `json:"begun"` // its weights are in force, or were before somebody took it back
	Verdict rollout.Verdict `json:"verdict"`
	Gates   []GateReport    `json:"gates"`
}

// GateReport is the answer of a gate, and what a person said to it.
type GateReport struct {
	gate.Result
	Acknowledged string `json:"acknowledged,omitempty"` // the reason
}

// Stopped says that gates kept a step from beginning or from being completed.
type Stopped struct {
	Step    string
	Applied bool // the step's weights are in force
	Verdict rollout.Verdict
	Gates   []gate.Result // those that stopped it
}

// Error tells which gates stopped it, and why.
func (s *Stopped) Error() string {
	where := "before the step " + s.Step + " begins"
	if s.Applied {
		where = "before the step " + s.Step + " is completed"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "stopped %s:", where)
	for _, result := range s.Gates {
		fmt.Fprintf(&text, "\n  %s: %s", result.Name, result.Verdict)
		if why := gate.Reason(result); why != "" {
			fmt.Fprintf(&text, " — %s", why)
		}
	}
	return text.String()
}

// ErrOneWay says that the next step has no way back and was not acknowledged.
var ErrOneWay = errors.New("there is no way back after it")

// Next takes the step that follows, or goes on with the one under way.
func (a *Advance) Next(ctx context.Context) (Report, error) {
	return a.run(ctx, func(_ rollout.State, _, done int) bool { return done == 0 })
}

// To goes on up to a step of the plan, with it.
func (a *Advance) To(ctx context.Context, name string) (Report, error) {
	last := slices.IndexFunc(a.Steps.Steps, func(s rollout.Step) bool { return s.Name == name })
	return a.run(ctx, func(_ rollout.State, step, _ int) bool { return step <= last })
}

// All goes on to the last step that can be taken back, and further only where
// one-way steps are acknowledged. One that was begun was.
func (a *Advance) All(ctx context.Context) (Report, error) {
	return a.run(ctx, func(state rollout.State, step, _ int) bool {
		s := a.Steps.Steps[step]
		return s.Label != rollout.OneWay || a.Acks[s.Name] != "" || state.OneWay == s.Name
	})
}

// Private

// run takes steps as long as the next one is wanted.
func (a *Advance) run(ctx context.Context, wanted func(state rollout.State, step, done int) bool) (Report, error) {
	report := Report{SchemaVersion: 1, Steps: []StepReport{}}
	for done := 0; ; done++ {
		status, err := a.Guard.Status(ctx)
		if err != nil {
			return report, err
		}
		state := status.State
		if done == 0 {
			report.From = state.Step
		}
		report.To = state.Step
		next := state.Next(a.Steps)
		if next >= len(a.Steps.Steps) || !wanted(state, next, done) {
			return report, nil
		}
		step, err := a.step(ctx, state, next)
		report.Steps = append(report.Steps, step)
		if err != nil {
			return report, err
		}
		report.To = step.Name
	}
}

func (a *Advance) step(ctx context.Context, state rollout.State, next int) (StepReport, error) {
	step := a.Steps.Steps[next]
	report := StepReport{Name: step.Name, Phase: step.Phase, Begun: state.Progress != nil, Verdict: rollout.Inconclusive, Gates: []GateReport{}}
	subject := "step " + step.Name
	if err := a.mayGoOn(state); err != nil {
		return report, err
	}
	if step.Label == rollout.OneWay && a.Acks[step.Name] == "" && state.Progress == nil {
		event.Fail(a.Events, subject, "one-way, and not acknowledged")
		return report, fmt.Errorf("the step %s is one-way: %w; go on with --ack %s=REASON", step.Name, ErrOneWay, step.Name)
	}
	about, err := a.About(ctx)
	if err != nil {
		return report, err
	}
	generation := state.Generation
	request := control.StepRequest{Actor: a.Actor, Reason: a.says(step.Name), Step: step.Name, Generation: generation, Acks: a.Acks, Context: about}
	if state.Progress == nil {
		event.Work(a.Events, subject, "gates before it")
	} else {
		event.Work(a.Events, subject, "goes on, begun by "+state.Progress.Actor)
	}
	moved, err := a.begin(ctx, step, state, request, &report)
	if err != nil {
		return report, err
	}
	report.Begun = true
	state = moved.State
	before, err := a.startOfBake(ctx, state)
	if err != nil {
		return report, err
	}
	if step.Work != rollout.NoWork {
		event.Work(a.Events, subject, string(step.Work))
		if err := a.Worker.Do(ctx, step.Work); err != nil {
			event.Fail(a.Events, subject, string(step.Work)+" failed")
			report.Verdict = rollout.Fail
			return report, fmt.Errorf("the step %s is begun, but its work %s failed: %w", step.Name, step.Work, err)
		}
	}
	bake, state, err := a.bake(ctx, step, state, before, about)
	if err != nil {
		event.Fail(a.Events, subject, "its bake was broken off")
		var stopped *Stopped
		if errors.As(err, &stopped) {
			report.Verdict = stopped.Verdict
			for _, result := range stopped.Gates {
				report.Gates = append(report.Gates, GateReport{Result: result})
			}
		}
		return report, err
	}
	if about, err = a.About(ctx); err != nil {
		return report, err
	}
	request.Context = about
	results, err := a.pass(ctx, step, step.After, state, bake, about, &report)
	if err != nil {
		event.Fail(a.Events, subject, "a gate after its bake stopped it")
		var stopped *Stopped
		if errors.As(err, &stopped) {
			stopped.Applied = true
		}
		return report, err
	}
	request.Gates, request.Generation = results, state.Generation
	if _, err := a.Guard.Complete(ctx, request); err != nil {
		event.Fail(a.Events, subject, "not completed")
		return report, err
	}
	report.Verdict = rollout.Pass
	event.Finish(a.Events, subject, "completed"+a.effect(step))
	return report, nil
}

// begin applies a step through the gates before it. One that is under way as it
// should be has passed them: they are not asked again, because what it does may
// have changed their answers.
func (a *Advance) begin(ctx context.Context, step rollout.Step, state rollout.State, request control.StepRequest, report *StepReport) (control.Moved, error) {
	subject := "step " + step.Name
	if state.Progress != nil {
		moved, err := a.Guard.Begin(ctx, request)
		var refusal *control.Error
		if !errors.As(err, &refusal) || refusal.Code != rollout.GateClosed {
			return moved, err
		}
	}
	results, err := a.pass(ctx, step, step.Before, state, nil, request.Context, report)
	if err != nil {
		event.Fail(a.Events, subject, "a gate before it stopped it")
		return control.Moved{}, err
	}
	request.Gates = results
	moved, err := a.Guard.Begin(ctx, request)
	if err != nil {
		event.Fail(a.Events, subject, "not begun")
	}
	return moved, err
}

// pass asks gates, and is an error unless all of them let the step pass. All are
// asked, so that a person sees everything at once.
func (a *Advance) pass(ctx context.Context, step rollout.Step, gates []string, state rollout.State, bake *gate.Bake, about string, report *StepReport) ([]gate.Result, error) {
	var results []gate.Result
	stopped := &Stopped{Step: step.Name, Verdict: rollout.Pass}
	for _, name := range gates {
		g, _ := a.Plan.Gate(name)
		result := a.Gates.Check(ctx, g, state, bake)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		results = append(results, result)
		said := a.Acks[name]
		if ack, before := state.Acknowledged(name, about); said == "" && before {
			said = ack.Reason
		}
		if result.Verdict != rollout.Inconclusive {
			said = ""
		}
		report.Gates = append(report.Gates, GateReport{Result: result, Acknowledged: said})
		show(a.Events, result, said)
		switch {
		case result.Verdict == rollout.Fail:
			stopped.Verdict = rollout.Fail
		case result.Verdict == rollout.Inconclusive && said == "":
			if stopped.Verdict == rollout.Pass {
				stopped.Verdict = rollout.Inconclusive
			}
		default:
			continue
		}
		stopped.Gates = append(stopped.Gates, result)
	}
	if len(stopped.Gates) > 0 {
		report.Verdict = stopped.Verdict
		return nil, stopped
	}
	return results, nil
}

func show(events event.Sink, result gate.Result, said string) {
	subject, text := "gate "+result.Name, result.Verdict.String()
	if why := gate.Reason(result); why != "" {
		text += ": " + why
	}
	switch {
	case result.Verdict == rollout.Fail:
		event.Fail(events, subject, text)
	case said != "":
		event.Warn(events, subject, text+"; acknowledged: "+said)
	case result.Verdict == rollout.Inconclusive:
		event.Warn(events, subject, text)
	default:
		event.Finish(events, subject, text)
	}
}

func (a *Advance) mayGoOn(state rollout.State) error {
	switch {
	case state.Latched:
		return &control.Error{Code: rollout.Latched, Message: fmt.Sprintf("everything is latched on python since a rollback%s (%s); when the cause is mended: cutover resume --reason …", by(state, rollout.ActionRollback), strings.TrimRight(state.LatchReason, "."))}
	case state.Paused:
		return &control.Error{Code: rollout.Paused, Message: fmt.Sprintf("the migration is paused%s (%s); go on with cutover resume --reason …", by(state, rollout.ActionPause), strings.TrimRight(state.PauseReason, "."))}
	}
	return nil
}

// by names who did something, if it was the last change.
func by(state rollout.State, action rollout.Action) string {
	if state.Changed.Action != action {
		return ""
	}
	return " by " + state.Changed.Actor
}

func (a *Advance) says(name string) string {
	for _, phase := range a.Plan.Phases {
		for _, step := range phase.Steps {
			if step.Name == name {
				return step.Says
			}
		}
	}
	return ""
}

// effect tells what a step changed, to follow another text.
func (a *Advance) effect(step rollout.Step) string {
	var parts []string
	for _, w := range step.Weights {
		parts = append(parts, fmt.Sprintf("%s %s %%", w.Route, w.Weight))
	}
	for _, job := range step.Jobs {
		parts = append(parts, fmt.Sprintf("%s by %s", job.Name, job.Owner))
	}
	if step.Work != rollout.NoWork {
		parts = append(parts, string(step.Work))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// Unknown are the names of acknowledgements that no gate and no one-way step
// has.
func Unknown(p *plan.Plan, acks map[string]string) []string {
	var unknown []string
	for _, name := range slices.Sorted(maps.Keys(acks)) {
		_, known := p.Gate(name)
		for _, phase := range p.Phases {
			known = known || slices.ContainsFunc(phase.Steps, func(s plan.Step) bool { return s.Name == name && s.Label == string(rollout.OneWay) })
		}
		if !known {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
