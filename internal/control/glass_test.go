package control_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

const broken = `{"actor":"ola","reason":"nginx is on fire","time":"2026-01-02T03:04:05Z"}`

// breakGlass is what the script in nginx's container does: from then on nginx
// takes no tables.
func (r *rig) breakGlass(text string) {
	r.disk.Put(file("break-glass"), text)
	r.edge.set(func(e *fakeEdge) { e.down = true })
}

// mendGlass gives nginx back, which starts with its saved copy.
func (r *rig) mendGlass() {
	require.NoError(r.t, r.disk.Remove(file("break-glass")))
	r.edge.set(func(e *fakeEdge) { e.down = false })
	r.edge.restart(r.disk)
}

func TestGlass_BrokenIsRecordedAsARollback(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	puts := len(r.edge.history)
	r.breakGlass(broken)

	for range 3 {
		require.NoError(t, r.writer.Reconcile(t.Context()))
	}

	state := r.store.State()
	assert.Equal(t, uint64(3), state.Generation, "recorded once")
	assert.True(t, state.Latched)
	assert.Equal(t, "nginx is on fire", state.LatchReason)
	event := r.lastEvent()
	assert.Equal(t, rollout.ActionRollback, event.Action)
	assert.Equal(t, "ola", event.Actor)
	assert.Equal(t, map[string]any{"cause": "break-glass", "time": "2026-01-02T03:04:05Z"}, event.Evidence)
	_, status := r.writer.Status()
	assert.False(t, status.Reachable)
	assert.Contains(t, status.Error, "ola: nginx is on fire")

	r.mendGlass()
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Zero(t, r.edge.weight())
	assert.Len(t, r.edge.history, puts, "nginx was left alone")
	r.requireAgreement("")
	r.must(r.resume())
	r.must(r.route(100))
}

func TestGlass_BrokenRefusesWhateverWouldMove(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.breakGlass(broken)

	for _, move := range []func() (control.Moved, error){
		func() (control.Moved, error) { return r.route(5000) },
		func() (control.Moved, error) { return r.route(100) },
		r.resume,
		func() (control.Moved, error) {
			another := plan
			another.Hash = "another"
			return r.writer.AdoptPlan(t.Context(), control.PlanRequest{Actor: "kari", Plan: another})
		},
	} {
		_, err := move()

		assert.Equal(t, control.GlassBroken, r.code(err))
		assert.ErrorContains(t, err, "ola: nginx is on fire")
	}
	assert.True(t, r.store.State().Latched)
	r.must(r.plan()) // that changes nothing
}

func TestGlass_BrokenRollbackIsDoneAlready(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.breakGlass(broken)
	r.python.silent = true

	moved := r.must(r.rollback())

	assert.Zero(t, r.python.asked, "everything is on python, whether it answers or not")
	assert.Equal(t, "ola", moved.Event.Actor)
	assert.Equal(t, "break-glass", moved.Event.Evidence["cause"])
	moved = r.must(r.rollback())
	assert.Nil(t, moved.Event)
	assert.Equal(t, uint64(3), r.store.State().Generation)
}

func TestGlass_BrokenOnAFullDiskIsRecordedLater(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.breakGlass(broken)
	r.disk.Fill(0)

	moved, err := r.rollback()
	require.NoError(t, err)
	assert.True(t, moved.Applied)
	assert.False(t, moved.Recorded)
	require.Error(t, r.writer.Reconcile(t.Context()))
	assert.NotContains(t, r.disk.Names(), file("table.json"), "nginx is not to move forward when it is given back")

	r.disk.Free()
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Equal(t, "ola", r.lastEvent().Actor)
}

func TestGlass_BrokenIsFoundByAGuardThatStarts(t *testing.T) {
	for name, text := range map[string]string{
		"whole": broken, "empty": "", "truncated": broken[:20], "foreign": "\x00<html>", "another type": `{"actor":1}`, "null": "null",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.plan())
			r.must(r.route(2500))
			r.breakGlass(text)
			r.crash(true)

			require.NoError(t, r.writer.Reconcile(t.Context()))

			event := r.lastEvent()
			assert.Equal(t, "break-glass", event.Evidence["cause"])
			assert.NotEmpty(t, event.Actor)
			assert.NotEmpty(t, event.Reason)
			assert.True(t, r.store.State().Latched)
		})
	}
}

