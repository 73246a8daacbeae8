// Package integrity knows whether rows are still what they were: it makes
// checksums of ranges of a table's keys, and compares them.
package integrity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cutover-dev/cutover/internal/database"
)

// Table is what a table holds, in sums.
type Table struct {
	Name string `json:"name"`
	// Columns are those that the sums are over.
	Columns []string `json:"columns"`
	// Key is an integer column of the primary key, by which ranges are told
	// apart; "" where there is none: the table is one range then.
	Key    string  `json:"key"`
	Rows   int64   `json:"rows"`
	Ranges []Range `json:"ranges"` // ordered by number
	// Added counts the rows beyond the last key of the shape that was asked
	// for: they are in no range.
	Added   int64         `json:"-"`
	Elapsed time.Duration `json:"-"`
}

// Range is the rows whose keys are in one stretch of Width keys.
type Range struct {
	Number int64 `json:"number"` // key / Width
	From   int64 `json:"from"`   // the lowest key that a row has
	To     int64 `json:"to"`
	Rows   int64 `json:"rows"`
	// Sum is the sum of the rows' 64-bit hashes, in decimal: the order of rows
	// does not matter.
	Sum string `json:"sum"`
}

// ErrGone means that something is not there any more that the baseline has.
var ErrGone = errors.New("it is gone")

// Width is how many keys a range has.
const Width = 1000

// Shape says what of a table is to be summed.
type Shape struct {
	Name    string
	Columns []string
	Key     string
	Until   int64 // keys beyond it are counted alone
}

// Shapes finds what can be summed in a database: all columns of the tables
// that are named, or of all if none is. Goose's own table is never one.
func Shapes(ctx context.Context, conn *pgx.Conn, names []string) ([]Shape, error) {
	rows, err := conn.Query(ctx, `
		SELECT c.relname,
			(SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
			coalesce((
				SELECT a.attname FROM pg_index i
				JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
				LEFT JOIN pg_stats s ON s.schemaname = 'public' AND s.tablename = c.relname AND s.attname = a.attname
				WHERE i.indrelid = c.oid AND i.indisprimary AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
				ORDER BY CASE WHEN s.n_distinct < 0 THEN -s.n_distinct * greatest(c.reltuples, 0) ELSE s.n_distinct END DESC NULLS LAST, a.attnum
				LIMIT 1), '')
		FROM pg_class c
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'goose_db_version'
			AND ($1::text[] IS NULL OR c.relname = ANY ($1))
		ORDER BY c.relname`, names)
	if err != nil {
		return nil, err
	}
	shapes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Shape, error) {
		shape := Shape{Until: math.MaxInt64}
		return shape, row.Scan(&shape.Name, &shape.Columns, &shape.Key)
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(shapes, func(s Shape) bool { return s.Name == name }) {
			return nil, fmt.Errorf("there is no table %q in the database", name)
		}
	}
	return shapes, nil
}

// Sum makes the sums of tables at the moment of a snapshot, a table after the
// other, each by all sessions. Progress, if there is one, is told of each table
// that is done.
func Sum(ctx context.Context, snapshot *database.Snapshot, shapes []Shape, progress func(Table)) ([]Table, error) {
	tables := make([]Table, 0, len(shapes))
	for _, shape := range shapes {
		table, err := sumTable(ctx, snapshot, shape)
		if err != nil {
			return nil, fmt.Errorf("read the table %s: %w", shape.Name, err)
		}
		if progress != nil {
			progress(table)
		}
		tables = append(tables, table)
	}
	return tables, nil
}

// Private

// stretch is how many pages of a table one query reads: 16 MB.
const stretch = 2048

// part is a range as some pages of the table show it.
type part struct {
	Number, From, To, Rows int64
	Sum                    string
}

