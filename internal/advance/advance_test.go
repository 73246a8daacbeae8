package advance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/advance"
	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/rollout"
)

func TestAll_TakesEachStepInItsOrder(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		begun := time.Now()
		report, err := w.run().All(t.Context())
		require.NoError(t, err)

		assert.Equal(t, once, w.actions())
		assert.Equal(t, "", report.From)
		assert.Equal(t, "remove", report.To)
		assert.Len(t, report.Steps, 6)
		for _, step := range report.Steps {
			assert.Equal(t, rollout.Pass, step.Verdict)
			assert.True(t, step.Begun)
		}
		assert.Equal(t, "by me", report.Steps[0].Gates[1].Acknowledged)
		assert.Empty(t, report.Steps[0].Gates[0].Acknowledged)
		assert.Equal(t, 20*time.Second, time.Since(begun), "two bakes, and nothing else to wait for")
		assert.Equal(t, []rollout.Work{rollout.StopPython, rollout.RemovePython}, w.works)
		assert.Equal(t, "All is ready", w.journal[1].Reason)

		i := slices.Index(w.calls, "begin stop")
		assert.Equal(t, []string{"gate idle", "begin stop", "counters", "work stop-python", "counters", "gate stopped", "complete stop"}, w.calls[i-1:i+6])

		again, err := w.run().All(t.Context())
		require.NoError(t, err)
		assert.Empty(t, again.Steps)
		assert.Equal(t, "remove", again.To)
		_, err = json.Marshal(report)
		require.NoError(t, err)
	})
}

func TestNextAndTo(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		report, err := w.run().Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "ready", report.To)
		report, err = w.run().To(t.Context(), "all")
		require.NoError(t, err)
		assert.Equal(t, []string{"ready", "all"}, []string{report.From, report.To})
		assert.Equal(t, once[:6], w.actions())
		report, err = w.run().To(t.Context(), "half")
		require.NoError(t, err)
		assert.Empty(t, report.Steps, "that is done")
		report, err = w.run().To(t.Context(), "no such step")
		require.NoError(t, err)
		assert.Empty(t, report.Steps)
	})
}

func TestAGateBeforeAStepStopsItBeforeAnythingMoves(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		w.says["routing"], w.says["trained"] = rollout.Fail, rollout.Inconclusive
		run := w.run()
		run.Acks = map[string]string{"routing": "so what"}
		report, err := run.All(t.Context())

		var stopped *advance.Stopped
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, rollout.Fail, stopped.Verdict)
		assert.False(t, stopped.Applied)
		assert.Len(t, stopped.Gates, 2, "all are asked")
		assert.Equal(t, "", report.To)
		assert.False(t, report.Steps[0].Begun)
		assert.Empty(t, report.UnderWay())
		assert.Empty(t, w.actions())
		assert.Empty(t, w.named("begin"))

		w.says["routing"] = rollout.Pass
		_, err = run.All(t.Context())
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, rollout.Inconclusive, stopped.Verdict)
		assert.Contains(t, err.Error(), "stopped before the step ready begins:\n  trained: inconclusive")

		w.says["trained"] = rollout.NotApplicable
		report, err = run.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "ready", report.To)
	})
}

func TestAGateAfterABakeLeavesTheStepUnderWay(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		w.says["errors"] = rollout.Inconclusive
		report, err := w.run().Next(t.Context())

		var stopped *advance.Stopped
		require.ErrorAs(t, err, &stopped)
		assert.True(t, stopped.Applied)
		assert.Equal(t, "half", report.UnderWay())
		assert.Equal(t, "ready", report.To)
		require.NotNil(t, w.state.Progress)
		assert.Equal(t, edge.Weight(5000), w.state.Routes[0].Weight)

		run := w.run()
		run.Acks = map[string]string{"errors": "seen by eye"}
		begun := time.Now()
		_, err = run.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 10*time.Second, time.Since(begun), "an acknowledged gate is not waited for")
		assert.Equal(t, once[:4], w.actions())
		assert.Equal(t, "seen by eye", w.state.Acks[len(w.state.Acks)-1].Reason)
	})
}

