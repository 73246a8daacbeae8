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

// ExpireMemberships ends the memberships whose last day in Oslo is over, if it
// is for this process to do so now, and says how many it ended.
func (s *Store) ExpireMemberships(ctx context.Context) (expired int64, err error) {
	err = s.runJob(ctx, "expire-memberships", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			with expired as (
				update memberships set status = 'expired'
				where status = 'active' and ends_on < (now() at time zone 'Europe/Oslo')::date
				returning id, account_id
			)
			insert into events (system, action, details)
			select $1, 'membership.expire', jsonb_build_object('membership', id, 'account', account_id)
			from expired order by id`, system)
		expired = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, err
	}
	return expired, nil
}
