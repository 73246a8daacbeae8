package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// PublicHost is where a browser on this machine finds what is published on an
// address.
func PublicHost(bind string) string {
	ip := net.ParseIP(bind)
	switch {
	case ip == nil || ip.IsUnspecified():
		return "127.0.0.1"
	case ip.To4() == nil:
		return "[" + bind + "]"
	}
	return bind
}

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
		{"CUTOVER_EDGE_HTTPS_PORT", 8443, "nginx", 8443},
		{"CUTOVER_GUARD_PORT", 9900, "guard", 9900},
		{"CUTOVER_PROMETHEUS_PORT", 9090, "prometheus", 9090},
	}
}

// readSettings checks what the user set before anything is made.
func (s *Stack) readSettings() (bind string, wanted map[string]int, err error) {
	bind = cmp.Or(s.settings.Getenv("CUTOVER_BIND"), "127.0.0.1")
	ip := net.ParseIP(bind)
	if ip == nil {
		return "", nil, fmt.Errorf("%w: CUTOVER_BIND=%q is not an IP address", ErrSettings, bind)
	}
	if ip.To4() == nil {
		bind = "[" + bind + "]" // as Compose writes it
	}
	wanted = map[string]int{}
	for _, port := range publishedPorts() {
		number := port.fallback
		if text := s.settings.Getenv(port.variable); text != "" {
			if number, err = strconv.Atoi(text); err != nil || number < 0 || number > 65535 {
				return "", nil, fmt.Errorf("%w: %s=%q is not a port: a number from 0 to 65535, 0 for any that is free", ErrSettings, port.variable, text)
			}
		}
		for other, taken := range wanted {
			if number != 0 && number == taken {
				return "", nil, fmt.Errorf("%w: %s and %s are both %d", ErrSettings, other, port.variable, number)
			}
		}
		wanted[port.variable] = number
	}
	return bind, wanted, nil
}

// checkPorts refuses ports that are taken, before anything is made. On a
// remote engine only the engine can tell.
func (s *Stack) checkPorts(ctx context.Context) error {
	_, wanted, err := s.readSettings()
	if err != nil || !s.engine.Local() {
		return err
	}
	held, err := s.heldPorts(ctx)
	if err != nil {
		return err
	}
	free := picker{bind: s.settings.Getenv("CUTOVER_BIND")}
	if err := free.local(ctx); err != nil {
		return err
	}
	for _, port := range publishedPorts() {
		number := wanted[port.variable]
		if number == 0 || number == held[port.variable] {
			continue
		}
		if _, err := free.listen(ctx, number); err != nil {
			return errors.Join(portTaken(port, strconv.Itoa(number)), free.close())
		}
	}
	return free.close()
}

// choosePorts returns the ports' variables. For 0 a free port is taken once
// and kept for the life of the environment, because one that the engine picks
// changes at every restart.
func (s *Stack) choosePorts(ctx context.Context) (map[string]string, error) {
	bind, wanted, err := s.readSettings()
	if err != nil {
		return nil, err
	}
	held, err := s.heldPorts(ctx)
	if err != nil {
		return nil, err
	}
	picked := s.readPorts()
	free := picker{bind: s.settings.Getenv("CUTOVER_BIND")}
	result := map[string]string{"CUTOVER_BIND": bind}
	for _, port := range publishedPorts() {
		number := wanted[port.variable]
		if number == 0 {
			if number = cmp.Or(held[port.variable], picked[port.variable]); number == 0 || held[port.variable] == 0 && !free.still(ctx, number) {
				if number, err = free.pick(ctx); err != nil {
					return nil, errors.Join(err, free.close())
				}
			}
			picked[port.variable] = number
		}
		result[port.variable] = strconv.Itoa(number)
	}
	if err := free.close(); err != nil {
		return nil, err
	}
	content, err := json.MarshalIndent(picked, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := writePrivate(s.portsFile(), append(content, '\n')); err != nil {
		return nil, fmt.Errorf("record the ports: %w", err)
	}
	return result, nil
}

// heldPorts are the ports that running containers of the environment publish.
func (s *Stack) heldPorts(ctx context.Context) (map[string]int, error) {
	containers, err := s.engine.Containers(ctx, s.settings.Project)
	if err != nil {
		return nil, err
	}
	held := map[string]int{}
	for _, c := range containers {
		for _, port := range publishedPorts() {
			if c.Service == port.service && c.State == "running" {
				held[port.variable] = c.Ports[port.inside]
			}
		}
	}
	return held, nil
}

func (s *Stack) portsFile() string { return filepath.Join(s.Dir(), "ports.json") }

// readPorts are the ports that were picked for 0 earlier.
func (s *Stack) readPorts() map[string]int {
	picked := map[string]int{}
	content, err := os.ReadFile(s.portsFile())
	if err != nil || json.Unmarshal(content, &picked) != nil {
		return map[string]int{} // the first time, or not worth keeping
	}
	return picked
}

// picker finds free ports. It holds what it found until it is closed, so that
// no port is found twice. On a remote engine's address nothing can be tried
// from here; any address of this machine will do then.
type picker struct {
	bind      string
	listeners []net.Listener
}

// local refuses an address that this machine does not have.
func (p *picker) local(ctx context.Context) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(cmp.Or(p.bind, "127.0.0.1"), "0"))
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("%w: CUTOVER_BIND=%s is no address of this machine", ErrSettings, p.bind)
	}
	if err != nil {
		return fmt.Errorf("try the address %s: %w", p.bind, err)
	}
	return l.Close()
}

func (p *picker) pick(ctx context.Context) (int, error) {
	l, err := p.listen(ctx, 0)
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, nil
}

// still says whether a port that was picked earlier can be used.
func (p *picker) still(ctx context.Context, port int) bool {
	_, err := p.listen(ctx, port)
	return err == nil
}

func (p *picker) listen(ctx context.Context, port int) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(cmp.Or(p.bind, "127.0.0.1"), strconv.Itoa(port)))
	if err != nil && port == 0 {
		l, err = config.Listen(ctx, "tcp", ":0")
	}
	if err == nil {
		p.listeners = append(p.listeners, l)
	}
	return l, err
}

func (p *picker) close() error {
	var problems []error
	for _, l := range p.listeners {
		problems = append(problems, l.Close())
	}
	return errors.Join(problems...)
}
