package backup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/database/integrity"
)

// kept makes a backup's files as Make does.
func kept(t *testing.T, dir, content string) string {
	t.Helper()
	file, err := os.CreateTemp(dir, halfMade+"*")
	require.NoError(t, err)
	_, err = file.WriteString(content)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	m := Manifest{SchemaVersion: 1, File: newName(time.Unix(1700000000, 0)), ServerVersion: 170004, Rows: 3}
	m.Bytes, m.SHA256, err = sumFile(file.Name())
	require.NoError(t, err)
	path, err := m.keep(dir, file)
	require.NoError(t, err)
	return path
}

func TestOpenTakesTheWholeAlone(t *testing.T) {
	dir := t.TempDir()
	path := kept(t, dir, "a dump of some length")
	m, err := Open(path)
	require.NoError(t, err)
	assert.EqualValues(t, 3, m.Rows)
	whole, err := List(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{path}, whole)

	require.NoError(t, os.WriteFile(path, []byte("a dump of some lengtH"), 0o600))
	_, err = Open(path)
	require.ErrorIs(t, err, ErrNotWhole)
	require.ErrorContains(t, err, "its content was changed")
	require.NoError(t, os.WriteFile(path, []byte("a dump of some lengt"), 0o600))
	_, err = Open(path)
	require.ErrorIs(t, err, ErrNotWhole)
	require.NoError(t, os.Remove(path))
	_, err = Open(path)
	require.ErrorIs(t, err, ErrNotWhole)
	require.NoError(t, os.Remove(manifestPath(path)))
	_, err = Open(path)
	require.ErrorContains(t, err, "there is no backup")
}

func TestTidyRemovesWhatIsHalfMade(t *testing.T) {
	dir := t.TempDir()
	path := kept(t, dir, "whole")
	for _, name := range []string{".new-123", "backup-20260101T000000.000Z.dump"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("somebody's"), 0o600))
	require.NoError(t, tidy(dir))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	assert.Equal(t, []string{filepath.Base(path), filepath.Base(manifestPath(path)), "notes.txt"}, names)
}

func TestDifferencesTellWhere(t *testing.T) {
	table := func(name, sum string, columns ...string) integrity.Table {
		return integrity.Table{Name: name, Columns: columns, Key: "id", Rows: 2, Ranges: []integrity.Range{{From: 1, To: 2, Rows: 2, Sum: sum}}}
	}
	want := integrity.Baseline{Tables: []integrity.Table{table("a", "1", "id"), table("b", "1", "id"), table("c", "1", "id"), table("d", "1", "id")}}
	assert.Empty(t, differences(want, want))
	got := integrity.Baseline{Tables: []integrity.Table{table("a", "1", "id"), table("b", "2", "id"), table("c", "1", "id", "x"), table("e", "1", "id")}}
	assert.Equal(t, []string{"b, id 1 to 2: 2 rows, not 2", "c has other columns", "d is missing", "e is too much"}, differences(want, got))
}
