package control_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

func TestForward_IsRecordedBeforeItIsApplied(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.edge.onApplied = func() {
		assert.Equal(t, edge.Weight(2500), r.store.State().Routes[0].Weight)
	}

	moved := r.must(r.route(2500))

	assert.Equal(t, uint64(2), moved.State.Generation)
	assert.Equal(t, uint64(2), moved.Event.Seq)
	assert.Equal(t, edge.Weight(2500), r.edge.weight())
	r.requireAgreement("")
}

func TestBack_IsAppliedBeforeItIsRecorded(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.edge.onApplied = func() {
		assert.False(t, r.store.State().Latched)
	}

	moved := r.must(r.rollback())

	assert.Equal(t, uint64(3), moved.Event.Seq)
	assert.Equal(t, 503, moved.Event.Evidence["legacy_status"])
	assert.Zero(t, r.edge.weight())
	r.requireAgreement("")
}

// A guard that dies at any step of any move leaves, once a new one is up, the
// routing from before the move or the one after it, and a record that agrees.
func TestMoves_DyingAtAnyStepLeaveTheOldOrTheNewRouting(t *testing.T) {
	moves := map[string]struct {
		prepare func(*rig)
		move    func(*rig) (control.Moved, error)
		weights []edge.Weight // before and after
	}{
		"plan": {
			func(*rig) {},
			(*rig).plan,
			[]edge.Weight{0, 0},
		},
		"route": {
			func(r *rig) { r.must(r.plan()) },
			func(r *rig) (control.Moved, error) { return r.route(2500) },
			[]edge.Weight{0, 2500},
		},
		"begin":    {func(r *rig) { r.must(r.adopt()) }, func(r *rig) (control.Moved, error) { return r.begin("some") }, []edge.Weight{0, 2500}},
		"complete": {func(r *rig) { r.must(r.adopt()); r.must(r.begin("some")) }, func(r *rig) (control.Moved, error) { return r.complete("some") }, []edge.Weight{2500, 2500}},
		"pause":    {func(r *rig) { r.must(r.plan()); r.must(r.route(2500)) }, (*rig).pause, []edge.Weight{2500, 2500}},
		"finding":  {func(r *rig) { r.must(r.plan()); r.must(r.route(2500)) }, (*rig).find, []edge.Weight{2500, 2500}},
		"lower": {
			func(r *rig) { r.must(r.plan()); r.must(r.route(2500)) },
			func(r *rig) (control.Moved, error) { return r.route(100) },
			[]edge.Weight{2500, 100},
		},
		"rollback": {
			func(r *rig) { r.must(r.plan()); r.must(r.route(2500)) },
			(*rig).rollback,
			[]edge.Weight{2500, 0},
		},
		"resume": {
			func(r *rig) { r.must(r.plan()); r.must(r.route(2500)); r.must(r.rollback()) },
			(*rig).resume,
			[]edge.Weight{0, 0},
		},
		"reconcile": {
			func(r *rig) {
				r.must(r.plan())
				r.must(r.route(2500))
				r.edge.set(func(e *fakeEdge) { e.table = emptyTable() })
			},
			func(r *rig) (control.Moved, error) { return control.Moved{}, r.writer.Reconcile(r.t.Context()) },
			[]edge.Weight{2500, 0},
		},
	}
	for name, m := range moves {
		for _, powerLost := range []bool{false, true} {
			for _, nginxToo := range []bool{false, true} {
				for step, died := 1, true; died; step++ {
					hint := fmt.Sprintf("%s, power lost %t, nginx too %t, step %d", name, powerLost, nginxToo, step)
					r := newRig(t)
					m.prepare(r)
					r.mortal(step)
					_, err := m.move(r)
					died = r.disk.Dead()

					r.crash(powerLost)
					if nginxToo {
						r.edge.restart(r.disk)
					}
					atOnce := r.edge.weight()
					require.Contains(t, m.weights, atOnce, hint)
					require.NoError(t, r.writer.Reconcile(t.Context()), hint)
					require.LessOrEqual(t, r.edge.weight(), atOnce, hint)
					require.Contains(t, m.weights, r.edge.weight(), hint)
					r.requireAgreement(hint)
					if !died {
						require.Greater(t, step, 8, "the steps were not all tried")
						require.NoError(t, err)
						require.Equal(t, m.weights[1], r.edge.weight(), hint)
					}
				}
			}
		}
	}
}

