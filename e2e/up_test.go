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
	"github.com/cutover-dev/cutover/internal/stack"
)

// The command alone makes an environment, finds it again, and removes it
// without a trace.
func TestUpAndDown(t *testing.T) {
	env := ownEnvironment(t, "up", nil)
	s := env.stack

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
	require.Len(t, first, len(stack.ServiceNames()))

	begin = time.Now()
	env.must(t, "up")
	t.Logf("up of what is up: %s", time.Since(begin).Round(time.Millisecond))
	assert.Equal(t, first, env.containers(t), "what runs and has not changed is left alone")

	// An up that is interrupted while it replaces a container can leave the
	// successor without its name.
	for _, service := range []string{"nginx", "guard"} {
		name := s.Container(service)
		require.NoError(t, env.engine.Rename(t.Context(), name, "0123456789ab_"+name))
	}
	env.must(t, "rollback", "--reason", "while names are lost")
	require.NoError(t, env.engine.Rename(t.Context(), s.Container("nginx"), "0123456789ab_"+s.Container("nginx")))
	env.must(t, "up")
	env.must(t, "resume", "--reason", "names are found")
	assert.Equal(t, first, env.containers(t))

	st := env.status(t)
	assert.Equal(t, "python", st.Home)
	for _, service := range st.Services {
		assert.Equal(t, "healthy", service.Health, service.Name)
	}

	// Down keeps the data: the session and the password survive it.
	env.findAddresses(t)
	address := env.address
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
	env.findAddresses(t)
	assert.Equal(t, address, env.address, "the picked port is kept")
	transport.CloseIdleConnections()
	assert.Equal(t, "user5", person.me(t))

	env.must(t, "down", "--volumes")
	volumes, err := env.engine.Volumes(t.Context(), engine.LabelProject+"="+env.project)
	require.NoError(t, err)
	assert.Empty(t, volumes)
	assert.NoDirExists(t, s.Dir(), "no secret stays on this machine")
	assert.Contains(t, env.must(t, "down"), "nothing was removed")
}

// ownEnvironment is one that a story brings up with the command alone; nothing
// of it stays.
func ownEnvironment(t *testing.T, name string, variables map[string]string) *environment {
	t.Helper()
	env := &environment{project: fmt.Sprintf("%s%d-%s", projectPrefix, os.Getpid(), name), started: time.Now(), variables: variables}
	var err error
	env.engine, err = engine.Connect(t.Context())
	require.NoError(t, err)
	env.stack, err = newStack(env.engine, env.project)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, env.close()) })
	env.keepArtifacts(t)
	return env
}

// up brings an environment of its own up, and finds its addresses.
func (env *environment) up(t *testing.T) {
	t.Helper()
	env.must(t, "up")
	env.findAddresses(t)
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

// findAddresses asks where the environment's ports are published.
func (env *environment) findAddresses(t *testing.T) {
	t.Helper()
	_, ports, err := env.stack.Services(t.Context())
	require.NoError(t, err)
	env.address = fmt.Sprintf("http://127.0.0.1:%d", ports.EdgeHTTP)
	env.tlsAddress = fmt.Sprintf("https://127.0.0.1:%d", ports.EdgeHTTPS)
	env.guardAddress = fmt.Sprintf("http://127.0.0.1:%d", ports.Guard)
}
