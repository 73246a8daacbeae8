package database

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
)

// Generator is the script that the Go program in dir/folder prints. The
// program is compiled when the script is opened.
func Generator(dir, folder string, accounts int, seed uint64) Script {
	return Script{Name: "what " + folder + " generates", Bulk: true, Open: func(ctx context.Context) (io.ReadCloser, error) {
		return startGenerator(ctx, dir, folder, "--accounts", strconv.Itoa(accounts), "--seed", strconv.FormatUint(seed, 10))
	}}
}

// Private

// generator is a running program; reading its output to the end gives its
// failure, if it failed.
type generator struct {
	cmd    *exec.Cmd
	output io.Reader
	stderr tail
	temp   string
	wait   func() error
}

func startGenerator(ctx context.Context, dir, folder string, args ...string) (_ io.ReadCloser, err error) {
	temp, err := os.MkdirTemp("", "cutover-seed-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(temp)
		}
	}()
	program := filepath.Join(temp, "seed")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, ".")
	build.Dir = filepath.Join(dir, folder)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile the generator %s: %w\n%s", build.Dir, err, bytes.TrimSpace(output))
	}
	g := &generator{temp: temp, cmd: exec.CommandContext(ctx, program, args...)}
	g.wait = sync.OnceValue(g.cmd.Wait)
	g.cmd.Dir = dir
	g.cmd.Stderr = &g.stderr
	if g.output, err = g.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	return g, nil
}

func (g *generator) Read(p []byte) (int, error) {
	n, err := g.output.Read(p)
	if err == nil {
		return n, nil
	}
	if failure := g.wait(); failure != nil {
		err = fmt.Errorf("the generator failed: %w\n%s", failure, bytes.TrimSpace(g.stderr.kept))
	}
	return n, err
}

// Close ends the program, if it still runs: nobody wants its output any more.
func (g *generator) Close() error {
	_ = g.cmd.Process.Kill()
	_ = g.wait()
	return os.RemoveAll(g.temp)
}

// tail keeps the last bytes of what is written to it, for error messages.
type tail struct {
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const limit = 4 << 10
	t.kept = append(t.kept, p...)
	if len(t.kept) > limit {
		t.kept = t.kept[len(t.kept)-limit:]
	}
	return len(p), nil
}
