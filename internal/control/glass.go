package control

import (
	"errors"
	"strings"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
)

// The causes of rollbacks, as evidence.
const (
	causeOperator   = "operator"
	causeBreakGlass = "break-glass"
)

// While the glass is broken, nginx has everything on python, and no table. The
// record follows: it is latched, so that nothing goes forward again when nginx
// is given back.

// Glass tells whether the glass is broken: there is its file, or, where a full
// disk did not take that, nginx said so when it was asked last.
func (w *Writer) Glass() (store.BreakGlass, bool) {
	if glass, broken := w.store.BreakGlass(); broken {
		return glass, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return store.BreakGlass{Actor: "unknown", Reason: "nginx says so"}, w.glassTold
}

// Private

// followGlass makes the state what nginx was made to do without the guard.
func (w *Writer) followGlass(glass store.BreakGlass) {
	if !w.glassSeen {
		w.log.Warn("the glass is broken, nginx serves python only", "actor", glass.Actor, "reason", glass.Reason, "time", glass.Time)
	}
	w.glassSeen = true
	w.sawGlass(glass)
	after, event, err := w.State().Rollback(w.Plan(), causeOf(glass))
	if err != nil {
		w.log.Error("the glass was broken although there is no way back", "error", err)
		return
	}
	w.queue(after, event)
}

// glassMended notes that nginx was given back.
func (w *Writer) glassMended() {
	if w.glassSeen {
		w.log.Info("the glass is mended, nginx takes tables again")
	}
	w.glassSeen = false
}

func (w *Writer) sawGlass(glass store.BreakGlass) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen.Reachable, w.seen.Error = false, glassBroken(glass).Error()
}

func causeOf(glass store.BreakGlass) rollout.Cause {
	return cause(glass.Actor, glass.Reason, map[string]any{"cause": causeBreakGlass, "time": glass.Time})
}

func glassBroken(glass store.BreakGlass) error {
	return &Error{Code: GlassBroken, Message: sentence(
		"The glass is broken (%s: %s): nginx serves python only and takes no table until cutover resume gives it back", glass.Actor, glass.Reason)}
}

// tellsGlass tells how an nginx without tables refuses.
func tellsGlass(err error) bool {
	return err != nil && !errors.Is(err, edge.ErrUnreachable) && strings.Contains(err.Error(), "break-glass")
}

func isGlassBroken(err error) bool {
	found, ok := errors.AsType[*Error](err)
	return ok && found.Code == GlassBroken
}
