// Package e2e tests the whole: real containers, started through
// testcontainers-go, and the cutover command as a user would type it.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/stack"
)

// projectPrefix begins the name of every environment that a test makes; the
// number of the process follows.
const projectPrefix = "cutover-e2e-"

var verify = flag.Bool("verify", false, "run the long checks too")

func TestMain(m *testing.M) {
	flag.Parse()
	// No registry may be there to fetch testcontainers' own reaper from: what
	// tests leave is removed by the name of its project instead, also what an
	// earlier, killed run left.
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		fail(err)
	}
	if err := removeLeftovers(); err != nil {
		fail(err)
	}
	code := m.Run()
	if err := errors.Join(sharedEnvironment.close(), quickEnvironment.close()); err != nil {
		fail(err)
	}
	os.Exit(code)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	os.Exit(1)
}

// removeLeftovers removes the environments of test processes that are gone.
func removeLeftovers() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	e, err := engine.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	projects, err := e.Projects(ctx)
	if err != nil {
		return err
	}
	for _, project := range projects {
		rest, ours := strings.CutPrefix(project, projectPrefix)
		if !ours {
			continue
		}
		number, _, _ := strings.Cut(rest, "-")
		if pid, err := strconv.Atoi(number); err == nil && pid != os.Getpid() && alive(pid) {
			continue
		}
		s, err := newStack(e, project)
		if err != nil {
			return err
		}
		if err := s.Down(ctx, true); err != nil {
			return err
		}
		if err := os.RemoveAll(s.Dir()); err != nil {
			return err
		}
	}
	return nil
}

func alive(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return err == nil
}

// newStack is an environment on free ports.
func newStack(e *engine.Engine, project string) (*stack.Stack, error) {
	root, err := stack.FindRoot(".")
	if err != nil {
		return nil, err
	}
	progress, err := event.NewRenderer(event.Plain, os.Stderr, false, false)
	if err != nil {
		return nil, err
	}
	return stack.New(stack.Settings{Root: root, Project: project, Getenv: freePorts}, e, progress)
}

// freePorts is the environment of every command that a test runs: the
// process's own, with the published ports picked by the command.
func freePorts(name string) string {
	if strings.HasPrefix(name, "CUTOVER_") && strings.HasSuffix(name, "_PORT") {
		return "0"
	}
	switch name {
	case "CUTOVER_PROJECT", "CUTOVER_PLAN":
		return ""
	case "CUTOVER_OPERATOR":
		return "e2e"
	}
	return os.Getenv(name)
}
