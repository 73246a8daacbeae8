package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/pkg/stdcopy"
)

// Labels that Compose puts on what it makes.
const (
	LabelProject = "com.docker.compose.project"
	LabelService = "com.docker.compose.service"
)

// ErrNoContainer means that there is no container of that name.
var ErrNoContainer = errors.New("there is no such container")

// Container is what the engine knows of one container of a project.
type Container struct {
	ID      string
	Name    string
	Service string
	Image   string
	State   string      // created, running, paused, restarting, exited, dead
	Health  string      // starting, healthy, unhealthy; "" without a healthcheck
	Ports   map[int]int // container port → published port
	Bind    string      // the address that they are published on, "" for none
	Check   string      // what the last healthcheck printed
	Exit    int         // exit code, when exited
	Labels  map[string]string
	ImageID string   // the image's digest
	IPs     []string // its addresses, in no order
}

// Containers lists all containers of a Compose project, stopped ones too,
// ordered by name.
func (e *Engine) Containers(ctx context.Context, project string) ([]Container, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{
		All:     true,
		Filters: filters.NewArgs(filters.Arg("label", LabelProject+"="+project)),
	})
	if err != nil {
		return nil, e.wrap("list the containers of "+project, err)
	}
	containers := make([]Container, 0, len(list))
	for _, summary := range list {
		c, err := e.Inspect(ctx, summary.ID)
		if errors.Is(err, ErrNoContainer) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		containers = append(containers, c)
	}
	slices.SortFunc(containers, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return containers, nil
}

// Inspect looks at one container, by name or ID.
func (e *Engine) Inspect(ctx context.Context, name string) (Container, error) {
	i, err := e.api.ContainerInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return Container{}, fmt.Errorf("%w: %s", ErrNoContainer, name)
	}
	if err != nil {
		return Container{}, e.wrap("inspect container "+name, err)
	}
	c := Container{
		ID:      i.ID,
		Name:    strings.TrimPrefix(i.Name, "/"),
		Service: i.Config.Labels[LabelService],
		Image:   i.Config.Image,
		State:   string(i.State.Status),
		Exit:    i.State.ExitCode,
		Ports:   map[int]int{},
		Labels:  i.Config.Labels,
		ImageID: i.ContainerJSONBase.Image,
	}
	if i.NetworkSettings != nil {
		for _, network := range i.NetworkSettings.Networks {
			if network != nil && network.IPAddress != "" {
				c.IPs = append(c.IPs, network.IPAddress)
			}
		}
	}
	if i.State.Health != nil {
		c.Health = string(i.State.Health.Status)
		if n := len(i.State.Health.Log); n > 0 {
			c.Check = strings.TrimSpace(i.State.Health.Log[n-1].Output)
		}
	}
	if i.HostConfig != nil {
		for port, bindings := range i.HostConfig.PortBindings {
			for _, b := range bindings {
				if published, err := strconv.Atoi(b.HostPort); err == nil {
					c.Ports[port.Int()], c.Bind = published, b.HostIP
				}
			}
		}
	}
	return c, nil
}

// Start starts a stopped container; a running one stays as it is.
func (e *Engine) Start(ctx context.Context, name string) error {
	return e.wrap("start "+name, e.api.ContainerStart(ctx, name, container.StartOptions{}))
}

// Stop ends a container: it is asked, and killed after its grace period. The
// engine does not start it again.
func (e *Engine) Stop(ctx context.Context, name string) error {
	return e.wrap("stop "+name, e.api.ContainerStop(ctx, name, container.StopOptions{}))
}

// Kill ends a container with SIGKILL. The engine does not restart it.
func (e *Engine) Kill(ctx context.Context, name string) error {
	return e.wrap("kill "+name, e.api.ContainerKill(ctx, name, "KILL"))
}

// Pause freezes a container's processes.
func (e *Engine) Pause(ctx context.Context, name string) error {
	return e.wrap("pause "+name, e.api.ContainerPause(ctx, name))
}

// Unpause thaws them.
func (e *Engine) Unpause(ctx context.Context, name string) error {
	return e.wrap("unpause "+name, e.api.ContainerUnpause(ctx, name))
}

// Rename gives a container another name.
func (e *Engine) Rename(ctx context.Context, name, wanted string) error {
	return e.wrap("rename "+name+" to "+wanted, e.api.ContainerRename(ctx, name, wanted))
}

// RemoveContainer removes a container, running or not; one that is gone
// already is no error.
func (e *Engine) RemoveContainer(ctx context.Context, name string) error {
	err := e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return e.wrap("remove container "+name, err)
}

// Logs returns the last lines of what a container printed, both streams.
func (e *Engine) Logs(ctx context.Context, name string, lines int) (text string, err error) {
	body, err := e.api.ContainerLogs(ctx, name, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines),
	})
	if err != nil {
		return "", e.wrap("read the log of "+name, err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, body); err != nil {
		return "", e.wrap("read the log of "+name, err)
	}
	return out.String(), nil
}

// ContainersLabelled lists the IDs of all containers with a label, given as
// key=value.
func (e *Engine) ContainersLabelled(ctx context.Context, label string) ([]string, error) {
	list, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label))})
	if err != nil {
		return nil, e.wrap("list containers", err)
	}
	ids := make([]string, 0, len(list))
	for _, summary := range list {
		ids = append(ids, summary.ID)
	}
	return ids, nil
}

// Projects lists the Compose projects that have a container, a volume or a
// network on the engine.
func (e *Engine) Projects(ctx context.Context) ([]string, error) {
	labelled := filters.NewArgs(filters.Arg("label", LabelProject))
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled})
	if err != nil {
		return nil, e.wrap("list projects", err)
	}
	volumes, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: labelled})
	if err != nil {
		return nil, e.wrap("list projects", err)
	}
	networks, err := e.api.NetworkList(ctx, network.ListOptions{Filters: labelled})
	if err != nil {
		return nil, e.wrap("list projects", err)
	}
	var projects []string
	for _, c := range containers {
		projects = append(projects, c.Labels[LabelProject])
	}
	for _, v := range volumes.Volumes {
		projects = append(projects, v.Labels[LabelProject])
	}
	for _, n := range networks {
		projects = append(projects, n.Labels[LabelProject])
	}
	slices.Sort(projects)
	return slices.Compact(projects), nil
}
