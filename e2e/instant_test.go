package e2e

import (
	"archive/tar"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/engine"
)

// Any image can stand for a system. With two that answer at once, the edge
// itself is asked: 1000 requests a second while weights change, and whether
// every request is counted.
func TestInstantSystems(t *testing.T) {
	checkInstantSystems(t, 8*time.Second, 16, 20_000)
}

func TestVerifyInstantSystems(t *testing.T) {
	checkInstantSystems(t, verifyDuration(t), 50, 100_000)
}

func checkInstantSystems(t *testing.T, duration time.Duration, changes, counted int) {
	env := ownEnvironment(t, "instant", map[string]string{
		"CUTOVER_FLASK_IMAGE": "cutover-instant:5000",
		"CUTOVER_GOAPP_IMAGE": "cutover-instant:8080",
	})
	for _, port := range []string{"5000", "8080"} {
		buildInstant(t, env.engine, "cutover-instant:"+port, port)
	}
	env.up(t)

	t.Run("counters", func(t *testing.T) {
		countExactly(t, env, counted)
	})
	t.Run("weights", func(t *testing.T) {
		changeWeights(t, env, env.loadVisitor(t), trial{1000, duration, changes, http.StatusOK})
	})
}

// buildInstant makes an image of one static program.
func buildInstant(t *testing.T, e *engine.Engine, tag, port string) {
	t.Helper()
	info, err := e.Info(t.Context())
	require.NoError(t, err)
	binary := filepath.Join(t.TempDir(), "instant")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./testdata/instant")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+info.Arch)
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	program, err := os.ReadFile(binary)
	require.NoError(t, err)
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for name, file := range map[string][]byte{
		"Dockerfile": []byte("FROM scratch\nCOPY instant /instant\nCMD [\"/instant\", \":" + port + "\"]\n"),
		"instant":    program,
	} {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(file))}))
		_, err := archive.Write(file)
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, e.BuildImage(t.Context(), engine.Build{Tag: tag, Dockerfile: "Dockerfile", Context: &content}, func(string) {}))
}

// countExactly sends the first requests, so many, kills the guard several times
// meanwhile, and finds every request in its metrics.
func countExactly(t *testing.T, env *environment, total int) {
	person := env.loadVisitor(t)
	env.must(t, "route", "users", "50")
	const senders, kills = 8, 3
	var sent, failed atomic.Int64
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for sent.Add(1) <= int64(total) {
				a, err := person.do(t.Context(), http.MethodGet, "/api/users/1", nil)
				if err != nil || a.status != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	guard := env.stack.Container("guard")
	for i := range kills {
		require.Eventually(t, func() bool { return sent.Load() > int64((i+1)*total/(kills+1)) }, 2*time.Minute, 5*time.Millisecond)
		require.NoError(t, env.engine.Kill(t.Context(), guard))
		require.NoError(t, env.engine.Start(t.Context(), guard))
	}
	sending.Wait()
	assert.Zero(t, failed.Load())
	env.awaitHealthy(t, "guard")
	// The edge hands on what it counted within a second; the guard then reads it.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.EqualValues(c, total, env.edgeRequests(t))
	}, 10*time.Second, 100*time.Millisecond)
	t.Logf("%d requests, the guard killed %d times: every one is counted", total, kills)
}

// edgeRequests is what the guard's metrics say of the users route, from both
// systems.
func (env *environment) edgeRequests(t require.TestingT) float64 {
	sum := 0.0
	for _, metric := range env.metric(t, "cutover_edge_requests_total") {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "route" && label.GetValue() == "users" {
				sum += metric.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// metric reads all series of one of the guard's metrics; none if it does not
// answer.
func (env *environment) metric(t require.TestingT, name string) []*dto.Metric {
	response, err := http.Get(env.guardAddress + "/metrics")
	if err != nil {
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	require.NoError(t, err)
	return families[name].GetMetric()
}
