package store_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
	"github.com/cutover-dev/cutover/internal/store/storetest"
)

// replanned is the adoption of another plan, with a step.
func replanned(t *testing.T, state rollout.State) rollout.Event {
	t.Helper()
	plan := rollout.Plan{
		Name: "p2k16", Hash: "second", Routes: []rollout.PlanRoute{{Name: "auth", Prefix: "/api/auth/"}}, Together: [][]string{{"auth"}},
		Jobs:  []rollout.PlanJob{{Name: "expire", Owner: edge.Python, Assign: "UPDATE"}},
		Steps: []rollout.Step{{Phase: "one", Name: "some", Weights: []rollout.StepWeight{{Route: "auth", Weight: 2550}}, Before: []string{"g"}, Bake: 1.5}},
	}
	_, event, err := state.AdoptPlan(plan, cause())
	require.NoError(t, err)
	return *event
}

func TestPlan_IsFoundWhateverIsLeftOfTheFiles(t *testing.T) {
	first := adopt(t, rollout.NewState(edge.Python))
	second := replanned(t, first.After)
	moved := route(t, second.After, "auth", 2500)
	history := []rollout.Event{first, second, moved}
	for name, c := range map[string]struct {
		damage func(*storetest.Disk)
		found  bool
	}{
		"all":                        {func(*storetest.Disk) {}, true},
		"without state.json":         {func(d *storetest.Disk) { require.NoError(t, d.Remove(file("state.json"))) }, true},
		"with a damaged state.json":  {func(d *storetest.Disk) { d.Put(file("state.json"), "{") }, true},
		"without a journal":          {func(d *storetest.Disk) { require.NoError(t, d.Remove(file("journal.jsonl"))) }, true},
		"with its line damaged":      {func(d *storetest.Disk) { damageLine(d, 1) }, true},
		"with the first one damaged": {func(d *storetest.Disk) { damageLine(d, 0) }, true},
		"with an old state.json": {func(d *storetest.Disk) {
			old, _ := committed(t, history[:2]...).Get(file("state.json"))
			d.Put(file("state.json"), old)
		}, true},
		"with the state of another plan": {func(d *storetest.Disk) {
			old, _ := committed(t, history[:1]...).Get(file("state.json"))
			d.Put(file("state.json"), old)
		}, true},
		"with its line and state.json damaged":               {func(d *storetest.Disk) { damageLine(d, 1); d.Put(file("state.json"), "{") }, false},
		"with a state.json without it, and its line damaged": {func(d *storetest.Disk) { damageLine(d, 1); withoutPlan(t, d) }, false},
		"with a state.json without it":                       {func(d *storetest.Disk) { withoutPlan(t, d) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			disk := committed(t, history...)
			c.damage(disk)
			s := store.OpenOn(disk, dir, quiet)

			assert.Equal(t, moved.After, s.State())
			if !c.found {
				assert.Empty(t, s.Plan(), "no other plan is taken for it")
				return
			}
			assert.Equal(t, *second.Plan, s.Plan())
		})
	}
}

func TestPlan_IsKeptWithWhatFollows(t *testing.T) {
	first := adopt(t, rollout.NewState(edge.Python))
	disk := committed(t, first, rollback(t, route(t, first.After, "auth", 2500).After))
	require.NoError(t, disk.Remove(file("journal.jsonl")))
	s := store.OpenOn(disk, dir, quiet)
	require.Equal(t, *first.Plan, s.Plan())
	_, err := s.Commit(route(t, adopt(t, rollout.NewState(edge.Python)).After, "auth", 100))
	require.NoError(t, err)
	text, _ := disk.Get(file("state.json"))
	assert.Contains(t, text, `"plan_content"`)
	assert.Equal(t, *first.Plan, store.OpenOn(disk.Restart(true), dir, quiet).Plan())
}

func TestPlan_OfNoStateIsNone(t *testing.T) {
	assert.Empty(t, store.OpenOn(storetest.NewDisk(), dir, quiet).Plan())
}

func damageLine(disk *storetest.Disk, number int) {
	text, _ := disk.Get(file("journal.jsonl"))
	lines := strings.SplitAfter(text, "\n")
	lines[number] = "{damaged}\n"
	disk.Put(file("journal.jsonl"), strings.Join(lines, ""))
}

func withoutPlan(t *testing.T, disk *storetest.Disk) {
	t.Helper()
	text, _ := disk.Get(file("state.json"))
	var content map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &content))
	require.Contains(t, content, "plan_content")
	delete(content, "plan_content")
	changed, err := json.Marshal(content)
	require.NoError(t, err)
	disk.Put(file("state.json"), string(changed))
}
