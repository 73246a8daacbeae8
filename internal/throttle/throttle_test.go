package throttle

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/session/sessiontest"
)

func newThrottle(t *testing.T, limit int, window time.Duration) (*Throttle, *redis.Client) {
	client := sessiontest.StartRedis(t)
	return New(client, limit, window), client
}

func TestThrottle_CountsFailuresOnly(t *testing.T) {
	throttle, client := newThrottle(t, 3, time.Minute)
	try := func(account, address string) time.Duration {
		wait, err := throttle.Attempt(t.Context(), account, address)
		require.NoError(t, err)
		return wait
	}
	for range 10 {
		assert.Zero(t, try("ada", "1.2.3.4"))
		require.NoError(t, throttle.Succeeded(t.Context(), "ada", "1.2.3.4"))
		assert.Zero(t, try("ada", "1.2.3.4"))
		require.NoError(t, throttle.GiveBack(t.Context(), "ada", "1.2.3.4"))
	}
	for range 3 {
		assert.Zero(t, try("ada", "1.2.3.4"))
	}
	for range 3 {
		assert.InDelta(t, time.Minute, try("ADA", "1.2.3.4"), float64(5*time.Second))
	}
	assert.Zero(t, try("ada", "1.2.3.5"), "another address")
	assert.Zero(t, try("bob", "1.2.3.4"), "another account")
	require.NoError(t, client.FlushAll(t.Context()).Err())
	require.NoError(t, throttle.GiveBack(t.Context(), "ada", "1.2.3.4"))
	assert.Zero(t, client.Exists(t.Context(), key("ada", "1.2.3.4")).Val(), "nothing to take back")
}

func TestThrottle_WindowEnds(t *testing.T) {
	throttle, _ := newThrottle(t, 1, 50*time.Millisecond)
	wait, err := throttle.Attempt(t.Context(), "ada", "x")
	require.NoError(t, err)
	assert.Zero(t, wait)
	require.Eventually(t, func() bool {
		wait, err := throttle.Attempt(t.Context(), "ada", "x")
		return err == nil && wait == 0
	}, 10*time.Second, 5*time.Millisecond)
}

func TestThrottle_ManyAtOnceGetNoMoreTries(t *testing.T) {
	throttle, _ := newThrottle(t, 7, time.Minute)
	var tried atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			wait, err := throttle.Attempt(t.Context(), "ada", "x")
			assert.NoError(t, err)
			if wait == 0 {
				tried.Add(1)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 7, tried.Load())
}

func TestThrottle_RedisAway(t *testing.T) {
	throttle, client := newThrottle(t, 1, time.Minute)
	require.NoError(t, client.Close())
	_, err := throttle.Attempt(t.Context(), "ada", "x")
	assert.ErrorContains(t, err, "failed logins could not be counted")
	assert.ErrorContains(t, throttle.Succeeded(t.Context(), "ada", "x"), "could not be forgotten")
	assert.ErrorContains(t, throttle.GiveBack(t.Context(), "ada", "x"), "could not be left uncounted")
}

// The legacy system's tests have the same table.
func TestClient(t *testing.T) {
	for forwarded, expected := range map[string]string{
		"": "192.0.2.1", "1.2.3.4": "1.2.3.4", " 1.2.3.4 , 5.6.7.8": "1.2.3.4", "nonsense": "nonsense",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::ffff:1.2.3.4": "1.2.3.4", "fe80::1%eth0": "fe80::/64",
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		assert.Equal(t, expected, Client(r), forwarded)
	}
}

// The legacy system's tests have the same key.
func TestKey(t *testing.T) {
	assert.Equal(t, "login-failures:fc4e8bbfc8718ad756cc77c7eb71ba4c29de4a49a92235430546bea3d568fa66", key("Å", "1.2.3.4"))
	assert.Equal(t, key("å", "x"), key("Å", "x"))
}
