package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/store"
	"github.com/cutover-dev/cutover/internal/store/storetest"
)

const dir = "/var/lib/cutover"

var quiet = slog.New(slog.DiscardHandler)

func TestOpen_FindsNothingOnAnEmptyDisk(t *testing.T) {
	s := store.OpenOn(storetest.NewDisk(), dir, quiet)

	assert.Zero(t, s.State().Generation)
	assert.Empty(t, s.Home())
	assert.Empty(t, events(t, s, 0))
}

func TestCommit_IsFoundByTheNextProcess(t *testing.T) {
	folder := t.TempDir()
	first := open(t, folder)
	planned := adopt(t, rollout.NewState(edge.Python))
	recorded, err := first.Commit(planned)
	require.NoError(t, err)
	require.NoError(t, first.Close())

	second := open(t, folder)

	assert.Equal(t, planned.After, second.State())
	assert.Equal(t, edge.Python, second.Home())
	assert.Equal(t, uint64(1), recorded.Seq)
	assert.Equal(t, []uint64{1}, events(t, second, 0))
	assert.JSONEq(t, text(planned.After.Table()), readFile(t, filepath.Join(folder, "table.json")))
}

// Whatever step a commit dies at, by a kill or by a loss of power, the next
// process finds the old state or the new one, and can go on from there.
func TestCommit_DyingAtAnyStepLeavesTheOldOrTheNewState(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	for _, powerLost := range []bool{false, true} {
		for step := 1; ; step++ {
			disk := storetest.NewDisk()
			s := store.OpenOn(disk, dir, quiet)
			_, err := s.Commit(planned)
			require.NoError(t, err)
			disk.DieAt(step)
			_, err = s.Commit(moved)
			died := disk.Dead()
			name := fmt.Sprintf("power lost %t, step %d", powerLost, step)

			disk = disk.Restart(powerLost)
			s = store.OpenOn(disk, dir, quiet)
			found := s.State()
			switch {
			case err == nil:
				require.Equal(t, moved.After, found, name)
			case found.Generation == planned.After.Generation:
				require.Equal(t, planned.After, found, name)
			default:
				require.Equal(t, moved.After, found, name)
			}
			require.LessOrEqual(t, savedTable(t, disk).Generation, found.Generation, name)

			next := route(t, found, "users", 100)
			recorded, err := s.Commit(next)
			require.NoError(t, err, name)
			require.Equal(t, events(t, s, 0)[len(events(t, s, 0))-1], recorded.Seq, name)
			require.Equal(t, next.After, store.OpenOn(disk.Restart(true), dir, quiet).State(), name)
			if !died {
				require.Greater(t, step, 8, "the steps of a commit were not all tried")
				break
			}
		}
	}
}

func TestCommit_OnAFullDiskChangesNothing(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	for writes := range 4 { // three files and the journal's line
		disk := storetest.NewDisk()
		s := store.OpenOn(disk, dir, quiet)
		_, err := s.Commit(planned)
		require.NoError(t, err)
		before := contents(disk)

		disk.Fill(writes)
		_, err = s.Commit(moved)

		require.ErrorIs(t, err, syscall.ENOSPC)
		assert.Equal(t, planned.After, s.State())
		assert.Equal(t, before, contents(disk), "after %d writes", writes)

		disk.Free()
		recorded, err := s.Commit(moved)
		require.NoError(t, err)
		assert.Equal(t, uint64(2), recorded.Seq)
		assert.Equal(t, []uint64{1, 2}, events(t, s, 0))
	}
}

func TestOpen_CutsOffATornLine(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	disk := committed(t, planned, moved)
	journal, _ := disk.Get(file("journal.jsonl"))
	whole := strings.Index(journal, "\n") + 1
	for size := whole + 1; size < len(journal); size += 7 {
		disk := storetest.NewDisk()
		disk.Put(file("journal.jsonl"), journal[:size])
		var log bytes.Buffer

		s := store.OpenOn(disk, dir, slog.New(slog.NewJSONHandler(&log, nil)))

		require.Equal(t, planned.After, s.State())
		require.Contains(t, log.String(), "unfinished last line")
		left, _ := disk.Get(file("journal.jsonl"))
		require.Equal(t, journal[:whole], left)
		_, err := s.Commit(moved)
		require.NoError(t, err)
		require.Equal(t, []uint64{1, 2}, events(t, s, 0))
	}
}

