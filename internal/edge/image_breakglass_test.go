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
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

// EDGE_SLOW=1 has it serve more requests than there are ports.
func TestEdgeBreakGlass(t *testing.T) {
	r := newRig(t)
	for _, story := range []struct {
		name string
		run  func(*rig)
	}{
		{"everything goes to python, and back", glassBreaksAndMends},
		{"it survives restarts", glassSurvivesRestarts},
		{"python is found at its new address", glassFindsPython},
		{"home is go", glassWhereHomeIsGo},
		{"a configuration that does not work", glassWithBrokenConfiguration},
		{"a full volume", glassOnFullVolume},
		{"a table that is not latched", glassWithOpenTable},
		{"an nginx that does not listen", glassWithDeafNginx},
		{"more requests than ports", glassUnderLoad},
		{"wrong usage", glassUsage},
	} {
		t.Run(story.name, func(t *testing.T) {
			story.run(r.at(t))
			r.at(t).mendGlass()
		})
	}
}

func glassBreaksAndMends(r *rig) {
	const reason = "it's \"so\" & $(bad) `too` \\ æ %s \t\n\x01 *"
	goesToGo := []edge.Route{everything(edge.AllGo), {Name: "assets", Prefix: "/assets", Pin: edge.Go}, {Name: "fragments", Prefix: "/htmx", Follows: "everything"}}
	r.apply(goesToGo...)
	require.Equal(r.t, "go", r.get("/").Header.Get("X-Served-By"))
	idle := r.dial()
	_, err := io.WriteString(idle, "GET /"+line+"\r\n")
	require.NoError(r.t, err)
	reader := bufio.NewReader(idle)
	first, err := http.ReadResponse(reader, nil)
	require.NoError(r.t, err)
	r.receivedBy(first)
	slow := r.underWay("GET /?pause=1s" + line + "\r\n")

	begin := time.Now()
	r.script(0, "on", "ola", reason)
	r.t.Logf("on took %s", time.Since(begin).Round(time.Millisecond))

	for i := range 100 {
		for _, target := range []string{"/", "/assets/x", "/htmx/users", "/api/users/?x=1"} {
			conn := r.dial() // each time anew
			_, err := io.WriteString(conn, "GET "+target+line+"Connection: close\r\nX-Cutover-Force: go\r\nX-Cutover-Token: "+forceToken+"\r\n\r\n")
			require.NoError(r.t, err)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(r.t, err)
			require.Equal(r.t, "python", response.Header.Get("X-Served-By"), "%d %s", i, target)
			require.Empty(r.t, response.Cookies())
			got := r.receivedBy(response)
			require.Equal(r.t, edge.Python, got.System)
			require.Equal(r.t, target, got.Target)
			require.NotContains(r.t, got.Header, "X-Cutover-Token")
			require.NoError(r.t, conn.Close())
		}
	}
	answer, err := http.ReadResponse(bufio.NewReader(slow), nil)
	require.NoError(r.t, err, "a request that was on its way is answered")
	assert.Equal(r.t, edge.Go, r.receivedBy(answer).System)
	_, err = reader.ReadByte()
	assert.ErrorIs(r.t, err, io.EOF, "an idle connection ends")

	for _, target := range []string{"/metrics", "//metrics/", "/%6detrics"} {
		hidden := r.get(target)
		assert.Equal(r.t, http.StatusNotFound, hidden.StatusCode, target)
		assert.Empty(r.t, hidden.Header.Get("X-Served-By"), target)
	}
	assert.Equal(r.t, "/health", r.receivedBy(r.get("/health")).Target)
	assert.Equal(r.t, "/health", r.receivedBy(r.get("/health/python")).Target)
	assert.Equal(r.t, http.StatusServiceUnavailable, r.get("/health/go").StatusCode, "nobody asks go")

	// The control server says what is the matter.
	assert.Equal(r.t, http.StatusOK, r.controlStatus("/health"))
	assert.Equal(r.t, http.StatusServiceUnavailable, r.controlStatus("/counters"))
	status, text := r.put(`{"generation":` + strings.Repeat("9", 2<<20))
	assert.Equal(r.t, http.StatusServiceUnavailable, status)
	assert.Regexp(r.t, `^{"error":"break-glass: .+"}$`, text)
	assert.ErrorContains(r.t, r.control.Apply(r.t.Context(), edge.Table{Generation: r.generation + 1, Home: edge.Python}), "break-glass")

	recorded := r.glass()
	assert.Equal(r.t, "ola", recorded["actor"])
	assert.Equal(r.t, "it's \"so\" & $(bad) `too` \\ æ %s     *", recorded["reason"])
	at, err := time.Parse(time.RFC3339, recorded["time"])
	require.NoError(r.t, err)
	assert.WithinDuration(r.t, time.Now(), at, time.Minute)
	said := r.docker("exec", edgeName, "/etc/nginx/break-glass.sh", "status")
	assert.Regexp(r.t, "^nginx answers: python-only\nwhen it starts: python-only, {.*}\n$", said)

	r.script(0, "on", "kari", "once more")
	assert.Equal(r.t, "kari", r.glass()["actor"])

	r.script(0, "off")
	assert.NoFileExists(r.t, filepath.Join(r.state, "break-glass"))
	assert.Equal(r.t, "python", r.get("/").Header.Get("X-Served-By"), "there is no saved table")
	said = r.docker("exec", edgeName, "/etc/nginx/break-glass.sh", "status")
	assert.Equal(r.t, "nginx answers: table\nwhen it starts: table\n", said)
	r.script(0, "off")

	r.generation = 0
	r.apply(goesToGo...)
	r.eventually(func() error {
		got, err := r.describe("/")
		if err == nil && got.System != edge.Go {
			err = fmt.Errorf("%s answers", got.System)
		}
		return err
	}, "go is found again")
	r.apply(append(goesToGo[1:], everything(0))...)
	assert.Equal(r.t, "true", r.get("/htmx/x").Header.Get("HX-Refresh"), "the edge's own answers are there again")
	for range 3 { // and stay
		r.script(0, "on", "a", "b")
		r.script(0, "off")
	}
	r.generation = 0
	r.apply(append(goesToGo[1:], everything(0))...)
	assert.Equal(r.t, "true", r.get("/htmx/x").Header.Get("HX-Refresh"))
}

