// Package stack makes, starts and removes the environment: the images, the
// secrets and the Compose project of eight services.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
)

// ErrUnhealthy is wrapped by the error of an Up whose services did not become
// healthy.
var ErrUnhealthy = errors.New("the environment is not healthy")

// DefaultProject is the environment of whoever names none.
const DefaultProject = "cutover"

// ErrSettings is wrapped by errors about a variable or name that the user gave.
var ErrSettings = errors.New("bad setting")

// Settings say which environment is meant and where it is made from. All but
// Root and Project may be empty.
type Settings struct {
	Root    string // the checkout: compose/, nginx/, … are below it
	Project string // the Compose project's name
	Getenv  func(string) string
}

// Stack is one environment on one engine.
type Stack struct {
	settings Settings
	engine   *engine.Engine
	events   event.Sink
}

// New returns the environment that the settings describe. Nothing is started.
func New(settings Settings, e *engine.Engine, events event.Sink) (*Stack, error) {
	if err := ValidateProject(settings.Project); err != nil {
		return nil, err
	}
	return &Stack{settings: settings, engine: e, events: events}, nil
}

// ValidateProject refuses names that Compose would refuse later.
func ValidateProject(name string) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`).MatchString(name) {
		return fmt.Errorf("%w: --project %q: lower-case letters, digits, - and _, at most 63, beginning with a letter or digit", ErrSettings, name)
	}
	return nil
}

// FindRoot looks for the checkout that holds dir.
func FindRoot(dir string) (string, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for at := start; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, composeFile)); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%w: there is no %s in %s or above: run cutover inside its checkout, or set CUTOVER_ROOT", ErrSettings, composeFile, start)
		}
	}
}

// Model is what Compose needs to know: one file, and the variables in it.
type Model struct {
	Project string
	File    string
	Env     map[string]string
}

// Prepare makes everything that has to be there before Compose starts the
// services: binaries, images, secrets and free ports. The edge's settings are
// variables for the compose file too. It is idempotent, and may be interrupted
// at any point and run again.
func (s *Stack) Prepare(ctx context.Context, edge map[string]string) (Model, error) {
	if err := s.checkPorts(ctx); err != nil {
		return Model{}, err
	}
	bind, _, err := s.readSettings()
	if err != nil {
		return Model{}, err
	}
	certificate, err := s.certificate(bind)
	if err != nil {
		return Model{}, err
	}
	images, err := s.prepareImages(ctx)
	if err != nil {
		return Model{}, err
	}
	secrets, err := s.prepareSecrets(ctx, images["CUTOVER_EDGE_IMAGE"], &certificate)
	if err != nil {
		return Model{}, err
	}
	env := images
	ports, err := s.choosePorts(ctx)
	if err != nil {
		return Model{}, err
	}
	maps.Copy(env, ports)
	maps.Copy(env, edge)
	env["CUTOVER_SECRETS_VOLUME"] = s.secretsVolume()
	env["CUTOVER_CERTIFICATE"] = fingerprint(secrets)
	env["CUTOVER_PUBLIC_URL"] = "https://" + certificate.host() + ":" + env["CUTOVER_EDGE_HTTPS_PORT"]
	if edge["CUTOVER_PLAIN_HTTP"] == "true" {
		env["CUTOVER_PUBLIC_URL"] = "http://" + certificate.host() + ":" + env["CUTOVER_EDGE_HTTP_PORT"]
	}
	return Model{Project: s.settings.Project, File: filepath.Join(s.settings.Root, composeFile), Env: env}, nil
}

// Dir is the folder on this machine for what belongs to this environment.
func (s *Stack) Dir() string {
	return filepath.Join(s.settings.Root, ".cutover", s.settings.Project)
}

// Events is where the progress of this environment's work is shown.
func (s *Stack) Events() event.Sink { return s.events }

// Container is the name of a service's container.
func (s *Stack) Container(service string) string {
	return s.settings.Project + "-" + service + "-1"
}

// Private

const composeFile = "compose/compose.yaml"

// writePrivate replaces a file that only its owner may read.
func writePrivate(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(file.Name())))
		}
	}()
	if _, err := file.Write(content); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// tail keeps the last bytes of what is written to it, for error messages.
type tail struct {
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const limit = 4 << 10
	t.kept = append(t.kept, p...)
	if len(t.kept) > limit {
		t.kept = t.kept[len(t.kept)-limit:]
	}
	return len(p), nil
}

var _ io.Writer = (*tail)(nil)
