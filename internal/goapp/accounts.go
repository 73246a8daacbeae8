package goapp

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// account is a row of the table that both systems share.
type account struct {
	ID           int64
	Username     string
	Email        string
	Name         *string
	Enabled      bool
	CreatedAt    *string // nil where Postgres has infinity
	PasswordHash string
}

// DisplayName is what pages call the user.
func (a account) DisplayName() string {
	if a.Name == nil || *a.Name == "" {
		return a.Username
	}
	return *a.Name
}

// errNoAccount says that no row matches.
var errNoAccount = errors.New("there is no such account")

// accounts finds users.
type accounts interface {
	// byLogin finds who logs in by a username, or by an email in any case.
	byLogin(ctx context.Context, login string) (account, error)
	byID(ctx context.Context, id int64) (account, error)
	// search returns one page of the accounts that contain the text, ordered
	// by name, and how many there are in all.
	search(ctx context.Context, text string, offset, limit int64) ([]account, int64, error)
}

// postgres implements accounts.
type postgres struct {
	pool *pgxpool.Pool
}

// Postgres writes the dates: it has some that Go's JSON has not.
const columns = `
	id, username, email, name, enabled,
	to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), password_hash`

const selectAccount = `select ` + columns + ` from accounts `

func (p postgres) byLogin(ctx context.Context, login string) (account, error) {
	if unstorable(login) {
		return account{}, errNoAccount
	}
	return p.one(ctx, selectAccount+`
		where username = $1 or lower(email) = lower($1)
		order by username = $1 desc, id limit 1`, login)
}

func (p postgres) byID(ctx context.Context, id int64) (account, error) {
	return p.one(ctx, selectAccount+`where id = $1`, id)
}

func (p postgres) one(ctx context.Context, query string, arg any) (account, error) {
	rows, err := p.pool.Query(ctx, query, arg)
	if err != nil {
		return account{}, databaseError(err)
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[account])
	if errors.Is(err, pgx.ErrNoRows) {
		return account{}, errNoAccount
	}
	return found, databaseError(err)
}

// The legacy system's very words: what is the same letter in another case is
// a matter of the operator.
const matching = `
	from accounts
	where $1::text is null
	   or username ilike $1 or email ilike $1 or name ilike $1`

func (p postgres) search(ctx context.Context, text string, offset, limit int64) ([]account, int64, error) {
	if unstorable(text) {
		return nil, 0, nil
	}
	var pattern *string // nil matches everything
	if text != "" {
		contains := "%" + literally.Replace(text) + "%"
		pattern = &contains
	}
	var found []account
	var total int64
	batch := &pgx.Batch{}
	batch.Queue(`select count(*) `+matching, pattern).QueryRow(func(row pgx.Row) error {
		return row.Scan(&total)
	})
	batch.Queue(`select `+columns+matching+`
		order by name nulls last, id offset $2 limit $3`, pattern, offset, limit).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, pgx.RowToStructByPos[account])
		return err
	})
	err := p.pool.SendBatch(ctx, batch).Close()
	return found, total, databaseError(err)
}

// literally escapes what ilike would take for a wildcard.
var literally = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// unstorable reports what Postgres refuses in a text, so that no row has it.
func unstorable(text string) bool {
	return strings.ContainsRune(text, 0)
}

// databaseError tells an absent database, which is a matter of waiting, from
// a query that failed, which is a bug.
func databaseError(err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("the database query failed: %w", err)

	var connect *pgconn.ConnectError
	var answered *pgconn.PgError
	var unreadable pgx.ScanArgError
	switch {
	case errors.As(err, &connect):
		return unavailable{err}
	case errors.As(err, &unreadable):
		return err
	case errors.As(err, &answered):
		switch answered.Code[:2] {
		case "08", "53", "57": // connection, resources, shutdown or cancelled
			return unavailable{err}
		}
		return err
	default:
		return unavailable{err} // no answer at all
	}
}
