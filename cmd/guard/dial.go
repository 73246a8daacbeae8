package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"
)

const dialTimeout = 5 * time.Second

// dialCommand joins stdin and stdout to an address. Through an exec it is a
// connection into a network that cannot be reached otherwise.
type dialCommand struct {
	linger time.Duration
}

func (c *dialCommand) flags(f *flag.FlagSet) {
	f.DurationVar(&c.linger, "linger", 10*time.Second, "")
}

func (c *dialCommand) run(args []string, std streams) error {
	if len(args) != 2 || args[0] != "unix" && args[0] != "tcp" {
		return usageError("dial takes unix or tcp, and an address")
	}
	conn, err := net.DialTimeout(args[0], args[1], dialTimeout)
	if err != nil {
		return exitError{err, exitUnavailable}
	}
	return relay(std.in, std.out, conn.(halfCloser), c.linger)
}

// halfCloser is a connection that can end one direction, as those of TCP and
// of unix sockets can.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// relay copies both ways until the peer ends, or until the input has ended and
// the peer had time to finish its answer. Whoever started the relay may be
// gone by then, so it does not wait for ever. The goroutine that reads the
// input may be left waiting: it ends with the process.
func relay(in io.Reader, out io.Writer, conn halfCloser, linger time.Duration) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, in)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	received := make(chan error, 1)
	go func() {
		_, err := io.Copy(out, conn)
		received <- err
	}()
	var err error
	select {
	case err = <-received:
	case <-sent: // an error here shows on the other side as well
		select {
		case err = <-received:
		case <-time.After(linger):
			err = fmt.Errorf("the peer did not finish within %s of the end of the input", linger)
		}
	}
	return errors.Join(err, conn.Close())
}
