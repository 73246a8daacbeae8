package stack

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Fingerprint identifies a list of texts; 12 hexadecimal digits.
func Fingerprint(parts ...string) string {
	return shortHash(parts...)
}

// Private

// packContext writes files and folders below dir as tar, and returns its hash.
// The same content gives the same bytes: names are sorted, and of a file's
// metadata only the executable bit counts.
func packContext(w io.Writer, dir string, names []string) (string, error) {
	var files []string
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() && (entry.Name() == "__pycache__" || entry.Name() == ".git") {
				return filepath.SkipDir
			}
			if entry.Type().IsRegular() && !strings.HasSuffix(path, ".pyc") {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	slices.Sort(files)
	digest := sha256.New()
	archive := tar.NewWriter(io.MultiWriter(w, digest))
	for _, path := range slices.Compact(files) {
		if err := packFile(archive, dir, path); err != nil {
			return "", err
		}
	}
	if err := archive.Close(); err != nil {
		return "", err
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

func packFile(archive *tar.Writer, dir, path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	header := &tar.Header{Name: filepath.ToSlash(name), Size: info.Size(), Mode: mode, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

// shortHash identifies a list of strings; 12 hexadecimal digits.
func shortHash(parts ...string) string {
	digest := sha256.New()
	for _, part := range parts {
		_, _ = io.WriteString(digest, part+"\x00")
	}
	return hex.EncodeToString(digest.Sum(nil))[:12]
}
