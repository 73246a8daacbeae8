package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
)

const (
	largestBody  = 4 << 20 // a plan of 10,000 routes is 1 MB
	writeTimeout = 10 * time.Second
	moveTimeout  = longestWait + 30*time.Second
	stopTimeout  = 700 * time.Millisecond
)

// Server is the guard's HTTP API.
type Server struct {
	writer  *Writer
	store   *store.Store
	traffic *guard.Traffic
	systems map[edge.System]string
	log     *slog.Logger
}

// NewServer makes the API of a writer. The systems are the addresses,
// host:port, at which their metrics are read.
func NewServer(w *Writer, s *store.Store, t *guard.Traffic, systems map[edge.System]string, log *slog.Logger) *Server {
	return &Server{writer: w, store: s, traffic: t, systems: systems, log: log}
}

// API is the whole API, for the unix socket.
func (s *Server) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("GET /v1/plan", s.plan)
	mux.Handle("PUT /v1/plan", move(s, s.writer.AdoptPlan))
	mux.Handle("POST /v1/route", move(s, s.writer.Route))
	mux.Handle("POST /v1/begin", move(s, s.writer.Begin))
	mux.Handle("POST /v1/complete", move(s, s.writer.Complete))
	mux.Handle("POST /v1/pause", move(s, s.writer.Pause))
	mux.Handle("POST /v1/close", move(s, s.writer.CloseWay))
	mux.Handle("POST /v1/finding", move(s, s.writer.Find))
	mux.Handle("POST /v1/rollback", move(s, s.writer.Rollback))
	mux.Handle("POST /v1/resume", move(s, s.writer.Resume))
	return mux
}

// Public is what may be read over the network.
func (s *Server) Public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /plan", s.plan)
	mux.HandleFunc("GET /targets", s.targets)
	mux.Handle("GET /metrics", s.metrics())
	return mux
}

// Serve answers on a listener until the context ends, and then lets requests
// finish for a moment.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      moveTimeout + writeTimeout,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err := server.Shutdown(limit)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	}
	return <-stopped
}

// Private

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, map[string]string{"status": "ok", "service": "guard"})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	state, seen := s.writer.Status()
	status := Status{
		SchemaVersion: rollout.SchemaVersion,
		State:         state,
		Edge:          seen,
		Measured:      make(map[string]*float64, len(state.Routes)),
	}
	if glass, broken := s.writer.Glass(); broken {
		status.BreakGlass = BreakGlass{Active: true, Actor: glass.Actor, Reason: glass.Reason, Time: glass.Time}
	}
	status.JobsAssigned, status.JobsError = s.writer.JobsAssigned()
	shares := s.traffic.Shares(time.Now())
	for _, route := range state.Routes {
		status.Measured[route.Name] = nil
		if share, ok := shares[route.Name]; ok {
			rounded := math.Round(share*100) / 100
			status.Measured[route.Name] = &rounded
		}
	}
	s.reply(w, http.StatusOK, status)
}

func (s *Server) plan(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.writer.Plan())
}

// targets lists what Prometheus is to read, in the form of its HTTP service
// discovery: python only as long as it is not stopped for good.
func (s *Server) targets(w http.ResponseWriter, _ *http.Request) {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := []group{}
	for _, system := range []edge.System{edge.Python, edge.Go} {
		if system == edge.Python && s.writer.State().Home == edge.Go {
			continue
		}
		if address := s.systems[system]; address != "" {
			groups = append(groups, group{Targets: []string{address}, Labels: map[string]string{"job": string(system), "system": string(system)}})
		}
	}
	s.reply(w, http.StatusOK, groups)
}

// events writes one event a line, and goes on with what is recorded later if
// the client follows.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	after, follow, err := eventsQuery(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	reader := s.store.Events(after)
	defer func() {
		if err := reader.Close(); err != nil {
			s.log.Error("closing the journal", "error", err)
		}
	}()
	w.Header().Set("Content-Type", "application/jsonl")
	lines := json.NewEncoder(w)
	client := http.NewResponseController(w)
	for {
		changed := s.store.Changed()
		event, err := reader.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			s.log.Error("reading the journal", "error", err)
			return
		}
		if client.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return
		}
		if err == nil {
			if lines.Encode(event) != nil {
				return // the client is gone
			}
			continue
		}
		if !follow || client.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func eventsQuery(r *http.Request) (after uint64, follow bool, err error) {
	query := r.URL.Query()
	if text := query.Get("after"); text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, false, invalid("after has to be the number of an event, not %q.", text)
		}
	}
	if text := query.Get("follow"); text != "" {
		if follow, err = strconv.ParseBool(text); err != nil {
			return 0, false, invalid("follow has to be true or false, not %q.", text)
		}
	}
	return after, follow, nil
}

// move handles a request that changes the state.
func move[Request any](s *Server, carryOut func(context.Context, Request) (Moved, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request Request
		body := json.NewDecoder(http.MaxBytesReader(w, r.Body, largestBody))
		body.DisallowUnknownFields()
		if err := body.Decode(&request); err != nil {
			s.fail(w, invalid("The request's body cannot be used: %s.", err))
			return
		}
		// What was asked for is carried out even if the asker is gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), moveTimeout)
		defer cancel()
		moved, err := carryOut(ctx, request)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusOK, moved)
	})
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	failure := FailureOf(err)
	if failure.Error.Code == Internal {
		s.log.Error("a request failed", "error", err)
	}
	s.reply(w, httpStatus(failure.Error.Code), failure)
}

// FailureOf is the API's form of an error.
func FailureOf(err error) Failure {
	if refusal, ok := errors.AsType[*rollout.Refusal](err); ok {
		return Failure{Error{Code: refusal.Code, Message: refusal.Message}}
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return Failure{*known}
	}
	return Failure{Error{Code: Internal, Message: err.Error()}}
}

func (s *Server) reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("an answer was not delivered", "error", err)
	}
}

func invalid(format string, args ...any) error {
	return &rollout.Refusal{Code: rollout.Invalid, Message: fmt.Sprintf(format, args...)}
}
