//go:build edgeimage

package edge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func newAddress(r *rig) {
	r.apply(everything(edge.AllGo))
	old := r.upstreams()
	r.docker("rm", "--force", container(edge.Go))
	// Somebody else gets the old address.
	squatter := prefix + "squatter"
	r.remove("rm", "--force", squatter)
	r.docker("run", "--detach", "--name", squatter, "--network", network(edge.Go), "cutover-base", "sleep", "300")

	away := r.get("/")
	assert.Contains(r.t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, away.StatusCode)
	assert.Equal(r.t, "go", away.Header.Get("X-Served-By"))
	assert.Equal(r.t, old, r.upstreams(), "the last address is kept")

	r.startSystem(edge.Go, container(edge.Go))
	start := time.Now()
	r.eventually(func() error {
		_, err := r.describe("/")
		return err
	}, "go is found at its new address")
	r.t.Logf("found after %s", time.Since(start).Round(time.Millisecond))
	assert.Less(r.t, time.Since(start), 2*time.Second)
	r.eventually(func() error {
		now, err := r.control.Upstreams(r.t.Context())
		if err == nil && slices.Equal(old[edge.Go], now[edge.Go]) {
			return fmt.Errorf("one still has %v", now[edge.Go])
		}
		return err
	}, "all workers know it")
	assert.Equal(r.t, old[edge.Python], r.upstreams()[edge.Python])
}

func severalAddresses(r *rig) {
	r.apply(everything(edge.AllGo))
	second := prefix + "second"
	r.remove("rm", "--force", second)
	r.startSystem(edge.Go, second)
	r.knowsOfGo(2)
	asked := map[string]bool{}
	r.eventually(func() error {
		got, err := r.describe("/")
		asked[got.Instance] = true
		if err == nil && len(asked) < 2 {
			return fmt.Errorf("only %s is asked", got.Instance)
		}
		return err
	}, "both are asked")
	r.docker("rm", "--force", second)
	r.knowsOfGo(1)
}

// knowsOfGo waits until the edge knows so many addresses.
func (r *rig) knowsOfGo(count int) {
	r.t.Helper()
	r.eventually(func() error {
		now, err := r.control.Upstreams(r.t.Context())
		if err == nil && len(now[edge.Go]) != count {
			return fmt.Errorf("it knows %v", now[edge.Go])
		}
		return err
	}, fmt.Sprintf("the edge knows of %d", count))
}

func newWorkers(r *rig) {
	r.apply(everything(edge.AllGo))
	r.get("/")
	before := r.counters()
	kill := func(workers []string) {
		for _, worker := range workers {
			r.run(os.Environ(), "kill", "-KILL", worker)
		}
	}
	reload := func([]string) { r.docker("exec", edgeName, "nginx", "-s", "reload") }

	for name, replace := range sorted(map[string]func(old []string){"killed": kill, "reloaded": reload}) {
		r.replaceWorkers(replace)
		for range 20 {
			assert.Equal(r.t, http.StatusOK, r.get("/").StatusCode, name)
			assert.Equal(r.t, "go", r.get("/").Header.Get("X-Served-By"), name)
		}
		after := r.counters()
		assert.Equal(r.t, before.Epoch, after.Epoch, name)
		assert.Equal(r.t, r.generation, after.Generation, name)
		assert.Greater(r.t, after.Total, before.Total, name)
	}
}

// replaceWorkers waits until nginx has as many new workers as it had old ones.
func (r *rig) replaceWorkers(replace func(old []string)) {
	r.t.Helper()
	old, err := workers()
	require.NoError(r.t, err)
	replace(old)
	r.eventually(func() error {
		now, err := workers()
		remains := func(pid string) bool { return slices.Contains(old, pid) }
		if err == nil && (len(now) != len(old) || slices.ContainsFunc(now, remains)) {
			return fmt.Errorf("it has %v, and had %v", now, old)
		}
		return err
	}, "nginx has new workers")
}

// workers are the process ids, on this machine, of the workers that accept.
func workers() ([]string, error) {
	out, err := exec.Command("docker", "top", edgeName, "-eo", "pid,args").Output()
	if err != nil {
		return nil, err
	}
	var workers []string
	for line := range strings.Lines(string(out)) {
		pid, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasSuffix(name, "worker process") {
			workers = append(workers, pid)
		}
	}
	return workers, nil
}

