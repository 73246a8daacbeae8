package goapp

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	service = "go"
	// unmatched is the mux pattern of everything that no route has.
	unmatched = "/"
	// other names unknown routes and methods in metrics, so that a client
	// cannot make up series.
	other = "other"
)

// The legacy system has the same buckets.
var durationBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	routes   map[string]string // by mux pattern
}

func newMetrics(routes []route) *metrics {
	labels := prometheus.Labels{"service": service}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests answered.", ConstLabels: labels,
		}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time to answer a request.",
			ConstLabels: labels, Buckets: durationBuckets,
		}, []string{"method", "route"}),
		routes: map[string]string{},
	}
	m.registry.MustRegister(m.requests, m.duration,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	for _, route := range routes {
		m.routes[exactPattern(route.path)] = route.path
		for method := range route.methods {
			// A ratio of errors needs its series from the start.
			for _, status := range usualStatuses {
				m.requests.WithLabelValues(method, route.path, strconv.Itoa(status))
			}
			m.duration.WithLabelValues(method, route.path)
		}
	}
	return m
}

// usualStatuses are what the routes answer.
var usualStatuses = []int{
	http.StatusOK, http.StatusCreated,
	http.StatusFound, http.StatusSeeOther, http.StatusPermanentRedirect,
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
	http.StatusConflict, http.StatusRequestEntityTooLarge,
	http.StatusInternalServerError, http.StatusServiceUnavailable,
}

// observe counts an answer, and returns how its route is called.
func (m *metrics) observe(method, pattern string, status int, elapsed time.Duration) string {
	route, ok := m.routes[pattern]
	if !ok || status == http.StatusMethodNotAllowed {
		route = other
	}
	if !slices.Contains(knownMethods, method) {
		method = other
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(method, route).Observe(elapsed.Seconds())
	return route
}

var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// exactPattern is the mux pattern of this path and nothing below it.
func exactPattern(path string) string {
	if strings.HasSuffix(path, "/") {
		return path + "{$}"
	}
	return path
}
