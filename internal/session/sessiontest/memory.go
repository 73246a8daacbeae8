// Package sessiontest keeps sessions in memory, for tests.
package sessiontest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
)

// ErrDown is what a backend answers that was taken down.
var ErrDown = errors.New("connection refused")

// Memory is a session.Backend whose keys do not expire by themselves.
type Memory struct {
	mu      sync.Mutex
	values  map[string][]byte
	lives   map[string]time.Duration
	marks   map[string]string // of what was ended and claimed
	touched map[string]int
	down    bool
}

// NewMemory returns an empty backend.
func NewMemory() *Memory {
	return &Memory{
		values: map[string][]byte{}, lives: map[string]time.Duration{}, marks: map[string]string{}, touched: map[string]int{},
	}
}

// SetDown makes every call fail, or work again.
func (m *Memory) SetDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// Touched returns how often a key's life was prolonged.
func (m *Memory) Touched(key string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.touched[key]
}

// Keys returns how many records there are.
func (m *Memory) Keys() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.values)
}

// Put writes a key as another client would.
func (m *Memory) Put(key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = []byte(value)
}

// Value returns a key's value, "" if there is none.
func (m *Memory) Value(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.values[key])
}

// Expire makes a key's time run out.
func (m *Memory) Expire(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	delete(m.lives, key)
}

// Lives returns for how long a key was last told to live.
func (m *Memory) Lives(key string) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lives[key]
}

// Get implements session.Backend.
func (m *Memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mark, ok := m.marks[key]; ok {
		return []byte(mark), m.err()
	}
	return m.values[key], m.err()
}

// Touch implements session.Backend.
func (m *Memory) Touch(_ context.Context, key string, ttl time.Duration) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || m.values[key] == nil {
		return 0, m.err()
	}
	m.touched[key]++
	return m.prolong(key, ttl), nil
}

// Create implements session.Backend.
func (m *Memory) Create(_ context.Context, key, old, mark string, value []byte, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || m.values[key] != nil {
		return false, m.err()
	}
	m.values[key], m.lives[key] = value, ttl
	if old != "" {
		m.end(old, mark)
	}
	return true, nil
}

// CompareAndSet implements session.Backend.
func (m *Memory) CompareAndSet(_ context.Context, key string, read, value []byte, ttl time.Duration) ([]byte, time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.values[key]
	if m.down || found == nil || !bytes.Equal(found, read) {
		return found, 0, m.err()
	}
	m.values[key] = value
	return found, m.prolong(key, ttl), nil
}

// End implements session.Backend.
func (m *Memory) End(_ context.Context, key, mark string, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.down {
		m.end(key, mark)
	}
	return m.err()
}

// Claim implements session.Backend.
func (m *Memory) Claim(_ context.Context, claim, key string, value []byte, ttl time.Duration) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return "", ErrDown
	}
	if owner, ok := m.marks[claim]; ok {
		return owner, nil
	}
	m.marks[claim] = key
	if key != "" {
		m.values[key], m.lives[key] = value, ttl
	}
	return key, nil
}

func (m *Memory) end(key, mark string) {
	delete(m.values, key)
	delete(m.lives, key)
	m.marks[mark] = ""
}

func (m *Memory) prolong(key string, ttl time.Duration) time.Duration {
	m.lives[key] = max(m.lives[key], ttl)
	return m.lives[key]
}

func (m *Memory) err() error {
	if m.down {
		return ErrDown
	}
	return nil
}
