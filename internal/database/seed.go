package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Seed is what a rehearsal's database is made from.
type Seed struct {
	Accounts int
	Seed     uint64
	Schema   Script
	Data     []Script // loaded in this order
	// Again empties a database that was seeded before, and fills it anew.
	Again bool
	// Progress is told from time to time how many rows there are.
	Progress func(rows int64)
}

// Seeded says what a database holds.
type Seeded struct {
	Done     bool // whether it was filled just now
	Known    bool // whether cutover filled it, now or before, from these:
	Accounts int
	Seed     uint64
	Rows     int64 // that were loaded just now
}

// ErrForeign means that the data are not cutover's to throw away.
var ErrForeign = errors.New("the database was not seeded by cutover, so its data are left alone")

// Fill gives a new database its schema and its data, in one transaction: they
// are there whole or not at all. A database that has tables already is left
// alone, or filled anew if that is wished and cutover filled it.
func Fill(ctx context.Context, conn *pgx.Conn, seed Seed) (Seeded, error) {
	seeded, err := fill(ctx, conn, seed)
	if err != nil {
		return Seeded{}, fmt.Errorf("seed the database: %w", err)
	}
	return seeded, nil
}

// Private

// marker is the comment on the schema by which cutover knows its own work.
const marker = "cutover seed: %d accounts, seed %d"

// migrated is goose's table of the migrations that were run: emptying the
// others does not undo them.
const migrated = "goose_db_version"

func fill(ctx context.Context, conn *pgx.Conn, seed Seed) (seeded Seeded, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return Seeded{}, err
	}
	defer func() {
		if rollback := tx.Rollback(context.WithoutCancel(ctx)); err == nil && !errors.Is(rollback, pgx.ErrTxClosed) {
			err = rollback
		}
	}()
	// Two operators may bring the environment up at once.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('cutover bootstrap'))"); err != nil {
		return Seeded{}, err
	}
	tables, err := tableNames(ctx, tx)
	if err != nil {
		return Seeded{}, err
	}
	scripts := seed.Data
	if tables == "" {
		scripts = append([]Script{seed.Schema}, scripts...)
	} else {
		seeded, err := readMarker(ctx, tx)
		if err != nil || !seed.Again {
			return seeded, err
		}
		if !seeded.Known {
			return Seeded{}, ErrForeign
		}
		// An application may write to the tables in another order than they are
		// locked here: a deadlock, which whoever looks for it first gives way in.
		if _, err := tx.Exec(ctx, "SET LOCAL deadlock_timeout = '1h'"); err != nil {
			return Seeded{}, err
		}
		if _, err := tx.Exec(ctx, "TRUNCATE "+tables+" RESTART IDENTITY CASCADE"); err != nil {
			return Seeded{}, fmt.Errorf("empty the tables: %w", err)
		}
	}
	seeded = Seeded{Done: true, Known: true, Accounts: seed.Accounts, Seed: seed.Seed}
	add := func(rows int64) {
		seeded.Rows += rows
		if seed.Progress != nil {
			seed.Progress(seeded.Rows)
		}
	}
	for _, script := range scripts {
		load := func() error { return script.run(ctx, conn.PgConn(), add) }
		if script.Bulk {
			err = withoutIndexes(ctx, tx, load)
		} else {
			err = load()
		}
		if err != nil {
			return Seeded{}, err
		}
	}
	return seeded, finish(ctx, tx, seeded)
}

// withoutIndexes sets the indexes aside while load runs, but for those that a
// constraint needs.
func withoutIndexes(ctx context.Context, tx pgx.Tx, load func() error) error {
	type index struct{ Name, Definition string }
	rows, err := tx.Query(ctx, `
		SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
		FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
		WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r' AND t.relname <> $1
			AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
		ORDER BY i.indexrelid`, migrated)
	if err != nil {
		return err
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[index])
	if err != nil {
		return err
	}
	for _, index := range indexes {
		if _, err := tx.Exec(ctx, "DROP INDEX "+index.Name); err != nil {
			return err
		}
	}
	if err := load(); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SET LOCAL maintenance_work_mem = '256MB'"); err != nil {
		return err
	}
	for _, index := range indexes {
		if _, err := tx.Exec(ctx, index.Definition); err != nil {
			return fmt.Errorf("build the index %s: %w", index.Name, detailed(err))
		}
	}
	return nil
}

// finish leaves the mark, and the statistics that quick queries need.
func finish(ctx context.Context, tx pgx.Tx, seeded Seeded) error {
	if _, err := tx.Exec(ctx, fmt.Sprintf("COMMENT ON SCHEMA public IS '"+marker+"'", seeded.Accounts, seeded.Seed)); err != nil {
		return err
	}
	tables, err := tableNames(ctx, tx)
	if err != nil {
		return err
	}
	if tables != "" {
		if _, err := tx.Exec(ctx, "ANALYZE "+tables); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// tableNames lists the tables as SQL wants them.
func tableNames(ctx context.Context, tx pgx.Tx) (string, error) {
	var names string
	err := tx.QueryRow(ctx, `
		SELECT coalesce(string_agg(oid::regclass::text, ', ' ORDER BY oid), '') FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> $1`, migrated).Scan(&names)
	return names, err
}

func readMarker(ctx context.Context, tx pgx.Tx) (Seeded, error) {
	var comment string
	err := tx.QueryRow(ctx, `SELECT coalesce(obj_description('public'::regnamespace, 'pg_namespace'), '')`).Scan(&comment)
	if err != nil {
		return Seeded{}, err
	}
	var seeded Seeded
	if n, err := fmt.Sscanf(comment, marker, &seeded.Accounts, &seeded.Seed); n != 2 || err != nil {
		return Seeded{}, nil
	}
	seeded.Known = true
	return seeded, nil
}
