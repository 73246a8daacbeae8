package rollout

import (
	"encoding/json"
	"time"
)

// Action names what an event did.
type Action string

// The actions that a journal holds.
const (
	ActionPlan      Action = "plan"
	ActionRoute     Action = "route"
	ActionBegin     Action = "begin"    // a step's weights were applied
	ActionComplete  Action = "complete" // a step's checks after its bake have passed
	ActionPause     Action = "pause"
	ActionClose     Action = "close"   // the way back was closed outside of the plan's steps
	ActionFinding   Action = "finding" // a command found something out that a gate asks for
	ActionRollback  Action = "rollback"
	ActionResume    Action = "resume"
	ActionReconcile Action = "reconcile"
)

// Cause is who wishes a change, why and when.
type Cause struct {
	Actor    string
	Reason   string
	At       time.Time
	Evidence map[string]any
}

// time is when it was wished, as precise as it is written down.
func (c Cause) time() Time {
	return Time{c.At.UTC().Truncate(time.Millisecond)}
}

// Event is one change of the state: a line of the journal.
type Event struct {
	Seq        uint64         `json:"seq"`
	Time       Time           `json:"time"`
	Generation uint64         `json:"generation"`
	Actor      string         `json:"actor"`
	Action     Action         `json:"action"`
	Reason     string         `json:"reason"`
	Before     State          `json:"before"`
	After      State          `json:"after"`
	Evidence   map[string]any `json:"evidence"`
	// Plan is the plan that the guard follows from here on, in events of
	// ActionPlan alone.
	Plan *Plan `json:"plan,omitempty"`
}

// changed notes in the next state who made it, and describes the change.
func changed(action Action, before, after State, cause Cause) (State, *Event) {
	evidence := cause.Evidence
	if evidence == nil {
		evidence = map[string]any{}
	}
	after.Changed = Change{Actor: cause.Actor, Action: action, Step: after.stepInSight(), Time: cause.time()}
	return after, &Event{
		Time:       cause.time(),
		Generation: after.Generation,
		Actor:      cause.Actor,
		Action:     action,
		Reason:     cause.Reason,
		Before:     before,
		After:      after,
		Evidence:   evidence,
	}
}

// Time is written in UTC and always with three decimals, so that the lines of
// a journal sort as text.
type Time struct {
	time.Time
}

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// MarshalJSON writes the time in UTC with milliseconds.
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Format(timeLayout))
}
