package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

type eventsCommand struct {
	*options
	follow bool
	after  uint64
}

func newEventsCommand(o *options) *cobra.Command {
	c := &eventsCommand{options: o}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show the journal: what was changed, by whom and why",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&c.follow, "follow", false, "after the journal so far, go on with what happens")
	cmd.Flags().Uint64Var(&c.after, "after", 0, "leave out events up to this `number`")
	return cmd
}

func (c *eventsCommand) run(ctx context.Context) (err error) {
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	client := guardClient(s)
	defer client.Close()
	if !c.follow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	for e, failure := range client.Events(ctx, c.after, c.follow) {
		if err = failure; err != nil {
			break
		}
		if err = c.show(e); err != nil {
			return err
		}
	}
	if c.follow && ctx.Err() != nil {
		return nil // following ends by being interrupted
	}
	if err != nil {
		return unanswered(err)
	}
	return nil
}

func (c *eventsCommand) show(e rollout.Event) error {
	if c.json {
		return json.NewEncoder(c.env.Stdout).Encode(e)
	}
	_, err := fmt.Fprintln(c.env.Stdout, eventLine(e))
	return err
}

// eventLine tells an event as a sentence.
func eventLine(e rollout.Event) string {
	what := string(e.Action)
	switch e.Action {
	case rollout.ActionPlan:
		what = "gave the guard the plan " + e.After.Plan.Name
	case rollout.ActionRollback:
		what = "took everything back to python"
		if e.Evidence["cause"] == "break-glass" {
			what += " by break-glass"
		}
	case rollout.ActionResume:
		what = "released the latch"
		if e.Before.Paused {
			what = "ended the pause"
		}
	case rollout.ActionPause:
		what = "paused the migration"
	case rollout.ActionBegin:
		what = "began the step " + e.After.Progress.Step
		if changes := weightChanges(e.Before, e.After); len(changes) > 0 {
			what += ", which moves " + strings.Join(changes, ", ")
		}
		what += acknowledged(e)
	case rollout.ActionComplete:
		what = "completed the step " + e.After.Step + acknowledged(e)
	case rollout.ActionClose:
		what = "closed the way back by " + e.After.OneWay
	case rollout.ActionFinding:
		what = "recorded a finding"
	case rollout.ActionRoute, rollout.ActionReconcile:
		what = "changed nothing that carries traffic"
		if changes := weightChanges(e.Before, e.After); len(changes) > 0 {
			what = "moved " + strings.Join(changes, ", ")
		}
	}
	line := fmt.Sprintf("%s  #%d  generation %d  %s %s", e.Time.Local().Format("2006-01-02 15:04:05.000 -0700"), e.Seq, e.Generation, e.Actor, what)
	if e.Reason != "" && e.Action != rollout.ActionPlan {
		line += ": " + printable(e.Reason)
	}
	return line
}

// acknowledged tells what a person took responsibility for, to follow another
// text.
func acknowledged(e rollout.Event) string {
	var said []string
	for _, ack := range e.After.Acks {
		if !slices.Contains(e.Before.Acks, ack) {
			said = append(said, fmt.Sprintf("%s (%s)", ack.Gate, printable(ack.Reason)))
		}
	}
	if len(said) == 0 {
		return ""
	}
	return "; acknowledged " + strings.Join(said, ", ")
}

// printable keeps what others wrote from speaking to the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
}

func weightChanges(before, after rollout.State) []string {
	var changes []string
	for _, route := range after.Routes {
		if from := weightOf(before, route.Name); from != route.Weight {
			changes = append(changes, fmt.Sprintf("%s %s %% → %s %%", route.Name, from, route.Weight))
		}
	}
	return changes
}
