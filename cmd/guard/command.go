package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
)

// Exit codes, as those of the cutover command.
const (
	exitOK             = 0
	exitFailed         = 1
	exitUsage          = 2
	exitRollbackFailed = 4
	exitUnavailable    = 5
)

const usage = `usage:
  guard serve
  guard rollback --actor NAME --reason TEXT [--force] [--legacy-wait 10s]
  guard dial [--linger 10s] unix|tcp ADDRESS
  guard health URL|unix:SOCKET [PATH]
  guard get URL|unix:SOCKET [PATH]
`

// command is one subcommand with its arguments.
type command interface {
	flags(*flag.FlagSet)
	run(args []string, std streams) error
}

// streams are the standard streams of a command.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// logger writes JSON lines to stderr: stdout is for results.
func (s streams) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(s.err, nil))
}

// exitError is an error with an exit code of its own.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error {
	return e.error
}

func usageError(format string, args ...any) error {
	return exitError{fmt.Errorf(format, args...), exitUsage}
}

// run carries out a command line and returns the exit code.
func run(args []string, std streams, getenv func(string) string) int {
	err := dispatch(args, std, getenv)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	fmt.Fprintf(std.err, "guard: %s\n", err)
	if exit, ok := errors.AsType[exitError](err); ok {
		if exit.code == exitUsage {
			fmt.Fprint(std.err, usage)
		}
		return exit.code
	}
	return exitFailed
}

func dispatch(args []string, std streams, getenv func(string) string) error {
	commands := map[string]command{
		"serve":    &serveCommand{getenv: getenv},
		"rollback": &rollbackCommand{getenv: getenv},
		"dial":     &dialCommand{},
		"health":   &healthCommand{},
		"get":      &getCommand{},
	}
	if len(args) == 0 {
		return usageError("a command is missing")
	}
	cmd, ok := commands[args[0]]
	if !ok {
		return usageError("there is no command %q", args[0])
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	cmd.flags(flags)
	if err := flags.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, err = fmt.Fprint(std.out, usage)
			return err
		}
		return usageError("%s: %w", args[0], err)
	}
	return cmd.run(flags.Args(), std)
}
