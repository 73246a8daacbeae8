// Package database works on the one database that both systems share.
package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
)

// Dialer opens a connection to the database server.
type Dialer func(ctx context.Context) (net.Conn, error)

// Login says who connects to which database.
type Login struct {
	User     string
	Password string
	Database string
}

// Connect opens a session over a connection that dial makes.
func Connect(ctx context.Context, dial Dialer, login Login) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=disable application_name=cutover")
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	config.Host, config.Port = "postgres", 5432
	config.User, config.Password, config.Database = login.User, login.Password, login.Database
	config.ConnectTimeout = 15 * time.Second
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
	// The name means something at the other end of the tunnel only.
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database %s as %s: %w", login.Database, login.User, err)
	}
	return conn, nil
}

// Bootstrap gives a new database its schema and its seed data, in one
// transaction: it is there whole or not at all. A database that has tables
// already is left alone. It returns whether it did anything.
func Bootstrap(ctx context.Context, conn *pgx.Conn, schema, seed string) (done bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("seed the database: %w", err)
	}
	defer func() {
		if rollback := tx.Rollback(context.WithoutCancel(ctx)); !errors.Is(rollback, pgx.ErrTxClosed) {
			err = errors.Join(err, rollback)
		}
	}()
	// Two operators may bring the environment up at once.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('cutover bootstrap'))"); err != nil {
		return false, fmt.Errorf("seed the database: %w", err)
	}
	var tables int
	const count = `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`
	if err := tx.QueryRow(ctx, count).Scan(&tables); err != nil {
		return false, fmt.Errorf("seed the database: %w", err)
	}
	if tables > 0 {
		return false, nil
	}
	for _, script := range []struct{ name, sql string }{{"schema", schema}, {"seed data", seed}} {
		if script.sql == "" {
			continue
		}
		if _, err := tx.Exec(ctx, script.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return false, fmt.Errorf("load the %s: %w", script.name, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return false, fmt.Errorf("seed the database: %w", err)
	}
	return true, nil
}
