package integrity

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBaselineIsKeptWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "baseline.json")
	_, err := Load(path)
	require.ErrorIs(t, err, ErrNoBaseline)
	b := Baseline{SchemaVersion: 1, TakenAt: time.Unix(1700000000, 0).UTC(), System: "7", Transaction: "9",
		Tables: []Table{{Name: "t", Columns: []string{"a"}, Key: "a", Rows: 10, Ranges: []Range{rangeOf(1, 10, "5")}}}}
	require.NoError(t, b.Save(path))
	require.NoError(t, b.Save(path), "it is replaced")
	got, err := Load(path)
	require.NoError(t, err)
	assert.Equal(t, b, got)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "something half-made was left")

	require.NoError(t, os.WriteFile(path, []byte(`{"schema_version": 1, "tab`), 0o600))
	_, err = Load(path)
	require.ErrorContains(t, err, "is broken")
	require.NoError(t, os.WriteFile(path, []byte(`{"schema_version": 2}`), 0o600))
	_, err = Load(path)
	require.ErrorContains(t, err, "version 2")
}
