package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type doctorCommand struct {
	*options
}

func newDoctorCommand(o *options) *cobra.Command {
	c := &doctorCommand{options: o}
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this machine and its engine can run the environment",
		Long: `Check whether this machine and its engine can run the environment: the engine
and its API, memory, disk, ports, networks, and where the images come from.
Nothing is changed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
}

func (c *doctorCommand) run(ctx context.Context) (err error) {
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	checks, err := s.Doctor(ctx)
	if err != nil {
		return err
	}
	verdict := stack.Pass
	if slices.ContainsFunc(checks, func(check stack.Check) bool { return check.Verdict == stack.Fail }) {
		verdict = stack.Fail
	}
	document := map[string]any{"schema_version": 1, "verdict": verdict, "checks": checks}
	if err := c.print(document, diagnosis(checks, verdict)); err != nil {
		return err
	}
	if verdict == stack.Fail {
		return exitError{code: ExitUnavailable}
	}
	return nil
}

func diagnosis(checks []stack.Check, verdict stack.Verdict) string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 4, 3, ' ', 0)
	for _, check := range checks {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", strings.ReplaceAll(string(check.Verdict), "_", " "), check.Name, printable(check.Evidence))
		if check.Remedy != "" {
			_, _ = fmt.Fprintf(table, "\t\t→ %s\n", check.Remedy)
		}
	}
	_ = table.Flush() // a strings.Builder takes everything
	if verdict == stack.Fail {
		return text.String() + "\nThe environment cannot be brought up before the failures are mended."
	}
	return text.String() + "\nThe environment can be brought up: cutover up"
}
