package stack

import (
	"context"

	"github.com/cutover-dev/cutover/internal/engine"
)

// Ports are the published ports; 0 stands for one that is not published.
type Ports struct {
	EdgeHTTP   int `json:"edge_http"`
	EdgeHTTPS  int `json:"edge_https"`
	Guard      int `json:"guard"`
	Prometheus int `json:"prometheus"`
	// PlainHTTP is true where EdgeHTTP serves the applications; else it leads to
	// EdgeHTTPS.
	PlainHTTP bool `json:"plain_http"`
	// Bind is the address that they are published on.
	Bind string `json:"bind"`
}

// Service is one service's container as the engine sees it.
type Service struct {
	Name   string
	State  string // missing, created, running, paused, restarting, exited, dead
	Health string // starting, healthy, unhealthy, or ""
	Image  string // the image's digest
	IPs    []string
}

// Services returns what the engine knows of each service, and the ports. It
// fails with ErrNotRunning when there is no container at all, and with
// ErrSettings when there is nothing else of such an environment either.
func (s *Stack) Services(ctx context.Context) ([]Service, Ports, error) {
	containers, err := s.engine.Containers(ctx, s.settings.Project)
	if err != nil {
		return nil, Ports{}, err
	}
	if len(containers) == 0 {
		return nil, Ports{}, s.absent(ctx)
	}
	found := map[string]engine.Container{}
	for _, c := range containers {
		found[c.Service] = c
	}
	var services []Service
	for _, name := range ServiceNames() {
		service := Service{Name: name, State: "missing"}
		if c, ok := found[name]; ok {
			service.State, service.Health, service.Image, service.IPs = c.State, c.Health, c.ImageID, c.IPs
		}
		services = append(services, service)
	}
	return services, Ports{
		EdgeHTTP:   found["nginx"].Ports[8080],
		EdgeHTTPS:  found["nginx"].Ports[8443],
		Guard:      found["guard"].Ports[9900],
		Prometheus: found["prometheus"].Ports[9090],
		PlainHTTP:  found["nginx"].Labels[plainLabel] == "true",
		Bind:       found["nginx"].Bind,
	}, nil
}

// ServiceNames lists the services of the environment.
func ServiceNames() []string {
	return []string{"nginx", "guard", "flask", "goapp", "sink", "postgres", "redis", "prometheus"}
}

// Private

// plainLabel is how compose.yaml says whether plain HTTP is served.
const plainLabel = "cutover.plain-http"
