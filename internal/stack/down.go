package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker/compose/v5/pkg/api"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
)

// helperLabel marks short-lived containers of the tool itself.
const helperLabel = "cutover.helper"

// Exists says whether anything of the environment is on the engine.
func (s *Stack) Exists(ctx context.Context) (bool, error) {
	projects, err := s.engine.Projects(ctx)
	return slices.Contains(projects, s.settings.Project), err
}

// Down removes containers and networks; with volumes, also all data, the
// secrets and their copy on this machine. An environment that is not there is
// no error.
func (s *Stack) Down(ctx context.Context, volumes bool) (err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	service, err := s.composeService()
	if err != nil {
		return err
	}
	if err := s.removeHelpers(ctx); err != nil {
		return err
	}
	err = service.Down(ctx, s.settings.Project, api.DownOptions{RemoveOrphans: true, Volumes: volumes})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("remove the services: %w", err)
	}
	if !volumes {
		return nil
	}
	names, err := s.engine.Volumes(ctx, engine.LabelProject+"="+s.settings.Project)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.engine.RemoveVolume(ctx, name); err != nil {
			return err
		}
	}
	for _, path := range []string{s.secretsCopy(), s.authorityFile(), s.portsFile(), filepath.Join(s.Dir(), "baseline.json")} {
		if err := ignoreMissing(os.Remove(path)); err != nil {
			return fmt.Errorf("remove what belongs to the environment on this machine: %w", err)
		}
	}
	// Nothing else may be kept there; the lock is ours until we end.
	if err := ignoreMissing(os.Remove(s.lockFile())); err != nil {
		return fmt.Errorf("remove what belongs to the environment on this machine: %w", err)
	}
	_ = os.Remove(s.Dir())
	event.Finish(s.events, "volumes", "removed")
	return nil
}

// Private

// removeHelpers removes helper containers that a killed command left behind.
func (s *Stack) removeHelpers(ctx context.Context) error {
	helpers, err := s.engine.ContainersLabelled(ctx, helperLabel+"="+s.settings.Project)
	if err != nil {
		return err
	}
	for _, id := range helpers {
		if err := s.engine.RemoveContainer(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
