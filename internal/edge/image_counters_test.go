//go:build edgeimage

package edge_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func countsAddUp(r *rig) {
	r.apply(everything(0), edge.Route{Name: "new", Prefix: "/new", Pin: edge.Go},
		edge.Route{Name: "fragments", Prefix: "/htmx", Follows: "everything"})
	before := r.counters()
	var requests []string
	for range 500 {
		requests = append(requests,
			request(http.MethodGet, "/?instant"), request(http.MethodPost, "/new?instant"),
			request(http.MethodGet, "/?status=404"), request(http.MethodGet, "/new?status=500"),
			request(http.MethodGet, "/metrics"), request(http.MethodGet, "/health/go"),
			request(http.MethodGet, "/htmx/x"), request(http.MethodPut, "/htmx/x"))
	}
	r.flood(requests)
	for range 20 {
		require.NoError(r.t, r.arrives("GET /?hold HTTP/1.1\r\nHost: x\r\n\r\n").Close())
		for _, text := range []string{"GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"} { // and no more
			conn := r.dial()
			_, err := io.WriteString(conn, text)
			require.NoError(r.t, err)
			require.NoError(r.t, conn.Close())
		}
		require.NoError(r.t, r.dial().Close()) // no request
		r.raw("nonsense\r\n\r\n")
		assert.Equal(r.t, http.StatusBadGateway, r.get("/new?drop").StatusCode)
	}
	r.counted(before, map[string]map[edge.System]edge.Classes{
		"everything":   {edge.Python: {"2xx": 500, "4xx": 500, "left": 20}},
		"new":          {edge.Go: {"2xx": 500, "5xx": 500, "none": 20}},
		"fragments":    {edge.Self: {"2xx": 500, "4xx": 500}},
		edge.Unmatched: {edge.Self: {"2xx": 500, "4xx": 520, "left": 40}},
	})
	after := r.counters()
	assert.Equal(r.t, uint64(8*500+5*20), after.Total-before.Total)
	assert.Equal(r.t, after.Total, sumOf(after))
	assert.Equal(r.t, after.Total, timesOf(after))
	assert.Empty(r.t, after.InFlight)
}

func inFlight(r *rig) {
	r.apply(everything(0), edge.Route{Name: "new", Prefix: "/new", Pin: edge.Go})
	before := r.counters()
	conns := []net.Conn{r.arrives("GET /?hold HTTP/1.1\r\nHost: x\r\n\r\n"), r.upload()}
	r.eventually(func() error {
		now, err := r.control.Counters(r.t.Context())
		python := now.InFlight["everything"][edge.Python]
		if err == nil && (python.Count != 2 || python.Oldest < 0.06 || slices.Max(python.Ages[4:]) == 0) {
			err = fmt.Errorf("it sees %v", now.InFlight)
		}
		return err
	}, "two requests grow older")
	for _, conn := range conns {
		require.NoError(r.t, conn.Close())
	}
	r.eventually(func() error {
		now, err := r.control.Counters(r.t.Context())
		if err == nil && len(now.InFlight) > 0 {
			err = fmt.Errorf("it sees %v", now.InFlight)
		}
		return err
	}, "nothing is in flight")

	for bucket, pause := range sorted(map[int]string{5: "160ms", 7: "700ms", 8: "1500ms"}) {
		was := r.counters().Durations["new"][edge.Go]
		r.get("/new?pause=" + pause)
		now := r.counters().Durations["new"][edge.Go]
		was.Buckets[bucket]++
		assert.Equal(r.t, was.Buckets, now.Buckets, pause)
		length, err := time.ParseDuration(pause)
		require.NoError(r.t, err)
		assert.InDelta(r.t, length.Seconds(), now.Sum-was.Sum, 0.2, pause)
	}
	assert.Equal(r.t, uint64(5), r.counters().Total-before.Total)
}

