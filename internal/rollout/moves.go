package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Route is the operator's override: it sets the share of one route that go
// serves, and of those that the plan has move together with it. Like
// everything that may move traffic forward it names the generation that its
// author saw. A nil event means that nothing had to change.
func (s State) Route(plan Plan, name string, weight edge.Weight, generation uint64, cause Cause) (State, *Event, error) {
	if err := cause.validate(); err != nil {
		return s, nil, err
	}
	if s.Latched {
		return s, nil, refuse(Latched, "Everything is latched on python since a rollback (%s); resume first.", s.LatchReason)
	}
	if err := s.current(generation); err != nil {
		return s, nil, err
	}
	i := s.find(name)
	switch {
	case i < 0 && len(s.Routes) == 0:
		return s, nil, refuse(UnknownRoute, "There is no route %q, because there is no plan: cutover plan --adopt gives the guard one.", name)
	case i < 0:
		return s, nil, refuse(UnknownRoute, "The plan %q has no route %q; it has %s.", s.Plan.Name, name, strings.Join(s.movable(), ", "))
	}
	route := s.Routes[i]
	switch {
	case route.Pin != "":
		return s, nil, refuse(Invalid, "Route %q is pinned to %s and has no weight.", name, route.Pin)
	case route.Follows != "":
		return s, nil, refuse(Invalid, "Route %q follows %s and has no weight of its own.", name, route.Follows)
	case weight < 0 || weight > edge.AllGo:
		return s, nil, refuse(Invalid, "A weight is a percentage from 0 to 100, not %s.", weight)
	case s.Home == edge.Go && weight < edge.AllGo:
		return s, nil, refuse(Invalid, "Python is stopped, so no share of %q can go to it; a rollback starts it again.", name)
	}
	after := s.next()
	for _, bound := range plan.boundTo(name) {
		if i := s.find(bound); i >= 0 {
			after.Routes[i].Weight = weight
		}
	}
	if slices.Equal(after.Routes, s.Routes) {
		return s, nil, nil
	}
	after, event := changed(ActionRoute, s, after, cause)
	return after, event, nil
}

// Rollback takes everything back to python and latches it there, jobs
// included. It names no generation, and is refused only after a one-way step
// was begun. A nil event means that it was done before.
func (s State) Rollback(plan Plan, cause Cause) (State, *Event, error) {
	if s.Latched {
		return s, nil, nil
	}
	if s.OneWay != "" {
		return s, nil, refuse(NoWayBack, "There is no way back: %s was begun, which is one-way.", s.OneWay)
	}
	after := s.next()
	if plan.Hash != "" && plan.Hash == s.Plan.Hash {
		after.Routes = plan.routes() // with what python owns, which is left out while it is stopped
	}
	after.Home = edge.Python
	after.Latched = true
	after.LatchReason = cause.Reason
	after.Paused, after.PauseReason = false, ""
	after.zero()
	after.Jobs = slices.Clone(s.Jobs)
	for i, job := range after.Jobs {
		after.Jobs[i].Owner = job.Initial
	}
	after.Progress = nil
	if i := plan.position(after); i >= 0 {
		after.Step = plan.Steps[i].Name
	} else {
		after.Step = ""
	}
	after.Phase = plan.phaseOf(after.Step)
	after, event := changed(ActionRollback, s, after, cause)
	return after, event, nil
}

// OnlyLowers tells whether a change takes nothing but weight away, so that it
// can move no request to go.
func OnlyLowers(before, after State) bool {
	if before.Plan != after.Plan || before.Latched != after.Latched || before.Home != after.Home ||
		before.OneWay != after.OneWay || !slices.Equal(before.Jobs, after.Jobs) ||
		!slices.Equal(before.First, after.First) || !slices.Equal(before.Last, after.Last) {
		return false
	}
	lowered := !slices.Equal(before.Routes, after.Routes)
	return lowered && slices.EqualFunc(before.Routes, after.Routes, func(b, a Route) bool {
		return b.sameAs(a) && a.Weight <= b.Weight
	})
}

