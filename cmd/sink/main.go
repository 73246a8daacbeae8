// Command sink receives the mail and the HTTP calls that the applications of a
// rehearsal make, and keeps them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cutover-dev/cutover/internal/sink"
)

const healthTimeout = 2 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch {
	case len(args) == 0:
		return serve(ctx)
	case len(args) == 1 && args[0] == "health":
		return health(ctx)
	default:
		return errors.New("usage: sink [health]")
	}
}

func serve(ctx context.Context) error {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("service", "sink")
	s, err := sink.Listen(sink.Addresses{
		PythonMail: ":2501",
		GoMail:     ":2502",
		PythonHTTP: ":8001",
		GoHTTP:     ":8002",
		Control:    ":9000",
	}, log)
	if err != nil {
		return err
	}
	log.Info("the sink is listening", "addresses", s.Addresses())
	return s.Run(ctx)
}

func health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9000/health", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the sink answers %s", response.Status)
	}
	return errors.Join(err, response.Body.Close())
}
