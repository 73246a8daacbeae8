package e2e

import (
	"context"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An advance that loses its engine, or is interrupted by a person, leaves the
// step as it is, and the next one goes on with it.
func TestInterruptedAdvanceGoesOn(t *testing.T) {
	env := useQuick(t)
	goesOn := func(t *testing.T, step string) {
		t.Helper()
		st := env.status(t)
		require.NotNil(t, st.Progress)
		assert.Equal(t, step, st.Progress.Step)
		env.advance(t)
		st = env.status(t)
		assert.Equal(t, step, st.Step)
		assert.Nil(t, st.Progress)
		explains(t, env)
	}
	bake := append([]string{"advance", "--bake", "5m"}, bakeAcks()...)

	t.Run("the engine is lost", func(t *testing.T) {
		relay := newRelay(t, env)
		p := env.start(t, "e2e", []string{"DOCKER_HOST=unix://" + relay.path}, bake...)
		env.awaitStep(t, "auth-10")
		relay.cut()
		assert.Equal(t, 5, p.wait(t, 30*time.Second), "%s", p.stderr.String())
		assert.Contains(t, p.stderr.String(), "cutover: the Docker Engine is not available at unix://"+relay.path)
		assert.NotContains(t, p.stderr.String(), "guard does not answer")
		assert.Contains(t, p.stdout.String(), "The step auth-10 is under way; cutover advance goes on with it.")
		goesOn(t, "auth-10")
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		ended := make(chan commandRun, 1)
		go func() { ended <- env.run(ctx, bake...) }()
		env.awaitStep(t, "auth-100")
		interrupt()
		run := <-ended
		assert.Equal(t, 130, run.code, run.stderr)
		assert.Contains(t, run.stderr, "run the same command again to go on")
		goesOn(t, "auth-100")
	})
}

// relay is a way to the engine that can be cut.
type relay struct {
	path     string
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
	down  bool
}

func newRelay(t *testing.T, env *environment) *relay {
	t.Helper()
	info, err := env.engine.Info(t.Context())
	require.NoError(t, err)
	engine, err := url.Parse(info.Endpoint)
	require.NoError(t, err)
	if engine.Scheme != "unix" {
		t.Skip("the engine is not on a unix socket")
	}
	r := &relay{path: filepath.Join(t.TempDir(), "engine.sock")}
	r.listener, err = net.Listen("unix", r.path)
	require.NoError(t, err)
	t.Cleanup(r.cut)
	go func() {
		for {
			conn, err := r.listener.Accept()
			if err != nil {
				return
			}
			r.join(conn, engine.Path)
		}
	}()
	return r
}

func (r *relay) join(conn net.Conn, path string) {
	target, err := net.Dial("unix", path)
	if err != nil {
		_ = conn.Close()
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, conn, target)
	if r.down {
		r.closeAll()
		return
	}
	for _, ends := range [][2]net.Conn{{conn, target}, {target, conn}} {
		go func() {
			_, _ = io.Copy(ends[1], ends[0])
			_ = ends[1].(*net.UnixConn).CloseWrite() // as its sender did
		}()
	}
}

// cut ends all connections and lets no new one come.
func (r *relay) cut() {
	_ = r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = true
	r.closeAll()
}

func (r *relay) closeAll() {
	for _, conn := range r.conns {
		_ = conn.Close()
	}
}
