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
	compareAndSet *redis.Script
}

// NewRedis returns a backend on a client of the sessions' database.
func NewRedis(client redis.UniversalClient) *Redis {
	return &Redis{
		client: client,
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
func (r *Redis) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	_, err := r.client.SetArgs(ctx, key, value, redis.SetArgs{Mode: "NX", TTL: ttl}).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
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
