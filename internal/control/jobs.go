package control

import (
	"context"
	"slices"
	"time"

	"github.com/cutover-dev/cutover/internal/rollout"
)

const (
	lookEvery     = 200 * time.Millisecond // for other owners
	assignTimeout = 5 * time.Second
	// retryAfter is how long a database that failed is left alone.
	retryAfter = time.Second
	// assignAgain is how often what is right is said again, in case somebody
	// changed the database by hand.
	assignAgain = 30 * time.Second
)

// Assign gives background jobs to their owners, in the database that both
// systems share.
type Assign func(ctx context.Context, jobs []rollout.PlanJob) error

// jobsSeen is what became of the jobs' owners.
type jobsSeen struct {
	assigned []rollout.Job // as the database has them
	problem  string
}

// KeepJobs has each background job belong to whom the state says, until the
// context ends. A database that is away gets it when it is back: that is never
// waited for.
func (w *Writer) KeepJobs(ctx context.Context, assign Assign) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var said time.Time
	for {
		state := w.State()
		_, problem := w.JobsAssigned()
		due := !slices.Equal(w.jobsAssigned(), state.Jobs) && (problem == "" || time.Since(said) >= retryAfter)
		if due || time.Since(said) >= assignAgain {
			w.assignJobs(ctx, assign, state)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// JobsAssigned tells whether the database has the owners of the state, and what
// was wrong when it was last told.
func (w *Writer) JobsAssigned() (assigned bool, problem string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Equal(w.jobs.assigned, w.state.Jobs), w.jobs.problem
}

// Private

func (w *Writer) jobsAssigned() []rollout.Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.jobs.assigned
}

func (w *Writer) assignJobs(ctx context.Context, assign Assign, state rollout.State) {
	plan, statements := w.Plan(), map[string]string{}
	for _, job := range plan.Jobs {
		statements[job.Name] = job.Assign
	}
	var jobs []rollout.PlanJob
	for _, job := range state.Jobs {
		if statement := statements[job.Name]; statement != "" {
			jobs = append(jobs, rollout.PlanJob{Name: job.Name, Owner: job.Owner, Assign: statement})
		}
	}
	problem := ""
	switch {
	case len(state.Jobs) > 0 && plan.Hash == "":
		problem = "The plan was lost, and with it how the background jobs are given to their owners; cutover plan --adopt brings it back."
	case len(jobs) > 0:
		ctx, cancel := context.WithTimeout(ctx, assignTimeout)
		defer cancel()
		if err := assign(ctx, jobs); err != nil {
			problem = sentence("The background jobs could not be given to their owners: %s", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if problem != "" && w.jobs.problem == "" {
		w.log.Error("the background jobs have other owners than they should", "error", problem)
	}
	w.jobs.problem = problem
	if problem == "" {
		w.jobs.assigned = state.Jobs
	}
}
