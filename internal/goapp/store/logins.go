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
		noted := event{"login", map[string]any{"account": account}}
		added, err := addedColumns(ctx, tx)
		if err != nil {
			return noted, err
		}
		statement := `
			insert into sessions (session_id_hash, user_id, expires_at)
			values ($1, $2, now() + make_interval(secs => $3))`
		if added.createdBySystem {
			statement = `
			insert into sessions (session_id_hash, user_id, expires_at, created_by_system)
			values ($1, $2, now() + make_interval(secs => $3), '` + system + `')`
		}
		batch := &pgx.Batch{}
		batch.Queue(statement, hashed(sessionID), account, ttl.Seconds())
		if added.lastLoginGo {
			batch.Queue(`update accounts set last_login_go = now() where id = $1`, account)
		}
		return noted, tx.SendBatch(ctx, batch).Close()
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

// added says which of the columns are there that the migration adds.
type added struct {
	lastLoginGo, createdBySystem bool
}

// addedColumns looks for them. They stay as they are found until the
// transaction ends, because it locks the tables first, in the mode that its
// writes take anyway: so a login goes well before, during and after their
// coming, and their going.
func addedColumns(ctx context.Context, tx pgx.Tx) (found added, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`lock table accounts, sessions in row exclusive mode`)
	batch.Queue(`
		select
			exists (select from pg_attribute where attrelid = 'accounts'::regclass and attname = 'last_login_go' and not attisdropped),
			exists (select from pg_attribute where attrelid = 'sessions'::regclass and attname = 'created_by_system' and not attisdropped)`,
	).QueryRow(func(row pgx.Row) error { return row.Scan(&found.lastLoginGo, &found.createdBySystem) })
	return found, tx.SendBatch(ctx, batch).Close()
}

func hashed(sessionID string) string {
	sum := sha256.Sum256([]byte(sessionID))
	return hex.EncodeToString(sum[:])
}
