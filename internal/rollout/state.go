// Package rollout holds the rules of a migration as pure functions: from a
// state and a wish to the next state and the event that explains it, or to a
// refusal. Nothing here reads a clock, a file or the network.
package rollout

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cutover-dev/cutover/internal/edge"
)

// SchemaVersion is the version of the documents that hold a State.
const SchemaVersion = 1

// State is where the migration stands. Its generation grows with every change.
// While it is latched, after a rollback, every weight is 0.
type State struct {
	SchemaVersion int         `json:"schema_version"`
	Generation    uint64      `json:"generation"`
	Phase         string      `json:"phase"`              // of the step under way, or of the last one that was completed
	Step          string      `json:"step"`               // the last one that was completed, "" before the first
	Progress      *Progress   `json:"progress,omitempty"` // the step under way, if any
	Paused        bool        `json:"paused"`
	PauseReason   string      `json:"pause_reason"`
	Latched       bool        `json:"latched"`
	LatchReason   string      `json:"latch_reason"`
	OneWay        string      `json:"one_way,omitempty"` // the step after whose beginning there is no way back
	Home          edge.System `json:"home"`              // go once python is stopped for good
	Plan          PlanID      `json:"plan"`
	Routes        []Route     `json:"routes"`
	First         []string    `json:"first,omitempty"` // visitors who are on go at any weight above 0
	Last          []string    `json:"last,omitempty"`  // visitors who are on python at any weight below 100
	Jobs          []Job       `json:"jobs,omitempty"`
	Acks          []Ack       `json:"acks,omitempty"`
	Findings      []Finding   `json:"findings,omitempty"`
	Changed       Change      `json:"changed"`
}

// Progress is a step that was begun: its weights are applied, and it bakes
// until it is completed.
type Progress struct {
	Phase string `json:"phase"`
	Step  string `json:"step"`
	Since Time   `json:"since"`
	Actor string `json:"actor"`
}

// Job is something that is done in the background by the clock, by one of the
// two systems.
type Job struct {
	Name    string      `json:"name"`
	Owner   edge.System `json:"owner"`
	Initial edge.System `json:"initial"` // whose it is again after a rollback
}

// Change says who changed the state last.
type Change struct {
	Actor  string `json:"actor"`
	Action Action `json:"action"`
	Step   string `json:"step,omitempty"`
	Time   Time   `json:"time"`
}

// Route is one part of the application and the share of it that go serves.
// A pinned route belongs to one system and has no weight; one that follows
// another goes where that one's pages are.
type Route struct {
	Name    string      `json:"name"`
	Prefix  string      `json:"prefix"`
	Weight  edge.Weight `json:"weight"`
	Pin     edge.System `json:"pin"`
	Follows string      `json:"follows,omitempty"`
	By      edge.Split  `json:"by,omitempty"` // what a visitor's bucket is made from
}

// PlanID names the plan that a state follows.
type PlanID struct {
	Name string `json:"name"`
	Hash string `json:"hash"`
}

// NewState is the state before the first plan.
func NewState(home edge.System) State {
	return State{SchemaVersion: SchemaVersion, Home: home, Routes: []Route{}}
}

// Table is what the edge has to apply to be in this state.
func (s State) Table() edge.Table {
	table := edge.Table{
		Generation: s.Generation,
		Latched:    s.Latched,
		Home:       s.Home,
		Routes:     make([]edge.Route, 0, len(s.Routes)),
		First:      s.First,
		Last:       s.Last,
	}
	for _, route := range s.Routes {
		table.Routes = append(table.Routes, edge.Route{
			Name:    route.Name,
			Prefix:  route.Prefix,
			Weight:  route.Weight,
			Pin:     route.Pin,
			Follows: route.Follows,
			By:      route.By,
		})
	}
	return table
}

// Validate tells whether a state that was read from a file may be used.
func (s State) Validate() error {
	if s.SchemaVersion != SchemaVersion {
		return fmt.Errorf("it has schema version %d, this guard knows %d", s.SchemaVersion, SchemaVersion)
	}
	if s.Latched && s.moved() {
		return errors.New("it is latched, but has routes with a weight")
	}
	if s.Home == edge.Go && !s.Latched && s.leavesSomethingOn(edge.Python) {
		return errors.New("python is stopped for good, but has a share of a route")
	}
	return s.Table().Validate()
}

// Private

// next is a copy with the following generation; its routes may be changed.
func (s State) next() State {
	s.SchemaVersion = SchemaVersion
	s.Generation++
	s.Routes = slices.Clone(s.Routes)
	return s
}

// movable tells whether a route has a weight of its own.
func (r Route) movable() bool {
	return r.Pin == "" && r.Follows == ""
}

// leavesSomethingOn tells whether a system serves a share of any route.
func (s State) leavesSomethingOn(system edge.System) bool {
	return slices.ContainsFunc(s.Routes, func(r Route) bool {
		return r.Pin == system || r.movable() && (system == edge.Python && r.Weight < edge.AllGo || system == edge.Go && r.Weight > 0)
	})
}

func (s State) find(name string) int {
	return slices.IndexFunc(s.Routes, func(r Route) bool { return r.Name == name })
}

func (s State) moved() bool {
	return slices.ContainsFunc(s.Routes, func(r Route) bool { return r.Weight != 0 })
}

func (s *State) zero() {
	for i := range s.Routes {
		s.Routes[i].Weight = 0
	}
}

// fill gives go all of every route that has a weight.
func (s *State) fill() {
	for i, route := range s.Routes {
		if route.movable() {
			s.Routes[i].Weight = edge.AllGo
		}
	}
}

// stepInSight is the step under way, else the last one that was completed.
func (s State) stepInSight() string {
	if s.Progress != nil {
		return s.Progress.Step
	}
	return s.Step
}
