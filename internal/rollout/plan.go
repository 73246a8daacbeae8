package rollout

import (
	"slices"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Plan is what the guard has to know of a plan file: its identity, the routes
// in the order of their migration, the visitors who go first or last, and the
// steps.
type Plan struct {
	Name     string      `json:"name"`
	Hash     string      `json:"hash"`
	Routes   []PlanRoute `json:"routes"`
	First    []string    `json:"first,omitempty"`
	Last     []string    `json:"last,omitempty"`
	Together [][]string  `json:"together,omitempty"` // routes that have one weight
	Jobs     []PlanJob   `json:"jobs,omitempty"`
	Steps    []Step      `json:"steps,omitempty"`
}

// PlanRoute is a route as the plan declares it.
type PlanRoute struct {
	Name    string      `json:"name"`
	Prefix  string      `json:"prefix"`
	Pin     edge.System `json:"pin"`
	Follows string      `json:"follows"`
	By      edge.Split  `json:"by,omitempty"`
}

// PlanJob is a background job and whose it is before the migration.
type PlanJob struct {
	Name   string      `json:"name"`
	Owner  edge.System `json:"owner"`
	Assign string      `json:"assign,omitempty"` // SQL that gives the job $1 to the system $2
}

// Step is a move forward, as the plan declares it.
type Step struct {
	Phase string `json:"phase"`
	Name  string `json:"name"`
	Label Label  `json:"label"`
	// Weights and Jobs are those that this step changes; all others stay as
	// the steps before it left them.
	Weights []StepWeight `json:"weights,omitempty"`
	Jobs    []PlanJob    `json:"jobs,omitempty"`
	Work    Work         `json:"work,omitempty"` // what is done besides
	Before  []string     `json:"before,omitempty"`
	After   []string     `json:"after,omitempty"`
	Bake    float64      `json:"bake_s"` // how long it is watched before it is completed, in seconds
}

// StepWeight is the weight of a route from a step on.
type StepWeight struct {
	Route  string      `json:"route"`
	Weight edge.Weight `json:"weight"`
}

// Label says what it takes to go back behind a step.
type Label string

// The labels. Lossy: something is lost on the way back, which the plan says.
// One-way: there is no way back.
const (
	Safe   Label = "safe"
	Lossy  Label = "lossy"
	OneWay Label = "one-way"
)

// Work is what a step does besides moving traffic and jobs; the command
// carries it out.
type Work string

// The kinds of work.
const (
	NoWork         Work = ""
	ExpandSchema   Work = "expand-schema"   // what go needs is added to the database
	StopPython     Work = "stop-python"     // home becomes go, python's service is stopped
	ArchivePython  Work = "archive-python"  // its image and source are kept in one archive
	ContractSchema Work = "contract-schema" // what only python needs is taken away from the database
	RemovePython   Work = "remove-python"   // its container is removed
)

// AdoptPlan makes the state follow a plan. While traffic is moved or latched
// the plan has to have the same routes, and the step that the state is at with
// the same weights; otherwise everything starts at weight 0. A nil event means
// that the state follows this plan already.
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
	case (!first || s.stepInSight() != "" || len(s.Jobs) > 0) && s.fits(plan):
		// Neither the routing nor where the migration stands is touched.
	case first && s.hasRoutesOf(plan):
		// The state was lost and its weights were taken from the edge: they
		// and the latch stay as they are.
		after.Jobs = plan.jobsAt(s.Home)
		after.Step = plan.furthest(after)
		if s.Progress != nil && plan.find(s.Progress.Step) < 0 {
			after.Progress = nil
		}
	case s.moved():
		return s, nil, refuse(PlanDiffers, "The guard follows plan %q, and traffic has been moved; another plan can be adopted when every weight is 0, or if it has the same routes, and the same weights up to the step that is reached.", s.Plan.Name)
	case s.Latched && !first:
		return s, nil, refuse(PlanDiffers, "The guard follows plan %q and is latched since a rollback; another plan can be adopted after a resume.", s.Plan.Name)
	default:
		after.Routes = plan.routes()
		after.First, after.Last = plan.First, plan.Last
		after.Jobs = plan.jobs()
		after.Step, after.Progress = "", nil
		after = after.settle()
	}
	after.Phase = plan.phaseOf(after.stepInSight())
	after, event := changed(ActionPlan, s, after, cause)
	event.Plan = &plan
	return after, event, nil
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
	return p.validateSteps()
}

// validateSteps refuses what would break the rules later; the plan file's own
// validation says much more.
func (p Plan) validateSteps() error {
	routes, jobs, names := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, route := range p.routes() {
		routes[route.Name] = route.movable()
	}
	for _, job := range p.Jobs {
		jobs[job.Name] = true
	}
	for _, step := range p.Steps {
		if step.Name == "" || names[step.Name] {
			return refuse(Invalid, "The plan %q has a step without a name, or two of the name %q.", p.Name, step.Name)
		}
		names[step.Name] = true
		for _, w := range step.Weights {
			if !routes[w.Route] || w.Weight < 0 || w.Weight > edge.AllGo {
				return refuse(Invalid, "The step %s gives a weight to %q, which has none.", step.Name, w.Route)
			}
		}
		for _, job := range step.Jobs {
			if !jobs[job.Name] || !job.Owner.Valid() {
				return refuse(Invalid, "The step %s gives %q an owner, which is no job.", step.Name, job.Name)
			}
		}
		switch step.Work {
		case NoWork, ExpandSchema, StopPython, ArchivePython, ContractSchema, RemovePython:
		default:
			return refuse(Invalid, "The step %s has the work %q, which this guard does not know.", step.Name, step.Work)
		}
	}
	return nil
}

func (p Plan) routes() []Route {
	routes := make([]Route, 0, len(p.Routes))
	for _, route := range p.Routes {
		routes = append(routes, Route{Name: route.Name, Prefix: route.Prefix, Pin: route.Pin, Follows: route.Follows, By: route.By})
	}
	return routes
}

func (p Plan) jobs() []Job {
	var jobs []Job
	for _, job := range p.Jobs {
		jobs = append(jobs, Job{Name: job.Name, Owner: job.Owner, Initial: job.Owner})
	}
	return jobs
}

// jobsAt are the jobs as they are with a home: python can do none any more
// where that is go.
func (p Plan) jobsAt(home edge.System) []Job {
	for i := range p.Steps {
		if t := p.target(i); t.home == edge.Go && home == edge.Go {
			return t.jobs
		}
	}
	return p.jobs()
}

func (s State) hasRoutesOf(plan Plan) bool {
	routes := plan.routes()
	if s.Home == edge.Go {
		routes = withoutPython(routes)
	}
	return slices.EqualFunc(s.Routes, routes, Route.sameAs) &&
		slices.Equal(s.First, plan.First) && slices.Equal(s.Last, plan.Last)
}

// fits tells whether a plan says the same as the present one about everything
// that is done already.
func (s State) fits(plan Plan) bool {
	if !s.hasRoutesOf(plan) || len(s.Jobs) != len(plan.Jobs) {
		return false
	}
	for i, job := range plan.Jobs {
		if s.Jobs[i].Name != job.Name || s.Jobs[i].Initial != job.Owner {
			return false
		}
	}
	if s.Progress != nil && plan.find(s.Progress.Step) < 0 {
		return false
	}
	return s.Step == "" || plan.find(s.Step) >= 0 && plan.target(plan.find(s.Step)).reachedBy(s)
}

func (r Route) sameAs(other Route) bool {
	return r.Name == other.Name && r.Pin == other.Pin && r.Follows == other.Follows && r.Prefix == other.Prefix && r.By == other.By
}
