package gate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Bake is what the edge counted while a step baked.
type Bake struct {
	Routes []string // whose weights the step changed; all others are looked at if they have requests
	Before edge.Counters
	After  edge.Counters
}

// Whole tells whether the two readings are of one start of nginx. Otherwise
// what happened between them is not known.
func (b Bake) Whole() bool {
	return b.Before.Epoch == b.After.Epoch
}

// Requests is how many requests a system answered, or failed to answer, on all
// routes.
func (b Bake) Requests(system edge.System) (total, failed uint64) {
	for route := range b.After.Requests {
		all, bad := b.requests(route, system)
		total, failed = total+all, failed+bad
	}
	return total, failed
}

// P95 is the 95th percentile of a system's answers on all routes in seconds,
// interpolated within its bucket; NaN without any.
func (b Bake) P95(system edge.System) float64 {
	var all edge.Histogram
	for route := range b.After.Durations {
		found := b.durations(route, system)
		for i, count := range found.Buckets {
			all.Buckets[i] += count
		}
	}
	return percentile(all, 0.95)
}

// Private

// moved are the routes that the step gave to go or left there, at least in part.
func (b Bake) moved(state rollout.State) []string {
	var names []string
	for _, route := range state.Routes {
		if route.Weight > 0 && slices.Contains(b.Routes, route.Name) {
			names = append(names, route.Name)
		}
	}
	return names
}

// asked counts every request, also those whose clients did not wait.
func (b Bake) asked(route string, system edge.System) uint64 {
	total, _ := b.requests(route, system)
	left := b.After.Requests[route][system]["left"]
	return total + left - min(left, b.Before.Requests[route][system]["left"])
}

// requests counts what a client waited for.
func (b Bake) requests(route string, system edge.System) (total, failed uint64) {
	for class, count := range b.After.Requests[route][system] {
		if class == "left" {
			continue // the client did not wait: nobody knows how it would have ended
		}
		added := count - min(count, b.Before.Requests[route][system][class])
		total += added
		if class == "5xx" || class == "none" {
			failed += added
		}
	}
	return total, failed
}

func (b Bake) durations(route string, system edge.System) edge.Histogram {
	found := b.After.Durations[route][system]
	for i, count := range b.Before.Durations[route][system].Buckets {
		found.Buckets[i] -= min(found.Buckets[i], count)
	}
	return found
}

// routeNames are the routes that have counters, in order.
func (b Bake) routeNames() []string {
	var names []string
	for route := range b.After.Requests {
		names = append(names, route)
	}
	slices.Sort(names)
	return names
}

// missing says why a bake cannot be judged, "" if it can.
func missing(bake *Bake) string {
	switch {
	case bake == nil:
		return "no step is baking"
	case !bake.Whole():
		return "nginx was started anew during the bake, and counts from zero"
	}
	return ""
}

const (
	usualWithin = 15.0 // points
	usualLeast  = 20   // requests
	usualAbove  = 5.0  // percent
	usualFloor  = 1.0  // percent
	usualTimes  = 2.0
	usualP95    = 500.0 // milliseconds
	// atTheEnds is what requests that testers forced are allowed to make of a
	// share of 0 or 100, in points.
	atTheEnds = 1.0
)

// judgeShares compares the share of each route that go served with the weight
// that it has.
func judgeShares(g plan.SharesGate, state rollout.State, bake *Bake) answer {
	if why := missing(bake); why != "" {
		return unknown(nil, "%s", why)
	}
	least, within := uint64(cmp.Or(g.AtLeast, usualLeast)), usualWithin
	if g.Within != nil {
		within = *g.Within
	}
	evidence := map[string]any{}
	var wrong, few, right []string
	for _, route := range state.Routes {
		if route.Pin != "" || route.Follows != "" {
			continue
		}
		python, _ := bake.requests(route.Name, edge.Python)
		golang, _ := bake.requests(route.Name, edge.Go)
		total := python + golang
		if total < least {
			if slices.Contains(bake.Routes, route.Name) {
				few = append(few, fmt.Sprintf("%s had %d of the %d requests that are needed", route.Name, total, least))
			}
			continue
		}
		share, requested := 100*float64(golang)/float64(total), route.Weight.Percent()
		evidence[route.Name] = map[string]any{"requested": requested, "measured": round(share), "requests": total}
		allowed := within
		if route.Weight == 0 || route.Weight == edge.AllGo {
			allowed = min(within, atTheEnds)
		}
		if math.Abs(share-requested) > allowed {
			wrong = append(wrong, fmt.Sprintf("%s has %.1f %% on Go, and %s %% were requested", route.Name, share, route.Weight))
		} else {
			right = append(right, route.Name)
		}
	}
	switch {
	case len(wrong) > 0:
		return fail(evidence, "%s", strings.Join(wrong, "; "))
	case len(few) > 0:
		return unknown(evidence, "%s", strings.Join(few, "; "))
	case len(right) == 0:
		return unknown(evidence, "no route had %d requests during the bake", least)
	}
	return pass(evidence, "%s as requested", strings.Join(right, ", "))
}

