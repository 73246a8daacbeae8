package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/store"
)

const closeTimeout = 200 * time.Millisecond

// serveCommand is the guard itself.
type serveCommand struct {
	getenv func(string) string
	listen string
}

func (c *serveCommand) flags(f *flag.FlagSet) {
	f.StringVar(&c.listen, "listen", ":9900", "")
}

func (c *serveCommand) run(args []string, std streams) error {
	if len(args) > 0 {
		return usageError("serve takes no arguments, only flags")
	}
	cfg, err := readConfig(c.getenv)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return c.serve(ctx, cfg, std.logger())
}

// serve guards until the context ends.
func (c *serveCommand) serve(ctx context.Context, cfg config, log *slog.Logger) (err error) {
	state, err := store.Open(ctx, cfg.dir, log)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it waited for the lock
		}
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()

	socket, err := listenUnix(cfg.guardSocket())
	if err != nil {
		return err
	}
	public, err := net.Listen("tcp", c.listen)
	if err != nil {
		return errors.Join(err, socket.Close())
	}

	client := cfg.edge()
	defer client.Close()
	writer := control.NewWriter(state, client, guard.NewPythonProbe(cfg.edgeAddr, cfg.python), cfg.home, log)
	traffic := guard.NewTraffic()
	server := control.NewServer(writer, state, traffic, map[edge.System]string{edge.Python: cfg.python, edge.Go: cfg.golang}, log)
	log.Info("the guard is serving", "socket", cfg.guardSocket(), "public", public.Addr().String(),
		"python", cfg.python, "go", cfg.golang, "generation", writer.State().Generation)

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return control.Serve(ctx, socket, server.API(), log) })
	group.Go(func() error { return control.Serve(ctx, public, server.Public(), log) })
	group.Go(func() error { traffic.Watch(ctx, client.CountersSince, log); return nil })
	group.Go(func() error { writer.Run(ctx); return nil })
	group.Go(func() error { writer.KeepJobs(ctx, cfg.assignJobs); return nil })
	err = group.Wait()

	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err = errors.Join(err, writer.Close(closing))
	log.Info("the guard has stopped")
	return err
}

// listenUnix takes the place of a socket that a killed guard left behind. The
// lock is held: no other guard is using it.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}
