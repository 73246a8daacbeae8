package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/database/reverse"
	"github.com/cutover-dev/cutover/internal/incident"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type incidentsCommand struct {
	*options
	span
}

func newIncidentsCommand(o *options) *cobra.Command {
	c := &incidentsCommand{options: o}
	cmd := &cobra.Command{
		Use:   "incidents",
		Short: "After a rollback: what Go failed that may have changed something, and whether it did",
		Long: `After a rollback: what Go failed that may have changed something, and whether it
did.

Each request that was not for reading and that Go answered with an error, or not
at all, by the edge's log: its id, route and user, and whether the audit trail
has it as committed. Without --since it is the time from when traffic was moved
to Go until the last rollback. The edge's log keeps its newest 30 MB.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	c.flags(cmd)
	return cmd
}

// incidentsResult is what db incidents --json prints.
type incidentsResult struct {
	SchemaVersion int            `json:"schema_version"`
	From          time.Time      `json:"from"`
	To            time.Time      `json:"to"`
	Incidents     []incidentLine `json:"incidents"`
}

type incidentLine struct {
	incident.Request
	Route string `json:"route"`
	// Committed says whether what the request did is in the database.
	Committed bool           `json:"committed"`
	Write     *reverse.Write `json:"write"`
}

func (c *incidentsCommand) run(ctx context.Context) (err error) {
	if err := c.read(time.Now()); err != nil {
		return err
	}
	p, err := c.loadPlan()
	if err != nil {
		return err
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if c.since == "" {
		if c.from, c.to, err = lastStretch(ctx, s, c.to); err != nil {
			return err
		}
	}
	result := incidentsResult{SchemaVersion: 1, From: c.from, To: c.to, Incidents: []incidentLine{}}
	log, err := s.Log(ctx, "nginx")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(goAddress)
	if err != nil {
		return err
	}
	failed, err := incident.Failed(strings.NewReader(log), port, c.from, c.to.Add(time.Second))
	if err != nil {
		return err
	}
	if result.Incidents, err = c.judge(ctx, s, p, failed); err != nil {
		return databaseFailed(ctx, s, err)
	}
	return c.print(result, result.text())
}

// judge finds out what of the requests is in the database.
func (c *incidentsCommand) judge(ctx context.Context, s *stack.Stack, p *plan.Plan, failed []incident.Request) ([]incidentLine, error) {
	lines := []incidentLine{}
	if len(failed) == 0 {
		return lines, nil
	}
	// What was on its way at the end may have been committed a little later.
	writes, err := writesOf(ctx, s, p, "go", span{from: c.from.Add(-time.Minute), to: c.to.Add(10 * time.Minute)})
	if err != nil {
		return nil, err
	}
	committed := map[string]*reverse.Write{}
	for _, write := range writes {
		if write.RequestID != nil {
			committed[*write.RequestID] = &write
		}
	}
	for _, request := range failed {
		line := incidentLine{Request: request, Route: routeOf(p, request.Path), Write: committed[request.RequestID]}
		line.Committed = line.Write != nil
		if line.Committed && line.User == "" && line.Write.Who != nil {
			line.User = *line.Write.Who
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// lastStretch is the time from when traffic was moved to Go until the last
// rollback; without one, until the end that is given.
func lastStretch(ctx context.Context, s *stack.Stack, end time.Time) (from, to time.Time, err error) {
	client := guardClient(s)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var events []rollout.Event
	for e, failure := range client.Events(ctx, 0, false) {
		if failure != nil {
			return from, to, unanswered(failure)
		}
		events = append(events, e)
	}
	from, to = stretch(events, end)
	return from, to, nil
}

func stretch(events []rollout.Event, end time.Time) (from, to time.Time) {
	from, to = time.Unix(0, 0), end
	last := len(events)
	for i, e := range slices.Backward(events) {
		if e.Action == rollout.ActionRollback && carries(e.Before) {
			last, to = i, e.Time.Time
			break
		}
	}
	for _, e := range slices.Backward(events[:last]) {
		if !carries(e.Before) && carries(e.After) {
			return e.Time.Time, to
		}
	}
	return from, to
}

// carries says whether any traffic goes to Go.
func carries(state rollout.State) bool {
	return slices.ContainsFunc(state.Routes, func(r rollout.Route) bool { return r.Weight > 0 })
}

// routeOf is the route that a path belongs to: the longest prefix wins.
func routeOf(p *plan.Plan, path string) (name string) {
	longest := 0
	for _, route := range p.Routes {
		prefix := strings.TrimSuffix(route.Prefix, "/")
		rest, ok := strings.CutPrefix(path, prefix)
		if ok && (rest == "" || rest[0] == '/') && len(prefix)+1 > longest {
			longest, name = len(prefix)+1, route.Name
		}
	}
	return name
}

func (r incidentsResult) text() string {
	const clock = "2006-01-02 15:04:05"
	var out strings.Builder
	fmt.Fprintf(&out, "From %s to %s Go failed %d requests that may have changed something.\n", r.From.Local().Format(clock), r.To.Local().Format(clock), len(r.Incidents))
	if len(r.Incidents) == 0 {
		return strings.TrimSpace(out.String())
	}
	w := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "TIME\tREQUEST\tROUTE\tWHAT\tUSER\tANSWER\tCOMMITTED")
	for _, i := range r.Incidents {
		committed := "no"
		if i.Committed {
			committed = "yes: " + i.Write.Action
		}
		user := i.User
		if user == "" {
			user = "–"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s %s\t%s\t%d\t%s\n", i.Time.Local().Format(clock), printable(i.RequestID), i.Route, i.Method, printable(i.Path), printable(user), i.Status, committed)
	}
	_ = w.Flush()
	return strings.TrimSpace(out.String())
}
