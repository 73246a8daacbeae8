package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// TestMain lets the test's own binary be the guard, so that a guard can be
// killed.
func TestMain(m *testing.M) {
	if os.Getenv("GUARD_TEST_AS_GUARD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestServe_StopsWithinASecond(t *testing.T) {
	site := newSite(t)
	guard := site.serve()
	following, err := http.Get(guard.public + "/events?follow=true")
	require.NoError(t, err)
	defer func() { require.NoError(t, following.Body.Close()) }()
	start := time.Now()

	require.NoError(t, guard.cmd.Process.Signal(syscall.SIGTERM))

	require.NoError(t, guard.cmd.Wait(), guard.log)
	assert.Less(t, time.Since(start), time.Second)
}

func TestServe_KilledLosesNothing(t *testing.T) {
	site := newSite(t)
	guard := site.serve()
	site.adoptPlan()
	site.route(25)
	require.NoError(t, guard.cmd.Process.Kill())
	require.Error(t, guard.cmd.Wait())

	site.serve() // although the killed one left its socket and its lock file

	status, err := site.client.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, uint64(2), status.State.Generation)
	assert.Equal(t, edge.Weight(2500), status.State.Routes[0].Weight)
	assert.Equal(t, edge.Weight(2500), site.edge.weight())
}

func TestServe_WaitsForTheLock(t *testing.T) {
	site := newSite(t)
	first := site.serve()
	second := site.command("serve", "--listen", "127.0.0.1:0")
	log := &buffer{}
	second.Stderr = log
	require.NoError(t, second.Start())
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "waiting for the lock") }, 5*time.Second, 10*time.Millisecond)

	require.NoError(t, first.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, first.cmd.Wait())

	require.Eventually(t, func() bool { return strings.Contains(log.String(), "the guard is serving") }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, second.Process.Signal(syscall.SIGTERM))
	require.NoError(t, second.Wait())
}

func TestRollback_WorksWithoutAGuard(t *testing.T) {
	site := newSite(t)
	guard := site.serve()
	site.adoptPlan()
	site.route(25)
	require.NoError(t, guard.cmd.Process.Kill())
	require.Error(t, guard.cmd.Wait())

	moved, code := site.rollback("--actor", "kari", "--reason", "the guard is dead")

	assert.Equal(t, exitOK, code)
	assert.True(t, moved.Applied)
	assert.True(t, moved.Recorded)
	assert.Equal(t, uint64(3), moved.State.Generation)
	assert.Equal(t, "kari", moved.Event.Actor)
	assert.Zero(t, site.edge.weight())
	site.serve()
	status, err := site.client.Status(t.Context())
	require.NoError(t, err)
	assert.True(t, status.State.Latched)
	assert.Equal(t, "the guard is dead", status.State.LatchReason)
}

func TestRollback_FailsWhileAGuardHoldsTheLock(t *testing.T) {
	site := newSite(t)
	site.serve()
	start := time.Now()

	code, out, _ := site.run("rollback", "--actor", "kari", "--reason", "r")

	assert.Equal(t, exitRollbackFailed, code)
	assert.Contains(t, out, filepath.Join(site.dir, "lock"))
	assert.GreaterOrEqual(t, time.Since(start), lockWait)
}

func TestRollback_FailsWhenPythonIsSilent(t *testing.T) {
	site := newSite(t)
	site.python.Close()

	code, out, _ := site.run("rollback", "--actor", "kari", "--reason", "r", "--legacy-wait", "3s")

	assert.Equal(t, exitRollbackFailed, code)
	var failure control.Failure
	require.NoError(t, json.Unmarshal([]byte(out), &failure))
	assert.Equal(t, control.LegacySilent, failure.Error.Code)

	moved, code := site.rollback("--actor", "kari", "--reason", "r", "--force")
	assert.Equal(t, exitOK, code)
	assert.True(t, moved.Applied)
}

func TestRollback_FailsWhenTheEdgeDoesNotTakeIt(t *testing.T) {
	site := newSite(t)
	site.edge.server.Close()

	moved, code := site.rollback("--actor", "kari", "--reason", "r")

	assert.Equal(t, exitRollbackFailed, code)
	assert.False(t, moved.Applied)
	assert.True(t, moved.Recorded)
}

