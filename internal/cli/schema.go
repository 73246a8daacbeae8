package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/plan"
)

// Private

func newSchemaCommand(o *options) *cobra.Command {
	markdown := false
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of a plan file",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			content := plan.Schema()
			if markdown {
				content = []byte(plan.Reference())
			}
			_, err := o.env.Stdout.Write(content)
			return err
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print it as a reference for people")
	return cmd
}

func newInitCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a commented plan to start from",
		Long:  "Write a commented plan to start from, by default cutover.yaml in the working folder. A file that is there already is left alone.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := filepath.Join(o.env.Dir, "cutover.yaml")
			if len(args) == 1 {
				path = args[0]
				if !filepath.IsAbs(path) {
					path = filepath.Join(o.env.Dir, path)
				}
			}
			file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, os.ErrExist) {
				return exitError{ExitRefused, fmt.Errorf("%s is there already; nothing was written", path)}
			}
			if err != nil {
				return usage(fmt.Errorf("the plan cannot be written: %w", err))
			}
			_, err = file.WriteString(plan.Template)
			if err := errors.Join(err, file.Close()); err != nil {
				return fmt.Errorf("write the plan %s: %w", path, err)
			}
			return o.print(map[string]any{"schema_version": 1, "path": path},
				fmt.Sprintf("Wrote %s. Fill in what it asks for, then: cutover validate %s", path, path))
		},
	}
}
