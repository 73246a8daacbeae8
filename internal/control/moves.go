package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Reconcile makes edge and record agree, without moving anything forward.
func (w *Writer) Reconcile(ctx context.Context) error {
	if err := w.takeTurn(ctx); err != nil {
		return err
	}
	defer w.endTurn()
	unapplied, unrecorded := w.reconcile(ctx)
	if unrecorded == nil {
		w.store.KeepReserve()
	}
	return errors.Join(unapplied, unrecorded)
}

// move carries out a change: forward or back, whichever it is.
func (w *Writer) move(ctx context.Context, change func(rollout.State) (rollout.State, *rollout.Event, error)) (Moved, error) {
	if err := w.takeTurn(ctx); err != nil {
		return Moved{}, err
	}
	defer w.endTurn()
	ctx = context.WithoutCancel(ctx) // a move that began is finished

	unapplied, unrecorded := w.reconcile(ctx)
	before := w.State()
	after, event, err := change(before)
	glass, broken := w.Glass()
	switch {
	case broken && (err != nil || event != nil):
		return Moved{}, glassBroken(glass)
	case err != nil:
		return Moved{}, err
	case event == nil:
		return Moved{Applied: unapplied == nil, Recorded: unrecorded == nil, State: before}, nil
	case unapplied != nil:
		return Moved{}, unapplied
	case rollout.OnlyLowers(before, after):
		return w.lower(ctx, after, event)
	case unrecorded != nil:
		return Moved{}, notRecorded(unrecorded)
	default:
		return w.moveForward(ctx, before, after, event)
	}
}

// moveForward carries out a change that may move traffic to go: recorded
// first, applied afterwards, and taken back if it cannot be applied.
func (w *Writer) moveForward(ctx context.Context, before, after rollout.State, event *rollout.Event) (Moved, error) {
	committed, err := w.store.Commit(*event)
	if err != nil {
		return Moved{}, notRecorded(err)
	}
	w.setState(after, event)
	if err := w.apply(ctx); err != nil {
		return Moved{}, w.undo(ctx, before, err)
	}
	return Moved{Applied: true, Recorded: true, State: after, Event: &committed}, nil
}

// undo takes back a move that was recorded and that the edge did not take.
func (w *Writer) undo(ctx context.Context, before rollout.State, failure error) error {
	evidence := map[string]any{"error": failure.Error()}
	w.queue(rollout.Undo(w.State(), before, cause("guard", "The edge did not take the move.", evidence)))
	if err := errors.Join(w.apply(ctx), w.persist()); err != nil {
		w.log.Error("taking back a move is not complete, trying again every second", "error", err)
	}
	return edgeError("The move was taken back, because of the edge: %s", failure)
}

// lower moves a part of the traffic back. An edge that does not take it is an
// error, although it gets the change as soon as it can.
func (w *Writer) lower(ctx context.Context, after rollout.State, event *rollout.Event) (Moved, error) {
	moved, problem := w.moveBack(ctx, after, event)
	if !moved.Applied {
		return Moved{}, edgeError("Generation %d is not applied yet, the guard tries again every second: %s", after.Generation, problem)
	}
	return moved, nil
}

// moveBack carries out a change that moves traffic only to python: applied
// first, recorded afterwards. What edge or disk do not take is tried again
// every second.
func (w *Writer) moveBack(ctx context.Context, after rollout.State, event *rollout.Event) (Moved, error) {
	w.queue(after, event)
	unapplied := w.apply(ctx)
	if isGlassBroken(unapplied) {
		unapplied = nil // everything is on python
	}
	unrecorded := w.persist()
	problem := errors.Join(unapplied, unrecorded)
	if problem != nil {
		w.log.Error("a move back is not complete, trying again every second", "error", problem)
	}
	if event != nil {
		copied := *event // the queued one gets its number whenever it is recorded
		event = &copied
	}
	return Moved{Applied: unapplied == nil, Recorded: unrecorded == nil, State: after, Event: event}, problem
}

// reconcile makes edge and record agree; it is done every second and before
// every move.
func (w *Writer) reconcile(ctx context.Context) (unapplied, unrecorded error) {
	actual, err := w.readEdge(ctx)
	if glass, broken := w.Glass(); broken {
		w.followGlass(glass)
		return nil, w.persist()
	}
	w.glassMended()
	if err != nil {
		if len(w.unrecorded) > 0 {
			unrecorded = w.persist()
		}
		// An nginx that starts now reads its saved copy, which is never
		// further forward than what it had; the record may be.
		return err, unrecorded
	}
	w.queue(w.reconciled(actual))
	if !rollout.InSync(w.State(), actual) {
		unapplied = w.apply(ctx)
	}
	return unapplied, w.persist()
}

