// Package goapp is the new system: the application that takes p2k16 over
// from Flask, with server-side pages and htmx.
package goapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
	"github.com/cutover-dev/cutover/internal/goapp/store"
	"github.com/cutover-dev/cutover/internal/session"
	"github.com/cutover-dev/cutover/internal/signed"
	"github.com/cutover-dev/cutover/internal/throttle"
)

const (
	// requestTimeout bounds all that a request waits for once it has arrived;
	// Postgres or Redis being away is then answered within 2 s.
	requestTimeout = 1800 * time.Millisecond
	// redisPatience lets a request that needs its session be answered within a
	// second: it stops at the first command that fails.
	redisPatience = 700 * time.Millisecond
	// readTimeout is for a whole request from a client that sends slowly.
	readTimeout = 30 * time.Second
	// writeTimeout begins with the body, and so has to outlast its arrival.
	writeTimeout = readTimeout + 10*time.Second
	// shutdownTimeout is longer than any request that has arrived, and shorter
	// than the time that Compose gives before it kills.
	shutdownTimeout = 4 * time.Second
	// The edge keeps idle connections for 60 s. It has to be the side that
	// closes them, or it sends requests into closed ones.
	idleTimeout = 2 * time.Minute
)

// Server answers the requests.
type Server struct {
	dependencies
	passwords *passwords
	metrics   *metrics
	views     *views
	handler   http.Handler
	// crossOrigin refuses what another site has a browser do here. Forms need
	// no token: one that either system rendered can be sent to the other.
	crossOrigin *http.CrossOriginProtection
}

// dependencies are what a Server needs from outside.
type dependencies struct {
	settings    Settings
	accounts    accounts
	logins      logins
	badges      badges
	tools       tools
	memberships memberships
	sessions    *session.Manager
	throttle    throttler
	links       *signed.Signer
	mailer      mailer
	hook        *hook
	checks      map[string]check
	assets      []asset
	log         *slog.Logger
}

func newServer(deps dependencies) (*Server, error) {
	views, err := parseViews()
	if err != nil {
		return nil, err
	}
	passwords, err := newPasswords(deps.settings.BcryptCost)
	if err != nil {
		return nil, err
	}
	s := &Server{dependencies: deps, passwords: passwords, views: views, crossOrigin: http.NewCrossOriginProtection()}
	routes := s.routes()
	s.metrics = newMetrics(routes)
	s.handler = s.observed(s.mux(routes))
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}

// route is one path with the handlers of its methods. HEAD is GET's.
type route struct {
	path    string
	methods map[string]http.Handler
}

func (s *Server) routes() []route {
	type methods = map[string]http.Handler
	get := func(path string, h http.Handler) route { return route{path, methods{http.MethodGet: h}} }
	post := func(path string, h http.Handler) route { return route{path, methods{http.MethodPost: h}} }
	withSessionAndBody := func(h handler) http.Handler { return s.withBody(s.withSession(h)) }

	routes := []route{
		post(loginPath, s.withBody(bounded(s.login))),
		post(logoutPath, s.withSession(s.logout)),
		get("/api/auth/me", s.withSession(s.me)),
		post(resetPath, s.withBody(s.plain(s.requestReset))),
		{linkPath, methods{
			http.MethodGet:  s.plain(s.linkPage),
			http.MethodPost: s.withBody(s.plain(s.followLink)),
		}},

		get("/api/users", s.plain(s.slash)),
		get("/api/users/", s.withSession(s.listUsers)),
		{"/api/users/{id}", methods{
			http.MethodGet: s.withSession(s.getUser),
			http.MethodPut: withSessionAndBody(s.updateUser),
		}},
		post("/api/users/{id}/password", withSessionAndBody(s.changePassword)),

		get("/api/badges", s.plain(s.slash)),
		{"/api/badges/", methods{
			http.MethodGet:  s.withSession(s.listBadges),
			http.MethodPost: withSessionAndBody(s.createBadge),
		}},
		post("/api/badges/{id}/award", withSessionAndBody(s.awardBadge)),

		get("/api/tools", s.plain(s.slash)),
		get("/api/tools/", s.withSession(s.listTools)),
		post(checkoutPath, s.withSession(s.moveTool(s.checkOut))),
		post(checkinPath, s.withSession(s.moveTool(s.checkIn))),

		get("/api/memberships", s.plain(s.slash)),
		get("/api/memberships/", s.withSession(s.listMemberships)),

		get("/", s.plain(s.home)),
		get("/login", s.withSession(s.loginPage)),
		get("/reset", s.plain(s.resetPage)),
		get(dashboardPath, s.withSession(s.dashboard)),
		get(usersPath, s.withSession(s.usersPage)),
		get(toolsPath, s.withSession(s.toolsPage)),

		get("/htmx/users", s.withSession(s.usersFragment)),
		get("/htmx/tools", s.withSession(s.toolsFragment)),
		post("/htmx/tools/{id}/checkout", s.withSession(s.toolFragment(s.checkOut))),
		post("/htmx/tools/{id}/checkin", s.withSession(s.toolFragment(s.checkIn))),

		get("/health", s.plain(s.health)),
		get("/metrics", http.HandlerFunc(s.serveMetrics)),
	}
	for _, asset := range s.assets {
		routes = append(routes, get(asset.path, asset))
	}
	return routes
}

