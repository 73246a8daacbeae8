package store

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cutover-dev/cutover/internal/rollout"
)

// Reader goes through the journal's events in their order. It is for one
// goroutine.
type Reader struct {
	store  *Store
	after  uint64
	file   File
	lines  *bufio.Reader
	offset int64 // of the next line
	end    int64 // of what lines reads
}

// Events reads the events that follow the one with the given number.
func (s *Store) Events(after uint64) *Reader {
	return &Reader{store: s, after: after}
}

// Changed is closed when the next event is recorded. Ask for it before reading
// to the end.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Next is the next event, or io.EOF while there is none.
func (r *Reader) Next() (rollout.Event, error) {
	for {
		line, err := r.line()
		if err != nil {
			return rollout.Event{}, err
		}
		event, err := parseEvent(line)
		if err != nil || event.Seq <= r.after {
			continue // what is no event was reported when the journal was opened
		}
		r.after = event.Seq
		return event, nil
	}
}

// Close closes the journal's file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// Private

func (r *Reader) line() ([]byte, error) {
	for {
		if r.lines == nil {
			if err := r.more(); err != nil {
				return nil, err
			}
		}
		line, err := r.lines.ReadBytes('\n')
		if err == nil {
			r.offset += int64(len(line))
			return line, nil
		}
		r.lines = nil
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
		if r.offset < r.end {
			return nil, fmt.Errorf("the journal %s is shorter than what was recorded in it: %w",
				r.store.path(journalFile), io.ErrUnexpectedEOF)
		}
	}
}

// more makes what was recorded since the last reading readable.
func (r *Reader) more() error {
	r.store.mu.Lock()
	size := r.store.size
	r.store.mu.Unlock()
	if r.offset >= size {
		return io.EOF
	}
	if r.file == nil {
		file, err := r.store.disk.OpenFile(r.store.path(journalFile), os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		r.file = file
	}
	r.lines = bufio.NewReader(io.NewSectionReader(r.file, r.offset, size-r.offset))
	r.end = size
	return nil
}

// openJournal finds the last event, and cuts off the line that a crash left
// unfinished.
func (s *Store) openJournal() *rollout.Event {
	file, err := s.disk.OpenFile(s.path(journalFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.giveUp(err)
		return nil
	}
	last, err := s.scan(file)
	if err := errors.Join(err, file.Close()); err != nil {
		s.giveUp(err)
	}
	return last
}

// giveUp refuses to record anything: without knowing what the journal holds,
// a new event cannot be numbered.
func (s *Store) giveUp(err error) {
	s.broken = fmt.Errorf("the journal %s cannot be used: %w", s.path(journalFile), err)
	s.log.Error("nothing can be recorded", "file", s.path(journalFile), "error", err)
}

func (s *Store) scan(file File) (*rollout.Event, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	var last *rollout.Event
	lines := bufio.NewReader(io.NewSectionReader(file, 0, end))
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return last, err
		}
		s.size += int64(len(line))
		event, err := parseEvent(line)
		if err != nil {
			s.log.Error("skipping a damaged line of the journal", "file", s.path(journalFile), "line", number, "error", err)
			continue
		}
		if event.Seq > s.seq {
			s.seq, last = event.Seq, &event
			if event.Plan != nil {
				s.plan = *event.Plan
			}
		}
	}
	if s.size < end {
		s.log.Warn("cutting off the journal's unfinished last line", "file", s.path(journalFile), "bytes", end-s.size)
		return last, errors.Join(file.Truncate(s.size), file.Sync())
	}
	return last, nil
}

// append adds a line to the journal, or leaves it as it was. What an earlier
// failure may have left behind its last line is cut off first.
func (s *Store) append(line []byte) (err error) {
	file, err := s.disk.OpenFile(s.path(journalFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, filePerm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size < s.size {
		return fmt.Errorf("the journal %s became shorter while the guard was running", s.path(journalFile))
	}
	if size > s.size {
		if err := file.Truncate(s.size); err != nil {
			return err
		}
	}
	_, err = file.Write(line)
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		err = errors.Join(err, file.Truncate(s.size), file.Sync())
	}
	return err
}

func parseEvent(line []byte) (rollout.Event, error) {
	var event rollout.Event
	if err := json.Unmarshal(line, &event); err != nil {
		return event, err
	}
	if event.Seq == 0 {
		return event, errors.New("it has no number")
	}
	return event, event.After.Validate()
}
