// Package control is the only way to the routing: the writer that moves it,
// the guard's HTTP API around the writer, and the API's client.
package control

import (
	"net/http"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Status is what GET /v1/status answers.
type Status struct {
	SchemaVersion int           `json:"schema_version"`
	State         rollout.State `json:"state"`
	Edge          EdgeStatus    `json:"edge"`
	BreakGlass    BreakGlass    `json:"break_glass"`
	// Armed tells whether the guard would take traffic back by itself; nil
	// where it has no rules to do so.
	Armed *bool `json:"armed,omitempty"`
	// JobsAssigned tells whether each background job has the owner that it
	// should have, as far as the database was asked.
	JobsAssigned bool   `json:"jobs_assigned"`
	JobsError    string `json:"jobs_error"`
	// Measured is the share of go in percent over the last 10 s by route, nil
	// without requests.
	Measured map[string]*float64 `json:"measured"`
}

// EdgeStatus is what is known of the edge.
type EdgeStatus struct {
	Reachable  bool   `json:"reachable"`
	Generation uint64 `json:"generation"`
	InSync     bool   `json:"in_sync"` // it has the table of the state
	Error      string `json:"error"`
}

// BreakGlass tells whether somebody took nginx out of the guard's hands: it
// serves python only, without a table, until it is given back.
type BreakGlass struct {
	Active bool   `json:"active"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	Time   string `json:"time"` // as it was written down
}

// Moved is the answer to a request that changes the state.
type Moved struct {
	Applied  bool           `json:"applied"`  // the edge has it
	Recorded bool           `json:"recorded"` // the disk has it
	State    rollout.State  `json:"state"`
	Event    *rollout.Event `json:"event"` // nil when nothing had to change
}

// StepRequest is the body of POST /v1/begin and of POST /v1/complete.
type StepRequest struct {
	Actor      string               `json:"actor"`
	Reason     string               `json:"reason"`
	Step       string               `json:"step"`
	Generation uint64               `json:"generation"`
	Gates      []rollout.GateResult `json:"gates"`
	Acks       map[string]string    `json:"acks"`    // reasons by gate
	Context    string               `json:"context"` // what the evidence is about
}

// PauseRequest is the body of POST /v1/pause.
type PauseRequest struct {
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// CloseRequest is the body of POST /v1/close.
type CloseRequest struct {
	Actor      string `json:"actor"`
	Reason     string `json:"reason"`
	What       string `json:"what"` // closes the way back
	Generation uint64 `json:"generation"`
}

// FindingRequest is the body of POST /v1/finding.
type FindingRequest struct {
	Actor    string          `json:"actor"`
	Name     string          `json:"name"`
	Verdict  rollout.Verdict `json:"verdict"`
	Summary  string          `json:"summary"`
	Context  string          `json:"context"`
	Evidence map[string]any  `json:"evidence"` // for the journal
}

// PlanRequest is the body of PUT /v1/plan.
type PlanRequest struct {
	Actor string       `json:"actor"`
	Plan  rollout.Plan `json:"plan"`
}

// RouteRequest is the body of POST /v1/route.
type RouteRequest struct {
	Route      string       `json:"route"`
	Weight     *edge.Weight `json:"weight"`
	Generation uint64       `json:"generation"`
	Actor      string       `json:"actor"`
	Reason     string       `json:"reason"`
}

// RollbackRequest is the body of POST /v1/rollback.
type RollbackRequest struct {
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	// Force moves traffic even if python does not answer.
	Force bool `json:"force"`
	// LegacyWaitMS is how long python may take to answer; 0 means 10 s.
	LegacyWaitMS int64 `json:"legacy_wait_ms"`
}

// ResumeRequest is the body of POST /v1/resume.
type ResumeRequest struct {
	Actor      string `json:"actor"`
	Reason     string `json:"reason"`
	Generation uint64 `json:"generation"`
}

// The API's error codes besides those of rollout.
const (
	LegacySilent    rollout.Code = "legacy_silent"
	EdgeUnreachable rollout.Code = "edge_unreachable"
	GlassBroken     rollout.Code = "break_glass"
	Internal        rollout.Code = "internal"
)

// Error is an error of the API.
type Error struct {
	Code    rollout.Code `json:"code"`
	Message string       `json:"message"`
}

// Error is the message.
func (e *Error) Error() string {
	return e.Message
}

// Failure is the body of an answer that is an error.
type Failure struct {
	Error Error `json:"error"`
}

// httpStatus is the HTTP status of an error code.
func httpStatus(code rollout.Code) int {
	switch code {
	case rollout.Stale, rollout.PlanDiffers, rollout.GateClosed, rollout.OutOfOrder, rollout.NoWayBack, GlassBroken:
		return http.StatusConflict
	case rollout.Latched, rollout.Paused:
		return http.StatusLocked
	case rollout.UnknownRoute:
		return http.StatusNotFound
	case rollout.Invalid:
		return http.StatusUnprocessableEntity
	case LegacySilent, EdgeUnreachable:
		return http.StatusBadGateway
	default:
		return http.StatusInternalServerError
	}
}
