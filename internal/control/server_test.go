package control_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// api is a guard's API on real sockets.
type api struct {
	*rig
	client  *control.Client
	traffic *guard.Traffic
	socket  string // of the whole API
	public  string // URL of what may be read
	stop    func()
}

func newAPI(t *testing.T) *api {
	a := &api{rig: newRig(t), traffic: guard.NewTraffic(), socket: filepath.Join(t.TempDir(), "guard.sock")}
	private, err := net.Listen("unix", a.socket)
	require.NoError(t, err)
	public, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a.public = "http://" + public.Addr().String()
	server := control.NewServer(a.writer, a.store, a.traffic, map[edge.System]string{edge.Python: "flask:5000", edge.Go: "goapp:8080"}, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- control.Serve(ctx, private, server.API(), quiet) }()
	go func() { ended <- control.Serve(ctx, public, server.Public(), quiet) }()
	stopped := false
	a.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, errors.Join(<-ended, <-ended))
		}
	}
	a.client = control.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", a.socket)
	})
	t.Cleanup(func() {
		a.client.Close()
		a.stop()
	})
	return a
}

func TestAPI_CarriesAMigrationThere_AndBack(t *testing.T) {
	a := newAPI(t)
	ctx := t.Context()

	moved, err := a.client.AdoptPlan(ctx, control.PlanRequest{Actor: "kari", Plan: plan})
	a.must(moved, err)
	weight := edge.Weight(2550)
	moved, err = a.client.Route(ctx, control.RouteRequest{Route: "auth", Weight: &weight, Generation: 1, Actor: "kari", Reason: "step 1"})
	a.must(moved, err)
	assert.Equal(t, edge.Weight(2550), a.edge.weight())
	moved, err = a.client.Rollback(ctx, control.RollbackRequest{Actor: "kari", Reason: "errors"})
	a.must(moved, err)
	assert.Equal(t, "errors", moved.State.LatchReason)
	moved, err = a.client.Resume(ctx, control.ResumeRequest{Actor: "kari", Reason: "mended", Generation: 3})
	a.must(moved, err)

	status, err := a.client.Status(ctx)
	require.NoError(t, err)
	assert.Equal(t, moved.State, status.State)
	assert.Equal(t, control.EdgeStatus{Reachable: true, Generation: 4, InSync: true}, status.Edge)
	var actions []rollout.Action
	for event, err := range a.client.Events(ctx, 1, false) {
		require.NoError(t, err)
		actions = append(actions, event.Action)
	}
	assert.Equal(t, []rollout.Action{rollout.ActionRoute, rollout.ActionRollback, rollout.ActionResume}, actions)
}

