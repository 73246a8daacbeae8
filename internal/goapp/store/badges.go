package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Badge is what members can be awarded.
type Badge struct {
	ID          int64   `json:"id"`
	Title       string  `json:"title"`
	Description *string `json:"description"`
	Circle      *string `json:"circle"` // whose members award it; nil: everybody
	CreatedAt   *string `json:"created_at"`
}

// Award is a badge that a member has.
type Award struct {
	ID        int64   `json:"id"`
	BadgeID   int64   `json:"badge_id"`
	Title     string  `json:"title"`
	AwardedBy *string `json:"awarded_by"` // nil: nobody knows any more
	CreatedAt *string `json:"created_at"`
}

// Since is the day of the award, for pages.
func (a Award) Since() string {
	return dayOf(a.CreatedAt)
}

// Badges returns one part of the badges, ordered by title, and how many there
// are in all.
func (s *Store) Badges(ctx context.Context, part Window) (found []Badge, total int64, err error) {
	batch := &pgx.Batch{}
	queueCount(batch, &total, `select count(*) from badges`)
	queueRows(batch, &found, selectBadge+`order by b.title, b.id`+part.literal())
	err = s.send(ctx, batch)
	return found, total, err
}

// Badge finds a badge by its id.
func (s *Store) Badge(ctx context.Context, id int64) (Badge, error) {
	return one[Badge](ctx, s.pool, ErrNoBadge, selectBadge+`where b.id = $1`, id)
}

// CreateBadge makes a badge, which a circle's members may award, or everybody.
func (s *Store) CreateBadge(ctx context.Context, by Actor, title string, description *string, circle *int64) (created Badge, err error) {
	err = s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		if circle != nil {
			err := change(ctx, tx, ErrNoCircle, `select from circles where id = $1 for key share`, *circle)
			if err != nil {
				return event{}, err
			}
		}
		id, err := scalar[int64](ctx, tx, ErrTitleTaken, `
			insert into badges (title, description, circle_id) values ($1, $2, $3)
			on conflict (title) do nothing returning id`, title, description, circle)
		if err != nil {
			return event{}, err
		}
		created, err = one[Badge](ctx, tx, ErrNoBadge, selectBadge+`where b.id = $1`, id)
		return event{"badge.create", map[string]any{"badge": id}}, err
	})
	return created, err
}

// AwardBadge gives a badge to an account.
func (s *Store) AwardBadge(ctx context.Context, by Actor, badge, account int64) (made Award, err error) {
	err = s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		id, err := scalar[int64](ctx, tx, ErrNoBadge, `
			insert into awards (badge_id, account_id, awarded_by) values ($1, $2, $3) returning id`,
			badge, account, by.AccountID)
		if err != nil {
			return event{}, err
		}
		made, err = one[Award](ctx, tx, ErrNoBadge, selectAward+`where w.id = $1`, id)
		return event{"badge.award", map[string]any{"award": id, "badge": badge, "account": account}}, err
	})
	return made, err
}

// Awards returns an account's newest awards; a limit of 0 means all of them.
func (s *Store) Awards(ctx context.Context, account, limit int64) ([]Award, error) {
	return all[Award](ctx, s.pool, selectAward+`
		where w.account_id = $1 order by w.created_at desc, w.id desc limit nullif($2, 0::bigint)`, account, limit)
}

// Private

var selectBadge = `
	select b.id, b.title, b.description, c.name, ` + timestamp("b.created_at") + `
	from badges b left join circles c on c.id = b.circle_id `

var selectAward = `
	select w.id, w.badge_id, b.title, a.username, ` + timestamp("w.created_at") + `
	from awards w join badges b on b.id = w.badge_id left join accounts a on a.id = w.awarded_by `