// Close records that there is no way back from now on, for something that is
// done outside of the plan's steps. A nil event means that it was closed
// before.
func (s State) Close(what string, generation uint64, cause Cause) (State, *Event, error) {
	if err := cause.validate(); err != nil {
		return s, nil, err
	}
	switch {
	case cause.Reason == "" || what == "" || len(what) > longestName:
		return s, nil, refuse(Invalid, "Closing the way back needs a reason, and a name of what closes it.")
	case s.Latched:
		return s, nil, refuse(Latched, "Everything is latched on python since a rollback (%s): the way back is in use.", s.LatchReason)
	case s.OneWay != "":
		return s, nil, nil
	case slices.ContainsFunc(s.Routes, func(r Route) bool { return r.movable() && r.Weight < edge.AllGo }):
		return s, nil, refuse(Invalid, "The way back is needed: python still serves a share of a route.")
	}
	if err := s.current(generation); err != nil {
		return s, nil, err
	}
	after := s.next()
	after.OneWay = what
	after, event := changed(ActionClose, s, after, cause)
	return after, event, nil
}

// Pause keeps every step from beginning or being completed until a resume.
// Traffic stays as it is. It holds the migration back, so it names no
// generation. A nil event means that it was paused before.
func (s State) Pause(cause Cause) (State, *Event, error) {
	if err := cause.validate(); err != nil {
		return s, nil, err
	}
	switch {
	case s.Latched:
		return s, nil, refuse(Latched, "Everything is latched on python since a rollback (%s); there is nothing to pause.", s.LatchReason)
	case s.Paused:
		return s, nil, nil
	}
	after := s.next()
	after.Paused, after.PauseReason = true, cause.Reason
	after, event := changed(ActionPause, s, after, cause)
	return after, event, nil
}

// Resume releases the latch or the pause; every weight stays as it is, after a
// rollback 0. A nil event means that there was nothing to release.
func (s State) Resume(generation uint64, cause Cause) (State, *Event, error) {
	if err := cause.validate(); err != nil {
		return s, nil, err
	}
	if cause.Reason == "" {
		return s, nil, refuse(Invalid, "Resuming needs a reason.")
	}
	if !s.Latched && !s.Paused {
		return s, nil, nil
	}
	if err := s.current(generation); err != nil {
		return s, nil, err
	}
	after := s.next()
	after.Latched, after.LatchReason = false, ""
	after.Paused, after.PauseReason = false, ""
	after, event := changed(ActionResume, s, after, cause)
	return after, event, nil
}

// Private

// boundTo are a route and those that have its weight.
func (p Plan) boundTo(route string) []string {
	for _, group := range p.Together {
		if slices.Contains(group, route) {
			return group
		}
	}
	return []string{route}
}

// movable are the names of the routes that have a weight.
func (s State) movable() []string {
	var names []string
	for _, route := range s.Routes {
		if route.movable() {
			names = append(names, route.Name)
		}
	}
	return names
}

func (s State) current(generation uint64) error {
	if generation != s.Generation {
		return refuse(Stale, "The routing has changed meanwhile: generation %d was named, %d is current.%s", generation, s.Generation, s.lastChange())
	}
	return nil
}

// lastChange tells whose change somebody lost to, as a sentence to follow
// another one.
func (s State) lastChange() string {
	if s.Changed.Actor == "" {
		return ""
	}
	what := map[Action]string{
		ActionPlan:      "adopted a plan",
		ActionRoute:     "changed a weight",
		ActionBegin:     "began the step " + s.Changed.Step,
		ActionComplete:  "completed the step " + s.Changed.Step,
		ActionPause:     "paused the migration",
		ActionFinding:   "recorded a finding",
		ActionClose:     "closed the way back",
		ActionRollback:  "took everything back",
		ActionResume:    "resumed the migration",
		ActionReconcile: "brought edge and record together",
	}[s.Changed.Action]
	return fmt.Sprintf(" The last change: %s %s at %s.", s.Changed.Actor, what, s.Changed.Time.UTC().Format("15:04:05 UTC"))
}

func (c Cause) validate() error {
	if c.Actor == "" {
		return refuse(Invalid, "The request does not name its actor.")
	}
	return nil
}
