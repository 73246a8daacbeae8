package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/gate"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

// inside is what gates and steps reach of a running environment, all of it
// through the engine.
type inside struct {
	stack   *stack.Stack
	guard   *patientGuard
	edge    *edge.Client
	public  *http.Transport
	metrics *http.Transport
	secrets stack.Secrets
	conn    *pgx.Conn // nil until the database is asked
}

const (
	publicAddress     = "127.0.0.1:8443" // in nginx's container
	prometheusAddress = "prometheus:9090"
)

func newInside(ctx context.Context, s *stack.Stack) (*inside, error) {
	secrets, err := s.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	through := func(service, address string) *http.Transport {
		return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.Dial(ctx, service, "tcp", address)
		}}
	}
	public := through("nginx", publicAddress)
	// The tunnel ends in nginx's own container: nobody else can answer there,
	// whatever names the certificate has.
	public.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	return &inside{
		stack:   s,
		guard:   &patientGuard{stack: s, client: guardClient(s)},
		edge:    edgeClient(s),
		public:  public,
		metrics: through("guard", prometheusAddress),
		secrets: secrets,
	}, nil
}

func (i *inside) close(ctx context.Context) error {
	i.guard.client.Close()
	i.edge.Close()
	i.public.CloseIdleConnections()
	i.metrics.CloseIdleConnections()
	if i.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return i.conn.Close(ctx)
}

// sources are where gates get their evidence from.
func (i *inside) sources() gate.Sources {
	return gate.Sources{
		Edge: i.edge, Guard: i.guard, Services: i, Metrics: i, Database: i, Archive: i,
		Public: i.public, Base: "https://" + publicAddress, ForceToken: i.secrets["nginx/force_token"],
	}
}

// Facts tells how the two applications' containers are.
func (i *inside) Facts(ctx context.Context) ([]gate.SystemFacts, error) {
	services, _, err := i.stack.Services(ctx)
	if err != nil {
		return nil, err
	}
	var facts []gate.SystemFacts
	for _, service := range services {
		if system := map[string]edge.System{"flask": edge.Python, "goapp": edge.Go}[service.Name]; system != "" {
			facts = append(facts, gate.SystemFacts{System: system, State: service.State, Health: service.Health, Image: service.Image, Addresses: service.IPs})
		}
	}
	return facts, nil
}

// Targets tells which targets Prometheus reads.
func (i *inside) Targets(ctx context.Context) (map[string]bool, error) {
	client, err := api.NewClient(api.Config{Address: "http://" + prometheusAddress, RoundTripper: i.metrics})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := prometheus.NewAPI(client).Targets(ctx)
	if err != nil {
		return nil, err
	}
	targets := map[string]bool{}
	for _, target := range found.Active {
		job := string(target.Labels["job"])
		up := target.Health == prometheus.HealthGood
		if before, known := targets[job]; known {
			up = up && before
		}
		targets[job] = up
	}
	return targets, nil
}

// Query asks the shared database, which it must not change. The way there leads
// through the guard's container: a guard that dies takes the connection along,
// and when it is back the question is asked once more.
func (i *inside) Query(ctx context.Context, sql string, args ...any) ([][]any, error) {
	rows, err := i.ask(ctx, sql, args...)
	var answered *pgconn.PgError
	if err == nil || errors.As(err, &answered) || ctx.Err() != nil {
		return rows, err
	}
	if _, away := i.guard.Status(ctx); away != nil {
		return nil, errors.Join(err, away)
	}
	return i.ask(ctx, sql, args...)
}

func (i *inside) ask(ctx context.Context, sql string, args ...any) (_ [][]any, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if i.conn == nil || i.conn.IsClosed() {
		i.conn, err = database.Connect(ctx, dialPostgres(i.stack), database.Login{
			User: "postgres", Password: i.secrets["postgres/superuser_password"], Database: databaseName,
		})
		if err != nil {
			i.conn = nil
			return nil, err
		}
	}
	rows, err := i.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
}

