package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// Dial opens a connection to an address inside the environment, through the
// engine: a relay in a service's container, nginx's or the guard's, joins it to
// the address. The network is "tcp" or "unix".
func (s *Stack) Dial(ctx context.Context, service, network, address string) (net.Conn, error) {
	conn, err := s.engine.Tunnel(ctx, s.Container(service), "guard", "dial", network, address)
	if err == nil {
		return conn, nil
	}
	if stopped := s.running(ctx, service); stopped != nil {
		return nil, stopped
	}
	return nil, err
}

// Pipe runs a program in a service's container, with its standard input from
// in (nil: none) and its standard output to out. A program that fails is an
// error that says what it wrote to standard error.
func (s *Stack) Pipe(ctx context.Context, service string, in io.Reader, out io.Writer, command ...string) error {
	result, err := s.engine.Pipe(ctx, s.Container(service), in, out, command...)
	if err != nil {
		if stopped := s.running(context.WithoutCancel(ctx), service); stopped != nil && ctx.Err() == nil {
			return errors.Join(stopped, err)
		}
		return err
	}
	if result.Exit != 0 {
		return fmt.Errorf("%s: exit code %d: %s", command[0], result.Exit, strings.TrimSpace(result.Stderr))
	}
	return nil
}

// Log is what the engine has kept of a service's output.
func (s *Stack) Log(ctx context.Context, service string) (string, error) {
	log, err := s.engine.Logs(ctx, s.Container(service), mostLines)
	if err != nil {
		if missing := s.running(ctx, service); missing != nil {
			return "", missing
		}
	}
	return log, err
}

// mostLines is more than the engine keeps of a service's output.
const mostLines = 1 << 20

// Running makes sure that a service runs; its error is a NotRunningError.
func (s *Stack) Running(ctx context.Context, service string) error {
	return s.running(ctx, service)
}

// ErrNotRunning is what every NotRunningError is.
var ErrNotRunning = errors.New("not running")

// NotRunningError says that the environment, or a service of it, does not run.
type NotRunningError struct {
	Project string
	Service string // "" for the whole environment
	State   string
	Unknown bool // nothing is there of an environment of the name that was given
}

// Error says what is missing, and the remedy.
func (e *NotRunningError) Error() string {
	up := "cutover up"
	if e.Project != DefaultProject {
		up = "cutover --project " + e.Project + " up"
	}
	switch {
	case e.Unknown:
		return fmt.Sprintf("--project %s: there is no environment of this name; make it with %s", e.Project, up)
	case e.Service == "":
		return fmt.Sprintf("the environment %s is not running: bring it up with %s", e.Project, up)
	}
	return fmt.Sprintf("the service %s of the environment %s does not run (%s): start it with %s", e.Service, e.Project, e.State, up)
}

// Is makes it an ErrNotRunning, and an unknown name an ErrSettings too.
func (e *NotRunningError) Is(target error) bool {
	return target == ErrNotRunning || e.Unknown && target == ErrSettings
}

// Private

// running makes sure that a service runs.
func (s *Stack) running(ctx context.Context, service string) error {
	containers, err := s.engine.Containers(ctx, s.settings.Project)
	if err != nil {
		return err
	}
	if len(containers) == 0 {
		return s.absent(ctx)
	}
	state := "missing"
	for _, c := range containers {
		if c.Service == service {
			state = c.State
		}
	}
	if state != "running" {
		return &NotRunningError{Project: s.settings.Project, Service: service, State: state}
	}
	return nil
}

// absent is the error of an environment without containers. Whoever names one
// of which nothing is there has the wrong name.
func (s *Stack) absent(ctx context.Context) error {
	exists, err := s.Exists(ctx)
	if err != nil {
		return err
	}
	return &NotRunningError{Project: s.settings.Project, Unknown: !exists && s.settings.Project != DefaultProject}
}
