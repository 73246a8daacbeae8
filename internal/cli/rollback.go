package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type rollbackCommand struct {
	*options
	reason string
	force  bool
	wait   time.Duration
}

func newRollbackCommand(o *options) *cobra.Command {
	c := &rollbackCommand{options: o}
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Take all traffic back to python, now and in every state",
		Long: `Take all traffic back to python, now and in every state.

Python is started if it was stopped, and traffic moves as soon as it answers
HTTP at all. If the guard is dead or hangs, the table is changed at the edge
directly. Afterwards everything is latched until cutover resume --reason.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&c.reason, "reason", "ordered by an operator", "why, for the journal")
	cmd.Flags().BoolVar(&c.force, "force", false, "move traffic even if python does not answer")
	cmd.Flags().DurationVar(&c.wait, "wait", 10*time.Second, "how long python may take to answer")
	return cmd
}

// rollbackResult is what rollback --json prints.
type rollbackResult struct {
	control.Moved
	Through string `json:"through"` // guard, or edge when the guard was dead or hung
	Why     string `json:"why"`     // why it did not go through the guard
}

func (c *rollbackCommand) run(ctx context.Context) (err error) {
	if c.wait <= 0 || c.wait > time.Minute {
		return usage(fmt.Errorf("--wait %s: more than nothing, at most 1m", c.wait))
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if _, _, err := s.Services(ctx); err != nil {
		return err
	}
	// Whatever else is wrong, traffic needs the edge and something to go to.
	if err := s.EnsureStarted(ctx, "nginx", "flask"); err != nil {
		return exitError{ExitRollback, fmt.Errorf("nothing was moved: %w", err)}
	}
	result, err := c.rollback(ctx, s)
	if err != nil {
		return rollbackFailed(err)
	}
	if !result.Applied {
		return exitError{ExitRollback, errors.New("the rollback is recorded, but the edge does not answer: it takes effect as soon as nginx is back (cutover status shows how it is)")}
	}
	return c.print(result, c.sentence(result))
}

func (c *rollbackCommand) sentence(result rollbackResult) string {
	text := fmt.Sprintf("All traffic is on python and latched there (generation %d). Go on with: cutover resume --reason …", result.State.Generation)
	if result.Event == nil {
		text = fmt.Sprintf("All traffic was on python and latched there already (generation %d).", result.State.Generation)
	}
	if result.Through == "edge" {
		text += "\nThe table was changed at the edge directly, because " + result.Why + "."
	}
	if !result.Recorded {
		text += "\nIt could not be recorded yet (is the volume full?); the guard goes on trying."
	}
	return text
}

// rollback goes through the guard, and past it when the guard cannot do it.
// One that just died may come back and take the lock, so each way gets a
// second try.
func (c *rollbackCommand) rollback(ctx context.Context, s *stack.Stack) (rollbackResult, error) {
	var failures []error
	for range 2 {
		result, err := c.throughGuard(ctx, s)
		if err == nil || !unreachable(err) {
			return result, err
		}
		failures = append(failures, err)
		why, err := s.StopGuard(ctx)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		result, err = c.throughEdge(ctx, s)
		restart := s.EnsureStarted(ctx, "guard")
		if err == nil {
			result.Why = why
			return result, restart
		}
		var api *control.Error
		if errors.As(err, &api) && api.Code == control.LegacySilent {
			return rollbackResult{}, errors.Join(err, restart)
		}
		failures = append(failures, err, restart)
	}
	return rollbackResult{}, errors.Join(failures...)
}

// guardPatience is how long the guard may take to say that it is alive.
const guardPatience = time.Second

func (c *rollbackCommand) throughGuard(ctx context.Context, s *stack.Stack) (rollbackResult, error) {
	client := guardClient(s)
	defer client.Close()
	if err := func() error {
		ctx, cancel := context.WithTimeout(ctx, guardPatience)
		defer cancel()
		_, err := client.Status(ctx)
		return err
	}(); err != nil {
		return rollbackResult{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.wait+5*time.Second)
	defer cancel()
	moved, err := client.Rollback(ctx, control.RollbackRequest{
		Actor: c.operator(), Reason: c.reason, Force: c.force, LegacyWaitMS: c.wait.Milliseconds(),
	})
	return rollbackResult{Moved: moved, Through: "guard"}, err
}

// throughEdge runs the guard's own code in nginx's container, which mounts the
// same volume.
func (c *rollbackCommand) throughEdge(ctx context.Context, s *stack.Stack) (rollbackResult, error) {
	ctx, cancel := context.WithTimeout(ctx, c.wait+10*time.Second)
	defer cancel()
	args := []string{"guard", "rollback", "--actor", c.operator(), "--reason", c.reason, "--legacy-wait", c.wait.String()}
	if c.force {
		args = append(args, "--force")
	}
	run, err := s.Exec(ctx, "nginx", args...)
	if err != nil {
		return rollbackResult{}, err
	}
	var failure control.Failure
	if run.Exit != 0 {
		if json.Unmarshal([]byte(run.Stdout), &failure) == nil && failure.Error.Message != "" {
			return rollbackResult{}, &failure.Error
		}
		return rollbackResult{}, fmt.Errorf("the rollback at the edge ended with code %d: %s", run.Exit, run.Stderr)
	}
	result := rollbackResult{Through: "edge"}
	if err := json.Unmarshal([]byte(run.Stdout), &result.Moved); err != nil {
		return rollbackResult{}, fmt.Errorf("read the result of the rollback at the edge: %w", err)
	}
	return result, nil
}

func rollbackFailed(err error) error {
	var api *control.Error
	if errors.As(err, &api) && api.Code == control.LegacySilent {
		return exitError{ExitRollback, fmt.Errorf("nothing was moved: %w; --force moves traffic all the same", err)}
	}
	return exitError{ExitRollback, err}
}
