// Package database works on the one database that both systems share.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Dialer opens a connection to the database server.
type Dialer func(ctx context.Context) (net.Conn, error)

// Login says who connects to which database.
type Login struct {
	User     string
	Password string
	Database string
}

// Server is a database server and who works on it.
type Server struct {
	Dial     Dialer
	User     string
	Password string
}

// ErrLogin means that the server does not let us in with the password that we
// have.
var ErrLogin = errors.New("the server does not take the password")

// Connect opens a session over a connection that dial makes.
func Connect(ctx context.Context, dial Dialer, login Login) (*pgx.Conn, error) {
	return Server{Dial: dial, User: login.User, Password: login.Password}.Connect(ctx, login.Database, nil)
}

// Connect opens a session on a database. Settings are those of the session,
// as SET takes them.
func (s Server) Connect(ctx context.Context, name string, settings map[string]string) (*pgx.Conn, error) {
	config, err := s.config(name, settings)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.refused(name, err)
	}
	return conn, nil
}

// Open is a pool of sessions on a database, for what wants database/sql.
// Nothing is connected yet.
func (s Server) Open(name string, settings map[string]string) (*sql.DB, error) {
	config, err := s.config(name, settings)
	if err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*config), nil
}

// Private

// endPatience is how long a server may take to end a session.
const endPatience = 5 * time.Second

func (s Server) config(name string, settings map[string]string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig("sslmode=disable application_name=cutover")
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	config.Host, config.Port = "postgres", 5432
	config.User, config.Password, config.Database = s.User, s.Password, name
	config.ConnectTimeout = 15 * time.Second
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) }
	// The name means something at the other end of the tunnel only.
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	maps.Copy(config.RuntimeParams, settings)
	return config, nil
}

func (s Server) refused(name string, err error) error {
	var answered *pgconn.PgError
	if errors.As(err, &answered) && (answered.Code == "28P01" || answered.Code == "28000") {
		return fmt.Errorf("connect to the database %s as %s: %w: it is not the one that the database was made with; secrets that were exchanged after the first up have to be put back", name, s.User, ErrLogin)
	}
	return fmt.Errorf("connect to the database %s as %s: %w", name, s.User, err)
}
