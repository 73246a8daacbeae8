package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Private

func (w *workshop) rename(ctx context.Context, from, to string) error {
	_, err := w.conn.Exec(ctx, "ALTER DATABASE "+pgx.Identifier{from}.Sanitize()+" RENAME TO "+pgx.Identifier{to}.Sanitize())
	if err != nil {
		return fmt.Errorf("rename the database %s to %s: %w", from, to, err)
	}
	return nil
}

// exchange puts the scratch database in the place of the real one, in one
// transaction. Renaming locks the database against new sessions and waits a few
// seconds for the old ones, which a second session ends meanwhile.
func (k *Keeper) exchange(ctx context.Context, w *workshop, old string) (err error) {
	killer, err := k.Server.Connect(ctx, maintenance, nil)
	if err != nil {
		return err
	}
	killing, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- endSessions(killing, killer, k.Database) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended, killer.Close(context.WithoutCancel(ctx)))
	}()
	return pgx.BeginFunc(ctx, w.conn, func(pgx.Tx) error {
		if err := w.rename(ctx, k.Database, old); err != nil {
			return err
		}
		return w.rename(ctx, scratch, k.Database)
	})
}

// endSessions ends the sessions of a database again and again until ctx ends.
func endSessions(ctx context.Context, conn *pgx.Conn, name string) error {
	for {
		_, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}
