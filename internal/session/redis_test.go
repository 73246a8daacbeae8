package session

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/session/sessiontest"
)

func TestRedis(t *testing.T) {
	client := sessiontest.StartRedis(t)
	backend, ctx := NewRedis(client, 10*time.Second), t.Context()
	value := func(key string) string {
		value, err := backend.Get(ctx, key)
		require.NoError(t, err)
		return string(value)
	}
	put := func(key, value string) {
		require.NoError(t, client.Set(ctx, key, value, time.Hour).Err())
	}
	has := func(key string) bool {
		value, err := backend.Get(ctx, key)
		require.NoError(t, err)
		return value != nil
	}
	assertTTL := func(t *testing.T, key string, expected time.Duration) {
		ttl, err := client.PTTL(ctx, key).Result()
		require.NoError(t, err)
		assert.InDelta(t, expected.Seconds(), ttl.Seconds(), 5)
	}

	t.Run("create", func(t *testing.T) {
		created, err := backend.Create(ctx, "new", "", "", []byte("{}"), time.Minute)
		require.NoError(t, err)
		assert.True(t, created)
		assert.Equal(t, "{}", value("new"))
		assertTTL(t, "new", time.Minute)
	})
	t.Run("create in place of another", func(t *testing.T) {
		put("old", "1")
		created, err := backend.Create(ctx, "newer", "old", "old ended", []byte("2"), time.Minute)
		require.NoError(t, err)
		assert.True(t, created)
		assert.Equal(t, "2", value("newer"))
		assert.Empty(t, value("old"))
		assert.True(t, has("old ended"))
		assertTTL(t, "old ended", time.Minute)
	})
	t.Run("create where there is one", func(t *testing.T) {
		put("taken", "theirs")
		put("kept", "1")
		created, err := backend.Create(ctx, "taken", "kept", "kept ended", []byte("mine"), time.Minute)
		require.NoError(t, err)
		assert.False(t, created)
		assert.Equal(t, "theirs", value("taken"))
		assert.Equal(t, "1", value("kept"))
		assert.False(t, has("kept ended"))
		assertTTL(t, "taken", time.Hour)
	})
	t.Run("compare and set", func(t *testing.T) {
		put("record", "read")
		require.NoError(t, client.Expire(ctx, "record", time.Second).Err())
		found, left, err := backend.CompareAndSet(ctx, "record", []byte("read"), []byte("written"), time.Minute)
		require.NoError(t, err)
		assert.Equal(t, "read", string(found))
		assert.Equal(t, time.Minute, left)
		assert.Equal(t, "written", value("record"))
		assertTTL(t, "record", time.Minute)
	})
	t.Run("compare and set what lives longer", func(t *testing.T) {
		put("record", "read")
		_, left, err := backend.CompareAndSet(ctx, "record", []byte("read"), []byte("written"), time.Minute)
		require.NoError(t, err)
		assert.InDelta(t, time.Hour, left, float64(time.Minute))
		assertTTL(t, "record", time.Hour)
	})
	t.Run("compare and set what others wrote", func(t *testing.T) {
		put("record", "theirs")
		found, _, err := backend.CompareAndSet(ctx, "record", []byte("read"), []byte("mine"), time.Minute)
		require.NoError(t, err)
		assert.Equal(t, "theirs", string(found))
		assert.Equal(t, "theirs", value("record"))
		assertTTL(t, "record", time.Hour)
	})
	t.Run("compare and set what is gone", func(t *testing.T) {
		found, _, err := backend.CompareAndSet(ctx, "gone", []byte("read"), []byte("mine"), time.Minute)
		require.NoError(t, err)
		assert.Nil(t, found)
		assert.False(t, has("gone"))
	})
	t.Run("touch", func(t *testing.T) {
		require.NoError(t, client.Set(ctx, "used", "1", time.Second).Err())
		left, err := backend.Touch(ctx, "used", time.Minute)
		require.NoError(t, err)
		assert.Equal(t, time.Minute, left)
		assertTTL(t, "used", time.Minute)
		left, err = backend.Touch(ctx, "gone", time.Minute)
		require.NoError(t, err)
		assert.Zero(t, left)
	})
	t.Run("touch what lives longer", func(t *testing.T) {
		put("old", "1")
		left, err := backend.Touch(ctx, "old", time.Minute)
		require.NoError(t, err)
		assert.InDelta(t, time.Hour, left, float64(time.Minute))
		assertTTL(t, "old", time.Hour)
	})
	t.Run("end", func(t *testing.T) {
		put("over", "1")
		for range 2 {
			require.NoError(t, backend.End(ctx, "over", "over ended", time.Minute))
			assert.False(t, has("over"))
			assert.True(t, has("over ended"))
			assertTTL(t, "over ended", time.Minute)
		}
	})
	t.Run("claim", func(t *testing.T) {
		for _, key := range []string{"first", "second", ""} {
			owner, err := backend.Claim(ctx, "claim", key, []byte("value"), time.Minute)
			require.NoError(t, err)
			assert.Equal(t, "first", owner)
		}
		assert.Equal(t, "value", value("first"))
		assert.False(t, has("second"))
		assertTTL(t, "first", time.Minute)
		assertTTL(t, "claim", time.Minute)
	})
	t.Run("claim by many at once", func(t *testing.T) {
		owners := make([]string, 100)
		var all sync.WaitGroup
		for i := range owners {
			all.Go(func() {
				var err error
				owners[i], err = backend.Claim(ctx, "wanted", fmt.Sprint("key ", i), []byte("value"), time.Minute)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		keys, err := client.Keys(ctx, "key *").Result()
		require.NoError(t, err)
		require.Len(t, keys, 1)
		for _, owner := range owners {
			assert.Equal(t, keys[0], owner)
		}
	})
	t.Run("give a claim up", func(t *testing.T) {
		for _, key := range []string{"", "third"} {
			owner, err := backend.Claim(ctx, "given up", key, []byte("value"), time.Minute)
			require.NoError(t, err)
			assert.Empty(t, owner)
		}
		assert.False(t, has("third"))
	})
}
