package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Status says what was run on a database.
type Status struct {
	Migrations []State
	// Unknown are versions that were run and that the plan's folder does not
	// have.
	Unknown []int64
	// Invalid are the indexes that an interrupted build left, or that are
	// being built.
	Invalid []string
}

// State is one migration and when it was run.
type State struct {
	Migration
	Applied *time.Time // nil: it is pending
}

// Pending lists the migrations of a kind that were not run.
func (s Status) Pending(kind Kind) []Migration {
	var pending []Migration
	for _, state := range s.Migrations {
		if state.Kind == kind && state.Applied == nil {
			pending = append(pending, state.Migration)
		}
	}
	return pending
}

// Contracted says whether the way back is closed.
func (s Status) Contracted() bool {
	for _, state := range s.Migrations {
		if state.Kind == Contract && state.Applied != nil {
			return true
		}
	}
	return false
}

// Status looks at the database; it changes nothing.
func (m *Migrator) Status(ctx context.Context) (status Status, err error) {
	conn, err := m.Server.Connect(ctx, m.Database, nil)
	if err != nil {
		return Status{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	applied, err := appliedVersions(ctx, conn)
	if err != nil {
		return Status{}, fmt.Errorf("read which migrations were run: %w", err)
	}
	for _, migration := range m.Migrations.list {
		state := State{Migration: migration}
		if at, ok := applied[migration.Version]; ok {
			state.Applied = &at
			delete(applied, migration.Version)
		}
		status.Migrations = append(status.Migrations, state)
	}
	for version := range applied {
		status.Unknown = append(status.Unknown, version)
	}
	rows, err := conn.Query(ctx, selectInvalid)
	if err != nil {
		return Status{}, err
	}
	status.Invalid, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return status, err
}

// Private

// check is what has to hold when all is done.
func (s Status) check() error {
	if len(s.Invalid) > 0 {
		return fmt.Errorf("everything was run, but these indexes are not valid: %s; run the same command again, it rebuilds them", strings.Join(s.Invalid, ", "))
	}
	return nil
}

// appliedVersions reads goose's table, which need not be there.
func appliedVersions(ctx context.Context, conn *pgx.Conn) (map[int64]time.Time, error) {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('public.goose_db_version') IS NOT NULL").Scan(&there); err != nil || !there {
		return nil, err
	}
	// goose writes the time without a zone, as the server's clock shows it.
	rows, err := conn.Query(ctx, `
		SELECT version_id, max(tstamp::timestamptz) FROM goose_db_version
		WHERE version_id > 0 AND is_applied GROUP BY version_id`)
	if err != nil {
		return nil, err
	}
	applied := map[int64]time.Time{}
	var version int64
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&version, &at}, func() error {
		applied[version] = at
		return nil
	})
	return applied, err
}
