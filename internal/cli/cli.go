// Package cli is the command line: it turns arguments into calls of the
// packages below it, and errors into one sentence and an exit code.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Env is everything that a command takes from outside, so that a whole run of
// the program can happen inside a test.
type Env struct {
	Args     []string // without the program's name
	Dir      string   // the working folder
	Stdout   io.Writer
	Stderr   io.Writer
	Getenv   func(string) string
	Terminal bool // whether Stderr is one
	Screen   bool // whether Stdout is one
}

// Run executes one command line and returns the exit code.
func Run(ctx context.Context, env Env) int {
	root := newRoot(env)
	root.SetArgs(env.Args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitPassed
	}
	if ctx.Err() != nil {
		_, _ = fmt.Fprintln(env.Stderr, "cutover: interrupted; run the same command again to go on")
		return ExitInterrupted
	}
	var coded exitError
	if !errors.As(err, &coded) || coded.err != nil {
		_, _ = fmt.Fprintln(env.Stderr, "cutover: "+err.Error())
	}
	return exitCode(err)
}

// Private

// options are the flags that every command has, and what is made from them.
type options struct {
	env      Env
	project  string
	planFile string
	progress string
	json     bool
}

func newRoot(env Env) *cobra.Command {
	o := &options{env: env}
	root := &cobra.Command{
		Use:           "cutover",
		Short:         "Rehearse and carry out the move of a live web application to its new implementation",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          subcommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	flags := root.PersistentFlags()
	flags.StringVar(&o.project, "project", cmp.Or(env.Getenv("CUTOVER_PROJECT"), stack.DefaultProject), "name of the environment; several can run side by side")
	flags.StringVar(&o.planFile, "plan", "", "plan `file` (default $CUTOVER_PLAN, ./cutover.yaml, fixtures/p2k16/cutover.yaml)")
	flags.StringVar(&o.progress, "progress", string(event.Auto), "how progress is shown on stderr: auto, tty, plain, json, quiet")
	flags.BoolVar(&o.json, "json", false, "print the result as one JSON document on stdout")
	root.AddCommand(
		newDoctorCommand(o), newUpCommand(o), newDownCommand(o), newStatusCommand(o),
		newRouteCommand(o), newRollbackCommand(o), newResumeCommand(o), newEventsCommand(o),
		newValidateCommand(o), newPlanCommand(o), newDBCommand(o), newSplitCommand(o), newSessionsCommand(o),
		newAdvanceCommand(o), newCheckCommand(o), newPauseCommand(o), newSchemaCommand(o), newInitCommand(o),
	)
	for _, command := range root.Commands() {
		command.Args = usageArgs(command.Args)
	}
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
		}
		return nil
	}
}

// subcommand refuses a command that is not there; cobra would show its help
// and succeed.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("there is no command %q; see %s --help", args[0], cmd.CommandPath()))
	}
	return nil
}

// environment opens what a command works on. Its close function is never nil.
func (o *options) environment(ctx context.Context) (*stack.Stack, func() error, error) {
	none := func() error { return nil }
	if err := stack.ValidateProject(o.project); err != nil {
		return nil, none, err
	}
	root, err := o.root()
	if err != nil {
		return nil, none, err
	}
	renderer, err := event.NewRenderer(event.Mode(o.progress), o.env.Stderr, o.env.Terminal, o.env.Terminal && o.env.Getenv("NO_COLOR") == "")
	if err != nil {
		return nil, none, usage(err)
	}
	e, err := engine.Connect(ctx)
	if err != nil {
		return nil, none, errors.Join(err, renderer.Close())
	}
	s, err := stack.New(stack.Settings{Root: root, Project: o.project, Getenv: o.env.Getenv}, e, renderer)
	closeAll := func() error { return errors.Join(renderer.Close(), e.Close()) }
	if err != nil {
		return nil, none, errors.Join(err, closeAll())
	}
	return s, closeAll, nil
}

func (o *options) root() (string, error) {
	if root := o.env.Getenv("CUTOVER_ROOT"); root != "" {
		return stack.FindRoot(root)
	}
	return stack.FindRoot(o.env.Dir)
}

// operator names who acts, for the journal.
func (o *options) operator() string {
	for _, name := range []string{"CUTOVER_OPERATOR", "SUDO_USER", "USER", "LOGNAME"} {
		if value := strings.TrimSpace(o.env.Getenv(name)); value != "" {
			return value
		}
	}
	if home := o.env.Getenv("HOME"); home != "" {
		return filepath.Base(home)
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
