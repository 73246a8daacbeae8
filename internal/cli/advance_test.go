package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/advance"
	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

func TestInitWritesAPlanThatIsValid(t *testing.T) {
	folder := t.TempDir()
	inFolder := func(args ...string) (code int, stdout, stderr string) {
		var out, errs bytes.Buffer
		code = Run(t.Context(), Env{Args: args, Dir: folder, Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }})
		return code, out.String(), errs.String()
	}
	path := filepath.Join(folder, "cutover.yaml")

	code, out, stderr := inFolder("init")
	require.Zero(t, code, stderr)
	assert.Equal(t, "Wrote "+path+". Fill in what it asks for, then: cutover validate "+path+"\n", out)
	code, out, stderr = inFolder("validate", path)
	require.Zero(t, code, stderr)
	assert.Contains(t, out, "The plan my-migration is valid: 2 routes, 6 steps.")

	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	code, out, stderr = inFolder("init")
	assert.Equal(t, ExitRefused, code)
	assert.Empty(t, out)
	assert.Contains(t, stderr, "is there already; nothing was written")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content))

	code, out, stderr = inFolder("init", "other.yaml", "--json")
	require.Zero(t, code, stderr)
	assert.JSONEq(t, `{"schema_version": 1, "path": "`+filepath.Join(folder, "other.yaml")+`"}`, out)
	code, _, stderr = inFolder("init", "no/such/folder.yaml")
	assert.Equal(t, ExitUsage, code)
	assert.Contains(t, stderr, "the plan cannot be written")
	code, _, _ = inFolder("init", "a", "b")
	assert.Equal(t, ExitUsage, code)
}

func TestSchemaIsPrinted(t *testing.T) {
	code, out, _ := run(t, "schema")
	require.Zero(t, code)
	assert.Equal(t, string(plan.Schema()), out)
	assert.True(t, json.Valid([]byte(out)))
	code, out, _ = run(t, "schema", "--markdown")
	require.Zero(t, code)
	assert.Equal(t, plan.Reference(), out)
	code, out, stderr := run(t, "schema", "plan.yaml")
	assert.Equal(t, ExitUsage, code)
	assert.Empty(t, out)
	assert.Contains(t, stderr, "cutover schema --help")
}

func TestValidateTellsAllFaults(t *testing.T) {
	write := func(name, content string) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	bad := write("bad.yaml", "version: 1\nname: a b\nroutes:\n  - {name: a, prefix: x}\n")
	code, out, stderr := run(t, "validate", bad)
	assert.Equal(t, ExitUsage, code)
	assert.Empty(t, out)
	assert.Contains(t, stderr, bad+":2:7: ")
	assert.Contains(t, stderr, bad+":4:23: ")
	assert.Contains(t, stderr, "     4 |   - {name: a, prefix: x}\n       |                       ^")

	code, out, _ = run(t, "validate", "--json", write("good.yaml", "version: 1\nname: x\nroutes: [{name: a, prefix: /}]\n"))
	require.Zero(t, code)
	var document map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &document))
	assert.Equal(t, "pass", document["verdict"])
	assert.Equal(t, "x", document["name"])
	assert.Len(t, document["hash"], 64)

	for path, says := range map[string]string{
		t.TempDir(): "is no plan: a plan is a file of at most 4 MB",
		write("huge.yaml", strings.Repeat("#", 4<<20+1)):                                                          "is no plan: a plan is a file of at most 4 MB",
		write("seed.yaml", "version: 1\nname: x\nroutes: [{name: a, prefix: /}]\ndatabase: {schema: none.sql}\n"): "seed.yaml:4:20: there is no file none.sql beside the plan",
	} {
		code, _, stderr := run(t, "validate", path)
		assert.Equal(t, ExitUsage, code)
		assert.Contains(t, stderr, says)
	}
}

