package guard_test

import (
	"testing"
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

func at(seconds int) time.Time {
	return start.Add(time.Duration(seconds) * time.Second)
}

func counters(epoch string, golang, python uint64) edge.Counters {
	return edge.Counters{Epoch: epoch, Requests: map[string]map[edge.System]edge.Classes{
		"auth": {edge.Go: {"2xx": golang}, edge.Python: {"2xx": python}},
	}}
}
