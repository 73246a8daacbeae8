package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
)

// Private

// image says how one of the environment's images is made.
type image struct {
	name       string   // the repository is cutover-<name>
	variable   string   // the variable that replaces it
	services   []string // that run it
	dir        string   // the build context, relative to the checkout
	dockerfile string   // inside the context
	files      []string // what of the context is sent
	binary     string   // the Go program inside, below cmd/; "" for none
	binaryArg  string   // the Dockerfile's argument for its path
}

func images() []image {
	return []image{
		{name: "edge", variable: "CUTOVER_EDGE_IMAGE", services: []string{"nginx", "guard"}, dir: ".", dockerfile: "nginx/Dockerfile", files: []string{"nginx"}, binary: "guard", binaryArg: "GUARD"},
		{name: "flask", variable: "CUTOVER_FLASK_IMAGE", services: []string{"flask"}, dir: "flask-stub", dockerfile: "Dockerfile", files: []string{"."}},
		{name: "goapp", variable: "CUTOVER_GOAPP_IMAGE", services: []string{"goapp"}, dir: ".", dockerfile: "compose/goapp.Dockerfile", files: []string{"compose/goapp.Dockerfile"}, binary: "goapp", binaryArg: "BINARY"},
		{name: "sink", variable: "CUTOVER_SINK_IMAGE", services: []string{"sink"}, dir: ".", dockerfile: "compose/sink.Dockerfile", files: []string{"compose/sink.Dockerfile"}, binary: "sink", binaryArg: "BINARY"},
		{name: "postgres", variable: "CUTOVER_POSTGRES_IMAGE", services: []string{"postgres"}, dir: "compose/postgres", dockerfile: "Dockerfile", files: []string{"."}},
		{name: "redis", variable: "CUTOVER_REDIS_IMAGE", services: []string{"redis"}, dir: "compose/redis", dockerfile: "Dockerfile", files: []string{"."}},
		{name: "prometheus", variable: "CUTOVER_PROMETHEUS_IMAGE", services: []string{"prometheus"}, dir: "prometheus", dockerfile: "Dockerfile", files: []string{"."}},
	}
}

// staleImages is how old an image that nothing uses may become.
const staleImages = 24 * time.Hour

