package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Account is a member's account.
type Account struct {
	ID           int64   `json:"id"`
	Username     string  `json:"username"`
	Email        string  `json:"email"`
	Name         *string `json:"name"`
	Enabled      bool    `json:"enabled"`
	CreatedAt    *string `json:"created_at"` // nil where Postgres has infinity
	PasswordHash string  `json:"-"`
}

// DisplayName is what pages and mails call the member.
func (a Account) DisplayName() string {
	if a.Name == nil || *a.Name == "" {
		return a.Username
	}
	return *a.Name
}

// Since is the day on which the member joined, for pages.
func (a Account) Since() string {
	return dayOf(a.CreatedAt)
}

// AccountChanges are the columns to change; nil ones stay.
type AccountChanges struct {
	Name    **string // to a name or to NULL
	Email   *string
	Enabled *bool
}

// AccountByLogin finds who logs in by a username, or by an email in any case.
// Both are looked up in their indexes, which have them in lower case.
func (s *Store) AccountByLogin(ctx context.Context, login string) (Account, error) {
	if unstorable(login) {
		return Account{}, ErrNoAccount
	}
	return one[Account](ctx, s.pool, ErrNoAccount, selectAccount+`
		where lower(username) = lower($1) and username = $1 or lower(email) = lower($1)
		order by username = $1 desc, id limit 1`, login)
}

// AccountByEmail finds an account by its email in any case.
func (s *Store) AccountByEmail(ctx context.Context, email string) (Account, error) {
	if unstorable(email) {
		return Account{}, ErrNoAccount
	}
	return one[Account](ctx, s.pool, ErrNoAccount, selectAccount+`where lower(email) = lower($1)`, email)
}

// Account finds an account by its id.
func (s *Store) Account(ctx context.Context, id int64) (Account, error) {
	return one[Account](ctx, s.pool, ErrNoAccount, selectAccount+`where id = $1`, id)
}

// Accounts returns one part of the accounts that contain the text, ordered by
// name, and how many there are in all.
func (s *Store) Accounts(ctx context.Context, text string, part Window) (found []Account, total int64, err error) {
	if unstorable(text) {
		return nil, 0, nil
	}
	if text == "" {
		batch := &pgx.Batch{}
		queueCount(batch, &total, `select count(*) from accounts`)
		queueRows(batch, &found, accountsPage("", part))
		return found, total, s.send(ctx, batch)
	}
	// Not prepared: the plan has to be the pattern's own.
	pattern := "%" + literally.Replace(text) + "%"
	total, err = count(ctx, s.pool, `select count(*) from accounts`+matching, pgx.QueryExecModeExec, pattern)
	if err != nil {
		return nil, 0, err
	}
	found, err = all[Account](ctx, s.pool, accountsPage(matching, part), pgx.QueryExecModeExec, pattern)
	return found, total, err
}

// Circles returns the names of the circles that an account is a member of.
func (s *Store) Circles(ctx context.Context, account int64) ([]string, error) {
	rows, err := s.pool.Query(ctx, selectCircles, account)
	if err != nil {
		return nil, classify(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return names, classify(err)
}

// UpdateAccount changes an account, and returns what it then is.
func (s *Store) UpdateAccount(ctx context.Context, by Actor, id int64, changes AccountChanges) (updated Account, err error) {
	columns := changes.columns()
	fields := slices.Sorted(maps.Keys(columns))
	args := []any{id}
	var sets []string
	for _, name := range fields {
		args = append(args, columns[name])
		sets = append(sets, fmt.Sprintf("%s = $%d", name, len(args)))
	}
	err = s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		updated, err = one[Account](ctx, tx, ErrNoAccount,
			`update accounts set `+strings.Join(sets, ", ")+` where id = $1 returning `+accountColumns, args...)
		if violates(err, uniqueViolation) {
			err = ErrEmailTaken
		}
		return event{"account.update", map[string]any{"account": id, "fields": fields}}, err
	})
	return updated, err
}

// SetPassword gives an account another password.
func (s *Store) SetPassword(ctx context.Context, by Actor, id int64, hash string) error {
	return s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		err := change(ctx, tx, ErrNoAccount, `update accounts set password_hash = $2 where id = $1`, id, hash)
		return event{"account.password", map[string]any{"account": id}}, err
	})
}

// NoteResetRequest writes down that somebody asked for a reset link.
func (s *Store) NoteResetRequest(ctx context.Context, by Actor, id int64) error {
	return s.write(ctx, by, func(pgx.Tx) (event, error) {
		return event{"reset.request", map[string]any{"account": id}}, nil
	})
}

// ResetPassword replaces the old hash: of two uses of one link at the same
// moment the second finds no account.
func (s *Store) ResetPassword(ctx context.Context, by Actor, id int64, oldHash, newHash string) error {
	return s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		err := change(ctx, tx, ErrNoAccount, `
			update accounts set password_hash = $3 where id = $1 and password_hash = $2 and enabled`, id, oldHash, newHash)
		return event{"reset", map[string]any{"account": id}}, err
	})
}

// Private

var accountColumns = `id, username, email, name, enabled, ` + timestamp("created_at") + `, password_hash `

var selectAccount = `select ` + accountColumns + `from accounts `

const selectCircles = `
	select c.name from circle_members m join circles c on c.id = m.circle_id
	where m.account_id = $1 order by c.name`

// The legacy system's very words: what is the same letter in another case is
// a matter of the operator.
const matching = ` where username ilike $1 or email ilike $1 or name ilike $1 `

// accountsPage selects one part of the accounts. It finds their ids first:
// deep in the list an index has them, and few rows are read.
func accountsPage(where string, part Window) string {
	const order = `order by name nulls last, id`
	return `select ` + accountColumns + `
		from accounts join (select id from accounts ` + where + order + part.literal() + `) page using (id) ` + order
}

func (c AccountChanges) columns() map[string]any {
	columns := map[string]any{}
	if c.Name != nil {
		columns["name"] = *c.Name
	}
	if c.Email != nil {
		columns["email"] = *c.Email
	}
	if c.Enabled != nil {
		columns["enabled"] = *c.Enabled
	}
	return columns
}

func dayOf(timestamp *string) string {
	if timestamp == nil {
		return ""
	}
	day, _, _ := strings.Cut(*timestamp, "T")
	return day
}
