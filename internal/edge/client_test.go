package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func TestApplyPutsTheTableAndReadsItBack(t *testing.T) {
	var applied edge.Table
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/table", r.URL.Path)
		if r.Method == http.MethodPut {
			content, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			assert.NoError(t, json.Unmarshal(content, &applied))
			answer(t, w, http.StatusOK, `{"generation":%d}`, applied.Generation)
			return
		}
		assert.NoError(t, json.NewEncoder(w).Encode(applied))
	})

	require.NoError(t, client.Apply(t.Context(), exampleTable()))
	assert.True(t, applied.Equal(exampleTable()))
}

func TestApplyRefusesABadTableWithoutAsking(t *testing.T) {
	client := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })

	err := client.Apply(t.Context(), edge.Table{Home: "perl"})

	assert.EqualError(t, err, `the table cannot be applied: the home is "perl", neither python nor go`)
}

func TestApplyTellsTheGenerationInForce(t *testing.T) {
	client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(t, w, http.StatusConflict, `{"error":"a newer table is in force","generation":9}`)
	})

	err := client.Apply(t.Context(), exampleTable())

	require.ErrorIs(t, err, edge.ErrStale)
	assert.EqualError(t, err, "the edge has a newer table, of generation 9")
	var stale *edge.StaleError
	require.ErrorAs(t, err, &stale)
	assert.Equal(t, uint64(9), stale.Current)
}

func TestApplyNoticesWhatItReadsBack(t *testing.T) {
	newer, other := exampleTable(), exampleTable()
	newer.Generation++
	other.Latched = true
	for want, table := range map[string]edge.Table{
		"the edge has a newer table, of generation 2":                 newer,
		"the edge took the table of generation 1 but has another one": other,
	} {
		client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			assert.NoError(t, json.NewEncoder(w).Encode(table))
		})
		assert.EqualError(t, client.Apply(t.Context(), exampleTable()), want)
	}
}

func TestApplyReportsARefusal(t *testing.T) {
	client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(t, w, http.StatusUnprocessableEntity, `{"error":"route 1: unknown field \"x\""}`)
	})

	err := client.Apply(t.Context(), exampleTable())

	assert.EqualError(t, err, `the edge refuses with status 422: route 1: unknown field "x"`)
}

func TestReadingCountersAndUpstreams(t *testing.T) {
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/upstreams" {
			answer(t, w, http.StatusOK, `{"python":["172.18.0.3:5000"],"go":[]}`)
			return
		}
		answer(t, w, http.StatusOK, `{"epoch":"e","generation":3,"total":4,
			"requests":{"auth":{"go":{"2xx":3,"none":1},"python":{}}}}`)
	})

	counters, err := client.Counters(t.Context())
	require.NoError(t, err)
	assert.Equal(t, edge.Counters{Epoch: "e", Generation: 3, Total: 4, Requests: map[string]map[edge.System]edge.Classes{
		"auth": {edge.Go: {"2xx": 3, "none": 1}, edge.Python: {}},
	}}, counters)

	upstreams, err := client.Upstreams(t.Context())
	require.NoError(t, err)
	assert.Equal(t, edge.Upstreams{edge.Python: {netip.MustParseAddrPort("172.18.0.3:5000")}, edge.Go: {}}, upstreams)
}

func TestAnEdgeThatDoesNotAnswerIsUnreachable(t *testing.T) {
	hangUp := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		assert.NoError(t, err)
		assert.NoError(t, conn.Close())
	})
	absent := edge.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", "/nonexistent/edge.sock")
	})
	t.Cleanup(absent.Close)

	for _, client := range []*edge.Client{hangUp, absent} {
		_, err := client.Table(t.Context())
		assert.ErrorIs(t, err, edge.ErrUnreachable)
	}
}

func TestACancelledRequestSaysSo(t *testing.T) {
	client := newClient(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := client.Table(ctx)

	assert.ErrorIs(t, err, context.Canceled)
}

func TestAnAnswerThatIsNotJSONIsReported(t *testing.T) {
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/counters" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, err := io.WriteString(w, "<html>")
		assert.NoError(t, err)
	})

	_, err := client.Table(t.Context())
	assert.ErrorContains(t, err, "the edge's answer to GET /table is not understood")
	_, err = client.Counters(t.Context())
	assert.EqualError(t, err, "the edge answers with status 502")
}

func newClient(t *testing.T, handler http.HandlerFunc) *edge.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	client := edge.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", server.Listener.Addr().String())
	})
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client
}

func answer(t *testing.T, w http.ResponseWriter, status int, format string, args ...any) {
	t.Helper()
	w.WriteHeader(status)
	_, err := fmt.Fprintf(w, format, args...)
	assert.NoError(t, err)
}
