package rollout_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Of two who begin or complete the same step one wins, and the other is told to
// whom. Who did it himself, or saw it under way, is told nothing.
func TestStep_WhoLosesTheRaceIsToldTheWinner(t *testing.T) {
	plan := rollout.Plan{
		Name: "p", Hash: "1", Routes: []rollout.PlanRoute{{Name: "a", Prefix: "/"}},
		Steps: []rollout.Step{{Phase: "one", Name: "some", Weights: []rollout.StepWeight{{Route: "a", Weight: 2500}}}},
	}
	by := func(actor string) rollout.Cause { return rollout.Cause{Actor: actor, At: someone.At} }
	start, _, err := rollout.NewState(edge.Python).AdoptPlan(plan, someone)
	require.NoError(t, err)
	seen := rollout.StepRequest{Step: "some", Generation: start.Generation}
	begun, _, err := start.Begin(plan, seen, by("alice"))
	require.NoError(t, err)

	_, event, err := begun.Begin(plan, seen, by("bob"))
	refused(t, rollout.Stale, err)
	assert.ErrorContains(t, err, "alice began the step some")
	assert.Nil(t, event)
	_, event, err = begun.Begin(plan, seen, by("alice"))
	require.NoError(t, err, "her answer was lost")
	assert.Nil(t, event)
	seen.Generation = begun.Generation
	_, event, err = begun.Begin(plan, seen, by("bob"))
	require.NoError(t, err, "he goes on with it")
	assert.Nil(t, event)

	done, _, err := begun.Complete(plan, seen, by("bob"))
	require.NoError(t, err)
	_, event, err = done.Complete(plan, seen, by("bob"))
	require.NoError(t, err, "his answer was lost")
	assert.Nil(t, event)
	_, event, err = done.Complete(plan, seen, by("alice"))
	refused(t, rollout.OutOfOrder, err)
	assert.ErrorContains(t, err, "bob completed the step some")
	assert.Nil(t, event)
}