func TestAPI_StatusHasTheDocumentedForm(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	a.must(a.route(2550))
	a.traffic.Observe(counted("e", 0, 0), time.Now())
	a.traffic.Observe(counted("e", 249, 751), time.Now())

	at := regexp.MustCompile(`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
	assert.JSONEq(t, `{
		"schema_version": 1,
		"state": {
			"schema_version": 1, "generation": 2, "phase": "", "step": "",
			"paused": false, "pause_reason": "", "latched": false, "latch_reason": "", "home": "python",
			"changed": {"actor": "kari", "action": "route", "time": "then"},
			"plan": {"name": "p2k16", "hash": "abc"},
			"routes": [
				{"name": "auth", "prefix": "/api/auth/", "weight": 25.5, "pin": ""},
				{"name": "users", "prefix": "/api/users/", "weight": 0, "pin": ""},
				{"name": "assets", "prefix": "/assets/", "weight": 0, "pin": "go"}
			]
		},
		"edge": {"reachable": true, "generation": 2, "in_sync": true, "error": ""},
		"break_glass": {"active": false, "actor": "", "reason": "", "time": ""},
		"jobs_assigned": true, "jobs_error": "",
		"measured": {"auth": 24.9, "users": null, "assets": null}
	}`, at.ReplaceAllString(get(t, a.public+"/status", http.StatusOK), `"time":"then"`))
}

func TestAPI_AnswersErrorsWithTheirCode(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code               rollout.Code
	}{
		"stale":          {"POST", "/v1/route", `{"route":"auth","weight":1,"generation":0,"actor":"kari"}`, 409, rollout.Stale},
		"unknown route":  {"POST", "/v1/route", `{"route":"x","weight":1,"generation":1,"actor":"kari"}`, 404, rollout.UnknownRoute},
		"pinned":         {"POST", "/v1/route", `{"route":"assets","weight":1,"generation":1,"actor":"kari"}`, 422, rollout.Invalid},
		"three decimals": {"POST", "/v1/route", `{"route":"auth","weight":1.005,"generation":1,"actor":"kari"}`, 422, rollout.Invalid},
		"too much":       {"POST", "/v1/route", `{"route":"auth","weight":101,"generation":1,"actor":"kari"}`, 422, rollout.Invalid},
		"no weight":      {"POST", "/v1/route", `{"route":"auth","generation":1,"actor":"kari"}`, 422, rollout.Invalid},
		"no actor":       {"POST", "/v1/route", `{"route":"auth","weight":1,"generation":1}`, 422, rollout.Invalid},
		"misspelled":     {"POST", "/v1/route", `{"route":"auth","wieght":1,"generation":1,"actor":"kari"}`, 422, rollout.Invalid},
		"unknown field":  {"POST", "/v1/route", `{"route":"auth","weight":1,"generation":1,"actor":"kari","force":true}`, 422, rollout.Invalid},
		"not JSON":       {"POST", "/v1/route", `route=auth`, 422, rollout.Invalid},
		"empty":          {"POST", "/v1/route", ``, 422, rollout.Invalid},
		"bad plan":       {"PUT", "/v1/plan", `{"actor":"kari","plan":{"name":"p","hash":"h","routes":[]}}`, 422, rollout.Invalid},
		"no reason":      {"POST", "/v1/resume", `{"actor":"kari","generation":1}`, 422, rollout.Invalid},
		"endless wait":   {"POST", "/v1/rollback", `{"legacy_wait_ms":3600000}`, 422, rollout.Invalid},
		"bad number":     {"GET", "/v1/events?after=x", ``, 422, rollout.Invalid},
		"bad follow":     {"GET", "/v1/events?follow=x", ``, 422, rollout.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			status, failure := a.send(c.method, c.path, c.body)

			assert.Equal(t, c.status, status)
			assert.Equal(t, c.code, failure.Error.Code)
			assert.True(t, strings.HasSuffix(failure.Error.Message, "."), failure.Error.Message)
		})
	}
	assert.Equal(t, uint64(1), a.generation(), "nothing was changed")
}

func TestAPI_AnswersErrorsOfTheSurroundings(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	a.must(a.route(2500))
	route := `{"route":"auth","weight":50,"generation":2,"actor":"kari"}`

	a.python.silent = true
	status, failure := a.send("POST", "/v1/rollback", `{"actor":"kari","reason":"r","legacy_wait_ms":1}`)
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Equal(t, control.LegacySilent, failure.Error.Code)
	a.python.silent = false

	a.edge.set(func(e *fakeEdge) { e.down = true })
	status, failure = a.send("POST", "/v1/route", route)
	assert.Equal(t, http.StatusBadGateway, status)
	assert.Equal(t, control.EdgeUnreachable, failure.Error.Code)
	a.edge.set(func(e *fakeEdge) { e.down = false })

	a.disk.Fill(0)
	status, failure = a.send("POST", "/v1/route", route)
	assert.Equal(t, http.StatusInternalServerError, status)
	assert.Equal(t, control.Internal, failure.Error.Code)
	assert.Contains(t, failure.Error.Message, "no space left on device")
	a.disk.Free()

	a.must(a.rollback())
	other := plan
	other.Hash, other.Routes = "def", plan.Routes[:2]
	_, err := a.client.AdoptPlan(t.Context(), control.PlanRequest{Actor: "kari", Plan: other})
	assert.Equal(t, rollout.PlanDiffers, a.code(err))
	status, failure = a.send("POST", "/v1/route", route)
	assert.Equal(t, http.StatusLocked, status)
	assert.Equal(t, rollout.Latched, failure.Error.Code)
}

func TestAPI_CarriesOutWhatAClientAskedForBeforeItLeft(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	a.must(a.route(2500))
	a.python.takes = 100 * time.Millisecond // long enough to notice that the client says no more
	conn, err := net.Dial("unix", a.socket)
	require.NoError(t, err)
	body := `{"actor":"kari","reason":"errors"}`
	_, err = fmt.Fprintf(conn, "POST /v1/rollback HTTP/1.1\r\nHost: guard\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	require.NoError(t, err)
	require.NoError(t, conn.(*net.UnixConn).CloseWrite())

	response, err := http.ReadResponse(bufio.NewReader(conn), nil)

	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, response.Body.Close())
	require.NoError(t, conn.Close())
	assert.Zero(t, a.edge.weight())
}

func TestClient_TellsARefusalFromAGuardThatIsNotThere(t *testing.T) {
	a := newAPI(t)
	_, err := a.client.Resume(t.Context(), control.ResumeRequest{Actor: "kari"})
	var refusal *control.Error
	require.ErrorAs(t, err, &refusal)

	gone := control.NewClient(func(context.Context) (net.Conn, error) { return nil, errDown })
	_, err = gone.Status(t.Context())
	require.ErrorIs(t, err, errDown)
	assert.NotErrorAs(t, err, new(*control.Error))
}

func TestEvents_AreFollowedUntilTheGuardStops(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	got := make(chan rollout.Event)
	go func() {
		defer close(got)
		for event, err := range a.client.Events(context.Background(), 0, true) {
			if err != nil {
				return
			}
			got <- event
		}
	}()
	assert.Equal(t, rollout.ActionPlan, (<-got).Action)

	a.must(a.route(2500))
	assert.Equal(t, rollout.ActionRoute, (<-got).Action)
	a.must(a.rollback())
	assert.Equal(t, rollout.ActionRollback, (<-got).Action)

	start := time.Now()
	a.stop()
	_, more := <-got
	assert.False(t, more)
	assert.Less(t, time.Since(start), time.Second)
}

func TestPublic_IsReadOnly(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())

	assert.JSONEq(t, `{"status":"ok","service":"guard"}`, get(t, a.public+"/health", http.StatusOK))
	events := strings.Split(strings.TrimSpace(get(t, a.public+"/events", http.StatusOK)), "\n")
	require.Len(t, events, 1)
	var event map[string]any
	require.NoError(t, json.Unmarshal([]byte(events[0]), &event))
	for _, field := range []string{"seq", "time", "generation", "actor", "action", "reason", "before", "after", "evidence"} {
		assert.Contains(t, event, field)
	}
	for _, path := range []string{"/v1/rollback", "/v1/route", "/v1/status", "/rollback"} {
		get(t, a.public+path, http.StatusNotFound)
	}
	for _, path := range []string{"/health", "/status", "/events", "/metrics"} {
		response, err := http.Post(a.public+path, "application/json", strings.NewReader("{}"))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	}
}

func TestMetrics_SayWhatIsRoutedAndCounted(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	a.must(a.route(2550))
	a.traffic.Observe(counted("first nginx", 10, 30), time.Now())
	second := counted("second nginx", 1, 2)
	second.Requests["auth"][edge.Go]["left"] = 3
	a.traffic.Observe(second, time.Now())

	lines := strings.Split(get(t, a.public+"/metrics", http.StatusOK), "\n")
	for _, line := range []string{
		`cutover_edge_requests_total{backend="go",code="2xx",route="auth"} 11`,
		`cutover_edge_requests_total{backend="python",code="2xx",route="auth"} 32`,
		`cutover_edge_requests_total{backend="go",code="5xx",route="auth"} 0`,
		`cutover_edge_requests_total{backend="go",code="left",route="auth"} 3`,
		`cutover_route_weight_ratio{route="auth"} 0.255`,
		`cutover_generation 2`,
		`cutover_latched 0`,
		`cutover_rollbacks_total{cause="operator"} 0`,
		`cutover_rollbacks_total{cause="break-glass"} 0`,
		`cutover_edge_up 1`,
	} {
		assert.Contains(t, lines, line)
	}

	a.must(a.rollback())
	for range 2 { // what was counted once is not counted again
		lines = strings.Split(get(t, a.public+"/metrics", http.StatusOK), "\n")
		assert.Contains(t, lines, `cutover_rollbacks_total{cause="operator"} 1`)
		assert.Contains(t, lines, `cutover_latched 1`)
		assert.Contains(t, lines, `cutover_route_weight_ratio{route="auth"} 0`)
	}
}

func TestMetrics_HaveEverySeriesFromTheStart(t *testing.T) {
	a := newAPI(t)
	follows := plan
	follows.Routes = append(slices.Clone(plan.Routes), rollout.PlanRoute{Name: "htmx", Prefix: "/htmx/", Follows: "users"})
	a.must(a.writer.AdoptPlan(t.Context(), control.PlanRequest{Actor: "kari", Plan: follows}))

	lines := strings.Split(get(t, a.public+"/metrics", http.StatusOK), "\n")

	for _, route := range []string{"auth", "users", "assets", "htmx", "-"} {
		for _, backend := range []string{"python", "go", "edge"} {
			if backend == "edge" && route != "htmx" && route != "-" {
				continue
			}
			for _, code := range []string{"none", "2xx", "3xx", "4xx", "5xx", "left"} {
				assert.Contains(t, lines, fmt.Sprintf(`cutover_edge_requests_total{backend=%q,code=%q,route=%q} 0`, backend, code, route))
			}
			assert.Contains(t, lines, fmt.Sprintf(`cutover_edge_request_duration_seconds_count{backend=%q,route=%q} 0`, backend, route))
		}
	}
	text := strings.Join(lines, "\n")
	assert.Contains(t, lines, `cutover_edge_up 0`)
	assert.NotContains(t, text, `cutover_edge_requests_in_flight{`, "that is not known")
	assert.NotContains(t, text, `cutover_route_weight_ratio{route="htmx"}`)
	a.traffic.Observe(counted("e", 0, 0), time.Now())
	lines = strings.Split(get(t, a.public+"/metrics", http.StatusOK), "\n")
	assert.Contains(t, lines, `cutover_edge_up 1`)
	assert.Contains(t, lines, `cutover_edge_requests_in_flight{backend="go",route="auth"} 0`)
	assert.Contains(t, lines, `cutover_edge_oldest_request_seconds{backend="python",route="users"} 0`)
}

func TestMetrics_HaveHistogramsAndWhatIsInFlight(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	reading := counted("e", 5, 0)
	reading.Durations = map[string]map[edge.System]edge.Histogram{
		"auth": {edge.Go: {Buckets: [edge.Buckets]uint64{0: 1, 5: 2, 11: 2}, Sum: 30.5}},
	}
	reading.InFlight = map[string]map[edge.System]edge.InFlight{"auth": {edge.Go: {Count: 3, Oldest: 12.5}}}
	a.traffic.Observe(reading, time.Now())

	lines := strings.Split(get(t, a.public+"/metrics", http.StatusOK), "\n")

	for _, line := range []string{
		`cutover_edge_request_duration_seconds_bucket{backend="go",route="auth",le="0.005"} 1`,
		`cutover_edge_request_duration_seconds_bucket{backend="go",route="auth",le="0.1"} 1`,
		`cutover_edge_request_duration_seconds_bucket{backend="go",route="auth",le="0.25"} 3`,
		`cutover_edge_request_duration_seconds_bucket{backend="go",route="auth",le="10"} 3`,
		`cutover_edge_request_duration_seconds_bucket{backend="go",route="auth",le="+Inf"} 5`,
		`cutover_edge_request_duration_seconds_sum{backend="go",route="auth"} 30.5`,
		`cutover_edge_request_duration_seconds_count{backend="go",route="auth"} 5`,
		`cutover_edge_requests_in_flight{backend="go",route="auth"} 3`,
		`cutover_edge_oldest_request_seconds{backend="go",route="auth"} 12.5`,
	} {
		assert.Contains(t, lines, line)
	}
}

func TestMetrics_OfManyRoutesLeaveOutWhatIsZero(t *testing.T) {
	a := newAPI(t)
	many := rollout.Plan{Name: "many", Hash: "m"}
	zeros := counted("e", 1, 0)
	for i := range 201 {
		name := fmt.Sprintf("r%d", i)
		many.Routes = append(many.Routes, rollout.PlanRoute{Name: name, Prefix: "/" + name + "/"})
		zeros.Requests[name] = map[edge.System]edge.Classes{edge.Go: {"2xx": 0}}
	}
	a.must(a.writer.AdoptPlan(t.Context(), control.PlanRequest{Actor: "kari", Plan: many}))
	a.traffic.Observe(zeros, time.Now())

	metrics := get(t, a.public+"/metrics", http.StatusOK)

	assert.NotContains(t, metrics, `route="r7",`)
	assert.NotContains(t, metrics, `_seconds_count{backend="go",route="r7"}`)
	assert.Contains(t, metrics, `cutover_edge_requests_total{backend="go",code="2xx",route="auth"} 1`)
	assert.Contains(t, metrics, `cutover_edge_requests_total{backend="edge",code="4xx",route="-"} 0`)
	assert.Contains(t, metrics, `cutover_edge_request_duration_seconds_count{backend="python",route="*"} 0`)
}

func TestMetrics_DoWithoutAJournal(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	a.disk.Put(file("journal.jsonl"), "")

	lines := strings.Split(get(t, a.public+"/metrics", http.StatusOK), "\n")

	assert.Contains(t, lines, `cutover_generation 1`)
	assert.Contains(t, lines, `cutover_latched 0`)
	assert.NotContains(t, lines, `cutover_rollbacks_total{cause="operator"} 0`, "what is not known is not 0")
}

// Helpers

// send speaks to the API without the client, which could not say some things.
func (a *api) send(method, path, body string) (int, control.Failure) {
	a.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", a.socket)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(a.t.Context(), method, "http://guard"+path, strings.NewReader(body))
	require.NoError(a.t, err)
	response, err := transport.RoundTrip(request)
	require.NoError(a.t, err)
	var failure control.Failure
	require.NoError(a.t, json.NewDecoder(response.Body).Decode(&failure))
	require.NoError(a.t, response.Body.Close())
	return response.StatusCode, failure
}

func get(t *testing.T, url string, status int) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	require.Equal(t, status, response.StatusCode)
	return string(body)
}

func counted(epoch string, golang, python uint64) edge.Counters {
	return edge.Counters{Epoch: epoch, Requests: map[string]map[edge.System]edge.Classes{
		"auth": {edge.Go: {"2xx": golang, "5xx": 0}, edge.Python: {"2xx": python}},
	}}
}
