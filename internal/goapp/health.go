package goapp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// check reports whether something that the application needs is there. It
// ends with its context.
type check func(context.Context) error

const checkTimeout = time.Second

type healthReport struct {
	Status  string            `json:"status"`
	Service string            `json:"service"`
	Checks  map[string]string `json:"checks"`
}

func (s *Server) health(r *http.Request) (answer, error) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()

	var mu sync.Mutex
	var all sync.WaitGroup
	status, report := http.StatusOK, healthReport{healthy, service, map[string]string{}}
	for name, check := range s.checks {
		all.Go(func() {
			found := verdict(check(ctx))
			mu.Lock()
			defer mu.Unlock()
			report.Checks[name] = found
			if found != healthy {
				status, report.Status = http.StatusServiceUnavailable, "unavailable"
			}
		})
	}
	all.Wait()
	return jsonAnswer(status, report)
}

const healthy = "ok"

// verdict is short, and tells no address and no user.
func verdict(err error) string {
	var network net.Error
	switch {
	case err == nil:
		return healthy
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timed out"
	default:
		return "no connection"
	}
}

// Healthcheck asks a running server on this machine whether it is healthy.
func Healthcheck(ctx context.Context, getenv func(string) string) (err error) {
	env := environment{getenv: getenv}
	_, port, err := net.SplitHostPort(env.text("LISTEN_ADDR", defaultListen))
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR is malformed: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", port)+"/health", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1024)) // best effort: the status decides
		return fmt.Errorf("the server is not healthy: %s %s", response.Status, body)
	}
	return nil
}
