// Command cutover rehearses and carries out the move of a live web
// application from one implementation to another.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/cutover-dev/cutover/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cutover: find the working folder:", err)
		os.Exit(cli.ExitInternal)
	}
	code := cli.Run(ctx, cli.Env{
		Args:     os.Args[1:],
		Dir:      dir,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Getenv:   os.Getenv,
		Terminal: term.IsTerminal(int(os.Stderr.Fd())),
		Screen:   term.IsTerminal(int(os.Stdout.Fd())),
	})
	stop()
	os.Exit(code)
}
