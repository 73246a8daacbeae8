package gate

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

const (
	usualPeriods = 3
	// longestWait is how long a gate waits for a period of a job to end.
	longestWait = time.Minute
	// handover is how long a change of owner may take to reach the systems.
	handover = 5 * time.Second
	// usualWatch is how long a system is watched for being idle.
	usualWatch = 5 * time.Second
)

func (c *Checker) sql(ctx context.Context, g plan.SQLGate) answer {
	rows, err := c.Sources.Database.Query(ctx, g.Query)
	if err != nil {
		return unknown(nil, "the database does not answer the query: %s", err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return unknown(nil, "the query returned %d rows; it has to return one with one boolean", len(rows))
	}
	switch value := rows[0][0].(type) {
	case bool:
		if value {
			return pass(nil, "the query answers true")
		}
		return fail(nil, "the query answers false")
	case nil:
		return unknown(nil, "the query answers NULL")
	default:
		return unknown(nil, "the query answers %v, which is no boolean", value)
	}
}

// run is one execution of a background job.
type run struct {
	period time.Time // when the period began
	system edge.System
}

// jobs looks at the periods that have passed since the owners changed last, and
// waits for one to pass if there is none yet.
func (c *Checker) jobs(ctx context.Context, gate string, g plan.JobsGate, state rollout.State) answer {
	if len(c.Plan.Jobs) == 0 {
		return unknown(nil, "the plan has no jobs")
	}
	longest := time.Duration(0)
	for _, job := range c.Plan.Jobs {
		longest = max(longest, job.Period.Value)
	}
	if 2*longest > longestWait {
		return c.jobsNow(ctx, g, state)
	}
	return eventually(ctx, 2*longest+2*handover, func(ctx context.Context) answer {
		found := c.jobsNow(ctx, g, state)
		if found.verdict != rollout.Pass {
			c.wait(gate, found.why)
		}
		return found
	})
}

func (c *Checker) jobsNow(ctx context.Context, g plan.JobsGate, state rollout.State) answer {
	changes, err := c.Sources.Guard.Owners(ctx)
	if err != nil {
		return unknown(nil, "the guard does not say whose the jobs were: %s", err)
	}
	status, err := c.Sources.Guard.Status(ctx)
	if err != nil {
		return unknown(nil, "the guard does not answer: %s", err)
	}
	if !status.JobsAssigned {
		return unknown(nil, "the database does not have the owners yet: %s", cmp.Or(status.JobsError, "they were changed just now"))
	}
	evidence := map[string]any{}
	var told []string
	for _, job := range c.Plan.Jobs {
		runs, now, err := c.runs(ctx, job, g)
		if err != nil {
			return unknown(evidence, "the runs of %s cannot be read: %s", job.Name, err)
		}
		found := judgeJob(job, runs, ownersOf(job, changes), now, cmp.Or(g.Periods, usualPeriods))
		evidence[job.Name] = found.evidence
		if found.verdict != rollout.Pass {
			return answer{found.verdict, found.why, evidence}
		}
		told = append(told, found.why)
	}
	return pass(evidence, "%s", strings.Join(told, "; "))
}

func (c *Checker) runs(ctx context.Context, job plan.Job, g plan.JobsGate) ([]run, time.Time, error) {
	now, err := c.clock(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	since := now.Add(-time.Duration(cmp.Or(g.Periods, usualPeriods)+2) * job.Period.Value)
	runs, err := c.runsSince(ctx, job, since)
	return runs, now, err
}

// runsSince are the runs of a job in the order of their periods.
func (c *Checker) runsSince(ctx context.Context, job plan.Job, since time.Time) ([]run, error) {
	rows, err := c.Sources.Database.Query(ctx, job.Runs, job.Name, since)
	if err != nil {
		return nil, err
	}
	var runs []run
	for _, row := range rows {
		if len(row) != 2 {
			return nil, fmt.Errorf("the query runs returns %d columns, not period and system", len(row))
		}
		period, isTime := row[0].(time.Time)
		system, isText := row[1].(string)
		if !isTime || !isText {
			return nil, fmt.Errorf("the query runs returns %T and %T, not a timestamptz and a text", row[0], row[1])
		}
		runs = append(runs, run{period.UTC(), edge.System(system)})
	}
	slices.SortStableFunc(runs, func(a, b run) int { return a.period.Compare(b.period) })
	return runs, nil
}

// clock is the time of the database.
func (c *Checker) clock(ctx context.Context) (time.Time, error) {
	rows, err := c.Sources.Database.Query(ctx, "SELECT now()")
	if err != nil {
		return time.Time{}, err
	}
	if len(rows) == 1 && len(rows[0]) == 1 {
		if now, ok := rows[0][0].(time.Time); ok {
			return now, nil
		}
	}
	return time.Time{}, fmt.Errorf("the database's clock is %v", rows)
}

// ownership says whose a job was from a time on.
type ownership struct {
	from  time.Time
	owner edge.System
}

func ownersOf(job plan.Job, changes []OwnerChange) []ownership {
	owners := []ownership{{owner: job.Owner}}
	for _, change := range changes {
		i := slices.IndexFunc(change.Jobs, func(j rollout.Job) bool { return j.Name == job.Name })
		if i >= 0 && change.Jobs[i].Owner != owners[len(owners)-1].owner {
			owners = append(owners, ownership{change.At, change.Jobs[i].Owner})
		}
	}
	return owners
}

// judgeJob looks at the last periods that have passed, as far back as the job
// was run at all.
func judgeJob(job plan.Job, runs []run, owners []ownership, now time.Time, periods int) answer {
	length := job.Period.Value
	last := owners[len(owners)-1]
	evidence := map[string]any{"owner": last.owner, "runs": len(runs)}
	seen := map[time.Time]int{}
	newest := time.Time{}
	for _, r := range runs {
		if seen[r.period]++; seen[r.period] > 1 {
			return fail(evidence, "the job %s was run %d times in the period from %s", job.Name, seen[r.period], hour(r.period))
		}
		if !mayRun(r, owners, length) {
			return fail(evidence, "the job %s was run by %s in the period from %s, when it was not its own", job.Name, r.system, hour(r.period))
		}
		if r.period.After(newest) {
			newest = r.period
		}
	}
	if newest.IsZero() {
		return unknown(evidence, "the job %s was not run yet", job.Name)
	}
	passed := 0
	for begin := newest; seen[begin] > 0 && passed < periods; begin = begin.Add(-length) {
		passed++
	}
	if missed := now.Sub(newest) - 2*length; missed > handover {
		return fail(evidence, "the job %s was run last in the period from %s, and its period is %s", job.Name, hour(newest), job.Period)
	}
	var whole int // periods that its present owner had from beginning to end
	for _, r := range runs {
		if r.system == last.owner && !r.period.Before(last.from) && !r.period.Add(length).After(now) {
			whole++
		}
	}
	if gap := firstGap(runs, owners, length); !gap.IsZero() {
		return fail(evidence, "the job %s was not run in the period from %s", job.Name, hour(gap))
	}
	evidence["whole_periods"] = whole
	if whole == 0 {
		return unknown(evidence, "no period of the job %s has passed yet since it belongs to %s", job.Name, last.owner)
	}
	return pass(evidence, "%s: run once in each of %d periods, by %s only", job.Name, passed, last.owner)
}

// mayRun tells whether a system had a job at any time of a period.
func mayRun(r run, owners []ownership, length time.Duration) bool {
	end := r.period.Add(length)
	for i, o := range owners {
		until := end
		if i+1 < len(owners) {
			until = owners[i+1].from.Add(handover)
		}
		if o.owner == r.system && o.from.Before(end) && !until.Before(r.period) {
			return true
		}
	}
	return false
}

// firstGap is the first period between two runs that has none. A period in
// which the owner changed may be left out: whoever ran it would have to know of
// the change before it was made.
func firstGap(runs []run, owners []ownership, length time.Duration) time.Time {
	for i := 1; i < len(runs); i++ {
		missing := runs[i-1].period.Add(length)
		if !missing.Before(runs[i].period) {
			continue
		}
		changed := slices.ContainsFunc(owners, func(o ownership) bool {
			return !o.from.Before(missing.Add(-handover)) && o.from.Before(missing.Add(length+handover))
		})
		if !changed {
			return missing
		}
	}
	return time.Time{}
}

func hour(at time.Time) string {
	return at.UTC().Format("15:04:05 UTC")
}

// idle watches a system for a while: nobody may ask it for anything.
func (c *Checker) idle(ctx context.Context, gate string, g plan.IdleGate, state rollout.State) answer {
	watch := g.Watch.Value
	if watch == 0 {
		watch = usualWatch
	}
	for _, job := range state.Jobs {
		if job.Owner == g.System {
			return fail(nil, "the job %s is %s's", job.Name, g.System)
		}
	}
	before, err := c.Sources.Edge.Counters(ctx)
	if err != nil {
		return unknown(nil, "the edge's counters cannot be read: %s", err)
	}
	begun, err := c.clock(ctx)
	if err != nil {
		return unknown(nil, "the database does not answer: %s", err)
	}
	c.wait(gate, fmt.Sprintf("watching %s for %s", g.System, watch))
	select {
	case <-ctx.Done():
		return unknown(nil, "interrupted")
	case <-time.After(watch): // the time itself is what is asked for
	}
	after, err := c.Sources.Edge.Counters(ctx)
	if err != nil {
		return unknown(nil, "the edge's counters cannot be read: %s", err)
	}
	bake := Bake{Before: before, After: after}
	if !bake.Whole() {
		return unknown(nil, "nginx was started anew meanwhile")
	}
	evidence := map[string]any{"watched_s": watch.Seconds()}
	for _, route := range bake.routeNames() {
		if requests := bake.asked(route, g.System); requests > 0 {
			evidence["requests"] = requests
			return fail(evidence, "%s answered %d requests of %s in %s", g.System, requests, route, watch)
		}
	}
	if answer := c.writes(ctx, g, begun, evidence); answer.verdict != rollout.Pass {
		return answer
	}
	for _, job := range c.Plan.Jobs {
		runs, err := c.runsSince(ctx, job, begun)
		if err != nil {
			return unknown(evidence, "the runs of %s cannot be read: %s", job.Name, err)
		}
		if slices.ContainsFunc(runs, func(r run) bool { return r.system == g.System }) {
			return fail(evidence, "%s ran the job %s", g.System, job.Name)
		}
	}
	return c.connections(ctx, g, watch, evidence)
}

func (c *Checker) writes(ctx context.Context, g plan.IdleGate, since any, evidence map[string]any) answer {
	if c.Plan.Systems.Python.Writes == "" {
		evidence["writes"] = "the plan does not say how to count them"
		return pass(evidence, "")
	}
	rows, err := c.Sources.Database.Query(ctx, c.Plan.Systems.Python.Writes, since)
	if err != nil || len(rows) != 1 || len(rows[0]) != 1 {
		return unknown(evidence, "the writes of %s cannot be counted: %v", g.System, err)
	}
	writes, ok := rows[0][0].(int64)
	if !ok {
		return unknown(evidence, "the writes of %s are %v, which is no count", g.System, rows[0][0])
	}
	evidence["writes"] = writes
	if writes > 0 {
		return fail(evidence, "%s wrote %d times", g.System, writes)
	}
	return pass(evidence, "")
}

// connections looks for sessions of the system's role in the database that are
// not its own container's: a script that somebody forgot. The container itself
// keeps a pool, and its healthcheck uses it.
func (c *Checker) connections(ctx context.Context, g plan.IdleGate, watch time.Duration, evidence map[string]any) answer {
	facts, err := c.Sources.Services.Facts(ctx)
	if err != nil {
		return unknown(evidence, "the engine does not say where %s is: %s", g.System, err)
	}
	var own []string
	for _, fact := range facts {
		if fact.System == g.System {
			own = append(own, fact.Addresses...)
		}
	}
	rows, err := c.Sources.Database.Query(ctx,
		"SELECT coalesce(host(client_addr), 'a local socket'), application_name FROM pg_stat_activity WHERE usename = $1", c.Plan.Systems.Python.Role)
	if err != nil {
		return unknown(evidence, "the connections of %s cannot be read: %s", g.System, err)
	}
	kept := 0
	for _, row := range rows {
		address := fmt.Sprint(row[0])
		if parsed, err := netip.ParseAddr(address); err == nil && slices.Contains(own, parsed.String()) {
			kept++
			continue
		}
		return fail(evidence, "somebody else uses the database role %s, from %s (%v)", c.Plan.Systems.Python.Role, address, row[1])
	}
	evidence["own_connections"] = kept
	writes := ", write"
	if c.Plan.Systems.Python.Writes == "" {
		writes = "" // nobody counted them
	}
	return pass(evidence, "no request, job%s or foreign connection of %s in %s", writes, g.System, watch)
}
