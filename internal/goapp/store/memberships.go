package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Membership is what a member pays for.
type Membership struct {
	ID        int64   `json:"id"`
	AccountID int64   `json:"account_id"`
	Username  *string `json:"username"` // nil: the account is gone
	StartsOn  *string `json:"starts_on"`
	EndsOn    *string `json:"ends_on"` // the last day; nil: until further notice
	Fee       string  `json:"fee"`
	Status    string  `json:"status"`
}

// Memberships returns one part of an account's memberships, or of all if
// account is nil, the newest first, and how many there are in all.
func (s *Store) Memberships(ctx context.Context, account *int64, part Window) (found []Membership, total int64, err error) {
	where, args := ``, []any(nil)
	if account != nil {
		where, args = `where account_id = $1 `, []any{*account}
	}
	const order = `order by starts_on desc, id desc`
	batch := &pgx.Batch{}
	queueCount(batch, &total, `select count(*) from memberships `+where, args...)
	queueRows(batch, &found, `
		select m.id, m.account_id, a.username, `+day("m.starts_on")+`, `+day("m.ends_on")+`, m.fee::text, m.status
		from memberships m
		join (select id from memberships `+where+order+part.literal()+`) page using (id)
		left join accounts a on a.id = m.account_id `+
		`order by m.starts_on desc, m.id desc`, args...)
	return found, total, s.send(ctx, batch)
}

// ExpireMemberships ends at most limit memberships whose last day in Oslo is
// over, and says how many it ended. Where both systems do so at the same
// moment, one leaves it to the other.
func (s *Store) ExpireMemberships(ctx context.Context, limit int64) (int, error) {
	var expired []expiredRow
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		mine, err := scalar[bool](ctx, tx, pgx.ErrNoRows, `select pg_try_advisory_xact_lock(hashtext('expire memberships'))`)
		if err != nil || !mine {
			return err
		}
		expired, err = all[expiredRow](ctx, tx, `
			update memberships set status = 'expired'
			where id in (
				select id from memberships
				where status = 'active' and ends_on < (now() at time zone 'Europe/Oslo')::date
				order by id limit $1 for update skip locked)
			returning id, account_id`, limit)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, row := range expired {
			batch.Queue(`insert into events (system, action, details) values ($1, 'membership.expire', $2)`,
				system, map[string]any{"membership": row.ID, "account": row.AccountID})
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	return len(expired), classify(err)
}

// Private

type expiredRow struct {
	ID, AccountID int64
}
