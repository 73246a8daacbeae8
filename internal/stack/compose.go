package stack

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/compose/v5/pkg/compose"
	"github.com/sirupsen/logrus"

	"github.com/cutover-dev/cutover/internal/event"
)

// Private

// composeService is Compose as a library, with its progress turned into ours.
func (s *Stack) composeService() (api.Compose, error) {
	logrus.SetOutput(io.Discard) // Compose logs there; what matters comes as events and errors
	docker, err := command.NewDockerCli(command.WithCombinedStreams(io.Discard))
	if err != nil {
		return nil, fmt.Errorf("read the Docker configuration: %w", err)
	}
	if err := docker.Initialize(flags.NewClientOptions()); err != nil {
		return nil, fmt.Errorf("read the Docker context: %w", err)
	}
	service, err := compose.NewComposeService(docker,
		compose.WithEventProcessor(composeEvents{s.events}),
		compose.WithPrompt(compose.AlwaysOkPrompt()))
	if err != nil {
		return nil, fmt.Errorf("start Compose: %w", err)
	}
	return service, nil
}

// load reads the compose file with the model's variables, which win over what
// the shell has set.
func (m Model) load(ctx context.Context, service api.Compose) (*types.Project, error) {
	variables := make([]string, 0, len(m.Env))
	for name, value := range m.Env {
		variables = append(variables, name+"="+value)
	}
	project, err := service.LoadProject(ctx, api.ProjectLoadOptions{
		ProjectName:       m.Project,
		ConfigPaths:       []string{m.File},
		Offline:           true,
		ProjectOptionsFns: []cli.ProjectOptionsFn{cli.WithEnv(variables)},
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.File, err)
	}
	return project, nil
}

// composeEvents passes on what Compose reports about containers; networks and
// volumes are details.
type composeEvents struct {
	sink event.Sink
}

func (composeEvents) Start(context.Context, string) {}
func (composeEvents) Done(string, bool)             {}

func (c composeEvents) On(resources ...api.Resource) {
	for _, r := range resources {
		kind, name, _ := strings.Cut(r.ID, " ")
		text := strings.ToLower(strings.TrimSpace(r.Text + " " + r.Details))
		switch {
		case r.Status == api.Error:
			event.Fail(c.sink, strings.ToLower(r.ID), text)
		case r.Status == api.Warning:
			event.Warn(c.sink, strings.ToLower(r.ID), text)
		case kind == "Container" && r.Text == api.StatusRemoved:
			event.Finish(c.sink, "service "+serviceOf(name), "removed")
		case kind == "Container":
			event.Work(c.sink, "service "+serviceOf(name), text)
		}
	}
}

// serviceOf takes the service out of a container's name, project-service-1.
func serviceOf(container string) string {
	parts := strings.Split(container, "-")
	if len(parts) < 3 {
		return container
	}
	return parts[len(parts)-2]
}