func TestRollback_SaysThatItIsNeitherAppliedNorRecorded(t *testing.T) {
	site := newSite(t)
	site.edge.server.Close()
	require.NoError(t, os.Mkdir(filepath.Join(site.dir, "journal.jsonl"), 0o700)) // nothing can be recorded there

	moved, code := site.rollback("--actor", "kari", "--reason", "r")

	assert.Equal(t, exitRollbackFailed, code)
	assert.False(t, moved.Applied)
	assert.False(t, moved.Recorded)
	assert.True(t, moved.State.Latched, "it is no refusal")
}

func TestRollback_WithBrokenGlassIsRecorded(t *testing.T) {
	site := newSite(t)
	guard := site.serve()
	site.adoptPlan()
	site.route(25)
	require.NoError(t, guard.cmd.Process.Kill())
	require.Error(t, guard.cmd.Wait())
	site.edge.server.Close()
	site.python.Close()
	glass := filepath.Join(site.dir, "break-glass")
	require.NoError(t, os.WriteFile(glass, []byte(`{"actor":"ola","reason":"fire","time":"2026-01-02T03:04:05Z"}`), 0o600))

	moved, code := site.rollback("--actor", "kari", "--reason", "r")

	assert.Equal(t, exitOK, code)
	assert.True(t, moved.Applied)
	assert.True(t, moved.Recorded)
	assert.True(t, moved.State.Latched)
	assert.Equal(t, "ola", moved.Event.Actor)
	assert.Equal(t, "break-glass", moved.Event.Evidence["cause"])
	moved, code = site.rollback("--actor", "kari", "--reason", "r")
	assert.Equal(t, exitOK, code)
	assert.Nil(t, moved.Event)
}

func TestServe_WatchesTheEdge(t *testing.T) {
	site := newSite(t)
	site.edge.count(3)
	guard := site.serve()
	site.edge.count(4)

	require.Eventually(t, func() bool {
		_, out, _ := site.run("get", guard.public+"/metrics")
		return strings.Contains(out, `cutover_edge_requests_total{backend="go",code="2xx",route="auth"} 7`)
	}, 5*time.Second, 50*time.Millisecond)
	site.edge.mu.Lock()
	defer site.edge.mu.Unlock()
	assert.Equal(t, 1, site.edge.wholeReadings)
}

func TestRollback_AsksPythonTheWayOfTheUsers(t *testing.T) {
	site := newSite(t)
	nginx := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "nginx")
		w.Header().Set("X-Served-By", "python")
		w.WriteHeader(http.StatusBadGateway)
		_, err := io.WriteString(w, "<hr><center>nginx</center>")
		assert.NoError(t, err)
	}))
	defer nginx.Close()
	site.env["CUTOVER_EDGE_ADDR"] = nginx.Listener.Addr().String()

	code, out, _ := site.run("rollback", "--actor", "kari", "--reason", "r", "--legacy-wait", "3s")

	assert.Equal(t, exitRollbackFailed, code)
	assert.Contains(t, out, string(control.LegacySilent))
	assert.Contains(t, out, "nginx gets no answer from python")
}

func TestGet_PrintsTheAnswer(t *testing.T) {
	site := newSite(t)
	guard := site.serve()
	socket := "unix:" + filepath.Join(site.dir, "run", "edge.sock")
	for _, c := range []struct {
		code int
		args []string
		out  string
	}{
		{exitOK, []string{socket, "/table"}, `"home":"python"`},
		{exitOK, []string{guard.public + "/health"}, `"service":"guard"`},
		{exitOK, []string{guard.public, "health"}, `"service":"guard"`},
		{exitFailed, []string{socket}, "404"},
		{exitUsage, []string{filepath.Join(site.dir, "run", "edge.sock"), "/table"}, ""},
		{exitUsage, nil, ""},
	} {
		code, out, problem := site.run(append([]string{"get"}, c.args...)...)

		assert.Equal(t, c.code, code, "%v: %s", c.args, problem)
		assert.Contains(t, out, c.out)
	}
}

