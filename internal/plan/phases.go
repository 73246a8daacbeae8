package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Phase is a part of the migration.
type Phase struct {
	Name   string   `yaml:"name"`
	Says   string   `yaml:"says"`
	Takes  string   `yaml:"takes"`  // in the real migration, as people say it
	Before []string `yaml:"before"` // gates before each of its steps
	After  []string `yaml:"after"`  // gates after the bake of each of its steps
	Bake   Duration `yaml:"bake"`   // of its steps that do not say one
	Steps  []Step   `yaml:"steps"`
}

// Step is a move forward that is made, watched and completed as a whole.
type Step struct {
	Name   string                 `yaml:"name"`
	Says   string                 `yaml:"says"`
	Routes map[string]Weight      `yaml:"routes"` // from this step on
	Jobs   map[string]edge.System `yaml:"jobs"`   // owners from this step on
	Work   string                 `yaml:"work"`   // expand-schema, stop-python, archive-python, contract-schema, remove-python
	Label  string                 `yaml:"label"`  // safe, lossy, one-way; "" is safe
	Loses  string                 `yaml:"loses"`
	Lowers bool                   `yaml:"lowers"` // a weight goes down on purpose
	// SharesSessions says that from this step on both systems keep the shared
	// contract of the sessions.
	SharesSessions bool     `yaml:"shares_sessions"`
	Bake           Duration `yaml:"bake"`
	Before         []string `yaml:"before"`
	After          []string `yaml:"after"`
}

// Gate is a question that has to be answered before a migration goes on. All
// of its fields from Acknowledge on are nil but one.
type Gate struct {
	Name          string   `yaml:"name"`
	Says          string   `yaml:"says"`   // what is so when it passes
	Covers        []string `yaml:"covers"` // lines of the team's checklists
	NotApplicable string   `yaml:"not_applicable"`

	Acknowledge string       `yaml:"acknowledge"`
	Answers     *AnswersGate `yaml:"answers"`
	Monitored   *Monitored   `yaml:"monitored"`
	Routing     *struct{}    `yaml:"routing"`
	Armed       *struct{}    `yaml:"armed"`
	Session     *struct{}    `yaml:"session"`
	Shares      *SharesGate  `yaml:"shares"`
	Errors      *ErrorsGate  `yaml:"errors"`
	Latency     *LatencyGate `yaml:"latency"`
	Jobs        *JobsGate    `yaml:"jobs"`
	Idle        *IdleGate    `yaml:"idle"`
	Stopped     *SystemGate  `yaml:"stopped"`
	Archived    *SystemGate  `yaml:"archived"`
	SQL         *SQLGate     `yaml:"sql"`
	Found       *FoundGate   `yaml:"found"`
}

// AnswersGate asks whether systems are healthy.
type AnswersGate struct {
	Systems []edge.System `yaml:"systems"`
}

// Monitored asks what Prometheus reads.
type Monitored struct {
	Targets []string `yaml:"targets"`
	Gone    []string `yaml:"gone"`
}

// SharesGate compares measured and requested shares.
type SharesGate struct {
	Within  *float64 `yaml:"within"` // points, nil: 15
	AtLeast int      `yaml:"at_least"`
}

// ErrorsGate compares the ratio of errors with a limit and with python's.
type ErrorsGate struct {
	Above       *float64 `yaml:"above"` // percent, nil: 5
	TimesPython float64  `yaml:"times_python"`
	Floor       *float64 `yaml:"floor"` // percent, nil: 1
	AtLeast     int      `yaml:"at_least"`
}

// LatencyGate compares the 95th percentile with a limit.
type LatencyGate struct {
	P95MS   float64 `yaml:"p95_ms"`
	AtLeast int     `yaml:"at_least"`
}

// JobsGate asks whether the jobs were done.
type JobsGate struct {
	Periods int `yaml:"periods"`
}

// IdleGate asks whether a system does anything.
type IdleGate struct {
	System edge.System `yaml:"system"`
	Watch  Duration    `yaml:"watch"`
}

// SystemGate asks something about one system.
type SystemGate struct {
	System edge.System `yaml:"system"`
}