func (w *Writer) reconciled(actual edge.Table) (rollout.State, *rollout.Event) {
	recorded := w.State()
	evidence := map[string]any{"recorded_generation": recorded.Generation, "edge_generation": actual.Generation}
	return rollout.Reconcile(recorded, actual, cause("guard", "Edge and record were not the same.", evidence))
}

// apply gives the edge the table of the state, which the edge's client reads
// back. It leaves alone an nginx that was taken out of the guard's hands.
func (w *Writer) apply(ctx context.Context) error {
	if glass, broken := w.store.BreakGlass(); broken {
		w.sawGlass(glass)
		return glassBroken(glass)
	}
	ctx, cancel := context.WithTimeout(ctx, edgeTimeout)
	defer cancel()
	table := w.State().Table()
	err := w.edge.Apply(ctx, table)
	w.saw(table, err)
	if glass, broken := w.Glass(); broken && err != nil {
		return glassBroken(glass)
	}
	if err != nil {
		return edgeError("The edge did not take generation %d: %s", table.Generation, err)
	}
	return nil
}

func (w *Writer) readEdge(ctx context.Context) (edge.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, edgeTimeout)
	defer cancel()
	table, err := w.edge.Table(ctx)
	if err == nil && !rollout.InSync(w.State(), table) {
		err = table.Validate() // what cannot be read back from the record must not get into it
	}
	w.saw(table, err)
	if err != nil {
		return table, edgeError("The edge's table cannot be read: %s", err)
	}
	return table, nil
}

// queue makes the state after an event the present one; persist records it.
func (w *Writer) queue(after rollout.State, event *rollout.Event) {
	if event == nil {
		return
	}
	w.setState(after, event)
	w.unrecorded = append(w.unrecorded, event)
	w.tableStale = true
}

// persist records what is queued: moves back, which may take the last space of
// the disk. While the disk does not take it, nginx has to start without its
// saved copy rather than with one that is further forward.
func (w *Writer) persist() error {
	var problems []error
	if table := w.State().Table(); w.tableStale && table.Generation > 0 {
		err := w.store.SaveTable(table)
		if len(w.unrecorded) > 0 && w.madeSpace(err) {
			err = w.store.SaveTable(table)
		}
		w.tableStale = err != nil
		if err != nil && len(w.unrecorded) > 0 {
			err = errors.Join(err, w.store.DropTable())
		}
		problems = append(problems, err)
	}
	for len(w.unrecorded) > 0 {
		committed, err := w.store.Commit(*w.unrecorded[0])
		if w.madeSpace(err) {
			committed, err = w.store.Commit(*w.unrecorded[0])
		}
		if err != nil {
			problems = append(problems, err)
			break
		}
		*w.unrecorded[0] = committed
		w.unrecorded = w.unrecorded[1:]
	}
	return errors.Join(problems...)
}

// madeSpace tells whether trying again makes sense, after there was no space.
func (w *Writer) madeSpace(err error) bool {
	return (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && w.store.SpendReserve()
}

func (w *Writer) setState(state rollout.State, event *rollout.Event) {
	w.log.Info("the state changes", "action", event.Action, "generation", event.Generation, "actor", event.Actor, "reason", event.Reason)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = state
	if event.Plan != nil {
		w.plan = *event.Plan
	}
}

func (w *Writer) saw(table edge.Table, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.glassTold = tellsGlass(err)
	if err != nil {
		w.seen.Reachable, w.seen.Error = false, err.Error()
		return
	}
	w.seen = EdgeStatus{Reachable: true, Generation: table.Generation}
	w.table = table
}

func edgeError(format string, args ...any) error {
	return &Error{Code: EdgeUnreachable, Message: sentence(format, args...)}
}

func notRecorded(err error) error {
	return &Error{Code: Internal, Message: sentence("Nothing was moved, because it could not be recorded: %s", err)}
}

// sentence ends with one full stop, whatever the error in it ends with.
func sentence(format string, args ...any) string {
	return strings.TrimRight(fmt.Sprintf(format, args...), ".\n") + "."
}
