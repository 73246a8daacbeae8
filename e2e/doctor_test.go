package e2e

import (
	"encoding/json"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// diagnosis is what doctor --json says.
type diagnosis struct {
	Verdict string
	Checks  []struct{ Name, Verdict, Evidence, Remedy string }
}

func (env *environment) doctor(t *testing.T) (diagnosis, int) {
	t.Helper()
	run := env.run(t.Context(), "doctor", "--json")
	var d diagnosis
	require.NoError(t, json.Unmarshal([]byte(run.stdout), &d), "%s%s", run.stdout, run.stderr)
	return d, run.code
}

func (d diagnosis) failed() (names []string) {
	for _, check := range d.Checks {
		if check.Verdict == "fail" {
			names = append(names, check.Name)
		}
	}
	return names
}

// The doctor finds what would keep the environment from coming up, before it
// is tried.
func TestDoctor(t *testing.T) {
	healthy, code := ownEnvironment(t, "doctor", nil).doctor(t)
	assert.Zero(t, code)
	assert.Equal(t, "pass", healthy.Verdict)
	assert.Empty(t, healthy.failed(), "%v", healthy)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, taken.Close()) }()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	ill, code := ownEnvironment(t, "ill", map[string]string{
		"CUTOVER_EDGE_HTTP_PORT": port,
		"CUTOVER_GOAPP_IMAGE":    "registry.invalid/there-is-no-such-image:1",
	}).doctor(t)
	assert.Equal(t, 5, code)
	assert.Equal(t, []string{"ports", "image goapp"}, ill.failed())
	for _, check := range ill.Checks {
		switch check.Name {
		case "ports":
			assert.Contains(t, check.Evidence, port)
		case "image goapp":
			assert.Contains(t, check.Remedy, "CUTOVER_GOAPP_IMAGE")
		}
	}
}

// An image that cannot be used is refused by the name of its variable, before
// anything is started.
func TestUnusableImagesAreNamed(t *testing.T) {
	for _, test := range []struct{ variable, image, says string }{
		{"CUTOVER_FLASK_IMAGE", "registry.invalid/there-is-no-such-image:1", "no registry gave it"},
		{"CUTOVER_EDGE_IMAGE", "Not A Name", "invalid reference format"},
		{"CUTOVER_REDIS_IMAGE", "cutover-base", "names no command to run"},
		{"CUTOVER_BASE_IMAGE", "registry.invalid/there-is-no-such-base:1", "no registry gave it"},
	} {
		env := ownEnvironment(t, "unusable", map[string]string{test.variable: test.image})
		run := env.run(t.Context(), "up")
		assert.Equal(t, 2, run.code, run.stderr)
		assert.Contains(t, run.stderr, test.variable)
		assert.Contains(t, run.stderr, test.image)
		assert.Contains(t, run.stderr, test.says)
		assert.Empty(t, env.containers(t))
	}
}
