package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cutover-dev/cutover/internal/event"
)

// Private

func (s *Stack) lockFile() string { return filepath.Join(s.Dir(), "lock") }

// lock makes sure that one command at a time changes the environment's
// containers: Compose does not expect company. A second one waits. The lock
// holds on this machine and ends with the process.
func (s *Stack) lock(ctx context.Context) (unlock func() error, err error) {
	if err := os.MkdirAll(s.Dir(), 0o700); err != nil {
		return nil, fmt.Errorf("lock the environment: %w", err)
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for waiting := false; ; {
		file, err := os.OpenFile(s.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock the environment: %w", err)
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && stillThere(file) {
			return file.Close, nil
		}
		if err := errors.Join(file.Close(), unlessBusy(err)); err != nil {
			return nil, fmt.Errorf("lock the environment: %w", err)
		}
		if !waiting {
			waiting = true
			event.Work(s.events, "environment", "another command is at work on it; waiting")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func unlessBusy(err error) error {
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	return err
}

// stillThere says whether the locked file is the one that others will find:
// down --volumes removes it.
func stillThere(file *os.File) bool {
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Stat(file.Name())
	return err == nil && os.SameFile(ours, theirs)
}
