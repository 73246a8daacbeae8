package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
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
	if err := c.checkPlan(ctx, s, p); err != nil {
		return err
	}
	if err := s.Up(ctx, p.Edge.Variables()); err != nil {
		return err
	}
	if _, err := seed(ctx, s, p, database.Seed{Accounts: defaultAccounts, Seed: defaultSeed}); err != nil {
		return err
	}
	err := c.adopt(ctx, s, p)
	if unreachable(err) {
		// A guard that hangs looks healthy for its first seconds.
		err = c.adoptAfresh(ctx, s, p)
	}
	if err != nil {
		return refused(fmt.Errorf("everything is up, but the guard did not take the plan: %w", err))
	}
	return nil
}

// checkPlan refuses another plan while traffic is moved, before anything is
// changed: nginx would be started anew for a plan that the guard then refuses.
func (c *upCommand) checkPlan(ctx context.Context, s *stack.Stack, p *plan.Plan) error {
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	status, err := client.Status(ctx)
	state := status.State
	if err != nil || state.Plan.Hash == "" || state.Plan.Hash == p.Hash {
		return nil // a guard that is not there, or does not answer, follows no plan yet
	}
	moved := slices.ContainsFunc(state.Routes, func(r rollout.Route) bool { return r.Weight != 0 })
	if !moved && !state.Latched {
		return nil
	}
	return exitError{ExitRefused, fmt.Errorf("nothing was changed: the guard follows another plan, %s (%.12s), and traffic is moved or latched; this one, %s (%.12s), can be adopted after a rollback and a resume",
		state.Plan.Name, state.Plan.Hash, p.Name, p.Hash)}
}

func (c *upCommand) adopt(ctx context.Context, s *stack.Stack, p *plan.Plan) error {
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := client.AdoptPlan(ctx, control.PlanRequest{Actor: c.operator(), Plan: guardPlan(p)})
	return err
}

// adoptAfresh starts the guard anew and hands it the plan as soon as it
// answers.
func (c *upCommand) adoptAfresh(ctx context.Context, s *stack.Stack, p *plan.Plan) error {
	if _, err := s.StopGuard(ctx); err != nil {
		return err
	}
	if err := s.EnsureStarted(ctx, "guard"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := c.adopt(ctx, s, p)
		if !unreachable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
