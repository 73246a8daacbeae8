package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/database/integrity"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

type verifyCommand struct {
	*options
	record  bool
	workers int
}

func newVerifyCommand(o *options) *cobra.Command {
	c := &verifyCommand{options: o}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare what the tables hold with what they held before, and check the plan's invariants",
		Long: `Compare what the tables hold with what they held before, and check the plan's
invariants, at one moment of the database.

What they held before is the baseline: the checksums of the columns that were
there when it was recorded, by cutover db verify --record or by the last
cutover db backup. Rows with keys beyond the baseline's are counted as added.
What the applications change meanwhile is a difference too: record the baseline
right before what is to be verified.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&c.record, "record", false, "record what the tables hold now as the baseline")
	cmd.Flags().IntVar(&c.workers, "workers", 4, "how many sessions read: 1 to 32")
	return cmd
}

// verifyResult is what db verify --json prints.
type verifyResult struct {
	SchemaVersion int               `json:"schema_version"`
	Verdict       string            `json:"verdict"` // pass, fail, inconclusive
	Baseline      verifyBaseline    `json:"baseline"`
	Rows          int64             `json:"rows"`
	RowsPerS      float64           `json:"rows_per_s"`
	Seconds       float64           `json:"seconds"`
	Tables        []verifyTable     `json:"tables"`
	Invariants    []verifyInvariant `json:"invariants"`
}

type verifyBaseline struct {
	TakenAt  time.Time `json:"taken_at"`
	Recorded bool      `json:"recorded"` // just now
}

type verifyTable struct {
	Name        string                 `json:"name"`
	Rows        int64                  `json:"rows"`
	RowsPerS    float64                `json:"rows_per_s"`
	Key         string                 `json:"key"`
	Added       int64                  `json:"added"`
	Differences []integrity.Difference `json:"differences"`
}

type verifyInvariant struct {
	Name     string   `json:"name"`
	Verdict  string   `json:"verdict"`
	Count    int64    `json:"count"` // of the rows that break it
	Examples []string `json:"examples"`
}

const (
	verdictPass         = "pass"
	verdictFail         = "fail"
	verdictInconclusive = "inconclusive"
)

// baselinePath is where the environment's baseline is kept on this machine.
func baselinePath(s *stack.Stack) string { return filepath.Join(s.Dir(), "baseline.json") }

func (c *verifyCommand) run(ctx context.Context) (err error) {
	if c.workers < 1 || c.workers > 32 {
		return usage(fmt.Errorf("--workers %d: 1 to 32", c.workers))
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
	result, err := c.verify(ctx, s, p)
	if errors.Is(err, integrity.ErrGone) {
		err = exitError{ExitRefused, err}
	}
	if err != nil {
		return databaseFailed(ctx, s, err)
	}
	if err := c.print(result, result.text()); err != nil {
		return err
	}
	switch result.Verdict {
	case verdictFail:
		return exitError{code: ExitRefused}
	case verdictInconclusive:
		return exitError{code: ExitInconclusive}
	}
	return nil
}

func (c *verifyCommand) verify(ctx context.Context, s *stack.Stack, p *plan.Plan) (result verifyResult, err error) {
	before, err := integrity.Load(baselinePath(s))
	missing := errors.Is(err, integrity.ErrNoBaseline)
	if err != nil && !missing && !c.record {
		return result, err
	}
	before = before.Of(p.Database.Tables)
	server, err := databaseServer(ctx, s)
	if err != nil {
		return result, err
	}
	snapshot, err := server.TakeSnapshot(ctx, databaseName, c.workers)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, snapshot.Close(ctx)) }()
	began := time.Now()
	var now integrity.Baseline
	if c.record || missing {
		now, err = integrity.Take(ctx, snapshot, p.Database.Tables, tableProgress(s))
	} else {
		now, err = integrity.TakeAs(ctx, snapshot, before, tableProgress(s))
	}
	if err != nil {
		return result, err
	}
	if !c.record && !missing && now.System != before.System {
		return result, exitError{ExitRefused, errors.New("the baseline is of another database, which this one has replaced: record another one with cutover db verify --record")}
	}
	result = verifyResult{SchemaVersion: 1, Verdict: verdictPass, Tables: []verifyTable{}, Invariants: []verifyInvariant{}}
	result.Baseline = verifyBaseline{TakenAt: before.TakenAt}
	if c.record || missing {
		if err := now.Save(baselinePath(s)); err != nil {
			return result, err
		}
		before = now
		result.Baseline = verifyBaseline{TakenAt: now.TakenAt, Recorded: true}
	}
	seconds := 0.0
	for i, table := range now.Tables {
		differences := integrity.Compare(before.Tables[i], table)
		for j := range min(len(differences), mostLocated) {
			if err := before.Keys(ctx, snapshot.Sessions[0], table, &differences[j]); err != nil {
				return result, err
			}
		}
		if len(differences) > 0 {
			result.Verdict = verdictFail
		}
		rows := table.Rows + table.Added
		result.Rows += rows
		seconds += table.Elapsed.Seconds()
		result.Tables = append(result.Tables, verifyTable{
			Name: table.Name, Rows: rows, RowsPerS: rate(rows, table.Elapsed.Seconds()), Key: table.Key,
			Added: table.Added, Differences: append([]integrity.Difference{}, differences...),
		})
	}
	if err := result.check(ctx, snapshot, p); err != nil {
		return result, err
	}
	if missing && !c.record && result.Verdict == verdictPass {
		result.Verdict = verdictInconclusive
	}
	result.RowsPerS = rate(result.Rows, seconds)
	result.Seconds = math.Round(time.Since(began).Seconds()*1000) / 1000
	return result, nil
}

// mostLocated is in how many differences of a table the rows are looked for.
const mostLocated = 100

// check runs the plan's invariants at the snapshot's moment.
func (r *verifyResult) check(ctx context.Context, snapshot *database.Snapshot, p *plan.Plan) error {
	for _, invariant := range p.Database.Invariants {
		broken, err := integrity.Invariant{Name: invariant.Name, SQL: invariant.SQL}.Check(ctx, snapshot.Sessions[0])
		if err != nil {
			return err
		}
		verdict := verdictPass
		if broken.Count > 0 {
			verdict, r.Verdict = verdictFail, verdictFail
		}
		r.Invariants = append(r.Invariants, verifyInvariant{invariant.Name, verdict, broken.Count, broken.Examples})
	}
	return nil
}

func (r verifyResult) text() string {
	var out strings.Builder
	switch {
	case r.Verdict == verdictFail:
		out.WriteString("FAIL: what should have stayed as it was did not.\n")
	case r.Verdict == verdictInconclusive:
		out.WriteString("There was nothing to compare with: what the tables hold now is the baseline. Run it again after what is to be verified.\n")
	case r.Baseline.Recorded:
		out.WriteString("The baseline is recorded, and every invariant holds.\n")
	default:
		fmt.Fprintf(&out, "Every row is what it was at %s, and every invariant holds.\n", r.Baseline.TakenAt.Local().Format("2006-01-02 15:04:05"))
	}
	fmt.Fprintf(&out, "%d rows in %.1f s, %.0f a second.\n\n", r.Rows, r.Seconds, r.RowsPerS)
	w := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "TABLE\tROWS\tADDED\tDIFFERENCES")
	for _, table := range r.Tables {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", table.Name, table.Rows, table.Added, len(table.Differences))
	}
	_ = w.Flush()
	for _, table := range r.Tables {
		for i, d := range table.Differences {
			if i == mostLocated {
				fmt.Fprintf(&out, "… and %d more (--json has all)\n", len(table.Differences)-i)
				break
			}
			if table.Key == "" {
				fmt.Fprintf(&out, "%s: %d rows before, %d now\n", table.Name, d.Before, d.After)
				continue
			}
			fmt.Fprintf(&out, "%s, %s %d to %d: %d rows before, %d now", table.Name, table.Key, d.From, d.To, d.Before, d.After)
			if len(d.Keys) > 0 {
				fmt.Fprintf(&out, "; written since: %s", strings.Trim(fmt.Sprint(d.Keys), "[]"))
			}
			out.WriteString("\n")
		}
	}
	for _, invariant := range r.Invariants {
		if invariant.Count > 0 {
			fmt.Fprintf(&out, "broken %d times: %s (%s)\n", invariant.Count, invariant.Name, printable(strings.Join(invariant.Examples, "; ")))
		}
	}
	return strings.TrimRight(out.String(), "\n")
}

// tableProgress shows each table that was read.
func tableProgress(s *stack.Stack) func(integrity.Table) {
	return func(table integrity.Table) {
		event.Finish(s.Events(), "table "+table.Name, fmt.Sprintf("%d rows in %s", table.Rows+table.Added, table.Elapsed.Round(time.Millisecond)))
	}
}

func rate(rows int64, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return math.Round(float64(rows) / seconds)
}
