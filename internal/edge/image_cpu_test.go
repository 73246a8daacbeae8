//go:build edgeimage

package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

// plainServer is what the edge is measured against, in the same nginx: a bare
// proxy_pass to go with the headers of the strategy's own example, without a log.
const plainServer = `
  upstream plain {
    server goapp:8080;
    keepalive 128;
    keepalive_requests 100000;
  }
  server {
    listen 8081;
    access_log off;
    location / {
      proxy_pass http://plain;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
    }
  }
`

// sameServer is the edge's own server without what it does in Lua: all its
// headers, its log, and a proxy_pass to go.
const sameServer = `
  server {
    listen 8082;
    include /etc/nginx/shared/public.conf;
    location / {
      proxy_pass http://plain;
    }
  }
`

// BenchmarkEdgeCPU prints what the edge costs its worker for each request, above
// a plain proxy_pass to the same system in the same nginx. They alternate in small
// batches of requests on kept-alive connections, and the quietest fifth of the
// batches counts: throughput, and the other batches, say more of what else the
// machine does.
func BenchmarkEdgeCPU(b *testing.B) {
	const connections, batch, unmeasured, rounds = 8, 800, 12, 60
	r := newRig(b)
	config, err := os.ReadFile("../../nginx/nginx.conf")
	require.NoError(b, err)
	const before = "  # The control server"
	require.Contains(b, string(config), before)
	measured := filepath.Join(b.TempDir(), "nginx.conf")
	r.write(measured, strings.Replace(string(config), before, plainServer+sameServer+before, 1))
	r.startEdge("--volume", measured+":/etc/nginx/nginx.conf:ro")
	routes := []edge.Route{everything(5000)}
	for i := range 20 {
		name := fmt.Sprintf("r%d", i)
		routes = append(routes, edge.Route{Name: name, Prefix: "/api/" + name, Weight: edge.AllGo})
	}
	r.apply(routes...)

	servers := []string{"8081", "8082", "8080"}
	conns, costs := map[string][]net.Conn{}, map[string][]time.Duration{}
	for _, port := range servers {
		for range connections {
			conn, err := net.Dial("tcp", net.JoinHostPort(r.host(edgeName, edge.Go), port))
			require.NoError(b, err)
			b.Cleanup(func() { _ = conn.Close() })
			conns[port] = append(conns[port], conn)
		}
	}
	pids, err := workers()
	require.NoError(b, err)
	b.ResetTimer()
	for round := range unmeasured + rounds {
		for _, port := range servers {
			start := workerTime(b, pids)
			for _, err := range volley(conns[port], batch) {
				require.NoError(b, err)
			}
			if round >= unmeasured { // compiled by then
				costs[port] = append(costs[port], (workerTime(b, pids)-start)/batch)
			}
		}
	}
	plain, same, whole := quiet(costs["8081"]), quiet(costs["8082"]), quiet(costs["8080"])
	fmt.Printf("edge CPU per request: plain %.1f µs, edge %.1f µs, ratio %.2f, difference %+.1f µs "+
		"(headers and log %+.1f, decision and counting %+.1f)\n",
		plain, whole, whole/plain, whole-plain, same-plain, whole-same)
	b.ReportMetric(whole-plain, "µs/request")
	b.ReportMetric(0, "ns/op")
}

// volley sends so many requests over the connections, and waits for the answers.
func volley(conns []net.Conn, count int) []error {
	errs := make([]error, len(conns))
	var senders sync.WaitGroup
	for i, conn := range conns {
		senders.Go(func() {
			reader := bufio.NewReader(conn)
			for range count / len(conns) {
				_, err := io.WriteString(conn, "GET /api/r7/17/badges?instant HTTP/1.1\r\nHost: example.org\r\n"+
					"User-Agent: measurement\r\nAccept: */*\r\nCookie: session_id=0123456789012345678901234567890123456789012; "+
					"cutover_visitor=0123456789abcdef0123456789abcdef\r\n\r\n")
				if err != nil {
					errs[i] = err
					return
				}
				response, err := http.ReadResponse(reader, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	senders.Wait()
	return errs
}

// workerTime is the CPU time of nginx's workers.
func workerTime(t testing.TB, pids []string) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile("/proc/" + pid + "/schedstat")
		require.NoError(t, err)
		nanoseconds, err := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
		require.NoError(t, err)
		sum += time.Duration(nanoseconds)
	}
	return sum
}

// quiet is where the quietest fifth of the values ends, in microseconds.
func quiet(values []time.Duration) float64 {
	return float64(slices.Sorted(slices.Values(values))[len(values)/5]) / float64(time.Microsecond)
}