func TestForward_OnAFullDiskMovesNothing(t *testing.T) {
	for writes := range 4 {
		r := newRig(t)
		r.must(r.plan())
		r.disk.Fill(writes)

		_, err := r.route(2500)

		assert.Equal(t, control.Internal, r.code(err))
		assert.ErrorContains(t, err, syscall.ENOSPC.Error())
		assert.Zero(t, r.edge.weight())
		assert.Equal(t, uint64(1), r.generation())
		r.disk.Free()
		r.must(r.route(2500))
	}
}

func TestRollback_OnAFullDiskIsAppliedAndRecordedLater(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.disk.Fill(0)

	moved, err := r.rollback()

	require.NoError(t, err)
	assert.True(t, moved.Applied)
	assert.False(t, moved.Recorded)
	assert.Zero(t, r.edge.weight())
	assert.NotContains(t, r.disk.Names(), file("table.json"), "an nginx that starts now must not move forward")

	_, err = r.resume()
	assert.Equal(t, control.Internal, r.code(err), "forward needs a record")
	require.Error(t, r.writer.Reconcile(t.Context()))
	r.disk.Free()
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.True(t, r.store.State().Latched)
	assert.Zero(t, moved.Event.Seq, "what was answered does not change any more")
	assert.Contains(t, r.disk.Names(), file("table.json"))
	r.requireAgreement("")
}

func TestRollback_OnAFullDiskIsRecordedInTheSpaceHeldBack(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	require.NoError(t, r.writer.Reconcile(t.Context()))
	r.disk.Fill(0)
	_, err := r.route(5000)
	require.Equal(t, control.Internal, r.code(err), "that space is not for moves forward")

	moved := r.must(r.rollback())

	assert.Equal(t, "errors", moved.State.LatchReason)
	assert.Contains(t, r.disk.Names(), file("table.json"))
	assert.NotContains(t, r.disk.Names(), file("reserve"))
	r.requireAgreement("the operator and the reason are not lost")
	r.disk.Fill(0)
	require.NoError(t, r.writer.Reconcile(t.Context()), "that nothing can be held back is no problem yet")
	assert.NotContains(t, r.disk.Names(), file("reserve"))
	r.disk.Free()
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Contains(t, r.disk.Names(), file("reserve"))
}

func TestRollback_UnrecordedSurvivesTheGuardInTheEdge(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.disk.Fill(0)
	_, err := r.rollback()
	require.NoError(t, err)

	r.crash(false)
	require.NoError(t, r.writer.Reconcile(t.Context()))

	assert.True(t, r.writer.State().Latched)
	assert.Zero(t, r.edge.weight())
	r.requireAgreement("")
}

func TestForward_IsRefusedWhileTheEdgeIsAway(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.edge.set(func(e *fakeEdge) { e.down = true })

	_, err := r.route(2500)

	assert.Equal(t, control.EdgeUnreachable, r.code(err))
	assert.Equal(t, uint64(1), r.store.State().Generation)
	again, err := r.plan()
	require.NoError(t, err, "what changes nothing needs no edge")
	assert.False(t, again.Applied)
	_, status := r.writer.Status()
	assert.False(t, status.Reachable)
	assert.Contains(t, status.Error, errDown.Error())
}

