package gate

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// traffic is what a route had during a bake: requests by system, those that
// failed, and the bucket of Go's durations.
type traffic struct {
	golang, goFailed, python, pythonFailed uint64
	bucket                                 int
}

// bakeOf is a bake that began with counters of its own, so that what was there
// before must not count.
func bakeOf(changed []string, routes map[string]traffic) *Bake {
	bake := &Bake{Routes: changed, Before: counters(), After: counters()}
	for name, r := range routes {
		bake.Before.Requests[name] = map[edge.System]edge.Classes{
			edge.Go: {"2xx": 1000, "5xx": 70, "none": 5, "left": 3}, edge.Python: {"2xx": 500, "5xx": 2},
		}
		bake.After.Requests[name] = map[edge.System]edge.Classes{
			edge.Go:     {"2xx": 1000 + r.golang - r.goFailed, "5xx": 70 + r.goFailed/2, "none": 5 + r.goFailed - r.goFailed/2, "left": 900},
			edge.Python: {"2xx": 500 + r.python - r.pythonFailed, "5xx": 2 + r.pythonFailed},
		}
		var before, after edge.Histogram
		before.Buckets[9] = 1078
		after.Buckets[9] = 1078
		after.Buckets[r.bucket] += r.golang
		bake.Before.Durations[name] = map[edge.System]edge.Histogram{edge.Go: before}
		bake.After.Durations[name] = map[edge.System]edge.Histogram{edge.Go: after}
	}
	return bake
}

func counters() edge.Counters {
	return edge.Counters{Epoch: "e", Requests: map[string]map[edge.System]edge.Classes{}, Durations: map[string]map[edge.System]edge.Histogram{}}
}

func stateOf(weights map[string]edge.Weight) rollout.State {
	state := rollout.NewState(edge.Python)
	for _, name := range []string{"a", "b", "c"} {
		if weight, has := weights[name]; has {
			state.Routes = append(state.Routes, rollout.Route{Name: name, Prefix: "/" + name, Weight: weight})
		}
	}
	state.Routes = append(state.Routes, rollout.Route{Name: "assets", Prefix: "/assets/", Pin: edge.Go}, rollout.Route{Name: "htmx", Prefix: "/htmx/", Follows: "a"})
	return state
}

func number(value float64) *float64 { return &value }

// expect compares an answer, and makes sure that it can be written down.
func expect(t *testing.T, want rollout.Verdict, why string, got answer) {
	t.Helper()
	assert.Equal(t, want, got.verdict, got.why)
	assert.Contains(t, got.why, why)
	_, err := json.Marshal(got.evidence)
	require.NoError(t, err)
}

func TestNoBakeIsNoAnswer(t *testing.T) {
	state := stateOf(map[string]edge.Weight{"a": 5000})
	anew := bakeOf([]string{"a"}, map[string]traffic{"a": {golang: 100, python: 100}})
	anew.After.Epoch = "f"
	for name, c := range map[string]struct {
		bake *Bake
		why  string
	}{
		"none":           {nil, "no step is baking"},
		"nginx anew":     {anew, "nginx was started anew"},
		"nothing at all": {&Bake{}, "requests"},
		"no counters":    {bakeOf([]string{"a"}, nil), "requests"},
		"only before it": {bakeOf([]string{"a"}, map[string]traffic{"a": {}}), "requests"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, rollout.Inconclusive, c.why, judgeShares(plan.SharesGate{}, state, c.bake))
			expect(t, rollout.Inconclusive, c.why, judgeErrors(plan.ErrorsGate{}, state, c.bake))
			expect(t, rollout.Inconclusive, c.why, judgeLatency(plan.LatencyGate{}, state, c.bake))
		})
	}
}

