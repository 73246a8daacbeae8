package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go/modules/compose"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/cutover-dev/cutover/internal/cli"
	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// environment is one running stack and the means to use it.
type environment struct {
	project string
	engine  *engine.Engine
	stack   *stack.Stack
	compose compose.ComposeStack
	// Where edge and guard are, as http://127.0.0.1:PORT.
	address, guardAddress string
	tlsAddress            string // as https://127.0.0.1:PORT
	started               time.Time
	// variables are those of the command's environment that differ from freePorts.
	variables map[string]string
	failed    atomic.Bool
	cleanUp   []func() error
}

var environments atomic.Int64

// startEnvironment brings up a stack of its own with testcontainers and
// prepares it with the command. Further Compose files change what the
// project's own says.
func startEnvironment(ctx context.Context, files ...string) (_ *environment, err error) {
	env := &environment{started: time.Now(), project: fmt.Sprintf("%s%d-%d", projectPrefix, os.Getpid(), environments.Add(1))}
	if env.engine, err = engine.Connect(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, env.close())
		}
	}()
	if env.stack, err = newStack(env.engine, env.project); err != nil {
		return nil, err
	}
	p, err := plan.Load("../fixtures/p2k16/cutover.yaml")
	if err != nil {
		return nil, err
	}
	model, err := env.stack.Prepare(ctx, p.Edge.Variables())
	if err != nil {
		return nil, err
	}
	dc, err := compose.NewDockerComposeWith(compose.WithStackFiles(append([]string{model.File}, files...)...), compose.StackIdentifier(model.Project))
	if err != nil {
		return nil, err
	}
	env.compose = dc.WithEnv(model.Env)
	for _, service := range stack.ServiceNames() {
		env.compose = env.compose.WaitForService(service, wait.ForHealthCheck().WithStartupTimeout(2*time.Minute))
	}
	if err := env.compose.Up(ctx); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, env.logs(ctx))
	}
	env.address = "http://127.0.0.1:" + model.Env["CUTOVER_EDGE_HTTP_PORT"]
	env.tlsAddress = "https://127.0.0.1:" + model.Env["CUTOVER_EDGE_HTTPS_PORT"]
	env.guardAddress = "http://127.0.0.1:" + model.Env["CUTOVER_GUARD_PORT"]
	for _, args := range [][]string{{"db", "seed"}, {"plan", "--adopt"}} {
		if run := env.run(ctx, args...); run.code != 0 {
			return nil, fmt.Errorf("cutover %s: exit code %d: %s", strings.Join(args, " "), run.code, run.stderr)
		}
	}
	return env, nil
}

// close removes everything of the environment, also after a failure;
// E2E_KEEP_FAILED=1 keeps one whose story failed.
func (env *environment) close() error {
	if env.failed.Load() && os.Getenv("E2E_KEEP_FAILED") == "1" {
		fmt.Fprintf(os.Stderr, "kept: cutover --project %s status\n", env.project)
		return env.engine.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var problems []error
	if env.compose != nil {
		problems = append(problems, env.compose.Down(ctx, compose.RemoveOrphans(true), compose.RemoveVolumes(true)))
	}
	if env.stack != nil {
		problems = append(problems, env.stack.Down(ctx, true), os.RemoveAll(env.stack.Dir()))
	}
	for _, clean := range env.cleanUp {
		problems = append(problems, clean())
	}
	return errors.Join(append(problems, env.engine.Close())...)
}

// shared is one environment for all stories that leave it as they found it.
type shared struct {
	once sync.Once
	env  *environment
	err  error
}

var sharedEnvironment shared

func (s *shared) close() error {
	if s.env == nil {
		return nil
	}
	return s.env.close()
}

// useShared returns the shared environment with everything on python and
// nothing latched.
func useShared(t *testing.T) *environment {
	t.Helper()
	sharedEnvironment.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		sharedEnvironment.env, sharedEnvironment.err = startEnvironment(ctx)
	})
	require.NoError(t, sharedEnvironment.err)
	env := sharedEnvironment.env
	env.keepArtifacts(t)
	env.reset(t)
	return env
}