func TestAdvanceRefusesWhatItCannotUseBeforeItLooksAtTheEnvironment(t *testing.T) {
	bare := filepath.Join(t.TempDir(), "bare.yaml")
	require.NoError(t, os.WriteFile(bare, []byte("version: 1\nname: bare\nroutes: [{name: a, prefix: /}]\n"), 0o600))
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--ack", "backup-completed"}, `--ack "backup-completed": it has to be GATE=REASON`},
		{[]string{"--ack", "=reason"}, "it has to be GATE=REASON"},
		{[]string{"--ack", "backup-completed="}, "it has to be GATE=REASON"},
		{[]string{"--ack", "backup-completed=  "}, "with a reason that others will understand"},
		{[]string{"--ack", ""}, `--ack ""`},
		{[]string{"--ack", "backup-completd=x"}, "--ack backup-completd: the plan p2k16 has no such gate and no such one-way step"},
		{[]string{"--ack", "auth-100=x"}, "no such one-way step"},
		{[]string{"--ack", "backup-completed=" + strings.Repeat("x", longestReason+1)}, "the journal takes"},
		{[]string{"--to", "nowhere"}, "--to nowhere: the plan p2k16 has no such step; it has environment-ready, safety-net"},
		{[]string{"--to", "auth-100", "--all"}, "--to and --all exclude each other"},
		{[]string{"--bake", "-1s"}, "--bake -1s: 0s to 2160h"},
		{[]string{"--bake", "2161h"}, "0s to 2160h"},
		{[]string{"--bake", "ten"}, "--bake"},
		{[]string{"auth-100"}, "cutover advance --help"},
		{[]string{"--plan", bare}, "the plan bare has no steps: add phases"},
		{[]string{"--plan", "nothing.yaml"}, "there is no plan file nothing.yaml"},
	} {
		code, out, stderr := run(t, append([]string{"advance"}, c.args...)...)
		assert.Equal(t, ExitUsage, code, "%v: %s", c.args, stderr)
		assert.Contains(t, stderr, c.says, "%v", c.args)
		assert.Empty(t, out, "%v", c.args)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"plan", "--to", "nowhere"}, "has no such step"},
		{[]string{"check", "nothing"}, `the plan p2k16 has no gate "nothing"; it has go-environment`},
		{[]string{"pause", "--reason", strings.Repeat("x", longestReason+1)}, "the journal takes"},
		{[]string{"pause", "now"}, "cutover pause --help"},
	} {
		code, out, stderr := run(t, c.args...)
		assert.Equal(t, ExitUsage, code, "%v: %s", c.args, stderr)
		assert.Contains(t, stderr, c.says, "%v", c.args)
		assert.Empty(t, out, "%v", c.args)
	}
}

func TestAcknowledgementsAreParsed(t *testing.T) {
	p, err := plan.Load("../../fixtures/p2k16/cutover.yaml")
	require.NoError(t, err)
	c := &advanceCommand{acks: []string{"backup-completed=made by hand, a=b", " rollback-tested = drilled ", "remove-python=meant"}}
	acks, err := c.parseAcks(p)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"backup-completed": "made by hand, a=b", "rollback-tested": "drilled", "remove-python": "meant"}, acks)
}