// judgeErrors looks at all of go's routes together, and at each that has enough
// requests: a small route that fails must not hide behind a large one. What the
// step itself moved has to have been asked for, and must not look bad either,
// however few its requests were.
func judgeErrors(g plan.ErrorsGate, state rollout.State, bake *Bake) answer {
	if why := missing(bake); why != "" {
		return unknown(nil, "%s", why)
	}
	least := uint64(cmp.Or(g.AtLeast, usualLeast))
	above, floor, times := usualAbove, usualFloor, cmp.Or(g.TimesPython, usualTimes)
	if g.Above != nil {
		above = *g.Above
	}
	if g.Floor != nil {
		floor = *g.Floor
	}
	golang, goFailed := bake.Requests(edge.Go)
	python, pythonFailed := bake.Requests(edge.Python)
	evidence := map[string]any{"go_requests": golang, "go_failed": goFailed, "python_requests": python, "python_failed": pythonFailed}
	var wrong []string
	look := func(what string, golang, goFailed, python, pythonFailed uint64) {
		if golang < least {
			return
		}
		ratio := percent(goFailed, golang)
		switch {
		case ratio > above:
			wrong = append(wrong, fmt.Sprintf("%s: %d of Go's %d requests failed (%.1f %%, more than %g %%)", what, goFailed, golang, ratio, above))
		case python >= least && ratio > floor && ratio > times*percent(pythonFailed, python):
			wrong = append(wrong, fmt.Sprintf("%s: %.1f %% of Go's requests failed, more than %g times python's %.1f %%", what, ratio, times, percent(pythonFailed, python)))
		}
	}
	look("all routes", golang, goFailed, python, pythonFailed)
	for _, route := range bake.routeNames() {
		golang, goFailed := bake.requests(route, edge.Go)
		python, pythonFailed := bake.requests(route, edge.Python)
		look(route, golang, goFailed, python, pythonFailed)
	}
	asked, failed := uint64(0), uint64(0)
	moved := bake.moved(state)
	for _, route := range moved {
		all, bad := bake.requests(route, edge.Go)
		asked, failed = asked+all, failed+bad
	}
	switch {
	case len(wrong) > 0:
		return fail(evidence, "%s", strings.Join(wrong, "; "))
	case golang < least:
		return unknown(evidence, "Go had %d of the %d requests that are needed", golang, least)
	case len(moved) > 0 && asked == 0:
		return unknown(evidence, "nobody asked Go for %s", strings.Join(moved, ", "))
	case asked < least && percent(failed, asked) > above:
		return unknown(evidence, "%d of Go's %d requests of %s failed; %d are needed to tell", failed, asked, strings.Join(moved, ", "), least)
	}
	return pass(evidence, "%d of Go's %d requests failed, %d of python's %d", goFailed, golang, pythonFailed, python)
}

// judgeLatency looks at all of go's routes together, and at each that has
// enough requests. What the step itself moved has to have been asked for.
func judgeLatency(g plan.LatencyGate, state rollout.State, bake *Bake) answer {
	if why := missing(bake); why != "" {
		return unknown(nil, "%s", why)
	}
	least, limit := uint64(cmp.Or(g.AtLeast, usualLeast)), cmp.Or(g.P95MS, usualP95)
	golang, _ := bake.Requests(edge.Go)
	evidence := map[string]any{"go_requests": golang}
	for _, system := range []edge.System{edge.Python, edge.Go} {
		if p95 := bake.P95(system); !math.IsNaN(p95) {
			evidence[string(system)+"_p95_ms"] = round(1000 * p95)
		}
	}
	if golang < least {
		return unknown(evidence, "Go had %d of the %d requests that are needed", golang, least)
	}
	all := 1000 * bake.P95(edge.Go)
	if math.IsNaN(all) {
		return unknown(evidence, "the edge kept no durations")
	}
	var wrong []string
	// How much longer than the last bound something took is not known.
	slow := func(p95 float64) bool { return p95 > limit || p95 >= 1000*edge.DurationBounds()[edge.Buckets-2] }
	if slow(all) {
		wrong = append(wrong, fmt.Sprintf("all routes: %.0f ms", all))
	}
	for _, route := range bake.routeNames() {
		if requests, _ := bake.requests(route, edge.Go); requests < least {
			continue
		}
		if p95 := 1000 * percentile(bake.durations(route, edge.Go), 0.95); slow(p95) {
			wrong = append(wrong, fmt.Sprintf("%s: %.0f ms", route, p95))
		}
	}
	if len(wrong) > 0 {
		return fail(evidence, "Go's 95th percentile is above %g ms: %s", limit, strings.Join(wrong, "; "))
	}
	asked := uint64(0)
	var took edge.Histogram
	moved := bake.moved(state)
	for _, route := range moved {
		requests, _ := bake.requests(route, edge.Go)
		asked += requests
		for i, count := range bake.durations(route, edge.Go).Buckets {
			took.Buckets[i] += count
		}
	}
	p95 := 1000 * percentile(took, 0.95)
	switch {
	case len(moved) > 0 && asked == 0:
		return unknown(evidence, "nobody asked Go for %s", strings.Join(moved, ", "))
	case asked < least && slow(p95):
		return unknown(evidence, "Go's 95th percentile of %s is %.0f ms, of %d requests; %d are needed to tell", strings.Join(moved, ", "), p95, asked, least)
	}
	return pass(evidence, "95 of 100 of Go's requests took at most %.0f ms", all)
}

// percentile interpolates linearly within a bucket. What lies beyond the last
// bound counts as that bound.
func percentile(h edge.Histogram, share float64) float64 {
	var total uint64
	for _, count := range h.Buckets {
		total += count
	}
	if total == 0 {
		return math.NaN()
	}
	rank, below, least := share*float64(total), 0.0, 0.0
	for i, bound := range edge.DurationBounds() {
		count := float64(h.Buckets[i])
		if below+count >= rank && count > 0 {
			if math.IsInf(bound, 1) {
				return least
			}
			return least + (bound-least)*(rank-below)/count
		}
		below += count
		least = bound
	}
	return least
}

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

func round(value float64) float64 {
	return math.Round(10*value) / 10
}