func glassSurvivesRestarts(r *rig) {
	r.apply(everything(edge.AllGo))
	r.script(0, "on", "ola", "a reason")
	for _, kill := range []func(){
		func() { r.docker("kill", "--signal", "KILL", edgeName) },
		func() { r.docker("stop", edgeName) },
	} {
		kill()
		r.restart()
		for range 20 {
			got, err := r.describe("/")
			require.NoError(r.t, err)
			require.Equal(r.t, edge.Python, got.System)
		}
		assert.Equal(r.t, http.StatusOK, r.controlStatus("/health"))
		assert.Contains(r.t, r.logs(), "the glass is broken")
	}
	r.script(0, "off")
	assert.Equal(r.t, http.StatusOK, r.controlStatus("/table"))
	r.docker("kill", "--signal", "KILL", edgeName)
	r.restart()
	assert.Equal(r.t, http.StatusOK, r.controlStatus("/table"))

	// What cannot be read counts too: somebody wanted it.
	for _, content := range []string{"", "{", "\x00"} {
		require.NoError(r.t, os.WriteFile(filepath.Join(r.state, "break-glass"), []byte(content), 0o600))
		r.docker("kill", "--signal", "KILL", edgeName)
		r.restart()
		assert.Equal(r.t, http.StatusServiceUnavailable, r.controlStatus("/table"))
	}
}

func glassFindsPython(r *rig) {
	r.script(0, "on", "ola", "a reason")
	r.docker("rm", "--force", container(edge.Python))
	squatter := prefix + "squatter"
	r.remove("rm", "--force", squatter)
	r.docker("run", "--detach", "--name", squatter, "--network", network(edge.Python), "cutover-base", "sleep", "300")
	begin := time.Now()
	away := r.get("/")
	assert.Less(r.t, time.Since(begin), 5*time.Second)
	assert.Contains(r.t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, away.StatusCode)
	assert.Equal(r.t, "python", away.Header.Get("X-Served-By"))

	r.startSystem(edge.Python, container(edge.Python))
	begin = time.Now()
	r.eventually(func() error {
		_, err := r.describe("/")
		return err
	}, "python is found")
	assert.Less(r.t, time.Since(begin), 2*time.Second)
}

