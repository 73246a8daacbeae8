package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/engine"
)

// The command alone makes an environment, finds it again, and removes it
// without a trace.
func TestUpAndDown(t *testing.T) {
	project := fmt.Sprintf("%s%d-up", projectPrefix, os.Getpid())
	e, err := engine.Connect(t.Context())
	require.NoError(t, err)
	s, err := newStack(e, project)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		assert.NoError(t, s.Down(ctx, true))
		assert.NoError(t, os.RemoveAll(s.Dir()))
		assert.NoError(t, e.Close())
	})
	env := &environment{project: project, engine: e, stack: s}
	env.keepArtifacts(t)

	// Interrupted at some moment, it goes on from there.
	for _, after := range []time.Duration{300 * time.Millisecond, 2 * time.Second} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		run := env.run(ctx, "up")
		cancel()
		require.Contains(t, []int{0, 130}, run.code, run.stderr)
	}
	begin := time.Now()
	env.must(t, "up")
	t.Logf("up after an interruption: %s", time.Since(begin).Round(time.Millisecond))
	first := env.containers(t)
	require.Len(t, first, 7)

	begin = time.Now()
	env.must(t, "up")
	t.Logf("up of what is up: %s", time.Since(begin).Round(time.Millisecond))
	assert.Equal(t, first, env.containers(t), "what runs and has not changed is left alone")

	st := env.status(t)
	assert.Equal(t, "python", st.Home)
	for _, service := range st.Services {
		assert.Equal(t, "healthy", service.Health, service.Name)
	}

	// Down keeps the data: the session and the password survive it.
	env.address = env.edgeAddress(t)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	person := env.newVisitor(transport)
	require.NoError(t, person.login(t.Context(), "user5"))
	begin = time.Now()
	env.must(t, "down")
	t.Logf("down: %s", time.Since(begin).Round(time.Millisecond))
	assert.Empty(t, env.containers(t))
	assert.Equal(t, 5, env.run(t.Context(), "status").code)
	begin = time.Now()
	env.must(t, "up")
	t.Logf("up after down: %s", time.Since(begin).Round(time.Millisecond))
	assert.Equal(t, env.address, env.edgeAddress(t), "the picked port is kept")
	transport.CloseIdleConnections()
	assert.Equal(t, "user5", person.me(t))

	env.must(t, "down", "--volumes")
	volumes, err := e.Volumes(t.Context(), engine.LabelProject+"="+project)
	require.NoError(t, err)
	assert.Empty(t, volumes)
	assert.NoDirExists(t, s.Dir(), "no secret stays on this machine")
	assert.Contains(t, env.must(t, "down"), "nothing was removed")
}

// containers are the IDs of the environment's containers.
func (env *environment) containers(t *testing.T) []string {
	t.Helper()
	list, err := env.engine.Containers(t.Context(), env.project)
	require.NoError(t, err)
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids
}

func (env *environment) edgeAddress(t *testing.T) string {
	t.Helper()
	_, ports, err := env.stack.Services(t.Context())
	require.NoError(t, err)
	return fmt.Sprintf("http://127.0.0.1:%d", ports.EdgeHTTP)
}