func (env *environment) reset(t *testing.T) {
	t.Helper()
	env.must(t, "rollback", "--reason", "before "+t.Name())
	env.must(t, "resume", "--reason", "before "+t.Name())
}

// keepArtifacts saves what explains a failure: the state, the journal and the
// logs of every container.
func (env *environment) keepArtifacts(t *testing.T) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		env.failed.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		dir := filepath.Join("artifacts", strings.ReplaceAll(t.Name(), "/", "_"))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Log(err)
			return
		}
		files := map[string]string{"logs.txt": env.logs(ctx)}
		for name, args := range map[string][]string{"status.json": {"status", "--json"}, "events.jsonl": {"events", "--json"}} {
			run := env.run(ctx, args...)
			files[name] = run.stdout + run.stderr
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Log(err)
			}
		}
		t.Logf("what explains the failure is in e2e/%s", dir)
	})
}

func (env *environment) logs(ctx context.Context) string {
	var all strings.Builder
	for _, service := range stack.ServiceNames() {
		log, err := env.engine.Logs(ctx, env.stack.Container(service), 500)
		fmt.Fprintf(&all, "==== %s\n%s", service, log)
		if err != nil {
			fmt.Fprintf(&all, "%v\n", err)
		}
	}
	return all.String()
}

// commandRun is what one run of the command left behind.
type commandRun struct {
	code           int
	stdout, stderr string
}

// run runs a cutover command on the environment, inside this process.
func (env *environment) run(ctx context.Context, args ...string) commandRun {
	return runCommand(ctx, env.getenv, append([]string{"--project", env.project}, args...)...)
}

func (env *environment) getenv(name string) string {
	if value, ok := env.variables[name]; ok {
		return value
	}
	return freePorts(name)
}

func runCommand(ctx context.Context, getenv func(string) string, args ...string) commandRun {
	var stdout, stderr bytes.Buffer
	code := cli.Run(ctx, cli.Env{Args: args, Dir: ".", Stdout: &stdout, Stderr: &stderr, Getenv: getenv})
	return commandRun{code, stdout.String(), stderr.String()}
}

// must runs a command that has to succeed and returns its standard output.
func (env *environment) must(t *testing.T, args ...string) string {
	t.Helper()
	run := env.run(t.Context(), args...)
	require.Zero(t, run.code, "cutover %s\n%s%s", strings.Join(args, " "), run.stdout, run.stderr)
	return run.stdout
}

// status is what status --json says.
type status struct {
	Latched    bool
	Generation uint64
	Home       string
	Phase      string
	Step       string
	Routes     []struct {
		Name     string
		Weight   float64
		Measured *float64
	}
	Services []struct{ Name, State, Health string }
	Progress *struct{ Step, Actor string }
	Paused   bool
	Guard    struct {
		Reachable bool
		InSync    bool `json:"in_sync"`
	}
	Ports      stack.Ports
	Authority  string
	BreakGlass struct {
		Active bool
		Reason string
	} `json:"break_glass"`
}

func (s status) weight(t *testing.T, route string) float64 {
	t.Helper()
	for _, r := range s.Routes {
		if r.Name == route {
			return r.Weight
		}
	}
	require.Fail(t, "status has no route "+route)
	return 0
}

func (env *environment) status(t *testing.T) status {
	t.Helper()
	var s status
	require.NoError(t, json.Unmarshal([]byte(env.must(t, "status", "--json")), &s))
	return s
}

// awaitHealthy waits until a service that was hurt is well again.
func (env *environment) awaitHealthy(t *testing.T, service string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // also when the test is over
	defer cancel()
	require.Eventually(t, func() bool {
		c, err := env.engine.Inspect(ctx, env.stack.Container(service))
		return err == nil && c.State == "running" && c.Health == "healthy"
	}, 90*time.Second, 100*time.Millisecond, "%s did not become healthy again", service)
}