func TestShares(t *testing.T) {
	for name, c := range map[string]struct {
		gate    plan.SharesGate
		weights map[string]edge.Weight
		routes  map[string]traffic
		want    rollout.Verdict
		why     string
	}{
		"as requested":            {plan.SharesGate{}, map[string]edge.Weight{"a": 5000}, map[string]traffic{"a": {golang: 48, python: 52}}, rollout.Pass, "a as requested"},
		"within":                  {plan.SharesGate{}, map[string]edge.Weight{"a": 5000}, map[string]traffic{"a": {golang: 65, python: 35}}, rollout.Pass, "a as requested"},
		"just out of it":          {plan.SharesGate{}, map[string]edge.Weight{"a": 5000}, map[string]traffic{"a": {golang: 66, python: 34}}, rollout.Fail, "a has 66.0 % on Go, and 50 % were requested"},
		"no difference allowed":   {plan.SharesGate{Within: number(0)}, map[string]edge.Weight{"a": 5000}, map[string]traffic{"a": {golang: 51, python: 49}}, rollout.Fail, "51.0 %"},
		"too few of what moved":   {plan.SharesGate{}, map[string]edge.Weight{"a": 5000, "b": 5000}, map[string]traffic{"a": {golang: 10, python: 9}, "b": {golang: 500, python: 500}}, rollout.Inconclusive, "a had 19 of the 20 requests"},
		"enough":                  {plan.SharesGate{AtLeast: 19}, map[string]edge.Weight{"a": 5000}, map[string]traffic{"a": {golang: 10, python: 9}}, rollout.Pass, "a as requested"},
		"few of another":          {plan.SharesGate{}, map[string]edge.Weight{"a": 5000, "b": 5000}, map[string]traffic{"a": {golang: 50, python: 50}, "b": {golang: 1}}, rollout.Pass, "a as requested"},
		"another is wrong":        {plan.SharesGate{}, map[string]edge.Weight{"a": 5000, "b": 0}, map[string]traffic{"a": {golang: 50, python: 50}, "b": {golang: 50}}, rollout.Fail, "b has 100.0 % on Go, and 0 % were requested"},
		"wrong before too few":    {plan.SharesGate{}, map[string]edge.Weight{"a": 5000, "b": 0}, map[string]traffic{"b": {golang: 50}}, rollout.Fail, "b has"},
		"all, but for a tester":   {plan.SharesGate{}, map[string]edge.Weight{"a": 10000}, map[string]traffic{"a": {golang: 100, python: 1}}, rollout.Pass, "a as requested"},
		"all is all":              {plan.SharesGate{}, map[string]edge.Weight{"a": 10000}, map[string]traffic{"a": {golang: 98, python: 2}}, rollout.Fail, "98.0 %"},
		"none is none":            {plan.SharesGate{Within: number(100)}, map[string]edge.Weight{"a": 0}, map[string]traffic{"a": {golang: 2, python: 98}}, rollout.Fail, "2.0 %"},
		"only what has no weight": {plan.SharesGate{}, map[string]edge.Weight{"a": 5000}, map[string]traffic{"assets": {golang: 500}, "htmx": {golang: 500}, edge.Unmatched: {python: 500}}, rollout.Inconclusive, "a had 0 of the 20"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, c.want, c.why, judgeShares(c.gate, stateOf(c.weights), bakeOf([]string{"a"}, c.routes)))
		})
	}
	untouched := bakeOf(nil, map[string]traffic{"a": {golang: 5, python: 5}})
	expect(t, rollout.Inconclusive, "no route had 20 requests", judgeShares(plan.SharesGate{}, stateOf(map[string]edge.Weight{"a": 5000}), untouched))
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		gate   plan.ErrorsGate
		routes map[string]traffic
		want   rollout.Verdict
		why    string
	}{
		"none":                            {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, python: 100}}, rollout.Pass, "0 of Go's 100 requests failed"},
		"at the limit":                    {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 5}}, rollout.Pass, "5 of Go's 100"},
		"above the limit":                 {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 6}}, rollout.Fail, "all routes: 6 of Go's 100 requests failed (6.0 %, more than 5 %)"},
		"a limit of none":                 {plan.ErrorsGate{Above: number(0)}, map[string]traffic{"a": {golang: 1000, goFailed: 1}}, rollout.Fail, "1 of Go's 1000"},
		"more than python":                {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 4, python: 100, pythonFailed: 1}}, rollout.Fail, "4.0 % of Go's requests failed, more than 2 times python's 1.0 %"},
		"python has none":                 {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 2, python: 100}}, rollout.Fail, "2 times python's 0.0 %"},
		"below the floor":                 {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 1, python: 100}}, rollout.Pass, "1 of Go's 100"},
		"python is no better":             {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 4, python: 100, pythonFailed: 2}}, rollout.Pass, "4 of Go's"},
		"python says nothing":             {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 4, python: 19}}, rollout.Pass, "4 of Go's"},
		"python is worse, go is bad":      {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 100, goFailed: 50, python: 100, pythonFailed: 100}}, rollout.Fail, "more than 5 %"},
		"too few":                         {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 19, python: 1000}}, rollout.Inconclusive, "Go had 19 of the 20"},
		"all of too few":                  {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 19, goFailed: 19}}, rollout.Inconclusive, "Go had 19 of the 20"},
		"a small one behind a large one":  {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 10000}, "b": {golang: 20, goFailed: 2}}, rollout.Fail, "b: 2 of Go's 20 requests failed"},
		"a small one that no plan names":  {plan.ErrorsGate{}, map[string]traffic{"a": {golang: 10000}, "htmx": {golang: 20, goFailed: 20}}, rollout.Fail, "htmx: 20 of"},
		"what moved, behind what did not": {plan.ErrorsGate{}, map[string]traffic{"b": {golang: 10000}, "a": {golang: 19, goFailed: 1}}, rollout.Inconclusive, "1 of Go's 19 requests of a failed"},
		"what moved was not asked for":    {plan.ErrorsGate{}, map[string]traffic{"b": {golang: 10000}, "a": {python: 50}}, rollout.Inconclusive, "nobody asked Go for a"},
		"what moved has few, and is fine": {plan.ErrorsGate{}, map[string]traffic{"b": {golang: 10000}, "a": {golang: 3}}, rollout.Pass, "0 of Go's 10003"},
	} {
		t.Run(name, func(t *testing.T) {
			state := stateOf(map[string]edge.Weight{"a": 1000, "b": 10000})
			expect(t, c.want, c.why, judgeErrors(c.gate, state, bakeOf([]string{"a"}, c.routes)))
		})
	}
	none := bakeOf([]string{"a"}, map[string]traffic{"b": {golang: 100}, "a": {python: 50}})
	expect(t, rollout.Pass, "", judgeErrors(plan.ErrorsGate{}, stateOf(map[string]edge.Weight{"a": 0, "b": 10000}), none))
}

