package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// backedUp is what db backup, prove and restore --json say.
type backedUp struct {
	Verdict, File, Replaced string
	Rows, Bytes             int64
	RestoredAs              string `json:"restored_as"`
}

func (env *environment) backedUp(t *testing.T, args ...string) backedUp {
	t.Helper()
	var b backedUp
	require.NoError(t, json.Unmarshal([]byte(env.must(t, append(append([]string{"db"}, args...), "--json")...)), &b))
	require.Equal(t, "pass", b.Verdict)
	return b
}

const scratchDatabases = "SELECT count(*) FROM pg_database WHERE datname LIKE 'cutover%'"

// A backup brings everything back, beside the live database and in its place,
// under the eyes of both systems; what it replaces is kept.
func TestBackupBringsEverythingBack(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	b := env.backedUp(t, "backup")
	assert.Positive(t, b.Rows)
	for _, path := range []string{b.File, strings.TrimSuffix(b.File, ".dump") + ".json"} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), path)
	}
	assert.Equal(t, b.Rows, env.backedUp(t, "prove", filepath.Base(b.File)).Rows)
	assert.Zero(t, number(t, db, scratchDatabases), "a scratch database was left")

	beside := env.backedUp(t, "restore", b.File, "--as", "beside")
	assert.Equal(t, "beside", beside.RestoredAs)
	assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM pg_database WHERE datname = 'beside'"))
	assert.Equal(t, 3, env.run(t.Context(), "db", "restore", b.File, "--as", "beside").code, "a name that is taken")
	_, err := db.Exec(t.Context(), "DROP DATABASE beside")
	require.NoError(t, err)

	_, err = db.Exec(t.Context(), "UPDATE accounts SET name = 'lost' WHERE username = 'user40'")
	require.NoError(t, err)
	assert.Equal(t, 2, env.run(t.Context(), "db", "restore", b.File, "--live").code, "without a reason")
	replaced := env.backedUp(t, "restore", b.File, "--live", "--ack", "a test")
	require.NotEmpty(t, replaced.Replaced)
	after := env.db(t) // the older session was cut off
	assert.Zero(t, number(t, after, "SELECT count(*) FROM accounts WHERE name = 'lost'"))
	assert.Zero(t, number(t, after, scratchDatabases))
	// The applications' connections were cut off: they make others.
	for _, system := range systems {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			assert.NoError(c, env.directVisitor(t, system).login(t.Context(), "user40"))
		}, 20*time.Second, 200*time.Millisecond, system)
	}
	_, err = after.Exec(t.Context(), "DROP DATABASE "+replaced.Replaced)
	require.NoError(t, err)
}

// What is not a whole backup, or cannot be made one, is refused with the right
// exit code, and nothing is changed or left.
func TestHalfABackupIsNone(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	b := env.backedUp(t, "backup")
	dump, err := os.ReadFile(b.File)
	require.NoError(t, err)
	manifest, err := os.ReadFile(strings.TrimSuffix(b.File, ".dump") + ".json")
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name string, dump, manifest []byte) string {
		path := filepath.Join(dir, name+".dump")
		require.NoError(t, os.WriteFile(path, dump, 0o600))
		if manifest != nil {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+".json"), manifest, 0o600))
		}
		return path
	}
	flipped := append([]byte{}, dump...)
	flipped[len(flipped)/2] ^= 1
	newer := strings.Replace(string(manifest), `"server_version":17`, `"server_version":18`, 1)
	require.NotEqual(t, string(manifest), newer)
	// One that says of itself that it is whole, and holds something else.
	lying := strings.Replace(string(manifest), `"name":"accounts","columns":["id"`, `"name":"accounts","columns":["ID"`, 1)
	require.NotEqual(t, string(manifest), lying)
	for name, test := range map[string]struct {
		path, says string
	}{
		"truncated":   {write("truncated", dump[:len(dump)-100], manifest), "bytes, and had"},
		"bit-flipped": {write("flipped", flipped, manifest), "its content was changed"},
		"unfinished":  {write("unfinished", dump, nil), "its manifest unfinished.json is missing"},
		"broken":      {write("broken", dump, manifest[:100]), "its manifest cannot be read"},
		"newer":       {write("newer", dump, []byte(newer)), "is of Postgres 18"},
		"lying":       {write("lying", dump, []byte(lying)), "accounts has other columns"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{{"prove", test.path}, {"restore", test.path, "--as", "never"}, {"restore", test.path, "--live", "--ack", "a test"}} {
				run := env.run(t.Context(), append([]string{"db"}, args...)...)
				assert.Equal(t, 3, run.code, "%v: %s", args, run.stderr)
				assert.Contains(t, run.stderr, test.says, "%v", args)
			}
			assert.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')"))
		})
	}

	// A password that is not the server's.
	_, err = db.Exec(t.Context(), "ALTER ROLE postgres PASSWORD 'another'")
	require.NoError(t, err)
	for _, args := range [][]string{{"backup"}, {"verify"}, {"status"}, {"expand"}, {"prove", b.File}} {
		run := env.run(t.Context(), append([]string{"db"}, args...)...)
		assert.Equal(t, 5, run.code, "%v: %s", args, run.stderr)
		assert.Contains(t, run.stderr, "does not take the password", "%v", args)
	}
	secrets, err := env.stack.Secrets(t.Context())
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), "ALTER ROLE postgres PASSWORD '"+secrets["postgres/superuser_password"]+"'")
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(env.stack.Dir(), "backups", ".new-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "half-made files were left")
}
