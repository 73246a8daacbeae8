package guard_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/guard"
)

var start = time.Unix(1767323045, 0)

func TestTraffic_MeasuresTheShareOfTheLastTenSeconds(t *testing.T) {
	traffic := guard.NewTraffic()
	traffic.Observe(counters("e", 1000, 0), start)
	assert.Empty(t, traffic.Shares(start), "what was counted before is not of the last seconds")

	traffic.Observe(counters("e", 1001, 3), at(1))
	traffic.Observe(counters("e", 1004, 3), at(5))
	assert.Equal(t, map[string]float64{"auth": 400. / 7}, traffic.Shares(at(5)))

	assert.Equal(t, map[string]float64{"auth": 100}, traffic.Shares(at(11)), "the first four have left the window")
	assert.Empty(t, traffic.Shares(at(15)))
}

func TestTraffic_NeverGoesBackWhenNginxStartsAnew(t *testing.T) {
	traffic := guard.NewTraffic()
	golang := guard.Counted{Route: "auth", Backend: edge.Go, Code: "2xx"}

	traffic.Observe(counters("first", 10, 0), start)
	assert.Equal(t, uint64(10), traffic.Totals()[golang])
	traffic.Observe(counters("second", 4, 0), at(1))
	assert.Equal(t, uint64(14), traffic.Totals()[golang])
	traffic.Observe(counters("third", 20, 0), at(2))
	assert.Equal(t, uint64(34), traffic.Totals()[golang], "even if the new one has counted further already")
	traffic.Observe(counters("third", 20, 0), at(3))
	assert.Equal(t, uint64(34), traffic.Totals()[golang])
}

func TestTraffic_ForgetsWhatLeftTheWindow(t *testing.T) {
	traffic := guard.NewTraffic()
	for i := range 1000 {
		traffic.Observe(counters("e", uint64(i), uint64(i)), start.Add(time.Duration(i)*100*time.Millisecond))
	}

	assert.Equal(t, map[string]float64{"auth": 50}, traffic.Shares(at(100)))
	assert.Empty(t, traffic.Shares(at(200)))
}

func TestTraffic_DoesNotCountTheEdgesOwnAnswersInShares(t *testing.T) {
	traffic := guard.NewTraffic()
	traffic.Observe(counters("e", 0, 0), start)
	reading := counters("e", 1, 3)
	reading.Requests["auth"][edge.Self] = edge.Classes{"2xx": 100}
	reading.Requests["pages"] = map[edge.System]edge.Classes{edge.Self: {"4xx": 1}}
	traffic.Observe(reading, at(1))

	assert.Equal(t, map[string]float64{"auth": 25}, traffic.Shares(at(1)))
	assert.Equal(t, uint64(100), traffic.Totals()[guard.Counted{Route: "auth", Backend: edge.Self, Code: "2xx"}])
}

func TestTraffic_KeepsDurations(t *testing.T) {
	traffic := guard.NewTraffic()
	golang := guard.Served{Route: "auth", Backend: edge.Go}
	observe := func(epoch string, seconds int, fast, slow uint64, sum float64) {
		reading := counters(epoch, fast+slow, 0)
		reading.Durations = map[string]map[edge.System]edge.Histogram{"auth": {edge.Go: {Buckets: [edge.Buckets]uint64{0: fast, 11: slow}, Sum: sum}}}
		traffic.Observe(reading, at(seconds))
	}
	observe("first", 0, 10, 1, 20)
	observe("first", 1, 12, 1, 20.5)
	observe("second", 2, 1, 1, 30) // counted since its start
	observe("second", 3, 1, 1, 30)

	assert.Equal(t, edge.Histogram{Buckets: [edge.Buckets]uint64{0: 13, 11: 2}, Sum: 50.5}, traffic.Durations()[golang])
	assert.Equal(t, map[guard.Served]guard.Activity{
		golang: {
			Requests:  edge.Classes{"2xx": 4},
			Durations: edge.Histogram{Buckets: [edge.Buckets]uint64{0: 3, 11: 1}, Sum: 30.5},
		},
	}, traffic.Window(guard.LongestWindow, at(3)))
	assert.Equal(t, edge.Classes{"2xx": 2}, traffic.Window(2*time.Second, at(3))[golang].Requests)
	assert.Empty(t, traffic.Window(time.Second, at(3)))
}

