package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

// patience is how long the guard may take for anything but a rollback: one
// that hangs must not hang the command.
const patience = 8 * time.Second

// Where things are inside the environment; the compose file says the same.
const (
	guardSocket     = "/var/lib/cutover/run/guard.sock"
	edgeSocket      = "/var/lib/cutover/run/edge.sock"
	postgresAddress = "postgres:5432"
	databaseName    = "p2k16"
)

// guardClient speaks to the guard's API.
func guardClient(s *stack.Stack) *control.Client {
	return control.NewClient(func(ctx context.Context) (net.Conn, error) {
		return s.Dial(ctx, "guard", "unix", guardSocket)
	})
}

// edgeClient speaks to nginx's control server past the guard.
func edgeClient(s *stack.Stack) *edge.Client {
	return edge.NewClient(func(ctx context.Context) (net.Conn, error) {
		return s.Dial(ctx, "nginx", "unix", edgeSocket)
	})
}

func dialPostgres(s *stack.Stack) database.Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return s.Dial(ctx, "guard", "tcp", postgresAddress)
	}
}

// print writes the result: one JSON document with --json, else text.
func (o *options) print(document any, text string) error {
	if !o.json {
		_, err := fmt.Fprintln(o.env.Stdout, text)
		return err
	}
	encoder := json.NewEncoder(o.env.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(document)
}
