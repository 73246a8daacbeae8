package cli

import (
	"context"
	"errors"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

// record tells the guard what a command has found out, for the gates that ask
// for it. What was found is good without it: a guard that does not take it is
// worth a warning.
func (o *options) record(ctx context.Context, s *stack.Stack, name, verdict, summary string) {
	if err := o.tryRecord(ctx, s, name, verdict, summary); err != nil {
		event.Warn(s.Events(), "finding "+name, "was not recorded for the gates: "+err.Error())
	}
}

func (o *options) tryRecord(ctx context.Context, s *stack.Stack, name, verdict, summary string) (err error) {
	p, err := o.loadPlan()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	in, err := newInside(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close(ctx)) }()
	about, err := in.evidenceContext(ctx, p.Hash)
	if err != nil {
		return err
	}
	_, err = in.guard.client.Find(ctx, control.FindingRequest{
		Actor: o.operator(), Name: name, Verdict: rollout.Verdict(verdict), Summary: summary, Context: about,
	})
	return err
}

// progressOf shows how far work on the database is.
func progressOf(s *stack.Stack) func(subject, what string, over bool) {
	return func(subject, what string, over bool) {
		if over {
			event.Finish(s.Events(), subject, what)
		} else {
			event.Work(s.Events(), subject, what)
		}
	}
}
