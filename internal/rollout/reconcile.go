package rollout

import (
	"slices"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Reconcile brings together the state that is recorded and the table that the
// edge has. The higher generation says which routes there are, but traffic
// never moves forward by it: where the two differ, each route gets the lower
// weight, and a latch on either side holds. The result is what the edge should
// have; a nil event means that the recorded state is right as it is, and that
// at most the edge has to catch up.
func Reconcile(recorded State, actual edge.Table, cause Cause) (State, *Event) {
	if InSync(recorded, actual) {
		return recorded, nil
	}
	after := recorded.withTable(actual)
	newer := actual.Generation > recorded.Generation
	switch {
	case recorded.Generation == 0:
		// Nothing was ever recorded, or it was lost: what the edge has stands.
		after = after.settle()
	case actual.Generation == 0 && recorded.Home == edge.Go:
		// An nginx without a table says nothing about python, which is not
		// there any more.
		return recorded, nil
	case newer:
		after = after.atMost(recorded)
	default:
		after = recorded.atMost(after)
	}
	switch {
	case newer && sameContent(after.Table(), actual):
		after.Generation = actual.Generation
	case !newer && actual.Generation != recorded.Generation && sameContent(after.Table(), recorded.Table()):
		return recorded, nil
	default:
		after.Generation = max(recorded.Generation, actual.Generation) + 1
	}
	return changed(ActionReconcile, recorded, after, cause)
}

// Undo takes back a move that was recorded but could not be applied. It never
// moves traffic forward either: of what the move lowered, nothing is raised
// again. A nil event means that nothing is to be taken back.
func Undo(now, before State, cause Cause) (State, *Event) {
	after := before.atMost(now)
	if after.Plan == now.Plan && sameContent(after.Table(), now.Table()) && slices.Equal(after.Jobs, now.Jobs) && after.stepInSight() == now.stepInSight() {
		return now, nil
	}
	after.Generation = now.Generation + 1
	return changed(ActionReconcile, now, after, cause)
}

// InSync tells whether the edge has the table of this state. Before the first
// plan there is none to have.
func InSync(state State, actual edge.Table) bool {
	if state.Generation != actual.Generation {
		return false
	}
	return state.Generation == 0 || sameContent(state.Table(), actual)
}

// Private

func sameContent(a, b edge.Table) bool {
	return a.Latched == b.Latched && a.Home == b.Home && slices.Equal(a.Routes, b.Routes) &&
		slices.Equal(a.First, b.First) && slices.Equal(a.Last, b.Last)
}

// withTable is the state with what the edge has. If the edge's routes are not
// the plan's, the state follows no known plan any more.
func (s State) withTable(table edge.Table) State {
	routes := make([]Route, 0, len(table.Routes))
	for _, route := range table.Routes {
		routes = append(routes, Route{
			Name:    route.Name,
			Prefix:  route.Prefix,
			Weight:  route.Weight,
			Pin:     route.Pin,
			Follows: route.Follows,
			By:      route.By,
		})
	}
	if !slices.EqualFunc(s.Routes, routes, Route.sameAs) ||
		!slices.Equal(s.First, table.First) || !slices.Equal(s.Last, table.Last) {
		s.Plan = PlanID{}
	}
	s.Routes, s.First, s.Last = routes, table.First, table.Last
	if table.Home != "" {
		s.Home = table.Home
	}
	s.Latched = table.Latched
	return s
}

// atMost is the state with each weight, the latch and the home as far back as
// the other state has them; a route that the other lacks counts as not moved.
func (s State) atMost(other State) State {
	routes, limits := s, other
	if s.Home == edge.Go && other.Home == edge.Python {
		routes, limits = other, s // with what only python has, which is there
	}
	s.Routes = slices.Clone(routes.Routes)
	for i, route := range s.Routes {
		s.Routes[i].Weight = min(route.Weight, limits.weightOf(route))
	}
	s.First, s.Last = furthestBack(s, other)
	if other.Home != s.Home {
		s.Home = edge.Python
	}
	if other.Latched && !s.Latched {
		s.Latched = true
		s.LatchReason = other.LatchReason
	}
	return s.settle()
}

// furthestBack are the visitors who go first by both states, and those who go
// last by either.
func furthestBack(own, other State) (first, last []string) {
	for _, visitor := range own.First {
		if slices.Contains(other.First, visitor) {
			first = append(first, visitor)
		}
	}
	last = append(last, own.Last...)
	for _, visitor := range other.Last {
		if !slices.Contains(last, visitor) && !slices.Contains(first, visitor) {
			last = append(last, visitor)
		}
	}
	return first, last
}

// settle has every weight at 0 where there is a latch, and a reason for it;
// and every weight at 100 where python is stopped for good.
func (s State) settle() State {
	if !s.Latched {
		s.LatchReason = ""
		if s.Home == edge.Go {
			s.Routes = withoutPython(s.Routes)
			s.fill()
		}
		return s
	}
	if s.LatchReason == "" {
		s.LatchReason = "The edge was found latched."
	}
	s.zero()
	s.Home = edge.Python
	s.Progress = nil
	s.Jobs = slices.Clone(s.Jobs)
	for i, job := range s.Jobs {
		s.Jobs[i].Owner = job.Initial
	}
	return s
}

func (s State) weightOf(route Route) edge.Weight {
	for _, own := range s.Routes {
		if own.sameAs(route) {
			return own.Weight
		}
	}
	return 0
}
