package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Snapshot is several sessions that see one moment of a database, however it
// moves on meanwhile.
type Snapshot struct {
	// ID is the name by which other sessions, and pg_dump, join it.
	ID string
	// Sessions are in a read-only transaction each; there is at least one.
	Sessions []*pgx.Conn
}

// TakeSnapshot opens so many sessions on one moment. They write values in one
// way, whatever the server's settings are, so that what they read can be
// compared with what others read elsewhere.
func (s Server) TakeSnapshot(ctx context.Context, name string, sessions int) (_ *Snapshot, err error) {
	snapshot := &Snapshot{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("take a snapshot: %w", err), snapshot.Close(ctx))
		}
	}()
	for range max(sessions, 1) {
		conn, err := s.Connect(ctx, name, uniform())
		if err != nil {
			return snapshot, err
		}
		snapshot.Sessions = append(snapshot.Sessions, conn)
		if _, err := conn.Exec(ctx, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			return snapshot, err
		}
		if snapshot.ID == "" {
			err = conn.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snapshot.ID)
		} else {
			_, err = conn.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+snapshot.ID+"'")
		}
		if err != nil {
			return snapshot, err
		}
	}
	return snapshot, nil
}

// Close ends the sessions, also when ctx is over.
func (s *Snapshot) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancel()
	var problems []error
	for _, conn := range s.Sessions {
		problems = append(problems, conn.Close(ctx))
	}
	return errors.Join(problems...)
}

// Private

// uniform are the settings that decide how values are written, and those of a
// long reader that leaves the applications their processors: what is parallel
// is so by its number of sessions.
func uniform() map[string]string {
	return map[string]string{
		"TimeZone": "UTC", "DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex",
		"max_parallel_workers_per_gather": "0", "jit": "off",
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "client_connection_check_interval": "1s",
	}
}
