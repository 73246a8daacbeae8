package e2e

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// The legacy system's own unit tests pass in the image that runs it.
func TestLegacySystemsOwnTests(t *testing.T) {
	env := useShared(t)
	flask, err := env.engine.Inspect(t.Context(), env.stack.Container("flask"))
	require.NoError(t, err)
	c, err := testcontainers.GenericContainer(t.Context(), testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:      flask.Image,
			Entrypoint: []string{"sh", "-c", "cd /app && exec python3 -B -m unittest discover"},
			WaitingFor: wait.ForExit().WithExitTimeout(2 * time.Minute),
		},
		Started: true,
	})
	testcontainers.CleanupContainer(t, c)
	require.NoError(t, err)
	log, err := c.Logs(t.Context())
	require.NoError(t, err)
	defer func() { assert.NoError(t, log.Close()) }()
	output, err := io.ReadAll(log)
	require.NoError(t, err)
	state, err := c.State(t.Context())
	require.NoError(t, err)
	assert.Zero(t, state.ExitCode, "%s", output)
	assert.Regexp(t, `Ran [1-9]\d* tests`, string(output))
}
