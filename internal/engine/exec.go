package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
)

// cleanupTimeout bounds what is done after the caller's own time is over.
const cleanupTimeout = 10 * time.Second

// Result is what a command that ran inside a container left behind.
type Result struct {
	Exit   int
	Stdout string
	Stderr string
}

// Exec runs a command in a running container and waits for its end. A command
// that ends with another code than 0 is no error: see Result.Exit.
func (e *Engine) Exec(ctx context.Context, name string, command ...string) (Result, error) {
	conn, err := e.Tunnel(ctx, name, command...)
	if err != nil {
		return Result{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	stdout, err := io.ReadAll(readerFunc(conn.read))
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("run %s in %s: %w", command[0], name, context.Cause(ctx))
	}
	if err != nil {
		return Result{}, e.wrap(fmt.Sprintf("run %s in %s", command[0], name), err)
	}
	exit, err := e.awaitExit(ctx, conn.exec)
	if err := errors.Join(err, conn.Close()); err != nil {
		return Result{}, e.wrap(fmt.Sprintf("run %s in %s", command[0], name), err)
	}
	return Result{Exit: exit, Stdout: string(stdout), Stderr: conn.stderr.String()}, nil
}

// Pipe runs a command in a running container, with its standard input from in
// (nil: none) and its standard output to out. What the command does not read of
// in is read to its end all the same, so that who writes it can finish.
// Result.Stdout is empty.
func (e *Engine) Pipe(ctx context.Context, name string, in io.Reader, out io.Writer, command ...string) (Result, error) {
	action := fmt.Sprintf("run %s in %s", command[0], name)
	conn, err := e.Tunnel(ctx, name, command...)
	if err != nil {
		return Result{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- conn.feed(in) }()
	_, err = io.Copy(out, readerFunc(conn.read))
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var exit int
	if err == nil {
		exit, err = e.awaitExit(ctx, conn.exec)
	}
	err = errors.Join(err, conn.Close())
	if unread := <-sent; err == nil && exit == 0 {
		err = unread
	}
	if err != nil {
		return Result{}, e.wrap(action, err)
	}
	return Result{Exit: exit, Stderr: conn.stderr.String()}, nil
}

// awaitExit returns a command's exit code. Its output may end a moment before
// the engine knows of its end.
func (e *Engine) awaitExit(ctx context.Context, exec string) (int, error) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		inspect, err := e.api.ContainerExecInspect(ctx, exec)
		if err != nil || !inspect.Running {
			return inspect.ExitCode, err
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// Tunnel runs a command in a container and serves its standard input and
// output as a connection: with a command that joins them to a socket, this is
// the way to everything inside, on a local and on a remote engine alike. What
// the command writes to standard error becomes the error of the Read that
// finds the connection ended.
func (e *Engine) Tunnel(ctx context.Context, name string, command ...string) (*Conn, error) {
	action := fmt.Sprintf("run %s in %s", command[0], name)
	created, err := e.api.ContainerExecCreate(ctx, name, container.ExecOptions{
		AttachStdin: true, AttachStdout: true, AttachStderr: true, Cmd: command,
	})
	if err != nil {
		return nil, e.wrap(action, err)
	}
	hijacked, err := e.api.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, e.wrap(action, err)
	}
	return &Conn{hijacked: hijacked, exec: created.ID, target: name + ": " + strings.Join(command, " ")}, nil
}

// Conn is a connection to a command inside a container. It is a net.Conn:
// deadlines work, and CloseWrite ends the command's standard input.
type Conn struct {
	hijacked types.HijackedResponse
	exec     string
	target   string

	reading sync.Mutex
	header  [8]byte // of the frame that is being read
	got     int     // bytes of it that are there
	left    uint32  // bytes of the frame's payload that are not read yet
	stderr  strings.Builder
}

// maxStderr bounds what is kept of a command's standard error.
const maxStderr = 64 << 10

// Read returns what the command writes to its standard output. If the command
// said something on standard error before it ended, that is the error.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	if err == io.EOF && c.stderr.Len() > 0 {
		err = fmt.Errorf("%s: %s", c.target, strings.TrimSpace(c.stderr.String()))
	}
	return n, err
}

// Write sends to the command's standard input.
func (c *Conn) Write(p []byte) (int, error) { return c.hijacked.Conn.Write(p) }

// CloseWrite ends the command's standard input.
func (c *Conn) CloseWrite() error { return c.hijacked.CloseWrite() }

// Close ends the connection; the command sees the end of its input.
func (c *Conn) Close() error { return c.hijacked.Conn.Close() }

// LocalAddr and RemoteAddr name the command.
func (c *Conn) LocalAddr() net.Addr  { return execAddr(c.target) }
func (c *Conn) RemoteAddr() net.Addr { return execAddr(c.target) }

func (c *Conn) SetDeadline(t time.Time) error      { return c.hijacked.Conn.SetDeadline(t) }
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.hijacked.Conn.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.hijacked.Conn.SetWriteDeadline(t) }

// Private

// feed sends all of in to the command's standard input; its error is that of
// reading in. A command may end before it has read everything.
func (c *Conn) feed(in io.Reader) error {
	if in == nil {
		return c.CloseWrite()
	}
	source := &source{Reader: in}
	_, _ = io.Copy(struct{ io.Writer }{c}, source)
	_ = c.CloseWrite() // fails if the command has ended
	_, err := io.Copy(io.Discard, source)
	return errors.Join(source.failed, err)
}

// source remembers why it could not be read.
type source struct {
	io.Reader
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

// read takes standard output out of the engine's stream, in which both streams
// come in frames: eight bytes of header (stream, three zeros, length in
// big-endian), then the payload.
func (c *Conn) read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for {
		if c.left == 0 {
			if err := c.nextFrame(); err != nil {
				return 0, err
			}
			continue
		}
		if c.header[0] == 2 {
			if err := c.readStderr(); err != nil {
				return 0, err
			}
			continue
		}
		if uint32(min(len(p), 1<<30)) > c.left {
			p = p[:c.left]
		}
		n, err := c.hijacked.Reader.Read(p)
		c.left -= uint32(n)
		return n, err
	}
}

func (c *Conn) nextFrame() error {
	// A deadline may interrupt in the middle of a header: what is there stays.
	for c.got < len(c.header) {
		n, err := c.hijacked.Reader.Read(c.header[c.got:])
		c.got += n
		if err != nil && c.got < len(c.header) {
			return err
		}
	}
	c.got = 0
	c.left = binary.BigEndian.Uint32(c.header[4:])
	return nil
}

func (c *Conn) readStderr() error {
	var buffer [4096]byte
	n, err := c.hijacked.Reader.Read(buffer[:min(uint32(len(buffer)), c.left)])
	c.left -= uint32(n)
	if c.stderr.Len() < maxStderr {
		c.stderr.Write(buffer[:n])
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type execAddr string

func (execAddr) Network() string  { return "exec" }
func (a execAddr) String() string { return string(a) }
