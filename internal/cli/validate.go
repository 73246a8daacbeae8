package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Private

func newValidateCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a plan file, without an environment",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.planFile = args[0]
			}
			p, err := o.loadPlan()
			if err != nil {
				return err
			}
			return o.print(map[string]any{"schema_version": 1, "verdict": "pass", "name": p.Name, "hash": p.Hash},
				fmt.Sprintf("The plan %s is valid: %d routes.", p.Name, len(p.Routes)))
		},
	}
}
