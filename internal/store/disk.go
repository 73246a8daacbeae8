package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Disk is what the store needs of a file system. Tests put one in its place
// that fails or dies at any step.
type Disk interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what was created, renamed and removed in a folder durable.
	SyncDir(name string) error
}

// File is an open file of a Disk.
type File interface {
	io.ReaderAt
	io.Writer
	io.Seeker
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// OS is the file system of the machine.
type OS struct{}

// OpenFile opens a file as os.OpenFile does.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	file, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not the nil *os.File, which would be a File that is not nil
	}
	return file, nil
}

// Rename replaces a file by another in one step.
func (OS) Rename(from, to string) error {
	return os.Rename(from, to)
}

// Remove deletes a file.
func (OS) Remove(name string) error {
	return os.Remove(name)
}

// SyncDir flushes a folder's entries.
func (OS) SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
