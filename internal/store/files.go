package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/cutover-dev/cutover/internal/rollout"
)

const (
	filePerm = 0o600
	staged   = ".new" // ending of a file that is about to replace another
)

// stage writes the files that go with an event beside those that they will
// replace.
func (s *Store) stage(event rollout.Event) ([]string, error) {
	state, err := json.Marshal(s.snapshot(event))
	if err != nil {
		return nil, fmt.Errorf("the state has no JSON form: %w", err)
	}
	table, err := json.Marshal(event.After.Table())
	if err != nil {
		return nil, fmt.Errorf("the table has no JSON form: %w", err)
	}
	files := []string{stateFile, homeFile, tableFile}
	for i, content := range [][]byte{state, []byte(event.After.Home), table} {
		if err := s.write(files[i]+staged, content); err != nil {
			s.discard(files[:i+1])
			return nil, err
		}
	}
	return files, nil
}

// replace puts staged files in the place of the old ones.
func (s *Store) replace(names ...string) error {
	var problems []error
	for _, name := range names {
		problems = append(problems, s.disk.Rename(s.path(name+staged), s.path(name)))
	}
	return errors.Join(append(problems, s.disk.SyncDir(s.dir))...)
}

// discard removes staged files, to give their space back; if that fails they
// do no harm.
func (s *Store) discard(names []string) {
	for _, name := range names {
		if err := s.disk.Remove(s.path(name + staged)); err != nil {
			s.log.Debug("a staged file stays behind", "file", s.path(name+staged), "error", err)
		}
	}
}

// save replaces one file.
func (s *Store) save(name string, content []byte) error {
	if err := s.write(name+staged, content); err != nil {
		s.discard([]string{name})
		return err
	}
	return s.replace(name)
}

func (s *Store) write(name string, content []byte) error {
	file, err := s.disk.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func (s *Store) read(name string) ([]byte, error) {
	file, err := s.disk.OpenFile(s.path(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.NewSectionReader(file, 0, math.MaxInt64))
	return content, errors.Join(err, file.Close())
}

// parseBreakGlass makes the best of what stands in the file.
func parseBreakGlass(text []byte) (BreakGlass, error) {
	var found BreakGlass
	err := json.Unmarshal(text, &found)
	if err != nil {
		found = BreakGlass{}
	}
	if found.Actor == "" {
		found.Actor = "unknown"
	}
	if found.Reason == "" {
		found.Reason = "break-glass"
	}
	return found, err
}

func trim(text []byte) string {
	return string(bytes.TrimSpace(text))
}
