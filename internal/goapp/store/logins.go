package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/jackc/pgx/v5"
)

// NoteLogin writes down that an account's session begins. Of the session's id
// only a hash is kept.
func (s *Store) NoteLogin(ctx context.Context, by Actor, sessionID string, account int64, ttl time.Duration) error {
	return s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		_, err := tx.Exec(ctx, `
			insert into sessions (session_id_hash, user_id, expires_at)
			values ($1, $2, now() + make_interval(secs => $3))`, hashed(sessionID), account, ttl.Seconds())
		return event{"login", map[string]any{"account": account}}, err
	})
}

// NoteLogout writes down that an account's session ends.
func (s *Store) NoteLogout(ctx context.Context, by Actor, sessionID string, account int64) error {
	return s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		_, err := tx.Exec(ctx, `delete from sessions where session_id_hash = $1`, hashed(sessionID))
		return event{"logout", map[string]any{"account": account}}, err
	})
}

// Private

func hashed(sessionID string) string {
	sum := sha256.Sum256([]byte(sessionID))
	return hex.EncodeToString(sum[:])
}