func TestForward_IsTakenBackWhenTheEdgeDoesNotTakeIt(t *testing.T) {
	for name, fault := range map[string]func(*fakeEdge){
		"refused":     func(e *fakeEdge) { e.refuses = true },
		"answer lost": func(e *fakeEdge) { e.mute = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.must(r.plan())
			r.edge.set(fault)

			_, err := r.route(2500)

			assert.Equal(t, control.EdgeUnreachable, r.code(err))
			assert.Equal(t, edge.Weight(0), r.store.State().Routes[0].Weight)
			r.edge.set(func(e *fakeEdge) { e.refuses, e.mute = false, false })
			r.edge.restart(r.disk)
			assert.Zero(t, r.edge.weight(), "nor does a new nginx bring it back")
			require.NoError(t, r.writer.Reconcile(t.Context()))
			r.requireAgreement("")
			r.must(r.route(2500))
		})
	}
}

func TestForward_IsFinishedOnceItHasBegun(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	ctx, cancel := context.WithCancel(t.Context())
	r.edge.onRead = cancel
	weight := edge.Weight(2500)

	r.must(r.writer.Route(ctx, control.RouteRequest{Route: "auth", Weight: &weight, Generation: 1, Actor: "kari"}))

	assert.Equal(t, weight, r.edge.weight())
}

func TestLowering_IsAppliedBeforeItIsRecorded(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.edge.onApplied = func() {
		assert.Equal(t, edge.Weight(2500), r.store.State().Routes[0].Weight)
	}

	moved := r.must(r.route(100))

	assert.Equal(t, uint64(3), moved.Event.Seq)
	assert.Equal(t, edge.Weight(100), r.edge.weight())
	r.requireAgreement("")
}

func TestLowering_OnAFullDiskIsAppliedAndRecordedLater(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.disk.Fill(0)

	for _, weight := range []edge.Weight{100, 0} { // a second one is not held up by the first
		moved, err := r.route(weight)

		require.NoError(t, err)
		assert.True(t, moved.Applied)
		assert.False(t, moved.Recorded)
		assert.Equal(t, weight, r.edge.weight())
	}
	_, err := r.route(2500)
	assert.Equal(t, control.Internal, r.code(err), "forward needs a record")
	r.disk.Free()
	require.NoError(t, r.writer.Reconcile(t.Context()))
	r.requireAgreement("")
	assert.Equal(t, uint64(4), r.store.State().Generation)
}

func TestLowering_NamesTheCurrentGeneration(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	weight := edge.Weight(100)

	_, err := r.writer.Route(t.Context(), control.RouteRequest{Route: "auth", Weight: &weight, Generation: 1, Actor: "kari"})

	assert.Equal(t, rollout.Stale, r.code(err))
	assert.Equal(t, edge.Weight(2500), r.edge.weight())
}

func TestLowering_IsAppliedLaterToAnEdgeThatDoesNotTakeIt(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.edge.set(func(e *fakeEdge) { e.refuses = true })

	_, err := r.route(100)

	assert.Equal(t, control.EdgeUnreachable, r.code(err))
	assert.ErrorContains(t, err, "not applied yet")
	r.edge.set(func(e *fakeEdge) { e.refuses = false })
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Equal(t, edge.Weight(100), r.edge.weight())
}

func TestRollback_WithoutAnEdgeIsRecordedAndAppliedLater(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.edge.set(func(e *fakeEdge) { e.down = true })

	moved, err := r.rollback()

	require.NoError(t, err)
	assert.False(t, moved.Applied)
	assert.True(t, moved.Recorded)
	assert.True(t, r.store.State().Latched)
	r.edge.set(func(e *fakeEdge) { e.down = false })
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Zero(t, r.edge.weight())
	r.edge.restart(r.disk)
	assert.Zero(t, r.edge.weight())
	r.requireAgreement("")
}

