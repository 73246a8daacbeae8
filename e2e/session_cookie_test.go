package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
)

// python runs a program of testdata in the legacy system's container, with its
// libraries.
func (env *environment) python(t *testing.T, program string, args ...string) io.ReadWriteCloser {
	t.Helper()
	source, err := os.ReadFile("testdata/flask/" + program)
	require.NoError(t, err)
	conn, err := env.engine.Tunnel(t.Context(), env.stack.Container("flask"), append([]string{"python3", "-B", "-c", string(source)}, args...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Minute)))
	return conn
}

// What Flask signs, Go reads, and the other way round: thousands of random
// sessions with every type that Flask knows, some with an older key.
func TestSessionCookiesAreFlasks(t *testing.T) {
	env := useShared(t)
	const sessions = 5000
	conn := env.python(t, "cookies.py", strconv.FormatInt(time.Now().UnixNano()%1e9, 10), strconv.Itoa(sessions))
	checkCookies(t, conn, sessions)
}

func checkCookies(t *testing.T, conn io.ReadWriter, sessions int) {
	codec := flaskcookie.New([]byte("the key of today"), 31*24*time.Hour, []byte("an older key"), []byte("å key"))
	lines := bufio.NewReaderSize(conn, 1<<20)
	read := func() []string {
		line, err := lines.ReadBytes('\n')
		require.NoError(t, err)
		var texts []string
		require.NoError(t, json.Unmarshal(line, &texts))
		return texts
	}
	wanted := make([]string, sessions)
	cookies := make([]string, sessions)
	compressed, differing := 0, 0
	for i := range sessions {
		made := read()
		wanted[i] = made[1]
		found, err := codec.Decode(made[0], time.Now().Add(time.Second))
		require.NoError(t, err, "%s", made[1])
		cookies[i], err = codec.Encode(found.Values, time.Now())
		require.NoError(t, err)
		if made[0][0] == '.' {
			compressed++
		}
		if (made[0][0] == '.') != (cookies[i][0] == '.') {
			differing++
		}
	}
	t.Logf("%d of %d were compressed; Go decided otherwise about %d", compressed, sessions, differing)
	assert.NotZero(t, compressed)
	assert.NotEqual(t, sessions, compressed)
	// Python answers as it reads, and neither side may wait for the other.
	written := make(chan error, 1)
	go func() {
		out := bufio.NewWriter(conn)
		encoder := json.NewEncoder(out)
		for _, cookie := range cookies {
			if err := encoder.Encode(cookie); err != nil {
				written <- err
				return
			}
		}
		if err := out.Flush(); err != nil {
			written <- err
			return
		}
		written <- conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	for i := range sessions {
		require.Equal(t, wanted[i], read()[0], "Flask reads something else out of Go's cookie")
	}
	require.NoError(t, <-written)
	assert.Equal(t, flaskcookie.Remember([]byte("the key of today"), "42"), read()[0])
}
