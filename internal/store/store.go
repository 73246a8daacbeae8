// Package store keeps the guard's state through crashes: state.json, which is
// replaced as a whole, and journal.jsonl, to which every change is appended
// first. A change has happened once its line of the journal is on disk; all
// else can be made again from there.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Names of the files, inside the store's folder.
const (
	stateFile   = "state.json"
	journalFile = "journal.jsonl"
	tableFile   = "table.json" // what nginx reads when it starts
	homeFile    = "home"       // where nginx sends everything without a table
	lockFile    = "lock"
	glassFile   = "break-glass" // while it is there, nginx serves python only
	reserveFile = "reserve"     // space to record a move back on a full disk
)

// Store is the one writer of the state's files.
type Store struct {
	dir  string
	disk Disk
	log  *slog.Logger
	lock *os.File

	mu      sync.Mutex
	state   rollout.State
	plan    rollout.Plan  // that the state follows; empty where it was lost
	seq     uint64        // of the last event
	size    int64         // of the journal, up to the end of its last event
	broken  error         // why nothing can be recorded
	changed chan struct{} // closed at the next event
	reserve bool          // the reserve is known to be there
}

// reserveSize is enough for the files of an event: four of some kilobytes each.
const reserveSize = 64 << 10

// snapshot is the form of state.json.
type snapshot struct {
	rollout.State
	Seq     uint64        `json:"seq"` // the last event that the state includes
	Content *rollout.Plan `json:"plan_content,omitempty"`
}

// Open waits for the lock until the context ends, and reads the state. What
// it finds damaged it says in the log and does without: a guard has to come up
// with any files.
func Open(ctx context.Context, dir string, log *slog.Logger) (*Store, error) {
	held, err := lock(ctx, filepath.Join(dir, lockFile), func() {
		log.Warn("waiting for the lock, another guard is running", "file", filepath.Join(dir, lockFile))
	})
	if err != nil {
		return nil, err
	}
	s := OpenOn(OS{}, dir, log)
	s.lock = held
	return s, nil
}

// OpenOn reads the state from any disk, without a lock.
func OpenOn(disk Disk, dir string, log *slog.Logger) *Store {
	s := &Store{dir: dir, disk: disk, log: log, changed: make(chan struct{})}
	last := s.openJournal()
	s.openState(last)
	return s
}

// Close releases the lock.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// State is the recorded state; its generation is 0 when there is none.
func (s *Store) State() rollout.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Plan is the plan that the recorded state follows; it is empty where there is
// none, or where it was lost.
func (s *Store) Plan() rollout.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan.Hash != s.state.Plan.Hash {
		return rollout.Plan{}
	}
	return s.plan
}

// Home is the recorded home, or "" when there is none.
func (s *Store) Home() edge.System {
	text, err := s.read(homeFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Error("the home file cannot be read", "file", s.path(homeFile), "error", err)
		}
		return ""
	}
	home := edge.System(trim(text))
	if !home.Valid() {
		s.log.Error("the home file holds neither python nor go", "file", s.path(homeFile))
		return ""
	}
	return home
}

// BreakGlass is what the one who broke the glass wrote down.
type BreakGlass struct {
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	Time   string `json:"time"`
}

// BreakGlass tells whether the glass is broken: whether its file is there,
// whatever it holds.
func (s *Store) BreakGlass() (found BreakGlass, broken bool) {
	text, err := s.read(glassFile)
	if errors.Is(err, fs.ErrNotExist) {
		return BreakGlass{}, false
	}
	if err == nil {
		found, err = parseBreakGlass(text)
	} else {
		found, _ = parseBreakGlass(nil)
	}
	if err != nil {
		s.log.Debug("the break-glass file cannot be understood", "file", s.path(glassFile), "error", err)
	}
	return found, true
}

