package integrity

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Invariant is a query for what must not be there: one text column.
type Invariant struct {
	Name string
	SQL  string
}

// Broken is what an invariant's query found.
type Broken struct {
	Name  string
	Count int64
	// Examples are a few of the rows.
	Examples []string
}

// Check runs an invariant's query.
func (i Invariant) Check(ctx context.Context, conn *pgx.Conn) (Broken, error) {
	rows, err := conn.Query(ctx, fmt.Sprintf(`
		SELECT coalesce(found.row::text, ''), count(*) OVER () FROM (%s) AS found (row) LIMIT 5`,
		strings.TrimRight(strings.TrimSpace(i.SQL), ";")), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return Broken{}, fmt.Errorf("the invariant %q: %w", i.Name, err)
	}
	broken := Broken{Name: i.Name, Examples: []string{}}
	var example string
	_, err = pgx.ForEachRow(rows, []any{&example, &broken.Count}, func() error {
		broken.Examples = append(broken.Examples, example)
		return nil
	})
	if err != nil {
		return Broken{}, fmt.Errorf("the invariant %q: %w", i.Name, err)
	}
	return broken, nil
}
