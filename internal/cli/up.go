package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type upCommand struct {
	*options
}

func newUpCommand(o *options) *cobra.Command {
	c := &upCommand{options: o}
	return &cobra.Command{
		Use:   "up",
		Short: "Build what is missing and bring the environment up, healthy and with seed data",
		Long: `Build what is missing and bring the environment up, healthy and with seed data.

What is there already is left alone, so it can be run again at any time, also
after it was interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
}

func (c *upCommand) run(ctx context.Context) (err error) {
	p, err := c.loadPlan()
	if err != nil {
		return err
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	err = c.up(ctx, s, p)
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	return c.printStatus(ctx)
}

func (c *upCommand) up(ctx context.Context, s *stack.Stack, p *plan.Plan) error {
	if err := s.Up(ctx); err != nil {
		return err
	}
	if _, err := seed(ctx, s, p); err != nil {
		return err
	}
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := client.AdoptPlan(ctx, control.PlanRequest{Actor: c.operator(), Plan: guardPlan(p)}); err != nil {
		return refused(fmt.Errorf("everything is up, but the guard did not take the plan: %w", err))
	}
	return nil
}
