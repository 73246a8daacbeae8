package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/database/backup"
)

// killer is the command as a process of its own, which can be killed, and an
// environment with ten thousand rows.
type killer struct {
	*environment
	program string
	file    string // a whole backup
}

func newKiller(t *testing.T, name string) *killer {
	t.Helper()
	verifyDuration(t)
	k := &killer{environment: ownEnvironment(t, name, nil), program: filepath.Join(t.TempDir(), "cutover")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", k.program, "../cmd/cutover")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	k.up(t)
	k.awaitExpiry(t)
	k.file = k.backedUp(t, "backup").File // it records the baseline too
	return k
}

// kills is how many times each thing is killed.
func kills(t *testing.T) int {
	t.Helper()
	count, err := strconv.Atoi(os.Getenv("VERIFY_KILLS"))
	require.NoError(t, err, "VERIFY_KILLS")
	return count
}

// start runs the command as a process.
func (k *killer) start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), k.program, append([]string{"--project", k.project, "--progress", "quiet"}, args...)...)
	cmd.Env = append(os.Environ(), "CUTOVER_PLAN=", "CUTOVER_EDGE_HTTP_PORT=0", "CUTOVER_GUARD_PORT=0", "CUTOVER_PROMETHEUS_PORT=0")
	require.NoError(t, cmd.Start())
	return cmd
}

// hurt are the things that are killed while the command runs. Each leaves the
// environment well again.
func (k *killer) hurts() map[string]func(t *testing.T, cmd *exec.Cmd) {
	postgres := k.stack.Container("postgres")
	return map[string]func(t *testing.T, cmd *exec.Cmd){
		"the command": func(t *testing.T, cmd *exec.Cmd) {
			require.NoError(t, cmd.Process.Kill())
		},
		"postgres": func(t *testing.T, _ *exec.Cmd) {
			require.NoError(t, k.engine.Kill(t.Context(), postgres))
			require.NoError(t, k.engine.Start(t.Context(), postgres))
		},
		// The relays are the command's way to the database.
		"the network": func(t *testing.T, _ *exec.Cmd) {
			_, err := k.engine.Exec(t.Context(), k.stack.Container("guard"), "sh", "-c",
				`for p in /proc/[0-9]*; do if tr '\0' ' ' <$p/cmdline | grep -q '^guard dial tcp postgres'; then kill -9 ${p#/proc/}; fi; done; true`)
			require.NoError(t, err)
		},
	}
}

// story runs a command again and again and hurts it at a random moment of the
// time that it takes; then after has to find the world in order.
func (k *killer) story(t *testing.T, args []string, before, after func(t *testing.T)) {
	before(t)
	began := time.Now()
	require.NoError(t, k.start(t, args...).Wait())
	usual := time.Since(began)
	after(t)
	for name, hurt := range k.hurts() {
		t.Run(name, func(t *testing.T) {
			finished := 0
			for i := range kills(t) {
				before(t)
				cmd := k.start(t, args...)
				at := time.Duration(rand.Int64N(int64(usual)))
				time.Sleep(at)
				hurt(t, cmd)
				if cmd.Wait() == nil {
					finished++
				}
				k.awaitDatabase(t)
				run := k.run(t.Context(), args...)
				require.Zero(t, run.code, "kill %d, %s after the start: the next run fails: %s", i, at, run.stderr)
				after(t)
				if t.Failed() {
					t.Fatalf("kill %d, %s after the start", i, at)
				}
			}
			t.Logf("%d kills within %s; %d commands ended well all the same", kills(t), usual.Round(time.Millisecond), finished)
		})
	}
}

// awaitDatabase waits until a killed server answers again.
func (k *killer) awaitDatabase(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		return k.run(t.Context(), "db", "status").code == 0
	}, time.Minute, 100*time.Millisecond)
}

// intact says that every row is what it was.
func (k *killer) intact(t *testing.T) {
	t.Helper()
	v := k.verification(t)
	assert.Equal(t, "pass", v.Verdict, "%+v", v)
}

func TestVerifyExpandSurvivesKills(t *testing.T) {
	k := newKiller(t, "kill-expand")
	k.story(t, []string{"db", "expand"}, func(t *testing.T) { k.must(t, "db", "down") }, func(t *testing.T) {
		m := k.migrations(t, "status")
		assert.Equal(t, 4, m.applied("expand"))
		assert.Empty(t, m.Invalid)
		db := k.db(t)
		assert.EqualValues(t, 2, number(t, db, validIndexes))
		assert.EqualValues(t, 1, number(t, db, hasLastLogin))
		k.intact(t)
	})
}

func TestVerifyBackupSurvivesKills(t *testing.T) {
	k := newKiller(t, "kill-backup")
	folder := filepath.Dir(k.file)
	k.story(t, []string{"db", "backup"}, func(*testing.T) {}, func(t *testing.T) {
		whole, err := backup.List(folder)
		require.NoError(t, err)
		require.NotEmpty(t, whole)
		for _, path := range whole {
			_, err := backup.Open(path)
			require.NoError(t, err, "something half-made is taken for whole")
		}
		files, err := os.ReadDir(folder)
		require.NoError(t, err)
		assert.Len(t, files, 2*len(whole), "something half-made was left: %v", files)
		assert.Zero(t, number(t, k.db(t), scratchDatabases))
		k.intact(t)
		for _, path := range whole {
			if path != k.file {
				require.NoError(t, os.Remove(strings.TrimSuffix(path, ".dump")+".json"))
				require.NoError(t, os.Remove(path))
			}
		}
	})
}

func TestVerifyRestoreSurvivesKills(t *testing.T) {
	k := newKiller(t, "kill-restore")
	k.story(t, []string{"db", "restore", k.file, "--live", "--ack", "a test"}, func(*testing.T) {}, func(t *testing.T) {
		k.intact(t)
		db := k.db(t)
		assert.Zero(t, number(t, db, scratchDatabases))
		rows, err := db.Query(t.Context(), "SELECT datname FROM pg_database WHERE datname LIKE 'p2k16\\_before\\_%'")
		require.NoError(t, err)
		var replaced []string
		for rows.Next() {
			var name string
			require.NoError(t, rows.Scan(&name))
			replaced = append(replaced, name)
		}
		require.NoError(t, rows.Err())
		require.NotEmpty(t, replaced, "what was replaced is kept")
		for _, name := range replaced {
			_, err := db.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf("DROP DATABASE %q WITH (FORCE)", name))
			require.NoError(t, err)
		}
	})
}
