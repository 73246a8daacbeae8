// Package reverse knows what one system wrote, and whether the other one reads
// it as the same: before the way back is closed, and after every rollback.
package reverse

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Write is one row of the audit trail.
type Write struct {
	Number    int64     `json:"number"`
	At        time.Time `json:"at"`
	RequestID *string   `json:"request_id"`
	Who       *string   `json:"who"`
	Action    string    `json:"action"`
	// Path is where the API shows what was written; nil: nowhere.
	Path *string `json:"path"`
}

// Find lists what a system wrote from one moment to another, by the plan's
// query.
func Find(ctx context.Context, conn *pgx.Conn, query, system string, from, to time.Time) ([]Write, error) {
	rows, err := conn.Query(ctx, query, system, from, to)
	if err != nil {
		return nil, fmt.Errorf("ask for what %s wrote: %w", system, err)
	}
	writes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Write])
	if err != nil {
		return nil, fmt.Errorf("ask for what %s wrote: %w", system, err)
	}
	return writes, nil
}
