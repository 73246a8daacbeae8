package event

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func story(s Sink) {
	Work(s, "image edge", "building")
	Work(s, "image edge", "step 2")
	time.Sleep(1500 * time.Millisecond)
	Finish(s, "image edge", "built")
	Finish(s, "image edge", "built")
	Warn(s, "volumes", "are old")
	Fail(s, "service flask", "not healthy")
}

func render(t *testing.T, mode Mode, terminal bool) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		r, err := NewRenderer(mode, &out, terminal, false)
		require.NoError(t, err)
		story(r)
		require.NoError(t, r.Close())
	})
	return out.String()
}

func TestPlainShowsBeginningAndEndOfEachSubject(t *testing.T) {
	assert.Equal(t, `image edge             building
image edge             built (1.5 s)
warning: volumes                are old
failed: service flask          not healthy
`, render(t, Plain, true))
	assert.Equal(t, render(t, Plain, false), render(t, Auto, false), "a pipe gets plain lines")
}

func TestQuietShowsOnlyWhatWentWrong(t *testing.T) {
	assert.Equal(t, "warning: volumes                are old\nfailed: service flask          not healthy\n", render(t, Quiet, true))
}

func TestJSONIsOneObjectALine(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(render(t, JSON, false)), "\n")
	require.Len(t, lines, 6)
	var last map[string]string
	require.NoError(t, json.Unmarshal([]byte(lines[5]), &last))
	assert.Equal(t, "service flask", last["subject"])
	assert.Equal(t, "failed", last["status"])
}

func TestTerminalEndsWithALineForEachSubject(t *testing.T) {
	out := render(t, Auto, true)
	last := out[strings.LastIndex(out, "A\x1b[2K"):]
	assert.Equal(t, 3, strings.Count(last, "\n"), "%q", last)
	assert.Contains(t, last, "✔ image edge               1.5 s  built")
	assert.Contains(t, last, "✘ service flask")
	assert.NotContains(t, out, "\x1b[3", "no colours were asked for")
}

func TestUnknownModeNamesTheOnesThereAre(t *testing.T) {
	_, err := NewRenderer("loud", nil, false, false)
	assert.ErrorContains(t, err, "auto, tty, plain, json, quiet")
}
