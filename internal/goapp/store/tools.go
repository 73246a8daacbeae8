package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Tool is a machine that one member at a time holds.
type Tool struct {
	ID          int64     `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	Circle      *string   `json:"circle"` // whose members may use it; nil: everybody
	Checkout    *Checkout `json:"checkout"`
}

// Checkout says who holds a tool.
type Checkout struct {
	ID        int64   `json:"id"`
	AccountID int64   `json:"account_id"`
	Username  *string `json:"username"` // nil: the account is gone
	StartedAt *string `json:"started_at"`
}

// Since is the day of the checkout, for pages.
func (c Checkout) Since() string {
	return dayOf(c.StartedAt)
}

// Tools returns one part of the tools, ordered by name, and how many there are
// in all.
func (s *Store) Tools(ctx context.Context, part Window) (tools []Tool, total int64, err error) {
	var found []toolRow
	batch := &pgx.Batch{}
	queueCount(batch, &total, `select count(*) from tools`)
	queueRows(batch, &found, selectTool+`order by t.name, t.id`+part.literal())
	err = s.send(ctx, batch)
	return toTools(found), total, err
}

// ToolsHeldBy returns the tools that an account holds.
func (s *Store) ToolsHeldBy(ctx context.Context, account int64) ([]Tool, error) {
	found, err := all[toolRow](ctx, s.pool, selectTool+`where o.account_id = $1 order by t.name, t.id`, account)
	return toTools(found), err
}

// Tool finds a tool by its id.
func (s *Store) Tool(ctx context.Context, id int64) (Tool, error) {
	return oneTool(ctx, s.pool, id)
}

// CheckOut gives a tool to the actor, unless somebody holds it. Of two at the
// same moment Postgres lets the second wait for the first.
func (s *Store) CheckOut(ctx context.Context, by Actor, id int64) (after Tool, err error) {
	err = s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		checkout, err := scalar[int64](ctx, tx, ErrCheckedOut, `
			insert into checkouts (tool_id, account_id) values ($1, $2)
			on conflict (tool_id) where ended_at is null do nothing returning id`, id, by.AccountID)
		if err != nil {
			return event{}, err
		}
		after, err = oneTool(ctx, tx, id)
		return event{"tool.checkout", map[string]any{"tool": id, "checkout": checkout}}, err
	})
	return after, err
}

// CheckIn ends a checkout of a tool, unless it has ended.
func (s *Store) CheckIn(ctx context.Context, by Actor, id, checkout int64) (after Tool, err error) {
	err = s.write(ctx, by, func(tx pgx.Tx) (event, error) {
		err := change(ctx, tx, ErrNotCheckedOut, `
			update checkouts set ended_at = now() where id = $1 and tool_id = $2 and ended_at is null`, checkout, id)
		if err != nil {
			return event{}, err
		}
		after, err = oneTool(ctx, tx, id)
		return event{"tool.checkin", map[string]any{"tool": id, "checkout": checkout}}, err
	})
	return after, err
}

// Private

var selectTool = `
	select t.id, t.name, t.description, c.name, o.id, o.account_id, a.username, ` + timestamp("o.started_at") + `
	from tools t
	left join circles c on c.id = t.circle_id
	left join checkouts o on o.tool_id = t.id and o.ended_at is null
	left join accounts a on a.id = o.account_id `

// toolRow has the columns of selectTool.
type toolRow struct {
	ID                           int64
	Name                         string
	Description, Circle          *string
	CheckoutID, CheckoutAccount  *int64
	CheckoutUsername, CheckoutAt *string
}

func (r toolRow) tool() Tool {
	tool := Tool{ID: r.ID, Name: r.Name, Description: r.Description, Circle: r.Circle}
	if r.CheckoutID != nil {
		tool.Checkout = &Checkout{ID: *r.CheckoutID, AccountID: *r.CheckoutAccount, Username: r.CheckoutUsername, StartedAt: r.CheckoutAt}
	}
	return tool
}

func toTools(rows []toolRow) []Tool {
	tools := make([]Tool, len(rows))
	for i, row := range rows {
		tools[i] = row.tool()
	}
	return tools
}

func oneTool(ctx context.Context, q querier, id int64) (Tool, error) {
	row, err := one[toolRow](ctx, q, ErrNoTool, selectTool+`where t.id = $1`, id)
	return row.tool(), err
}
