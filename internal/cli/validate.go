package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/plan"
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
			text := fmt.Sprintf("The plan %s is valid: %d routes, %d steps.", p.Name, len(p.Routes), len(guardPlan(p).Steps))
			notable := notableSteps(p)
			for _, step := range notable {
				text += fmt.Sprintf("\n%s is %s: %s", step["name"], step["label"], step["why"])
			}
			return o.print(map[string]any{"schema_version": 1, "verdict": "pass", "name": p.Name, "hash": p.Hash, "notable_steps": notable}, text)
		},
	}
}

// notableSteps are those that cannot be taken back without a loss, or at all.
func notableSteps(p *plan.Plan) []map[string]string {
	steps := []map[string]string{}
	for _, phase := range p.Phases {
		for _, step := range phase.Steps {
			why := step.Loses
			switch step.Label {
			case "lossy":
			case "one-way":
				why = step.Says
			default:
				continue
			}
			steps = append(steps, map[string]string{"name": step.Name, "label": step.Label, "why": why})
		}
	}
	return steps
}
