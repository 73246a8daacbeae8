package stack

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
)

// legacyService is the legacy system's.
const legacyService = "flask"

// StopLegacy ends the legacy system: it finishes what it is doing, and is
// killed after its grace period. It stays stopped, also when the engine starts
// anew.
func (s *Stack) StopLegacy(ctx context.Context) error {
	return s.endLegacy(ctx, "stopped", func(c engine.Container) error {
		if c.State == "exited" {
			return nil
		}
		return s.engine.Stop(ctx, c.Name)
	})
}

// RemoveLegacy removes the legacy system's container.
func (s *Stack) RemoveLegacy(ctx context.Context) error {
	return s.endLegacy(ctx, "removed", func(c engine.Container) error {
		return s.engine.RemoveContainer(ctx, c.Name)
	})
}

// ErrNoArchive says that the legacy system was not archived, or not on this
// machine.
var ErrNoArchive = errors.New("there is no archive")

// ArchiveLegacy keeps the legacy system's image and the source in a folder in
// one file with checksums, and returns where. A whole archive of the same image
// is left as it is; one that is not finished never has its name.
func (s *Stack) ArchiveLegacy(ctx context.Context, source string) (path string, err error) {
	container, err := s.engine.Inspect(ctx, s.Container(legacyService))
	if err != nil {
		return "", fmt.Errorf("find the image of %s: %w", legacyService, err)
	}
	dir := filepath.Join(s.Dir(), archiveDir)
	path = filepath.Join(dir, "python-"+shortHash(container.ImageID)+".tar")
	if s.verifyArchive(path) == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	event.Work(s.events, "archive", "saving the image "+container.Image)
	if err := s.saveImage(ctx, container.ImageID, filepath.Join(work, "image.tar")); err != nil {
		return "", err
	}
	event.Work(s.events, "archive", "packing the source "+source)
	if err := packSource(source, filepath.Join(work, "source.tar")); err != nil {
		return "", err
	}
	about := fmt.Sprintf("image: %s\ndigest: %s\nsource: %s\nproject: %s\narchived: %s\n",
		container.Image, container.ImageID, filepath.Base(source), s.settings.Project, time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(work, "about"), []byte(about), 0o600); err != nil {
		return "", err
	}
	whole := filepath.Join(work, "archive.tar")
	if err := packMembers(work, whole, "about", "image.tar", "source.tar"); err != nil {
		return "", err
	}
	if err := s.verifyArchive(whole); err != nil {
		return "", fmt.Errorf("the archive that was just written is not whole: %w", err)
	}
	if err := os.Rename(whole, path); err != nil {
		return "", err
	}
	event.Finish(s.events, "archive", "kept in "+path)
	return path, nil
}

// VerifyArchive tells whether the newest archive of the legacy system is whole,
// and where it is.
func (s *Stack) VerifyArchive() (path string, err error) {
	found, err := filepath.Glob(filepath.Join(s.Dir(), archiveDir, "python-*.tar"))
	if err != nil {
		return "", err
	}
	var newest time.Time
	for _, candidate := range found {
		if info, err := os.Stat(candidate); err == nil && !info.ModTime().Before(newest) {
			path, newest = candidate, info.ModTime()
		}
	}
	if path == "" {
		return filepath.Join(s.Dir(), archiveDir), ErrNoArchive
	}
	return path, s.verifyArchive(path)
}

// Private

func (s *Stack) endLegacy(ctx context.Context, done string, end func(engine.Container) error) error {
	c, err := s.engine.Inspect(ctx, s.Container(legacyService))
	if errors.Is(err, engine.ErrNoContainer) {
		return nil
	}
	if err == nil {
		err = end(c)
	}
	if err == nil {
		event.Finish(s.events, "service "+legacyService, done)
	}
	return err
}

// retired tells whether the legacy system was stopped for good: the edge's home
// is the new one, and it does not run.
func (s *Stack) retired(ctx context.Context) (_ bool, err error) {
	c, err := s.engine.Inspect(ctx, s.Container(legacyService))
	if err == nil && c.State == "running" {
		return false, nil
	}
	if err != nil && !errors.Is(err, engine.ErrNoContainer) {
		return false, err
	}
	volume := s.settings.Project + "_edge"
	if exists, err := s.engine.HasVolume(ctx, volume); err != nil || !exists {
		return false, err
	}
	home, err := s.readHome(ctx, volume)
	return home == "go", err
}

// readHome is where nginx sends everything without a table.
func (s *Stack) readHome(ctx context.Context, volume string) (home string, err error) {
	image, err := s.anyImage(ctx)
	if err != nil {
		return "", err
	}
	carrier, err := s.engine.OpenVolume(ctx, volume, image, map[string]string{helperLabel: s.settings.Project})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, carrier.Close(ctx)) }()
	content, err := carrier.Read(ctx)
	if err != nil {
		return "", err
	}
	home, err = fileIn(content, "home")
	return strings.TrimSpace(home), errors.Join(err, content.Close())
}

const (
	archiveDir = "archive"
	sumsFile   = "SHA256SUMS"
)

func (s *Stack) saveImage(ctx context.Context, ref, path string) (err error) {
	body, err := s.engine.SaveImage(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, body)
	return errors.Join(err, file.Close())
}

func packSource(dir, path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = packContext(file, dir, []string{"."})
	return errors.Join(err, file.Close())
}

// packMembers puts files of a folder into one tar, their checksums first.
func packMembers(dir, path string, names ...string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var sums strings.Builder
	for _, name := range names {
		sum, err := sumOf(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	archive := tar.NewWriter(file)
	header := &tar.Header{Name: sumsFile, Mode: 0o644, Size: int64(sums.Len()), ModTime: time.Now()}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.WriteString(archive, sums.String()); err != nil {
		return err
	}
	for _, name := range names {
		if err := packMember(archive, dir, name); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), file.Sync())
}

func packMember(archive *tar.Writer, dir, name string) (err error) {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it was only read
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// verifyArchive compares every member with its checksum.
func (s *Stack) verifyArchive(path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	archive := tar.NewReader(bufio.NewReaderSize(file, 1<<20))
	wanted, found := map[string]string{}, map[string]bool{}
	for first := true; ; first = false {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("it cannot be read: %w", err)
		}
		if first != (header.Name == sumsFile) {
			return errors.New("it does not begin with its checksums")
		}
		if first {
			lines := bufio.NewScanner(archive)
			for lines.Scan() {
				sum, name, _ := strings.Cut(lines.Text(), "  ")
				wanted[name] = sum
			}
			if err := lines.Err(); err != nil {
				return err
			}
			continue
		}
		digest := sha256.New()
		if _, err := io.Copy(digest, archive); err != nil {
			return fmt.Errorf("%s cannot be read: %w", header.Name, err)
		}
		if wanted[header.Name] != hex.EncodeToString(digest.Sum(nil)) {
			return fmt.Errorf("the checksum of %s is not right", header.Name)
		}
		delete(wanted, header.Name)
		found[header.Name] = true
	}
	for _, name := range []string{"about", "image.tar", "source.tar"} {
		if !found[name] {
			return fmt.Errorf("%s is missing", name)
		}
	}
	if len(wanted) > 0 {
		return errors.New("members are missing")
	}
	return nil
}
