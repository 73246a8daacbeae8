package goapp

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestHealth(t *testing.T) {
	a := newApp(t)
	w := a.get("/health")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, `{"status":"ok","service":"go","checks":{"postgres":"ok","redis":"ok"}}`+"\n", w.Body.String())
	assertJSONHeaders(t, w)

	a.checks["postgres"] = errDown
	a.checks["redis"] = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	w = a.get("/health")
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Equal(t, `{"status":"unavailable","service":"go","checks":{"postgres":"no connection","redis":"timed out"}}`+"\n", w.Body.String())
}

func TestHealth_AnswersThoughPostgresDoesNot(t *testing.T) {
	a := newApp(t)
	a.server.checks["postgres"] = func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := a.get("/health")
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Contains(t, w.Body.String(), `"checks":{"postgres":"timed out","redis":"ok"}`)
		assert.Less(t, time.Since(start), 1500*time.Millisecond)
	})
}

func TestHealthcheck(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/health", r.URL.Path)
		w.WriteHeader(status)
		_, _ = w.Write([]byte("report"))
	}))
	t.Cleanup(server.Close)
	getenv := func(string) string { return server.Listener.Addr().String() }

	assert.NoError(t, Healthcheck(t.Context(), getenv))
	status = http.StatusServiceUnavailable
	assert.ErrorContains(t, Healthcheck(t.Context(), getenv), "503 Service Unavailable report")
	server.Close()
	assert.ErrorContains(t, Healthcheck(t.Context(), getenv), "does not answer")
	assert.ErrorContains(t, Healthcheck(t.Context(), func(string) string { return "x" }), "LISTEN_ADDR")
}
