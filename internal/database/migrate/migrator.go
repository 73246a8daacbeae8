package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"github.com/cutover-dev/cutover/internal/database"
)

// Migrator runs migrations on one database.
type Migrator struct {
	Server     database.Server
	Database   string
	Migrations *Migrations
	// Patience is how long one migration may try to get the locks that it
	// needs.
	Patience time.Duration
	// Progress is told what goes on with what; it may be nil.
	Progress func(subject, what string, over bool)
}

// Done is a migration that was run just now.
type Done struct {
	Migration
	Attempts int
	Duration time.Duration // of all attempts
}

// LockedError says that a migration did not get its locks in time, and who may
// hold them.
type LockedError struct {
	Migration Migration
	Patience  time.Duration
	Holders   []Holder
}

// Holder is a transaction that has been open for long.
type Holder struct {
	PID         int
	Application string
	Age         time.Duration
	Query       string
}

// Error names who is in the way.
func (e *LockedError) Error() string {
	text := fmt.Sprintf("the migration %s did not get its lock within %s; nothing of it was changed", e.Migration.Name, e.Patience)
	for _, holder := range e.Holders {
		text += fmt.Sprintf("\n  open for %s: process %d of %q: %.100s", holder.Age.Round(time.Second/10), holder.PID, holder.Application, holder.Query)
	}
	return text
}

// ErrContracted means that the way back is closed.
var ErrContracted = errors.New("the database was contracted: what the legacy system needs is gone, and there is no way down")

// Up runs what is pending of a kind, each migration by itself. It may be
// interrupted anywhere and run again. What was done before an error stays, and
// is returned with it.
func (m *Migrator) Up(ctx context.Context, kind Kind) ([]Done, error) {
	return m.each(ctx, kind, func(s Status) (next *Migration) {
		for _, state := range s.Migrations {
			if state.Kind == kind && state.Applied == nil {
				return &state.Migration
			}
		}
		return nil
	}, true)
}

// Down takes back the expand migrations with a version above to, the last one
// first.
func (m *Migrator) Down(ctx context.Context, to int64) ([]Done, error) {
	status, err := m.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.Contracted() {
		return nil, ErrContracted
	}
	return m.each(ctx, Expand, func(s Status) *Migration {
		for _, state := range slices.Backward(s.Migrations) {
			if state.Kind == Expand && state.Applied != nil && state.Version > to {
				return &state.Migration
			}
		}
		return nil
	}, false)
}

// Private

const (
	// briefly is how long a statement waits for a lock: whoever comes after it
	// waits behind it.
	briefly = 100 * time.Millisecond
	// atMost bounds a statement that has its lock: one that looks at every row
	// while nobody else may is a mistake.
	atMost = 5 * time.Second
	// unhurried is for what holds up nobody while it waits.
	unhurried = time.Hour
)

// each runs migrations one at a time until next finds none.
func (m *Migrator) each(ctx context.Context, kind Kind, next func(Status) *Migration, up bool) (all []Done, err error) {
	if m.Migrations.dirs[kind] == nil {
		return nil, nil
	}
	if err := m.repair(ctx); err != nil {
		return nil, err
	}
	for {
		status, err := m.Status(ctx)
		if err != nil {
			return all, err
		}
		migration := next(status)
		if migration == nil {
			return all, status.check()
		}
		done, err := m.patiently(ctx, *migration, up)
		if err != nil {
			return all, err
		}
		all = append(all, done)
	}
}

// patiently tries until the migration has its locks.
func (m *Migrator) patiently(ctx context.Context, migration Migration, up bool) (Done, error) {
	began := time.Now()
	pause := 200 * time.Millisecond
	m.tell(migration.Name, "running", false)
	for attempt := 1; ; attempt++ {
		err := m.apply(ctx, migration, up)
		if err == nil {
			done := Done{migration, attempt, time.Since(began)}
			m.tell(migration.Name, fmt.Sprintf("done in %s, attempt %d", done.Duration.Round(time.Millisecond), attempt), true)
			return done, nil
		}
		if !crowded(err) {
			return Done{}, fmt.Errorf("the migration %s: %w", migration.Name, explained(err))
		}
		if time.Since(began) > m.Patience {
			return Done{}, m.locked(ctx, migration)
		}
		m.tell(migration.Name, fmt.Sprintf("somebody holds the table: attempt %d gave way", attempt), false)
		// Not in step with whatever holds the table again and again.
		wait := time.Duration(float64(pause) * (0.75 + rand.Float64()/2))
		pause = min(pause*3/2, 2*time.Second)
		select {
		case <-ctx.Done():
			return Done{}, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// apply makes one attempt. Another command that came first is no error.
func (m *Migrator) apply(ctx context.Context, migration Migration, up bool) (err error) {
	db, err := m.open(migration.Alone)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	locker, err := newLocker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, m.Migrations.dirs[migration.Kind],
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = provider.ApplyVersion(ctx, migration.Version, up)
	if errors.Is(err, goose.ErrAlreadyApplied) || errors.Is(err, goose.ErrNotApplied) {
		return nil
	}
	return err
}

// open is a pool of sessions that hold up the applications for a moment at
// most, and leave them their processors. The server ends what such a session does soon after its client has
// gone, so that the next command can begin.
func (m *Migrator) open(alone bool) (*sql.DB, error) {
	settings := map[string]string{
		"client_connection_check_interval": "1s",
		"max_parallel_maintenance_workers": "0",
		"lock_timeout":                     milliseconds(briefly),
		"statement_timeout":                milliseconds(atMost),
	}
	if alone {
		settings["lock_timeout"], settings["statement_timeout"] = milliseconds(unhurried), "0"
	}
	return m.Server.Open(m.Database, settings)
}

func (m *Migrator) tell(subject, what string, over bool) {
	if m.Progress != nil {
		m.Progress(subject, what, over)
	}
}

func (m *Migrator) locked(ctx context.Context, migration Migration) error {
	locked := &LockedError{Migration: migration, Patience: m.Patience}
	conn, err := m.Server.Connect(ctx, m.Database, nil)
	if err != nil {
		return errors.Join(locked, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `
		SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start)::float8, query
		FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
		ORDER BY xact_start LIMIT 3`)
	if err != nil {
		return errors.Join(locked, err)
	}
	defer rows.Close()
	for rows.Next() {
		var holder Holder
		var age float64
		if err := rows.Scan(&holder.PID, &holder.Application, &age, &holder.Query); err != nil {
			return errors.Join(locked, err)
		}
		holder.Age = time.Duration(age * float64(time.Second))
		locked.Holders = append(locked.Holders, holder)
	}
	return errors.Join(locked, rows.Err())
}

// crowded says whether an attempt failed because others were at the table.
func crowded(err error) bool {
	var answered *pgconn.PgError
	return errors.As(err, &answered) &&
		slices.Contains([]string{"55P03", "40P01", "40001"}, answered.Code) // no lock in time, deadlock, serialization
}

func explained(err error) error {
	var answered *pgconn.PgError
	if errors.As(err, &answered) && answered.Code == "57014" { // cancelled
		return fmt.Errorf("it was ended after %s, because everybody else waits for it meanwhile: give what takes long a migration of its own, with NO TRANSACTION: %w", atMost, err)
	}
	return err
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
