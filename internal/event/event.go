// Package event carries what happens during a long command from the code that
// does it to the renderer that shows it. The core emits and never prints.
package event

import (
	"time"
)

// Status says how far a subject has come.
type Status int

// The statuses, in the order in which a subject passes through them.
const (
	Working Status = iota // began, or reports progress
	Done
	Warning // done, with something to know
	Failed
)

// String returns the name used in JSON.
func (s Status) String() string {
	return [...]string{"working", "done", "warning", "failed"}[s]
}

// Event is one thing that happened to one subject.
type Event struct {
	Time    time.Time
	Subject string // "service flask", "image edge"
	Status  Status
	Text    string // a few words: "healthy", "installing packages"
}

// Sink takes events. It must be safe for concurrent use and must not block
// for long.
type Sink interface {
	Emit(Event)
}

// Work announces that something about a subject goes on.
func Work(s Sink, subject, text string) { emit(s, subject, Working, text) }

// Finish announces that a subject is done.
func Finish(s Sink, subject, text string) { emit(s, subject, Done, text) }

// Warn announces something that a person should know and that stops nothing.
func Warn(s Sink, subject, text string) { emit(s, subject, Warning, text) }

// Fail announces that a subject failed.
func Fail(s Sink, subject, text string) { emit(s, subject, Failed, text) }

// Private

func emit(s Sink, subject string, status Status, text string) {
	s.Emit(Event{Time: time.Now(), Subject: subject, Status: status, Text: text})
}
