package integrity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cutover-dev/cutover/internal/database"
)

// Baseline is what the tables held at one moment, for later comparisons.
type Baseline struct {
	SchemaVersion int       `json:"schema_version"`
	TakenAt       time.Time `json:"taken_at"`
	Database      string    `json:"database"`
	// System is the identity that the server's cluster got when it was made.
	System string `json:"system"`
	// Transaction is the first one that the baseline does not see.
	Transaction string  `json:"transaction"`
	Tables      []Table `json:"tables"`
}

// ErrNoBaseline means that nothing was recorded yet.
var ErrNoBaseline = errors.New("there is no baseline")

// Take reads the tables at the moment of a snapshot.
func Take(ctx context.Context, snapshot *database.Snapshot, names []string, progress func(Table)) (Baseline, error) {
	shapes, err := Shapes(ctx, snapshot.Sessions[0], names)
	if err != nil {
		return Baseline{}, err
	}
	return take(ctx, snapshot, shapes, progress)
}

// Of is the part of a baseline that is about some tables; all of it without
// names.
func (b Baseline) Of(names []string) Baseline {
	if len(names) > 0 {
		b.Tables = slices.DeleteFunc(slices.Clone(b.Tables), func(t Table) bool { return !slices.Contains(names, t.Name) })
	}
	return b
}

// TakeAs reads the same columns of the same tables as an earlier baseline, as
// far as its keys go.
func TakeAs(ctx context.Context, snapshot *database.Snapshot, earlier Baseline, progress func(Table)) (Baseline, error) {
	shapes := make([]Shape, 0, len(earlier.Tables))
	for _, table := range earlier.Tables {
		shape := Shape{Name: table.Name, Columns: table.Columns, Key: table.Key}
		for _, r := range table.Ranges {
			shape.Until = max(shape.Until, r.To)
		}
		shapes = append(shapes, shape)
	}
	return take(ctx, snapshot, shapes, progress)
}

// TakeCopy reads all tables of what should be a copy, by the keys of the
// original: the copy may not have its primary keys yet.
func TakeCopy(ctx context.Context, snapshot *database.Snapshot, original Baseline) (Baseline, error) {
	shapes, err := Shapes(ctx, snapshot.Sessions[0], nil)
	if err != nil {
		return Baseline{}, err
	}
	for i, shape := range shapes {
		shapes[i].Key = ""
		for _, table := range original.Tables {
			if table.Name == shape.Name && slices.Contains(shape.Columns, table.Key) {
				shapes[i].Key = table.Key
			}
		}
	}
	return take(ctx, snapshot, shapes, nil)
}

// Keys fills in which rows of a difference were written since the baseline.
func (b Baseline) Keys(ctx context.Context, conn *pgx.Conn, table Table, d *Difference) error {
	if table.Key == "" {
		return nil
	}
	key := pgx.Identifier{table.Key}.Sanitize()
	rows, err := conn.Query(ctx, fmt.Sprintf(`
		SELECT %s::bigint FROM public.%s
		WHERE %s BETWEEN $1 AND $2 AND age(xmin) <= age($3::xid)
		ORDER BY 1 LIMIT 10`, key, pgx.Identifier{table.Name}.Sanitize(), key), d.From, d.To, b.Transaction)
	if err != nil {
		return err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err == nil {
		d.Keys = append([]int64{}, keys...)
	}
	return err
}

// Save writes a baseline to a file that only its owner may read, whole or not
// at all.
func (b Baseline) Save(path string) (err error) {
	content, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the baseline: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the baseline: %w", err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the baseline: %w", err), os.Remove(file.Name()))
	}
	return nil
}

// Load reads a baseline; ErrNoBaseline if there is none.
func Load(path string) (Baseline, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Baseline{}, ErrNoBaseline
	}
	if err != nil {
		return Baseline{}, fmt.Errorf("read the baseline: %w", err)
	}
	var b Baseline
	if err := json.Unmarshal(content, &b); err != nil {
		return Baseline{}, fmt.Errorf("the baseline %s is broken: %w; record another one", path, err)
	}
	if b.SchemaVersion != 1 {
		return Baseline{}, fmt.Errorf("the baseline %s has version %d; this program reads version 1", path, b.SchemaVersion)
	}
	return b, nil
}

// Private

func take(ctx context.Context, snapshot *database.Snapshot, shapes []Shape, progress func(Table)) (Baseline, error) {
	b := Baseline{SchemaVersion: 1}
	err := snapshot.Sessions[0].QueryRow(ctx, `
		SELECT now(), current_database(), (SELECT system_identifier::text FROM pg_control_system()),
			(pg_snapshot_xmin(pg_current_snapshot())::text::numeric % 4294967296)::text`,
	).Scan(&b.TakenAt, &b.Database, &b.System, &b.Transaction)
	if err != nil {
		return Baseline{}, err
	}
	b.Tables, err = Sum(ctx, snapshot, shapes, progress)
	return b, err
}
