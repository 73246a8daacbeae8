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
	shareWindow = 10 * time.Second
	// LongestWindow is how far back windows reach.
	LongestWindow = time.Minute
	// freshFor is how long a reading tells what is in flight now.
	freshFor = 2 * time.Second
)

// Read reads the edge's counters, with only those routes that changed after a
// sequence number of the same epoch. What it reads stands for itself, so that
// nothing is lost by a reading that failed.
type Read func(ctx context.Context, sequence uint64, epoch string) (edge.Counters, error)

// Counted names one of the edge's counters.
type Counted struct {
	Route   string
	Backend edge.System
	Code    string
}

// Served names who answered the requests of a route.
type Served struct {
	Route   string
	Backend edge.System
}

// Activity is what a backend did on a route.
type Activity struct {
	Requests  edge.Classes
	Durations edge.Histogram
}

// Traffic adds up what the edge counts. The edge starts at zero whenever nginx
// does; the sums here go on.
type Traffic struct {
	mu        sync.Mutex
	epoch     string
	sequence  uint64
	requests  map[Counted]counter
	durations map[Served]histogram
	inFlight  map[string]map[edge.System]edge.InFlight
	readAt    time.Time // of the last reading, zero before the first one
	recent    []sample  // of the longest window, oldest first
}

// counter is a number of requests.
type counter struct {
	last  uint64 // as read of this epoch
	total uint64
}

// histogram says how long requests took.
type histogram struct {
	last  edge.Histogram // as read of this epoch
	total edge.Histogram
}

// sample is what was counted between two readings.
type sample struct {
	at    time.Time
	parts []part
}

// part is what one backend did on one route, or a part of that. Samples are
// kept by the hundred: it has no maps.
type part struct {
	served    Served
	code      string // "" for durations
	requests  uint64
	durations *edge.Histogram
}

// NewTraffic has seen nothing yet.
func NewTraffic() *Traffic {
	return &Traffic{
		requests:  map[Counted]counter{},
		durations: map[Served]histogram{},
	}
}

// Watch reads the edge's counters until the context ends.
func (t *Traffic) Watch(ctx context.Context, read Read, log *slog.Logger) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for failing := false; ; {
		err := t.poll(ctx, read)
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
		t.begin(counters.Epoch)
	}
	t.sequence = counters.Sequence
	t.inFlight = counters.InFlight
	fresh := sample{at: at}
	for route, backends := range counters.Requests {
		for backend, codes := range backends {
			for code, count := range codes {
				if added := t.count(Counted{route, backend, code}, count); added > 0 {
					fresh.parts = append(fresh.parts, part{served: Served{route, backend}, code: code, requests: added})
				}
			}
		}
	}
	for route, backends := range counters.Durations {
		for backend, read := range backends {
			served := Served{route, backend}
			if added := t.measure(served, read); added != (edge.Histogram{}) {
				fresh.parts = append(fresh.parts, part{served: served, durations: &added})
			}
		}
	}
	// What was counted before the first reading was not counted just now.
	if !t.readAt.IsZero() && len(fresh.parts) > 0 {
		t.recent = append(t.recent, fresh)
	}
	t.readAt = at
	t.forget(at)
}

// Shares is the measured share of go in percent, for every route that had
// requests in the last 10 s.
func (t *Traffic) Shares(now time.Time) map[string]float64 {
	python, golang := map[string]uint64{}, map[string]uint64{}
	for served, activity := range t.Window(shareWindow, now) {
		for _, count := range activity.Requests {
			switch served.Backend {
			case edge.Python:
				python[served.Route] += count
			case edge.Go:
				golang[served.Route] += count
			}
		}
	}
	shares := map[string]float64{}
	for _, routes := range []map[string]uint64{python, golang} {
		for route := range routes {
			if all := python[route] + golang[route]; all > 0 {
				shares[route] = 100 * float64(golang[route]) / float64(all)
			}
		}
	}
	return shares
}

