package sink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const schemaVersion = 1

// receive takes any request of a system.
func (s *Sink) receive(system System) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.slots <- struct{}{}
		defer func() { <-s.slots }()
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			http.Error(w, "The body is too large.", http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			return // the client is gone
		}
		s.messages.add(&Message{
			System:    system,
			Kind:      ByHTTP,
			RequestID: r.Header.Get("X-Request-ID"),
			HTTP: &Call{
				Method: r.Method,
				Path:   r.RequestURI,
				Header: r.Header,
				Body:   strings.ToValidUTF8(string(body), "\uFFFD"),
			},
		}, time.Now())
		w.WriteHeader(http.StatusNoContent)
	})
}

// control is what tests ask.
func (s *Sink) control() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s.messages})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /messages", s.list)
	mux.HandleFunc("DELETE /messages", func(w http.ResponseWriter, _ *http.Request) {
		s.messages.forget()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, http.StatusOK, map[string]string{"status": "ok", "service": "sink"})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// list writes message by message: all of them together may be long.
func (s *Sink) list(w http.ResponseWriter, r *http.Request) {
	wanted, err := parseQuery(r)
	if err != nil {
		s.reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	found, dropped := s.messages.find(wanted)
	w.Header().Set("Content-Type", "application/json")
	lines := json.NewEncoder(w)
	_, err = fmt.Fprintf(w, `{"schema_version":%d,"messages":[`, schemaVersion)
	for i, message := range found {
		if i > 0 && err == nil {
			_, err = io.WriteString(w, ",")
		}
		if err == nil {
			err = lines.Encode(message)
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "],\"dropped\":%d}\n", dropped)
	}
	if err != nil {
		s.log.Debug("an answer was not delivered", "error", err)
	}
}

func parseQuery(r *http.Request) (query, error) {
	values := r.URL.Query()
	q := query{system: System(values.Get("system")), kind: Kind(values.Get("kind"))}
	if q.system != "" && q.system != Python && q.system != Go {
		return q, fmt.Errorf("system has to be python or go, not %q", q.system)
	}
	if q.kind != "" && q.kind != ByMail && q.kind != ByHTTP {
		return q, fmt.Errorf("kind has to be mail or http, not %q", q.kind)
	}
	if text := values.Get("after"); text != "" {
		after, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return q, fmt.Errorf("after has to be the number of a message, not %q", text)
		}
		q.after = after
	}
	return q, nil
}

func (s *Sink) reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("an answer was not delivered", "error", err)
	}
}

// collector makes metrics of what was received.
type collector struct {
	messages *messages
}

var receivedMetric = prometheus.NewDesc("sink_messages_total", "Mails and HTTP calls that were received.", []string{"system", "kind"}, nil)

// Describe names the metric.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	out <- receivedMetric
}

// Collect reports the present values.
func (c collector) Collect(out chan<- prometheus.Metric) {
	c.messages.counts(func(system System, kind Kind, count uint64) {
		out <- prometheus.MustNewConstMetric(receivedMetric, prometheus.CounterValue, float64(count), string(system), string(kind))
	})
}