func (s *Server) mux(routes []route) http.Handler {
	mux := http.NewServeMux()
	notFound := s.plain(func(*http.Request) (answer, error) { return answer{}, errNotFound })
	for _, route := range routes {
		mux.Handle(exactPattern(route.path), s.byMethod(route.methods))
	}
	mux.Handle(unmatched, notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The mux would redirect to the path without the empty segments, which
		// the legacy system does not, and which a POST would not survive
		// everywhere.
		if strings.Contains(r.URL.Path, "//") {
			notFound.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// routed returns the address that the legacy system finds routes by: decoded,
// so that "%2F" separates segments too, and with one slash at the start. "."
// and ".." are names to it like any other; they are escaped, or the mux would
// resolve them.
func routed(address url.URL) *url.URL {
	address.Path = "/" + strings.TrimLeft(address.Path, "/")
	segments := strings.Split(address.Path, "/")
	for i, segment := range segments {
		switch segment {
		case ".", "..":
			segments[i] = strings.ReplaceAll(segment, ".", "%2E")
		default:
			segments[i] = url.PathEscape(segment)
		}
	}
	address.RawPath = strings.Join(segments, "/")
	return &address
}

// Run serves until the context ends, and lets the requests in flight finish.
func Run(ctx context.Context, config Config, log *slog.Logger) (err error) {
	pool, err := pgxpool.NewWithConfig(ctx, config.Database)
	if err != nil {
		return fmt.Errorf("the database pool could not be made: %w", err)
	}
	defer pool.Close()
	redis.SetLogger(redisLog{log})
	client := redis.NewClient(config.Redis)
	defer func() { err = errors.Join(err, client.Close()) }()
	assets, err := loadAssets(config.AssetsDir)
	if err != nil {
		return err
	}

	records := store.New(pool)
	server, err := newServer(dependencies{
		settings:    config.Settings,
		accounts:    records,
		logins:      records,
		badges:      records,
		tools:       records,
		memberships: records,
		sessions: session.NewManager(session.NewStore(session.NewRedis(client, redisPatience), config.SessionTTL), session.Settings{
			SecureCookies: config.CookieSecure,
			Old:           flaskcookie.New(config.SecretKey, config.OldSessions, config.OldKeys...),
			RememberKey:   config.SecretKey,
		}),
		throttle: throttle.New(client, config.Failures, failureWindow),
		links:    signed.New(signed.DjangoConcat, resetSalt, config.SecretKey, config.OldKeys...),
		mailer:   smtpMailer{config.SMTPAddr},
		hook:     newHook(config.HookURL, log),
		checks: map[string]check{
			"postgres": pool.Ping,
			"redis":    func(ctx context.Context) error { return client.Ping(ctx).Err() },
		},
		assets: assets,
		log:    log,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR %s cannot be listened on: %w", config.Listen, err)
	}
	if config.Jobs {
		running, stop := context.WithCancel(ctx)
		var jobs sync.WaitGroup
		defer jobs.Wait()
		defer stop()
		jobs.Go(func() { runJobs(running, records, config.JobInterval, log) })
	}
	return serve(ctx, listener, server, log)
}

// redisLog puts the client's own messages into the log.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.WarnContext(ctx, fmt.Sprintf(format, args...))
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("listening", "address", listener.Addr().String())

	select {
	case err := <-failed:
		return fmt.Errorf("the server stopped: %w", err)
	case <-ctx.Done():
	}
	log.Info("shutting down")
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(shutdown); err != nil {
		return fmt.Errorf("requests were cut off at shutdown: %w", errors.Join(err, server.Close()))
	}
	return nil
}
