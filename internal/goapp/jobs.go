package goapp

import (
	"context"
	"log/slog"
	"time"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

// The database gives up a run before this process does.
const jobTimeout = store.RunLimit + 2*time.Second

// expiry ends memberships whose last day is over, if it is time for it and
// this system's job.
type expiry interface {
	ExpireMemberships(ctx context.Context) (int64, error)
}

// runJobs looks whether there is something to do, now and at every tick, until
// the context ends.
func runJobs(ctx context.Context, job expiry, interval time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		expireMemberships(ctx, job, log)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func expireMemberships(ctx context.Context, job expiry, log *slog.Logger) {
	bounded, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	switch expired, err := job.ExpireMemberships(bounded); {
	case ctx.Err() != nil: // it was told to stop
	case err != nil:
		log.ErrorContext(ctx, "memberships could not be expired", "error", err.Error())
	case expired > 0:
		log.InfoContext(ctx, "memberships expired", "count", expired)
	}
}