// Commit records an event and the state after it: all of it, or, when it
// returns an error, nothing. It returns the event with its number.
//
// Everything that takes space is written before the journal's line, which is
// the point of no return; what follows are renames.
func (s *Store) Commit(event rollout.Event) (rollout.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return event, s.broken
	}
	event.Seq = s.seq + 1
	line, err := json.Marshal(event)
	if err != nil {
		return event, fmt.Errorf("the event has no JSON form: %w", err)
	}
	files, err := s.stage(event)
	if err != nil {
		return event, err
	}
	if err := s.append(append(line, '\n')); err != nil {
		s.discard(files)
		return event, err
	}
	s.state, s.seq, s.size = event.After, event.Seq, s.size+int64(len(line))+1
	if event.Plan != nil {
		s.plan = *event.Plan
	}
	close(s.changed)
	s.changed = make(chan struct{})
	if err := s.replace(files...); err != nil {
		// The journal has it: the next commit or the next start makes it good.
		s.log.Error("a file is older than the journal", "error", err)
	}
	return event, nil
}

// SaveTable replaces the copy that nginx reads when it starts.
func (s *Store) SaveTable(table edge.Table) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, err := json.Marshal(table)
	if err != nil {
		return fmt.Errorf("the table has no JSON form: %w", err)
	}
	return s.save(tableFile, content)
}

// DropTable deletes nginx's copy, so that an nginx that starts sends
// everything home. It needs no space on the disk.
func (s *Store) DropTable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.disk.Remove(s.path(tableFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.disk.SyncDir(s.dir)
}

// KeepReserve holds some space of the disk back, if there is enough.
func (s *Store) KeepReserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserve {
		return
	}
	if found, err := s.read(reserveFile); err == nil && len(found) == reserveSize {
		s.reserve = true
		return
	}
	err := s.write(reserveFile, make([]byte, reserveSize))
	if err := errors.Join(err, s.disk.SyncDir(s.dir)); err != nil {
		s.log.Debug("no space is held back", "file", s.path(reserveFile), "error", err)
		s.dropReserve()
		return
	}
	s.reserve = true
}

// SpendReserve gives back the space that was held back, and tells whether there
// was any.
func (s *Store) SpendReserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserve = false
	return s.dropReserve()
}

// Private

func (s *Store) dropReserve() bool {
	if s.disk.Remove(s.path(reserveFile)) != nil {
		return false
	}
	return s.disk.SyncDir(s.dir) == nil
}

func (s *Store) path(name string) string {
	return filepath.Join(s.dir, name)
}

// openState takes state.json, or the journal's last event where that is newer
// or state.json is of no use.
func (s *Store) openState(last *rollout.Event) {
	found, err := s.readState()
	switch {
	case err == nil:
		s.state = found.State
		s.seq = max(s.seq, found.Seq)
	case !errors.Is(err, fs.ErrNotExist):
		s.log.Error("the state file cannot be used, rebuilding the state", "file", s.path(stateFile), "error", err)
		s.keepAside(stateFile)
	}
	newer := last != nil && (err != nil || last.Seq > found.Seq)
	if newer {
		s.log.Warn("taking the state from the journal", "file", s.path(journalFile), "seq", last.Seq)
		s.state = last.After
	}
	if err == nil && found.Content != nil && s.plan.Hash != s.state.Plan.Hash {
		s.plan = *found.Content // the journal is not whole
	}
	if !newer {
		return
	}
	content, err := json.Marshal(s.snapshot(*last))
	if err == nil {
		err = s.save(stateFile, content)
	}
	if err != nil {
		s.log.Error("the state file is older than the journal", "error", err)
	}
}

// snapshot is what state.json holds after an event.
func (s *Store) snapshot(event rollout.Event) snapshot {
	plan := s.plan
	if event.Plan != nil {
		plan = *event.Plan
	}
	if plan.Hash == "" || plan.Hash != event.After.Plan.Hash {
		return snapshot{State: event.After, Seq: event.Seq}
	}
	return snapshot{State: event.After, Seq: event.Seq, Content: &plan}
}

func (s *Store) readState() (snapshot, error) {
	var found snapshot
	text, err := s.read(stateFile)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return found, fmt.Errorf("it is not a state in JSON: %w", err)
	}
	return found, found.Validate()
}

// keepAside renames a damaged file, for a person to look at.
func (s *Store) keepAside(name string) {
	if err := s.disk.Rename(s.path(name), s.path(name)+".damaged"); err != nil {
		s.log.Error("the damaged file could not be kept aside", "file", s.path(name), "error", err)
	}
}
