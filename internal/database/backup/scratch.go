package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Private

// The databases into which backups are restored to prove them. Whoever uses
// them holds a lock, so that what a killed command left can be told apart.
const (
	maintenance  = "postgres"
	scratch      = "cutover_scratch"
	scratchEmpty = "cutover_scratch_empty"
	scratchLock  = "SELECT pg_try_advisory_lock(hashtext('cutover scratch'))"
	lockPatience = 2 * time.Minute
	dropPatience = time.Minute
)

// workshop is the right to use the scratch databases, until it is closed.
type workshop struct {
	conn *pgx.Conn
}

// enter waits for whoever uses the scratch databases, and removes what an
// interrupted command left.
func (k *Keeper) enter(ctx context.Context) (_ *workshop, err error) {
	conn, err := k.Server.Connect(ctx, maintenance, map[string]string{"client_connection_check_interval": "1s"})
	if err != nil {
		return nil, err
	}
	w := &workshop{conn}
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
		}
	}()
	began := time.Now()
	for mine := false; !mine; {
		if err := conn.QueryRow(ctx, scratchLock).Scan(&mine); err != nil {
			return nil, err
		}
		if mine {
			break
		}
		if time.Since(began) > lockPatience {
			return nil, errors.New("another command is making or proving a backup of this server; wait for it")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return w, w.clean(ctx)
}

func (w *workshop) create(ctx context.Context, name string) error {
	_, err := w.conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE template0")
	if err != nil {
		return fmt.Errorf("make the database %s: %w", name, err)
	}
	return nil
}

func (w *workshop) drop(ctx context.Context, name string) error {
	_, err := w.conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	return err
}

func (w *workshop) clean(ctx context.Context) error {
	return errors.Join(w.drop(ctx, scratch), w.drop(ctx, scratchEmpty))
}

// close removes the scratch databases and lets others in, also when ctx is
// over. If that fails, the next command does it.
func (w *workshop) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
	defer cancel()
	return errors.Join(w.clean(ctx), w.conn.Close(ctx))
}
