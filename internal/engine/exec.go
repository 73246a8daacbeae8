package engine

import (
	"context"
	"encoding/binary"
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
	stdout, err := io.ReadAll(conn)
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("run %s in %s: %w", command[0], name, context.Cause(ctx))
	}
	if err != nil {
		return Result{}, e.wrap(fmt.Sprintf("run %s in %s", command[0], name), err)
	}
	inspect, err := e.api.ContainerExecInspect(ctx, conn.exec)
	if err != nil {
		return Result{}, e.wrap(fmt.Sprintf("run %s in %s", command[0], name), err)
	}
	if err := conn.Close(); err != nil {
		return Result{}, e.wrap(fmt.Sprintf("run %s in %s", command[0], name), err)
	}
	return Result{Exit: inspect.ExitCode, Stdout: string(stdout), Stderr: conn.stderr.String()}, nil
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

// Read returns what the command writes to its standard output. The engine
// sends both streams in frames: eight bytes of header (stream, three zeros,
// length in big-endian), then the payload.
func (c *Conn) Read(p []byte) (int, error) {
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

func (c *Conn) nextFrame() error {
	// A deadline may interrupt in the middle of a header: what is there stays.
	for c.got < len(c.header) {
		n, err := c.hijacked.Reader.Read(c.header[c.got:])
		c.got += n
		if err == io.EOF && c.stderr.Len() > 0 {
			return fmt.Errorf("%s: %s", c.target, strings.TrimSpace(c.stderr.String()))
		}
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

type execAddr string

func (execAddr) Network() string  { return "exec" }
func (a execAddr) String() string { return string(a) }
