package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/store"
)

const (
	lockWait     = 5 * time.Second
	rollbackTime = 15 * time.Second // besides waiting for python
)

// rollbackCommand takes everything back to python when no guard is there to
// do it.
type rollbackCommand struct {
	getenv     func(string) string
	actor      string
	reason     string
	force      bool
	legacyWait time.Duration
}

func (c *rollbackCommand) flags(f *flag.FlagSet) {
	f.StringVar(&c.actor, "actor", "", "")
	f.StringVar(&c.reason, "reason", "", "")
	f.BoolVar(&c.force, "force", false, "")
	f.DurationVar(&c.legacyWait, "legacy-wait", 10*time.Second, "")
}

func (c *rollbackCommand) run(args []string, std streams) error {
	if len(args) > 0 {
		return usageError("rollback takes no arguments, only flags")
	}
	cfg, err := readConfig(c.getenv)
	if err != nil {
		return err
	}
	moved, err := c.rollback(cfg, std)
	if err != nil {
		err = errors.Join(err, json.NewEncoder(std.out).Encode(control.FailureOf(err)))
		return exitError{err, exitRollbackFailed}
	}
	// Whoever called learns from it what became of a rollback that is not
	// complete; only a refusal has another form.
	err = json.NewEncoder(std.out).Encode(moved)
	switch {
	case moved.Applied:
		return err
	case moved.Recorded:
		err = errors.Join(errors.New("the rollback is recorded, but the edge did not take it"), err)
	default:
		err = errors.Join(errors.New("the edge did not take the rollback, and it could not be recorded"), err)
	}
	return exitError{err, exitRollbackFailed}
}

func (c *rollbackCommand) rollback(cfg config, std streams) (control.Moved, error) {
	log := std.logger()
	lockCtx, cancelLock := context.WithTimeout(context.Background(), lockWait)
	defer cancelLock()
	state, err := store.Open(lockCtx, cfg.dir, log)
	if errors.Is(err, store.ErrLocked) {
		return control.Moved{}, fmt.Errorf("%w; while a guard is running it has to do the rollback", err)
	}
	if err != nil {
		return control.Moved{}, err
	}
	defer func() {
		if err := state.Close(); err != nil {
			log.Warn("the lock was not given back, it ends with this process", "error", err)
		}
	}()

	ctx, cancel := context.WithTimeout(context.Background(), c.legacyWait+rollbackTime)
	defer cancel()
	client := cfg.edge()
	defer client.Close()
	writer := control.NewWriter(state, client, guard.NewPythonProbe(cfg.edgeAddr, cfg.python), cfg.home, log)
	return writer.Rollback(ctx, control.RollbackRequest{
		Actor:        c.actor,
		Reason:       c.reason,
		Force:        c.force,
		LegacyWaitMS: c.legacyWait.Milliseconds(),
	})
}