func TestOpen_ReplaysAJournalThatIsNewer(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	disk := committed(t, planned)
	old, _ := disk.Get(file("state.json"))
	_, err := store.OpenOn(disk, dir, quiet).Commit(moved)
	require.NoError(t, err)
	fresh, _ := disk.Get(file("state.json"))
	disk.Put(file("state.json"), old)

	s := store.OpenOn(disk, dir, quiet)

	assert.Equal(t, moved.After, s.State())
	replayed, _ := disk.Get(file("state.json"))
	assert.JSONEq(t, fresh, replayed)
}

func TestOpen_RebuildsADamagedStateFromTheJournal(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	for name, damaged := range map[string]string{
		"empty":       "",
		"truncated":   `{"schema_version":1,"generation":1,"ho`,
		"foreign":     `{"name":"p2k16","version":"1.0"}`,
		"newer":       `{"schema_version":2,"generation":1,"home":"python","routes":[],"seq":1}`,
		"not a state": `"state"`,
		"impossible":  `{"schema_version":1,"generation":9,"latched":true,"home":"python","routes":[{"name":"a","prefix":"/","weight":50,"pin":""}],"seq":9}`,
	} {
		t.Run(name, func(t *testing.T) {
			disk := committed(t, planned)
			disk.Put(file("state.json"), damaged)
			var log bytes.Buffer

			s := store.OpenOn(disk, dir, slog.New(slog.NewJSONHandler(&log, nil)))

			assert.Equal(t, planned.After, s.State())
			assert.Contains(t, log.String(), file("state.json"))
			kept, _ := disk.Get(file("state.json.damaged"))
			assert.Equal(t, damaged, kept)
		})
	}
}

func TestOpen_ComesUpWithNothingUsable(t *testing.T) {
	disk := storetest.NewDisk()
	disk.Put(file("state.json"), "\x00\x00\x00\x00")
	disk.Put(file("journal.jsonl"), "\x00\x00\x00\n<html>\n")

	s := store.OpenOn(disk, dir, quiet)

	assert.Zero(t, s.State().Generation)
	_, err := s.Commit(adopt(t, rollout.NewState(edge.Python)))
	require.NoError(t, err)
	assert.Equal(t, []uint64{1}, events(t, s, 0))
}

func TestOpen_SkipsADamagedLineAndKeepsIt(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	disk := committed(t, planned, moved)
	journal, _ := disk.Get(file("journal.jsonl"))
	first, second, _ := strings.Cut(journal, "\n")
	damaged := first + "\n" + `{"seq":` + "\n" + second
	disk.Put(file("journal.jsonl"), damaged)

	s := store.OpenOn(disk, dir, quiet)

	assert.Equal(t, moved.After, s.State())
	assert.Equal(t, []uint64{1, 2}, events(t, s, 0))
	left, _ := disk.Get(file("journal.jsonl"))
	assert.Equal(t, damaged, left)
}

func TestOpen_RefusesToRecordWithAJournalThatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	planned := adopt(t, rollout.NewState(edge.Python))
	s := open(t, folder)
	_, err := s.Commit(planned)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	journal := filepath.Join(folder, "journal.jsonl")
	require.NoError(t, os.Remove(journal))
	require.NoError(t, os.Mkdir(journal, 0o700))

	s = open(t, folder)
	_, err = s.Commit(route(t, planned.After, "auth", 2500))

	require.ErrorContains(t, err, journal)
	assert.Equal(t, planned.After, s.State())
}

func TestCommit_RefusesAJournalThatBecameShorter(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	disk := committed(t, planned)
	s := store.OpenOn(disk, dir, quiet)
	disk.Put(file("journal.jsonl"), "")

	_, err := s.Commit(route(t, planned.After, "auth", 2500))

	require.ErrorContains(t, err, "became shorter")
}

func TestCommit_CutsOffWhatAFailedOneLeftBehind(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	disk := committed(t, planned)
	s := store.OpenOn(disk, dir, quiet)
	journal, _ := disk.Get(file("journal.jsonl"))
	disk.Put(file("journal.jsonl"), journal+`{"seq":2,"ti`)

	_, err := s.Commit(route(t, planned.After, "auth", 2500))

	require.NoError(t, err)
	assert.Equal(t, []uint64{1, 2}, events(t, store.OpenOn(disk, dir, quiet), 0))
}

func TestOpen_GoesOnCountingWithoutAJournal(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	disk := committed(t, planned, moved)
	require.NoError(t, disk.Remove(file("journal.jsonl")))

	s := store.OpenOn(disk, dir, quiet)

	assert.Equal(t, moved.After, s.State())
	recorded, err := s.Commit(rollback(t, moved.After))
	require.NoError(t, err)
	assert.Equal(t, uint64(3), recorded.Seq)
}

