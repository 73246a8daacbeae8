package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// run runs a command line without an engine.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Run(t.Context(), Env{Args: args, Dir: ".", Stdout: &out, Stderr: &err, Getenv: func(name string) string {
		if name == "HOME" || name == "PATH" {
			return os.Getenv(name)
		}
		return ""
	}})
	return code, out.String(), err.String()
}

func TestValidate(t *testing.T) {
	code, out, _ := run(t, "validate")
	assert.Zero(t, code)
	assert.Equal(t, "The plan p2k16 is valid: 6 routes, 18 steps.", strings.SplitN(out, "\n", 2)[0])

	bad := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(bad, []byte("version: 1\nname: x\nrotues: []\n"), 0o600))
	code, out, stderr := run(t, "validate", bad)
	assert.Equal(t, ExitUsage, code)
	assert.Empty(t, out)
	assert.Contains(t, stderr, bad+`:3:1: there is no key "rotues" here`)

	code, _, stderr = run(t, "validate", "nothing.yaml")
	assert.Equal(t, ExitUsage, code)
	assert.Contains(t, stderr, "nothing.yaml")
}

func TestUsageErrorsSayWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"nonsense"}, `there is no command "nonsense"`},
		{[]string{"db", "nonsense"}, `there is no command "nonsense"`},
		{[]string{"up", "x"}, "cutover up --help"},
		{[]string{"route", "users", "1.234"}, "two decimals"},
		{[]string{"route", "users", "-1"}, "0 to 100"},
		{[]string{"status", "--nonsense"}, "--nonsense"},
		{[]string{"status", "--progress", "loud"}, `--progress "loud"`},
		{[]string{"status", "--project", "Big Name"}, `--project "Big Name"`},
		{[]string{"resume"}, "--reason"},
		{[]string{"rollback", "--wait", "2h"}, "--wait"},
	} {
		code, out, stderr := run(t, test.args...)
		assert.Equal(t, ExitUsage, code, "%v: %s", test.args, stderr)
		assert.Contains(t, stderr, test.says, "%v", test.args)
		assert.Empty(t, out, "%v", test.args)
	}
}

// Without an engine every command that needs one says so, and which one it
// looked for.
func TestAwayEngineEndsWith5(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent")
	for _, args := range [][]string{
		{"doctor"}, {"up"}, {"down"}, {"status"}, {"route", "users", "5"}, {"rollback"}, {"rollback", "--break-glass"},
		{"resume", "--reason", "x"}, {"events"}, {"plan"}, {"plan", "--adopt"}, {"db", "seed"},
	} {
		code, out, stderr := run(t, args...)
		assert.Equal(t, ExitUnavailable, code, "%v: %s", args, stderr)
		assert.Contains(t, stderr, "/nonexistent", "%v", args)
		assert.Empty(t, out, "%v", args)
	}
}

func TestInterruptedCommandEndsWith130(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	code := Run(ctx, Env{Args: []string{"status"}, Dir: ".", Stdout: &stderr, Stderr: &stderr, Getenv: func(string) string { return "" }})
	assert.Equal(t, ExitInterrupted, code)
	assert.Contains(t, stderr.String(), "interrupted")
}

func TestExitCodes(t *testing.T) {
	api := func(code rollout.Code) error {
		return refused(fmt.Errorf("x: %w", &control.Error{Code: code, Message: "m"}))
	}
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), ExitInternal},
		{fmt.Errorf("x: %w", stack.ErrSettings), ExitUsage},
		{fmt.Errorf("x: %w", engine.ErrUnavailable), ExitUnavailable},
		{fmt.Errorf("x: %w", stack.ErrUnhealthy), ExitUnavailable},
		{fmt.Errorf("x: %w", stack.ErrNotRunning), ExitUnavailable},
		{unanswered(fmt.Errorf("x: %w", &stack.NotRunningError{Project: "p"})), ExitUnavailable},
		{unanswered(fmt.Errorf("x: %w", &stack.NotRunningError{Project: "p", Unknown: true})), ExitUsage},
		{api(rollout.Invalid), ExitUsage},
		{api(rollout.UnknownRoute), ExitUsage},
		{api(rollout.Stale), ExitRefused},
		{api(rollout.Latched), ExitRefused},
		{api(rollout.PlanDiffers), ExitRefused},
		{api(control.EdgeUnreachable), ExitUnavailable},
		{api(control.Internal), ExitInternal},
		{refused(fmt.Errorf("%w: connection reset", control.ErrUnreached)), ExitUnavailable},
		{refused(fmt.Errorf("a step: %w", &engine.LostError{Endpoint: "unix:///x", Err: io.EOF})), ExitUnavailable},
		{refused(errors.New("no space left on device")), ExitInternal},
		{rollbackFailed(&control.Error{Code: control.LegacySilent}), ExitRollback},
	} {
		assert.Equal(t, test.want, exitCode(test.err), "%v", test.err)
	}
}

