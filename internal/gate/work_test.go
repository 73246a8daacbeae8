package gate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

var errDown = errors.New("connection refused")

// midnight is when the first period of the tests begins.
var midnight = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const minute = time.Minute

var nightly = plan.Job{Name: "expire", Owner: edge.Python, Period: plan.Duration{Text: "1m", Value: minute}, Runs: "runs"}

// at is a run in a period counted from midnight.
func at(period int, system edge.System) run {
	return run{midnight.Add(time.Duration(period) * minute), system}
}

func TestJob(t *testing.T) {
	python := []ownership{{owner: edge.Python}}
	handed := []ownership{{owner: edge.Python}, {midnight.Add(3*minute + 20*time.Second), edge.Go}}
	back := append(handed, ownership{midnight.Add(6*minute + 20*time.Second), edge.Python})
	for name, c := range map[string]struct {
		runs   []run
		owners []ownership
		now    time.Duration // since midnight
		want   rollout.Verdict
		why    string
	}{
		"once in each":                      {[]run{at(0, "python"), at(1, "python"), at(2, "python")}, python, 3 * minute, rollout.Pass, "run once in each of 3 periods, by python only"},
		"as many as asked":                  {[]run{at(0, "python"), at(1, "python"), at(2, "python"), at(3, "python"), at(4, "python")}, python, 5 * minute, rollout.Pass, "each of 3 periods"},
		"the present one may be to come":    {[]run{at(0, "python"), at(1, "python")}, python, 2*minute + 59*time.Second, rollout.Pass, "each of 2 periods"},
		"never":                             {nil, python, 3 * minute, rollout.Inconclusive, "was not run yet"},
		"not a whole period yet":            {[]run{at(0, "python")}, python, 59 * time.Second, rollout.Inconclusive, "no period of the job expire has passed yet"},
		"twice":                             {[]run{at(0, "python"), at(1, "python"), at(1, "python"), at(2, "python")}, python, 3 * minute, rollout.Fail, "was run 2 times in the period from 00:01:00 UTC"},
		"by both":                           {[]run{at(0, "python"), at(1, "python"), at(1, "go")}, python, 3 * minute, rollout.Fail, "run"},
		"by the other":                      {[]run{at(0, "python"), at(1, "go"), at(2, "python")}, python, 3 * minute, rollout.Fail, "was run by go in the period from 00:01:00 UTC, when it was not its own"},
		"by nobody known":                   {[]run{at(0, "python"), at(1, "ruby")}, python, 2 * minute, rollout.Fail, "was run by ruby"},
		"a gap":                             {[]run{at(0, "python"), at(2, "python")}, python, 3 * minute, rollout.Fail, "was not run in the period from 00:01:00 UTC"},
		"stopped":                           {[]run{at(0, "python"), at(1, "python")}, python, 3*minute + 6*time.Second, rollout.Fail, "was run last in the period from 00:01:00 UTC"},
		"handed over":                       {[]run{at(2, "python"), at(3, "go"), at(4, "go")}, handed, 5 * minute, rollout.Pass, "by go only"},
		"the old one in its last":           {[]run{at(2, "python"), at(3, "python"), at(4, "go")}, handed, 5 * minute, rollout.Pass, "by go only"},
		"nobody in the one between":         {[]run{at(2, "python"), at(4, "go")}, handed, 5 * minute, rollout.Pass, "by go only"},
		"nobody in the next":                {[]run{at(2, "python"), at(3, "go"), at(5, "go")}, handed, 6 * minute, rollout.Fail, "was not run in the period from 00:04:00 UTC"},
		"the old one goes on":               {[]run{at(2, "python"), at(3, "go"), at(4, "python")}, handed, 5 * minute, rollout.Fail, "was run by python in the period from 00:04:00 UTC"},
		"the new one is early":              {[]run{at(1, "python"), at(2, "go"), at(3, "go"), at(4, "go")}, handed, 5 * minute, rollout.Fail, "was run by go in the period from 00:02:00 UTC"},
		"the new one has had no whole":      {[]run{at(2, "python"), at(3, "go")}, handed, 4*minute + 30*time.Second, rollout.Inconclusive, "has passed yet since it belongs to go"},
		"only before the change":            {[]run{at(1, "python"), at(2, "python"), at(3, "python")}, handed, 4*minute + 30*time.Second, rollout.Inconclusive, "since it belongs to go"},
		"and back":                          {[]run{at(3, "go"), at(4, "go"), at(5, "go"), at(6, "python"), at(7, "python")}, back, 8 * minute, rollout.Pass, "by python only"},
		"back, and the other goes on":       {[]run{at(5, "go"), at(6, "python"), at(7, "go")}, back, 8 * minute, rollout.Fail, "was run by go in the period from 00:07:00 UTC"},
		"runs of now are no whole period":   {[]run{at(4, "go")}, handed, 4*minute + 30*time.Second, rollout.Inconclusive, "no period"},
		"a gap long before, behind a newer": {[]run{at(0, "python"), at(3, "python"), at(4, "python")}, python, 5 * minute, rollout.Fail, "was not run in the period from 00:01:00 UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, c.want, c.why, judgeJob(nightly, c.runs, c.owners, midnight.Add(c.now), 3))
		})
	}
}

