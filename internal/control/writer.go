package control

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
)

const (
	edgeTimeout    = time.Second
	reconcileEvery = time.Second
	pythonWait     = 10 * time.Second
	longestWait    = time.Minute
)

// Edge is what the writer needs of the edge.
type Edge interface {
	// Apply returns nil once every next request goes where the table says.
	Apply(ctx context.Context, table edge.Table) error
	Table(ctx context.Context) (edge.Table, error)
}

// PythonProbe asks whether python answers, the way that users reach it.
type PythonProbe interface {
	Wait(ctx context.Context, limit time.Duration) (guard.Answer, error)
}

// Writer moves traffic and records it, one move at a time. A move forward is
// recorded before it is applied and a move back is applied before it is
// recorded, so that what is found after a crash is never further forward than
// what was decided.
type Writer struct {
	edge   Edge
	python PythonProbe
	store  *store.Store
	log    *slog.Logger
	turn   chan struct{} // holds a token while nobody moves anything

	// The following belong to whoever has the turn.
	unrecorded []*rollout.Event // moves back that the disk did not take yet
	tableStale bool             // nginx's saved copy may not be that of the state
	glassSeen  bool             // the glass was broken at the last look

	mu    sync.Mutex
	state rollout.State // written by whoever has the turn
	plan  rollout.Plan  // likewise
	seen  EdgeStatus    // without InSync
	table edge.Table    // that the edge had when it was last seen
	// glassTold is what nginx itself said last of its glass.
	glassTold bool
	jobs      jobsSeen
}

// NewWriter continues from the recorded state. Where there is none it starts
// with everything at home, which is what the home file says, else the argument.
func NewWriter(s *store.Store, e Edge, python PythonProbe, home edge.System, log *slog.Logger) *Writer {
	w := &Writer{
		edge:       e,
		python:     python,
		store:      s,
		log:        log,
		turn:       make(chan struct{}, 1),
		tableStale: true,
		state:      s.State(),
		plan:       s.Plan(),
		seen:       EdgeStatus{Error: "The edge was not asked yet."},
	}
	if recorded := s.Home(); recorded != "" {
		home = recorded
	}
	if w.state.Generation == 0 {
		w.state = rollout.NewState(home)
	}
	w.turn <- struct{}{}
	return w
}

// Run makes edge and record agree, now and every second, until the context
// ends.
func (w *Writer) Run(ctx context.Context) {
	ticker := time.NewTicker(reconcileEvery)
	defer ticker.Stop()
	for problem := ""; ; {
		problem = w.report(w.Reconcile(ctx), problem)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Close waits for the move that is under way, tries once more to record what
// is not recorded yet, and lets nothing move any more.
func (w *Writer) Close(ctx context.Context) error {
	if err := w.takeTurn(ctx); err != nil {
		return err
	}
	if len(w.unrecorded) == 0 {
		return nil
	}
	return w.persist()
}

// State is where the migration stands.
func (w *Writer) State() rollout.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Status is the state together with what the edge was last seen to have.
func (w *Writer) Status() (rollout.State, EdgeStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	status := w.seen
	status.InSync = status.Reachable && rollout.InSync(w.state, w.table)
	return w.state, status
}

// Plan is the plan that the state follows; it is empty where it was lost.
func (w *Writer) Plan() rollout.Plan {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan.Hash != w.state.Plan.Hash {
		return rollout.Plan{}
	}
	return w.plan
}

// AdoptPlan makes the guard follow a plan.
func (w *Writer) AdoptPlan(ctx context.Context, r PlanRequest) (Moved, error) {
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		if w.Plan().Hash == "" {
			state.Plan = rollout.PlanID{} // its steps were lost with the record
		}
		return state.AdoptPlan(r.Plan, cause(r.Actor, "adopted plan "+r.Plan.Name, nil))
	})
}

// Begin applies the next step of the plan, through its gates.
func (w *Writer) Begin(ctx context.Context, r StepRequest) (Moved, error) {
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		return state.Begin(w.Plan(), r.step(), r.cause())
	})
}

// Complete ends the step under way, through its gates.
func (w *Writer) Complete(ctx context.Context, r StepRequest) (Moved, error) {
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		return state.Complete(w.Plan(), r.step(), r.cause())
	})
}

// Pause keeps every step from beginning or being completed.
func (w *Writer) Pause(ctx context.Context, r PauseRequest) (Moved, error) {
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		return state.Pause(cause(r.Actor, r.Reason, nil))
	})
}

// CloseWay records that there is no way back from now on.
func (w *Writer) CloseWay(ctx context.Context, r CloseRequest) (Moved, error) {
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		return state.Close(r.What, r.Generation, cause(r.Actor, r.Reason, nil))
	})
}