func TestGlass_BrokenJustBeforeAMoveRefusesIt(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.edge.set(func(e *fakeEdge) {
		e.onRead = func() { r.disk.Put(file("break-glass"), broken) }
	})
	puts := len(r.edge.history)

	_, err := r.route(2500)

	require.Error(t, err)
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Len(t, r.edge.history, puts)
	assert.Zero(t, r.store.State().Routes[0].Weight)
	assert.True(t, r.store.State().Latched)
}

func TestGlass_BrokenAfterAMoveWasRecordedTakesItBack(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.edge.step = func() error {
		r.disk.Put(file("break-glass"), broken)
		return errors.New("status 503: break-glass: …")
	}

	_, err := r.route(2500)

	assert.ErrorContains(t, err, "taken back")
	assert.Zero(t, r.store.State().Routes[0].Weight)
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.True(t, r.store.State().Latched)
	assert.Equal(t, "ola", r.lastEvent().Actor)
}

// On a full volume the file of the glass could not be written.
func TestGlass_BrokenIsToldByNginxItself(t *testing.T) {
	told := errors.New(`the edge refuses with status 503: break-glass: everything goes to python`)
	a := newAPI(t)
	a.must(a.plan())
	a.must(a.route(2500))
	a.edge.set(func(e *fakeEdge) { e.says = told })

	require.NoError(t, a.writer.Reconcile(t.Context()))

	event := a.lastEvent()
	assert.Equal(t, rollout.ActionRollback, event.Action)
	assert.Equal(t, "break-glass", event.Evidence["cause"])
	assert.True(t, a.store.State().Latched)
	_, err := a.resume()
	assert.Equal(t, control.GlassBroken, a.code(err))
	status, err := a.client.Status(t.Context())
	require.NoError(t, err)
	assert.True(t, status.BreakGlass.Active)
	a.must(a.rollback())

	a.edge.set(func(e *fakeEdge) { e.says = nil })
	a.edge.restart(a.disk)
	require.NoError(t, a.writer.Reconcile(t.Context()))
	assert.Zero(t, a.edge.weight())
	a.requireAgreement("")
	a.must(a.resume())
}

func TestGlass_BrokenIsFoundByARollback(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.edge.set(func(e *fakeEdge) { e.says = errors.New("status 503: break-glass: …") })

	moved := r.must(r.rollback())

	assert.Equal(t, "break-glass", moved.Event.Evidence["cause"])
	r.edge.set(func(e *fakeEdge) { e.says = nil })
	r.edge.restart(r.disk)
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Zero(t, r.edge.weight())
	r.requireAgreement("")
}

func TestGlass_IsToldByTheAPI(t *testing.T) {
	a := newAPI(t)
	a.must(a.plan())
	a.breakGlass(broken)
	require.NoError(t, a.writer.Reconcile(t.Context()))

	status, err := a.client.Status(t.Context())
	require.NoError(t, err)
	assert.Equal(t, control.BreakGlass{Active: true, Actor: "ola", Reason: "nginx is on fire", Time: "2026-01-02T03:04:05Z"}, status.BreakGlass)
	var document struct {
		BreakGlass json.RawMessage `json:"break_glass"`
	}
	require.NoError(t, json.Unmarshal([]byte(get(t, a.public+"/status", http.StatusOK)), &document))
	assert.JSONEq(t, `{"active":true,"actor":"ola","reason":"nginx is on fire","time":"2026-01-02T03:04:05Z"}`, string(document.BreakGlass))
	code, failure := a.send("POST", "/v1/resume", `{"actor":"kari","reason":"r","generation":2}`)
	assert.Equal(t, http.StatusConflict, code)
	assert.Equal(t, rollout.Code("break_glass"), failure.Error.Code)
	moved, err := a.client.Rollback(t.Context(), control.RollbackRequest{Actor: "kari", Reason: "r"})
	a.must(moved, err)
	assert.Contains(t, get(t, a.public+"/metrics", http.StatusOK), `cutover_rollbacks_total{cause="break-glass"} 1`)
}

func (r *rig) lastEvent() rollout.Event {
	r.t.Helper()
	reader := r.store.Events(r.store.State().Generation - 1)
	event, err := reader.Next()
	require.NoError(r.t, err)
	require.NoError(r.t, reader.Close())
	require.Equal(r.t, edge.Python, event.After.Home)
	return event
}
