package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/database"
)

// systems are the two applications in the order in which tests ask them.
var systems = []string{"python", "go"}

// direct is the way to one application past the edge.
func (env *environment) direct(system string) *http.Transport {
	address := map[string]string{"python": "flask:5000", "go": "goapp:8080"}[system]
	return &http.Transport{
		MaxIdleConnsPerHost: 32,
		DisableCompression:  true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return env.stack.Dial(ctx, "nginx", "tcp", address)
		},
	}
}

// directVisitor is a visitor of one application alone. The application sees
// the host that the edge would pass on.
func (env *environment) directVisitor(t *testing.T, system string) *visitor {
	t.Helper()
	transport := env.direct(system)
	t.Cleanup(transport.CloseIdleConnections)
	jar, _ := cookiejar.New(nil) // never fails
	return &visitor{address: env.address, http: &http.Client{
		Transport: transport, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// db is a session of the database's superuser.
func (env *environment) db(t *testing.T) *pgx.Conn {
	t.Helper()
	return env.dbAs(t, "postgres", "superuser")
}

// dbAs is a session of a role whose password is the secret of that name.
func (env *environment) dbAs(t *testing.T, role, secret string) *pgx.Conn {
	t.Helper()
	secrets, err := env.stack.Secrets(t.Context())
	require.NoError(t, err)
	conn, err := database.Connect(t.Context(), func(ctx context.Context) (net.Conn, error) {
		return env.stack.Dial(ctx, "guard", "tcp", "postgres:5432")
	}, database.Login{User: role, Password: secrets["postgres/"+secret+"_password"], Database: "p2k16"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (env *environment) dialRedis(ctx context.Context) (net.Conn, error) {
	return env.stack.Dial(ctx, "guard", "tcp", "redis:6379")
}

// number asks the database for one number.
func number(t *testing.T, db *pgx.Conn, sql string, arguments ...any) int64 {
	t.Helper()
	var found int64
	require.NoError(t, db.QueryRow(t.Context(), sql, arguments...).Scan(&found), sql)
	return found
}

// message is something that an application sent out and the sink kept.
type message struct {
	Seq       int
	System    string
	Kind      string
	RequestID string `json:"request_id"`
	Mail      *struct {
		From, Subject, Text string
		To                  []string
	}
	HTTP *struct{ Method, Path, Body string }
}

// sink is what one application has sent since a number.
func (env *environment) sink(t *testing.T, system string, after int) []message {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return env.stack.Dial(ctx, "guard", "tcp", "sink:9000")
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	response, err := client.Get(fmt.Sprintf("http://sink/messages?system=%s&after=%d", system, after))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var document struct{ Messages []message }
	require.NoError(t, json.NewDecoder(response.Body).Decode(&document))
	return document.Messages
}