// Find records what a command has found out.
func (w *Writer) Find(ctx context.Context, r FindingRequest) (Moved, error) {
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		finding := rollout.Finding{Name: r.Name, Verdict: r.Verdict, Summary: r.Summary, Context: r.Context}
		return state.Find(finding, cause(r.Actor, r.Summary, r.Evidence))
	})
}

// Route sets the weight of one route, for whoever names the current generation.
// Raising it is a move forward, refused while it cannot be recorded. Lowering
// it is a move back: applied at once, and recorded when the disk takes it.
func (w *Writer) Route(ctx context.Context, r RouteRequest) (Moved, error) {
	if r.Weight == nil {
		return Moved{}, &rollout.Refusal{Code: rollout.Invalid, Message: "The request does not name a weight."}
	}
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		return state.Route(w.Plan(), r.Route, *r.Weight, r.Generation, cause(r.Actor, r.Reason, nil))
	})
}

// Resume releases the latch or the pause.
func (w *Writer) Resume(ctx context.Context, r ResumeRequest) (Moved, error) {
	return w.move(ctx, func(state rollout.State) (rollout.State, *rollout.Event, error) {
		return state.Resume(r.Generation, cause(r.Actor, r.Reason, nil))
	})
}

// Rollback takes everything back to python, provided that python answers, and
// latches it there. While the glass is broken that was done already, and is
// recorded if it was not.
func (w *Writer) Rollback(ctx context.Context, r RollbackRequest) (Moved, error) {
	if r.Actor == "" {
		r.Actor = "unknown"
	}
	evidence := map[string]any{"cause": causeOperator, "force": r.Force}
	_, broken := w.Glass()
	if !r.Force && !broken && !w.State().Latched {
		answer, err := w.pythonAnswer(ctx, time.Duration(r.LegacyWaitMS)*time.Millisecond)
		if err != nil {
			return Moved{}, err
		}
		evidence["legacy_status"] = answer.Status
		evidence["legacy_ms"] = answer.Took.Milliseconds()
	}
	if err := w.takeTurn(ctx); err != nil {
		return Moved{}, err
	}
	defer w.endTurn()
	ctx = context.WithoutCancel(ctx) // a move that began is finished
	why := cause(r.Actor, r.Reason, evidence)
	if actual, err := w.readEdge(ctx); err == nil {
		w.queue(w.reconciled(actual))
	}
	if glass, broken := w.Glass(); broken {
		why = causeOf(glass) // that is what moved everything
	}
	after, event, err := w.State().Rollback(w.Plan(), why)
	if err != nil {
		return Moved{}, err
	}
	moved, _ := w.moveBack(ctx, after, event) // what is not complete is in the answer
	return moved, nil
}

// Private

func (r StepRequest) step() rollout.StepRequest {
	return rollout.StepRequest{Step: r.Step, Generation: r.Generation, Gates: r.Gates, Acks: r.Acks, Context: r.Context}
}

func (r StepRequest) cause() rollout.Cause {
	return cause(r.Actor, r.Reason, map[string]any{"gates": r.Gates, "acks": r.Acks, "context": r.Context})
}

func cause(actor, reason string, evidence map[string]any) rollout.Cause {
	return rollout.Cause{Actor: actor, Reason: reason, At: time.Now(), Evidence: evidence}
}

func (w *Writer) pythonAnswer(ctx context.Context, limit time.Duration) (guard.Answer, error) {
	switch {
	case limit < 0 || limit > longestWait:
		return guard.Answer{}, &rollout.Refusal{Code: rollout.Invalid, Message: fmt.Sprintf("legacy_wait_ms has to be from 0 to %d.", longestWait.Milliseconds())}
	case limit == 0:
		limit = pythonWait
	}
	answer, err := w.python.Wait(ctx, limit)
	if ctx.Err() != nil {
		return answer, fmt.Errorf("the rollback was given up before anything moved: %w", ctx.Err())
	}
	if err != nil {
		return answer, &Error{Code: LegacySilent, Message: sentence("Python does not answer: %s", err)}
	}
	return answer, nil
}

func (w *Writer) takeTurn(ctx context.Context) error {
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another move is under way: %w", ctx.Err())
	}
}

func (w *Writer) endTurn() {
	w.turn <- struct{}{}
}

// report logs a problem when it comes and when it is over, not every second.
func (w *Writer) report(err error, before string) string {
	switch {
	case err == nil && before != "":
		w.log.Info("edge and record agree again")
	case err != nil && err.Error() != before:
		w.log.Error("edge and record do not agree", "error", err)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}
