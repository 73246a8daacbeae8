package guard_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/guard"
)

func TestProbe_TakesAnyAnswer(t *testing.T) {
	for _, status := range []int{200, 302, 404, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/health", r.URL.Path)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}))
		answer, err := guard.NewProbe(server.Listener.Addr().String()).Wait(t.Context(), time.Second)
		server.Close()

		require.NoError(t, err)
		assert.Equal(t, status, answer.Status)
	}
}

func TestProbe_WaitsForASystemThatIsStarting(t *testing.T) {
	addr := unused(t)
	server := httptest.Server{Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	})}}
	defer server.Close()
	started := make(chan error, 1)
	time.AfterFunc(150*time.Millisecond, func() {
		listener, err := net.Listen("tcp", addr)
		if err == nil {
			server.Listener = listener
			server.Start()
		}
		started <- err
	})

	answer, err := guard.NewProbe(addr).Wait(t.Context(), 10*time.Second)

	require.NoError(t, <-started)
	require.NoError(t, err)
	assert.Equal(t, 503, answer.Status)
	assert.GreaterOrEqual(t, answer.Took, 100*time.Millisecond)
}

func TestProbe_EndsAtTheLimit(t *testing.T) {
	_, err := guard.NewProbe(unused(t)).Wait(t.Context(), 250*time.Millisecond)

	assert.ErrorContains(t, err, "no answer within 250ms")
}

func TestProbe_DoesNotTakeAConnectionForAnAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, silent.Close()) }()

	_, err = guard.NewProbe(silent.Addr().String()).Wait(t.Context(), 250*time.Millisecond)

	assert.ErrorContains(t, err, "no answer")
}

func TestProbe_EndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := guard.NewProbe(unused(t)).Wait(ctx, time.Minute)

	assert.ErrorIs(t, err, context.Canceled)
}

// unused is an address at which nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}
