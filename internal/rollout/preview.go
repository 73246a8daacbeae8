package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Preview is what a step would do.
type Preview struct {
	Step       Step        `json:"step"`
	Resumes    bool        `json:"resumes"` // it is under way already
	Operations []Operation `json:"operations"`
	Before     []Route     `json:"before"` // the routing
	After      []Route     `json:"after"`
}

// Operation is one thing that a step does.
type Operation struct {
	Kind    string `json:"kind"`    // weight, job, home, remove, work
	Subject string `json:"subject"` // the route, the job …
	From    string `json:"from"`
	To      string `json:"to"`
	Cause   string `json:"cause"`
	SQL     string `json:"sql,omitempty"` // that is run
}

// String is the operation in one line.
func (o Operation) String() string {
	text := fmt.Sprintf("%s %s: %s → %s (%s)", o.Kind, o.Subject, o.From, o.To, o.Cause)
	if o.From == "" {
		text = fmt.Sprintf("%s %s (%s)", o.Kind, o.Subject, o.Cause)
	}
	if o.SQL != "" {
		text += ": " + o.SQL
	}
	return text
}

// Preview is what the steps from the next one on, up to a last one with it,
// would do from this state. It changes nothing.
func (s State) Preview(plan Plan, last int) []Preview {
	var previews []Preview
	now := target{routes: s.Routes, jobs: s.Jobs, home: s.Home}
	for i := s.Next(plan); i <= last && i < len(plan.Steps); i++ {
		step, next := plan.Steps[i], plan.target(i)
		previews = append(previews, Preview{
			Step:       step,
			Resumes:    s.Progress != nil && s.Progress.Step == step.Name,
			Operations: plan.withSQL(difference(now, next, step)),
			Before:     now.routes,
			After:      next.routes,
		})
		now = next
	}
	return previews
}

// Private

func (p Plan) withSQL(operations []Operation) []Operation {
	for i, operation := range operations {
		for _, job := range p.Jobs {
			if operation.Kind == "job" && operation.Subject == job.Name {
				operations[i].SQL = job.Assign
			}
		}
	}
	return operations
}

// difference lists the operations that lead from one target to the next, in
// the order in which they take effect.
func difference(from, to target, step Step) []Operation {
	operations := []Operation{}
	asked := map[string]bool{}
	for _, w := range step.Weights {
		asked[w.Route] = true
	}
	here := func(wanted bool) string {
		if wanted {
			return fmt.Sprintf("step %s of phase %s", step.Name, step.Phase)
		}
		return "the plan has it so; it was changed outside of it"
	}
	before := State{Routes: from.routes}
	for _, route := range to.routes {
		i := before.find(route.Name)
		if i < 0 {
			operations = append(operations, Operation{Kind: "add", Subject: "route " + route.Name, Cause: "the plan has it"})
			continue
		}
		if old := from.routes[i].Weight; old != route.Weight {
			operations = append(operations, Operation{Kind: "weight", Subject: route.Name, From: old.String() + " %", To: route.Weight.String() + " %", Cause: here(asked[route.Name])})
		}
	}
	after := State{Routes: to.routes}
	for _, route := range from.routes {
		if after.find(route.Name) < 0 {
			operations = append(operations, Operation{Kind: "remove", Subject: "route " + route.Name, Cause: "python is stopped, and only python has it"})
		}
	}
	for i, job := range to.jobs {
		if i < len(from.jobs) && from.jobs[i].Owner != job.Owner {
			operations = append(operations, Operation{Kind: "job", Subject: job.Name, From: string(from.jobs[i].Owner), To: string(job.Owner), Cause: here(true)})
		}
	}
	if from.home != to.home {
		operations = append(operations, Operation{Kind: "home", Subject: "edge", From: string(from.home), To: string(to.home), Cause: here(true)})
	}
	if step.Work != NoWork {
		operations = append(operations, Operation{Kind: "work", Subject: string(step.Work), Cause: here(true)})
	}
	return operations
}

