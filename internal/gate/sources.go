package gate

import (
	"context"
	"net/http"
	"time"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Sources are where evidence comes from: the running environment.
type Sources struct {
	Edge     Edge
	Guard    Guard
	Services Services
	Metrics  Metrics
	Database Database
	Archive  Archive
	// Public makes requests the way that users do, through the edge. Addresses
	// are paths behind Base. It follows no redirects.
	Public http.RoundTripper
	Base   string
	// ForceToken lets a request choose its system.
	ForceToken string
}

// Edge is nginx's control server.
type Edge interface {
	Table(ctx context.Context) (edge.Table, error)
	Counters(ctx context.Context) (edge.Counters, error)
}

// Guard is the guard's API.
type Guard interface {
	Status(ctx context.Context) (control.Status, error)
	// Owners are the changes of the background jobs' owners, oldest first.
	Owners(ctx context.Context) ([]OwnerChange, error)
}

// OwnerChange says whose the background jobs were from a time on.
type OwnerChange struct {
	At   time.Time
	Jobs []rollout.Job
}

// Services tells how the two applications' containers are.
type Services interface {
	Facts(ctx context.Context) ([]SystemFacts, error)
}

// SystemFacts is what the engine knows of a system.
type SystemFacts struct {
	System    edge.System
	State     string // missing, running, exited …
	Health    string
	Image     string   // the image's digest
	Addresses []string // in the environment's networks
}

// Metrics tells which targets Prometheus reads: by job, whether all of its
// targets are up.
type Metrics interface {
	Targets(ctx context.Context) (map[string]bool, error)
}

// Database asks the shared database.
type Database interface {
	// Query returns rows of values.
	Query(ctx context.Context, sql string, args ...any) ([][]any, error)
}

// Archive tells whether the legacy system's archive is whole. The path is where
// it is.
type Archive interface {
	Verify(ctx context.Context) (path string, err error)
}
