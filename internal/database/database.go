// Package database works on the one database that both systems share.
package database

import (
	"context"
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
