package stack

import (
	"context"
	"errors"
	"fmt"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
)

// EnsureStarted starts those of the services that do not run, and thaws those
// that are paused. It does not wait until they are healthy.
func (s *Stack) EnsureStarted(ctx context.Context, services ...string) error {
	for _, service := range services {
		c, err := s.engine.Inspect(ctx, s.Container(service))
		if errors.Is(err, engine.ErrNoContainer) {
			return &NotRunningError{Project: s.settings.Project, Service: service, State: "missing"}
		}
		if err != nil {
			return fmt.Errorf("service %s: %w", service, err)
		}
		switch c.State {
		case "running":
			continue
		case "paused":
			err = s.engine.Unpause(ctx, c.Name)
		default:
			err = s.engine.Start(ctx, c.Name)
		}
		if err != nil {
			return err
		}
		event.Finish(s.events, "service "+service, "was "+c.State+", started")
	}
	return nil
}

// FindLost gives containers that an interrupted up left without their names
// these names back: Compose makes a container's successor under another name,
// removes the old one, and renames.
func (s *Stack) FindLost(ctx context.Context) error {
	return s.settleNames(ctx, func(engine.Container) error { return nil })
}

// settleNames does the same, and hands over those successors whose predecessors
// are still there.
func (s *Stack) settleNames(ctx context.Context, successor func(engine.Container) error) error {
	containers, err := s.engine.Containers(ctx, s.settings.Project)
	if err != nil {
		return err
	}
	named := map[string]bool{}
	for _, c := range containers {
		if c.Name == s.Container(c.Service) {
			named[c.Service] = true
		}
	}
	for _, c := range containers {
		switch {
		case c.Service == "" || c.Name == s.Container(c.Service):
		case named[c.Service]:
			err = errors.Join(err, successor(c))
		default:
			named[c.Service] = true
			err = errors.Join(err, s.engine.Rename(ctx, c.Name, s.Container(c.Service)))
		}
	}
	return err
}

// StopGuard makes sure that no guard holds the routing state's lock, and says
// in what state it was. A paused one is thawed first, because a frozen process
// takes no signal, not even SIGKILL.
func (s *Stack) StopGuard(ctx context.Context) (was string, err error) {
	c, err := s.engine.Inspect(ctx, s.Container("guard"))
	if errors.Is(err, engine.ErrNoContainer) {
		return "the guard's container is missing", nil
	}
	if err != nil {
		return "", err
	}
	switch c.State {
	case "paused":
		if err := s.engine.Unpause(ctx, c.Name); err != nil {
			return "", err
		}
		return "the guard was paused", s.engine.Kill(ctx, c.Name)
	case "running":
		return "the guard did not answer", s.engine.Kill(ctx, c.Name)
	case "restarting":
		return "the guard was restarting", s.engine.Kill(ctx, c.Name)
	}
	return "the guard was not running", nil
}

// unstick ends what runs and cannot work any more, so that Compose starts it
// afresh: a paused container, and one whose healthcheck has failed for long.
func (s *Stack) unstick(ctx context.Context) error {
	containers, err := s.engine.Containers(ctx, s.settings.Project)
	if err != nil {
		return err
	}
	for _, c := range containers {
		switch {
		case c.State == "paused":
			err = s.engine.Unpause(ctx, c.Name)
		case c.State == "running" && c.Health == "unhealthy":
			event.Warn(s.events, "service "+c.Service, "was unhealthy, is started afresh")
			err = s.engine.Kill(ctx, c.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Warn tells a person what went wrong without stopping anything.
func (s *Stack) Warn(subject, text string) { event.Warn(s.events, subject, text) }

// Exec runs a command in a service's container.
func (s *Stack) Exec(ctx context.Context, service string, command ...string) (engine.Result, error) {
	return s.engine.Exec(ctx, s.Container(service), command...)
}