func TestWhoLeftIsNeitherRightNorWrong(t *testing.T) {
	bake := bakeOf([]string{"a"}, map[string]traffic{"a": {golang: 30, goFailed: 1}})
	total, failed := bake.Requests(edge.Go)
	assert.Equal(t, []uint64{30, 1}, []uint64{total, failed})
	assert.Equal(t, uint64(927), bake.asked("a", edge.Go))
}

func TestLatency(t *testing.T) {
	for name, c := range map[string]struct {
		gate   plan.LatencyGate
		routes map[string]traffic
		want   rollout.Verdict
		why    string
	}{
		"fast":                            {plan.LatencyGate{}, map[string]traffic{"a": {golang: 100, bucket: 3}}, rollout.Pass, "at most 49 ms"},
		"slow":                            {plan.LatencyGate{}, map[string]traffic{"a": {golang: 100, bucket: 7}}, rollout.Fail, "above 500 ms: all routes: 975 ms; a: 975 ms"},
		"a limit of one's own":            {plan.LatencyGate{P95MS: 980}, map[string]traffic{"a": {golang: 100, bucket: 7}}, rollout.Pass, "975 ms"},
		"too few":                         {plan.LatencyGate{}, map[string]traffic{"a": {golang: 19}}, rollout.Inconclusive, "Go had 19 of the 20"},
		"a small one behind a large one":  {plan.LatencyGate{}, map[string]traffic{"a": {golang: 10000}, "b": {golang: 20, bucket: 8}}, rollout.Fail, "b: 2425 ms"},
		"beyond what is measured":         {plan.LatencyGate{P95MS: 60000}, map[string]traffic{"a": {golang: 100, bucket: 11}}, rollout.Fail, "all routes: 10000 ms"},
		"what moved, behind what did not": {plan.LatencyGate{}, map[string]traffic{"b": {golang: 10000}, "a": {golang: 19, bucket: 9}}, rollout.Inconclusive, "Go's 95th percentile of a is 4875 ms, of 19 requests"},
		"what moved was not asked for":    {plan.LatencyGate{}, map[string]traffic{"b": {golang: 10000}}, rollout.Inconclusive, "nobody asked Go for a"},
		"what moved has few, and is fine": {plan.LatencyGate{}, map[string]traffic{"b": {golang: 10000}, "a": {golang: 3}}, rollout.Pass, "at most 5 ms"},
	} {
		t.Run(name, func(t *testing.T) {
			state := stateOf(map[string]edge.Weight{"a": 1000, "b": 10000})
			expect(t, c.want, c.why, judgeLatency(c.gate, state, bakeOf([]string{"a"}, c.routes)))
		})
	}
	unmeasured := bakeOf([]string{"a"}, map[string]traffic{"a": {golang: 100}})
	clear(unmeasured.After.Durations)
	expect(t, rollout.Inconclusive, "the edge kept no durations", judgeLatency(plan.LatencyGate{}, stateOf(map[string]edge.Weight{"a": 1000}), unmeasured))

	together := bakeOf([]string{"a"}, map[string]traffic{"a": {golang: 100, bucket: 8}})
	together.Before.Durations, together.After.Durations = nil, map[string]map[edge.System]edge.Histogram{edge.AllRoutes: together.After.Durations["a"]}
	expect(t, rollout.Fail, "all routes: ", judgeLatency(plan.LatencyGate{}, stateOf(map[string]edge.Weight{"a": 1000}), together))
}