func changesTold(r *rig) {
	const routes, readers = 50, 4
	table := edge.Table{Home: edge.Python}
	var requests []string
	for i := range routes {
		name := fmt.Sprintf("b%d", i)
		table.Routes = append(table.Routes, edge.Route{Name: name, Prefix: "/" + name, Weight: 5000})
		for range 200 {
			requests = append(requests, request(http.MethodGet, "/"+name+"?instant"))
		}
	}
	r.applyTable(table)
	seen := r.counters()
	since := func(sequence uint64, epoch string) edge.Counters {
		changes, err := r.control.CountersSince(r.t.Context(), sequence, epoch)
		require.NoError(r.t, err)
		return changes
	}
	for range 3 {
		r.get("/b7")
		r.get("/b9")
		r.eventually(func() error {
			if changes := since(seen.Sequence, seen.Epoch); len(changes.Requests) != 2 || changes.Total != seen.Total+2 {
				return fmt.Errorf("told are %v", changes.Requests)
			}
			return nil
		}, "two routes changed")
		changes := since(seen.Sequence, seen.Epoch)
		assert.Contains(r.t, changes.Requests, "b7")
		assert.Contains(r.t, changes.Durations, "b9")
		assert.Len(r.t, changes.Durations, 2)
		seen = changes
	}
	for _, everything := range []edge.Counters{since(seen.Sequence+1000, seen.Epoch), since(seen.Sequence, "another")} {
		assert.Len(r.t, everything.Requests["b49"], 2)
		assert.Equal(r.t, uint64(0), everything.Requests["b49"][edge.Go]["2xx"]) // in the table, and not asked yet
	}

	// Each of several who read at once has it all in the end.
	done := make(chan struct{})
	merged := make([]edge.Counters, readers)
	errs := make([]error, readers)
	var asking sync.WaitGroup
	for i := range readers {
		asking.Go(func() {
			for ended := false; !ended && errs[i] == nil; {
				select {
				case <-done:
					ended = true // and once more
				default:
				}
				var changes edge.Counters
				changes, errs[i] = r.control.CountersSince(r.t.Context(), merged[i].Sequence, merged[i].Epoch)
				merged[i] = merge(merged[i], changes)
			}
		})
	}
	r.flood(requests)
	rested := r.counters()
	close(done)
	asking.Wait()
	for i := range readers {
		require.NoError(r.t, errs[i])
		assert.Equal(r.t, rested.Requests, merged[i].Requests)
		assert.Equal(r.t, rested.Durations, merged[i].Durations)
	}
}

func merge(whole, changes edge.Counters) edge.Counters {
	if whole.Epoch == changes.Epoch {
		for route, classes := range whole.Requests {
			if changes.Requests[route] == nil {
				changes.Requests[route] = classes
			}
		}
		for route, times := range whole.Durations {
			if changes.Durations[route] == nil {
				changes.Durations[route] = times
			}
		}
	}
	return changes
}