func TestTraffic_KnowsWhatIsInFlightWhileItIsRead(t *testing.T) {
	traffic := guard.NewTraffic()
	_, known := traffic.InFlight(start)
	assert.False(t, known, "nothing was read yet")
	reading := counters("e", 0, 0)
	waiting := edge.InFlight{Count: 2, Ages: [edge.Buckets]uint64{0: 1, 10: 1}, Oldest: 9.5}
	reading.InFlight = map[string]map[edge.System]edge.InFlight{"auth": {edge.Python: waiting}}
	traffic.Observe(reading, start)

	found, known := traffic.InFlight(start.Add(time.Second))
	assert.True(t, known)
	assert.Equal(t, map[guard.Served]edge.InFlight{{Route: "auth", Backend: edge.Python}: waiting}, found)
	_, known = traffic.InFlight(at(2))
	assert.False(t, known, "the reading is old")
	traffic.Observe(counters("e", 1, 0), at(3))
	found, known = traffic.InFlight(at(3))
	assert.True(t, known)
	assert.Empty(t, found)
}

// Whatever readings fail, and whenever nginx starts anew, the sums are those of
// the requests.
func TestWatch_LosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &countingEdge{cells: map[guard.Served]*countedCell{}}
		e.restart("epoch 0")
		traffic := guard.NewTraffic()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			traffic.Watch(ctx, e.read, slog.New(slog.DiscardHandler))
			close(ended)
		}()
		random := rand.New(rand.NewPCG(1, 2))
		sent := map[guard.Counted]uint64{}
		for i := range 5000 {
			served := guard.Served{Route: []string{"auth", "users", "-"}[random.IntN(3)], Backend: []edge.System{edge.Python, edge.Go}[random.IntN(2)]}
			code := []string{"2xx", "5xx", "left"}[random.IntN(3)]
			e.count(served, code)
			sent[guard.Counted{Route: served.Route, Backend: served.Backend, Code: code}]++
			switch {
			case i%700 == 699:
				e.set(func() { e.failing = true })
			case i%700 == 350:
				e.set(func() { e.failing = false })
			case i%1000 == 500:
				e.set(func() { e.failing = false })
				time.Sleep(200 * time.Millisecond) // what nginx counted after the last reading dies with it
				e.restart(fmt.Sprint("epoch ", i))
			case i%1000 == 200:
				e.set(func() { e.sequence /= 2 })
			}
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		}
		e.set(func() { e.failing = false })
		time.Sleep(time.Second)
		cancel()
		<-ended

		totals := traffic.Totals()
		for counted, count := range sent {
			assert.Equal(t, count, totals[counted], counted)
		}
		all := uint64(0)
		for _, durations := range traffic.Durations() {
			all += durations.Buckets[3]
		}
		assert.Equal(t, uint64(5000), all)
		assert.Less(t, e.wholeReadings, 30, "it reads what changed")
		assert.Greater(t, e.readings, 300)
	})
}

// countingEdge answers as nginx does.
type countingEdge struct {
	mu                      sync.Mutex
	epoch                   string
	sequence                uint64
	cells                   map[guard.Served]*countedCell
	failing                 bool
	readings, wholeReadings int
}

type countedCell struct {
	changed   uint64
	classes   edge.Classes
	durations edge.Histogram
}

func (e *countingEdge) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

func (e *countingEdge) restart(epoch string) {
	e.set(func() {
		e.epoch, e.sequence = epoch, 0
		clear(e.cells)
	})
}

func (e *countingEdge) count(served guard.Served, code string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	cell := e.cells[served]
	if cell == nil {
		cell = &countedCell{classes: edge.Classes{}}
		e.cells[served] = cell
	}
	e.sequence++
	cell.changed = e.sequence
	cell.classes[code]++
	cell.durations.Buckets[3]++
	cell.durations.Sum += 0.05
}

func (e *countingEdge) read(_ context.Context, sequence uint64, epoch string) (edge.Counters, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readings++
	if e.failing {
		return edge.Counters{}, edge.ErrUnreachable
	}
	if epoch != e.epoch {
		sequence = 0
		e.wholeReadings++
	}
	answer := edge.Counters{
		Epoch:     e.epoch,
		Sequence:  e.sequence,
		Requests:  map[string]map[edge.System]edge.Classes{},
		Durations: map[string]map[edge.System]edge.Histogram{},
	}
	for served, cell := range e.cells {
		if cell.changed <= sequence {
			continue
		}
		if answer.Requests[served.Route] == nil {
			answer.Requests[served.Route] = map[edge.System]edge.Classes{}
			answer.Durations[served.Route] = map[edge.System]edge.Histogram{}
		}
		answer.Requests[served.Route][served.Backend] = maps.Clone(cell.classes)
		answer.Durations[served.Route][served.Backend] = cell.durations
	}
	return answer, nil
}

func at(seconds int) time.Time {
	return start.Add(time.Duration(seconds) * time.Second)
}

func counters(epoch string, golang, python uint64) edge.Counters {
	return edge.Counters{Epoch: epoch, Requests: map[string]map[edge.System]edge.Classes{
		"auth": {edge.Go: {"2xx": golang}, edge.Python: {"2xx": python}},
	}}
}
