package session

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is the Backend that both systems share.
type Redis struct {
	client        redis.UniversalClient
	create        *redis.Script
	compareAndSet *redis.Script
}

// NewRedis returns a backend on a client of the sessions' database.
func NewRedis(client redis.UniversalClient) *Redis {
	return &Redis{
		client: client,
		create: redis.NewScript(`
if not redis.call("SET", KEYS[1], ARGV[1], "NX", "PX", ARGV[2]) then
	return 0
end
if KEYS[2] then
	redis.call("DEL", KEYS[2])
end
return 1`),
		compareAndSet: redis.NewScript(`
local found = redis.call("GET", KEYS[1])
if found == ARGV[1] then
	redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
end
return found`),
	}
}

// Get implements Backend.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, error) {
	return orNil(r.client.Get(ctx, key).Bytes())
}

// Touch implements Backend.
func (r *Redis) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	return r.client.PExpire(ctx, key, ttl).Result()
}

// Create implements Backend.
func (r *Redis) Create(ctx context.Context, key, old string, value []byte, ttl time.Duration) (bool, error) {
	keys := []string{key}
	if old != "" {
		keys = append(keys, old)
	}
	return r.create.Run(ctx, r.client, keys, value, ttl.Milliseconds()).Bool()
}

// CompareAndSet implements Backend.
func (r *Redis) CompareAndSet(ctx context.Context, key string, read, value []byte, ttl time.Duration) ([]byte, error) {
	found, err := r.compareAndSet.Run(ctx, r.client, []string{key}, read, value, ttl.Milliseconds()).Text()
	return orNil([]byte(found), err)
}

// Delete implements Backend.
func (r *Redis) Delete(ctx context.Context, key string) error {
	return r.client.Del(ctx, key).Err()
}

func orNil(value []byte, err error) ([]byte, error) {
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return value, err
}