func TestRollback_NeedsAPythonThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.must(r.plan())
		r.must(r.route(2500))
		r.python.silent = true
		start := time.Now()

		_, err := r.rollback()

		assert.Equal(t, control.LegacySilent, r.code(err))
		assert.Equal(t, 10*time.Second, time.Since(start))
		assert.Equal(t, edge.Weight(2500), r.edge.weight())

		_, err = r.writer.Rollback(t.Context(), control.RollbackRequest{LegacyWaitMS: 1500})
		assert.Equal(t, control.LegacySilent, r.code(err))
		assert.Equal(t, 11500*time.Millisecond, time.Since(start))

		moved, err := r.writer.Rollback(t.Context(), control.RollbackRequest{Force: true})
		require.NoError(t, err)
		assert.True(t, moved.Applied)
		assert.Equal(t, true, moved.Event.Evidence["force"])
		assert.Zero(t, r.edge.weight())
	})
}

func TestRollback_RepeatedChangesNothing(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	first := r.must(r.rollback())
	r.python.silent = true

	second := r.must(r.rollback())

	assert.Equal(t, first.State, second.State)
	assert.Nil(t, second.Event)
	assert.Equal(t, 1, r.python.asked, "nothing moves, so nobody has to be there")
}

func TestRollback_WithAnEdgeThatIsFurtherWins(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.edge.set(func(e *fakeEdge) {
		e.table.Generation = 40
		e.table.Routes[0].Weight = 10000
	})

	moved := r.must(r.rollback())

	assert.Greater(t, moved.State.Generation, uint64(40))
	assert.Zero(t, r.edge.weight())
	r.requireAgreement("")
}

func TestRollback_WithoutAnyStateKeepsTheEdgesRoutes(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.disk = r.disk.Restart(false)
	for _, name := range r.disk.Names() {
		require.NoError(t, r.disk.Remove(name))
	}
	r.start()

	moved := r.must(r.rollback())

	assert.Len(t, moved.State.Routes, 3)
	assert.Zero(t, r.edge.weight())
	r.requireAgreement("")
}

func TestReconcile_TakesWhatTheEdgeHasWhenTheStateIsLost(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	r.disk.Put(file("state.json"), "{")
	r.disk.Put(file("journal.jsonl"), "")
	r.start()

	require.NoError(t, r.writer.Reconcile(t.Context()))

	assert.Equal(t, edge.Weight(2500), r.edge.weight())
	assert.Equal(t, uint64(2), r.generation())
	r.requireAgreement("")
	r.must(r.plan())
	assert.Equal(t, edge.Weight(2500), r.edge.weight(), "the plan is taken up again without a move")
}

func TestReconcile_DoesNotTouchAnEdgeThatAgrees(t *testing.T) {
	r := newRig(t)
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Empty(t, r.edge.history)
	assert.Equal(t, []string{file("reserve")}, r.disk.Names())
	r.must(r.plan())

	for range 3 {
		require.NoError(t, r.writer.Reconcile(t.Context()))
	}

	assert.Len(t, r.edge.history, 1)
	assert.Equal(t, uint64(1), r.generation())
}

// What cannot be read back from the record must never get into it.
func TestReconcile_TakesNoMalformedTableFromTheEdge(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	r.must(r.route(2500))
	state := r.writer.State()
	r.edge.set(func(e *fakeEdge) {
		e.table.Generation += 5
		e.table.Routes = append(e.table.Routes, e.table.Routes[0])
	})

	err := r.writer.Reconcile(t.Context())

	assert.Equal(t, control.EdgeUnreachable, r.code(err))
	assert.ErrorContains(t, err, "auth")
	assert.Equal(t, state, r.writer.State())
	assert.Equal(t, state, r.store.State())
	_, status := r.writer.Status()
	assert.Contains(t, status.Error, "auth")
	r.edge.restart(r.disk)
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Equal(t, edge.Weight(2500), r.edge.weight())
	r.requireAgreement("")
}

