// Package storetest has a disk in memory that dies, loses power or runs full
// where a test wants it to.
package storetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/cutover-dev/cutover/internal/store"
)

// ErrDead is what every step answers once the process is meant to be dead.
var ErrDead = errors.New("the process is dead")

// Disk is a store.Disk with one folder. It knows what would survive a crash.
type Disk struct {
	mu      sync.Mutex
	names   map[string]*content // as a running process sees the folder
	durable map[string]*content // as it is after a loss of power
	steps   int                 // changes so far
	dieAt   int                 // 0: never
	writes  int                 // so far
	fullAt  int                 // writes that find space; negative: all
}

// longWrite is what takes more space than an ordinary write.
const longWrite = 8 << 10

// content is a file's, whatever its name is.
type content struct {
	data   []byte
	synced []byte
}

// NewDisk is empty.
func NewDisk() *Disk {
	return &Disk{names: map[string]*content{}, durable: map[string]*content{}, fullAt: -1}
}

// DieAt makes the given step, counted from 1, and all later ones fail; a write
// at that step is done by half.
func (d *Disk) DieAt(step int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dieAt = d.steps + step
}

// Dead tells whether the step to die at was reached.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dieAt > 0 && d.steps >= d.dieAt
}

// Fill leaves space for some more writes only. A long one takes the space of
// several, and its file gives it back.
func (d *Disk) Fill(writes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fullAt = d.writes + writes
}

// Free makes space again.
func (d *Disk) Free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fullAt = -1
}

// Step is for what else the process does, so that it can die there as well.
func (d *Disk) Step() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.step()
}

// Restart is the disk that the next process finds: after a kill everything
// that was done, after a loss of power only what was made durable.
func (d *Disk) Restart(powerLost bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, from := NewDisk(), d.names
	if powerLost {
		from = d.durable
	}
	for name, file := range from {
		data := file.data
		if powerLost {
			data = file.synced
		}
		kept := &content{data: bytes.Clone(data), synced: bytes.Clone(data)}
		found.names[name], found.durable[name] = kept, kept
	}
	return found
}

// Put writes a file, durably.
func (d *Disk) Put(name, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file := &content{data: []byte(text), synced: []byte(text)}
	d.names[name], d.durable[name] = file, file
}

// Names are those of all files.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

// Get is a file's text, and whether there is one.
func (d *Disk) Get(name string) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file, ok := d.names[name]
	if !ok {
		return "", false
	}
	return string(file.data), true
}

// OpenFile opens a file as os.OpenFile does.
func (d *Disk) OpenFile(name string, flag int, _ fs.FileMode) (store.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.names[name]
	changes := flag&os.O_CREATE != 0 && !ok || flag&os.O_TRUNC != 0
	if changes {
		if err := d.step(); err != nil {
			return nil, err
		}
	}
	if !ok {
		if flag&os.O_CREATE == 0 {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		found = &content{}
		d.names[name] = found
	}
	if flag&os.O_TRUNC != 0 {
		found.data = nil
	}
	return &file{disk: d, name: name, content: found}, nil
}

// Rename replaces a file by another.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	moved, ok := d.names[from]
	if !ok {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.names[to] = moved
	delete(d.names, from)
	return nil
}

// Remove deletes a file.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	removed, ok := d.names[name]
	if !ok {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if d.fullAt >= 0 && len(removed.data) >= longWrite {
		d.fullAt += len(removed.data) / longWrite
	}
	delete(d.names, name)
	return nil
}

// SyncDir makes the folder's entries durable.
func (d *Disk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	clear(d.durable)
	for name, file := range d.names {
		d.durable[name] = file
	}
	return nil
}

// Private

func (d *Disk) step() error {
	d.steps++
	if d.dieAt > 0 && d.steps >= d.dieAt {
		return ErrDead
	}
	return nil
}

type file struct {
	disk    *Disk
	name    string
	content *content
}

func (f *file) Write(data []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	wasAlive := f.disk.dieAt == 0 || f.disk.steps < f.disk.dieAt
	err := f.disk.step()
	f.disk.writes += max(1, len(data)/longWrite)
	if err == nil && f.disk.fullAt >= 0 && f.disk.writes > f.disk.fullAt {
		err = &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	if err != nil {
		half := 0
		if wasAlive {
			half = len(data) / 2
		}
		f.content.data = append(f.content.data, data[:half]...)
		return half, err
	}
	f.content.data = append(f.content.data, data...)
	return len(data), nil
}

func (f *file) ReadAt(into []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return bytes.NewReader(f.content.data).ReadAt(into, offset)
}

// Seek knows the end alone: that is how the store asks for a file's size.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if offset != 0 || whence != io.SeekEnd {
		return 0, errors.ErrUnsupported
	}
	return int64(len(f.content.data)), nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(); err != nil {
		return err
	}
	f.content.synced = bytes.Clone(f.content.data)
	return nil
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(); err != nil {
		return err
	}
	f.content.data = f.content.data[:size:size]
	return nil
}

func (f *file) Close() error {
	return nil
}