func TestOwnersAreThoseOfTheJournal(t *testing.T) {
	change := func(minutes int, owner edge.System) OwnerChange {
		return OwnerChange{midnight.Add(time.Duration(minutes) * minute), []rollout.Job{{Name: "other", Owner: edge.Go}, {Name: "expire", Owner: owner}}}
	}
	assert.Equal(t, []ownership{{owner: edge.Python}}, ownersOf(nightly, nil))
	assert.Equal(t, []ownership{{owner: edge.Python}, {midnight.Add(2 * minute), edge.Go}, {midnight.Add(4 * minute), edge.Python}},
		ownersOf(nightly, []OwnerChange{change(1, edge.Python), change(2, edge.Go), change(3, edge.Go), change(4, edge.Python)}))
	assert.Equal(t, []ownership{{owner: edge.Python}}, ownersOf(nightly, []OwnerChange{{midnight, []rollout.Job{{Name: "other", Owner: edge.Go}}}}))
}

// fakeGuard answers what it is told to.
type fakeGuard struct {
	status control.Status
	owners []OwnerChange
	err    error
	asked  int
	then   func(*fakeGuard) // before each answer
}

func (g *fakeGuard) Status(context.Context) (control.Status, error) {
	if g.asked++; g.then != nil {
		g.then(g)
	}
	return g.status, g.err
}

func (g *fakeGuard) Owners(context.Context) ([]OwnerChange, error) { return g.owners, g.err }

// fakeDatabase answers statements by their text.
type fakeDatabase struct {
	now     func() time.Time
	answers map[string]any // rows, an error, or a function of the arguments
	asked   []string
}

func (d *fakeDatabase) Query(_ context.Context, sql string, args ...any) ([][]any, error) {
	d.asked = append(d.asked, sql)
	if sql == "SELECT now()" && d.now != nil {
		return [][]any{{d.now()}}, nil
	}
	if strings.HasPrefix(sql, "SELECT coalesce(host(client_addr)") {
		sql = "connections"
	}
	switch answer := d.answers[sql].(type) {
	case error:
		return nil, answer
	case [][]any:
		return answer, nil
	case func(...any) [][]any:
		return answer(args...), nil
	case nil:
		return nil, nil
	default:
		panic("no answer to " + sql)
	}
}

func TestJobsWaitForAPeriodToPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		oslo := time.FixedZone("CET", 3600)
		job := nightly
		job.Period = plan.Duration{Text: "10s", Value: 10 * time.Second}
		runs := func(args ...any) (rows [][]any) {
			require.Equal(t, "expire", args[0])
			since := args[1].(time.Time)
			for period := begun; !period.After(time.Now()); period = period.Add(10 * time.Second) {
				if !period.Before(since) {
					rows = append([][]any{{period.In(oslo), "python"}}, rows...) // the newest first
				}
			}
			return rows
		}
		var told []string
		checker := &Checker{
			Plan:     &plan.Plan{Jobs: []plan.Job{job}},
			Sources:  Sources{Guard: &fakeGuard{status: control.Status{JobsAssigned: true}}, Database: &fakeDatabase{now: time.Now, answers: map[string]any{"runs": runs}}},
			Progress: func(_, text string) { told = append(told, text) },
		}
		result := checker.Check(t.Context(), plan.Gate{Name: "jobs", Jobs: &plan.JobsGate{}}, rollout.State{}, nil)

		assert.Equal(t, rollout.Pass, result.Verdict, Reason(result))
		assert.InDelta(t, 10, time.Since(begun).Seconds(), 0.5, "as soon as one has passed")
		assert.Contains(t, told[0], "no period of the job expire has passed yet")

		time.Sleep(time.Minute)
		result = checker.Check(t.Context(), plan.Gate{Name: "jobs", Jobs: &plan.JobsGate{Periods: 2}}, rollout.State{}, nil)
		assert.Equal(t, rollout.Pass, result.Verdict, Reason(result))
	})
}

func TestJobsWithoutAnswers(t *testing.T) {
	long := nightly
	long.Period.Value = time.Hour // none is waited for
	good := func() (*fakeGuard, *fakeDatabase) {
		return &fakeGuard{status: control.Status{JobsAssigned: true}}, &fakeDatabase{now: func() time.Time { return midnight.Add(2 * time.Hour) }, answers: map[string]any{
			"runs": [][]any{{midnight, "python"}, {midnight.Add(time.Hour), "python"}},
		}}
	}
	for name, c := range map[string]struct {
		change func(*fakeGuard, *fakeDatabase)
		want   rollout.Verdict
		why    string
	}{
		"good":                {func(*fakeGuard, *fakeDatabase) {}, rollout.Pass, "expire: run once"},
		"guard is gone":       {func(g *fakeGuard, _ *fakeDatabase) { g.err = errDown }, rollout.Inconclusive, "the guard does not say whose the jobs were: connection refused"},
		"not assigned":        {func(g *fakeGuard, _ *fakeDatabase) { g.status.JobsAssigned = false }, rollout.Inconclusive, "they were changed just now"},
		"cannot be assigned":  {func(g *fakeGuard, _ *fakeDatabase) { g.status = control.Status{JobsError: "it is away"} }, rollout.Inconclusive, "it is away"},
		"no clock":            {func(_ *fakeGuard, d *fakeDatabase) { d.now = nil }, rollout.Inconclusive, "the database's clock is []"},
		"no runs":             {func(_ *fakeGuard, d *fakeDatabase) { d.answers["runs"] = nil }, rollout.Inconclusive, "was not run yet"},
		"broken":              {func(_ *fakeGuard, d *fakeDatabase) { d.answers["runs"] = errDown }, rollout.Inconclusive, "the runs of expire cannot be read: connection refused"},
		"a column too many":   {func(_ *fakeGuard, d *fakeDatabase) { d.answers["runs"] = [][]any{{midnight, "python", 1}} }, rollout.Inconclusive, "returns 3 columns"},
		"a period as a text":  {func(_ *fakeGuard, d *fakeDatabase) { d.answers["runs"] = [][]any{{"today", "python"}} }, rollout.Inconclusive, "returns string and string"},
		"a system of nothing": {func(_ *fakeGuard, d *fakeDatabase) { d.answers["runs"] = [][]any{{midnight, nil}} }, rollout.Inconclusive, "not a timestamptz and a text"},
	} {
		t.Run(name, func(t *testing.T) {
			guard, database := good()
			c.change(guard, database)
			checker := &Checker{Plan: &plan.Plan{Jobs: []plan.Job{long}}, Sources: Sources{Guard: guard, Database: database}}
			expect(t, c.want, c.why, checker.jobs(t.Context(), "g", plan.JobsGate{}, rollout.State{}))
		})
	}
	empty := &Checker{Plan: &plan.Plan{}}
	expect(t, rollout.Inconclusive, "the plan has no jobs", empty.jobs(t.Context(), "g", plan.JobsGate{}, rollout.State{}))
}