// SQLGate asks the database.
type SQLGate struct {
	Query string `yaml:"query"`
}

// FoundGate asks what a command has found out.
type FoundGate struct {
	By string `yaml:"by"`
}

// Kind is the name of the question that a gate asks, "" for none.
func (g Gate) Kind() string {
	if kinds := g.kinds(); len(kinds) > 0 {
		return kinds[0]
	}
	return ""
}

// OnBake tells whether a gate judges what happened during a bake.
func (g Gate) OnBake() bool {
	return g.Shares != nil || g.Errors != nil || g.Latency != nil
}

// Gate returns a gate by its name.
func (p *Plan) Gate(name string) (Gate, bool) {
	for _, gate := range p.Gates {
		if gate.Name == name {
			return gate, true
		}
	}
	return Gate{}, false
}

// GatesBefore are the names of the gates before a step, those of its phase
// first, each once.
func (p *Plan) GatesBefore(phase Phase, step Step) []string {
	return once(phase.Before, step.Before)
}

// GatesAfter are the names of the gates after a step's bake.
func (p *Plan) GatesAfter(phase Phase, step Step) []string {
	return once(phase.After, step.After)
}

// BakeOf is how long a step is watched.
func (p *Plan) BakeOf(phase Phase, step Step) time.Duration {
	if step.Bake.Text != "" {
		return step.Bake.Value
	}
	return phase.Bake.Value
}

// Duration is a number with its unit. Its text is kept, so that a fault in it
// can be told with all the others.
type Duration struct {
	Text  string
	Value time.Duration // 0 where the text is none
}

// UnmarshalYAML never fails.
func (d *Duration) UnmarshalYAML(decode func(any) error) error {
	d.Text = scalar(decode)
	d.Value, _ = time.ParseDuration(d.Text)
	return nil
}

// Weight is a percentage. Its text is kept, so that a fault in it can be told
// with all the others.
type Weight struct {
	Text  string
	Value edge.Weight // 0 where the text is none
}

// UnmarshalYAML never fails.
func (w *Weight) UnmarshalYAML(decode func(any) error) error {
	w.Text = scalar(decode)
	w.Value, _ = edge.ParseWeight(w.Text)
	return nil
}

// Private

// scalar is the text of a value as the plan has it: 010 is not eight. (Taking
// the text from the decoder costs time by the length of the whole plan.)
func scalar(decode func(any) error) string {
	var node ast.Node
	if decode(&node) != nil {
		return ""
	}
	switch n := node.(type) {
	case *ast.AliasNode:
		var anchored any
		if decode(&anchored) != nil {
			return ""
		}
		return fmt.Sprint(anchored)
	case *ast.NullNode:
		return ""
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value)
	case ast.ScalarNode:
		return n.GetToken().Value
	}
	return node.String()
}

func once(lists ...[]string) []string {
	var all []string
	seen := map[string]bool{}
	for _, list := range lists {
		for _, name := range list {
			if !seen[name] {
				all = append(all, name)
			}
			seen[name] = true
		}
	}
	return all
}

// kinds are the questions of a gate; a valid one has exactly one.
func (g Gate) kinds() []string {
	var kinds []string
	for _, kind := range []struct {
		name string
		set  bool
	}{
		{"acknowledge", g.Acknowledge != ""}, {"answers", g.Answers != nil}, {"monitored", g.Monitored != nil},
		{"routing", g.Routing != nil}, {"armed", g.Armed != nil}, {"session", g.Session != nil},
		{"shares", g.Shares != nil}, {"errors", g.Errors != nil}, {"latency", g.Latency != nil},
		{"jobs", g.Jobs != nil}, {"idle", g.Idle != nil}, {"stopped", g.Stopped != nil},
		{"archived", g.Archived != nil}, {"sql", g.SQL != nil}, {"found", g.Found != nil},
	} {
		if kind.set {
			kinds = append(kinds, kind.name)
		}
	}
	return kinds
}

// String is the text of the plan.
func (d Duration) String() string { return d.Text }

// String is the text of the plan.
func (w Weight) String() string { return w.Text }