func TestTooManyErrorsEndABakeAtOnce(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		w.failing = true
		begun := time.Now()
		report, err := w.run().Next(t.Context())

		var stopped *advance.Stopped
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, rollout.Fail, stopped.Verdict)
		assert.True(t, stopped.Applied)
		assert.Equal(t, 4*time.Second, time.Since(begun), "as soon as there are 20 requests")
		assert.Equal(t, rollout.Fail, report.Steps[0].Verdict)
		assert.Empty(t, w.named("complete half"))
	})
}

func TestABakeGoesOnForWantOfRequests(t *testing.T) {
	for name, c := range map[string]struct {
		rate  float64
		takes time.Duration
		done  bool
	}{
		"enough":          {10, 10 * time.Second, true},
		"some":            {2.5, 16 * time.Second, true},
		"too few":         {1, 30 * time.Second, false},
		"nobody at all":   {0, 30 * time.Second, false},
		"at the very end": {1.34, 30 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, w *world) {
				_, err := w.run().To(t.Context(), "ready")
				require.NoError(t, err)
				w.rate = c.rate
				begun := time.Now()
				_, err = w.run().Next(t.Context())
				assert.Equal(t, c.takes, time.Since(begun))
				if c.done {
					require.NoError(t, err)
					return
				}
				var stopped *advance.Stopped
				require.ErrorAs(t, err, &stopped)
				assert.Equal(t, rollout.Inconclusive, stopped.Verdict, "no data is never a pass")
			})
		})
	}
}

func TestABakeOfNoLengthHasNoAnswer(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		run, none := w.run(), time.Duration(0)
		run.Bake = &none
		_, err = run.Next(t.Context())
		var stopped *advance.Stopped
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, rollout.Inconclusive, stopped.Verdict)
	})
}

func TestABakeAcrossARestartOfNginxHasNoAnswer(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		looks := 0
		w.before = func(call string) error {
			if call == "counters" {
				if looks++; looks == 5 {
					w.epoch = "f"
				}
			}
			return nil
		}
		_, err = w.run().Next(t.Context())
		var stopped *advance.Stopped
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, rollout.Inconclusive, stopped.Verdict)
		_, err = w.run().Next(t.Context())
		require.NoError(t, err, "the next one bakes again")
		assert.Equal(t, once[:4], w.actions())
	})
}

func TestABakeBeginsWhenOldRequestsHaveEnded(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		applied := time.Time{}
		w.before = func(call string) error {
			switch {
			case call == "begin half":
				applied = time.Now()
			case call == "counters" && time.Since(applied) < 3*time.Second:
				w.slow = time.Since(applied) + time.Second // it began before
			default:
				w.slow = 0
			}
			return nil
		}
		begun := time.Now()
		_, err = w.run().Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 13*time.Second, time.Since(begun))
	})
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		w.slow = time.Hour // a WebSocket
		begun := time.Now()
		_, err = w.run().Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 15*time.Second, time.Since(begun), "it is not waited for longer")
	})
}

// What somebody else does in the middle of a bake.
func TestABakeIsBrokenOff(t *testing.T) {
	other := rollout.Cause{Actor: "ola", Reason: "no"}
	for name, c := range map[string]struct {
		change func(w *world) (rollout.State, *rollout.Event, error)
		code   rollout.Code
		says   string
	}{
		"paused":      {func(w *world) (rollout.State, *rollout.Event, error) { return w.state.Pause(other) }, rollout.Paused, "the migration is paused by ola (no)"},
		"rolled back": {func(w *world) (rollout.State, *rollout.Event, error) { return w.state.Rollback(w.steps, other) }, rollout.Latched, "latched on python since a rollback by ola (no)"},
		"completed": {func(w *world) (rollout.State, *rollout.Event, error) {
			return w.state.Complete(w.steps, rollout.StepRequest{Step: "half", Generation: w.state.Generation, Gates: []gate.Result{{Name: "errors", Verdict: rollout.Pass}}}, other)
		}, rollout.OutOfOrder, "ola has changed that"},
		"another weight": {func(w *world) (rollout.State, *rollout.Event, error) {
			return w.state.Route(w.steps, "a", 6000, w.state.Generation, other)
		}, rollout.OutOfOrder, "ola has changed that"},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T, w *world) {
				_, err := w.run().To(t.Context(), "ready")
				require.NoError(t, err)
				looks := 0
				w.before = func(call string) error {
					if call == "status" {
						if looks++; looks == 5 {
							return w.record(c.change(w))
						}
					}
					return nil
				}
				begun := time.Now()
				_, err = w.run().Next(t.Context())

				var refusal *control.Error
				require.ErrorAs(t, err, &refusal)
				assert.Equal(t, c.code, refusal.Code)
				assert.Contains(t, err.Error(), c.says)
				assert.Equal(t, 3*time.Second, time.Since(begun))
				assert.Empty(t, w.named("complete half"))
			})
		})
	}
}

