package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

type planCommand struct {
	*options
	adopt bool
}

func newPlanCommand(o *options) *cobra.Command {
	c := &planCommand{options: o}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Compare the plan file with the plan that the guard follows",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&c.adopt, "adopt", false, "make the guard follow the plan file")
	return cmd
}

func (c *planCommand) run(ctx context.Context) (err error) {
	p, err := c.loadPlan()
	if err != nil {
		return err
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
	document := map[string]any{
		"schema_version": 1, "name": p.Name, "hash": p.Hash,
		"guard": status.State.Plan, "same": status.State.Plan.Hash == p.Hash, "adopted": false,
	}
	switch {
	case status.State.Plan.Hash == p.Hash:
		return c.print(document, fmt.Sprintf("The guard follows this very plan, %s.", p.Name))
	case !c.adopt:
		held := "no plan yet"
		if status.State.Plan.Hash != "" {
			held = fmt.Sprintf("another one, %s (%.12s)", status.State.Plan.Name, status.State.Plan.Hash)
		}
		return c.print(document, fmt.Sprintf("The guard follows %s; this is %s (%.12s). cutover plan --adopt hands it over.", held, p.Name, p.Hash))
	}
	if _, err := client.AdoptPlan(ctx, control.PlanRequest{Actor: c.operator(), Plan: guardPlan(p)}); err != nil {
		return refused(err)
	}
	document["adopted"] = true
	return c.print(document, fmt.Sprintf("The guard follows the plan %s now.", p.Name))
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

// guardPlan is what the guard has to know of a plan.
func guardPlan(p *plan.Plan) rollout.Plan {
	result := rollout.Plan{Name: p.Name, Hash: p.Hash, First: p.Visitors.First, Last: p.Visitors.Last}
	for _, route := range p.Lines() {
		result.Routes = append(result.Routes, rollout.PlanRoute{Name: route.Name, Prefix: route.Prefix, Pin: route.Pin, Follows: route.Follows})
	}
	return result
}