func glassWhereHomeIsGo(r *rig) {
	home := filepath.Join(r.state, "home")
	r.apply(everything(edge.AllGo))
	r.write(home, "go\n")
	defer r.write(home, "")
	said := r.script(3, "on", "ola", "a reason")
	assert.Contains(r.t, said, "home is go")
	r.unchanged()

	// The variable counts where no file says it.
	r.write(home, "")
	out, err := exec.Command("docker", "exec", "--env", "CUTOVER_HOME=go", edgeName, "/etc/nginx/break-glass.sh", "on", "ola", "a reason").CombinedOutput()
	assert.ErrorContains(r.t, err, "exit status 3", "%s", out)
	r.unchanged()
}

func glassWithBrokenConfiguration(r *rig) {
	defer r.startEdge()
	r.apply(everything(edge.AllGo))
	r.docker("exec", edgeName, "sh", "-c", "cp /tmp/settings.conf /tmp/kept && echo 'no such thing;' >>/tmp/settings.conf")
	said := r.script(4, "on", "ola", "a reason")
	assert.Contains(r.t, said, "nothing was changed")
	assert.Contains(r.t, said, `unknown directive "no"`)
	r.unchanged()

	r.docker("exec", edgeName, "sh", "-c", "cp /tmp/kept /tmp/settings.conf")
	r.script(0, "on", "ola", "a reason")
	r.docker("exec", edgeName, "sh", "-c", "echo 'no such thing;' >>/tmp/settings.conf")
	r.script(4, "off")
	assert.Equal(r.t, "ola", r.glass()["actor"])
	assert.Equal(r.t, "python", r.get("/").Header.Get("X-Served-By"))
	assert.Equal(r.t, http.StatusServiceUnavailable, r.controlStatus("/table"))
	r.docker("exec", edgeName, "sh", "-c", "cp /tmp/kept /tmp/settings.conf")
	r.script(0, "off")
}

// unchanged holds where everything goes to go as before.
func (r *rig) unchanged() {
	r.t.Helper()
	assert.NoFileExists(r.t, filepath.Join(r.state, "break-glass"))
	assert.Equal(r.t, "go", r.get("/").Header.Get("X-Served-By"))
	assert.Equal(r.t, http.StatusOK, r.controlStatus("/table"))
}

func glassOnFullVolume(r *rig) {
	r.apply(everything(edge.AllGo))
	full := filepath.Join(r.state, "break-glass.new")
	require.NoError(r.t, os.Symlink("/dev/full", full))
	said := r.script(0, "on", "ola", "a reason")
	assert.Contains(r.t, said, "does not survive a restart")
	assert.NoFileExists(r.t, filepath.Join(r.state, "break-glass"))
	assert.Equal(r.t, "python", r.get("/").Header.Get("X-Served-By"))
	assert.Equal(r.t, http.StatusServiceUnavailable, r.controlStatus("/table"))

	// Once there is room again, the same command makes it lasting.
	r.script(0, "on", "ola", "a reason")
	assert.Equal(r.t, "ola", r.glass()["actor"])

	// What is there is not lost when it cannot be replaced.
	require.NoError(r.t, os.Symlink("/dev/full", full))
	assert.Empty(r.t, r.script(0, "on", "kari", "a reason"))
	assert.Equal(r.t, "ola", r.glass()["actor"])
}

// What nginx goes on with is what it would have started with.
func glassWithOpenTable(r *rig) {
	saved := filepath.Join(r.state, "table.json")
	defer r.write(saved, "")
	r.script(0, "on", "ola", "a reason")
	table := edge.Table{Generation: 7, Home: edge.Python, Routes: []edge.Route{everything(edge.AllGo)}}
	text, err := json.Marshal(table)
	require.NoError(r.t, err)
	r.write(saved, string(text))
	said := r.script(6, "off")
	assert.Contains(r.t, said, "not latched")
	assert.Equal(r.t, "ola", r.glass()["actor"])
	assert.Equal(r.t, http.StatusServiceUnavailable, r.controlStatus("/table"))

	table.Latched, table.Routes[0].Weight = true, 0
	text, err = json.MarshalIndent(table, "", "  ")
	require.NoError(r.t, err)
	r.write(saved, string(text))
	r.script(0, "off")
	found, err := r.control.Table(r.t.Context())
	require.NoError(r.t, err)
	assert.True(r.t, table.Equal(found))
}

