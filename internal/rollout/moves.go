package rollout

import (
	"slices"
	"strings"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Route sets the share of one route that go serves. Like everything that may
// move traffic forward it names the generation that its author saw. A nil
// event means that nothing had to change.
func (s State) Route(name string, weight edge.Weight, generation uint64, cause Cause) (State, *Event, error) {
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
	case route.Weight == weight:
		return s, nil, nil
	}
	after := s.next()
	after.Routes[i].Weight = weight
	return after, newEvent(ActionRoute, s, after, cause), nil
}

// Rollback takes everything back to python and latches it there. It names no
// generation and is never refused. A nil event means that it was done before.
func (s State) Rollback(cause Cause) (State, *Event) {
	if s.Latched {
		return s, nil
	}
	after := s.next()
	after.Latched = true
	after.LatchReason = cause.Reason
	after.zero()
	return after, newEvent(ActionRollback, s, after, cause)
}

// OnlyLowers tells whether a change takes nothing but weight away, so that it
// can move no request to go.
func OnlyLowers(before, after State) bool {
	if before.Plan != after.Plan || before.Latched != after.Latched || before.Home != after.Home ||
		!slices.Equal(before.First, after.First) || !slices.Equal(before.Last, after.Last) {
		return false
	}
	return slices.EqualFunc(before.Routes, after.Routes, func(b, a Route) bool {
		return b.sameAs(a) && a.Weight <= b.Weight
	})
}

// Resume releases the latch; every weight stays 0. A nil event means that
// nothing was latched.
func (s State) Resume(generation uint64, cause Cause) (State, *Event, error) {
	if err := cause.validate(); err != nil {
		return s, nil, err
	}
	if cause.Reason == "" {
		return s, nil, refuse(Invalid, "Resuming after a rollback needs a reason.")
	}
	if !s.Latched {
		return s, nil, nil
	}
	if err := s.current(generation); err != nil {
		return s, nil, err
	}
	after := s.next()
	after.Latched = false
	after.LatchReason = ""
	return after, newEvent(ActionResume, s, after, cause), nil
}

// Private

// movable are the names of the routes that have a weight.
func (s State) movable() []string {
	var names []string
	for _, route := range s.Routes {
		if route.Pin == "" && route.Follows == "" {
			names = append(names, route.Name)
		}
	}
	return names
}

func (s State) current(generation uint64) error {
	if generation != s.Generation {
		return refuse(Stale, "The routing has changed meanwhile: generation %d was named, %d is current.", generation, s.Generation)
	}
	return nil
}

func (c Cause) validate() error {
	if c.Actor == "" {
		return refuse(Invalid, "The request does not name its actor.")
	}
	return nil
}
