package rollout

import (
	"slices"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Plan is what the guard has to know of a plan file: its identity, the routes
// in the order of their migration, and the visitors who go first or last.
type Plan struct {
	Name   string      `json:"name"`
	Hash   string      `json:"hash"`
	Routes []PlanRoute `json:"routes"`
	First  []string    `json:"first,omitempty"`
	Last   []string    `json:"last,omitempty"`
}

// PlanRoute is a route as the plan declares it.
type PlanRoute struct {
	Name    string      `json:"name"`
	Prefix  string      `json:"prefix"`
	Pin     edge.System `json:"pin"`
	Follows string      `json:"follows"`
}

// AdoptPlan makes the state follow a plan, with every weight 0. Another plan
// than the present one is adopted only while nothing is moved or latched. A
// nil event means that the state follows this plan already.
func (s State) AdoptPlan(plan Plan, cause Cause) (State, *Event, error) {
	if err := cause.validate(); err != nil {
		return s, nil, err
	}
	if err := plan.validate(); err != nil {
		return s, nil, err
	}
	if plan.Hash == s.Plan.Hash {
		return s, nil, nil
	}
	after := s.next()
	after.Plan = PlanID{Name: plan.Name, Hash: plan.Hash}
	first := s.Plan == PlanID{}
	switch {
	case first && s.hasRoutesOf(plan):
		// The state was lost and its weights were taken from the edge: they
		// and the latch stay as they are.
	case s.moved():
		return s, nil, refuse(PlanDiffers, "The guard follows plan %q, and traffic has been moved; another plan can be adopted when every weight is 0.", s.Plan.Name)
	case s.Latched && !first:
		return s, nil, refuse(PlanDiffers, "The guard follows plan %q and is latched since a rollback; another plan can be adopted after a resume.", s.Plan.Name)
	default:
		after.Routes = plan.routes()
		after.First, after.Last = plan.First, plan.Last
	}
	return after, newEvent(ActionPlan, s, after, cause), nil
}

// Private

func (p Plan) validate() error {
	if p.Name == "" || p.Hash == "" {
		return refuse(Invalid, "A plan needs a name and a hash.")
	}
	if len(p.Routes) == 0 {
		return refuse(Invalid, "The plan %q has no routes.", p.Name)
	}
	table := State{Home: edge.Python, Routes: p.routes(), First: p.First, Last: p.Last}.Table()
	if err := table.Validate(); err != nil {
		return refuse(Invalid, "The edge cannot use the plan %q: %s.", p.Name, err)
	}
	return nil
}

func (p Plan) routes() []Route {
	routes := make([]Route, 0, len(p.Routes))
	for _, route := range p.Routes {
		routes = append(routes, Route{Name: route.Name, Prefix: route.Prefix, Pin: route.Pin, Follows: route.Follows})
	}
	return routes
}

func (s State) hasRoutesOf(plan Plan) bool {
	return slices.EqualFunc(s.Routes, plan.routes(), Route.sameAs) &&
		slices.Equal(s.First, plan.First) && slices.Equal(s.Last, plan.Last)
}

func (r Route) sameAs(other Route) bool {
	return r.Name == other.Name && r.Pin == other.Pin && r.Follows == other.Follows && r.Prefix == other.Prefix
}