func glassWithDeafNginx(r *rig) {
	defer r.startEdge()
	r.docker("exec", edgeName, "sh", "-c", "kill -STOP $(cat /tmp/nginx.pid)")
	begin := time.Now()
	said := r.script(5, "on", "ola", "a reason")
	assert.Less(r.t, time.Since(begin), 20*time.Second)
	assert.Contains(r.t, said, "when it is started anew")
	r.docker("kill", "--signal", "KILL", edgeName)
	r.restart()
	assert.Equal(r.t, http.StatusServiceUnavailable, r.controlStatus("/table"))
	r.script(0, "off")
}

func glassUsage(r *rig) {
	for _, args := range [][]string{{}, {"on"}, {"on", "ola"}, {"on", "ola", "a", "reason"}, {"off", "x"}, {"--help"}} {
		assert.Contains(r.t, r.script(2, args...), "usage: break-glass.sh on ACTOR REASON | off | status")
	}
	assert.NoFileExists(r.t, filepath.Join(r.state, "break-glass"))
}

// script runs break-glass.sh as the command does, and returns what it says.
func (r *rig) script(want int, args ...string) string {
	r.t.Helper()
	out, err := exec.Command("docker", append([]string{"exec", edgeName, "/etc/nginx/break-glass.sh"}, args...)...).CombinedOutput()
	code := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		code = failed.ExitCode()
	} else {
		require.NoError(r.t, err)
	}
	require.Equal(r.t, want, code, "%q: %s\n%s", args, out, r.logs())
	return string(out)
}

// mendGlass leaves the rig to the next story.
func (r *rig) mendGlass() {
	r.t.Helper()
	r.script(0, "off")
	r.startEdge()
}

// glass is what the file says.
func (r *rig) glass() map[string]string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.state, "break-glass"))
	require.NoError(r.t, err)
	var said map[string]string
	require.NoError(r.t, json.Unmarshal(text, &said), "%s", text)
	return said
}

// restart starts a container that ended, and waits until it answers.
func (r *rig) restart() {
	r.t.Helper()
	r.docker("start", edgeName)
	r.locate()
	r.eventually(func() error {
		_, err := r.describe("/")
		return err
	}, "nginx answers again")
}

// controlStatus asks the control server.
func (r *rig) controlStatus(path string) int {
	r.t.Helper()
	conn := r.dialControl()
	_, err := io.WriteString(conn, "GET "+path+" HTTP/1.0\r\n\r\n")
	require.NoError(r.t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(r.t, err)
	return response.StatusCode
}

func (r *rig) dialControl() net.Conn {
	r.t.Helper()
	conn, err := net.DialTimeout("unix", filepath.Join(r.state, "run", "edge.sock"), patience)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// underWay sends what is written, and waits until it has reached go.
func (r *rig) underWay(text string) net.Conn {
	r.t.Helper()
	arrived := func() (uint64, error) {
		got, err := r.describeAt(r.direct(edge.Go), "/health")
		return got.Arrived, err
	}
	before, err := arrived()
	require.NoError(r.t, err)
	conn := r.dial()
	_, err = io.WriteString(conn, text)
	require.NoError(r.t, err)
	r.eventually(func() error {
		now, err := arrived()
		if err == nil && now == before {
			return errors.New("nothing came")
		}
		return err
	}, "the request arrives")
	return conn
}

// A new connection for each request would use up the ports in a minute.
func glassUnderLoad(r *rig) {
	requests := 2000
	if os.Getenv("EDGE_SLOW") == "1" {
		requests = 45000
	}
	r.script(0, "on", "ola", "a reason")
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	var begun, failed atomic.Int64
	var senders sync.WaitGroup
	for range 16 {
		senders.Go(func() {
			for begun.Add(1) <= int64(requests) {
				response, err := client.Get("http://" + r.address + "/?instant")
				if err != nil {
					failed.Add(1)
					continue
				}
				_, err = io.Copy(io.Discard, response.Body)
				if response.StatusCode != http.StatusOK || err != nil || response.Body.Close() != nil {
					failed.Add(1)
				}
			}
		})
	}
	senders.Wait()
	assert.Zero(r.t, failed.Load())
}