func TestSQL(t *testing.T) {
	for name, c := range map[string]struct {
		answer any
		want   rollout.Verdict
		why    string
	}{
		"true":     {[][]any{{true}}, rollout.Pass, "true"},
		"false":    {[][]any{{false}}, rollout.Fail, "false"},
		"NULL":     {[][]any{{nil}}, rollout.Inconclusive, "NULL"},
		"a text":   {[][]any{{"t"}}, rollout.Inconclusive, "t, which is no boolean"},
		"a number": {[][]any{{int64(1)}}, rollout.Inconclusive, "no boolean"},
		"no row":   {nil, rollout.Inconclusive, "returned 0 rows"},
		"rows":     {[][]any{{true}, {true}}, rollout.Inconclusive, "returned 2 rows"},
		"columns":  {[][]any{{true, true}}, rollout.Inconclusive, "one boolean"},
		"an error": {errDown, rollout.Inconclusive, "does not answer the query: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			checker := &Checker{Sources: Sources{Database: &fakeDatabase{answers: map[string]any{"q": c.answer}}}}
			expect(t, c.want, c.why, checker.sql(t.Context(), plan.SQLGate{Query: "q"}))
		})
	}
}

// fakeEdge counts on between the first reading and the next.
type fakeEdge struct {
	readings []edge.Counters
	read     int
	table    edge.Table
	err      error
}

func (e *fakeEdge) Counters(context.Context) (edge.Counters, error) {
	if e.err != nil || len(e.readings) == 0 {
		return edge.Counters{}, e.err
	}
	e.read++
	return e.readings[min(e.read, len(e.readings))-1], nil
}

func (e *fakeEdge) Table(context.Context) (edge.Table, error) { return e.table, e.err }

type fakeServices struct {
	facts []SystemFacts
	err   error
}

func (s *fakeServices) Facts(context.Context) ([]SystemFacts, error) { return s.facts, s.err }

