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
	lockWait     = 2 * time.Second
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
	var result any = moved
	if err != nil {
		result = control.FailureOf(err)
	} else if !moved.Applied {
		err = errors.New("the rollback is recorded, but the edge did not take it")
	}
	if err := json.NewEncoder(std.out).Encode(result); err != nil {
		return err
	}
	if err != nil {
		return exitError{err, exitRollbackFailed}
	}
	return nil
}

func (c *rollbackCommand) rollback(cfg config, std streams) (moved control.Moved, err error) {
	log := std.logger()
	lockCtx, cancelLock := context.WithTimeout(context.Background(), lockWait)
	defer cancelLock()
	state, err := store.Open(lockCtx, cfg.dir, log)
	if errors.Is(err, store.ErrLocked) {
		return moved, fmt.Errorf("%w; while a guard is running it has to do the rollback", err)
	}
	if err != nil {
		return moved, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()

	ctx, cancel := context.WithTimeout(context.Background(), c.legacyWait+rollbackTime)
	defer cancel()
	client := cfg.edge()
	defer client.Close()
	writer := control.NewWriter(state, client, guard.NewProbe(cfg.python), cfg.home, log)
	return writer.Rollback(ctx, control.RollbackRequest{
		Actor:        c.actor,
		Reason:       c.reason,
		Force:        c.force,
		LegacyWaitMS: c.legacyWait.Milliseconds(),
	})
}