func TestHealth_TellsByItsExitCode(t *testing.T) {
	site := newSite(t)
	guard := site.serve()
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitOK, []string{guard.public + "/health"}},
		{exitFailed, []string{guard.public + "/nothing"}},
		{exitOK, []string{"unix:" + filepath.Join(site.dir, "run", "edge.sock"), "/table"}},
		{exitFailed, []string{"unix:" + filepath.Join(site.dir, "run", "none.sock"), "/table"}},
		{exitUsage, []string{"ftp://127.0.0.1/"}},
		{exitUsage, nil},
	} {
		code, _, problem := site.run(append([]string{"health"}, c.args...)...)

		assert.Equal(t, c.code, code, "%v: %s", c.args, problem)
	}
}

func TestRun_RefusesWhatItCannotUse(t *testing.T) {
	site := newSite(t)
	for name, c := range map[string]struct {
		args     []string
		env, val string
		problem  string
	}{
		"no command":      {nil, "", "", "a command is missing"},
		"unknown command": {[]string{"sing"}, "", "", `no command "sing"`},
		"unknown flag":    {[]string{"serve", "--loud"}, "", "", "loud"},
		"an argument":     {[]string{"serve", "now"}, "", "", "takes no arguments"},
		"address":         {[]string{"serve"}, "CUTOVER_PYTHON_ADDR", "flask", "CUTOVER_PYTHON_ADDR"},
		"port":            {[]string{"serve"}, "CUTOVER_GO_ADDR", "goapp:http", "CUTOVER_GO_ADDR"},
		"edge address":    {[]string{"serve"}, "CUTOVER_EDGE_ADDR", "nginx", "CUTOVER_EDGE_ADDR"},
		"home":            {[]string{"rollback"}, "CUTOVER_HOME", "ruby", "CUTOVER_HOME"},
		"network":         {[]string{"dial", "udp", "x"}, "", "", "unix or tcp"},
	} {
		t.Run(name, func(t *testing.T) {
			before := site.env[c.env]
			site.env[c.env] = c.val
			defer func() { site.env[c.env] = before }()

			code, _, problem := site.run(c.args...)

			assert.Equal(t, exitUsage, code)
			assert.Contains(t, problem, c.problem)
		})
	}
	code, out, _ := site.run("serve", "-h")
	assert.Equal(t, exitOK, code)
	assert.Contains(t, out, "guard rollback")
}

// site is a folder, an edge and a python for guards to work with.
type site struct {
	t      *testing.T
	dir    string
	env    map[string]string
	edge   *edgeServer
	python *httptest.Server
	client *control.Client
}

func newSite(t *testing.T) *site {
	dir := t.TempDir()
	s := &site{
		t:      t,
		dir:    dir,
		edge:   newEdgeServer(t, filepath.Join(dir, "run", "edge.sock")),
		python: httptest.NewServer(http.NotFoundHandler()),
	}
	t.Cleanup(s.python.Close)
	s.env = map[string]string{
		"CUTOVER_PYTHON_ADDR": s.python.Listener.Addr().String(),
		"CUTOVER_GO_ADDR":     "goapp:8080",
		"CUTOVER_HOME":        "python",
		"CUTOVER_DIR":         dir,
	}
	s.client = control.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "run", "guard.sock"))
	})
	t.Cleanup(s.client.Close)
	return s
}

// run carries out a command in the test's own process.
func (s *site) run(args ...string) (code int, out, problem string) {
	var stdout, stderr bytes.Buffer
	code = run(args, streams{in: strings.NewReader(""), out: &stdout, err: &stderr}, func(name string) string { return s.env[name] })
	return code, stdout.String(), stderr.String()
}

func (s *site) rollback(args ...string) (control.Moved, int) {
	s.t.Helper()
	code, out, problem := s.run(append([]string{"rollback"}, args...)...)
	var moved control.Moved
	require.NoError(s.t, json.Unmarshal([]byte(out), &moved), problem)
	return moved, code
}