// Verify tells whether the legacy system's archive is whole.
func (i *inside) Verify(context.Context) (string, error) {
	path, err := i.stack.VerifyArchive()
	if errors.Is(err, stack.ErrNoArchive) {
		err = fmt.Errorf("%w: %w", gate.ErrNoArchive, err)
	}
	return path, err
}

// patientGuard is the guard's API for work that takes long: a guard that was
// killed comes back, and is started if the engine waits before doing so.
type patientGuard struct {
	stack  *stack.Stack
	client *control.Client
}

// guardReturn is how long a guard may take to come back.
const guardReturn = 30 * time.Second

func (g *patientGuard) Status(ctx context.Context) (control.Status, error) {
	return patiently(ctx, g, func(ctx context.Context) (control.Status, error) { return g.client.Status(ctx) })
}

func (g *patientGuard) Begin(ctx context.Context, r control.StepRequest) (control.Moved, error) {
	return patiently(ctx, g, func(ctx context.Context) (control.Moved, error) { return g.client.Begin(ctx, r) })
}

func (g *patientGuard) Complete(ctx context.Context, r control.StepRequest) (control.Moved, error) {
	return patiently(ctx, g, func(ctx context.Context) (control.Moved, error) { return g.client.Complete(ctx, r) })
}

// Owners are the changes of the background jobs' owners.
func (g *patientGuard) Owners(ctx context.Context) ([]gate.OwnerChange, error) {
	return patiently(ctx, g, func(ctx context.Context) ([]gate.OwnerChange, error) {
		var changes []gate.OwnerChange
		for e, err := range g.client.Events(ctx, 0, false) {
			if err != nil {
				return nil, err
			}
			if e.Action == rollout.ActionPlan || !sameJobs(e.Before.Jobs, e.After.Jobs) {
				changes = append(changes, gate.OwnerChange{At: e.Time.Time, Jobs: e.After.Jobs})
			}
		}
		return changes, nil
	})
}

func sameJobs(a, b []rollout.Job) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// patiently asks until the guard answers, whatever it answers.
func patiently[Answer any](ctx context.Context, g *patientGuard, ask func(context.Context) (Answer, error)) (Answer, error) {
	limit := time.NewTimer(guardReturn)
	defer limit.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, patience)
		answer, err := ask(asking)
		cancel()
		if !unreachable(err) || ctx.Err() != nil {
			return answer, err
		}
		// The engine waits longer and longer before it starts again what dies.
		starting := g.stack.EnsureStarted(ctx, "guard")
		if errors.Is(starting, stack.ErrNotRunning) || errors.Is(starting, engine.ErrUnavailable) {
			return answer, starting
		}
		select {
		case <-ctx.Done():
			return answer, context.Cause(ctx)
		case <-limit.C:
			return answer, err
		case <-time.After(pollGuard):
		}
	}
}

const pollGuard = 300 * time.Millisecond

// evidenceContext names what evidence is about: the images of both systems, the
// plan, and the schema of the database.
func (i *inside) evidenceContext(ctx context.Context, planHash string) (string, error) {
	facts, err := i.Facts(ctx)
	if err != nil {
		return "", err
	}
	schema := "unknown"
	if rows, err := i.Query(ctx, schemaFingerprint); err == nil && len(rows) == 1 && len(rows[0]) == 1 {
		schema = fmt.Sprint(rows[0][0])
	}
	parts := []string{planHash, schema}
	for _, fact := range facts {
		parts = append(parts, string(fact.System)+"="+fact.Image)
	}
	return stack.Fingerprint(parts...), nil
}

// schemaFingerprint covers tables, columns with their types and defaults,
// indexes and constraints.
const schemaFingerprint = `
	SELECT md5(coalesce(string_agg(line, E'\n' ORDER BY line), '')) FROM (
		SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) AS line
		FROM information_schema.columns WHERE table_schema = 'public'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
		FROM pg_constraint WHERE connamespace = 'public'::regnamespace
	) lines`
