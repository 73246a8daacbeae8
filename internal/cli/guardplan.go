package cli

import (
	"maps"
	"slices"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

// guardPlan is what the guard has to know of a plan.
func guardPlan(p *plan.Plan) rollout.Plan {
	result := rollout.Plan{Name: p.Name, Hash: p.Hash, First: p.Visitors.First, Last: p.Visitors.Last, Together: p.Together}
	for _, route := range p.Lines() {
		result.Routes = append(result.Routes, rollout.PlanRoute{Name: route.Name, Prefix: route.Prefix, Pin: route.Pin, Follows: route.Follows, By: route.By})
	}
	for _, job := range p.Jobs {
		result.Jobs = append(result.Jobs, rollout.PlanJob{Name: job.Name, Owner: job.Owner, Assign: job.Assign})
	}
	for _, phase := range p.Phases {
		for _, step := range phase.Steps {
			result.Steps = append(result.Steps, guardStep(p, phase, step))
		}
	}
	return result
}

func guardStep(p *plan.Plan, phase plan.Phase, step plan.Step) rollout.Step {
	result := rollout.Step{
		Phase: phase.Name, Name: step.Name, Label: rollout.Label(step.Label), Work: rollout.Work(step.Work),
		Before: p.GatesBefore(phase, step), After: p.GatesAfter(phase, step), Bake: p.BakeOf(phase, step).Seconds(),
	}
	if result.Label == "" {
		result.Label = rollout.Safe
	}
	weights := map[string]edge.Weight{}
	for route, weight := range step.Routes {
		for _, bound := range together(p, route) {
			weights[bound] = weight.Value
		}
	}
	for _, route := range p.Routes { // in the plan's order
		if weight, changed := weights[route.Name]; changed {
			result.Weights = append(result.Weights, rollout.StepWeight{Route: route.Name, Weight: weight})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(step.Jobs)) {
		result.Jobs = append(result.Jobs, rollout.PlanJob{Name: name, Owner: step.Jobs[name]})
	}
	return result
}

// together are a route and those that move with it.
func together(p *plan.Plan, route string) []string {
	for _, group := range p.Together {
		if slices.Contains(group, route) {
			return group
		}
	}
	return []string{route}
}
