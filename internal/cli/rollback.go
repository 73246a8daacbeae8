package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type rollbackCommand struct {
	*options
	reason     string
	force      bool
	breakGlass bool
	wait       time.Duration
}

func newRollbackCommand(o *options) *cobra.Command {
	c := &rollbackCommand{options: o}
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Take all traffic back to python, now and in every state",
		Long: `Take all traffic back to python, now and in every state.

Python is started if it was stopped, and traffic moves as soon as it answers
HTTP at all. If the guard is dead or hangs, the table is changed at the edge
directly. Afterwards everything is latched until cutover resume --reason.

With --break-glass, the last resort, nginx itself is switched to a configuration
that sends everything to python and needs no table, no Lua and no guard. It
stays so, also when nginx is started anew, until cutover resume --reason.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&c.reason, "reason", defaultReason, "why, for the journal")
	cmd.Flags().BoolVar(&c.force, "force", false, "move traffic even if python does not answer")
	cmd.Flags().BoolVar(&c.breakGlass, "break-glass", false, "switch nginx itself to python, past table and guard")
	cmd.Flags().DurationVar(&c.wait, "wait", 10*time.Second, "how long python may take to answer")
	return cmd
}

// defaultReason stands in the journal when nobody had the time to give one.
const defaultReason = "ordered by an operator"

// longestReason keeps the journal readable.
const longestReason = 1000

// rollbackResult is what rollback --json prints.
type rollbackResult struct {
	control.Moved
	Through string `json:"through"` // guard; edge when the guard was dead or hung; break-glass
	Why     string `json:"why"`     // why it did not go through the guard
}

func (c *rollbackCommand) run(ctx context.Context) (err error) {
	if c.reason == "" {
		c.reason = defaultReason
	}
	if c.wait <= 0 || c.wait > time.Minute {
		return usage(fmt.Errorf("--wait %s: more than nothing, at most 1m", c.wait))
	}
	if len(c.reason) > longestReason {
		return usage(fmt.Errorf("--reason is %d bytes long; the journal takes %d", len(c.reason), longestReason))
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if _, _, err := s.Services(ctx); err != nil {
		return err
	}
	if err := s.FindLost(ctx); err != nil {
		s.Warn("containers", "they could not be looked through: "+err.Error())
	}
	client := guardClient(s)
	defer client.Close()
	answers, err := c.checkWayBack(ctx, s, client)
	if err != nil {
		return err
	}
	// Traffic needs something to go to. With --force it moves all the same,
	// and without nginx the rollback is recorded for the time when it is back.
	if err := s.EnsureStarted(ctx, "flask"); err != nil && !c.force {
		return exitError{ExitRollback, fmt.Errorf("nothing was moved, because python cannot be started: %w; --force moves traffic all the same", err)}
	}
	if c.breakGlass {
		return c.runBreakGlass(ctx, s)
	}
	edge := s.EnsureStarted(ctx, "nginx")
	result, err := c.rollback(ctx, s, client, answers)
	if err != nil {
		return rollbackFailed(errors.Join(err, edge))
	}
	if !result.Applied && edge == nil && c.awaitApplied(ctx, s) {
		result.Applied = true // nginx was only just started
	}
	if !result.Applied {
		return exitError{ExitRollback, errors.Join(errors.New(notApplied(result)), edge)}
	}
	return c.print(result, c.sentence(result))
}

// checkWayBack refuses before anything is touched what the guard would refuse
// later, and tells whether the guard answers at all. One that does not is passed
// by at once, and what the edge's side finds recorded decides.
func (c *rollbackCommand) checkWayBack(ctx context.Context, s *stack.Stack, client *control.Client) (answers bool, err error) {
	status, err := guardLives(ctx, s, client)
	if err != nil || status.State.OneWay == "" {
		return err == nil, nil
	}
	return true, exitError{ExitRefused, fmt.Errorf("nothing was moved: there is no way back, because %s was begun, which is one-way", status.State.OneWay)}
}

// runBreakGlass switches nginx itself. The guard finds that out by itself; it
// is waited for, so that the answer can say what it recorded.
func (c *rollbackCommand) runBreakGlass(ctx context.Context, s *stack.Stack) error {
	if err := s.BreakGlass(ctx, c.operator(), c.reason); err != nil {
		if errors.Is(err, stack.ErrHomeIsGo) {
			return exitError{ExitRefused, fmt.Errorf("nothing was moved: %w", err)}
		}
		return exitError{ExitRollback, fmt.Errorf("%w; cutover status shows whether it takes effect when nginx starts next", err)}
	}
	result := rollbackResult{Through: "break-glass", Why: c.reason}
	result.Applied = true
	sentence := "nginx sends everything to python, past table and guard, until cutover resume --reason …"
	if status, err := c.awaitGlass(ctx, s); err == nil {
		result.State, result.Recorded = status.State, status.State.Latched
		sentence += fmt.Sprintf("\nThe guard knows and is latched (generation %d).", status.State.Generation)
	} else {
		sentence += "\nThe guard does not answer; it records the rollback when it is back."
	}
	return c.print(result, sentence)
}

// awaitGlass waits until the guard has seen what happened to nginx.
func (c *rollbackCommand) awaitGlass(ctx context.Context, s *stack.Stack) (control.Status, error) {
	return awaitStatus(ctx, s, 3*time.Second, func(status control.Status) bool {
		return status.BreakGlass.Active && status.State.Latched
	})
}

// awaitApplied waits until the guard has given a recorded rollback to an edge
// that is coming back.
func (c *rollbackCommand) awaitApplied(ctx context.Context, s *stack.Stack) bool {
	_, err := awaitStatus(ctx, s, c.wait, func(status control.Status) bool {
		return status.State.Latched && status.Edge.InSync
	})
	return err == nil
}

// awaitStatus asks the guard until its status is the wanted one.
func awaitStatus(ctx context.Context, s *stack.Stack, limit time.Duration, wanted func(control.Status) bool) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := guardClient(s)
	defer client.Close()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, err := client.Status(ctx)
		if err == nil && wanted(status) {
			return status, nil
		}
		select {
		case <-ctx.Done():
			return status, errors.Join(err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// notApplied says what a rollback that did not reach the edge is worth.
func notApplied(result rollbackResult) string {
	if result.Recorded {
		return "the rollback is recorded, but the edge does not answer: it takes effect as soon as nginx is back (cutover status shows how it is)"
	}
	return "the edge does not answer, and the rollback could not be recorded either (is the volume full?): nothing was moved; bring nginx back with cutover up and run cutover rollback again"
}

func (c *rollbackCommand) sentence(result rollbackResult) string {
	text := fmt.Sprintf("All traffic is on python and latched there (generation %d). When the cause is mended: cutover resume --reason …", result.State.Generation)
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

// rollback goes through the guard if it answers, and past it when the guard
// cannot do it. One that just died may come back and take the lock, so each way
// gets a second try.
func (c *rollbackCommand) rollback(ctx context.Context, s *stack.Stack, client *control.Client, answers bool) (rollbackResult, error) {
	var failures []error
	for range 2 {
		if answers {
			result, err := c.throughGuard(ctx, s, client)
			if err == nil || !unreachable(err) {
				return result, err
			}
			failures = append(failures, err)
		}
		answers = true // perhaps, after what follows
		result, err := c.pastGuard(ctx, s)
		if err == nil || !unreachable(err) {
			return result, err
		}
		failures = append(failures, err)
	}
	return rollbackResult{}, errors.Join(failures...)
}

// pastGuard makes sure that no guard holds the lock, changes the table at the
// edge, and starts the guard again, whatever happened meanwhile.
func (c *rollbackCommand) pastGuard(ctx context.Context, s *stack.Stack) (rollbackResult, error) {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := s.EnsureStarted(ctx, "guard"); err != nil {
			s.Warn("service guard", "could not be started again: "+err.Error())
		}
	}()
	// What runs at the edge waits for the lock, so it is started meanwhile.
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	stopped := make(chan string, 1)
	go func() {
		why, err := s.StopGuard(ctx)
		if err != nil {
			giveUp(err)
		}
		stopped <- why
	}()
	result, err := c.throughEdge(ctx, s)
	result.Why = <-stopped
	return result, err
}

const (
	// guardPatience is how long the guard may take to say that it is alive, if
	// the engine is not slow itself.
	guardPatience = 400 * time.Millisecond
	guardLimit    = 3 * time.Second
)

// guardLives asks the guard how it is. It is taken for hung if it has not
// answered within its time and the engine could run something else in its
// container meanwhile: on a machine that is overloaded nothing is quick.
func guardLives(ctx context.Context, s *stack.Stack, client *control.Client) (control.Status, error) {
	ctx, giveUp := context.WithTimeout(ctx, guardLimit)
	defer giveUp()
	late := time.AfterFunc(guardPatience, func() {
		_, _ = s.Exec(ctx, "guard", "true") // that it has ended is what counts
		giveUp()
	})
	defer late.Stop()
	return client.Status(ctx)
}

func (c *rollbackCommand) throughGuard(ctx context.Context, s *stack.Stack, client *control.Client) (rollbackResult, error) {
	if _, err := guardLives(ctx, s, client); err != nil {
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
	result := rollbackResult{Through: "edge"}
	var failure control.Failure
	if json.Unmarshal([]byte(run.Stdout), &failure) == nil && failure.Error.Message != "" {
		return rollbackResult{}, &failure.Error
	}
	if err := json.Unmarshal([]byte(run.Stdout), &result.Moved); err != nil || result.State.Generation == 0 {
		return rollbackResult{}, fmt.Errorf("the rollback at the edge ended with code %d: %s", run.Exit, run.Stderr)
	}
	return result, nil
}

func rollbackFailed(err error) error {
	var api *control.Error
	if errors.As(err, &api) && api.Code == control.LegacySilent {
		return exitError{ExitRollback, fmt.Errorf("nothing was moved: %s; --force moves traffic all the same", strings.TrimRight(api.Message, "."))}
	}
	if errors.As(err, &api) && api.Code == rollout.NoWayBack {
		return exitError{ExitRefused, err}
	}
	return exitError{ExitRollback, err}
}
