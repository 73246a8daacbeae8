package session

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startRedis runs a server of the test's own, or skips the test where there is
// none to run.
func startRedis(t *testing.T) *redis.Client {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed; the end-to-end tests have one")
	}
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	socket := filepath.Join(dir, "socket")
	server := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		assert.NoError(t, server.Process.Kill())
		assert.True(t, errors.As(server.Wait(), new(*exec.ExitError)), "it ran until it was killed")
	})

	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	require.Eventually(t, func() bool { return client.Ping(t.Context()).Err() == nil }, 10*time.Second, 10*time.Millisecond)
	return client
}

func TestRedis(t *testing.T) {
	client := startRedis(t)
	backend, ctx := NewRedis(client), t.Context()
	value := func(key string) string {
		value, err := backend.Get(ctx, key)
		require.NoError(t, err)
		return string(value)
	}
	put := func(key, value string) {
		require.NoError(t, client.Set(ctx, key, value, time.Hour).Err())
	}
	assertTTL := func(t *testing.T, key string, expected time.Duration) {
		ttl, err := client.PTTL(ctx, key).Result()
		require.NoError(t, err)
		assert.InDelta(t, expected.Seconds(), ttl.Seconds(), 5)
	}

	t.Run("create", func(t *testing.T) {
		created, err := backend.Create(ctx, "new", "", []byte("{}"), time.Minute)
		require.NoError(t, err)
		assert.True(t, created)
		assert.Equal(t, "{}", value("new"))
		assertTTL(t, "new", time.Minute)
	})
	t.Run("create in place of another", func(t *testing.T) {
		put("old", "1")
		created, err := backend.Create(ctx, "newer", "old", []byte("2"), time.Minute)
		require.NoError(t, err)
		assert.True(t, created)
		assert.Equal(t, "2", value("newer"))
		assert.Empty(t, value("old"))
	})
	t.Run("create where there is one", func(t *testing.T) {
		put("taken", "theirs")
		put("kept", "1")
		created, err := backend.Create(ctx, "taken", "kept", []byte("mine"), time.Minute)
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, "theirs", value("taken"))
		assert.Equal(t, "1", value("kept"))
		assertTTL(t, "taken", time.Hour)
	})
	t.Run("compare and set", func(t *testing.T) {
		put("record", "read")
		found, err := backend.CompareAndSet(ctx, "record", []byte("read"), []byte("written"), time.Minute)
		require.NoError(t, err)
		assert.Equal(t, "read", string(found))
		assert.Equal(t, "written", value("record"))
		assertTTL(t, "record", time.Minute)
	})
	t.Run("compare and set what others wrote", func(t *testing.T) {
		put("record", "theirs")
		found, err := backend.CompareAndSet(ctx, "record", []byte("read"), []byte("mine"), time.Minute)
		require.NoError(t, err)
		assert.Equal(t, "theirs", string(found))
		assert.Equal(t, "theirs", value("record"))
		assertTTL(t, "record", time.Hour)
	})
	t.Run("compare and set what is gone", func(t *testing.T) {
		found, err := backend.CompareAndSet(ctx, "gone", []byte("read"), []byte("mine"), time.Minute)
		require.NoError(t, err)
		assert.Nil(t, found)
		assert.Empty(t, value("gone"))
	})
	t.Run("touch", func(t *testing.T) {
		put("used", "1")
		exists, err := backend.Touch(ctx, "used", time.Minute)
		require.NoError(t, err)
		assert.True(t, exists)
		assertTTL(t, "used", time.Minute)
		exists, err = backend.Touch(ctx, "gone", time.Minute)
		require.NoError(t, err)
		assert.False(t, exists)
	})
}
