package advance

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

const (
	lookEvery = time.Second
	// oldRequests is how long requests that began before a step are waited for,
	// which still count for the weights from before it.
	oldRequests = 5 * time.Second
	pollEvery   = 100 * time.Millisecond
	longestBake = 3 // times its length
)

// startOfBake reads the counters once no request is under way any more that
// began before the step was applied.
func (a *Advance) startOfBake(ctx context.Context, state rollout.State) (edge.Counters, error) {
	applied := time.Now()
	deadline := time.NewTimer(oldRequests)
	defer deadline.Stop()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		counters, err := a.Edge.Counters(ctx)
		if err != nil {
			return counters, fmt.Errorf("the edge's counters cannot be read: %w", err)
		}
		if oldest(counters) <= time.Since(applied).Seconds() {
			return counters, nil
		}
		select {
		case <-ctx.Done():
			return counters, context.Cause(ctx)
		case <-deadline.C:
			return counters, nil // a WebSocket, or a download: it counts when it ends
		case <-ticker.C:
		}
	}
}

func oldest(counters edge.Counters) float64 {
	age := 0.0
	for _, systems := range counters.InFlight {
		for _, waiting := range systems {
			age = max(age, waiting.Oldest)
		}
	}
	return age
}

// bake watches a step for its time, and breaks off when somebody takes it back
// or pauses it. If its gates have no answer by then, for want of requests, it
// goes on for up to three times as long. It returns what it saw, and the state
// at its last look.
func (a *Advance) bake(ctx context.Context, step rollout.Step, state rollout.State, before edge.Counters, about string) (*gate.Bake, rollout.State, error) {
	length := time.Duration(step.Bake * float64(time.Second))
	if a.Bake != nil && length > 0 {
		length = *a.Bake
	}
	subject := "step " + step.Name
	found := &gate.Bake{Before: before}
	for _, w := range step.Weights {
		found.Routes = append(found.Routes, w.Route)
	}
	begun := time.Now()
	over := time.NewTimer(length)
	defer over.Stop()
	longest := time.NewTimer(longestBake * length)
	defer longest.Stop()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for long, ended := false, false; ; {
		counters, err := a.Edge.Counters(ctx)
		if err != nil {
			return nil, state, fmt.Errorf("the edge's counters cannot be read: %w", err)
		}
		found.After = counters
		if ended || length == 0 {
			return found, state, nil
		}
		if state, err = a.stillOurs(ctx, step, state); err != nil {
			return nil, state, err
		}
		lacking, err := a.judge(ctx, step, state, found, about)
		if err != nil {
			return nil, state, err
		}
		if long && lacking == "" {
			return found, state, nil
		}
		text := fmt.Sprintf("bakes %s of %s: %s", time.Since(begun).Round(time.Second), length, seen(*found))
		if long {
			text = fmt.Sprintf("bakes on, %s of at most %s: %s", time.Since(begun).Round(time.Second), longestBake*length, lacking)
		}
		event.Work(a.Events, subject, text)
		select {
		case <-ctx.Done():
			return nil, state, context.Cause(ctx)
		case <-over.C:
			long = true
		case <-longest.C:
			ended = true
		case <-ticker.C:
		}
	}
}

// stillOurs tells whether the step is under way as it was begun. What else is
// recorded meanwhile, such as a finding, does not matter.
func (a *Advance) stillOurs(ctx context.Context, step rollout.Step, begun rollout.State) (rollout.State, error) {
	status, err := a.Guard.Status(ctx)
	if err != nil {
		return rollout.State{}, err
	}
	state := status.State
	if err := a.mayGoOn(state); err != nil {
		return state, err
	}
	if state.Progress == nil || state.Progress.Step != step.Name {
		return state, &control.Error{Code: rollout.OutOfOrder, Message: fmt.Sprintf("the step %s is not under way any more: %s has changed that", step.Name, state.Changed.Actor)}
	}
	if !slices.Equal(state.Routes, begun.Routes) {
		return state, &control.Error{Code: rollout.OutOfOrder, Message: fmt.Sprintf("the weights are not those of the step %s any more: %s has changed that; the next advance puts them right", step.Name, state.Changed.Actor)}
	}
	return state, nil
}

// judge asks the gates that judge a bake while it goes on. It breaks it off as
// soon as go fails too much: nobody has to suffer for the rest of it. What it
// returns is why one has no answer yet, of those that nobody has acknowledged.
func (a *Advance) judge(ctx context.Context, step rollout.Step, state rollout.State, bake *gate.Bake, about string) (lacking string, err error) {
	for _, name := range step.After {
		g, _ := a.Plan.Gate(name)
		if !g.OnBake() {
			continue
		}
		result := a.Gates.Check(ctx, g, state, bake)
		_, before := state.Acknowledged(name, about)
		switch {
		case result.Verdict == rollout.Fail && g.Errors != nil:
			return "", &Stopped{Step: step.Name, Applied: true, Verdict: rollout.Fail, Gates: []gate.Result{result}}
		case result.Verdict == rollout.Inconclusive && a.Acks[name] == "" && !before:
			lacking = gate.Reason(result)
		}
	}
	return lacking, nil
}

// seen is what a bake has brought so far, in a few words.
func seen(bake gate.Bake) string {
	if !bake.Whole() {
		return "nginx was started anew"
	}
	text := ""
	for _, system := range []edge.System{edge.Go, edge.Python} {
		total, failed := bake.Requests(system)
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s %d requests, %d failed", system, total, failed)
		if p95 := bake.P95(system); !math.IsNaN(p95) {
			text += fmt.Sprintf(", p95 %.0f ms", 1000*p95)
		}
	}
	return text
}
