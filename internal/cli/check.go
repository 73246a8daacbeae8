package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

func newCheckCommand(o *options) *cobra.Command {
	c := &checkCommand{options: o}
	return &cobra.Command{
		Use:   "check [GATE…]",
		Short: "Answer gates of the plan now, without moving anything",
		Long: `Answer gates of the plan now, without moving anything: those that are named,
else those of the next step.

Exit code 0 if all pass, 3 if one fails, 6 if one has no answer that a person
has acknowledged. What is judged over a bake is judged only while a step bakes,
by cutover advance.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
}

type checkCommand struct {
	*options
}

// checkDocument is what check --json prints.
type checkDocument struct {
	SchemaVersion int           `json:"schema_version"`
	Gates         []checkedGate `json:"gates"`
}

type checkedGate struct {
	gate.Result
	Phase        string `json:"phase"` // of the first step that asks for it
	Says         string `json:"says"`
	Acknowledged string `json:"acknowledged,omitempty"`
}

func (c *checkCommand) run(ctx context.Context, names []string) (err error) {
	p, err := c.loadPlan()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, known := p.Gate(name); !known {
			return usage(fmt.Errorf("the plan %s has no gate %q; it has %s", p.Name, name, strings.Join(gateNames(p), ", ")))
		}
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
	status, err := in.guard.Status(ctx)
	if err != nil {
		return unanswered(err)
	}
	if err := samePlan(status.State, p); err != nil {
		return err
	}
	about, err := in.evidenceContext(ctx, p.Hash)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = nextGates(p, status.State)
	}
	checker := &gate.Checker{Plan: p, Sources: in.sources(), Progress: gateProgress(s),
		About: func(context.Context) (string, error) { return about, nil }}
	document := checkDocument{SchemaVersion: 1, Gates: []checkedGate{}}
	for _, name := range names {
		g, _ := p.Gate(name)
		event.Work(s.Events(), "gate "+name, "asking")
		result := checker.Check(ctx, g, status.State, nil)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found := checkedGate{Result: result, Phase: phaseOfGate(p, name), Says: g.Says}
		if ack, said := status.State.Acknowledged(name, about); said && result.Verdict == rollout.Inconclusive {
			found.Acknowledged = fmt.Sprintf("%s (%s)", ack.Reason, ack.Actor)
		}
		document.Gates = append(document.Gates, found)
		event.Finish(s.Events(), "gate "+name, result.Verdict.String())
	}
	return errors.Join(c.print(document, document.text()), document.ended())
}

// ended is the verdict of all gates as an exit code.
func (d checkDocument) ended() error {
	code := ExitPassed
	for _, g := range d.Gates {
		switch {
		case g.Verdict == rollout.Fail:
			code = ExitRefused
		case g.Verdict == rollout.Inconclusive && g.Acknowledged == "" && code == ExitPassed:
			code = ExitInconclusive
		}
	}
	if code == ExitPassed {
		return nil
	}
	return exitError{code: code} // everything is said
}

func (d checkDocument) text() string {
	if len(d.Gates) == 0 {
		return "The next step has no gates."
	}
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 4, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "GATE\tVERDICT\tWHY")
	for _, g := range d.Gates {
		verdict := g.Verdict.String()
		if g.Acknowledged != "" {
			verdict = "acknowledged"
		}
		why := gate.Reason(g.Result)
		if g.Acknowledged != "" {
			why = g.Acknowledged
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", g.Name, verdict, printable(why))
	}
	_ = table.Flush() // a strings.Builder takes everything
	return strings.TrimRight(out.String(), "\n")
}

// nextGates are those of the step that is next or under way.
func nextGates(p *plan.Plan, state rollout.State) []string {
	steps := guardPlan(p)
	next := state.Next(steps)
	if next >= len(steps.Steps) {
		return nil
	}
	names := steps.Steps[next].Before
	if state.Progress != nil {
		names = steps.Steps[next].After
	}
	return names
}

func phaseOfGate(p *plan.Plan, name string) string {
	for _, phase := range p.Phases {
		for _, step := range phase.Steps {
			for _, asked := range append(p.GatesBefore(phase, step), p.GatesAfter(phase, step)...) {
				if asked == name {
					return phase.Name
				}
			}
		}
	}
	return ""
}

func gateNames(p *plan.Plan) []string {
	var names []string
	for _, g := range p.Gates {
		names = append(names, g.Name)
	}
	return names
}