func killedWorker(r *rig) {
	r.apply(everything(0))
	before := r.counters()
	r.flood(slices.Repeat([]string{request(http.MethodGet, "/?instant")}, 2000))
	for range 4 {
		r.arrives("GET /?hold HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	assert.Equal(r.t, uint64(4), r.counters().InFlight["everything"][edge.Python].Count)

	r.replaceWorkers(func(old []string) {
		for _, worker := range old {
			r.run(os.Environ(), "kill", "-KILL", worker)
		}
	})
	after := r.counters()
	assert.Equal(r.t, before.Epoch, after.Epoch)
	assert.Equal(r.t, uint64(2000), after.Total-before.Total)
	assert.Empty(r.t, after.InFlight)

	// An old worker goes on to count after a reload.
	done := make(chan *http.Response)
	go func() {
		response, err := r.browser.Get("http://" + r.address + "/?pause=2s")
		assert.NoError(r.t, err)
		done <- response
	}()
	r.eventually(func() error {
		if r.counters().InFlight["everything"][edge.Python].Count != 1 {
			return errors.New("not there yet")
		}
		return nil
	}, "a slow request is under way")
	r.docker("exec", edgeName, "nginx", "-s", "reload")
	require.NoError(r.t, (<-done).Body.Close())
	r.counted(after, map[string]map[edge.System]edge.Classes{"everything": {edge.Python: {"2xx": 1}}})
}

// manyRoutes measures how long other requests wait while the counters are read.
func manyRoutes(r *rig) {
	for _, routes := range []int{1000, 10000} {
		table := edge.Table{Home: edge.Python}
		var requests []string
		for i := range routes {
			name := fmt.Sprintf("b%d", i)
			table.Routes = append(table.Routes, edge.Route{Name: name, Prefix: "/" + name, Weight: 5000})
			requests = append(requests, request(http.MethodGet, "/"+name+"?instant"))
		}
		start := time.Now()
		r.applyTable(table)
		applied := time.Since(start)
		r.flood(requests)
		quiet := r.slowest(func() {
			for range 100 {
				r.upstreams()
			}
		})
		var reading, telling time.Duration
		loaded := r.slowest(func() {
			reading = r.usual(func() error {
				_, err := r.control.Counters(r.t.Context())
				return err
			})
		})
		full := r.counters()
		text, err := json.Marshal(full)
		require.NoError(r.t, err)
		require.GreaterOrEqual(r.t, len(full.Requests), routes)
		assert.Equal(r.t, full.Total, sumOf(full))
		for i := range routes {
			name := fmt.Sprintf("b%d", i)
			require.NotZero(r.t, sumOfRoute(full, name), name)
		}
		assert.Len(r.t, full.Durations[edge.AllRoutes], 2, "times are kept together")

		r.flood(requests[:10])
		changes, err := r.control.CountersSince(r.t.Context(), full.Sequence, full.Epoch)
		require.NoError(r.t, err)
		assert.LessOrEqual(r.t, len(changes.Requests), 11) // with the health that was asked for
		polled := r.slowest(func() {
			telling = r.usual(func() error {
				_, err := r.control.CountersSince(r.t.Context(), full.Sequence, full.Epoch)
				return err
			})
		})
		r.t.Logf("%d routes: applied in %s; full text %d KB in %s, others wait at most %s (%s without); 10 changed in %s, others wait at most %s",
			routes, applied, len(text)>>10, reading, loaded, quiet, telling, polled)
	}
}

// usual is the median of how long something takes.
func (r *rig) usual(something func() error) time.Duration {
	r.t.Helper()
	var took []time.Duration
	for range 30 {
		start := time.Now()
		require.NoError(r.t, something())
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// slowest is the longest that a request took while something was done.
func (r *rig) slowest(something func()) time.Duration {
	r.t.Helper()
	const connections = 4 // so that each worker has one
	done := make(chan struct{})
	worst := make([]time.Duration, connections)
	var asking sync.WaitGroup
	for i := range connections {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
		asking.Go(func() {
			defer client.CloseIdleConnections()
			for {
				select {
				case <-done:
					return
				default:
				}
				start := time.Now()
				response, err := client.Get("http://" + r.address + "/health/go")
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				if !assert.NoError(r.t, err) {
					return
				}
				worst[i] = max(worst[i], time.Since(start))
			}
		})
	}
	something()
	close(done)
	asking.Wait()
	return slices.Max(worst)
}

// deadConnection lets idle connections to go die in the very moment that they are
// used: the workers stand still, a request comes, and then the end of the connection.
func deadConnection(r *rig) {
	for _, c := range []death{
		// Known before anything is sent.
		{"reset", http.MethodGet, 1},
		{"reset", http.MethodPost, 1},
		// Known only by the missing answer.
		{"fin", http.MethodGet, 1},
		{"fin", http.MethodHead, 1},
		{"fin", http.MethodPost, 0},
		{"fin", http.MethodPatch, 0},
		{"fin", http.MethodPut, 0},
		{"fin", http.MethodDelete, 0},
	} {
		for tries := 1; !r.dies(c); tries++ {
			require.Less(r.t, tries, 10, "no request came before the end of its connection")
		}
	}

	// A new connection that is refused is not tried again.
	r.startEdge("--env", "CUTOVER_GO_ADDR=goapp:9")
	defer r.startEdge()
	r.apply(everything(edge.AllGo))
	before := r.counters()
	assert.Equal(r.t, http.StatusBadGateway, r.get("/").StatusCode)
	r.counted(before, map[string]map[edge.System]edge.Classes{"everything": {edge.Go: {"none": 1}}})
	assert.Equal(r.t, 1, strings.Count(r.logs(), "connect() failed"))
}

// death is how a connection ends under a request.
type death struct {
	how, method string
	executed    uint64 // how often go gets the request
}

// dies lets a connection die in the moment that a request uses it, and tells
// whether the request was there first, which is up to the machine.
func (r *rig) dies(c death) bool {
	r.t.Helper()
	what := c.method + " " + c.how
	r.apply(everything(edge.AllGo))
	conn := r.dial()
	send := func(text string) {
		_, err := io.WriteString(conn, text)
		require.NoError(r.t, err)
	}
	reader := bufio.NewReader(conn)
	read := func() *http.Response {
		response, err := http.ReadResponse(reader, &http.Request{Method: c.method})
		require.NoError(r.t, err, what)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(r.t, err, what)
		return response
	}
	r.cut("fin") // so that there is one idle connection
	r.counters()
	send(request(c.method, "/?instant"))
	require.Equal(r.t, http.StatusOK, read().StatusCode, what)
	before := r.counters()
	arrived, err := r.describeAt(r.direct(edge.Go), "/health")
	require.NoError(r.t, err)

	pids, err := workers()
	require.NoError(r.t, err)
	r.run(os.Environ(), "kill", append([]string{"-STOP"}, pids...)...)
	send(request(c.method, "/?instant"))
	r.cut(c.how)
	r.run(os.Environ(), "kill", append([]string{"-CONT"}, pids...)...)

	answer := read()
	if answer.StatusCode == http.StatusOK && !r.wasDead(before) {
		// The end of the connection came to the worker before the request did.
		require.NoError(r.t, conn.Close())
		return false
	}
	status := http.StatusBadGateway
	if c.executed > 0 {
		status = http.StatusOK
	}
	assert.Equal(r.t, status, answer.StatusCode, what)
	assert.Equal(r.t, edge.Go, servedBy(answer), what)
	r.counted(before, map[string]map[edge.System]edge.Classes{"everything": {edge.Go: {"none": 1}}})
	now, err := r.describeAt(r.direct(edge.Go), "/health")
	require.NoError(r.t, err)
	assert.Equal(r.t, c.executed, now.Arrived-arrived.Arrived, what)
	return true
}

// wasDead waits until one request was counted, and tells whether its connection
// turned out dead.
func (r *rig) wasDead(before edge.Counters) bool {
	r.t.Helper()
	dead := false
	r.eventually(func() error {
		now, err := r.control.Counters(r.t.Context())
		grown := growth(before, now)["everything"][edge.Go]
		dead = grown["none"] == 1
		if err == nil && len(grown) == 0 {
			return errors.New("nothing was counted")
		}
		return err
	}, "the edge counted")
	return dead
}

// cut makes go close its idle connections.
func (r *rig) cut(how string) {
	r.t.Helper()
	response, err := http.Get("http://" + r.direct(edge.Go) + "/?cut=" + how)
	require.NoError(r.t, err)
	require.NoError(r.t, response.Body.Close())
}

func sumOf(counters edge.Counters) uint64 {
	var sum uint64
	for route := range counters.Requests {
		sum += sumOfRoute(counters, route)
	}
	return sum
}

func sumOfRoute(counters edge.Counters, route string) uint64 {
	var sum uint64
	for _, classes := range counters.Requests[route] {
		for _, count := range classes {
			sum += count
		}
	}
	return sum
}

func timesOf(counters edge.Counters) uint64 {
	var sum uint64
	for _, systems := range counters.Durations {
		for _, times := range systems {
			for _, count := range times.Buckets {
				sum += count
			}
		}
	}
	return sum
}
