package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	// Touch lets a key live for ttl from now, and reports whether it exists.
	Touch(ctx context.Context, key string, ttl time.Duration) (bool, error)
	// Create writes a key and deletes the old one, unless that is "", both or
	// neither. It reports false if the key exists already.
	Create(ctx context.Context, key, old string, value []byte, ttl time.Duration) (bool, error)
	// CompareAndSet writes a key if its value is still the one that was read.
	// It returns the value that it found, nil if the key is gone.
	CompareAndSet(ctx context.Context, key string, read, value []byte, ttl time.Duration) ([]byte, error)
	// Delete removes a key, if it exists.
	Delete(ctx context.Context, key string) error
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

// Touch prolongs a record's life and reports whether it still exists.
func (s *Store) Touch(ctx context.Context, id string) (bool, error) {
	exists, err := s.backend.Touch(ctx, key(id), s.ttl)
	if err != nil {
		return false, fmt.Errorf("the session could not be prolonged: %w", err)
	}
	return exists, nil
}

// Create stores a new record under an id that was never used, in place of the
// one under the old id, if there is one.
func (s *Store) Create(ctx context.Context, id, old string, record Record) error {
	if old != "" {
		old = key(old)
	}
	created, err := s.backend.Create(ctx, key(id), old, record.Encode(), s.ttl)
	if err != nil {
		return fmt.Errorf("the session could not be created: %w", err)
	}
	if !created {
		return errors.New("the session could not be created: its id is taken")
	}
	return nil
}

// Update applies changes to a record that was read as raw. If someone else
// wrote it meanwhile, the changes are applied to what they wrote; if someone
// deleted it, Update returns ErrGone.
func (s *Store) Update(ctx context.Context, id string, raw []byte, changes Changes) error {
	for range mergeAttempts {
		record, err := ParseRecord(raw)
		if err != nil {
			return err
		}
		found, err := s.backend.CompareAndSet(ctx, key(id), raw, record.With(changes).Encode(), s.ttl)
		switch {
		case err != nil:
			return fmt.Errorf("the session could not be saved: %w", err)
		case found == nil:
			return ErrGone
		case bytes.Equal(found, raw):
			return nil
		}
		raw = found
	}
	return errors.New("the session could not be saved: other writers were always quicker")
}

// Delete removes a record.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := s.backend.Delete(ctx, key(id)); err != nil {
		return fmt.Errorf("the session could not be deleted: %w", err)
	}
	return nil
}

func key(id string) string {
	return "session:" + id
}
