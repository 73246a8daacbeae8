package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
)

// mountPoint is where Volume's carrier container sees the volume.
const mountPoint = "/volume"

// HasVolume says whether a volume of that name exists.
func (e *Engine) HasVolume(ctx context.Context, name string) (bool, error) {
	_, err := e.api.VolumeInspect(ctx, name)
	if cerrdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, e.wrap("inspect volume "+name, err)
}

// CreateVolume makes a volume, or leaves the one of that name alone.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	_, err := e.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
	return e.wrap("create volume "+name, err)
}

// Volumes lists the volumes with a label, given as key=value.
func (e *Engine) Volumes(ctx context.Context, label string) ([]string, error) {
	list, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", label))})
	if err != nil {
		return nil, e.wrap("list volumes", err)
	}
	names := make([]string, 0, len(list.Volumes))
	for _, v := range list.Volumes {
		names = append(names, v.Name)
	}
	return names, nil
}

// RemoveVolume removes a volume; one that is gone already is no error.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	err := e.api.VolumeRemove(ctx, name, false)
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return e.wrap("remove volume "+name, err)
}

// Carrier gives access to a volume's files through the engine's API alone: a
// container that mounts the volume and is never started, so that nothing runs
// and nothing of the host is needed.
type Carrier struct {
	engine *Engine
	id     string
	volume string
}

// OpenVolume makes a carrier for a volume, out of any local image. There is
// one carrier for a volume at a time: whoever comes second waits for the
// first. One that a killed command left behind is taken away.
func (e *Engine) OpenVolume(ctx context.Context, name, image string, labels map[string]string) (*Carrier, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*abandoned)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	container := name + "-access"
	for {
		id, err := e.createCarrier(ctx, container, name, image, labels)
		if err == nil {
			return &Carrier{engine: e, id: id, volume: name}, nil
		}
		if !cerrdefs.IsConflict(err) {
			return nil, e.wrap("open volume "+name, err)
		}
		if err := e.removeAbandoned(ctx, container); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("open volume %s: another command is at it: %w", name, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// Write unpacks a tar stream into the volume, owners included.
func (c *Carrier) Write(ctx context.Context, tar io.Reader) error {
	err := c.engine.api.CopyToContainer(ctx, c.id, mountPoint, tar, container.CopyToContainerOptions{})
	return c.engine.wrap("write to volume "+c.volume, err)
}

// Read returns the volume's content as tar; names begin with the mount
// point's own ("volume/").
func (c *Carrier) Read(ctx context.Context) (io.ReadCloser, error) {
	body, _, err := c.engine.api.CopyFromContainer(ctx, c.id, mountPoint)
	return body, c.engine.wrap("read volume "+c.volume, err)
}

// Close removes the carrier, also when ctx is over already.
func (c *Carrier) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	err := c.engine.RemoveContainer(ctx, c.id)
	if err != nil {
		return errors.Join(errors.New("a helper container was left behind"), err)
	}
	return nil
}

// Private

// abandoned is the age of a carrier that nobody uses any more; one that is in
// use lives for a fraction of a second.
const abandoned = 15 * time.Second

func (e *Engine) createCarrier(ctx context.Context, carrier, volume, image string, labels map[string]string) (string, error) {
	created, err := e.api.ContainerCreate(ctx,
		&container.Config{Image: image, Cmd: []string{"true"}, Labels: labels, NetworkDisabled: true},
		&container.HostConfig{Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: mountPoint}}},
		nil, nil, carrier)
	return created.ID, err
}

func (e *Engine) removeAbandoned(ctx context.Context, carrier string) error {
	i, err := e.api.ContainerInspect(ctx, carrier)
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return e.wrap("inspect container "+carrier, err)
	}
	made, err := time.Parse(time.RFC3339Nano, i.Created)
	if err == nil && time.Since(made) < abandoned {
		return nil
	}
	return e.RemoveContainer(ctx, carrier)
}
