package cli

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/session"
)

func TestSessions_Usage(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"sessions", "nonsense"}, `there is no command "nonsense"`},
		{[]string{"sessions", "migrate"}, `--to ""`},
		{[]string{"sessions", "migrate", "--to", "java"}, `--to "java"`},
		{[]string{"sessions", "show"}, "sessions show --help"},
		{[]string{"sessions", "verify", "x"}, "sessions verify --help"},
	} {
		code, out, stderr := run(t, test.args...)
		assert.Equal(t, ExitUsage, code, "%v", test.args)
		assert.Contains(t, stderr, test.says, "%v", test.args)
		assert.Empty(t, out, "%v", test.args)
	}
}

func TestSessions_ReportIsPrivateAndStays(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	path, err := keepReport(dir, at, []session.Unreadable{{ID: "a", Form: "pickle", Bytes: 7, Why: "it is not JSON"}, {ID: "b"}})
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, `{"id":"a","form":"pickle","bytes":7,"why":"it is not JSON"}`, strings.Split(string(content), "\n")[0])
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
	other, err := keepReport(dir, at.Add(time.Second), nil)
	require.NoError(t, err)
	assert.NotEqual(t, path, other)
}

func TestSessions_VerdictFirst(t *testing.T) {
	w := sessionsWalk{name: "migrate"}
	text := w.text(sessionsResult{Total: 3, Unreadable: 1, Converted: 2, Creators: map[string]int{"go": 1, "python": 1}, Report: "/x"})
	assert.True(t, strings.HasPrefix(text, "1 of 3 sessions cannot be read by both systems"), text)
	assert.Contains(t, text, "2 were converted; nothing was deleted.")
	assert.Contains(t, text, "Which ones, and why: /x")
	assert.True(t, strings.HasPrefix(sessionsWalk{}.text(sessionsResult{Total: 3}), "Both systems can read all 3 sessions."))
	assert.True(t, strings.HasPrefix(sessionsWalk{}.text(sessionsResult{}), "There are no sessions."))
}

func TestSessions_ShowTellsNoValueOfAnApplication(t *testing.T) {
	text := sessionText(sessionResult{State: "live", Readable: true, UserID: "7", CreatedBy: "go", Migrated: true, LeftS: 90, Bytes: 40, Keys: map[string]int{"_user_id": 3, "basket": 12}})
	assert.Equal(t, "User 7 is logged in. Made by go, it lives for another 1m30s unless it is used. It is from before the migration.\n40 bytes in 2 keys: _user_id (3), basket (12)", text)
	assert.Contains(t, sessionText(sessionResult{State: "ended"}), "ended")
	assert.Contains(t, sessionText(sessionResult{State: "unknown"}), "no such session")
	assert.Contains(t, sessionText(sessionResult{State: "live", Why: "it is \x1b"}), "it is ·")
}