// command carries out a command in a process of its own.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	// The race detector would sleep for a second at the end.
	cmd.Env = append(os.Environ(), "GUARD_TEST_AS_GUARD=1", "GORACE=atexit_sleep_ms=0")
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	s.t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			assert.NoError(s.t, cmd.Process.Kill())
			assert.Error(s.t, cmd.Wait())
		}
	})
	return cmd
}

type process struct {
	cmd    *exec.Cmd
	log    *buffer
	public string
}

// serve starts a guard, and waits until it has found the edge.
func (s *site) serve() process {
	s.t.Helper()
	p := process{cmd: s.command("serve", "--listen", "127.0.0.1:0"), log: &buffer{}}
	p.cmd.Stderr = p.log
	require.NoError(s.t, p.cmd.Start())
	require.Eventually(s.t, func() bool {
		status, err := s.client.Status(s.t.Context())
		return err == nil && status.Edge.InSync
	}, 10*time.Second, 10*time.Millisecond, p.log)
	first, _, _ := strings.Cut(p.log.String()[strings.Index(p.log.String(), `"public":"`)+len(`"public":"`):], `"`)
	p.public = "http://" + first
	return p
}

func (s *site) adoptPlan() {
	s.t.Helper()
	_, err := s.client.AdoptPlan(s.t.Context(), control.PlanRequest{Actor: "kari", Plan: rollout.Plan{
		Name: "p", Hash: "h", Routes: []rollout.PlanRoute{{Name: "auth", Prefix: "/api/auth/"}},
	}})
	require.NoError(s.t, err)
}

func (s *site) route(percent edge.Weight) {
	s.t.Helper()
	weight := percent * 100
	_, err := s.client.Route(s.t.Context(), control.RouteRequest{Route: "auth", Weight: &weight, Generation: 1, Actor: "kari"})
	require.NoError(s.t, err)
}

// edgeServer is an nginx as the guard sees it.
type edgeServer struct {
	server *http.Server
	mu     sync.Mutex
	table  edge.Table

	counted       uint64 // requests, which is also the sequence
	wholeReadings int
}

func newEdgeServer(t *testing.T, socket string) *edgeServer {
	require.NoError(t, os.MkdirAll(filepath.Dir(socket), 0o700))
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	e := &edgeServer{table: edge.Table{Home: edge.Python}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /table", e.get)
	mux.HandleFunc("PUT /table", e.put)
	mux.HandleFunc("GET /counters", e.counters)
	e.server = &http.Server{Handler: mux}
	ended := make(chan error, 1)
	go func() { ended <- e.server.Serve(listener) }()
	t.Cleanup(func() {
		assert.NoError(t, e.server.Close())
		assert.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return e
}

func (e *edgeServer) get(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = json.NewEncoder(w).Encode(e.table) // a guard that was killed does not read it
}

func (e *edgeServer) put(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var table edge.Table
	switch err := json.NewDecoder(r.Body).Decode(&table); {
	case err != nil:
		w.WriteHeader(http.StatusUnprocessableEntity)
	case table.Generation < e.table.Generation:
		w.WriteHeader(http.StatusConflict)
	default:
		e.table = table
	}
	_ = json.NewEncoder(w).Encode(map[string]uint64{"generation": e.table.Generation})
}

func (e *edgeServer) count(requests uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counted += requests
}

func (e *edgeServer) counters(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	answer := edge.Counters{Epoch: "e p&och", Sequence: e.counted}
	known := r.FormValue("epoch") == answer.Epoch
	if !known {
		e.wholeReadings++
	}
	if !known || r.FormValue("since") != strconv.FormatUint(e.counted, 10) {
		answer.Requests = map[string]map[edge.System]edge.Classes{"auth": {edge.Go: {"2xx": e.counted}}}
	}
	_ = json.NewEncoder(w).Encode(answer) // a guard that was killed does not read it
}

func (e *edgeServer) weight() edge.Weight {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.table.Routes) == 0 {
		return 0
	}
	return e.table.Routes[0].Weight
}

// buffer may be read while a process writes to it.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
