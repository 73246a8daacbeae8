package gate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// roundTrip is an edge that answers at once.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering answers with a status, and says whom it asked.
func answering(status int, served string) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		header := http.Header{}
		header.Set("X-Served-By", served)
		return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: r}, nil
	}
}

func TestAnswers(t *testing.T) {
	healthy := func() *fakeServices {
		return &fakeServices{facts: []SystemFacts{{System: edge.Python, State: "running", Health: "healthy"}, {System: edge.Go, State: "running", Health: "healthy", Image: "sha256:1"}}}
	}
	for name, c := range map[string]struct {
		services *fakeServices
		change   func(*SystemFacts)
		public   http.RoundTripper
		want     rollout.Verdict
		why      string
	}{
		"healthy":            {healthy(), nil, answering(200, "go"), rollout.Pass, "go is healthy"},
		"no engine":          {&fakeServices{err: errDown}, nil, nil, rollout.Inconclusive, "the engine does not say"},
		"no container":       {&fakeServices{}, nil, nil, rollout.Fail, "go has no container"},
		"stopped":            {healthy(), func(f *SystemFacts) { f.State = "exited" }, nil, rollout.Fail, "go is exited"},
		"starting":           {healthy(), func(f *SystemFacts) { f.Health = "starting" }, nil, rollout.Fail, "go is starting"},
		"no healthcheck":     {healthy(), func(f *SystemFacts) { f.Health = "" }, nil, rollout.Inconclusive, "go has no healthcheck"},
		"unhealthy":          {healthy(), func(f *SystemFacts) { f.Health = "unhealthy" }, nil, rollout.Fail, "go is unhealthy"},
		"not through":        {healthy(), nil, answering(503, "go"), rollout.Fail, "/health/go answers 503"},
		"another answers":    {healthy(), nil, answering(200, "python"), rollout.Fail, "/health/go answers 200"},
		"nobody says who":    {healthy(), nil, answering(200, ""), rollout.Fail, "/health/go answers 200"},
		"the edge is silent": {healthy(), nil, roundTrip(func(*http.Request) (*http.Response, error) { return nil, errDown }), rollout.Fail, "the edge does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.change != nil {
					c.change(&c.services.facts[1])
				}
				begun := time.Now()
				checker := &Checker{Sources: Sources{Services: c.services, Public: c.public, Base: "http://edge"}}

				expect(t, c.want, c.why, checker.answers(t.Context(), plan.AnswersGate{Systems: []edge.System{edge.Go}}))

				if c.want == rollout.Pass {
					assert.Zero(t, time.Since(begun))
				} else {
					assert.Equal(t, settle, time.Since(begun), "it may come by itself")
				}
			})
		})
	}
}

// fakeMetrics are the targets of one look after the other.
type fakeMetrics struct {
	looks []map[string]bool
	err   error
	asked int
}

func (m *fakeMetrics) Targets(context.Context) (map[string]bool, error) {
	if m.err != nil {
		return nil, m.err
	}
	m.asked++
	return m.looks[min(m.asked, len(m.looks))-1], nil
}

func TestMonitored(t *testing.T) {
	for name, c := range map[string]struct {
		gate  plan.Monitored
		looks []map[string]bool
		err   error
		want  rollout.Verdict
		why   string
	}{
		"read":          {plan.Monitored{Targets: []string{"go"}}, []map[string]bool{{"go": true, "python": false}}, nil, rollout.Pass, "Prometheus reads go"},
		"found at last": {plan.Monitored{Targets: []string{"go"}}, []map[string]bool{{}, {"go": false}, {"go": true}}, nil, rollout.Pass, "Prometheus reads go"},
		"unknown":       {plan.Monitored{Targets: []string{"go"}}, []map[string]bool{{"python": true}}, nil, rollout.Fail, "Prometheus does not read go"},
		"down":          {plan.Monitored{Targets: []string{"go"}}, []map[string]bool{{"go": false}}, nil, rollout.Fail, "Prometheus cannot read go"},
		"gone":          {plan.Monitored{Gone: []string{"python"}}, []map[string]bool{{"python": false}, {}}, nil, rollout.Pass, ""},
		"not gone":      {plan.Monitored{Targets: []string{"go"}, Gone: []string{"python"}}, []map[string]bool{{"go": true, "python": false}}, nil, rollout.Fail, "Prometheus still reads python"},
		"silent":        {plan.Monitored{Gone: []string{"python"}}, nil, errDown, rollout.Inconclusive, "Prometheus does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checker := &Checker{Sources: Sources{Metrics: &fakeMetrics{looks: c.looks, err: c.err}}}
				expect(t, c.want, c.why, checker.monitored(t.Context(), "g", c.gate))
			})
		})
	}
}