func TestAFindingDoesNotDisturbABake(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		looks := 0
		w.before = func(call string) error {
			if call == "status" {
				if looks++; looks == 5 {
					return w.record(w.state.Find(rollout.Finding{Name: "backup", Verdict: rollout.Pass}, rollout.Cause{Actor: "ola"}))
				}
			}
			return nil
		}
		_, err = w.run().Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "half", w.state.Step)
	})
}

func TestTwoAtOnce_OneLearnsToWhomItLost(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		first := true
		w.before = func(call string) error {
			if call == "begin ready" && first {
				first = false
				_, err := (&advance.Advance{
					Plan: w.plan, Steps: w.steps, Guard: w, Gates: w, Edge: w, Worker: w, Events: silence{}, Actor: "ola", Acks: allAcks,
					About: func(context.Context) (string, error) { return w.about, nil },
				}).Next(t.Context())
				return err
			}
			return nil
		}
		_, err := w.run().Next(t.Context())
		var refusal *control.Error
		require.ErrorAs(t, err, &refusal)
		assert.Equal(t, rollout.OutOfOrder, refusal.Code)
		assert.Contains(t, err.Error(), "ola completed the step ready")
		assert.Equal(t, once[:2], w.actions())
	})
}

func TestAcknowledgementsAreRememberedForWhatTheyWereAbout(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		require.NoError(t, w.record(w.state.Rollback(w.steps, rollout.Cause{Actor: "kari"})))
		_, err = w.run().Next(t.Context())
		var refusal *control.Error
		require.ErrorAs(t, err, &refusal)
		assert.Equal(t, rollout.Latched, refusal.Code)
		require.NoError(t, w.record(w.state.Resume(w.state.Generation, rollout.Cause{Actor: "kari", Reason: "mended"})))
		w.state.Step = "" // as if nothing was done

		run := w.run()
		run.Acks = nil
		w.about = "new images"
		_, err = run.Next(t.Context())
		var stopped *advance.Stopped
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, "trained", stopped.Gates[0].Name)
		w.about = "these images"
		report, err := run.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "by me", report.Steps[0].Gates[1].Acknowledged)
	})
}

func TestAOneWayStepHasToBeMeant(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		run := w.run()
		run.Acks = map[string]string{"trained": "by me"}
		report, err := run.All(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "stop", report.To)
		_, err = run.Next(t.Context())
		require.ErrorIs(t, err, advance.ErrOneWay)
		assert.Contains(t, err.Error(), "--ack remove=REASON")
		_, err = run.To(t.Context(), "remove")
		require.ErrorIs(t, err, advance.ErrOneWay)
		assert.NotContains(t, w.works, rollout.RemovePython)

		w.fails = errors.New("no such container")
		_, err = w.run().All(t.Context())
		require.ErrorContains(t, err, "the step remove is begun, but its work remove-python failed: no such container")
		report, err = run.All(t.Context())
		require.NoError(t, err, "it was meant when it was begun")
		assert.Equal(t, "remove", report.To)
		assert.Equal(t, once, w.actions())
	})
}

func TestAnInterruptedStepDoesNotAskAgainWhatHasToBeSoBeforeIt(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		w.after = func(call string) error {
			if call == "work stop-python" {
				w.after = nil
				return errGone
			}
			return nil
		}
		_, err := w.run().All(t.Context())
		require.ErrorIs(t, err, errGone)
		require.Equal(t, "stop", w.state.Progress.Step)
		_, err = w.run().All(t.Context())
		require.NoError(t, err)
		assert.Equal(t, once, w.actions())
		assert.Len(t, w.named("gate idle"), 1)
	})
}

