package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Actor is who writes, for the audit trail.
type Actor struct {
	RequestID string // "" is kept as NULL: a background job
	AccountID int64  // 0 is kept as NULL: nobody who is logged in
}

// Private

const system = "go"

// event is a row of the audit trail.
type event struct {
	action  string
	details map[string]any
}

// write makes one transaction of a write and its row in the audit trail. It is
// never repeated: whether a commit whose answer was lost took place is unknown.
func (s *Store) write(ctx context.Context, by Actor, do func(tx pgx.Tx) (event, error)) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		done, err := do(tx)
		if err != nil {
			return err
		}
		return record(ctx, tx, by, done)
	})
	return classify(err)
}

func record(ctx context.Context, tx pgx.Tx, by Actor, done event) error {
	_, err := tx.Exec(ctx, `
		insert into events (system, request_id, account_id, action, details)
		values ($1, nullif($2, ''), nullif($3, 0::bigint), $4, $5)`,
		system, by.RequestID, by.AccountID, done.action, done.details)
	return err
}

// change executes a statement that has to hit a row.
func change(ctx context.Context, tx pgx.Tx, missed error, statement string, args ...any) error {
	tag, err := tx.Exec(ctx, statement, args...)
	if err == nil && tag.RowsAffected() == 0 {
		return missed
	}
	return err
}

// scalar returns the one value that a statement returns.
func scalar[T any](ctx context.Context, tx pgx.Tx, missed error, statement string, args ...any) (value T, err error) {
	err = tx.QueryRow(ctx, statement, args...).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		return value, missed
	}
	return value, err
}
