package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"
)

const (
	maxBody       = 1 << 20
	maxRecipients = 100
	maxAtOnce     = 32 // messages that are being read
	mailTimeout   = 30 * time.Second
	httpTimeout   = 15 * time.Second
	listTimeout   = time.Minute
	idleTimeout   = time.Minute
	stopTimeout   = 700 * time.Millisecond
)

// Addresses are where to listen, host:port each.
type Addresses struct {
	PythonMail, GoMail string
	PythonHTTP, GoHTTP string
	Control            string
}

// Sink listens, and receives once it runs.
type Sink struct {
	log      *slog.Logger
	messages *messages
	slots    chan struct{} // one for each message that is being read
	at       Addresses
	doors    []door
}

// door is one address, and who answers there until the context ends.
type door struct {
	listener net.Listener
	serve    func(context.Context, net.Listener) error
}

// Listen takes all addresses, or none.
func Listen(at Addresses, log *slog.Logger) (*Sink, error) {
	s := &Sink{log: log, messages: newMessages(), slots: make(chan struct{}, maxAtOnce), at: at}
	for _, wanted := range []struct {
		address *string
		serve   func(context.Context, net.Listener) error
	}{
		{&s.at.PythonMail, s.serveMail(Python)},
		{&s.at.GoMail, s.serveMail(Go)},
		{&s.at.PythonHTTP, s.serveHTTP(s.receive(Python))},
		{&s.at.GoHTTP, s.serveHTTP(s.receive(Go))},
		{&s.at.Control, s.serveHTTP(s.control())},
	} {
		listener, err := net.Listen("tcp", *wanted.address)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.doors = append(s.doors, door{listener, wanted.serve})
		*wanted.address = listener.Addr().String()
	}
	return s, nil
}

// Addresses are those where the sink listens, with the ports that it was given.
func (s *Sink) Addresses() Addresses {
	return s.at
}

// Run receives until the context ends, and lets what is under way finish for a
// moment.
func (s *Sink) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range s.doors {
		group.Go(func() error { return d.serve(ctx, d.listener) })
	}
	return group.Wait()
}

// Private

func (s *Sink) close() error {
	var problems []error
	for _, d := range s.doors {
		problems = append(problems, d.listener.Close())
	}
	return errors.Join(problems...)
}

func (s *Sink) serveMail(system System) func(context.Context, net.Listener) error {
	return func(ctx context.Context, listener net.Listener) error {
		server := smtp.NewServer(mailbox{system: system, sink: s})
		server.Domain = "sink"
		server.MaxMessageBytes = maxBody
		server.MaxRecipients = maxRecipients
		server.ReadTimeout = mailTimeout // for a line, and for a whole message
		server.WriteTimeout = mailTimeout
		server.EnableSMTPUTF8 = true
		server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)

		open := &connections{Listener: listener}
		served := make(chan error, 1)
		go func() { served <- server.Serve(open) }()
		select {
		case err := <-served:
			return fmt.Errorf("receiving mail of %s on %s: %w", system, listener.Addr(), err)
		case <-ctx.Done():
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err := server.Shutdown(limit)
		if errors.Is(err, context.DeadlineExceeded) {
			open.cut() // the library's own Close does nothing any more
			err = nil
		}
		if closing := listener.Close(); !errors.Is(closing, net.ErrClosed) {
			err = errors.Join(err, closing) // it stopped before it had begun
		}
		return errors.Join(err, <-served)
	}
}

func (s *Sink) serveHTTP(handler http.Handler) func(context.Context, net.Listener) error {
	return func(ctx context.Context, listener net.Listener) error {
		server := &http.Server{
			Handler:                      handler,
			DisableGeneralOptionsHandler: true,
			ReadHeaderTimeout:            httpTimeout,
			ReadTimeout:                  httpTimeout,
			WriteTimeout:                 listTimeout,
			IdleTimeout:                  idleTimeout,
			MaxHeaderBytes:               64 << 10,
			ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		select {
		case err := <-served:
			return fmt.Errorf("receiving on %s: %w", listener.Addr(), err)
		case <-ctx.Done():
		}
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err := server.Shutdown(limit)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}
}

// connections is a listener that knows the connections that it accepted.
type connections struct {
	net.Listener
	open sync.Map // *connection → nothing
}

// Accept waits for the next connection.
func (c *connections) Accept() (net.Conn, error) {
	accepted, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	conn := &connection{Conn: accepted, of: c}
	c.open.Store(conn, nil)
	return conn, nil
}

// cut closes all connections.
func (c *connections) cut() {
	c.open.Range(func(conn, _ any) bool {
		_ = conn.(*connection).Close() // there is nothing to be saved
		return true
	})
}

type connection struct {
	net.Conn
	of *connections
}

// Close closes the connection.
func (c *connection) Close() error {
	c.of.open.Delete(c)
	return c.Conn.Close()
}
