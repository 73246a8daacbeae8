// Package backup copies a whole database into a file, and proves that the file
// brings it back: a backup that was not restored does not count.
package backup

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/database/integrity"
)

// Manifest says what a dump holds. It lies beside the dump, with the ending
// .json, and is written last: a dump without one is not whole.
type Manifest struct {
	SchemaVersion int    `json:"schema_version"`
	File          string `json:"file"` // the dump's name, in the same folder
	Bytes         int64  `json:"bytes"`
	SHA256        string `json:"sha256"`
	ServerVersion int    `json:"server_version"` // as Postgres numbers it: 170004
	Rows          int64  `json:"rows"`
	// Baseline has the sums of every table at the dump's moment.
	Baseline integrity.Baseline `json:"baseline"`
}

// ErrNotWhole means that a file is not the backup that was once made.
var ErrNotWhole = errors.New("it is not a whole backup")

// Open reads the manifest of a dump and makes sure that the dump is, to the
// bit, the one that it describes. It reads all of the file.
func Open(path string) (Manifest, error) {
	var m Manifest
	content, err := os.ReadFile(manifestPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		if _, missing := os.Stat(path); missing != nil {
			return m, fmt.Errorf("there is no backup %s", path)
		}
		return m, fmt.Errorf("%s: %w: its manifest %s is missing, so it was never finished; take another one", path, ErrNotWhole, filepath.Base(manifestPath(path)))
	}
	if err != nil {
		return m, fmt.Errorf("read the manifest: %w", err)
	}
	if err := json.Unmarshal(content, &m); err != nil || m.SchemaVersion != 1 {
		return m, fmt.Errorf("%s: %w: its manifest cannot be read (%v)", path, ErrNotWhole, err)
	}
	bytes, sum, err := sumFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, fmt.Errorf("%s: %w: there is a manifest, but no dump", path, ErrNotWhole)
	case err != nil:
		return m, fmt.Errorf("read the dump: %w", err)
	case bytes != m.Bytes:
		return m, fmt.Errorf("%s: %w: it has %d bytes, and had %d when it was made", path, ErrNotWhole, bytes, m.Bytes)
	case sum != m.SHA256:
		return m, fmt.Errorf("%s: %w: its content was changed since it was made (sha256 %.12s, not %.12s)", path, ErrNotWhole, sum, m.SHA256)
	}
	return m, nil
}

// List returns the paths of the whole backups of a folder, the oldest first.
func List(dir string) ([]string, error) {
	manifests, err := filepath.Glob(filepath.Join(dir, prefix+"*.json"))
	if err != nil {
		return nil, err
	}
	var dumps []string
	for _, manifest := range manifests {
		dumps = append(dumps, strings.TrimSuffix(manifest, ".json")+suffix)
	}
	return dumps, nil
}

// Private

const (
	prefix   = "backup-"
	suffix   = ".dump"
	halfMade = ".new-"
)

func manifestPath(dump string) string { return strings.TrimSuffix(dump, suffix) + ".json" }

func newName(at time.Time) string { return prefix + at.UTC().Format("20060102T150405.000Z") + suffix }

func sumFile(path string) (bytes int64, sum string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	hash := sha256.New()
	bytes, err = io.Copy(hash, file)
	return bytes, hex.EncodeToString(hash.Sum(nil)), errors.Join(err, file.Close())
}

// tidy removes what interrupted commands left: files that were being written,
// and dumps that have no manifest.
func tidy(dir string) error {
	halves, err := filepath.Glob(filepath.Join(dir, halfMade+"*"))
	if err != nil {
		return err
	}
	dumps, err := filepath.Glob(filepath.Join(dir, prefix+"*"+suffix))
	if err != nil {
		return err
	}
	for _, dump := range dumps {
		if _, err := os.Stat(manifestPath(dump)); errors.Is(err, fs.ErrNotExist) {
			halves = append(halves, dump)
		}
	}
	for _, half := range halves {
		if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// keep gives a dump its name, and writes its manifest: from then on it counts.
func (m Manifest) keep(dir string, dump *os.File) (path string, err error) {
	path = filepath.Join(dir, m.File)
	if err := os.Rename(dump.Name(), path); err != nil {
		return "", err
	}
	content, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	file, err := os.CreateTemp(dir, halfMade+"*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = file.Write(append(content, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), manifestPath(path)); err != nil {
		return "", err
	}
	return path, syncFolder(dir)
}

func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