// prepareImages returns the image of every service by its variable, and builds
// those that are neither given nor there already.
func (s *Stack) prepareImages(ctx context.Context) (map[string]string, error) {
	result := map[string]string{}
	var missing []image
	for _, img := range images() {
		if given := s.settings.Getenv(img.variable); given != "" {
			if err := s.fetchService(ctx, img.variable, given); err != nil {
				return nil, err
			}
			result[img.variable] = given
			continue
		}
		missing = append(missing, img)
	}
	if len(missing) == 0 {
		return result, nil
	}
	info, err := s.engine.Info(ctx)
	if err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	compiled := make(chan struct{})
	group.Go(func() error {
		defer close(compiled)
		return s.buildBinaries(groupCtx, missing, info.Arch)
	})
	built := make([]string, len(missing))
	group.Go(func() error {
		base, err := s.prepareBase(groupCtx)
		if err != nil {
			return err
		}
		for i, img := range missing {
			group.Go(func() (err error) {
				if img.binary != "" {
					<-compiled
				}
				built[i], err = s.buildImage(groupCtx, img, base, info.Arch)
				return err
			})
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, img := range missing {
		result[img.variable] = built[i]
	}
	return result, nil
}

// buildBinaries compiles the programs that go into images, for the engine's
// architecture.
func (s *Stack) buildBinaries(ctx context.Context, images []image, arch string) error {
	var packages []string
	for _, img := range images {
		if img.binary != "" {
			packages = append(packages, "./cmd/"+img.binary)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	event.Work(s.events, "programs", "compiling "+strings.Join(packages, ", "))
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", binaryDir(arch) + "/"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = s.settings.Root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if output, err := cmd.CombinedOutput(); err != nil {
		event.Fail(s.events, "programs", "did not compile")
		return fmt.Errorf("compile %s: %w\n%s", strings.Join(packages, ", "), err, output)
	}
	event.Finish(s.events, "programs", "compiled")
	return nil
}

// buildImage builds one image, unless the same content was built before: the
// tag is the hash of everything that goes into it.
func (s *Stack) buildImage(ctx context.Context, img image, base, arch string) (string, error) {
	subject := "image " + img.name
	baseID, err := s.engine.ImageID(ctx, base)
	if err != nil {
		return "", err
	}
	args := map[string]string{"BASE": base}
	files := img.files
	if img.binary != "" {
		path := binaryDir(arch) + "/" + img.binary
		args[img.binaryArg] = path
		files = append([]string{path}, files...)
	}
	var content bytes.Buffer
	digest, err := packContext(&content, filepath.Join(s.settings.Root, img.dir), files)
	if err != nil {
		return "", fmt.Errorf("read what goes into the image %s: %w", img.name, err)
	}
	tag := "cutover-" + img.name + ":" + shortHash(digest, baseID, img.dockerfile, fmt.Sprint(args))
	if id, err := s.engine.ImageID(ctx, tag); err != nil || id != "" {
		return tag, err
	}
	event.Work(s.events, subject, "building")
	err = s.engine.BuildImage(ctx, engine.Build{
		Tag: tag, Dockerfile: img.dockerfile, Context: &content, Args: args,
		Labels: map[string]string{"cutover.image": img.name},
	}, func(line string) { event.Work(s.events, subject, line) })
	if err != nil {
		event.Fail(s.events, subject, "could not be built")
		return "", err
	}
	event.Finish(s.events, subject, "built")
	if err := s.engine.PruneTags(ctx, "cutover-"+img.name, tag, staleImages); err != nil {
		event.Warn(s.events, subject, "older images were not removed: "+err.Error())
	}
	return tag, nil
}

func binaryDir(arch string) string { return "bin/linux-" + arch }

// prepareBase returns the base image: the one of CUTOVER_BASE_IMAGE, else the
// one made before, else a new one.
func (s *Stack) prepareBase(ctx context.Context) (string, error) {
	const subject = "image base"
	if given := s.settings.Getenv(baseVariable); given != "" {
		return given, s.fetchImage(ctx, baseVariable, given)
	}
	tag, content, err := s.baseTag()
	if err != nil {
		return "", err
	}
	if id, err := s.engine.ImageID(ctx, tag); err != nil || id != "" {
		return tag, err
	}
	event.Work(s.events, subject, "asking a registry for "+publicBase)
	root := publicBase
	if err := s.pullPublicBase(ctx); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		event.Work(s.events, subject, "no registry answers; making it from the machine's Debian mirror")
		root = strings.Replace(tag, ":", "-root:", 1)
		if err := s.bootstrapBase(ctx, root); err != nil {
			event.Fail(s.events, subject, "could not be made")
			return "", fmt.Errorf("the base image can neither be pulled (%s) nor made from a Debian mirror: %w; CUTOVER_BASE_IMAGE names one that is there", publicBase, err)
		}
	}
	err = s.engine.BuildImage(ctx, engine.Build{
		Tag: tag, Dockerfile: "base.Dockerfile", Context: content, Args: map[string]string{"ROOT": root},
	}, func(line string) { event.Work(s.events, subject, line) })
	if err != nil {
		event.Fail(s.events, subject, "could not be built")
		return "", err
	}
	if err := s.engine.TagImage(ctx, tag, baseRepository); err != nil {
		return "", err
	}
	event.Finish(s.events, subject, "made from "+root)
	return tag, nil
}

// baseTag names the base image by its content, which it returns too.
func (s *Stack) baseTag() (string, io.Reader, error) {
	var content bytes.Buffer
	digest, err := packContext(&content, filepath.Join(s.settings.Root, "compose"), []string{"base.Dockerfile", "bootstrap.sh", "apt-packages"})
	if err != nil {
		return "", nil, fmt.Errorf("read what goes into the base image: %w", err)
	}
	return baseRepository + ":" + shortHash(digest), &content, nil
}

// fetchImage makes sure that an image which a variable names is there.
func (s *Stack) fetchImage(ctx context.Context, variable, ref string) error {
	id, err := s.engine.ImageID(ctx, ref)
	if errors.Is(err, engine.ErrUnavailable) || id != "" {
		return err
	}
	if err != nil {
		return badImage(variable, ref, err)
	}
	subject := "image " + ref
	event.Work(s.events, subject, "fetching")
	pulling, cancel := context.WithTimeout(ctx, pullPatience)
	defer cancel()
	if err := s.engine.PullImage(pulling, ref); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		event.Fail(s.events, subject, "cannot be fetched")
		return badImage(variable, ref, fmt.Errorf("the engine does not have it, and no registry gave it: %w", err))
	}
	event.Finish(s.events, subject, "fetched")
	return nil
}

// fetchService makes sure that a service can start from the image that a
// variable names.
func (s *Stack) fetchService(ctx context.Context, variable, ref string) error {
	if err := s.fetchImage(ctx, variable, ref); err != nil {
		return err
	}
	err := s.engine.CheckImage(ctx, ref)
	if err == nil || errors.Is(err, engine.ErrUnavailable) {
		return err
	}
	return badImage(variable, ref, err)
}

const (
	baseVariable   = "CUTOVER_BASE_IMAGE"
	baseRepository = "cutover-base"
	publicBase     = "debian:trixie-slim"
	pullPatience   = 2 * time.Minute
)

func (s *Stack) pullPublicBase(ctx context.Context) error {
	if id, err := s.engine.ImageID(ctx, publicBase); err != nil || id != "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pullPatience)
	defer cancel()
	return s.engine.PullImage(ctx, publicBase)
}

// bootstrapBase streams the bootstrap's tar straight into the engine.
func (s *Stack) bootstrapBase(ctx context.Context, ref string) error {
	if id, err := s.engine.ImageID(ctx, ref); err != nil || id != "" {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stderr tail
	cmd := exec.CommandContext(ctx, "sh", filepath.Join(s.settings.Root, "compose", "bootstrap.sh"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = &stderr
	spool, err := os.CreateTemp("", "cutover-base-*.tar")
	if err != nil {
		return err
	}
	defer func() { _ = spool.Close(); _ = os.Remove(spool.Name()) }()
	cmd.Stdout = spool
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(stderr.kept)))
	}
	if _, err := spool.Seek(0, 0); err != nil {
		return err
	}
	return s.engine.ImportImage(ctx, spool, ref)
}