func TestPlan_ThatChangesOnlyWhoFollowsOrGoesFirstIsAdopted(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	changed := plan
	for i, change := range []func(){
		func() { changed.First = []string{"user:7"} },
		func() { changed.Last = []string{"visitor:0123456789abcdef0123456789abcdef"} },
		func() { changed.First = nil },
		func() {
			changed.Routes = append(slices.Clone(plan.Routes), rollout.PlanRoute{Name: "htmx", Prefix: "/htmx/", Follows: "auth"})
		},
		func() { changed.Routes[3].Follows = "users" },
	} {
		change()
		changed.Hash = fmt.Sprint("hash ", i)
		changed.Routes = slices.Clone(changed.Routes)

		moved := r.must(r.writer.AdoptPlan(t.Context(), control.PlanRequest{Actor: "kari", Plan: changed}))

		require.NotNil(t, moved.Event)
		assert.Equal(t, rollout.ActionPlan, moved.Event.Action)
		assert.Equal(t, uint64(i+2), moved.Event.Seq)
		assert.Equal(t, changed.First, r.edge.table.First)
		assert.Equal(t, changed.Last, r.edge.table.Last)
		assert.Equal(t, len(changed.Routes), len(r.edge.table.Routes))
		r.requireAgreement("")
		require.NoError(t, r.writer.Reconcile(t.Context()))
		assert.Equal(t, uint64(i+2), r.generation(), "there is nothing to reconcile")
	}
	assert.Equal(t, "users", r.edge.table.Routes[3].Follows)

	r.edge.set(func(e *fakeEdge) { e.table.Last = nil })
	require.NoError(t, r.writer.Reconcile(t.Context()))
	assert.Equal(t, changed.Last, r.edge.table.Last, "whole tables are compared")
}

func TestReconcile_KeepsTheSavedCopyOfAnAbsentNginx(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	old, _ := r.disk.Get(file("table.json"))
	r.must(r.route(2500))
	r.disk.Put(file("table.json"), old) // as if the guard had died just before it was replaced
	r.edge.set(func(e *fakeEdge) { e.down = true })
	r.start()

	require.Error(t, r.writer.Reconcile(t.Context()))

	kept, _ := r.disk.Get(file("table.json"))
	assert.Equal(t, old, kept, "nginx must not start further forward than it was")
}

func TestRun_ReconcilesEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.must(r.plan())
		r.must(r.route(2500))
		var running sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		running.Go(func() { r.writer.Run(ctx) })
		synctest.Wait()
		r.edge.set(func(e *fakeEdge) { e.table = emptyTable() })

		time.Sleep(time.Second)
		synctest.Wait()

		state, status := r.writer.Status()
		assert.True(t, status.InSync)
		assert.Equal(t, uint64(3), state.Generation)
		assert.Zero(t, r.edge.weight())
		stop()
		running.Wait()
	})
}

func TestRoute_OfTwoWithTheSameGenerationOneWins(t *testing.T) {
	r := newRig(t)
	r.must(r.plan())
	var won, stale atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			weight := edge.Weight(100 * (i + 1))
			_, err := r.writer.Route(t.Context(), control.RouteRequest{Route: "users", Weight: &weight, Generation: 1, Actor: "kari"})
			if err == nil {
				won.Add(1)
			} else if control.FailureOf(err).Error.Code == rollout.Stale {
				stale.Add(1)
			}
		})
	}
	all.Wait()

	assert.Equal(t, int32(1), won.Load())
	assert.Equal(t, int32(7), stale.Load())
}

func TestClose_RecordsWhatIsLeftAndEndsAllMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.must(r.plan())
		r.must(r.route(2500))
		r.disk.Fill(0)
		_, err := r.rollback()
		require.NoError(t, err)
		r.disk.Free()

		require.NoError(t, r.writer.Close(t.Context()))

		assert.True(t, r.store.State().Latched)
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.writer.Resume(brief, control.ResumeRequest{Actor: "kari", Reason: "late", Generation: 3})
		assert.Error(t, err)
	})
}
