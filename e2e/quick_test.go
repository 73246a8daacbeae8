package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/plan"
)

// quickEnvironment is shared by the stories that run the plan: its jobs have
// short periods, and the volume with the routing state is small enough to be
// filled.
var quickEnvironment shared

const quickOverride = `services:
  flask: {environment: {JOB_INTERVAL: "1"}}
  goapp: {environment: {JOB_INTERVAL: "1"}}
volumes:
  edge: {driver_opts: {type: tmpfs, device: tmpfs, o: "size=64m,uid=10100,gid=10100,mode=0700"}}
`

// useQuick returns the quick environment with everything on python, nothing
// latched, and the preparation behind it.
func useQuick(t *testing.T) *environment {
	t.Helper()
	q := &quickEnvironment
	q.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		q.env, q.err = startQuick(ctx)
	})
	require.NoError(t, q.err)
	q.env.keepArtifacts(t)
	q.env.reset(t)
	q.env.advance(t, "--to", "side-by-side")
	return q.env
}

func startQuick(ctx context.Context) (*environment, error) {
	dir, err := os.MkdirTemp("", "cutover-quick-")
	if err != nil {
		return nil, err
	}
	override := filepath.Join(dir, "quick.yaml")
	if err := os.WriteFile(override, []byte(quickOverride), 0o600); err != nil {
		return nil, err
	}
	env, err := startEnvironment(ctx, override)
	if err != nil {
		return nil, err
	}
	path, err := variantPlan(dir, "period: 10s", "period: 2s", "watch: 5s", "watch: 2s")
	if err != nil {
		return env, err
	}
	env.cleanUp = append(env.cleanUp, func() error { return os.RemoveAll(dir) })
	env.variables = map[string]string{"CUTOVER_PLAN": path}
	if run := env.run(ctx, "plan", "--adopt"); run.code != 0 {
		return env, fmt.Errorf("cutover plan --adopt: exit code %d: %s", run.code, run.stderr)
	}
	period, err := env.engine.Exec(ctx, env.stack.Container("postgres"), "psql", "-h", "/run/postgresql", "-U", "postgres", "p2k16", "-c", "UPDATE jobs SET period = '2 seconds'")
	if err == nil && period.Exit != 0 {
		err = fmt.Errorf("change the jobs' period: %s", period.Stderr)
	}
	return env, err
}

// variantPlan writes the p2k16 plan with some texts replaced into a folder, and
// returns its path. What it names lies where it says.
func variantPlan(dir string, replace ...string) (path string, err error) {
	text, err := os.ReadFile("../fixtures/p2k16/cutover.yaml")
	if err != nil {
		return "", err
	}
	changed := string(text)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(changed, replace[i]) {
			return "", fmt.Errorf("the plan does not say %q", replace[i])
		}
		changed = strings.ReplaceAll(changed, replace[i], replace[i+1])
	}
	home, err := os.MkdirTemp(dir, "plan-")
	if err != nil {
		return "", err
	}
	folder := filepath.Join(home, "fixtures", "p2k16")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	links := map[string]string{"../flask-stub": "flask-stub"}
	entries, err := os.ReadDir("../fixtures/p2k16")
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		if name := filepath.Join("fixtures", "p2k16", entry.Name()); entry.Name() != "cutover.yaml" {
			links["../"+name] = name
		}
	}
	for from, to := range links {
		absolute, err := filepath.Abs(from)
		if err != nil {
			return "", err
		}
		if err := os.Symlink(absolute, filepath.Join(home, to)); err != nil {
			return "", err
		}
	}
	path = filepath.Join(folder, "cutover.yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		return "", err
	}
	_, err = plan.Load(path)
	return path, err
}

// bakeAcks acknowledges also what is judged over a bake, for stories that do not
// wait for requests, nor make the findings that gates ask for.
func bakeAcks() []string {
	args := acks()
	for _, gate := range []string{"backup-completed", "reverse-verified", "shares-as-requested", "errors-within-limits", "latency-within-limits"} {
		args = append(args, "--ack", gate+"=not part of this story")
	}
	return args
}

// advance takes steps without waiting for their bakes.
func (env *environment) advance(t *testing.T, args ...string) {
	t.Helper()
	env.must(t, append(append([]string{"advance", "--bake", "0s"}, bakeAcks()...), args...)...)
}

// as runs a command as somebody.
func (env *environment) as(ctx context.Context, operator string, args ...string) commandRun {
	return runCommand(ctx, func(name string) string {
		if name == "CUTOVER_OPERATOR" {
			return operator
		}
		return env.getenv(name)
	}, append([]string{"--project", env.project}, args...)...)
}

// awaitStep waits until a step is under way.
func (env *environment) awaitStep(t *testing.T, step string) {
	t.Helper()
	await(t, time.Minute, "the step "+step+" is under way", func() bool {
		s := env.status(t)
		return s.Progress != nil && s.Progress.Step == step
	})
}

// await asks until something holds, in the test's own goroutine, so that what it
// asks may fail the test.
func await(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(limit); !holds(); <-ticker.C {
		if time.Now().After(end) {
			require.Fail(t, "waited in vain", "%s within %s", what, limit)
		}
	}
}

// program is the command as it is built for people.
var program struct {
	once sync.Once
	path string
	err  error
}

func builtProgram(t *testing.T) string {
	t.Helper()
	program.once.Do(func() {
		root, err := filepath.Abs("..")
		if err != nil {
			program.err = err
			return
		}
		program.path = filepath.Join(root, "bin", "cutover")
		build := exec.Command("make", "-s", "-C", root, "build")
		if output, err := build.CombinedOutput(); err != nil {
			program.err = fmt.Errorf("%w: %s", err, output)
		}
	})
	require.NoError(t, program.err)
	return program.path
}

// start runs the program itself, as somebody, with further variables.
func (env *environment) start(t *testing.T, operator string, variables []string, args ...string) *process {
	t.Helper()
	p := &process{command: exec.Command(builtProgram(t), append([]string{"--project", env.project}, args...)...), ended: make(chan struct{})}
	p.command.Env = append(os.Environ(), "CUTOVER_OPERATOR="+operator, "CUTOVER_PLAN="+env.getenv("CUTOVER_PLAN"),
		"CUTOVER_EDGE_HTTP_PORT=0", "CUTOVER_EDGE_HTTPS_PORT=0", "CUTOVER_GUARD_PORT=0", "CUTOVER_PROMETHEUS_PORT=0")
	p.command.Env = append(p.command.Env, variables...)
	p.command.Stdout, p.command.Stderr = &p.stdout, &p.stderr
	require.NoError(t, p.command.Start())
	go func() {
		_ = p.command.Wait() // its exit code is in its state
		close(p.ended)
	}()
	t.Cleanup(func() { p.kill(t) })
	return p
}

// process is a run of the program.
type process struct {
	command        *exec.Cmd
	stdout, stderr strings.Builder
	ended          chan struct{}
}

// kill ends it with SIGKILL, if it has not ended by itself.
func (p *process) kill(t *testing.T) {
	t.Helper()
	_ = p.command.Process.Kill() // it may have ended
	p.wait(t, 10*time.Second)
}

// wait is its exit code; -1 if a signal ended it.
func (p *process) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		require.Fail(t, "it did not end", "%v within %s", p.command.Args, limit)
	}
	return p.command.ProcessState.ExitCode()
}
