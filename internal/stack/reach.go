package stack

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/cutover-dev/cutover/internal/engine"
)

// Dial opens a connection to an address inside the environment, through the
// engine: a relay in one of the given services' containers, the first that
// runs, joins it to the address. The network is "tcp" or "unix".
func (s *Stack) Dial(ctx context.Context, services []string, network, address string) (net.Conn, error) {
	container, err := s.firstRunning(ctx, services)
	if err != nil {
		return nil, err
	}
	conn, err := s.engine.Tunnel(ctx, container.Name, "guard", "dial", network, address)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// ErrNotRunning means that none of the containers that would do is running.
var ErrNotRunning = errors.New("not running")

// Private

func (s *Stack) firstRunning(ctx context.Context, services []string) (engine.Container, error) {
	var states []error
	for _, service := range services {
		c, err := s.engine.Inspect(ctx, s.Container(service))
		switch {
		case errors.Is(err, engine.ErrUnavailable):
			return engine.Container{}, err
		case err != nil:
			states = append(states, fmt.Errorf("%s is missing", service))
		case c.State != "running":
			states = append(states, fmt.Errorf("%s is %s", service, c.State))
		default:
			return c, nil
		}
	}
	return engine.Container{}, fmt.Errorf("environment %s: %w: %w", s.settings.Project, ErrNotRunning, errors.Join(states...))
}
