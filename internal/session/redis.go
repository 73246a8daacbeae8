package session

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Database is the number of the sessions' database.
const Database = 1

// Redis is the Backend that both systems share.
type Redis struct {
	client        redis.UniversalClient
	patience      time.Duration
	touch         *redis.Script
	create        *redis.Script
	compareAndSet *redis.Script
	claim         *redis.Script
}

// prolong is the part of a script that lets KEYS[1] live for at least the
// milliseconds in ttl: a session from before the migration keeps a longer life.
const prolong = `
local left = redis.call("PTTL", KEYS[1])
if left >= 0 and left < tonumber(ttl) then
	redis.call("PEXPIRE", KEYS[1], ttl)
	left = tonumber(ttl)
end
`

// NewRedis returns a backend on a client of the sessions' database. Patience is
// how long Redis may take for an answer, the wait for a connection included.
func NewRedis(client redis.UniversalClient, patience time.Duration) *Redis {
	return &Redis{
		client: client, patience: patience,
		touch: redis.NewScript(`local ttl = ARGV[1]` + prolong + `return left`),
		create: redis.NewScript(`
if not redis.call("SET", KEYS[1], ARGV[1], "NX", "PX", ARGV[2]) then
	return 0
end
if KEYS[2] then
	redis.call("DEL", KEYS[2])
	redis.call("SET", KEYS[3], "", "PX", ARGV[2])
end
return 1`),
		compareAndSet: redis.NewScript(`
local found, ttl = redis.call("GET", KEYS[1]), ARGV[3]
if not found then
	return false
end
if found ~= ARGV[1] then
	return {found, 0}
end
redis.call("SET", KEYS[1], ARGV[2], "KEEPTTL")
` + prolong + `return {found, left}`),
		claim: redis.NewScript(`
local owner = redis.call("GET", KEYS[1])
if owner then
	return owner
end
local key = KEYS[2] or ""
redis.call("SET", KEYS[1], key, "PX", ARGV[2])
if KEYS[2] then
	redis.call("SET", KEYS[2], ARGV[1], "PX", ARGV[2])
end
return key`),
	}
}

// Get implements Backend.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	value, err := r.client.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return value, err
}

// Touch implements Backend.
func (r *Redis) Touch(ctx context.Context, key string, ttl time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	left, err := r.touch.Run(ctx, r.client, []string{key}, ttl.Milliseconds()).Int64()
	return lifetime(left, ttl), err
}

// Create implements Backend.
func (r *Redis) Create(ctx context.Context, key, old, mark string, value []byte, ttl time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	keys := []string{key}
	if old != "" {
		keys = append(keys, old, mark)
	}
	return r.create.Run(ctx, r.client, keys, value, ttl.Milliseconds()).Bool()
}

// CompareAndSet implements Backend.
func (r *Redis) CompareAndSet(ctx context.Context, key string, read, value []byte, ttl time.Duration) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	answer, err := r.compareAndSet.Run(ctx, r.client, []string{key}, read, value, ttl.Milliseconds()).Slice()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, 0, nil
	case err != nil:
		return nil, 0, err
	}
	found, _ := answer[0].(string)
	left, _ := answer[1].(int64)
	return []byte(found), lifetime(left, ttl), nil
}

// End implements Backend.
func (r *Redis) End(ctx context.Context, key, mark string, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	_, err := r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, key)
		p.Set(ctx, mark, "", ttl)
		return nil
	})
	return err
}

// Claim implements Backend.
func (r *Redis) Claim(ctx context.Context, claim, key string, value []byte, ttl time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	keys := []string{claim}
	if key != "" {
		keys = append(keys, key)
	}
	return r.claim.Run(ctx, r.client, keys, value, ttl.Milliseconds()).Text()
}

// Through returns the options of a client of the sessions' database that is
// reached through dial, which may be slow.
func Through(password string, dial func(context.Context) (net.Conn, error)) *redis.Options {
	return &redis.Options{
		DB: Database, Password: password, DialTimeout: dialLimit, ReadTimeout: dialLimit, WriteTimeout: dialLimit, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		// A tunnel's end is not a socket that the client could look at.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		DisableIdentity:          true,
	}
}

// Private

const dialLimit = 10 * time.Second

// lifetime reads what PTTL answers: -2 for a key that is gone, -1 for one that
// somebody let live for ever.
func lifetime(milliseconds int64, ttl time.Duration) time.Duration {
	switch milliseconds {
	case -2:
		return 0
	case -1:
		return ttl
	default:
		return max(time.Duration(milliseconds)*time.Millisecond, time.Millisecond)
	}
}
