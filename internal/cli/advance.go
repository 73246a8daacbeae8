package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/advance"
	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/database/migrate"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type advanceCommand struct {
	*options
	to   string
	all  bool
	acks []string
	bake time.Duration
	// baked is whether --bake was given.
	baked bool
}

func newAdvanceCommand(o *options) *cobra.Command {
	c := &advanceCommand{options: o}
	cmd := &cobra.Command{
		Use:   "advance",
		Short: "Take the next step of the plan: gates, the step, its bake, gates",
		Long: `Take the next step of the plan: gates before it, the step itself, its bake
while it is watched, gates after it.

It stops at the first step that a gate keeps back: exit code 3 if a gate fails,
6 if one has no answer. A gate without an answer can be acknowledged by a
person, with a reason that is recorded; one that fails cannot.

Interrupting it at any point leaves a state from which the next advance goes on.
Traffic stays where it is meanwhile; cutover rollback takes it back.`,
		Example: "  cutover advance\n  cutover advance --to users-50 --ack rollback-tested='drilled on Monday, see #12'\n  cutover advance --all --bake 30s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.baked = cmd.Flags().Changed("bake")
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&c.to, "to", "", "go on up to this `step`, with it")
	cmd.Flags().BoolVar(&c.all, "all", false, "go on to the last step; before one-way steps that are not acknowledged it ends")
	cmd.Flags().StringArrayVar(&c.acks, "ack", nil, "acknowledge a gate without an answer, or a one-way step: `GATE=REASON`; can be repeated")
	cmd.Flags().DurationVar(&c.bake, "bake", 0, "how long each step with a bake is watched, in the place of what the plan says")
	return cmd
}

func (c *advanceCommand) run(ctx context.Context) (err error) {
	p, err := c.loadPlan()
	if err != nil {
		return err
	}
	acks, err := c.parseAcks(p)
	if err != nil {
		return err
	}
	steps := guardPlan(p)
	if err := c.checkFlags(p, steps); err != nil {
		return err
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	in, err := newInside(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close(ctx)) }()
	if err := c.checkGuard(ctx, in, p); err != nil {
		return err
	}
	about := func(ctx context.Context) (string, error) { return in.evidenceContext(ctx, p.Hash) }
	a := &advance.Advance{
		Plan: p, Steps: steps, Guard: in.guard, Edge: in.edge, Events: s.Events(), Actor: c.operator(), Acks: acks, About: about,
		Gates:  &gate.Checker{Plan: p, Sources: in.sources(), About: about, Progress: gateProgress(s)},
		Worker: &legacyWork{inside: in, plan: p},
	}
	if c.baked {
		a.Bake = &c.bake
	}
	var report advance.Report
	switch {
	case c.to != "":
		report, err = a.To(ctx, c.to)
	case c.all:
		report, err = a.All(ctx)
	default:
		report, err = a.Next(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(c.print(report, c.sentence(report, steps, err)), c.ended(err))
}

// gateProgress shows what a gate waits for.
func gateProgress(s *stack.Stack) func(name, text string) {
	return func(name, text string) { event.Work(s.Events(), "gate "+name, text) }
}

func (c *advanceCommand) parseAcks(p *plan.Plan) (map[string]string, error) {
	acks := map[string]string{}
	for _, ack := range c.acks {
		name, reason, found := strings.Cut(ack, "=")
		name, reason = strings.TrimSpace(name), strings.TrimSpace(reason)
		switch {
		case !found || name == "" || reason == "":
			return nil, usage(fmt.Errorf("--ack %q: it has to be GATE=REASON, with a reason that others will understand", ack))
		case len(reason) > longestReason:
			return nil, usage(fmt.Errorf("--ack %s: the reason is %d bytes long; the journal takes %d", name, len(reason), longestReason))
		}
		acks[name] = reason
	}
	if unknown := advance.Unknown(p, acks); len(unknown) > 0 {
		return nil, usage(fmt.Errorf("--ack %s: the plan %s has no such gate and no such one-way step", unknown[0], p.Name))
	}
	return acks, nil
}

func (c *advanceCommand) checkFlags(p *plan.Plan, steps rollout.Plan) error {
	if len(steps.Steps) == 0 {
		return usage(fmt.Errorf("the plan %s has no steps: add phases, see cutover schema and cutover init", p.Name))
	}
	if c.to != "" && c.all {
		return usage(errors.New("--to and --all exclude each other"))
	}
	if c.baked && (c.bake < 0 || c.bake > 90*24*time.Hour) {
		return usage(fmt.Errorf("--bake %s: 0s to 2160h", c.bake))
	}
	if c.to == "" {
		return nil
	}
	var names []string
	for _, step := range steps.Steps {
		if step.Name == c.to {
			return nil
		}
		names = append(names, step.Name)
	}
	return usage(fmt.Errorf("--to %s: the plan %s has no such step; it has %s", c.to, p.Name, strings.Join(names, ", ")))
}

// checkGuard makes sure that the guard follows this very plan, and that the
// step that is asked for is still to come.
func (c *advanceCommand) checkGuard(ctx context.Context, in *inside, p *plan.Plan) error {
	status, err := in.guard.Status(ctx)
	if err != nil {
		return unanswered(err)
	}
	if err := samePlan(status.State, p); err != nil {
		return err
	}
	return nil
}

// samePlan refuses to work with another plan than the guard's.
func samePlan(state rollout.State, p *plan.Plan) error {
	switch state.Plan.Hash {
	case p.Hash:
		return nil
	case "":
		return exitError{ExitRefused, errors.New("the guard follows no plan yet: hand it over with cutover plan --adopt")}
	}
	return exitError{ExitRefused, fmt.Errorf("the guard follows another plan, %s (%.12s), than this one, %s (%.12s): cutover plan shows the difference, cutover plan --adopt accepts it",
		state.Plan.Name, state.Plan.Hash, p.Name, p.Hash)}
}

// ended gives an error of the run its exit code, and says what to do.
func (c *advanceCommand) ended(err error) error {
	var stopped *advance.Stopped
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stopped):
		code := ExitInconclusive
		if stopped.Verdict == rollout.Fail {
			code = ExitRefused
		}
		return exitError{code, fmt.Errorf("%w%s", err, c.remedy(stopped))}
	case errors.Is(err, advance.ErrOneWay):
		return exitError{ExitInconclusive, err}
	}
	return refused(err)
}