// Difference tells in lines how another plan differs from this one, as far as
// the guard knows them.
func Difference(from, to Plan) []string {
	lines := []string{}
	if from.Hash == to.Hash {
		return lines
	}
	told := func(kind string, before, after map[string]string, order []string) {
		for _, name := range order {
			old, had := before[name]
			now, has := after[name]
			switch {
			case !had:
				lines = append(lines, fmt.Sprintf("+ %s %s: %s", kind, name, now))
			case !has:
				lines = append(lines, fmt.Sprintf("- %s %s: %s", kind, name, old))
			case old != now:
				lines = append(lines, fmt.Sprintf("~ %s %s: %s → %s", kind, name, old, now))
			}
		}
	}
	oldRoutes, order := from.routeTexts(nil)
	newRoutes, order := to.routeTexts(order)
	told("route", oldRoutes, newRoutes, order)
	oldJobs, order := from.jobTexts(nil)
	newJobs, order := to.jobTexts(order)
	told("job", oldJobs, newJobs, order)
	for _, other := range []struct{ what, old, now string }{
		{"together", groups(from.Together), groups(to.Together)},
		{"visitors first", strings.Join(from.First, " "), strings.Join(to.First, " ")},
		{"visitors last", strings.Join(from.Last, " "), strings.Join(to.Last, " ")},
	} {
		if other.old != other.now {
			lines = append(lines, fmt.Sprintf("~ %s: %s → %s", other.what, cmp.Or(other.old, "none"), cmp.Or(other.now, "none")))
		}
	}
	oldSteps, order := from.stepTexts(nil)
	newSteps, order := to.stepTexts(order)
	told("step", oldSteps, newSteps, order)
	if len(lines) == 0 {
		lines = append(lines, "~ nothing that the guard knows of: gates, limits or comments")
	}
	return lines
}

func (p Plan) routeTexts(order []string) (map[string]string, []string) {
	texts := map[string]string{}
	for _, route := range p.Routes {
		text := route.Prefix
		if route.Pin != "" {
			text += " always on " + string(route.Pin)
		}
		if route.Follows != "" {
			text += " follows " + route.Follows
		}
		if route.By != "" {
			text += " by " + string(route.By)
		}
		texts[route.Name], order = text, withName(order, route.Name)
	}
	return texts, order
}

func (p Plan) jobTexts(order []string) (map[string]string, []string) {
	texts := map[string]string{}
	for _, job := range p.Jobs {
		texts[job.Name], order = fmt.Sprintf("by %s, assigned by %s", job.Owner, cmp.Or(job.Assign, "nothing")), withName(order, job.Name)
	}
	return texts, order
}

func groups(together [][]string) string {
	var texts []string
	for _, group := range together {
		texts = append(texts, strings.Join(group, " and "))
	}
	return strings.Join(texts, ", ")
}

func (p Plan) stepTexts(order []string) (map[string]string, []string) {
	texts := map[string]string{}
	for _, step := range p.Steps {
		text := fmt.Sprintf("phase %s, %s, bakes %gs", step.Phase, step.Label, step.Bake)
		for _, w := range step.Weights {
			text += fmt.Sprintf(", %s %s %%", w.Route, w.Weight)
		}
		for _, job := range step.Jobs {
			text += fmt.Sprintf(", %s by %s", job.Name, job.Owner)
		}
		if step.Work != NoWork {
			text += ", " + string(step.Work)
		}
		if gates := append(slices.Clone(step.Before), step.After...); len(gates) > 0 {
			text += ", gates " + strings.Join(gates, " ")
		}
		texts[step.Name], order = text, withName(order, step.Name)
	}
	return texts, order
}

func withName(order []string, name string) []string {
	if slices.Contains(order, name) {
		return order
	}
	return append(order, name)
}
