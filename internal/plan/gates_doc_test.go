package plan

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/gates.md anew")

// checklist are the lines of the deployment strategy's phases and checklists.
func checklist() []string {
	var lines []string
	for _, part := range []struct {
		name  string
		lines []string
	}{
		{"Phase 1", []string{"Set up production Go environment", "Configure monitoring and logging", "Set up health checks for both systems", "Create deployment pipelines", "Test rollback procedures"}},
		{"Phase 2", []string{"Deploy Go system alongside Python", "Configure feature-based routing", "Implement session sharing between systems", "Set up monitoring dashboards", "Test compatibility between systems"}},
		{"Phase 3", []string{"Migrate authentication endpoints (Week 1)", "Migrate user management endpoints (Week 2)", "Migrate remaining endpoints (Week 3)", "Monitor performance and errors", "Implement rollback triggers"}},
		{"Phase 4", []string{"Route 100% traffic to Go system", "Deprecate Python system", "Clean up deployment configuration", "Update documentation", "Archive Python codebase"}},
		{"Pre-Migration", []string{"Database backup completed", "Go system deployed and tested", "Monitoring configured", "Rollback procedures tested", "Performance benchmarks established"}},
		{"During Migration", []string{"Traffic routing configured", "Session compatibility verified", "Error rates monitored", "Performance metrics tracked", "Rollback triggers active"}},
		{"Post-Migration", []string{"All traffic routed to Go system", "Python system deprecated", "Monitoring updated", "Documentation updated", "Team trained on new system"}},
	} {
		for _, line := range part.lines {
			lines = append(lines, part.name+": "+line)
		}
	}
	return lines
}

// Every line of the strategy's checklists is answered by a gate that a step
// asks, and docs/gates.md says by which.
func TestEveryLineOfTheChecklistsHasItsGate(t *testing.T) {
	p, err := Load("../../fixtures/p2k16/cutover.yaml")
	require.NoError(t, err)
	gates := map[string][]Gate{}
	for _, gate := range p.Gates {
		for _, line := range gate.Covers {
			assert.Contains(t, checklist(), line, "the gate %s covers a line that no checklist has", gate.Name)
			gates[line] = append(gates[line], gate)
		}
	}
	var table strings.Builder
	table.WriteString("# Checklists and gates\n\nWhich gate of the p2k16 plan answers each line of the deployment strategy's phases and checklists, and the steps that ask for it. Made from the plan by `go test ./internal/plan -run Checklists -update`.\n\nA gate that is *acknowledged* is one that only a person can answer. One that is *found* is answered by what another command has recorded about these very images, this plan and this schema; until then it has no answer and can be acknowledged.\n\n| line | gate | check | asked by |\n|---|---|---|---|\n")
	for _, line := range checklist() {
		require.NotEmpty(t, gates[line], "no gate covers %q", line)
		for _, gate := range gates[line] {
			fmt.Fprintf(&table, "| %s | `%s`: %s | %s | %s |\n", line, gate.Name, gate.Says, gate.Kind(), strings.Join(askedBy(p, gate.Name), ", "))
		}
	}
	const path = "../../docs/gates.md"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(table.String()), 0o644))
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, table.String(), string(written), "docs/gates.md is not made from this plan: run the test with -update")
}

func askedBy(p *Plan, gate string) []string {
	var steps []string
	for _, phase := range p.Phases {
		for _, step := range phase.Steps {
			if slices.Contains(p.GatesBefore(phase, step), gate) || slices.Contains(p.GatesAfter(phase, step), gate) {
				steps = append(steps, "`"+step.Name+"`")
			}
		}
	}
	return steps
}
