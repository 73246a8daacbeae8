package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrGone says that a record was deleted, or expired, since it was read. It
// stays deleted.
var ErrGone = errors.New("the session no longer exists")

// mergeAttempts is the legacy system's number too.
const mergeAttempts = 10

// Backend is what a Store asks of a key-value store.
type Backend interface {
	// Get returns the value of a key, nil if there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Touch lets a key live for ttl from now, unless it lives longer anyhow.
	// It returns how long it lives, 0 if there is no such key.
	Touch(ctx context.Context, key string, ttl time.Duration) (time.Duration, error)
	// Create writes a key and ends an old one, unless that is "", both or
	// neither. It reports false if the key exists already.
	Create(ctx context.Context, key, old, mark string, value []byte, ttl time.Duration) (bool, error)
	// CompareAndSet writes a key if its value is still the one that was read,
	// and lets it live as Touch does. It returns the value that it found, nil
	// if the key is gone, and how long the key lives.
	CompareAndSet(ctx context.Context, key string, read, value []byte, ttl time.Duration) ([]byte, time.Duration, error)
	// End deletes a key, if it exists, and writes a mark in its place.
	End(ctx context.Context, key, mark string, ttl time.Duration) error
	// Claim exchanges something that may be used once for a key. The first
	// claim writes the key, unless that is "", and is remembered for ttl; the
	// ones after it get the key of the first.
	Claim(ctx context.Context, claim, key string, value []byte, ttl time.Duration) (string, error)
}

// Store keeps the session records that the two systems share. No write of
// one undoes a write or a logout of the other.
type Store struct {
	backend Backend
	ttl     time.Duration
}

// NewStore returns a store whose records live for ttl after their last use.
func NewStore(backend Backend, ttl time.Duration) *Store {
	return &Store{backend: backend, ttl: ttl}
}

// Load returns a record as it is stored, nil if there is none.
func (s *Store) Load(ctx context.Context, id string) ([]byte, error) {
	raw, err := s.backend.Get(ctx, key(id))
	if err != nil {
		return nil, fmt.Errorf("the session could not be read: %w", err)
	}
	return raw, nil
}

// Touch prolongs a record's life and returns how long it lives now, 0 if it
// does not exist any more.
func (s *Store) Touch(ctx context.Context, id string) (time.Duration, error) {
	left, err := s.backend.Touch(ctx, key(id), s.ttl)
	if err != nil {
		return 0, fmt.Errorf("the session could not be prolonged: %w", err)
	}
	return left, nil
}

// Create stores a new record under an id that was never used, in place of the
// one under the old id, if there is one.
func (s *Store) Create(ctx context.Context, id, old string, record Record) error {
	var ended, marked string
	if old != "" {
		ended, marked = key(old), mark(old)
	}
	created, err := s.backend.Create(ctx, key(id), ended, marked, record.Encode(), s.ttl)
	if err != nil {
		return fmt.Errorf("the session could not be created: %w", err)
	}
	if !created {
		return errors.New("the session could not be created: its id is taken")
	}
	return nil
}

// Update applies changes to a record that was read as raw, and returns how
// long it lives then. If someone else wrote it meanwhile, the changes are
// applied to what they wrote; if someone deleted it, Update returns ErrGone.
func (s *Store) Update(ctx context.Context, id string, raw []byte, changes Changes) (time.Duration, error) {
	for range mergeAttempts {
		record, err := ParseRecord(raw)
		if err != nil {
			return 0, err
		}
		found, left, err := s.backend.CompareAndSet(ctx, key(id), raw, record.With(changes).Encode(), s.ttl)
		switch {
		case err != nil:
			return 0, fmt.Errorf("the session could not be saved: %w", err)
		case found == nil:
			return 0, ErrGone
		case bytes.Equal(found, raw):
			return left, nil
		}
		raw = found
	}
	return 0, errors.New("the session could not be saved: other writers were always quicker")
}

// End deletes a record, and remembers for as long as its cookie may still come
// that it did not expire.
func (s *Store) End(ctx context.Context, id string) error {
	if err := s.backend.End(ctx, key(id), mark(id), s.ttl); err != nil {
		return fmt.Errorf("the session could not be deleted: %w", err)
	}
	return nil
}

// Ended reports whether a record was deleted rather than expired.
func (s *Store) Ended(ctx context.Context, id string) (bool, error) {
	found, err := s.backend.Get(ctx, mark(id))
	if err != nil {
		return false, fmt.Errorf("the session could not be read: %w", err)
	}
	return found != nil, nil
}

// Claim exchanges a session from before the migration, once, for a record
// under a new id that lives for ttl. The claim names that session. It returns
// the id: an older one if the session was exchanged before, "" if it was given
// up. With the id "" it gives the session up.
func (s *Store) Claim(ctx context.Context, claim, id string, record Record, ttl time.Duration) (string, error) {
	claimed := ""
	if id != "" {
		claimed = key(id)
	}
	owner, err := s.backend.Claim(ctx, "bridged:"+claim, claimed, record.Encode(), ttl)
	if err != nil {
		return "", fmt.Errorf("the session from before could not be taken over: %w", err)
	}
	return strings.TrimPrefix(owner, keyPrefix), nil
}

// Private

const keyPrefix = "session:"

func key(id string) string { return keyPrefix + id }

func mark(id string) string { return "ended:" + id }
