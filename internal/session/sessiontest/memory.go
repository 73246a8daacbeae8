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

// Memory is a session.Backend whose keys do not expire.
type Memory struct {
	mu      sync.Mutex
	values  map[string][]byte
	touched map[string]int
	down    bool
}

// NewMemory returns an empty backend.
func NewMemory() *Memory {
	return &Memory{values: map[string][]byte{}, touched: map[string]int{}}
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

// Keys returns how many keys there are.
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

// Get implements session.Backend.
func (m *Memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[key], m.err()
}

// Touch implements session.Backend.
func (m *Memory) Touch(_ context.Context, key string, _ time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || m.values[key] == nil {
		return false, m.err()
	}
	m.touched[key]++
	return true, nil
}

// Create implements session.Backend.
func (m *Memory) Create(_ context.Context, key, old string, value []byte, _ time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down || m.values[key] != nil {
		return false, m.err()
	}
	m.values[key] = value
	delete(m.values, old)
	return true, nil
}

// CompareAndSet implements session.Backend.
func (m *Memory) CompareAndSet(_ context.Context, key string, read, value []byte, _ time.Duration) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.values[key]
	if !m.down && found != nil && bytes.Equal(found, read) {
		m.values[key] = value
	}
	return found, m.err()
}

// Delete implements session.Backend.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.down {
		delete(m.values, key)
	}
	return m.err()
}

func (m *Memory) err() error {
	if m.down {
		return ErrDown
	}
	return nil
}
