package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/compose/v5/pkg/api"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
)

const (
	// healthPatience is how long the services may take to become healthy.
	healthPatience = 120 * time.Second
	// unhealthyPatience is how long one may stay unhealthy, or crash and start
	// again: what it waited for may have come back only now, and its next checks
	// have to pass first.
	unhealthyPatience = 20 * time.Second
	answerPatience    = 3 * time.Second
)

// Up brings the environment up: Prepare, then Compose, then a wait until every
// service is healthy. What runs already and has not changed is left alone.
func (s *Stack) Up(ctx context.Context, edge map[string]string) (err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	model, err := s.Prepare(ctx, edge)
	if err != nil {
		return err
	}
	service, err := s.composeService()
	if err != nil {
		return err
	}
	project, err := model.load(ctx, service)
	if err != nil {
		return err
	}
	retired, err := s.retired(ctx)
	if err != nil {
		return err
	}
	if retired {
		project = project.WithServicesDisabled(legacyService)
		event.Finish(s.events, "service "+legacyService, "stays stopped: the migration is past it")
	}
	err = s.settleNames(ctx, func(c engine.Container) error { return s.engine.RemoveContainer(ctx, c.Name) })
	if err := errors.Join(err, s.unstick(ctx)); err != nil {
		return err
	}
	err = service.Up(ctx, project, api.UpOptions{
		Create: api.CreateOptions{RemoveOrphans: true, QuietPull: true, Inherit: true, Recreate: api.RecreateDiverged, RecreateDependencies: api.RecreateDiverged},
		Start:  api.StartOptions{Project: project},
	})
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.explainUp(model, err)
	}
	return s.awaitHealthy(ctx, project.ServiceNames())
}

// Private

// explainUp adds the remedy to the failures that people meet.
func (s *Stack) explainUp(model Model, err error) error {
	text := err.Error()
	if strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use") {
		for _, port := range publishedPorts() {
			if strings.Contains(text, ":"+model.Env[port.variable]+" ") || strings.Contains(text, ":"+model.Env[port.variable]+":") {
				return portTaken(port, model.Env[port.variable])
			}
		}
	}
	for _, img := range images() {
		if ref := model.Env[img.variable]; s.settings.Getenv(img.variable) != "" && strings.Contains(text, ref) {
			return badImage(img.variable, ref, err)
		}
	}
	for _, service := range ServiceNames() {
		if variable, ref := s.givenImage(service); variable != "" && strings.Contains(text, s.Container(service)) {
			return badImage(variable, ref, err)
		}
	}
	return fmt.Errorf("start the services: %w", err)
}

func badImage(variable, ref string, err error) error {
	return fmt.Errorf("%w: the image %s, which %s names, cannot be used: %w", ErrSettings, ref, variable, err)
}

// givenImage is the variable that replaces a service's image, and its value;
// "" where the image is the project's own.
func (s *Stack) givenImage(service string) (variable, ref string) {
	for _, img := range images() {
		if ref := s.settings.Getenv(img.variable); ref != "" && slices.Contains(img.services, service) {
			return img.variable, ref
		}
	}
	return "", ""
}

func portTaken(port publishedPort, number string) error {
	return fmt.Errorf("%w: port %s of this machine is taken: set %s to another one, or to 0 for any that is free", ErrSettings, number, port.variable)
}

// awaitHealthy waits for every service at once.
func (s *Stack) awaitHealthy(ctx context.Context, services []string) error {
	begun := time.Now()
	deadline := time.NewTimer(healthPatience)
	defer deadline.Stop()
	ticker := time.NewTicker(150 * time.Millisecond)
	defer ticker.Stop()
	waiting := map[string]engine.Container{}
	for _, service := range services {
		waiting[service] = engine.Container{Name: s.Container(service), Service: service, State: "missing"}
	}
	for {
		containers, err := s.engine.Containers(ctx, s.settings.Project)
		if err != nil {
			return err
		}
		for _, c := range containers {
			if _, ok := waiting[c.Service]; !ok {
				continue
			}
			if c.State == "running" && (c.Health == "healthy" || c.Health == "" && s.listens(ctx, c.Service)) {
				event.Finish(s.events, "service "+c.Service, "healthy")
				delete(waiting, c.Service)
				continue
			}
			waiting[c.Service] = c
			failing := c.State == "restarting" || c.State == "running" && c.Health == "unhealthy"
			if failing && time.Since(begun) > unhealthyPatience {
				return s.unhealthy(ctx, c)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			var all []error
			for _, c := range waiting {
				all = append(all, s.unhealthy(ctx, c))
			}
			return errors.Join(all...)
		case <-ticker.C:
		}
	}
}

// Answers says whether an application, flask or goapp, answers HTTP at all.
func (s *Stack) Answers(ctx context.Context, service string) bool {
	return s.listens(ctx, service)
}

// listens asks a service whose image has no healthcheck of its own whether it
// answers HTTP.
func (s *Stack) listens(ctx context.Context, service string) bool {
	address, known := map[string]string{"flask": "flask:5000", "goapp": "goapp:8080"}[service]
	if !known {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	conn, err := s.Dial(ctx, "nginx", "tcp", address)
	if err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, asked := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: "+address+"\r\nConnection: close\r\n\r\n")
	_, answered := conn.Read(make([]byte, 1))
	return errors.Join(asked, answered, conn.Close()) == nil
}

// unhealthy tells what a person needs to see: which service, what its
// healthcheck said, and the end of its log.
func (s *Stack) unhealthy(ctx context.Context, c engine.Container) error {
	event.Fail(s.events, "service "+c.Service, "not healthy")
	state := c.State
	if c.Health != "" {
		state += ", " + c.Health
	}
	text := fmt.Sprintf("service %s is %s", c.Service, state)
	if variable, ref := s.givenImage(c.Service); variable != "" {
		text = fmt.Sprintf("service %s, whose image %s is the one that %s names, is %s", c.Service, ref, variable, state)
	}
	if c.State == "restarting" || c.State == "exited" {
		text += fmt.Sprintf(" (exit code %d)", c.Exit)
	}
	if c.Check != "" {
		text += "\n  its healthcheck said: " + c.Check
	}
	log, err := s.engine.Logs(ctx, c.Name, 15)
	if err == nil && strings.TrimSpace(log) != "" {
		text += "\n  the last lines of its log:\n    " + strings.ReplaceAll(strings.TrimSpace(log), "\n", "\n    ")
	}
	return fmt.Errorf("%w: %s", ErrUnhealthy, text)
}

// anyImage returns a local image that a helper container can be made from.
func (s *Stack) anyImage(ctx context.Context) (string, error) {
	containers, err := s.engine.Containers(ctx, s.settings.Project)
	if err != nil {
		return "", err
	}
	for _, c := range containers {
		return c.Image, nil
	}
	return s.prepareBase(ctx)
}
