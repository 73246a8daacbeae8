package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
)

// GuardWindow is how far back the guard's measured shares reach. What bakes for
// less has not been seen whole.
const GuardWindow = 10 * time.Second

// Private

// longestBake is more than any phase of a migration takes, and less than what
// would be a mistake.
const longestBake = 90 * 24 * time.Hour

// course is where a plan has got to, step by step.
type course struct {
	weights map[string]edge.Weight
	jobs    map[string]edge.System
	done    map[string]bool // work
}

func (p *Plan) validatePhases(v *source) {
	phases, steps := map[string]bool{}, map[string]bool{}
	c := course{weights: map[string]edge.Weight{}, jobs: map[string]edge.System{}, done: map[string]bool{}}
	for _, job := range p.Jobs {
		c.jobs[job.Name] = job.Owner
	}
	for i, phase := range p.Phases {
		at := place{"phases", i}
		if phases[phase.Name] {
			v.fail(at.to("name"), "there are two phases of the name %s", phase.Name)
		}
		phases[phase.Name] = true
		p.checkGateNames(v, at.to("before"), phase.Before, false)
		p.checkGateNames(v, at.to("after"), phase.After, true)
		checkDuration(v, at.to("bake"), phase.Bake)
		for j, step := range phase.Steps {
			at := at.to("steps", j)
			if steps[step.Name] {
				v.fail(at.to("name"), "there are two steps of the name %s", step.Name)
			}
			steps[step.Name] = true
			p.validateStep(v, at, phase, step, &c)
		}
	}
}

func (p *Plan) validateStep(v *source, at place, phase Phase, step Step, c *course) {
	if edge.CheckName(step.Name) != nil && step.Name != "" {
		v.fail(at.to("name"), "the step's name %q is not 1 to 64 letters, digits, dots, dashes and underscores", step.Name)
	}
	p.checkGateNames(v, at.to("before"), step.Before, false)
	p.checkGateNames(v, at.to("after"), step.After, true)
	if c.done["remove-python"] {
		v.fail(at, "the step %s follows the one that removes python, after which there is nothing to migrate", step.Name)
	}
	p.validateWeights(v, at, step, c)
	for _, name := range slices.Sorted(maps.Keys(step.Jobs)) {
		if _, known := c.jobs[name]; !known {
			v.failKey(at.to("jobs", name), "there is no job %q; the plan has %s", name, orNone(slices.Sorted(maps.Keys(c.jobs))))
			continue
		}
		if c.done["stop-python"] && step.Jobs[name] == edge.Python {
			v.fail(at.to("jobs", name), "python is stopped by now, and nobody would do the job %s", name)
		}
		c.jobs[name] = step.Jobs[name]
	}
	p.validateLabel(v, at, step)
	p.validateWork(v, at, phase, step, c)
	p.validateBake(v, at, phase, step)
}

func (p *Plan) validateWeights(v *source, at place, step Step, c *course) {
	for _, name := range slices.Sorted(maps.Keys(step.Routes)) {
		weight := step.Routes[name]
		at := at.to("routes", name)
		if !p.hasRoute(name) {
			v.failKey(at, "there is no route %q; the plan has %s", name, strings.Join(p.routeNames(), ", "))
			continue
		}
		value, err := edge.ParseWeight(weight.Text)
		switch {
		case err != nil:
			v.fail(at, "%s", err)
			continue
		case value < c.weights[name] && !step.Lowers:
			v.fail(at, "the weight of %s goes down, from %s to %s; say so with lowers: true, or take it back with cutover rollback", name, c.weights[name], value)
		case c.done["stop-python"] && value < edge.AllGo:
			v.fail(at, "python is stopped by now, and the weight of %s would send requests to it", name)
		}
		if digit := p.byDigit(name); digit != "" && value%(edge.AllGo/10) != 0 {
			v.fail(at, "the route %s is split by the last digit of the user id, so its weight is 0, 10, 20 … or 100, not %s", digit, value)
		}
		c.weights[name] = value
	}
	for _, group := range p.Together {
		leader := ""
		for _, name := range group {
			weight, set := step.Routes[name]
			switch {
			case !set:
			case leader == "":
				leader = name
			case weight.Value != step.Routes[leader].Value:
				v.fail(at.to("routes", name), "%s and %s move together, and get the weights %s and %s", leader, name, step.Routes[leader].Text, weight.Text)
			}
		}
		for _, name := range group {
			if leader != "" {
				c.weights[name] = c.weights[leader]
			}
		}
	}
}

