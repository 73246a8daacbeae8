package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDial_JoinsBothWays(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			addr := peer(t, network, func(conn halfCloser) error {
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err != nil {
					return err
				}
				_, err = io.WriteString(conn, "you said "+line)
				return err
			})
			d := startDial(t, network, addr)

			d.say("hello\n")

			assert.Equal(t, "you said hello\n", d.hear())
			assert.Equal(t, exitOK, d.exit(), "the peer has ended, the input has not")
		})
	}
}

func TestDial_PassesOnTheEndOfTheInput(t *testing.T) {
	content := make([]byte, 1<<20)
	_, err := rand.Read(content)
	require.NoError(t, err)
	addr := peer(t, "tcp", func(conn halfCloser) error {
		all, err := io.ReadAll(conn) // ends at the half close alone
		if err != nil {
			return err
		}
		_, err = conn.Write(all)
		return err
	})
	d := startDial(t, "tcp", addr)

	d.say(string(content))
	d.end()

	assert.True(t, bytes.Equal(content, []byte(d.hear())))
	assert.Equal(t, exitOK, d.exit())
}

func TestDial_KeepsTheInputOpenAfterThePeerWasSilent(t *testing.T) {
	addr := peer(t, "unix", func(conn halfCloser) error {
		if _, err := io.WriteString(conn, "+"); err != nil {
			return err
		}
		_, err := io.Copy(conn, conn)
		return err
	})
	d := startDial(t, "unix", addr)
	d.say("1")
	d.say("2")
	d.end()

	assert.Equal(t, "+12", d.hear())
	assert.Equal(t, exitOK, d.exit())
}

func TestDial_DoesNotStayBehindWhenThePeerNeverEnds(t *testing.T) {
	addr := peer(t, "tcp", func(conn halfCloser) error {
		for { // like a stream of events that nobody reads any more
			if _, err := conn.Write([]byte(".")); err != nil {
				return nil // the dial has ended
			}
		}
	})
	d := startDial(t, "tcp", addr, "--linger", "100ms")
	d.end()
	go func() { _, _ = io.Copy(io.Discard, d.out) }() // until the pipe is closed

	assert.Equal(t, exitFailed, d.exit())
}

func TestDial_SaysWhatItCannotReach(t *testing.T) {
	site := newSite(t)
	missing := filepath.Join(t.TempDir(), "missing.sock")

	code, out, problem := site.run("dial", "unix", missing)

	assert.Equal(t, exitUnavailable, code)
	assert.Empty(t, out)
	assert.Contains(t, problem, missing)
}

// dialing is a dial command under way, with pipes for its streams.
type dialing struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *io.PipeReader
	code chan int
}

func startDial(t *testing.T, network, addr string, flags ...string) *dialing {
	inReader, inWriter := io.Pipe()
	outReader, outWriter := io.Pipe()
	d := &dialing{t: t, in: inWriter, out: outReader, code: make(chan int, 1)}
	args := append(append([]string{"dial"}, flags...), network, addr)
	go func() {
		code := run(args, streams{in: inReader, out: outWriter, err: io.Discard}, func(string) string { return "" })
		d.code <- code
		assert.NoError(t, outWriter.Close())
	}()
	t.Cleanup(func() {
		assert.NoError(t, errors.Join(d.in.Close(), d.out.Close()))
	})
	return d
}

func (d *dialing) say(text string) {
	d.t.Helper()
	_, err := io.WriteString(d.in, text)
	require.NoError(d.t, err)
}

func (d *dialing) end() {
	d.t.Helper()
	require.NoError(d.t, d.in.Close())
}

// hear is everything until the dial ends.
func (d *dialing) hear() string {
	d.t.Helper()
	text, err := io.ReadAll(d.out)
	require.NoError(d.t, err)
	return string(text)
}

func (d *dialing) exit() int {
	d.t.Helper()
	select {
	case code := <-d.code:
		return code
	case <-time.After(5 * time.Second):
		require.Fail(d.t, "the dial has stayed behind")
		return -1
	}
}

// peer listens, and serves one connection.
func peer(t *testing.T, network string, serve func(halfCloser) error) string {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "peer.sock")
	}
	listener, err := net.Listen(network, addr)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			ended <- err
			return
		}
		ended <- errors.Join(serve(conn.(halfCloser)), conn.Close())
	}()
	t.Cleanup(func() {
		assert.NoError(t, <-ended)
		assert.NoError(t, listener.Close())
	})
	return listener.Addr().String()
}
