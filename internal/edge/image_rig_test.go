//go:build edgeimage

package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/certs"
	"github.com/cutover-dev/cutover/internal/edge"
)

// The test of the edge image needs a Docker Engine on this machine, root, and
// the image cutover-base:
//
//	go test -tags edgeimage ./internal/edge
const (
	stateFolder = "/var/lib/cutover"
	patience    = 15 * time.Second
	pollEvery   = 10 * time.Millisecond
	restAfter   = 100 * time.Millisecond // a worker counts when it has sent the answer
	edgeUser    = 10100
	edgeHost    = "members.example.org" // what it is called from outside
)

const (
	forceToken = "only-for-testers"
	visitorKey = "only-for-the-edge"
)

// Two tests at once, of two checkouts, do not meet.
var (
	prefix    = names(os.Getpid())
	edgeImage = "cutover-edge:" + strings.TrimSuffix(prefix, "-")
	edgeName  = prefix + "nginx"
)

// rig is an edge between two small systems.
type rig struct {
	t          testing.TB
	state      string // the edge's volume, on this machine
	secrets    string
	binary     string // of the small systems
	generation uint64
	control    *edge.Client
	browser    *http.Client
	address    string // of the edge
	tlsAddress string
	local      certs.Local
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, state: t.TempDir(), secrets: t.TempDir(), browser: &http.Client{Timeout: patience}}
	r.sweep()
	r.binary = filepath.Join(t.TempDir(), "upstream")
	r.run(append(os.Environ(), "CGO_ENABLED=0"), "go", "build", "-o", r.binary, "./testdata/upstream")
	r.buildImage()

	require.NoError(t, os.Chown(r.state, edgeUser, edgeUser))
	require.NoError(t, os.Mkdir(filepath.Join(r.secrets, "nginx"), 0o755))
	require.NoError(t, os.Chmod(r.secrets, 0o755))
	r.write(r.secret("visitor_key"), visitorKey)
	var err error
	r.local, err = certs.Renew(certs.Local{}, "cutover "+prefix, []string{"localhost", "127.0.0.1", edgeHost}, time.Now())
	require.NoError(t, err)
	r.write(r.secret("tls_certificate"), r.local.Server.Certificate)
	r.write(r.secret("tls_key"), r.local.Server.Key)

	for _, system := range []edge.System{edge.Python, edge.Go} {
		r.docker("network", "create", network(system))
		r.remove("network", "rm", network(system))
		r.remove("rm", "--force", container(system))
		r.startSystem(system, container(system))
	}
	r.remove("rm", "--force", edgeName)
	r.control = edge.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.state, "run", "edge.sock"))
	})
	t.Cleanup(r.control.Close)
	r.startEdge()
	return r
}

// at is the same rig for a subtest.
func (r *rig) at(t testing.TB) *rig {
	r.t = t
	return r
}

// buildImage builds from a context of its own, where the guard is a stand-in.
func (r *rig) buildImage() {
	r.t.Helper()
	folder := r.t.TempDir()
	require.NoError(r.t, os.CopyFS(filepath.Join(folder, "nginx"), os.DirFS("../../nginx")))
	for _, script := range []string{"entrypoint.sh", "break-glass.sh"} {
		require.NoError(r.t, os.Chmod(filepath.Join(folder, "nginx", script), 0o755))
	}
	require.NoError(r.t, os.WriteFile(filepath.Join(folder, "guard"), []byte("#!/bin/sh\n"), 0o755))
	r.remove("image", "rm", "--force", edgeImage)
	r.run(append(os.Environ(), "DOCKER_BUILDKIT=0"), "docker", "build", "-q", "-t", edgeImage,
		"-f", filepath.Join(folder, "nginx", "Dockerfile"), "--build-arg", "GUARD=guard", folder)
}

// startSystem starts one of the small systems under its name in the network.
func (r *rig) startSystem(system edge.System, name string) {
	r.t.Helper()
	alias, port := "flask", ":5000"
	if system == edge.Go {
		alias, port = "goapp", ":8080"
	}
	r.docker("create", "--name", name, "--network", network(system), "--network-alias", alias,
		"cutover-base", "/upstream", string(system), port)
	r.docker("cp", r.binary, name+":/upstream")
	r.docker("start", name)
}