func TestStatusSaysHowTheApplicationIsReached(t *testing.T) {
	d := statusDocument{Ports: stack.Ports{EdgeHTTP: 8080, EdgeHTTPS: 8443, PlainHTTP: true, Bind: "127.0.0.1"}, Authority: "/x/ca.pem"}
	assert.Contains(t, d.text(), `
application  https://127.0.0.1:8443
             http://127.0.0.1:8080  plain HTTP: cookies on it are not Secure
authority    /x/ca.pem  for your browser to trust; nothing was installed`)
	d.Ports.PlainHTTP, d.Authority = false, ""
	assert.Contains(t, d.text(), `
application  https://127.0.0.1:8443
             http://127.0.0.1:8080  leads to TLS`)
	assert.NotContains(t, d.text(), "authority")
}

func TestEventsAreToldAsSentences(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	state := func(weight edge.Weight) rollout.State {
		return rollout.State{Home: edge.Python, Plan: rollout.PlanID{Name: "p"}, Routes: []rollout.Route{{Name: "users", Prefix: "/u", Weight: weight}}}
	}
	for _, test := range []struct {
		event rollout.Event
		want  string
	}{
		{rollout.Event{Action: rollout.ActionRoute, Before: state(0), After: state(2550), Reason: "first"}, "kari moved users 0 % → 25.5 %: first"},
		{rollout.Event{Action: rollout.ActionRollback, After: state(0), Reason: "errors"}, "kari took everything back to python: errors"},
		{rollout.Event{Action: rollout.ActionResume, After: state(0), Reason: "mended"}, "kari released the latch: mended"},
		{rollout.Event{Action: rollout.ActionPlan, After: state(0), Reason: "adopted"}, "kari gave the guard the plan p"},
	} {
		test.event.Seq, test.event.Generation, test.event.Actor, test.event.Time = 3, 7, "kari", rollout.Time{Time: at}
		assert.Equal(t, at.Format("2006-01-02 15:04:05.000 -0700")+"  #3  generation 7  "+test.want, eventLine(test.event))
	}
}

func TestStatusSaysWhatMattersFirst(t *testing.T) {
	share := 49.96
	d := statusDocument{
		Project: "p", Home: "python", Generation: 4, Guard: guardStatus{Reachable: true, InSync: true},
		Routes:   []routeStatus{{"auth", "/api/auth/", 0, nil}, {"users", "/api/users/", 50, &share}},
		Services: []serviceStatus{{"nginx", "running", "healthy"}, {"goapp", "exited", ""}},
		Ports:    stack.Ports{EdgeHTTP: 8080},
	}
	text := d.text()
	assert.Contains(t, text, "p: on Go: users 50 % (generation 4).\nThe service goapp has exited. Who is on Go is not served: cutover rollback takes them back. The remedy: cutover up.\n")
	assert.Contains(t, text, "users   /api/users/   50 %    50.0 %")
	assert.Contains(t, text, "auth    /api/auth/    0 %     –")

	d.Routes[1].Weight, d.Latched, d.LatchReason = 0, true, "errors"
	assert.Contains(t, d.text(), "p: everything is on python (generation 4).\nLatched since a rollback: errors.")
	d.Guard = guardStatus{Error: "it is gone"}
	assert.Contains(t, d.text(), "The guard does not answer")
}
