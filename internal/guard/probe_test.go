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

func TestPythonProbe_TakesAnyAnswer(t *testing.T) {
	for _, status := range []int{200, 302, 404, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/health", r.URL.Path)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}))
		answer, err := guard.NewPythonProbe("", server.Listener.Addr().String()).Wait(t.Context(), time.Second)
		server.Close()

		require.NoError(t, err)
		assert.Equal(t, status, answer.Status)
	}
}

func TestPythonProbe_WaitsForASystemThatIsStarting(t *testing.T) {
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

	answer, err := guard.NewPythonProbe("", addr).Wait(t.Context(), 10*time.Second)

	require.NoError(t, <-started)
	require.NoError(t, err)
	assert.Equal(t, 503, answer.Status)
	assert.GreaterOrEqual(t, answer.Took, 100*time.Millisecond)
}

func TestPythonProbe_EndsAtTheLimit(t *testing.T) {
	_, err := guard.NewPythonProbe("", unused(t)).Wait(t.Context(), 250*time.Millisecond)

	assert.ErrorContains(t, err, "no answer within 250ms")
}

func TestPythonProbe_DoesNotTakeAConnectionForAnAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, silent.Close()) }()

	_, err = guard.NewPythonProbe("", silent.Addr().String()).Wait(t.Context(), 250*time.Millisecond)

	assert.ErrorContains(t, err, "no answer")
}

func TestPythonProbe_EndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := guard.NewPythonProbe("", unused(t)).Wait(ctx, time.Minute)

	assert.ErrorIs(t, err, context.Canceled)
}

func TestPythonProbe_GoesTheWayOfTheUsers(t *testing.T) {
	const page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n" +
		"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	const json = `{"status":"unavailable","service":"python"}`
	direct := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
	defer direct.Close()
	for name, c := range map[string]struct {
		edge   reply
		status int // 0: python is silent
	}{
		"python is well":                   {reply{200, "gunicorn", "python", json}, 200},
		"python redirects":                 {reply{302, "gunicorn", "python", ""}, 302},
		"python is not well":               {reply{503, "gunicorn", "python", json}, 503},
		"python's error has no Server":     {reply{503, "nginx", "python", json}, 503},
		"python's gateway has such a page": {reply{502, "gunicorn", "python", page}, 502},
		"nginx is refused":                 {reply{502, "nginx", "python", page}, 0},
		"nginx knows no address":           {reply{503, "nginx", "python", page}, 0},
		"nginx has waited in vain":         {reply{504, "nginx", "python", page}, 0},
		"nginx has an error of its own":    {reply{500, "nginx/1.26.3", "python", page}, 0},
		"this is another server":           {reply{404, "nginx", "", page}, http.StatusTeapot},
	} {
		t.Run(name, func(t *testing.T) {
			edge := httptest.NewServer(c.edge)
			defer edge.Close()
			probe := guard.NewPythonProbe(edge.Listener.Addr().String(), direct.Listener.Addr().String())

			answer, err := probe.Wait(t.Context(), 250*time.Millisecond)

			if c.status == 0 {
				require.ErrorContains(t, err, "nginx gets no answer from python")
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.status, answer.Status)
		})
	}
}

func TestPythonProbe_AsksDirectlyWhileTheEdgeIsAway(t *testing.T) {
	direct := httptest.NewServer(reply{status: http.StatusOK})
	defer direct.Close()

	answer, err := guard.NewPythonProbe(unused(t), direct.Listener.Addr().String()).Wait(t.Context(), time.Second)

	require.NoError(t, err)
	assert.Equal(t, 200, answer.Status)
}

// reply is what comes through the edge.
type reply struct {
	status                 int
	server, servedBy, body string
}

func (r reply) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	w.Header().Set("Server", r.server)
	if r.servedBy != "" && request.URL.Path == "/health/python" {
		w.Header().Set("X-Served-By", r.servedBy)
	}
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(r.status)
	_, _ = w.Write([]byte(r.body)) // whoever asks may read the status only
}

// unused is an address at which nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}
