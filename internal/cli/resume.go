package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type resumeCommand struct {
	*options
	reason string
}

func newResumeCommand(o *options) *cobra.Command {
	c := &resumeCommand{options: o}
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Release the latch after a rollback, or a pause; traffic stays as it is",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&c.reason, "reason", "", "why it is safe to go on, for the journal (required)")
	return cmd
}

func (c *resumeCommand) run(ctx context.Context) (err error) {
	if c.reason == "" {
		return usage(errors.New("resume needs --reason: what was wrong, and why it is safe to go on"))
	}
	if len(c.reason) > longestReason {
		return usage(fmt.Errorf("--reason is %d bytes long; the journal takes %d", len(c.reason), longestReason))
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		return unanswered(err)
	}
	if status.BreakGlass.Active {
		if status, err = mendGlass(ctx, s); err != nil {
			return err
		}
	}
	moved, err := client.Resume(ctx, control.ResumeRequest{Actor: c.operator(), Reason: c.reason, Generation: status.State.Generation})
	if err != nil {
		return refused(err)
	}
	sentence := fmt.Sprintf("The latch is released; everything is on %s (generation %d).", moved.State.Home, moved.State.Generation)
	switch {
	case moved.Event == nil:
		sentence = "Nothing was latched or paused."
	case moved.Event.Before.Paused:
		sentence = fmt.Sprintf("The migration goes on (generation %d); traffic is as it was.", moved.State.Generation)
	}
	return c.print(moved, sentence)
}

// mendGlass gives nginx back to the guard, and waits until it has the latched
// table: the rollback is not over yet.
func mendGlass(ctx context.Context, s *stack.Stack) (control.Status, error) {
	// Before the guard has recorded the rollback, nginx would come back with the
	// weights that it had.
	status, err := awaitStatus(ctx, s, patience, func(status control.Status) bool { return status.State.Latched })
	if err != nil {
		return status, exitError{ExitUnavailable, fmt.Errorf("the guard has not recorded the rollback yet, so nginx stays as it is: %w", err)}
	}
	if err := s.MendGlass(ctx); err != nil {
		return control.Status{}, exitError{ExitUnavailable, err}
	}
	status, err = awaitStatus(ctx, s, patience, func(status control.Status) bool {
		return !status.BreakGlass.Active && status.Edge.InSync
	})
	if err != nil {
		return status, exitError{ExitUnavailable, fmt.Errorf("nginx has its ordinary configuration again, but not yet the guard's table (%s): see cutover status, and resume again", status.Edge.Error)}
	}
	return status, nil
}
