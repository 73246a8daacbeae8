package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"
)

// ImageID returns the digest of a local image, or "" when there is none of
// that name.
func (e *Engine) ImageID(ctx context.Context, ref string) (string, error) {
	inspect, err := e.api.ImageInspect(ctx, ref)
	if cerrdefs.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", e.wrap("inspect image "+ref, err)
	}
	return inspect.ID, nil
}

// CheckImage says why containers of a local image cannot start here, if they
// cannot.
func (e *Engine) CheckImage(ctx context.Context, ref string) error {
	inspect, err := e.api.ImageInspect(ctx, ref)
	if err != nil {
		return e.wrap("inspect image "+ref, err)
	}
	info, err := e.Info(ctx)
	if err != nil {
		return err
	}
	switch {
	case inspect.Os != info.OS || inspect.Architecture != info.Arch:
		return fmt.Errorf("it is made for %s/%s, and the engine runs %s/%s", inspect.Os, inspect.Architecture, info.OS, info.Arch)
	case inspect.Config == nil || len(inspect.Config.Cmd)+len(inspect.Config.Entrypoint) == 0:
		return errors.New("it names no command to run")
	}
	return nil
}

// PullImage fetches ref from its registry. An error means that no registry
// answered or that it has no such image.
func (e *Engine) PullImage(ctx context.Context, ref string) (err error) {
	body, err := e.api.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return e.wrap("pull "+ref, err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return e.wrap("pull "+ref, readMessages(body, func(string) {}))
}

// TagImage gives an image a further name.
func (e *Engine) TagImage(ctx context.Context, ref, tag string) error {
	return e.wrap("tag "+ref+" as "+tag, e.api.ImageTag(ctx, ref, tag))
}

// SaveImage is an image with all of its layers, as a tar that docker load reads.
func (e *Engine) SaveImage(ctx context.Context, ref string) (io.ReadCloser, error) {
	body, err := e.api.ImageSave(ctx, []string{ref})
	if err != nil {
		return nil, e.wrap("save image "+ref, err)
	}
	return body, nil
}

// ImportImage makes an image of one layer out of a root file system as tar.
func (e *Engine) ImportImage(ctx context.Context, tar io.Reader, ref string) (err error) {
	body, err := e.api.ImageImport(ctx, image.ImportSource{Source: tar, SourceName: "-"}, ref, image.ImportOptions{
		Changes: []string{"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	})
	if err != nil {
		return e.wrap("import image "+ref, err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return e.wrap("import image "+ref, readMessages(body, func(string) {}))
}

// Build says how an image is built.
type Build struct {
	Tag        string
	Dockerfile string            // its path inside Context
	Context    io.Reader         // tar
	Args       map[string]string // ARG values
	Labels     map[string]string
}

// BuildImage builds with the engine's own builder. Every line that the build
// prints goes to output. The error of a failed step carries the last lines.
func (e *Engine) BuildImage(ctx context.Context, b Build, output func(line string)) (err error) {
	args := make(map[string]*string, len(b.Args))
	for name, value := range b.Args {
		args[name] = &value
	}
	response, err := e.api.ImageBuild(ctx, b.Context, build.ImageBuildOptions{
		Tags:        []string{b.Tag},
		Dockerfile:  b.Dockerfile,
		BuildArgs:   args,
		Labels:      b.Labels,
		Remove:      true,
		ForceRemove: true,
		Version:     build.BuilderV1,
	})
	if err != nil {
		return e.wrap("build image "+b.Tag, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	last := make([]string, 0, 12)
	err = readMessages(response.Body, func(line string) {
		if len(last) == cap(last) {
			last = append(last[:0], last[1:]...)
		}
		last = append(last, line)
		output(line)
	})
	if err != nil {
		return e.wrap("build image "+b.Tag, fmt.Errorf("%w; the last lines were:\n    %s", err, strings.Join(last, "\n    ")))
	}
	return nil
}

// PruneTags removes the images of a repository that are older than age, but
// for keep and those that a container uses.
func (e *Engine) PruneTags(ctx context.Context, repository, keep string, age time.Duration) error {
	images, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository))})
	if err != nil {
		return e.wrap("list images of "+repository, err)
	}
	limit := time.Now().Add(-age).Unix()
	for _, img := range images {
		for _, tag := range img.RepoTags {
			if tag == keep || img.Created > limit {
				continue
			}
			_, err := e.api.ImageRemove(ctx, tag, image.RemoveOptions{})
			if err != nil && !cerrdefs.IsConflict(err) && !cerrdefs.IsNotFound(err) {
				return e.wrap("remove image "+tag, err)
			}
		}
	}
	return nil
}

// Private

// readMessages follows the engine's stream of JSON messages to its end and
// returns the error that it carries, if any.
func readMessages(r io.Reader, output func(line string)) error {
	decoder := json.NewDecoder(bufio.NewReader(r))
	for {
		var m jsonmessage.JSONMessage
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the engine's answer broke off: %w", err)
		}
		if m.Error != nil {
			return m.Error
		}
		for line := range strings.Lines(m.Stream) {
			if line = strings.TrimSpace(line); line != "" {
				output(line)
			}
		}
	}
}
