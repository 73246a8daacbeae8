// Package guard watches the edge and the systems behind it.
package guard

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
)

const (
	pollEvery   = 100 * time.Millisecond
	pollTimeout = time.Second
	window      = 10 * time.Second
)

// Counted names one of the edge's counters.
type Counted struct {
	Route   string
	Backend edge.System
	Code    string
}

// Traffic adds up what the edge counts. The edge starts at zero whenever nginx
// does; the sums here go on.
type Traffic struct {
	mu      sync.Mutex
	epoch   string
	last    map[Counted]uint64
	totals  map[Counted]uint64
	recent  []sample // of the window, oldest first
	sums    map[string]split
	started bool
}

// sample is what was counted between two readings.
type sample struct {
	at     time.Time
	routes map[string]split
}

// split is a number of requests of each system.
type split struct {
	python, golang uint64
}

// NewTraffic has seen nothing yet.
func NewTraffic() *Traffic {
	return &Traffic{
		last:   map[Counted]uint64{},
		totals: map[Counted]uint64{},
		sums:   map[string]split{},
	}
}

// Watch reads the edge's counters until the context ends.
func (t *Traffic) Watch(ctx context.Context, read func(context.Context) (edge.Counters, error), log *slog.Logger) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	failing := false
	for {
		readCtx, cancel := context.WithTimeout(ctx, pollTimeout)
		counters, err := read(readCtx)
		cancel()
		if err == nil {
			t.Observe(counters, time.Now())
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			log.Warn("the edge's counters cannot be read", "error", err)
		case err == nil && failing:
			log.Info("the edge's counters can be read again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Observe takes a reading of the edge's counters.
func (t *Traffic) Observe(counters edge.Counters, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if counters.Epoch != t.epoch {
		t.epoch = counters.Epoch
		clear(t.last)
	}
	fresh := sample{at: at, routes: map[string]split{}}
	for route, backends := range counters.Requests {
		for backend, codes := range backends {
			for code, count := range codes {
				added := t.add(Counted{Route: route, Backend: backend, Code: code}, count)
				if added > 0 {
					fresh.routes[route] = fresh.routes[route].plus(backend, added)
				}
			}
		}
	}
	// What was counted before the first reading was not counted just now.
	if t.started && len(fresh.routes) > 0 {
		t.recent = append(t.recent, fresh)
		for route, s := range fresh.routes {
			t.sums[route] = split{t.sums[route].python + s.python, t.sums[route].golang + s.golang}
		}
	}
	t.started = true
	t.forget(at)
}

// Shares is the measured share of go in percent, for every route that had
// requests in the last 10 s.
func (t *Traffic) Shares(now time.Time) map[string]float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	shares := make(map[string]float64, len(t.sums))
	for route, s := range t.sums {
		shares[route] = 100 * float64(s.golang) / float64(s.golang+s.python)
	}
	return shares
}

// Totals is everything that was counted since the edge that the guard found
// had started.
func (t *Traffic) Totals() map[Counted]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	totals := make(map[Counted]uint64, len(t.totals))
	for counted, total := range t.totals {
		totals[counted] = total
	}
	return totals
}

// Private

// add returns how much a counter grew since the last reading.
func (t *Traffic) add(counted Counted, count uint64) uint64 {
	added := count
	if last := t.last[counted]; last <= count {
		added = count - last
	}
	t.last[counted] = count
	t.totals[counted] += added
	return added
}

// forget drops what left the window.
func (t *Traffic) forget(now time.Time) {
	for len(t.recent) > 0 && now.Sub(t.recent[0].at) >= window {
		for route, old := range t.recent[0].routes {
			left := split{t.sums[route].python - old.python, t.sums[route].golang - old.golang}
			if left == (split{}) {
				delete(t.sums, route)
			} else {
				t.sums[route] = left
			}
		}
		t.recent = t.recent[1:]
	}
}

func (s split) plus(backend edge.System, count uint64) split {
	if backend == edge.Go {
		s.golang += count
	} else {
		s.python += count
	}
	return s
}