// startEdge starts nginx as compose.yaml does, and waits until it is ready.
func (r *rig) startEdge(flags ...string) {
	r.t.Helper()
	r.docker("rm", "--force", edgeName)
	args := []string{"create", "--name", edgeName, "--network", network(edge.Python), "--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::8443", "--env", "CUTOVER_PLAIN_HTTP=true",
		"--init", "--user", "10100:10100", "--read-only", "--tmpfs", "/tmp:mode=1777,size=64m", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges", "--sysctl", "net.ipv4.tcp_tw_reuse=1", "--volume", r.state + ":" + stateFolder,
		"--volume", r.secrets + ":/run/secrets:ro"}
	r.docker(append(append(args, flags...), edgeImage)...)
	r.docker("network", "connect", network(edge.Go), edgeName)
	r.docker("start", edgeName)
	r.locate()
	r.eventually(func() error {
		upstreams, err := r.control.Upstreams(r.t.Context())
		if err == nil && (len(upstreams[edge.Python]) == 0 || len(upstreams[edge.Go]) == 0) {
			return fmt.Errorf("it knows %v", upstreams)
		}
		return err
	}, "the edge is ready")
	table, err := r.control.Table(r.t.Context())
	require.NoError(r.t, err)
	r.generation = table.Generation
}

// locate finds out where the edge is published.
func (r *rig) locate() {
	r.t.Helper()
	r.address = strings.TrimSpace(r.docker("port", edgeName, "8080/tcp"))
	r.tlsAddress = strings.TrimSpace(r.docker("port", edgeName, "8443/tcp"))
}

// secret is the file of one of the edge's secrets, on this machine.
func (r *rig) secret(name string) string {
	return filepath.Join(r.secrets, "nginx", name)
}

// apply puts routes in force.
func (r *rig) apply(routes ...edge.Route) edge.Table {
	r.t.Helper()
	return r.applyTable(edge.Table{Home: edge.Python, Routes: routes})
}

func (r *rig) applyTable(table edge.Table) edge.Table {
	r.t.Helper()
	r.generation++
	table.Generation = r.generation
	require.NoError(r.t, r.control.Apply(r.t.Context(), table))
	return table
}

// everything is a route for every path.
func everything(weight edge.Weight) edge.Route {
	return edge.Route{Name: "everything", Prefix: "/", Weight: weight}
}

// received is what a small system says that it was asked.
type received struct {
	System   edge.System `json:"system"`
	Instance string      `json:"instance"`
	Method   string      `json:"method"`
	Target   string      `json:"target"`
	Host     string      `json:"host"`
	Length   int64       `json:"length"`
	Header   http.Header `json:"header"`
	Body     string      `json:"body"`
	Arrived  uint64      `json:"arrived"`
}

// get asks the edge; the pairs are headers.
func (r *rig) get(target string, headers ...string) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.address+target, http.NoBody)
	require.NoError(r.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return r.do(request)
}

// do returns the response with its body read.
func (r *rig) do(request *http.Request) *http.Response {
	r.t.Helper()
	response, err := r.try(request)
	require.NoError(r.t, err)
	return response
}

func (r *rig) try(request *http.Request) (*http.Response, error) {
	response, err := r.browser.Do(request)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(response.Body)
	response.Body, err = io.NopCloser(bytes.NewReader(content)), errors.Join(err, response.Body.Close())
	return response, err
}

// describe asks the edge for a path, and is an error where no system answers.
func (r *rig) describe(target string) (received, error) {
	return r.describeAt(r.address, target)
}

func (r *rig) describeAt(address, target string) (received, error) {
	var got received
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+address+target, http.NoBody)
	if err != nil {
		return got, err
	}
	response, err := r.try(request)
	if err != nil {
		return got, err
	}
	if response.StatusCode != http.StatusOK {
		return got, fmt.Errorf("%s is answered with %s", target, response.Status)
	}
	return got, json.NewDecoder(response.Body).Decode(&got)
}