func TestRoutingAndStopped(t *testing.T) {
	state := func() rollout.State {
		state := rollout.NewState(edge.Go)
		state.Generation, state.Plan = 7, rollout.PlanID{Name: "p", Hash: "h"}
		state.Routes = []rollout.Route{{Name: "a", Prefix: "/", Weight: 10000}, {Name: "assets", Prefix: "/assets/", Pin: edge.Go}, {Name: "htmx", Prefix: "/htmx/", Follows: "a"}}
		return state
	}
	for name, c := range map[string]struct {
		change           func(g *fakeGuard, e *fakeEdge, s *fakeServices)
		routing, stopped rollout.Verdict
		why              string
	}{
		"as it should be":     {func(*fakeGuard, *fakeEdge, *fakeServices) {}, rollout.Pass, rollout.Pass, ""},
		"the guard is silent": {func(g *fakeGuard, _ *fakeEdge, _ *fakeServices) { g.err = errDown }, rollout.Inconclusive, rollout.Pass, "the guard does not answer"},
		"the glass is broken": {func(g *fakeGuard, _ *fakeEdge, _ *fakeServices) { g.status.BreakGlass.Active = true }, rollout.Fail, rollout.Pass, "the glass is broken"},
		"another plan":        {func(g *fakeGuard, _ *fakeEdge, _ *fakeServices) { g.status.State.Plan.Hash = "i" }, rollout.Fail, rollout.Pass, "another plan"},
		"no edge": {func(g *fakeGuard, _ *fakeEdge, _ *fakeServices) {
			g.status.Edge = control.EdgeStatus{Error: "it is gone"}
		}, rollout.Fail, rollout.Pass, "it is gone"},
		"an unread edge":       {func(_ *fakeGuard, e *fakeEdge, _ *fakeServices) { e.err = errDown }, rollout.Inconclusive, rollout.Inconclusive, "table cannot be read"},
		"another weight":       {func(_ *fakeGuard, e *fakeEdge, _ *fakeServices) { e.table.Routes[0].Weight = 9999 }, rollout.Fail, rollout.Fail, ""},
		"another generation":   {func(_ *fakeGuard, e *fakeEdge, _ *fakeServices) { e.table.Generation = 6 }, rollout.Fail, rollout.Pass, "the edge has another table (generation 6) than the guard (generation 7)"},
		"home is python":       {func(_ *fakeGuard, e *fakeEdge, _ *fakeServices) { e.table.Home = edge.Python }, rollout.Fail, rollout.Fail, ""},
		"a route of python":    {func(_ *fakeGuard, e *fakeEdge, _ *fakeServices) { e.table.Routes[1].Pin = edge.Python }, rollout.Fail, rollout.Fail, ""},
		"python runs":          {func(_ *fakeGuard, _ *fakeEdge, s *fakeServices) { s.facts[0].State = "running" }, rollout.Pass, rollout.Fail, "python is running"},
		"python is paused":     {func(_ *fakeGuard, _ *fakeEdge, s *fakeServices) { s.facts[0].State = "paused" }, rollout.Pass, rollout.Fail, "python is paused"},
		"python restarts":      {func(_ *fakeGuard, _ *fakeEdge, s *fakeServices) { s.facts[0].State = "restarting" }, rollout.Pass, rollout.Fail, "python is restarting"},
		"python is removed":    {func(_ *fakeGuard, _ *fakeEdge, s *fakeServices) { s.facts = s.facts[1:] }, rollout.Pass, rollout.Pass, ""},
		"the engine is silent": {func(_ *fakeGuard, _ *fakeEdge, s *fakeServices) { s.err = errDown }, rollout.Pass, rollout.Inconclusive, "the engine does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guard := &fakeGuard{status: control.Status{State: state(), Edge: control.EdgeStatus{Reachable: true, InSync: true}}}
				e := &fakeEdge{table: state().Table()}
				services := &fakeServices{facts: []SystemFacts{{System: edge.Python, State: "exited"}, {System: edge.Go, State: "running"}}}
				c.change(guard, e, services)
				checker := &Checker{Plan: &plan.Plan{Hash: "h"}, Sources: Sources{Guard: guard, Edge: e, Services: services}}

				routing, stopped := checker.routing(t.Context()), checker.stopped(t.Context())

				expect(t, c.routing, "", routing)
				expect(t, c.stopped, "", stopped)
				assert.Contains(t, routing.why+stopped.why, c.why)
			})
		})
	}
}

