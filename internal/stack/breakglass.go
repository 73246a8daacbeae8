package stack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/event"
)

// ErrHomeIsGo is wrapped by the error of a BreakGlass after python was stopped
// for good: there is nothing to go back to.
var ErrHomeIsGo = errors.New("home is go")

// BreakGlass has nginx run its last resort, a configuration that sends
// everything to python and needs no table, no Lua and no guard. It survives
// restarts, until MendGlass. Where nginx does not run, it takes effect when
// nginx starts, which is tried too.
func (s *Stack) BreakGlass(ctx context.Context, actor, reason string) error {
	if s.running(ctx, "nginx") != nil {
		return s.breakGlassOnVolume(ctx, actor, reason)
	}
	run, err := s.Exec(ctx, "nginx", breakGlassScript, "on", actor, reason)
	if err != nil {
		return errors.Join(fmt.Errorf("nginx cannot be told: %w", err), s.breakGlassOnVolume(ctx, actor, reason))
	}
	return s.scriptResult(run.Exit, run.Stderr)
}

// MendGlass has nginx run its ordinary configuration again.
func (s *Stack) MendGlass(ctx context.Context) error {
	run, err := s.Exec(ctx, "nginx", breakGlassScript, "off")
	if err != nil {
		return err
	}
	return s.scriptResult(run.Exit, run.Stderr)
}

// Private

const (
	breakGlassScript = "/etc/nginx/break-glass.sh"
	breakGlassFile   = "break-glass"
	exitHomeIsGo     = 3
)

func (s *Stack) scriptResult(exit int, stderr string) error {
	message := strings.TrimSpace(stderr)
	switch {
	case exit == exitHomeIsGo:
		return fmt.Errorf("%w: %s", ErrHomeIsGo, message)
	case exit != 0:
		return fmt.Errorf("nginx was not switched: %s", message)
	case message != "":
		event.Warn(s.events, "service nginx", message)
	}
	return nil
}

// breakGlassOnVolume puts the switch where nginx looks when it starts.
func (s *Stack) breakGlassOnVolume(ctx context.Context, actor, reason string) (err error) {
	image, err := s.anyImage(ctx)
	if err != nil {
		return err
	}
	carrier, err := s.engine.OpenVolume(ctx, s.settings.Project+"_edge", image, map[string]string{helperLabel: s.settings.Project})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, carrier.Close(ctx)) }()
	content, err := carrier.Read(ctx)
	if err != nil {
		return err
	}
	home, err := fileIn(content, "home")
	if err := errors.Join(err, content.Close()); err != nil {
		return err
	}
	if strings.TrimSpace(home) == "go" {
		return fmt.Errorf("%w: python was stopped for good", ErrHomeIsGo)
	}
	note, err := json.Marshal(map[string]any{"actor": actor, "reason": reason, "time": time.Now().UTC().Format(time.RFC3339)})
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	archive := tar.NewWriter(&packed)
	header := &tar.Header{Name: breakGlassFile, Typeflag: tar.TypeReg, Mode: 0o600, Uid: owners()["nginx"], Gid: owners()["nginx"], Size: int64(len(note)), ModTime: time.Now()}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := archive.Write(note); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := carrier.Write(ctx, &packed); err != nil {
		return err
	}
	return s.EnsureStarted(ctx, "nginx")
}

// fileIn is the content of a file at the top of a volume's tar, "" if there is
// none.
func fileIn(volume io.Reader, name string) (string, error) {
	archive := tar.NewReader(volume)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("read the edge's volume: %w", err)
		}
		_, file, _ := strings.Cut(path.Clean(header.Name), "/") // the folder of the volume itself
		if file == name && header.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(io.LimitReader(archive, 4096))
			return string(content), err
		}
	}
}
