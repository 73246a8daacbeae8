// Package gate answers the questions of a plan: whether what has to be so
// before or after a step is so. Each answer carries the evidence that decided
// it, and no data is never a pass.
package gate

import (
	"context"
	"fmt"
	"time"

	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Result is the answer of a gate.
type Result = rollout.GateResult

// Checker answers gates about one environment.
type Checker struct {
	Plan     *plan.Plan
	Sources  Sources
	About    func(ctx context.Context) (string, error) // what evidence has to be about now
	Progress func(gate, text string)                   // what a gate waits for
}

// Check answers a gate now. The state is where the migration stands, and the
// bake is what was counted since the step was applied; nil where nothing is
// under way.
func (c *Checker) Check(ctx context.Context, g plan.Gate, state rollout.State, bake *Bake) Result {
	if g.NotApplicable != "" {
		return Result{Name: g.Name, Verdict: rollout.NotApplicable, Evidence: map[string]any{"reason": g.NotApplicable}}
	}
	ctx, cancel := context.WithTimeout(ctx, longestCheck)
	defer cancel()
	answer := c.answer(ctx, g, state, bake)
	if answer.evidence == nil {
		answer.evidence = map[string]any{}
	}
	if answer.why != "" {
		answer.evidence["reason"] = answer.why
	}
	return Result{Name: g.Name, Verdict: answer.verdict, Evidence: answer.evidence}
}

// Reason is what a result says in words, "" for nothing.
func Reason(r Result) string {
	text, _ := r.Evidence["reason"].(string)
	return text
}

// Private

// longestCheck bounds a check, the waiting for what comes by itself included.
const longestCheck = 3 * time.Minute

// answer is a verdict, why, and what was seen.
type answer struct {
	verdict  rollout.Verdict
	why      string
	evidence map[string]any
}

func pass(evidence map[string]any, format string, args ...any) answer {
	return answer{rollout.Pass, fmt.Sprintf(format, args...), evidence}
}

func fail(evidence map[string]any, format string, args ...any) answer {
	return answer{rollout.Fail, fmt.Sprintf(format, args...), evidence}
}

func unknown(evidence map[string]any, format string, args ...any) answer {
	return answer{rollout.Inconclusive, fmt.Sprintf(format, args...), evidence}
}

func (c *Checker) answer(ctx context.Context, g plan.Gate, state rollout.State, bake *Bake) answer {
	switch {
	case g.Acknowledge != "":
		return unknown(nil, "only a person can say %s", g.Acknowledge)
	case g.Answers != nil:
		return c.answers(ctx, *g.Answers)
	case g.Monitored != nil:
		return c.monitored(ctx, g.Name, *g.Monitored)
	case g.Routing != nil:
		return c.routing(ctx)
	case g.Armed != nil:
		return c.armed(ctx)
	case g.Session != nil:
		return c.session(ctx, state)
	case g.Shares != nil:
		return judgeShares(*g.Shares, state, bake)
	case g.Errors != nil:
		return judgeErrors(*g.Errors, state, bake)
	case g.Latency != nil:
		return judgeLatency(*g.Latency, state, bake)
	case g.Jobs != nil:
		return c.jobs(ctx, g.Name, *g.Jobs, state)
	case g.Idle != nil:
		return c.idle(ctx, g.Name, *g.Idle, state)
	case g.Stopped != nil:
		return c.stopped(ctx)
	case g.Archived != nil:
		return c.archived(ctx)
	case g.SQL != nil:
		return c.sql(ctx, *g.SQL)
	case g.Found != nil:
		return c.found(ctx, *g.Found, state)
	}
	return unknown(nil, "the gate asks nothing that this program knows")
}

// found looks for what a command has found out about these very images, this
// plan and this schema.
func (c *Checker) found(ctx context.Context, g plan.FoundGate, state rollout.State) answer {
	finding, known := state.Found(g.By)
	if !known {
		return unknown(nil, "no %s was recorded yet%s", g.By, maker(g.By))
	}
	about, err := c.About(ctx)
	if err != nil {
		return unknown(nil, "what it has to be about is not known: %s", err)
	}
	evidence := map[string]any{"time": finding.Time, "actor": finding.Actor, "summary": finding.Summary}
	switch {
	case about == "" || finding.Context != about:
		return unknown(evidence, "the last %s was about other images, another plan or another schema%s", g.By, maker(g.By))
	case finding.Verdict == rollout.Pass:
		return pass(evidence, "%s", finding.Summary)
	case finding.Verdict == rollout.Fail:
		return fail(evidence, "%s", finding.Summary)
	}
	return unknown(evidence, "%s", finding.Summary)
}

// maker names the command that makes a finding, to follow another text.
func maker(finding string) string {
	if command := map[string]string{"backup": "cutover db backup", "reverse": "cutover db reverse"}[finding]; command != "" {
		return "; " + command + " makes one"
	}
	return ""
}

func (c *Checker) wait(gate, text string) {
	if c.Progress != nil {
		c.Progress(gate, text)
	}
}
