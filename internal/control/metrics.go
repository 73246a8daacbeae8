package control

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
)

var (
	requestsMetric   = prometheus.NewDesc("cutover_edge_requests_total", "Requests that the edge passed on, by the answer to the first attempt.", []string{"route", "backend", "code"}, nil)
	weightMetric     = prometheus.NewDesc("cutover_route_weight_ratio", "Share of the route that go is to serve.", []string{"route"}, nil)
	generationMetric = prometheus.NewDesc("cutover_generation", "Generation of the routing state.", nil, nil)
	latchedMetric    = prometheus.NewDesc("cutover_latched", "Whether everything is latched on python.", nil, nil)
	rollbacksMetric  = prometheus.NewDesc("cutover_rollbacks_total", "Rollbacks that the journal holds.", []string{"cause"}, nil)
)

// collector makes metrics of what others know at the moment of a scrape.
type collector struct {
	writer  *Writer
	traffic *guard.Traffic

	mu        sync.Mutex
	journal   *store.Reader
	rollbacks map[string]float64
}

func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{
			writer:    s.writer,
			traffic:   s.traffic,
			journal:   s.store.Events(0),
			rollbacks: map[string]float64{"operator": 0},
		},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(s.log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError, // a journal that cannot be read hides no other metric
	})
}

// Describe names the metrics.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{requestsMetric, weightMetric, generationMetric, latchedMetric, rollbacksMetric} {
		out <- desc
	}
}

// Collect reports the present values.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	state := c.writer.State()
	out <- prometheus.MustNewConstMetric(generationMetric, prometheus.GaugeValue, float64(state.Generation))
	latched := 0.0
	if state.Latched {
		latched = 1
	}
	out <- prometheus.MustNewConstMetric(latchedMetric, prometheus.GaugeValue, latched)
	for _, route := range state.Routes {
		if route.Pin == "" {
			out <- prometheus.MustNewConstMetric(weightMetric, prometheus.GaugeValue, route.Weight.Percent()/100, route.Name)
		}
	}
	for counted, total := range c.traffic.Totals() {
		out <- prometheus.MustNewConstMetric(requestsMetric, prometheus.CounterValue, float64(total), counted.Route, string(counted.Backend), counted.Code)
	}
	c.collectRollbacks(out)
}

// Private

func (c *collector) collectRollbacks(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		event, err := c.journal.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				out <- prometheus.NewInvalidMetric(rollbacksMetric, err)
				return
			}
			break
		}
		if cause, ok := event.Evidence["cause"].(string); ok && event.Action == rollout.ActionRollback {
			c.rollbacks[cause]++
		}
	}
	for cause, count := range c.rollbacks {
		out <- prometheus.MustNewConstMetric(rollbacksMetric, prometheus.CounterValue, count, cause)
	}
}