func TestArmed(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		status control.Status
		err    error
		want   rollout.Verdict
	}{
		"armed":       {control.Status{Edge: control.EdgeStatus{InSync: true}, Armed: &yes}, nil, rollout.Pass},
		"not armed":   {control.Status{Edge: control.EdgeStatus{InSync: true}, Armed: &no}, nil, rollout.Fail},
		"no rules":    {control.Status{Edge: control.EdgeStatus{InSync: true}}, nil, rollout.Inconclusive},
		"not in sync": {control.Status{Armed: &yes}, nil, rollout.Fail},
		"silent":      {control.Status{}, errDown, rollout.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			checker := &Checker{Sources: Sources{Guard: &fakeGuard{status: c.status, err: c.err}}}
			expect(t, c.want, "", checker.armed(t.Context()))
		})
	}
}

type fakeArchive struct{ err error }

func (a fakeArchive) Verify(context.Context) (string, error) { return "/archive/x.tar", a.err }

func TestArchived(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want rollout.Verdict
	}{
		"whole":   {nil, rollout.Pass},
		"none":    {fmt.Errorf("x: %w", ErrNoArchive), rollout.Inconclusive},
		"damaged": {errors.New("the checksum of image.tar is not right"), rollout.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			checker := &Checker{Sources: Sources{Archive: fakeArchive{c.err}}}
			expect(t, c.want, "/archive/x.tar", checker.archived(t.Context()))
		})
	}
}

func TestFound(t *testing.T) {
	for name, c := range map[string]struct {
		finding rollout.Finding
		about   string
		err     error
		want    rollout.Verdict
	}{
		"passed":           {rollout.Finding{Name: "backup", Verdict: rollout.Pass, Context: "these"}, "these", nil, rollout.Pass},
		"failed":           {rollout.Finding{Name: "backup", Verdict: rollout.Fail, Context: "these"}, "these", nil, rollout.Fail},
		"no answer":        {rollout.Finding{Name: "backup", Verdict: rollout.Inconclusive, Context: "these"}, "these", nil, rollout.Inconclusive},
		"about others":     {rollout.Finding{Name: "backup", Verdict: rollout.Pass, Context: "others"}, "these", nil, rollout.Inconclusive},
		"failed before":    {rollout.Finding{Name: "backup", Verdict: rollout.Fail, Context: "others"}, "these", nil, rollout.Inconclusive},
		"about nothing":    {rollout.Finding{Name: "backup", Verdict: rollout.Pass}, "", nil, rollout.Inconclusive},
		"something else":   {rollout.Finding{Name: "drill", Verdict: rollout.Pass, Context: "these"}, "these", nil, rollout.Inconclusive},
		"of what, unknown": {rollout.Finding{Name: "backup", Verdict: rollout.Pass, Context: "these"}, "these", errDown, rollout.Inconclusive},
		"a word of sense":  {rollout.Finding{Name: "backup", Verdict: "fine", Context: "these"}, "these", nil, rollout.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			checker := &Checker{About: func(context.Context) (string, error) { return c.about, c.err }}
			result := checker.Check(t.Context(), plan.Gate{Name: "g", Found: &plan.FoundGate{By: "backup"}}, rollout.State{Findings: []rollout.Finding{c.finding}}, nil)
			assert.Equal(t, c.want, result.Verdict, Reason(result))
		})
	}
}

func TestGatesThatAskNothing(t *testing.T) {
	checker := &Checker{}
	for name, c := range map[string]struct {
		gate plan.Gate
		want rollout.Verdict
		why  string
	}{
		"for a person":   {plan.Gate{Acknowledge: "that it is so"}, rollout.Inconclusive, "only a person can say that it is so"},
		"not applicable": {plan.Gate{NotApplicable: "there is no mail", Acknowledge: "that mail works"}, rollout.NotApplicable, "there is no mail"},
		"of no kind":     {plan.Gate{}, rollout.Inconclusive, "asks nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			result := checker.Check(t.Context(), c.gate, rollout.State{}, nil)
			assert.Equal(t, c.want, result.Verdict)
			assert.Contains(t, Reason(result), c.why)
		})
	}
}

func TestEventually_AnInterruptionIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		found := eventually(ctx, time.Minute, func(context.Context) answer { return fail(nil, "not yet") })
		expect(t, rollout.Inconclusive, "interrupted while it was: not yet", found)
	})
}
