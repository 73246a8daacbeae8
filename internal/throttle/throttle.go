// Package throttle bounds how often logins fail. Both systems count in the same
// keys of Redis, so that nobody gets twice the tries by being moved.
package throttle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Throttle counts failed logins for each pair of an account and an address:
// who guesses is stopped, and who owns the account still gets in from elsewhere.
type Throttle struct {
	client   redis.UniversalClient
	limit    int
	window   time.Duration
	attempt  *redis.Script
	giveBack *redis.Script
}

// commandLimit is how long Redis may take for an answer.
const commandLimit = 700 * time.Millisecond

// New returns a throttle that allows limit failures, at least 1, within a
// window that begins with the first.
func New(client redis.UniversalClient, limit int, window time.Duration) *Throttle {
	return &Throttle{
		client: client, limit: limit, window: window,
		attempt: redis.NewScript(`
local count = tonumber(redis.call("GET", KEYS[1]) or "0")
if count >= tonumber(ARGV[1]) then
	return math.max(redis.call("PTTL", KEYS[1]), 1)
end
redis.call("INCR", KEYS[1])
if count == 0 then
	redis.call("PEXPIRE", KEYS[1], ARGV[2])
end
return 0`),
		giveBack: redis.NewScript(`
if tonumber(redis.call("GET", KEYS[1]) or "0") > 0 then
	redis.call("DECR", KEYS[1])
end
return 0`),
	}
}

// Attempt counts a login as failed before it is tried, so that many at once
// get no more tries than one after the other. It returns 0 if it may be tried;
// else it was not counted, and may be tried again after what is returned.
func (t *Throttle) Attempt(ctx context.Context, account, address string) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	left, err := t.attempt.Run(ctx, t.client, []string{key(account, address)}, t.limit, t.window.Milliseconds()).Int64()
	if err != nil {
		return 0, fmt.Errorf("failed logins could not be counted: %w", err)
	}
	return time.Duration(left) * time.Millisecond, nil
}

// Succeeded forgets the failures: the attempt was right.
func (t *Throttle) Succeeded(ctx context.Context, account, address string) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	if err := t.client.Del(ctx, key(account, address)).Err(); err != nil {
		return fmt.Errorf("failed logins could not be forgotten: %w", err)
	}
	return nil
}

// GiveBack takes an attempt back that was neither right nor wrong.
func (t *Throttle) GiveBack(ctx context.Context, account, address string) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	if err := t.giveBack.Run(ctx, t.client, []string{key(account, address)}).Err(); err != nil {
		return fmt.Errorf("a login could not be left uncounted: %w", err)
	}
	return nil
}

// Client returns where a request came from, as the edge says; of an IPv6
// address the network, of which everybody has a whole one.
func Client(r *http.Request) string {
	address := r.RemoteAddr
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	if forwarded := r.Header.Values("X-Forwarded-For"); len(forwarded) > 0 {
		address, _, _ = strings.Cut(forwarded[0], ",")
		address = strings.TrimSpace(address)
	}
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	parsed = parsed.Unmap().WithZone("")
	if parsed.Is4() {
		return parsed.String()
	}
	network := netip.PrefixFrom(parsed, 64).Masked()
	return network.String()
}

// Private

// key hides whom somebody tried to be. The legacy system makes the same.
func key(account, address string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(account) + "\n" + address))
	return "login-failures:" + hex.EncodeToString(sum[:])
}