// Window is what was done lately, up to LongestWindow. Who did nothing is not
// in it.
func (t *Traffic) Window(length time.Duration, now time.Time) map[Served]Activity {
	t.mu.Lock()
	defer t.mu.Unlock()
	done := map[Served]Activity{}
	for i := len(t.recent) - 1; i >= 0 && now.Sub(t.recent[i].at) < length; i-- {
		for _, p := range t.recent[i].parts {
			activity := done[p.served]
			if activity.Requests == nil {
				activity.Requests = edge.Classes{}
			}
			if p.durations != nil {
				activity.Durations = plus(activity.Durations, *p.durations)
			} else {
				activity.Requests[p.code] += p.requests
			}
			done[p.served] = activity
		}
	}
	return done
}

// InFlight is what waits for an answer, and whether that is known: the edge
// has to have been read just now.
func (t *Traffic) InFlight(now time.Time) (map[Served]edge.InFlight, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.readAt.IsZero() || now.Sub(t.readAt) >= freshFor {
		return nil, false
	}
	waiting := map[Served]edge.InFlight{}
	for route, backends := range t.inFlight {
		for backend, found := range backends {
			waiting[Served{route, backend}] = found
		}
	}
	return waiting, true
}

// Totals is everything that was counted since the edge that the guard found
// had started. What never happened is not in it.
func (t *Traffic) Totals() map[Counted]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	totals := make(map[Counted]uint64, len(t.requests))
	for counted, c := range t.requests {
		totals[counted] = c.total
	}
	return totals
}

// Durations is how long everything took that was counted since the edge that
// the guard found had started.
func (t *Traffic) Durations() map[Served]edge.Histogram {
	t.mu.Lock()
	defer t.mu.Unlock()
	totals := make(map[Served]edge.Histogram, len(t.durations))
	for served, h := range t.durations {
		totals[served] = h.total
	}
	return totals
}

// Private

// poll reads what changed since the last reading. An edge whose sequence went
// back may have left something out: it is asked for everything.
func (t *Traffic) poll(ctx context.Context, read Read) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	t.mu.Lock()
	sequence, epoch := t.sequence, t.epoch
	t.mu.Unlock()
	counters, err := read(ctx, sequence, epoch)
	if err == nil && counters.Epoch == epoch && counters.Sequence < sequence {
		counters, err = read(ctx, 0, "")
	}
	if err != nil {
		return err
	}
	t.Observe(counters, time.Now())
	return nil
}

// begin expects counters that start at zero.
func (t *Traffic) begin(epoch string) {
	t.epoch = epoch
	for counted, c := range t.requests {
		t.requests[counted] = counter{total: c.total}
	}
	for served, h := range t.durations {
		t.durations[served] = histogram{total: h.total}
	}
}

// count returns how much a counter grew since it was read last. One that went
// back has started anew.
func (t *Traffic) count(counted Counted, count uint64) uint64 {
	c, known := t.requests[counted]
	if !known && count == 0 {
		return 0 // ten thousand routes have 180,000 counters, and use few
	}
	added := count
	if c.last <= count {
		added = count - c.last
	}
	t.requests[counted] = counter{last: count, total: c.total + added}
	return added
}

// measure returns what a histogram got since it was read last.
func (t *Traffic) measure(served Served, read edge.Histogram) edge.Histogram {
	h, known := t.durations[served]
	if !known && read == (edge.Histogram{}) {
		return read
	}
	added := since(read, h.last)
	t.durations[served] = histogram{last: read, total: plus(h.total, added)}
	return added
}

// forget drops what left the longest window.
func (t *Traffic) forget(now time.Time) {
	for len(t.recent) > 0 && now.Sub(t.recent[0].at) >= LongestWindow {
		t.recent[0] = sample{} // the array outlives the slice
		t.recent = t.recent[1:]
	}
}

func plus(a, b edge.Histogram) edge.Histogram {
	for i, count := range b.Buckets {
		a.Buckets[i] += count
	}
	a.Sum += b.Sum
	return a
}

func since(now, before edge.Histogram) edge.Histogram {
	for i, count := range before.Buckets {
		if now.Buckets[i] < count {
			return now // it has started anew
		}
	}
	added := now
	for i, count := range before.Buckets {
		added.Buckets[i] -= count
	}
	added.Sum = max(0, now.Sum-before.Sum)
	return added
}