func savedTable(r *rig) {
	saved, home := filepath.Join(r.state, "table.json"), filepath.Join(r.state, "home")
	table := r.apply(everything(edge.AllGo))
	epoch := r.counters().Epoch
	text, err := json.Marshal(table)
	require.NoError(r.t, err)

	afterwards := r.t
	afterwards.Cleanup(func() {
		assert.NoError(afterwards, errors.Join(os.RemoveAll(saved), os.RemoveAll(home)))
	})
	// The socket of the killed nginx stays behind.
	r.write(saved, string(text))
	r.docker("kill", "--signal", "KILL", edgeName)
	r.startEdge()
	assert.Equal(r.t, "go", r.get("/").Header.Get("X-Served-By"))
	assert.NotEqual(r.t, epoch, r.counters().Epoch)
	found, err := r.control.Table(r.t.Context())
	require.NoError(r.t, err)
	assert.True(r.t, table.Equal(found))

	for _, c := range []struct{ saved, home, want, log string }{
		{string(text[:len(text)/2]), "", "python", "the saved table is broken"},
		{string(text[:len(text)/2]), "go\n", "go", "everything goes to go"},
		{"", "go", "go", "there is no saved table: everything goes to go"},
		{"", "perl", "python", "the file home holds neither python nor go"},
	} {
		r.write(saved, c.saved)
		r.write(home, c.home)
		r.startEdge()
		assert.Equal(r.t, c.want, r.get("/").Header.Get("X-Served-By"))
		assert.Contains(r.t, r.logs(), c.log)
		found, err := r.control.Table(r.t.Context())
		require.NoError(r.t, err)
		assert.True(r.t, edge.Table{Home: edge.System(c.want)}.Equal(found))
	}
	r.write(saved, "")
	r.write(home, "")
	r.startEdge()
}

func wrongSettings(r *rig) {
	for _, setting := range []string{
		"CUTOVER_HOME=", "CUTOVER_HOME=perl",
		"CUTOVER_PYTHON_ADDR=", "CUTOVER_PYTHON_ADDR=flask", "CUTOVER_PYTHON_ADDR=flask:0",
		"CUTOVER_GO_ADDR=[::1]:5000", "CUTOVER_GO_ADDR=goapp:65536", "CUTOVER_GO_ADDR=:8080",
	} {
		variable, value, _ := strings.Cut(setting, "=")
		out, err := exec.Command("docker", "run", "--rm", "--name", prefix+"wrong", "--user", "10100:10100",
			"--env", setting, edgeImage).CombinedOutput()
		assert.Error(r.t, err, setting)
		assert.Regexp(r.t, variable+` must be .*, not "`+regexp.QuoteMeta(value)+`"`, string(out))
	}
}

// changesUnderLoad sends 300 requests a second over kept-alive connections.
func changesUnderLoad(r *rig) {
	const connections, rate, seconds, changes = 16, 300, 7, 20
	r.apply(everything(0))
	before := r.counters()
	load := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer load.CloseIdleConnections()

	due := make(chan int)
	var failed, served atomic.Int64
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() {
			for i := range due {
				system, err := exchange(load, "http://"+r.address+"/api/users/", i%2 == 0)
				if err != nil {
					r.t.Log(err)
					failed.Add(1)
				}
				if system == edge.Go {
					served.Add(1)
				}
			}
		})
	}
	ticker := time.NewTicker(time.Second / rate)
	for i := range rate * seconds {
		<-ticker.C
		due <- i
		if i%(rate*seconds/changes) == 0 {
			r.apply(everything(edge.Weight(i * int(edge.AllGo) / (rate * seconds))))
		}
	}
	ticker.Stop()
	close(due)
	senders.Wait()

	assert.Zero(r.t, failed.Load())
	golang := uint64(served.Load())
	r.counted(before, map[string]map[edge.System]edge.Classes{"everything": {
		edge.Go: {"2xx": golang}, edge.Python: {"2xx": rate*seconds - golang},
	}})
	assert.NotZero(r.t, golang)
	r.t.Logf("%d requests, %d by go, %d failed", rate*seconds, golang, failed.Load())
}

func exchange(client *http.Client, url string, post bool) (edge.System, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if post {
		method, body = http.MethodPost, strings.NewReader("a body")
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	var got received
	err = json.NewDecoder(response.Body).Decode(&got)
	if closed := response.Body.Close(); err == nil {
		err = closed
	}
	return got.System, err
}

func (r *rig) upstreams() edge.Upstreams {
	r.t.Helper()
	upstreams, err := r.control.Upstreams(r.t.Context())
	require.NoError(r.t, err)
	return upstreams
}

// write writes a file of the edge's volume; an empty one it removes.
func (r *rig) write(path, text string) {
	r.t.Helper()
	if text == "" {
		require.NoError(r.t, os.RemoveAll(path))
		return
	}
	require.NoError(r.t, os.WriteFile(path, []byte(text), 0o644))
}
