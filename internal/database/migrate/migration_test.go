package migrate_test

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/database/migrate"
)

func folder(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func TestReadTakesMigrationsApart(t *testing.T) {
	m, err := migrate.Read(folder(map[string]string{
		"contract/00100_narrow.sql": "-- +goose Up\nDROP TABLE old;\n",
		"expand/00002_index.sql":    "-- why\n-- +goose NO TRANSACTION\n\n-- +goose Up\nCREATE INDEX CONCURRENTLY x ON a (b);\n\n-- +goose Down\nDROP INDEX CONCURRENTLY x;",
		"expand/00001_column.sql":   "-- +goose Up\nALTER TABLE a ADD b int;\nALTER TABLE a ADD c int;\n-- +goose Down\nALTER TABLE a DROP b;\n",
		"expand/README.md":          "no migration",
	}))
	require.NoError(t, err)
	assert.Equal(t, []migrate.Migration{
		{Version: 1, Name: "00001_column", Kind: migrate.Expand, Up: "ALTER TABLE a ADD b int;\nALTER TABLE a ADD c int;", Down: "ALTER TABLE a DROP b;"},
		{Version: 2, Name: "00002_index", Kind: migrate.Expand, Alone: true, Up: "CREATE INDEX CONCURRENTLY x ON a (b);", Down: "DROP INDEX CONCURRENTLY x;"},
		{Version: 100, Name: "00100_narrow", Kind: migrate.Contract, Up: "DROP TABLE old;"},
	}, m.List())
}

func TestReadRefusesBadMigrations(t *testing.T) {
	const good = "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;\n"
	const oneWay = "-- +goose Up\nSELECT 1;\n"
	for name, test := range map[string]struct {
		files map[string]string
		says  string
	}{
		"no statements":          {map[string]string{"expand/1_a.sql": "SELECT 1;"}, "nothing after -- +goose Up"},
		"no way down":            {map[string]string{"expand/1_a.sql": oneWay}, "no -- +goose Down"},
		"a way down of contract": {map[string]string{"contract/1_a.sql": good}, "cannot be taken back"},
		"no version":             {map[string]string{"expand/a.sql": good}, "expand/a.sql"},
		"one version twice":      {map[string]string{"expand/1_a.sql": good, "expand/01_b.sql": good}, "the same version"},
		"expand after contract":  {map[string]string{"contract/1_a.sql": oneWay, "expand/2_b.sql": good}, "lower version"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := migrate.Read(folder(test.files))
			assert.ErrorContains(t, err, test.says)
		})
	}
}

func TestReadOfNothing(t *testing.T) {
	m, err := migrate.Read(folder(nil))
	require.NoError(t, err)
	assert.Empty(t, m.List())
}

// The reference plan's migrations follow the rules, and what needs a table for
// itself is apart from what takes long.
func TestReferenceMigrations(t *testing.T) {
	m, err := migrate.Read(os.DirFS("../../../fixtures/p2k16/migrations"))
	require.NoError(t, err)
	require.NotEmpty(t, m.List())
	for _, migration := range m.List() {
		if migration.Alone {
			assert.Contains(t, migration.Up, "CONCURRENTLY", migration.Name)
			assert.Contains(t, migration.Down, "CONCURRENTLY", migration.Name)
		} else {
			assert.NotContains(t, migration.Up, "CREATE INDEX", migration.Name)
		}
	}
}