// direct is where a system is for this machine: the edge counts nothing of what
// is asked there.
func (r *rig) direct(system edge.System) string {
	r.t.Helper()
	port := "5000"
	if system == edge.Go {
		port = "8080"
	}
	return net.JoinHostPort(r.host(container(system), system), port)
}

// host is a container's address in the network of a system.
func (r *rig) host(name string, system edge.System) string {
	r.t.Helper()
	return strings.TrimSpace(r.docker("inspect", "--format",
		fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", network(system)), name))
}

func (r *rig) receivedBy(response *http.Response) received {
	r.t.Helper()
	var request received
	require.NoError(r.t, json.NewDecoder(response.Body).Decode(&request))
	return request
}

// put sends any text to the control server.
func (r *rig) put(text string) (status int, answer string) {
	r.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(r.state, "run", "edge.sock"))
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPut, "http://edge/table", strings.NewReader(text))
	require.NoError(r.t, err)
	response, err := transport.RoundTrip(request)
	require.NoError(r.t, err)
	content, err := io.ReadAll(response.Body)
	require.NoError(r.t, err)
	require.NoError(r.t, response.Body.Close())
	return response.StatusCode, string(content)
}

// counted waits until the counters say what they should, and no more.
func (r *rig) counted(before edge.Counters, want map[string]map[edge.System]edge.Classes) {
	r.t.Helper()
	r.eventually(func() error {
		now, err := r.control.Counters(r.t.Context())
		if grown := growth(before, now); err == nil && !assert.ObjectsAreEqual(want, grown) {
			return fmt.Errorf("it counted %v, not %v", grown, want)
		}
		return err
	}, "the edge counted")
	assert.Equal(r.t, want, growth(before, r.counters()), "and no more")
}

// counters waits until they rest.
func (r *rig) counters() edge.Counters {
	r.t.Helper()
	var settled edge.Counters
	var since time.Time
	r.eventually(func() error {
		now, err := r.control.Counters(r.t.Context())
		if err != nil {
			return err
		}
		if since.IsZero() || now.Total != settled.Total {
			settled, since = now, time.Now()
		}
		if time.Since(since) <= restAfter {
			return errors.New("they still grow")
		}
		return nil
	}, "the counters rest")
	return settled
}

// growth is what was counted in between, without zeros.
func growth(before, after edge.Counters) map[string]map[edge.System]edge.Classes {
	grown := map[string]map[edge.System]edge.Classes{}
	for route, systems := range after.Requests {
		for system, classes := range systems {
			for class, count := range classes {
				added := count - before.Requests[route][system][class]
				if added == 0 {
					continue
				}
				if grown[route] == nil {
					grown[route] = map[edge.System]edge.Classes{}
				}
				if grown[route][system] == nil {
					grown[route][system] = edge.Classes{}
				}
				grown[route][system][class] = added
			}
		}
	}
	return grown
}

// eventually asks until the condition returns no error.
func (r *rig) eventually(condition func() error, what string) {
	r.t.Helper()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); ; <-ticker.C {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("not so after %s: %s: %v\n%s", patience, what, err, r.logs())
		}
	}
}

func (r *rig) logs() string {
	out, err := exec.Command("docker", "logs", edgeName).CombinedOutput()
	require.NoError(r.t, err)
	return string(out)
}

func (r *rig) docker(args ...string) string {
	r.t.Helper()
	return r.run(os.Environ(), "docker", args...)
}

func (r *rig) run(environment []string, command string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(command, args...)
	cmd.Env = environment
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(r.t, err, "%s %v: %s", command, args, stderr.String())
	return string(out)
}

// remove removes something when the test or subtest ends, also if it fails.
func (r *rig) remove(args ...string) {
	t := r.t
	t.Cleanup(func() {
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Errorf("docker %v: %v: %s", args, err, out)
		}
	})
}

func network(system edge.System) string {
	return prefix + string(system)
}

func container(system edge.System) string {
	return prefix + string(system)
}
