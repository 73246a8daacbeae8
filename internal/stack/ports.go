package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Private

// publishedPort is a port of the environment that the host publishes.
type publishedPort struct {
	variable string
	fallback int
	service  string
	inside   int // the port in the container
}

func publishedPorts() []publishedPort {
	return []publishedPort{
		{"CUTOVER_EDGE_HTTP_PORT", 8080, "nginx", 8080},
		{"CUTOVER_GUARD_PORT", 9900, "guard", 9900},
		{"CUTOVER_PROMETHEUS_PORT", 9090, "prometheus", 9090},
	}
}

// choosePorts returns the ports' variables. For 0 a free port is taken once
// and kept for the life of the environment, because one that the engine picks
// changes at every restart.
func (s *Stack) choosePorts(ctx context.Context) (map[string]string, error) {
	bind := s.settings.Getenv("CUTOVER_BIND")
	if bind == "" {
		bind = "127.0.0.1"
	}
	if net.ParseIP(bind) == nil {
		return nil, fmt.Errorf("%w: CUTOVER_BIND=%q is not an IP address", ErrSettings, bind)
	}
	taken, err := s.engine.Containers(ctx, s.settings.Project)
	if err != nil {
		return nil, err
	}
	inUse := map[string]int{}
	for _, port := range publishedPorts() {
		for _, c := range taken {
			if c.Service == port.service {
				inUse[port.variable] = c.Ports[port.inside]
			}
		}
	}
	recorded := s.readPorts()
	result := map[string]string{"CUTOVER_BIND": bind}
	for _, port := range publishedPorts() {
		number := port.fallback
		if text := s.settings.Getenv(port.variable); text != "" {
			if number, err = strconv.Atoi(text); err != nil || number < 0 || number > 65535 {
				return nil, fmt.Errorf("%w: %s=%q is not a port: a number from 0 to 65535, 0 for any that is free", ErrSettings, port.variable, text)
			}
		}
		if number == 0 {
			if number = firstSet(inUse[port.variable], recorded[port.variable]); number == 0 {
				if number, err = freePort(ctx, bind); err != nil {
					return nil, err
				}
			}
		}
		recorded[port.variable] = number
		result[port.variable] = strconv.Itoa(number)
	}
	content, err := json.MarshalIndent(recorded, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := writePrivate(s.portsFile(), append(content, '\n')); err != nil {
		return nil, fmt.Errorf("record the ports: %w", err)
	}
	return result, nil
}

func (s *Stack) portsFile() string { return filepath.Join(s.Dir(), "ports.json") }

func (s *Stack) readPorts() map[string]int {
	recorded := map[string]int{}
	content, err := os.ReadFile(s.portsFile())
	if err != nil || json.Unmarshal(content, &recorded) != nil {
		return map[string]int{} // the first time, or not worth keeping
	}
	return recorded
}

func freePort(ctx context.Context, bind string) (int, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", net.JoinHostPort(bind, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port on %s: %w", bind, err)
	}
	number := l.Addr().(*net.TCPAddr).Port
	return number, l.Close()
}

func firstSet(numbers ...int) int {
	for _, n := range numbers {
		if n != 0 {
			return n
		}
	}
	return 0
}
