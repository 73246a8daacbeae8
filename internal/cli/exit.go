package cli

import (
	"errors"
	"fmt"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Exit codes; other programs rely on them.
const (
	ExitPassed       = 0
	ExitInternal     = 1
	ExitUsage        = 2 // usage or plan error
	ExitRefused      = 3 // a gate, a threshold, the latch, a newer generation
	ExitRollback     = 4 // a rollback failed
	ExitUnavailable  = 5 // the environment is unavailable
	ExitInconclusive = 6
	ExitInterrupted  = 130
)

// Private

// exitError gives an error an exit code. Without an error the command has
// already said everything.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// refused gives an error of the guard's API its exit code.
func refused(err error) error {
	var api *control.Error
	if !errors.As(err, &api) {
		return unanswered(err)
	}
	switch api.Code {
	case rollout.UnknownRoute, rollout.Invalid:
		return exitError{ExitUsage, err}
	case rollout.Stale, rollout.Latched, rollout.PlanDiffers, rollout.Paused, rollout.GateClosed, rollout.OutOfOrder, rollout.NoWayBack, control.GlassBroken:
		return exitError{ExitRefused, err}
	case control.EdgeUnreachable, control.LegacySilent:
		return exitError{ExitUnavailable, err}
	}
	return err
}

// unanswered is the error of a command that needs the guard and did not reach
// it. What is missing below is told alone: it explains the rest.
func unanswered(err error) error {
	var stopped *stack.NotRunningError
	var lost *engine.LostError
	switch {
	case errors.As(err, &lost):
		return exitError{ExitUnavailable, lost}
	case errors.As(err, &stopped):
		return stopped
	case errors.Is(err, control.ErrUnreached):
		return exitError{ExitUnavailable, fmt.Errorf("the guard does not answer: %w", err)}
	}
	return err
}

// unreachable says whether the guard gave no answer at all.
func unreachable(err error) bool {
	var api *control.Error
	return err != nil && !errors.As(err, &api)
}

func usage(err error) error { return exitError{ExitUsage, err} }

func exitCode(err error) int {
	var coded exitError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, stack.ErrSettings):
		return ExitUsage
	case errors.Is(err, engine.ErrUnavailable), errors.Is(err, stack.ErrUnhealthy), errors.Is(err, stack.ErrNotRunning), errors.Is(err, edge.ErrUnreachable):
		return ExitUnavailable
	}
	return ExitInternal
}
