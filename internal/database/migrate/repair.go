package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3/lock"
)

// Private

// An index that is built concurrently and interrupted stays behind: it costs
// at every write and serves no read, and CREATE INDEX IF NOT EXISTS takes it
// for the real one.

// repair rebuilds the invalid indexes, and removes what interrupted rebuilds
// left. Under the migrations' lock: an index is invalid while it is built, too.
func (m *Migrator) repair(ctx context.Context) (err error) {
	db, err := m.open(true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database %s as %s: %w", m.Database, m.Server.User, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	locker, err := newLocker()
	if err != nil {
		return err
	}
	if err := locker.SessionLock(ctx, conn); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, locker.SessionUnlock(ctx, conn)) }()
	names, err := invalidIndexes(ctx, conn)
	if err != nil {
		return err
	}
	for _, name := range names {
		statement, what := "REINDEX INDEX CONCURRENTLY ", "rebuilding it: an earlier build was interrupted"
		if leftover.MatchString(name) {
			statement, what = "DROP INDEX CONCURRENTLY IF EXISTS ", "removing what an interrupted rebuild left"
		}
		m.tell("index "+name, what, false)
		if _, err := conn.ExecContext(ctx, statement+pgx.Identifier{name}.Sanitize()); err != nil {
			return fmt.Errorf("the index %s, which an interrupted build left invalid, could not be mended: %w; look at what it says, or drop the index by hand", name, err)
		}
		m.tell("index "+name, "done", true)
	}
	return nil
}

// leftover is what Postgres calls the copies that REINDEX CONCURRENTLY makes.
var leftover = regexp.MustCompile(`_cc(new|old)\d*$`)

// invalidIndexes lists them, the leftovers of rebuilds first.
func invalidIndexes(ctx context.Context, conn *sql.Conn) (names []string, err error) {
	rows, err := conn.QueryContext(ctx, selectInvalid)
	if err != nil {
		return nil, fmt.Errorf("look for invalid indexes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

const selectInvalid = `
	SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	WHERE c.relnamespace = 'public'::regnamespace AND NOT i.indisvalid
	ORDER BY c.relname !~ '_cc(new|old)[0-9]*$', c.relname`

// locker is goose's lock, polled: who waits in pg_advisory_lock deadlocks with
// an index that is built concurrently.
type locker struct {
	lock.SessionLocker
}

// The lock is asked for once a second for so long; who holds it may be building
// an index.
const lockSeconds = 1800

func newLocker() (locker, error) {
	inner, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, lockSeconds))
	return locker{inner}, err
}

// SessionUnlock does not wait for a server that hangs: the lock ends with the
// session.
func (l locker) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return l.SessionLocker.SessionUnlock(ctx, conn)
}