func TestPercentile(t *testing.T) {
	histogram := func(buckets ...uint64) (h edge.Histogram) {
		copy(h.Buckets[:], buckets)
		return h
	}
	assert.True(t, math.IsNaN(percentile(histogram(), 0.95)))
	for want, h := range map[float64]edge.Histogram{
		0.00475: histogram(1),                                     // 95 % of the way through the first bucket
		0.005:   histogram(95, 0, 0, 5),                           // the last of the first one
		0.0375:  histogram(90, 0, 0, 10),                          // half of the way from 25 to 50 ms
		10:      histogram(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),    // beyond
		9.75:    histogram(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100),     // 95 % of the way from 5 to 10 s
		9.95:    histogram(6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 90, 4.0), // 89 of 90 of it
	} {
		assert.InDelta(t, want, percentile(h, 0.95), 0.01*want, fmt.Sprint(h.Buckets))
	}
}

func TestProperty_PercentilesLieInTheirBucketsAndGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h edge.Histogram
		highest, bounds := 0, edge.DurationBounds()
		for i := range h.Buckets {
			if h.Buckets[i] = uint64(rapid.IntRange(0, 3).Draw(t, "count")); h.Buckets[i] > 0 {
				highest = i
			}
		}
		h.Buckets[highest] += 1
		last := 0.0
		for _, share := range []float64{0.01, 0.5, 0.95, 0.99, 1} {
			value := percentile(h, share)
			require.GreaterOrEqual(t, value, last)
			require.LessOrEqual(t, value, min(bounds[highest], bounds[edge.Buckets-2])+1e-9)
			last = value
		}
	})
}

// Whatever was counted: a gate that passes has seen the requests that it asks
// for.
func TestProperty_NothingPassesWithoutData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.Uint64Range(0, 40)
		routes := map[string]traffic{}
		for _, name := range []string{"a", "b", "c", "htmx"} {
			r := traffic{golang: few.Draw(t, "go"), python: few.Draw(t, "python"), bucket: rapid.IntRange(0, 11).Draw(t, "bucket")}
			r.goFailed, r.pythonFailed = min(r.golang, few.Draw(t, "failed")/8), min(r.python, few.Draw(t, "failed")/8)
			routes[name] = r
		}
		weights := map[string]edge.Weight{"a": edge.Weight(rapid.IntRange(0, 100).Draw(t, "weight") * 100), "b": 10000, "c": 0}
		state, bake := stateOf(weights), bakeOf([]string{"a"}, routes)
		least := rapid.IntRange(1, 60).Draw(t, "least")
		asked, _ := bake.Requests(edge.Go)
		enough := asked >= uint64(least) && (weights["a"] == 0 || routes["a"].golang > 0)
		if found := judgeErrors(plan.ErrorsGate{AtLeast: least}, state, bake); found.verdict == rollout.Pass {
			require.True(t, enough)
		}
		if found := judgeLatency(plan.LatencyGate{AtLeast: least}, state, bake); found.verdict == rollout.Pass {
			require.True(t, enough)
		}
		if found := judgeShares(plan.SharesGate{AtLeast: least}, state, bake); found.verdict == rollout.Pass {
			require.GreaterOrEqual(t, routes["a"].golang+routes["a"].python, uint64(least))
		}
	})
}