// remedy tells what a person can do about gates that stopped a step.
func (c *advanceCommand) remedy(stopped *advance.Stopped) string {
	var acks []string
	failed := false
	for _, result := range stopped.Gates {
		if result.Verdict == rollout.Fail {
			failed = true
			continue
		}
		acks = append(acks, fmt.Sprintf("--ack %s='…'", result.Name))
	}
	text := ""
	if failed {
		text += "\nMend what fails and run cutover advance again; a gate that fails cannot be acknowledged."
	}
	if len(acks) > 0 {
		text += "\nWho takes the responsibility for what has no answer goes on with: cutover advance " + strings.Join(acks, " ")
	}
	if stopped.Applied {
		text += "\nThe step is in force meanwhile. To take everything back: cutover rollback --reason …"
	}
	return text
}

// sentence tells what a run did.
func (c *advanceCommand) sentence(report advance.Report, steps rollout.Plan, err error) string {
	var text strings.Builder
	for _, step := range report.Steps {
		if step.Verdict == rollout.Pass {
			fmt.Fprintf(&text, "%s: completed, %d gates.\n", step.Name, len(step.Gates))
		}
	}
	next := 0
	for i, step := range steps.Steps {
		if step.Name == report.To {
			next = i + 1
		}
	}
	var api *control.Error
	switch {
	case errors.As(err, &api): // somebody has changed something
		text.WriteString("cutover status shows where the migration is.")
	case err != nil && report.UnderWay() != "":
		fmt.Fprintf(&text, "The step %s is under way; cutover advance goes on with it.", report.UnderWay())
	case err != nil:
		fmt.Fprintf(&text, "The migration is %s.", after(report.To))
	case next >= len(steps.Steps):
		fmt.Fprintf(&text, "The migration is complete: %s was the last step.", report.To)
	case steps.Steps[next].Label == rollout.OneWay:
		fmt.Fprintf(&text, "The migration is %s. Next is %s, after which there is no way back: cutover advance --ack %s=REASON", after(report.To), steps.Steps[next].Name, steps.Steps[next].Name)
	default:
		fmt.Fprintf(&text, "The migration is %s. Next: %s.", after(report.To), steps.Steps[next].Name)
	}
	return text.String()
}

func after(step string) string {
	if step == "" {
		return "before its first step"
	}
	return "after the step " + step
}

// legacyWork is what steps do to the legacy system.
type legacyWork struct {
	inside *inside
	plan   *plan.Plan
}

// Do carries out a step's work; it may be done twice.
func (w *legacyWork) Do(ctx context.Context, work rollout.Work) error {
	s := w.inside.stack
	switch work {
	case rollout.ExpandSchema:
		return w.migrate(ctx, migrate.Expand)
	case rollout.ContractSchema:
		return w.migrate(ctx, migrate.Contract)
	case rollout.StopPython:
		if err := w.drain(ctx); err != nil {
			return err
		}
		return s.StopLegacy(ctx)
	case rollout.ArchivePython:
		path, err := s.ArchiveLegacy(ctx, w.plan.Path(w.plan.Systems.Python.Source))
		if err != nil {
			return err
		}
		event.Finish(s.Events(), "archive", path)
		return nil
	case rollout.RemovePython:
		return s.RemoveLegacy(ctx)
	}
	return fmt.Errorf("this program does not know the work %q", work)
}

// migrate runs what is still to be run of one kind of migrations.
func (w *legacyWork) migrate(ctx context.Context, kind migrate.Kind) error {
	migrations, err := planMigrations(w.plan)
	if err != nil {
		return err
	}
	server, err := databaseServer(ctx, w.inside.stack)
	if err != nil {
		return err
	}
	m := newMigrator(w.inside.stack, server, migrations, lockPatience)
	_, err = m.Up(ctx, kind)
	return err
}

// drain waits until python has answered what it was asked, as long as the plan
// lets it.
func (w *legacyWork) drain(ctx context.Context) error {
	limit := time.NewTimer(w.plan.Drain.Value)
	defer limit.Stop()
	for {
		counters, err := w.inside.edge.Counters(ctx)
		if err != nil {
			return fmt.Errorf("what python is still asked cannot be read: %w", err)
		}
		waiting := 0
		for _, systems := range counters.InFlight {
			waiting += int(systems["python"].Count)
		}
		if waiting == 0 {
			return nil
		}
		event.Work(w.inside.stack.Events(), "service flask", fmt.Sprintf("ends %d requests", waiting))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			event.Warn(w.inside.stack.Events(), "service flask", fmt.Sprintf("did not end %d requests within %s", waiting, w.plan.Drain))
			return nil
		case <-time.After(pollGuard):
		}
	}
}

var _ advance.Guard = (*control.Client)(nil)