func TestWhatStoppedAnAdvanceHasItsExitCodeAndItsRemedy(t *testing.T) {
	result := func(name string, verdict rollout.Verdict, reason string) gate.Result {
		return gate.Result{Name: name, Verdict: verdict, Evidence: map[string]any{"reason": reason}}
	}
	c := &advanceCommand{}
	for name, test := range map[string]struct {
		err  error
		code int
		says []string
	}{
		"done": {nil, ExitPassed, nil},
		"a gate fails": {&advance.Stopped{Step: "s", Verdict: rollout.Fail, Gates: []gate.Result{result("g", rollout.Fail, "it is broken")}}, ExitRefused,
			[]string{"stopped before the step s begins:\n  g: fail — it is broken", "Mend what fails and run cutover advance again"}},
		"no answer": {&advance.Stopped{Step: "s", Verdict: rollout.Inconclusive, Gates: []gate.Result{result("g", rollout.Inconclusive, ""), result("h", rollout.Inconclusive, "")}}, ExitInconclusive,
			[]string{"cutover advance --ack g='…' --ack h='…'"}},
		"both, and it is in force": {&advance.Stopped{Step: "s", Applied: true, Verdict: rollout.Fail, Gates: []gate.Result{result("g", rollout.Inconclusive, ""), result("h", rollout.Fail, "")}}, ExitRefused,
			[]string{"before the step s is completed", "--ack g='…'", "Mend what fails", "The step is in force meanwhile. To take everything back: cutover rollback"}},
		"one-way":     {fmt.Errorf("the step s is one-way: %w", advance.ErrOneWay), ExitInconclusive, []string{"no way back"}},
		"latched":     {&control.Error{Code: rollout.Latched, Message: "m"}, ExitRefused, []string{"m"}},
		"paused":      {&control.Error{Code: rollout.Paused, Message: "m"}, ExitRefused, []string{"m"}},
		"lost":        {&control.Error{Code: rollout.OutOfOrder, Message: "m"}, ExitRefused, []string{"m"}},
		"a gate shut": {&control.Error{Code: rollout.GateClosed, Message: "m"}, ExitRefused, []string{"m"}},
		"no way back": {&control.Error{Code: rollout.NoWayBack, Message: "m"}, ExitRefused, []string{"m"}},
		"no edge":     {&control.Error{Code: control.EdgeUnreachable, Message: "m"}, ExitUnavailable, []string{"m"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.ended(test.err)
			if test.code == ExitPassed {
				require.NoError(t, err)
				return
			}
			assert.Equal(t, test.code, exitCode(err))
			for _, says := range test.says {
				assert.ErrorContains(t, err, says)
			}
			assert.NotContains(t, err.Error(), "--ack h='…'\nMend")
		})
	}
	both := c.ended(&advance.Stopped{Step: "s", Verdict: rollout.Fail, Gates: []gate.Result{result("g", rollout.Fail, "")}})
	assert.NotContains(t, both.Error(), "--ack", "what fails cannot be acknowledged")
}

func TestTheGuardsPlanHasWhatMovesTogether(t *testing.T) {
	p, err := plan.Parse("p.yaml", []byte(`version: 1
name: x
routes: [{name: a, prefix: /a}, {name: b, prefix: /b}, {name: c, prefix: /c, by: user_id}]
together: [[c, a]]
owned: {python: [/static/]}
visitors: {first: ["user:1"]}
jobs: [{name: j, owner: python, period: 1m, assign: "$1 $2", runs: "$1 $2"}]
gates: [{name: g, says: s, armed: {}}, {name: e, says: s, errors: {}}]
phases:
  - name: p
    before: [g]
    after: [e]
    bake: 1m
    steps:
      - {name: one, routes: {a: 12.5}, before: [g]}
      - {name: two, jobs: {j: go}, bake: 10s, label: lossy, loses: mail}
`))
	require.NoError(t, err)
	steps := guardPlan(p)
	assert.Equal(t, p.Hash, steps.Hash)
	assert.Equal(t, []string{"user:1"}, steps.First)
	assert.Len(t, steps.Routes, 4)
	assert.Equal(t, []rollout.PlanJob{{Name: "j", Owner: "python", Assign: "$1 $2"}}, steps.Jobs)
	assert.Equal(t, []rollout.Step{
		{Phase: "p", Name: "one", Label: rollout.Safe, Weights: []rollout.StepWeight{{Route: "a", Weight: 1250}, {Route: "c", Weight: 1250}}, Before: []string{"g"}, After: []string{"e"}, Bake: 60},
		{Phase: "p", Name: "two", Label: rollout.Lossy, Jobs: []rollout.PlanJob{{Name: "j", Owner: "go"}}, Before: []string{"g"}, After: []string{"e"}, Bake: 10},
	}, steps.Steps)
	_, _, err = rollout.NewState("python").AdoptPlan(steps, rollout.Cause{Actor: "kari"})
	require.NoError(t, err, "the guard takes it")
}
