package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

type routeCommand struct {
	*options
	reason     string
	generation uint64
	seen       bool // whether --generation was given
	force      bool
}

func newRouteCommand(o *options) *cobra.Command {
	c := &routeCommand{options: o}
	cmd := &cobra.Command{
		Use:     "route NAME PERCENT",
		Short:   "Set the share of one route that Go serves",
		Example: "  cutover route users 25\n  cutover route users 0.5 --reason 'first visitors'",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.seen = cmd.Flags().Changed("generation")
			return c.run(cmd.Context(), args[0], args[1])
		},
	}
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, for the journal")
	cmd.Flags().Uint64Var(&c.generation, "generation", 0, "refuse unless the routing still has this generation (default: the one found now)")
	cmd.Flags().BoolVar(&c.force, "force", false, "move traffic to Go even if it does not answer")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if strings.Contains(err.Error(), "shorthand flag") { // route users -1
			err = fmt.Errorf("%w (a weight is a percentage from 0 to 100)", err)
		}
		return usage(err)
	})
	return cmd
}

func (c *routeCommand) run(ctx context.Context, name, text string) (err error) {
	weight, err := edge.ParseWeight(text)
	if err != nil {
		return usage(err)
	}
	if len(c.reason) > longestReason {
		return usage(fmt.Errorf("--reason is %d bytes long; the journal takes %d", len(c.reason), longestReason))
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	before, err := client.Status(ctx)
	if err != nil {
		return unanswered(err)
	}
	generation := before.State.Generation
	if c.seen {
		generation = c.generation
	}
	if weight > weightOf(before.State, name) {
		p, err := c.loadPlan()
		if err != nil {
			return err
		}
		if err := samePlan(before.State, p); err != nil {
			return err
		}
	}
	known := slices.ContainsFunc(before.State.Routes, func(route rollout.Route) bool { return route.Name == name })
	if !c.force && known && weight > weightOf(before.State, name) && !s.Answers(ctx, "goapp") {
		return exitError{ExitRefused, errors.New("nothing was moved: Go does not answer (cutover status shows how it is); --force moves traffic to it all the same")}
	}
	moved, err := client.Route(ctx, control.RouteRequest{
		Route: name, Weight: &weight, Generation: generation, Actor: c.operator(), Reason: c.reason,
	})
	if err != nil {
		return refused(err)
	}
	sentence := fmt.Sprintf("%s is at %s %% already; nothing changed (generation %d).", name, weight, moved.State.Generation)
	if moved.Event != nil {
		sentence = fmt.Sprintf("%s: %s %% → %s %% on Go (generation %d).", name, weightOf(moved.Event.Before, name), weight, moved.State.Generation)
	}
	if moved.Event != nil {
		for _, change := range weightChanges(moved.Event.Before, moved.Event.After) {
			if !strings.HasPrefix(change, name+" ") {
				sentence += "\nMoves together with it: " + change + "."
			}
		}
	}
	return c.print(moved, sentence)
}

func weightOf(state rollout.State, name string) edge.Weight {
	for _, route := range state.Routes {
		if route.Name == name {
			return route.Weight
		}
	}
	return 0
}
