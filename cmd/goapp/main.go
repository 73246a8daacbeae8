// Command goapp is the new system of the p2k16 migration.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the image has no time zones of its own

	"github.com/cutover-dev/cutover/internal/goapp"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "goapp:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	switch args := os.Args[1:]; {
	case len(args) == 0:
		config, err := goapp.LoadConfig(os.Getenv)
		if err != nil {
			return err
		}
		return goapp.Run(ctx, config, slog.New(slog.NewJSONHandler(os.Stdout, nil)).With("service", "go"))
	case len(args) == 1 && args[0] == "healthcheck":
		return goapp.Healthcheck(ctx, os.Getenv)
	default:
		return fmt.Errorf("usage: goapp [healthcheck]")
	}
}
