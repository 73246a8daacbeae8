// Package store is what the application keeps in Postgres, which it shares
// with the legacy system: the statements, and the rows as the API shows them.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store asks Postgres.
type Store struct {
	pool *pgxpool.Pool
}

// New returns a store on a pool of connections.
func New(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool}
}

// Window is the part of a long list that is wanted.
type Window struct {
	Offset, Limit int64
}

// ErrUnavailable says that Postgres is away, which is a matter of waiting.
// What a write has then done is not known.
var ErrUnavailable = errors.New("postgres is away")

// What a statement can find to be otherwise than its caller thought.
var (
	ErrNoAccount     = errors.New("there is no such account")
	ErrNoBadge       = errors.New("there is no such badge")
	ErrNoCircle      = errors.New("there is no such circle")
	ErrNoTool        = errors.New("there is no such tool")
	ErrEmailTaken    = errors.New("another account has the email address")
	ErrTitleTaken    = errors.New("another badge has the title")
	ErrCheckedOut    = errors.New("the tool is checked out")
	ErrNotCheckedOut = errors.New("the tool is not checked out")
)

// Private

var errFailed = errors.New("the database query failed")

var refusals = []error{
	ErrNoAccount, ErrNoBadge, ErrNoCircle, ErrNoTool,
	ErrEmailTaken, ErrTitleTaken, ErrCheckedOut, ErrNotCheckedOut,
}

// Postgres writes the dates: it has some that Go's JSON has not.
func timestamp(column string) string {
	return `to_char(` + column + ` at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`
}

func day(column string) string {
	return `to_char(` + column + `, 'YYYY-MM-DD')`
}

// one returns the only row that a query finds, else missing.
func one[T any](ctx context.Context, q querier, missing error, query string, args ...any) (T, error) {
	var none T
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return none, classify(err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return none, missing
	}
	return found, classify(err)
}

// all returns every row that a query finds.
func all[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, classify(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	return found, classify(err)
}

func count(ctx context.Context, q querier, query string, args ...any) (int64, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return 0, classify(err)
	}
	total, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[int64])
	return total, classify(err)
}

// send asks all of a batch in one round trip.
func (s *Store) send(ctx context.Context, batch *pgx.Batch) error {
	return classify(s.pool.SendBatch(ctx, batch).Close())
}

func queueCount(batch *pgx.Batch, total *int64, query string, args ...any) {
	batch.Queue(query, args...).QueryRow(func(row pgx.Row) error { return row.Scan(total) })
}

func queueRows[T any](batch *pgx.Batch, into *[]T, query string, args ...any) {
	batch.Queue(query, args...).Query(func(rows pgx.Rows) (err error) {
		*into, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	})
}

// literal is the window with its numbers in it: the plan of a prepared
// statement that does not know them is not the one for the first page.
func (w Window) literal() string {
	return fmt.Sprintf(" offset %d limit %d ", w.Offset, w.Limit)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
}

// literally escapes what ilike would take for a wildcard.
var literally = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// unstorable reports what Postgres refuses in a text, so that no row has it.
func unstorable(text string) bool {
	return strings.ContainsRune(text, 0)
}

// classify tells an absent database, which is a matter of waiting, from a
// query that failed, which is a bug, and from an answer to the caller.
func classify(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || errors.Is(err, errFailed) {
		return err
	}
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return err
		}
	}

	away := fmt.Errorf("%w: %w", ErrUnavailable, err)
	broken := fmt.Errorf("%w: %w", errFailed, err)
	var connect *pgconn.ConnectError
	var answered *pgconn.PgError
	var unreadable pgx.ScanArgError
	switch {
	case errors.As(err, &connect):
		return away
	case errors.As(err, &unreadable):
		return broken
	case errors.As(err, &answered):
		switch answered.Code[:2] {
		case "08", "53", "57": // connection, resources, shutdown or cancelled
			return away
		}
		return broken
	default:
		return away // no answer at all
	}
}

const uniqueViolation = "23505"

func violates(err error, code string) bool {
	var answered *pgconn.PgError
	return errors.As(err, &answered) && answered.Code == code
}