func TestDropTable_NeedsNoSpace(t *testing.T) {
	disk := committed(t, adopt(t, rollout.NewState(edge.Python)))
	s := store.OpenOn(disk, dir, quiet)
	disk.Fill(0)

	require.NoError(t, s.DropTable())
	require.NoError(t, s.DropTable(), "again")

	assert.NotContains(t, disk.Restart(true).Names(), file("table.json"))
}

func TestSaveTable_DyingAtAnyStepLeavesTheOldOrTheNewTable(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	for _, powerLost := range []bool{false, true} {
		for step, died := 1, true; died; step++ {
			disk := committed(t, planned)
			s := store.OpenOn(disk, dir, quiet)
			disk.DieAt(step)
			err := s.SaveTable(moved.After.Table())
			died = disk.Dead()

			found := savedTable(t, disk.Restart(powerLost))
			if err != nil && found.Generation == planned.After.Generation {
				require.Equal(t, planned.After.Table(), found)
			} else {
				require.Equal(t, moved.After.Table(), found)
			}
		}
	}
}

func TestHome_IsReadLeniently(t *testing.T) {
	disk := storetest.NewDisk()
	s := store.OpenOn(disk, dir, quiet)
	for content, home := range map[string]edge.System{"go\n": edge.Go, "python": edge.Python, "ruby": "", "": ""} {
		disk.Put(file("home"), content)
		assert.Equal(t, home, s.Home(), "%q", content)
	}
}

func TestBreakGlass_IsBrokenWhateverItsFileHolds(t *testing.T) {
	disk := storetest.NewDisk()
	s := store.OpenOn(disk, dir, quiet)
	_, broken := s.BreakGlass()
	assert.False(t, broken)
	for text, found := range map[string]store.BreakGlass{
		`{"actor":"ola","reason":"fire","time":"t"}`:          {Actor: "ola", Reason: "fire", Time: "t"},
		`{"actor":"ola","reason":"\"quoted\" & $HOME","x":1}`: {Actor: "ola", Reason: `"quoted" & $HOME`},
		`{"actor":"ola","rea`:                                 {Actor: "unknown", Reason: "break-glass"},
		`{"actor":"ola","reason":7}`:                          {Actor: "unknown", Reason: "break-glass"},
		`[]`:                                                  {Actor: "unknown", Reason: "break-glass"},
		``:                                                    {Actor: "unknown", Reason: "break-glass"},
	} {
		disk.Put(file("break-glass"), text)

		read, broken := s.BreakGlass()

		assert.True(t, broken)
		assert.Equal(t, found, read, text)
	}
}

func TestBreakGlass_IsBrokenByWhatCannotBeRead(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "break-glass"), 0o700))

	_, broken := open(t, folder).BreakGlass()

	assert.True(t, broken)
}

func TestReserve_MakesSpaceOnce(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	disk := committed(t, planned)
	s := store.OpenOn(disk, dir, quiet)
	assert.False(t, s.SpendReserve(), "there is none yet")
	s.KeepReserve()
	s = store.OpenOn(disk.Restart(true), dir, quiet)
	assert.True(t, s.SpendReserve(), "it is there after a loss of power")

	s = store.OpenOn(disk, dir, quiet)
	s.KeepReserve()
	disk.Fill(0)
	_, err := s.Commit(rollback(t, planned.After))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.True(t, s.SpendReserve())
	_, err = s.Commit(rollback(t, planned.After))
	require.NoError(t, err)
	assert.False(t, s.SpendReserve())
}

func TestReserve_DyingAtAnyStepDoesNoHarm(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	for _, powerLost := range []bool{false, true} {
		for step, died := 1, true; died; step++ {
			disk := committed(t, planned)
			s := store.OpenOn(disk, dir, quiet)
			disk.DieAt(step)
			s.KeepReserve()
			died = disk.Dead()

			found := disk.Restart(powerLost)
			s = store.OpenOn(found, dir, quiet)
			require.Equal(t, planned.After, s.State())
			s.KeepReserve()
			require.True(t, s.SpendReserve())
		}
	}
}

func TestEvents_AreFollowed(t *testing.T) {
	s := store.OpenOn(storetest.NewDisk(), dir, quiet)
	planned := adopt(t, rollout.NewState(edge.Python))
	reader := s.Events(0)
	changed := s.Changed()
	_, err := reader.Next()
	require.ErrorIs(t, err, io.EOF)

	_, err = s.Commit(planned)
	require.NoError(t, err)

	<-changed
	event, err := reader.Next()
	require.NoError(t, err)
	assert.Equal(t, planned.After, event.After)
	assert.Equal(t, planned.Time.UTC().Truncate(time.Millisecond), event.Time.UTC())
	_, err = reader.Next()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, reader.Close())
}

