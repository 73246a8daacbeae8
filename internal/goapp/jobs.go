package goapp

import (
	"context"
	"log/slog"
	"time"
)

// The job is allowed more time than a request: nobody waits for it.
const jobTimeout = 30 * time.Second

// expireAtOnce is how many memberships one transaction ends.
const expireAtOnce = 1000

// expiry ends memberships whose last day is over.
type expiry interface {
	ExpireMemberships(ctx context.Context, limit int64) (int, error)
}

// runJobs does what has to be done regularly, now and at every tick, until the
// context ends.
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
	for ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, jobTimeout)
		expired, err := job.ExpireMemberships(bounded, expireAtOnce)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				log.ErrorContext(ctx, "memberships could not be expired", "error", err.Error())
			}
			return
		}
		if expired > 0 {
			log.InfoContext(ctx, "memberships expired", "count", expired)
		}
		if expired < expireAtOnce {
			return
		}
	}
}
