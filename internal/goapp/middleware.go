package goapp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// handler answers a request. Its error becomes an answer too.
type handler func(*http.Request) (answer, error)

// bounded gives the request its deadline.
func bounded(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		h(w, r.WithContext(ctx))
	})
}

// withBody waits for the whole body before the deadline begins: a slow client
// is not an outage. The server's ReadTimeout bounds the wait. A body that is
// too large is refused where the handler would read it.
func (s *Server) withBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
		switch {
		case errors.As(err, new(*http.MaxBytesError)):
			r.Body = tooLarge{}
		case err != nil:
			r.Body = http.NoBody // half a body is nothing, and refused as such
		default:
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(w, r)
	})
}

// tooLarge is the body of which more was sent than anything here needs.
type tooLarge struct{}

func (tooLarge) Read([]byte) (int, error) { return 0, errTooLarge }
func (tooLarge) Close() error             { return nil }

// plain serves a handler that needs no session.
func (s *Server) plain(h handler) http.Handler {
	return bounded(func(w http.ResponseWriter, r *http.Request) {
		s.try(h, r).write(w)
	})
}

// withSession serves a handler that needs the session.
func (s *Server) withSession(h handler) http.Handler {
	return bounded(func(w http.ResponseWriter, r *http.Request) {
		s.inSession(w, r, h)
	})
}

// inSession loads the session before the handler and saves it after.
func (s *Server) inSession(w http.ResponseWriter, r *http.Request, h handler) {
	ctx, err := s.sessions.Load(r)
	if err != nil {
		s.failed(r, unavailable{err}).write(w)
		return
	}
	r = r.WithContext(ctx)
	a := s.try(h, r)
	if err := s.sessions.Save(ctx, w.Header()); err != nil {
		a = s.failed(r, unavailable{err})
	}
	a.write(w)
}

func (s *Server) try(h handler, r *http.Request) answer {
	a, err := h(r)
	if err != nil {
		return s.failed(r, err)
	}
	return a
}

// byMethod serves one path. GET answers HEAD too.
func (s *Server) byMethod(methods map[string]http.Handler) http.Handler {
	allowed := slices.Collect(maps.Keys(methods))
	if methods[http.MethodGet] != nil {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	allow := map[string]string{"Allow": strings.Join(allowed, ", ")}

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if h, ok := methods[method]; ok {
			if s.crossOrigin.Check(r) != nil {
				s.failed(r, errOtherSite).write(w)
				return
			}
			h.ServeHTTP(w, r)
			return
		}
		a := s.failed(r, errMethodNotAllowed)
		a.header = allow
		a.write(w)
	})
}

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

var acceptableID = regexp.MustCompile(`^[!-~]{1,128}$`)

func newRequestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-ID"); acceptableID.MatchString(id) {
		return id
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// maxAuditedID is what the audit trail keeps of a request's id.
const maxAuditedID = 200

// auditedID is the request's id as the client or the edge gave it, "" if they
// gave none. A header's bytes are Latin-1, as everywhere in Python.
func auditedID(r *http.Request) string {
	var id []rune
	for _, b := range []byte(strings.Join(r.Header.Values("X-Request-ID"), ",")) {
		id = append(id, rune(b))
	}
	return string(id[:min(len(id), maxAuditedID)])
}

// observed gives every request its id, survives panics, and counts and logs
// the answer.
func (s *Server) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := newRequestID(r)

		// What a client began is finished though the client has gone, as in
		// the legacy system: a logout must not stop half-way.
		ctx := context.WithValue(context.WithoutCancel(r.Context()), requestIDKey{}, id)
		r = r.WithContext(ctx)
		r.URL = withoutFragment(r)
		path := r.URL.Path
		r.URL = routed(*r.URL)

		recorder := &statusRecorder{ResponseWriter: w}
		s.survive(next, recorder, r)

		elapsed := time.Since(start)
		route := s.metrics.observe(r.Method, r.Pattern, recorder.status, elapsed)
		if slices.Contains(quietRoutes, route) && recorder.status == http.StatusOK {
			return
		}
		s.log.LogAttrs(ctx, slog.LevelInfo, "request",
			slog.String("request_id", id),
			slog.String("method", r.Method),
			slog.String("path", withoutToken(path)),
			slog.String("route", route),
			slog.Int("status", recorder.status),
			slog.Float64("ms", float64(elapsed.Microseconds())/1000),
		)
	})
}

// withoutFragment returns the request's address. A fragment, which no client
// should send, would be taken for a part of the path or the query.
func withoutFragment(r *http.Request) *url.URL {
	target, _, found := strings.Cut(r.RequestURI, "#")
	if !found {
		return r.URL
	}
	address, err := url.ParseRequestURI(target)
	if err != nil {
		return r.URL
	}
	return address
}

// withoutToken keeps reset links, which are as good as passwords, out of the log.
func withoutToken(path string) string {
	if at := strings.Index(path, resetPath+"/"); at >= 0 {
		return path[:at] + linkPath
	}
	return path
}

// Machines ask for these every second or two: a line for each would bury the
// others.
var quietRoutes = []string{"/health", "/metrics"}

func (s *Server) survive(next http.Handler, w *statusRecorder, r *http.Request) {
	defer func() {
		if cause := recover(); cause != nil {
			err := fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			if a := s.failed(r, err); w.status == 0 {
				a.write(w)
			}
		}
	}()
	next.ServeHTTP(w, r)
}

// statusRecorder remembers the status that was sent, 0 until then.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (w *statusRecorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusRecorder) Write(body []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(body)
}

// Unwrap serves http.ResponseController.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