func TestWeightsThatWereChangedAreAppliedAgainThroughTheGates(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().To(t.Context(), "ready")
		require.NoError(t, err)
		w.says["errors"] = rollout.Inconclusive
		_, err = w.run().Next(t.Context())
		require.Error(t, err)
		require.NoError(t, w.record(w.state.Route(w.steps, "a", 100, w.state.Generation, rollout.Cause{Actor: "ola"})))
		delete(w.says, "errors")
		w.says["routing"] = rollout.Fail
		_, err = w.run().Next(t.Context())
		var stopped *advance.Stopped
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, edge.Weight(100), w.state.Routes[0].Weight, "not through a gate that fails")
		w.says["routing"] = rollout.Pass
		_, err = w.run().Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, edge.Weight(5000), w.state.Routes[0].Weight)
	})
}

// Wherever a run ends, whether what it asked for was carried out or not, the
// next one goes on: each step is begun once and completed once.
func TestARunThatEndsAnywhereIsGoneOnWith(t *testing.T) {
	total := 0
	inTime(t, func(t *testing.T, w *world) {
		_, err := w.run().All(t.Context())
		require.NoError(t, err)
		total = len(w.calls)
	})
	require.Greater(t, total, 60)
	for _, end := range ends {
		for at := 1; at <= total; at++ {
			inTime(t, func(t *testing.T, w *world) {
				w.endAt(t, at, end)
				w.finish(t, fmt.Sprintf("%s call %d", end, at))
			})
		}
	}
}

// The same with several ends one after the other, and other bakes.
func TestProperty_AnyNumberOfInterruptionsIsGoneOnWith(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type interruption struct {
			at  int
			end string
		}
		rate := rapid.SampledFrom([]float64{2, 10, 100}).Draw(r, "rate")
		interruptions := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) interruption {
			return interruption{rapid.IntRange(1, 70).Draw(r, "at"), rapid.SampledFrom(ends).Draw(r, "end")}
		}), 1, 6).Draw(r, "interruptions")
		inTime(t, func(t *testing.T, w *world) {
			w.rate = rate
			for _, i := range interruptions {
				w.endAt(t, i.at, i.end)
			}
			w.finish(t, fmt.Sprint(rate, interruptions))
		})
	})
}

// ends are the ways in which a run ends.
var ends = []string{"cancelled before", "cancelled after", "lost before", "lost after"}

// endAt runs until a call, which is the last one that the run makes, or which
// fails.
func (w *world) endAt(t require.TestingT, at int, end string) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	calls := 0
	ended := func() error {
		if strings.HasPrefix(end, "cancelled") {
			cancel(context.Canceled)
			return ctx.Err()
		}
		return errGone
	}
	w.before, w.after = func(string) error {
		if calls++; calls == at && strings.HasSuffix(end, "before") {
			return ended()
		}
		return nil
	}, func(string) error {
		if calls == at && strings.HasSuffix(end, "after") {
			return ended()
		}
		return nil
	}
	_, err := w.run().All(ctx)
	if err != nil && calls < at {
		require.NoError(t, err)
	}
	w.before, w.after = nil, nil
	require.NoError(t, w.state.Validate())
}

func (w *world) finish(t require.TestingT, hint string) {
	_, err := w.run().All(context.Background())
	require.NoError(t, err, hint)
	require.Equal(t, "remove", w.state.Step, hint)
	require.Nil(t, w.state.Progress, hint)
	require.Equal(t, once, w.actions(), hint)
	require.Equal(t, []rollout.Work{rollout.StopPython, rollout.RemovePython}, slices.Compact(w.works), hint)
}

func TestUnknownAcknowledgements(t *testing.T) {
	w := newWorld()
	assert.Equal(t, []string{"half", "nothing"}, advance.Unknown(w.plan, map[string]string{"trained": "x", "remove": "x", "nothing": "x", "half": "x"}))
}
