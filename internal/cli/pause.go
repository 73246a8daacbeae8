package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
)

// Private

type pauseCommand struct {
	*options
	reason string
}

func newPauseCommand(o *options) *cobra.Command {
	c := &pauseCommand{options: o}
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Let no step begin or be completed until resume; traffic stays as it is",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&c.reason, "reason", defaultReason, "why, for the journal")
	return cmd
}

func (c *pauseCommand) run(ctx context.Context) (err error) {
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
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	moved, err := client.Pause(ctx, control.PauseRequest{Actor: c.operator(), Reason: c.reason})
	if err != nil {
		return refused(err)
	}
	sentence := fmt.Sprintf("The migration is paused (generation %d); traffic stays as it is. To go on: cutover resume --reason …", moved.State.Generation)
	if moved.Event == nil {
		sentence = "The migration was paused already."
	}
	return c.print(moved, sentence)
}
