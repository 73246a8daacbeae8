package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/guard"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
	"github.com/cutover-dev/cutover/internal/store/storetest"
)

const dir = "/var/lib/cutover"

var quiet = slog.New(slog.DiscardHandler)

var errDown = errors.New("connection refused")

// fakeEdge keeps the edge's rules about generations.
type fakeEdge struct {
	step func() error // before and after each PUT; an error is the death of the guard

	mu        sync.Mutex
	table     edge.Table
	down      bool  // answers nothing
	says      error // answers everything so
	refuses   bool  // answers PUT with an error
	mute      bool  // carries out a PUT, but its answer gets lost
	history   []edge.Table
	onApplied func()
	onRead    func()
}

func newEdge() *fakeEdge {
	return &fakeEdge{table: emptyTable(), step: func() error { return nil }}
}

func emptyTable() edge.Table {
	return rollout.NewState(edge.Python).Table()
}

func (e *fakeEdge) Table(context.Context) (edge.Table, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.onRead != nil {
		e.onRead()
	}
	if e.down {
		return edge.Table{}, errDown
	}
	if e.says != nil {
		return edge.Table{}, e.says
	}
	return e.table, nil
}

func (e *fakeEdge) Apply(ctx context.Context, table edge.Table) error {
	if err := errors.Join(ctx.Err(), e.step()); err != nil {
		return err
	}
	if err := e.put(table); err != nil {
		return err
	}
	return e.step()
}

func (e *fakeEdge) put(table edge.Table) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.down, e.refuses:
		return errDown
	case e.says != nil:
		return e.says
	case table.Generation < e.table.Generation:
		return errors.New("a newer table is in force")
	}
	e.table = table
	e.history = append(e.history, table)
	if e.onApplied != nil {
		e.onApplied()
	}
	if e.mute {
		return context.DeadlineExceeded
	}
	return nil
}

func (e *fakeEdge) set(change func(*fakeEdge)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

// weight is the share of auth that goes to go now.
func (e *fakeEdge) weight() edge.Weight {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, route := range e.table.Routes {
		if route.Name == "auth" {
			return route.Weight
		}
	}
	return 0
}

// restart is what nginx does: it takes the saved copy, or sends all home.
func (e *fakeEdge) restart(disk *storetest.Disk) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.table = emptyTable()
	if text, ok := disk.Get(file("table.json")); ok {
		if json.Unmarshal([]byte(text), &e.table) != nil {
			e.table = emptyTable()
		}
	}
}

// fakePython is a python that answers or is silent.
type fakePython struct {
	silent bool
	takes  time.Duration
	asked  int
}

func (p *fakePython) Wait(ctx context.Context, limit time.Duration) (guard.Answer, error) {
	p.asked++
	takes, err := p.takes, error(nil)
	if p.silent {
		takes, err = limit, errDown
	}
	select {
	case <-ctx.Done():
		return guard.Answer{}, ctx.Err()
	case <-time.After(takes):
		return guard.Answer{Status: 503, Took: takes}, err
	}
}

// rig is a writer with everything around it in memory.
type rig struct {
	t      *testing.T
	disk   *storetest.Disk
	edge   *fakeEdge
	python *fakePython
	store  *store.Store
	writer *control.Writer
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, disk: storetest.NewDisk(), edge: newEdge(), python: &fakePython{}}
	r.start()
	return r
}

// start is what a new guard does with the files that it finds.
func (r *rig) start() {
	r.store = store.OpenOn(r.disk, dir, quiet)
	r.writer = control.NewWriter(r.store, r.edge, r.python, edge.Python, quiet)
}

// crash ends the guard without any farewell.
func (r *rig) crash(powerLost bool) {
	r.disk = r.disk.Restart(powerLost)
	r.edge.step = func() error { return nil }
	r.start()
}

// mortal makes the guard die at a step of the disk or of the edge.
func (r *rig) mortal(step int) {
	disk := r.disk
	r.edge.step = disk.Step
	disk.DieAt(step)
}

func (r *rig) generation() uint64 {
	return r.writer.State().Generation
}

var plan = rollout.Plan{Name: "p2k16", Hash: "abc", Routes: []rollout.PlanRoute{
	{Name: "auth", Prefix: "/api/auth/"},
	{Name: "users", Prefix: "/api/users/"},
	{Name: "assets", Prefix: "/assets/", Pin: edge.Go},
}}

func (r *rig) plan() (control.Moved, error) {
	return r.writer.AdoptPlan(r.t.Context(), control.PlanRequest{Actor: "kari", Plan: plan})
}

func (r *rig) route(weight edge.Weight) (control.Moved, error) {
	return r.writer.Route(r.t.Context(), control.RouteRequest{
		Route: "auth", Weight: &weight, Generation: r.generation(), Actor: "kari", Reason: "next step",
	})
}

func (r *rig) rollback() (control.Moved, error) {
	return r.writer.Rollback(r.t.Context(), control.RollbackRequest{Actor: "kari", Reason: "errors"})
}

func (r *rig) resume() (control.Moved, error) {
	return r.writer.Resume(r.t.Context(), control.ResumeRequest{Actor: "kari", Reason: "mended", Generation: r.generation()})
}

// must fails the test unless a move was carried out in full.
func (r *rig) must(moved control.Moved, err error) control.Moved {
	r.t.Helper()
	require.NoError(r.t, err)
	require.True(r.t, moved.Applied)
	require.True(r.t, moved.Recorded)
	return moved
}

func (r *rig) code(err error) rollout.Code {
	r.t.Helper()
	require.Error(r.t, err)
	return control.FailureOf(err).Error.Code
}

func (r *rig) requireAgreement(hint string) {
	r.t.Helper()
	state, status := r.writer.Status()
	require.True(r.t, status.InSync, hint)
	if state.Generation == 0 {
		require.Zero(r.t, r.store.State().Generation, hint)
		return
	}
	require.Equal(r.t, state, r.store.State(), hint)
	require.Equal(r.t, state, store.OpenOn(r.disk.Restart(true), dir, quiet).State(), hint)
}

func file(name string) string {
	return filepath.Join(dir, name)
}