// byDigit is the first of a route and those that move with it that is split by
// the last digit of the user id, which only tells tenths apart; "" for none.
func (p *Plan) byDigit(name string) string {
	group := []string{name}
	for _, bound := range p.Together {
		if slices.Contains(bound, name) {
			group = bound
		}
	}
	for _, route := range p.Routes {
		if slices.Contains(group, route.Name) && cmp.Or(route.By, p.Split).Edge() == edge.ByUserIDDigit {
			return route.Name
		}
	}
	return ""
}

func (p *Plan) validateLabel(v *source, at place, step Step) {
	switch {
	case step.Label == "lossy" && step.Loses == "":
		v.fail(at.to("label"), "the step %s is lossy and does not say what is lost; say it with loses", step.Name)
	case step.Label != "lossy" && step.Loses != "":
		v.failKey(at.to("loses"), "the step %s loses something; its label is lossy", step.Name)
	}
}

func (p *Plan) validateWork(v *source, at place, phase Phase, step Step, c *course) {
	if step.Work == "" {
		return
	}
	at = at.to("work")
	if c.done[step.Work] {
		v.fail(at, "%s is done by an earlier step already", step.Work)
	}
	c.done[step.Work] = true
	if (step.Work == "expand-schema" || step.Work == "contract-schema") && p.Database.Migrations == "" {
		v.fail(at, "%s needs database.migrations, the folder with the migrations", step.Work)
	}
	switch step.Work {
	case "contract-schema":
		switch {
		case !c.done["expand-schema"]:
			v.fail(at, "the schema is contracted before it was expanded")
		case step.Label != "one-way":
			v.fail(at, "there is no way back after the schema is contracted; the step's label is one-way")
		}
	case "stop-python":
		for _, route := range p.Routes {
			if c.weights[route.Name] != edge.AllGo {
				v.fail(at, "python is stopped while %s is at %s %%; all routes have to be at 100 first", route.Name, c.weights[route.Name])
				break
			}
		}
		for _, job := range slices.Sorted(maps.Keys(c.jobs)) {
			if c.jobs[job] == edge.Python {
				v.fail(at, "python is stopped while the job %s is its own; give it to go first", job)
				break
			}
		}
		if !slices.ContainsFunc(p.GatesBefore(phase, step), func(name string) bool { gate, _ := p.Gate(name); return gate.Idle != nil }) {
			v.fail(at, "python is stopped without a gate that asks whether it is idle; name one under before")
		}
	case "archive-python":
		if p.Systems.Python.Source == "" {
			v.fail(at, "the archive needs systems.python.source, the folder of the legacy system's source")
		}
	case "remove-python":
		switch {
		case !c.done["stop-python"] || !c.done["archive-python"]:
			v.fail(at, "python is removed before it was stopped and archived")
		case step.Label != "one-way":
			v.fail(at, "there is no way back after python is removed; the step's label is one-way")
		}
	}
}

func (p *Plan) validateBake(v *source, at place, phase Phase, step Step) {
	bakeAt, bake := at.to("bake"), step.Bake
	if bake.Text == "" {
		bakeAt, bake = at, phase.Bake
	} else if !checkDuration(v, bakeAt, bake) {
		return
	}
	if _, err := time.ParseDuration(bake.Text); bake.Text != "" && err != nil {
		return // the phase's, which was told there
	}
	judged := slices.ContainsFunc(p.GatesAfter(phase, step), func(name string) bool { gate, _ := p.Gate(name); return gate.OnBake() })
	switch {
	case bake.Value > longestBake:
		v.fail(bakeAt, "the bake of %s is %s; the longest is %s", step.Name, bake, longestBake)
	case len(step.Routes) > 0 && bake.Text == "":
		v.fail(bakeAt, "the step %s moves traffic and has no bake; say how long it is watched, at least %s", step.Name, GuardWindow)
	case (len(step.Routes) > 0 || judged) && bake.Value < GuardWindow:
		v.fail(bakeAt, "the bake of %s is %s, shorter than the %s that the guard looks back", step.Name, orNothing(bake), GuardWindow)
	}
}

func (p *Plan) checkGateNames(v *source, at place, names []string, after bool) {
	seen := map[string]bool{}
	for i, name := range names {
		gate, known := p.Gate(name)
		switch {
		case !known:
			v.fail(at.to(i), "there is no gate %q under gates%s", name, suggestion(name, p.gateNames()))
		case seen[name]:
			v.fail(at.to(i), "the gate %s is named twice", name)
		case !after && gate.OnBake():
			v.fail(at.to(i), "the gate %s judges a bake, so it can only stand under after", name)
		}
		seen[name] = true
	}
}

func (p *Plan) gateNames() []string {
	var names []string
	for _, gate := range p.Gates {
		names = append(names, gate.Name)
	}
	return names
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func orNothing(d Duration) string {
	if d.Text == "" {
		return "nothing"
	}
	return d.Text
}
