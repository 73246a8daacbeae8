package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

type planCommand struct {
	*options
	adopt bool
	to    string
}

func newPlanCommand(o *options) *cobra.Command {
	c := &planCommand{options: o}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what the next steps would do, and why; changes nothing",
		Long: `Show what the next steps of the plan would do from where the migration stands,
each operation with its cause, the routing before and after, the gates, and what
it takes to go back. It changes nothing.

If the guard follows another plan than this file it shows the difference; with
--adopt the guard follows this file from now on. While traffic is moved that
needs the same routes, and the same weights up to the step that is reached.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&c.adopt, "adopt", false, "make the guard follow the plan file")
	cmd.Flags().StringVar(&c.to, "to", "", "up to this `step` (default: all)")
	return cmd
}

// planDocument is what plan --json prints.
type planDocument struct {
	SchemaVersion int               `json:"schema_version"`
	Name          string            `json:"name"`
	Hash          string            `json:"hash"`
	Guard         rollout.PlanID    `json:"guard"`
	Same          bool              `json:"same"`
	Adopted       bool              `json:"adopted"`
	Difference    []string          `json:"difference"` // between the guard's plan and this one
	Phase         string            `json:"phase"`
	Step          string            `json:"step"`
	Steps         []rollout.Preview `json:"steps"`
}

func (c *planCommand) run(ctx context.Context) (err error) {
	p, err := c.loadPlan()
	if err != nil {
		return err
	}
	steps := guardPlan(p)
	last := len(steps.Steps) - 1
	if c.to != "" {
		if last = slices.IndexFunc(steps.Steps, func(s rollout.Step) bool { return s.Name == c.to }); last < 0 {
			return usage(fmt.Errorf("--to %s: the plan %s has no such step; it has %s", c.to, p.Name, strings.Join(stepNames(steps), ", ")))
		}
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		return unanswered(err)
	}
	held, err := client.Plan(ctx)
	if err != nil {
		return unanswered(err)
	}
	document := planDocument{
		SchemaVersion: 1, Name: p.Name, Hash: p.Hash, Guard: status.State.Plan,
		Same: status.State.Plan.Hash == p.Hash && held.Hash == p.Hash, Steps: []rollout.Preview{},
		Difference: rollout.Difference(held, steps),
	}
	state := status.State
	if c.adopt && !document.Same {
		moved, err := client.AdoptPlan(ctx, control.PlanRequest{Actor: c.operator(), Plan: steps})
		if err != nil {
			return refused(err)
		}
		document.Adopted, document.Guard, state = true, moved.State.Plan, moved.State
	}
	document.Phase, document.Step = state.Phase, state.Step
	if document.Same || document.Adopted {
		document.Steps = append(document.Steps, state.Preview(steps, last)...)
	}
	return c.print(document, document.text(state))
}

func (d planDocument) text(state rollout.State) string {
	var out strings.Builder
	switch {
	case d.Adopted:
		fmt.Fprintf(&out, "The guard follows the plan %s now.\n", d.Name)
	case d.Same:
		fmt.Fprintf(&out, "The guard follows this very plan, %s (%.12s).\n", d.Name, d.Hash)
	case d.Guard.Hash == "":
		fmt.Fprintf(&out, "The guard follows no plan yet; this is %s (%.12s). cutover plan --adopt hands it over.\n", d.Name, d.Hash)
	default:
		fmt.Fprintf(&out, "The guard follows another one, %s (%.12s); this is %s (%.12s). cutover plan --adopt hands it over.\n", d.Guard.Name, d.Guard.Hash, d.Name, d.Hash)
	}
	if !d.Same {
		for _, line := range d.Difference {
			fmt.Fprintf(&out, "  %s\n", line)
		}
	}
	if !d.Same && !d.Adopted {
		return strings.TrimRight(out.String(), "\n")
	}
	switch {
	case state.Latched:
		fmt.Fprintln(&out, "Everything is latched on python since a rollback; no step begins before cutover resume.")
	case state.Paused:
		fmt.Fprintln(&out, "The migration is paused; no step begins before cutover resume.")
	}
	if len(d.Steps) == 0 {
		fmt.Fprintln(&out, "Nothing is left to do.")
	}
	phase := ""
	for _, preview := range d.Steps {
		if preview.Step.Phase != phase {
			phase = preview.Step.Phase
			fmt.Fprintf(&out, "\nphase %s\n", phase)
		}
		writePreview(&out, preview)
	}
	return strings.TrimRight(out.String(), "\n")
}

func writePreview(out *strings.Builder, preview rollout.Preview) {
	step := preview.Step
	about := string(step.Label)
	if step.Bake > 0 {
		about += fmt.Sprintf(", bakes %s", time.Duration(step.Bake*float64(time.Second)))
	}
	if preview.Resumes {
		about += ", under way"
	}
	fmt.Fprintf(out, "  step %s (%s)\n", step.Name, about)
	if len(step.Before) > 0 {
		fmt.Fprintf(out, "    before  %s\n", strings.Join(step.Before, ", "))
	}
	for _, operation := range preview.Operations {
		fmt.Fprintf(out, "    %s\n", operation)
	}
	if len(preview.Operations) > 0 {
		fmt.Fprintf(out, "    routing %s\n         →  %s\n", routing(preview.Before), routing(preview.After))
	}
	if len(step.After) > 0 {
		fmt.Fprintf(out, "    after   %s\n", strings.Join(step.After, ", "))
	}
	if step.Label == rollout.OneWay {
		fmt.Fprintf(out, "    no way back after it: asks for --ack %s=REASON\n", step.Name)
	}
}

// routing is a table in one line: what has a weight.
func routing(routes []rollout.Route) string {
	var parts []string
	for _, route := range routes {
		if route.Pin == "" && route.Follows == "" {
			parts = append(parts, fmt.Sprintf("%s %s", route.Name, route.Weight))
		}
		if len(parts) == 12 {
			parts = append(parts, "…")
			break
		}
	}
	return strings.Join(parts, "  ")
}

func stepNames(steps rollout.Plan) []string {
	var names []string
	for _, step := range steps.Steps {
		names = append(names, step.Name)
	}
	return names
}

// loadPlan reads the plan that the flags, the environment or the folder name.
func (o *options) loadPlan() (*plan.Plan, error) {
	root, err := o.root()
	given := o.planFile != "" || o.env.Getenv("CUTOVER_PLAN") != ""
	if err != nil && !given { // a plan that is named needs no checkout
		return nil, err
	}
	path, err := plan.Find(o.planFile, o.env.Getenv("CUTOVER_PLAN"), root)
	if err != nil {
		return nil, usage(err)
	}
	p, err := plan.Load(path)
	if err != nil {
		return nil, usage(err)
	}
	return p, nil
}
