package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/database/migrate"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type contractCommand struct {
	migrationsCommand
	ack string
}

func newContractCommand(o *options) *cobra.Command {
	c := &contractCommand{migrationsCommand: migrationsCommand{options: o}}
	cmd := &cobra.Command{
		Use:   "contract",
		Short: "Take away from the schema what only python needs; there is no way back",
		Long: `Take away from the schema what only python needs; there is no way back.

It is refused unless every route is on Go, everything was expanded, and all that
Go wrote reads the same through python at this moment (as cutover db reverse
checks it). Afterwards python does not work any more, and the guard refuses every
rollback.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.TrimSpace(c.ack) == "" {
				return usage(errors.New("there is no way back from here: say why it is taken with --ack REASON"))
			}
			p, err := c.loadPlan()
			if err != nil {
				return err
			}
			return c.workOn(cmd.Context(), func(ctx context.Context, s *stack.Stack, m *migrate.Migrator, status migrate.Status) ([]migrate.Done, string, error) {
				if len(status.Pending(migrate.Contract)) == 0 {
					return nil, "Nothing is left to take away; nothing was changed.", nil
				}
				if err := mayContract(ctx, s, p, status); err != nil {
					return nil, "", err
				}
				if err := c.closeWay(ctx, s); err != nil {
					return nil, "", err
				}
				done, err := m.Up(ctx, migrate.Contract)
				return done, fmt.Sprintf("%d migrations were run, because: %s. Python does not work any more, and there is no way back.", len(done), c.ack), err
			})
		},
	}
	cmd.Flags().StringVar(&c.ack, "ack", "", "the `reason` why the way back is closed")
	c.patienceFlag(cmd)
	return cmd
}

// closeWay has the guard refuse every rollback from now on: python will not work
// any more.
func (c *contractCommand) closeWay(ctx context.Context, s *stack.Stack) error {
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	status, err := client.Status(ctx)
	if err != nil {
		return unanswered(err)
	}
	_, err = client.CloseWay(ctx, control.CloseRequest{Actor: c.operator(), Reason: c.ack, What: "db contract", Generation: status.State.Generation})
	if err != nil {
		return refused(err)
	}
	return nil
}

// mayContract refuses as long as anybody needs the way back. One that began
// already, and was interrupted, has been through it.
func mayContract(ctx context.Context, s *stack.Stack, p *plan.Plan, status migrate.Status) error {
	if status.Contracted() {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return exitError{ExitRefused, fmt.Errorf("nothing was changed: "+format, args...)}
	}
	if pending := status.Pending(migrate.Expand); len(pending) > 0 {
		return refuse("%s was not run: cutover db expand comes first", pending[0].Name)
	}
	client := guardClient(s)
	defer client.Close()
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	guard, err := client.Status(asking)
	if err != nil {
		return unanswered(err)
	}
	for _, route := range guard.State.Routes {
		if route.Pin == "" && route.Follows == "" && route.Weight != edge.AllGo {
			return refuse("%s is at %s %% on Go, and python serves the rest", route.Name, route.Weight)
		}
	}
	event.Work(s.Events(), "reverse check", "reading what Go wrote through python")
	var all span
	if err := all.read(time.Now()); err != nil {
		return err
	}
	result, err := reverseCheck(ctx, s, p, all, false)
	if err != nil {
		return err
	}
	if result.Verdict != verdictPass {
		return refuse("the reverse check says %s: %s", result.Verdict, result.text())
	}
	event.Finish(s.Events(), "reverse check", fmt.Sprintf("%d writes of Go read the same through python", result.Writes))
	return nil
}
