package control

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
)

var (
	upMetric         = prometheus.NewDesc("cutover_edge_up", "Whether the edge's counters were read just now.", nil, nil)
	requestsMetric   = prometheus.NewDesc("cutover_edge_requests_total", "Requests of the edge, by the answer to the first attempt.", []string{"route", "backend", "code"}, nil)
	durationMetric   = prometheus.NewDesc("cutover_edge_request_duration_seconds", "How long requests took, to the end of their answer.", []string{"route", "backend"}, nil)
	inFlightMetric   = prometheus.NewDesc("cutover_edge_requests_in_flight", "Requests that wait for the end of their answer.", []string{"route", "backend"}, nil)
	oldestMetric     = prometheus.NewDesc("cutover_edge_oldest_request_seconds", "Age of the oldest request in flight.", []string{"route", "backend"}, nil)
	weightMetric     = prometheus.NewDesc("cutover_route_weight_ratio", "Share of the route that go is to serve.", []string{"route"}, nil)
	generationMetric = prometheus.NewDesc("cutover_generation", "Generation of the routing state.", nil, nil)
	latchedMetric    = prometheus.NewDesc("cutover_latched", "Whether everything is latched on python.", nil, nil)
	rollbacksMetric  = prometheus.NewDesc("cutover_rollbacks_total", "Rollbacks that the journal holds.", []string{"cause"}, nil)
)

// routesInDetail is up to how many routes the edge keeps durations and requests
// in flight of each.
const routesInDetail = 200

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
			rollbacks: map[string]float64{causeOperator: 0, causeBreakGlass: 0},
		},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      slog.NewLogLogger(s.log.Handler(), slog.LevelError),
		ErrorHandling: promhttp.ContinueOnError, // a journal that cannot be read hides no other metric
	})
}

// Describe names the metrics.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		upMetric, requestsMetric, durationMetric, inFlightMetric, oldestMetric,
		weightMetric, generationMetric, latchedMetric, rollbacksMetric,
	} {
		out <- desc
	}
}

// Collect reports the present values.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	state := c.writer.State()
	out <- prometheus.MustNewConstMetric(generationMetric, prometheus.GaugeValue, float64(state.Generation))
	out <- prometheus.MustNewConstMetric(latchedMetric, prometheus.GaugeValue, truth(state.Latched))
	for _, route := range state.Routes {
		if route.Pin == "" && route.Follows == "" {
			out <- prometheus.MustNewConstMetric(weightMetric, prometheus.GaugeValue, route.Weight.Percent()/100, route.Name)
		}
	}
	c.collectTraffic(out, state)
	c.collectRollbacks(out)
}

// Private

// collectTraffic reports every series that the table can have, from zero: who
// compares systems or takes rates needs them before the first request. A table
// of very many routes could have very many; of those it reports what is used.
func (c *collector) collectTraffic(out chan<- prometheus.Metric, state rollout.State) {
	requests, durations := c.traffic.Totals(), c.traffic.Durations()
	inFlight, known := c.traffic.InFlight(time.Now())
	out <- prometheus.MustNewConstMetric(upMetric, prometheus.GaugeValue, truth(known))
	counted, timed := series(state)
	for _, served := range counted {
		for _, code := range codes() {
			fill(requests, guard.Counted{Route: served.Route, Backend: served.Backend, Code: code})
		}
	}
	for _, served := range timed {
		fill(durations, served)
		if known {
			fill(inFlight, served)
		}
	}
	for of, total := range requests {
		out <- prometheus.MustNewConstMetric(requestsMetric, prometheus.CounterValue, float64(total), of.Route, string(of.Backend), of.Code)
	}
	for of, total := range durations {
		count, buckets := cumulative(total)
		out <- prometheus.MustNewConstHistogram(durationMetric, count, total.Sum, buckets, of.Route, string(of.Backend))
	}
	for of, waiting := range inFlight {
		out <- prometheus.MustNewConstMetric(inFlightMetric, prometheus.GaugeValue, float64(waiting.Count), of.Route, string(of.Backend))
		out <- prometheus.MustNewConstMetric(oldestMetric, prometheus.GaugeValue, waiting.Oldest, of.Route, string(of.Backend))
	}
}

// series are those that are always reported, of counters and of what is kept
// for all routes together where they are many.
func series(state rollout.State) (counted, timed []guard.Served) {
	add := func(route string, backends ...edge.System) {
		for _, backend := range backends {
			counted = append(counted, guard.Served{Route: route, Backend: backend})
		}
	}
	add(edge.Unmatched, edge.Python, edge.Go, edge.Self)
	if len(state.Routes) > routesInDetail {
		for _, backend := range []edge.System{edge.Python, edge.Go, edge.Self} {
			timed = append(timed, guard.Served{Route: edge.AllRoutes, Backend: backend})
		}
		return counted, timed
	}
	for _, route := range state.Routes {
		add(route.Name, edge.Python, edge.Go)
		if route.Follows != "" {
			add(route.Name, edge.Self) // pages that have moved on
		}
	}
	return counted, counted
}

// codes are what the edge counts by.
func codes() []string {
	return []string{"none", "2xx", "3xx", "4xx", "5xx", "left"}
}

// cumulative is a histogram as Prometheus has it.
func cumulative(histogram edge.Histogram) (count uint64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, edge.Buckets)
	for i, bound := range edge.DurationBounds() {
		count += histogram.Buckets[i]
		if !math.IsInf(bound, 1) { // the count itself
			buckets[bound] = count
		}
	}
	return count, buckets
}

// fill puts a zero where there is nothing.
func fill[Key comparable, Value any](values map[Key]Value, key Key) {
	if _, ok := values[key]; !ok {
		var zero Value
		values[key] = zero
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

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
