// Package load makes traffic the way real visitors do: they arrive when they
// arrive, however slow the answers are.
package load

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Arrivals is an open-loop schedule: one arrival every 1/Rate seconds for
// Duration. Nothing caps how many are under way at once: a cap would hide the
// server's pauses from the figures (coordinated omission, Gil Tene).
type Arrivals struct {
	Rate     float64 // per second, above 0
	Duration time.Duration
}

// Summary says how well the schedule was kept.
type Summary struct {
	Sent int
	// SlipP99 is how late the generator itself was, at the 99th percentile.
	// Figures of a run whose slip is more than a few milliseconds say more
	// about the generator than about the server.
	SlipP99 time.Duration
}

// Run calls visit for each arrival, each in a goroutine of its own, with the
// time at which it was meant to start; latencies count from there. It returns
// when all visits have ended. Ending ctx ends the schedule early.
func (a Arrivals) Run(ctx context.Context, visit func(ctx context.Context, n int, intended time.Time)) Summary {
	slip := hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	total := int(a.Rate * a.Duration.Seconds())
	gap := time.Duration(float64(time.Second) / a.Rate)
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	var visits sync.WaitGroup
	sent := 0
	for ; sent < total; sent++ {
		intended := begin.Add(time.Duration(sent) * gap)
		if wait := time.Until(intended); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		// A value beyond the histogram's range counts as its maximum.
		if slip.RecordValue(time.Since(intended).Microseconds()) != nil {
			_ = slip.RecordValue(slip.HighestTrackableValue())
		}
		n := sent
		visits.Go(func() { visit(ctx, n, intended) })
	}
	visits.Wait()
	return Summary{Sent: sent, SlipP99: time.Duration(slip.ValueAtQuantile(99)) * time.Microsecond}
}