func sumTable(ctx context.Context, snapshot *database.Snapshot, shape Shape) (Table, error) {
	began := time.Now()
	values, err := hashable(ctx, snapshot.Sessions[0], shape)
	if err != nil {
		return Table{}, err
	}
	var pages int64
	// What comes later than the snapshot may make the table longer, and is not seen.
	err = snapshot.Sessions[0].QueryRow(ctx, "SELECT pg_relation_size($1::regclass) / current_setting('block_size')::bigint",
		pgx.Identifier{"public", shape.Name}.Sanitize()).Scan(&pages)
	if err != nil {
		return Table{}, err
	}
	starts := make(chan int64, pages/stretch+1)
	for page := int64(0); page < pages; page += stretch {
		starts <- page
	}
	close(starts)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	found := newMerger()
	var reading sync.WaitGroup
	for _, conn := range snapshot.Sessions {
		reading.Go(func() {
			for start := range starts {
				if err := readStretch(ctx, conn, shape, values, start, found); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	reading.Wait()
	if err := context.Cause(ctx); err != nil {
		return Table{}, err
	}
	table := found.table(shape)
	table.Elapsed = time.Since(began)
	return table, nil
}

// hashable lists the columns as they are hashed. A hash stands for a value of
// its type: where two that look different are equal to Postgres (1.0 and 1.00)
// it is the text that is hashed, which takes longer.
func hashable(ctx context.Context, conn *pgx.Conn, shape Shape) (string, error) {
	rows, err := conn.Query(ctx, `
		SELECT attname::text, CASE
			WHEN atttypid IN ('text'::regtype, 'varchar'::regtype) THEN ' COLLATE "C"'
			WHEN atttypid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'uuid'::regtype,
				'bytea'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN ''
			ELSE '::text COLLATE "C"' END
		FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`,
		pgx.Identifier{"public", shape.Name}.Sanitize())
	if err != nil {
		return "", err
	}
	casts := map[string]string{}
	var name, cast string
	if _, err := pgx.ForEachRow(rows, []any{&name, &cast}, func() error { casts[name] = cast; return nil }); err != nil {
		return "", err
	}
	values := make([]string, len(shape.Columns))
	for i, column := range shape.Columns {
		cast, ok := casts[column]
		if !ok {
			return "", fmt.Errorf("%w: the column %s", ErrGone, column)
		}
		values[i] = pgx.Identifier{column}.Sanitize() + cast
	}
	return strings.Join(values, ", "), nil
}

func readStretch(ctx context.Context, conn *pgx.Conn, shape Shape, values string, start int64, found *merger) error {
	key, number := "0::bigint", "0::bigint"
	if shape.Key != "" {
		key = pgx.Identifier{shape.Key}.Sanitize() + "::bigint"
		number = fmt.Sprintf("CASE WHEN %s > %d THEN NULL ELSE %s / %d END", key, shape.Until, key, Width)
	}
	rows, err := conn.Query(ctx, fmt.Sprintf(`
		SELECT coalesce(number, 0), number IS NULL, min(key), max(key), count(*), sum(hash)::text FROM (
			SELECT %s AS number, %s AS key, hash_record_extended(ROW(%s), 0) AS hash
			FROM public.%s WHERE ctid >= '(%d,0)' AND ctid < '(%d,0)'
		) AS rows GROUP BY 1, 2`,
		number, key, values, pgx.Identifier{shape.Name}.Sanitize(), start, start+stretch),
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	var one part
	var beyond bool
	_, err = pgx.ForEachRow(rows, []any{&one.Number, &beyond, &one.From, &one.To, &one.Rows, &one.Sum}, func() error {
		return found.add(one, beyond)
	})
	return err
}

// merger puts the parts of ranges together.
type merger struct {
	mutex  sync.Mutex
	ranges map[int64]*Range
	sums   map[int64]*big.Int
	added  int64
}

func newMerger() *merger {
	return &merger{ranges: map[int64]*Range{}, sums: map[int64]*big.Int{}}
}

func (m *merger) add(one part, beyond bool) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if beyond {
		m.added += one.Rows
		return nil
	}
	sum, ok := new(big.Int).SetString(one.Sum, 10)
	if !ok {
		return errors.New("the server's sum is no number: " + one.Sum)
	}
	all := m.ranges[one.Number]
	if all == nil {
		m.ranges[one.Number] = &Range{Number: one.Number, From: one.From, To: one.To, Rows: one.Rows}
		m.sums[one.Number] = sum
		return nil
	}
	all.From, all.To, all.Rows = min(all.From, one.From), max(all.To, one.To), all.Rows+one.Rows
	m.sums[one.Number].Add(m.sums[one.Number], sum)
	return nil
}

func (m *merger) table(shape Shape) Table {
	table := Table{Name: shape.Name, Columns: shape.Columns, Key: shape.Key, Added: m.added, Ranges: []Range{}}
	for number, r := range m.ranges {
		r.Sum = m.sums[number].String()
		table.Rows += r.Rows
		table.Ranges = append(table.Ranges, *r)
	}
	slices.SortFunc(table.Ranges, func(a, b Range) int { return int(max(-1, min(1, a.Number-b.Number))) })
	return table
}