func TestEvents_EndWithAnErrorInAJournalThatBecameShorter(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	whole, _ := committed(t, planned, moved).Get(file("journal.jsonl"))
	first := strings.Index(whole, "\n") + 1
	for name, size := range map[string]int{"empty": 0, "a line": first, "part of a line": first + 7} {
		t.Run(name, func(t *testing.T) {
			disk := committed(t, planned, moved)
			s := store.OpenOn(disk, dir, quiet)
			disk.Put(file("journal.jsonl"), whole[:size])
			reader := s.Events(0)
			defer func() { require.NoError(t, reader.Close()) }()
			if size >= first {
				event, err := reader.Next()
				require.NoError(t, err)
				require.Equal(t, uint64(1), event.Seq)
			}

			for range 2 { // it does not get better by asking again
				_, err := reader.Next()

				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				require.ErrorContains(t, err, file("journal.jsonl"))
			}
		})
	}
}

func TestEvents_BeginAfterANumber(t *testing.T) {
	planned := adopt(t, rollout.NewState(edge.Python))
	moved := route(t, planned.After, "auth", 2500)
	back := rollback(t, moved.After)
	s := store.OpenOn(committed(t, planned, moved, back), dir, quiet)

	assert.Equal(t, []uint64{2, 3}, events(t, s, 1))
	assert.Empty(t, events(t, s, 3))
}

func TestOpen_WaitsForTheLock(t *testing.T) {
	folder := t.TempDir()
	holder := open(t, folder)
	brief, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()

	_, err := store.Open(brief, folder, quiet)
	require.ErrorIs(t, err, store.ErrLocked)
	require.ErrorContains(t, err, filepath.Join(folder, "lock"))

	got := make(chan error, 1)
	go func() {
		next, err := store.Open(t.Context(), folder, quiet)
		if err == nil {
			err = next.Close()
		}
		got <- err
	}()
	require.NoError(t, holder.Close())
	require.NoError(t, <-got)
}

func TestOpen_NeedsItsFolder(t *testing.T) {
	_, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "missing"), quiet)

	require.ErrorIs(t, err, os.ErrNotExist)
}

// Helpers

func open(t *testing.T, folder string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), folder, quiet)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			assert.ErrorIs(t, err, os.ErrClosed)
		}
	})
	return s
}

func committed(t *testing.T, history ...rollout.Event) *storetest.Disk {
	t.Helper()
	disk := storetest.NewDisk()
	s := store.OpenOn(disk, dir, quiet)
	for _, event := range history {
		_, err := s.Commit(event)
		require.NoError(t, err)
	}
	return disk
}

func adopt(t *testing.T, state rollout.State) rollout.Event {
	t.Helper()
	plan := rollout.Plan{Name: "p2k16", Hash: "abc", Routes: []rollout.PlanRoute{
		{Name: "auth", Prefix: "/api/auth/"},
		{Name: "users", Prefix: "/api/users/"},
		{Name: "assets", Prefix: "/assets/", Pin: edge.Go},
	}}
	_, event, err := state.AdoptPlan(plan, cause())
	require.NoError(t, err)
	return *event
}

func route(t *testing.T, state rollout.State, name string, weight edge.Weight) rollout.Event {
	t.Helper()
	_, event, err := state.Route(rollout.Plan{}, name, weight, state.Generation, cause())
	require.NoError(t, err)
	return *event
}

func rollback(t *testing.T, state rollout.State) rollout.Event {
	_, event, err := state.Rollback(rollout.Plan{}, cause())
	require.NoError(t, err)
	return *event
}

func cause() rollout.Cause {
	return rollout.Cause{Actor: "kari", Reason: "a test", At: time.Now()}
}

func events(t *testing.T, s *store.Store, after uint64) []uint64 {
	t.Helper()
	reader := s.Events(after)
	defer func() { require.NoError(t, reader.Close()) }()
	var seqs []uint64
	for {
		event, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return seqs
		}
		require.NoError(t, err)
		seqs = append(seqs, event.Seq)
	}
}

func contents(disk *storetest.Disk) map[string]string {
	all := map[string]string{}
	for _, name := range disk.Names() {
		all[name], _ = disk.Get(name)
	}
	return all
}

func savedTable(t *testing.T, disk *storetest.Disk) edge.Table {
	t.Helper()
	content, ok := disk.Get(file("table.json"))
	require.True(t, ok)
	var table edge.Table
	require.NoError(t, json.Unmarshal([]byte(content), &table))
	return table
}

func file(name string) string {
	return filepath.Join(dir, name)
}

func text(value any) string {
	content, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(content)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(content)
}