func TestIdle(t *testing.T) {
	counted := func(epoch, class string, count uint64) edge.Counters {
		c := counters()
		c.Epoch = epoch
		c.Requests["a"] = map[edge.System]edge.Classes{edge.Python: {class: 7 + count}, edge.Go: {"2xx": 100 * count}}
		return c
	}
	for name, c := range map[string]struct {
		change func(e *fakeEdge, d *fakeDatabase, s *fakeServices, p *plan.Plan, state *rollout.State)
		want   rollout.Verdict
		why    string
	}{
		"idle": {func(*fakeEdge, *fakeDatabase, *fakeServices, *plan.Plan, *rollout.State) {}, rollout.Pass, "no request, job, write or foreign connection of python in 5s"},
		"writes are not counted": {func(_ *fakeEdge, _ *fakeDatabase, _ *fakeServices, p *plan.Plan, _ *rollout.State) {
			p.Systems.Python.Writes = ""
		}, rollout.Pass, "no request, job or foreign connection"},
		"a job is its own": {func(_ *fakeEdge, _ *fakeDatabase, _ *fakeServices, _ *plan.Plan, s *rollout.State) {
			s.Jobs[0].Owner = edge.Python
		}, rollout.Fail, "the job expire is python's"},
		"a request": {func(e *fakeEdge, _ *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			e.readings[1] = counted("e", "2xx", 1)
		}, rollout.Fail, "python answered 1 requests of a"},
		"a request that failed": {func(e *fakeEdge, _ *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			e.readings[1] = counted("e", "none", 1)
		}, rollout.Fail, "requests of a"},
		"one that nobody awaits": {func(e *fakeEdge, _ *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			e.readings[1] = counted("e", "left", 1)
		}, rollout.Fail, "requests of a"},
		"nginx anew": {func(e *fakeEdge, _ *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			e.readings[1] = counted("f", "2xx", 0)
		}, rollout.Inconclusive, "nginx was started anew"},
		"no counters": {func(e *fakeEdge, _ *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) { e.err = errDown }, rollout.Inconclusive, "counters cannot be read"},
		"no clock":    {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) { d.now = nil }, rollout.Inconclusive, "the database does not answer"},
		"a write": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["writes"] = [][]any{{int64(1)}}
		}, rollout.Fail, "python wrote 1 times"},
		"writes of no number": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["writes"] = [][]any{{nil}}
		}, rollout.Inconclusive, "no count"},
		"no writes at all": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["writes"] = nil
		}, rollout.Inconclusive, "cannot be counted"},
		"a job was run": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["runs"] = [][]any{{midnight, "go"}, {midnight, "python"}}
		}, rollout.Fail, "python ran the job expire"},
		"runs of no sense": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["runs"] = [][]any{{"python"}}
		}, rollout.Inconclusive, "the runs of expire cannot be read"},
		"a foreign connection": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["connections"] = [][]any{{"10.0.0.2", "flask"}, {"10.0.0.9", "cron"}}
		}, rollout.Fail, "somebody else uses the database role legacy, from 10.0.0.9 (cron)"},
		"a local connection": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["connections"] = [][]any{{"a local socket", "psql"}}
		}, rollout.Fail, "from a local socket (psql)"},
		"its address is unknown": {func(_ *fakeEdge, _ *fakeDatabase, s *fakeServices, _ *plan.Plan, _ *rollout.State) { s.facts = nil }, rollout.Fail, "somebody else"},
		"another's address": {func(_ *fakeEdge, _ *fakeDatabase, s *fakeServices, _ *plan.Plan, _ *rollout.State) {
			s.facts[0].System = edge.Go
		}, rollout.Fail, "somebody else"},
		"no engine": {func(_ *fakeEdge, _ *fakeDatabase, s *fakeServices, _ *plan.Plan, _ *rollout.State) { s.err = errDown }, rollout.Inconclusive, "the engine does not say"},
		"connections unknown": {func(_ *fakeEdge, d *fakeDatabase, _ *fakeServices, _ *plan.Plan, _ *rollout.State) {
			d.answers["connections"] = errDown
		}, rollout.Inconclusive, "the connections of python cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &fakeEdge{readings: []edge.Counters{counted("e", "2xx", 0), counted("e", "2xx", 0)}}
				e.readings[1].Requests["a"][edge.Go]["2xx"] = 5000
				d := &fakeDatabase{now: time.Now, answers: map[string]any{"writes": [][]any{{int64(0)}}, "connections": [][]any{{"10.0.0.2", "flask"}}}}
				s := &fakeServices{facts: []SystemFacts{{System: edge.Python, Addresses: []string{"10.0.1.2", "10.0.0.2"}}}}
				p := &plan.Plan{Jobs: []plan.Job{nightly}, Systems: plan.Systems{Python: plan.System{Role: "legacy", Writes: "writes"}}}
				state := rollout.State{Jobs: []rollout.Job{{Name: "expire", Owner: edge.Go, Initial: edge.Python}}}
				c.change(e, d, s, p, &state)
				checker := &Checker{Plan: p, Sources: Sources{Edge: e, Database: d, Services: s}}
				begun := time.Now()

				found := checker.idle(t.Context(), "g", plan.IdleGate{System: edge.Python}, state)

				expect(t, c.want, c.why, found)
				if c.want == rollout.Pass {
					assert.Equal(t, 5*time.Second, time.Since(begun), "that is what it watches for")
				}
			})
		})
	}
}

func TestIdleThatIsInterruptedSaysNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	checker := &Checker{Plan: &plan.Plan{}, Sources: Sources{Edge: &fakeEdge{}, Database: &fakeDatabase{now: time.Now}}}
	expect(t, rollout.Inconclusive, "interrupted", checker.idle(ctx, "g", plan.IdleGate{System: edge.Python}, rollout.State{}))
}
