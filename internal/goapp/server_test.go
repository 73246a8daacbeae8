package goapp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
	"github.com/cutover-dev/cutover/internal/goapp/store"
	"github.com/cutover-dev/cutover/internal/session"
	"github.com/cutover-dev/cutover/internal/session/sessiontest"
)

var errDown = errors.New("connection refused")

// app is a server on fakes, and a browser that keeps its cookies.
type app struct {
	t        *testing.T
	server   *Server
	records  *fakeRecords
	mails    *fakeMailer
	hooked   *hookedCalls
	sessions *sessiontest.Memory
	throttle *fakeThrottle
	log      *bytes.Buffer
	cookies  map[string]string
	checks   map[string]error
}

var settings = Settings{
	SessionTTL: time.Hour, ResetTTL: time.Hour, PublicURL: "http://p2k16.example", BcryptCost: minBcryptCost,
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{
		t:        t,
		records:  newFakeRecords(),
		mails:    &fakeMailer{},
		hooked:   listenToHook(t),
		sessions: sessiontest.NewMemory(),
		throttle: &fakeThrottle{failures: map[string]int{}},
		log:      &bytes.Buffer{},
		cookies:  map[string]string{},
		checks:   map[string]error{},
	}
	broken := func(name string) check { return func(context.Context) error { return a.checks[name] } }
	log := slog.New(slog.NewJSONHandler(a.log, nil))
	server, err := newServer(dependencies{
		settings:    settings,
		accounts:    a.records,
		logins:      a.records,
		badges:      a.records,
		tools:       a.records,
		memberships: a.records,
		sessions: session.NewManager(session.NewStore(a.sessions, time.Hour), session.Settings{
			Old: flaskcookie.New(testKey, 31*24*time.Hour), RememberKey: testKey,
		}),
		throttle: a.throttle,
		links:    testLinks,
		mailer:   a.mails,
		hook:     newHook(a.hooked.url, log),
		checks:   map[string]check{"postgres": broken("postgres"), "redis": broken("redis")},
		assets:   []asset{newAsset("htmx.min.js", []byte("htmx"))},
		log:      log,
	})
	require.NoError(t, err)
	a.server = server
	return a
}

// ask sends a request; headers are pairs of name and value.
func (a *app) ask(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	for name, value := range a.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	a.server.ServeHTTP(w, r)
	for _, cookie := range w.Result().Cookies() {
		a.cookies[cookie.Name] = cookie.Value
		if cookie.MaxAge < 0 {
			delete(a.cookies, cookie.Name)
		}
	}
	return w
}

func (a *app) get(target string, headers ...string) *httptest.ResponseRecorder {
	a.t.Helper()
	return a.ask(http.MethodGet, target, "", headers...)
}

func (a *app) login(user string) {
	a.t.Helper()
	w := a.ask(http.MethodPost, loginPath, `{"username":"`+user+`","password":"rehearsal"}`)
	require.Equal(a.t, http.StatusOK, w.Code, w.Body)
}

func (a *app) record() string {
	return a.sessions.Value("session:" + a.cookies[session.Cookie])
}

const (
	userAda    = `{"id":1,"username":"ada","email":"Ada@example.com","name":"Ada <b>","enabled":true,"created_at":"2026-01-02T03:04:05Z"}`
	userBob    = `{"id":2,"username":"bob","email":"bob@example.com","name":null,"enabled":true,"created_at":null}`
	profileAda = `{"user":` + userAda + `,"circles":["admin"],"awards":[]}`

	userOut = `{"id":3,"username":"out","email":"out@example.com","name":null,"enabled":false,"created_at":"2026-01-02T03:04:05Z"}`
)

func assertSuccess(t *testing.T, w *httptest.ResponseRecorder, data string) {
	t.Helper()
	assertSucceeded(t, w, http.StatusOK, data)
}

func assertSucceeded(t *testing.T, w *httptest.ResponseRecorder, status int, data string) {
	t.Helper()
	assert.Equal(t, status, w.Code)
	assert.Equal(t, `{"status":"success","data":`+data+`,"message":null}`+"\n", w.Body.String())
	assertJSONHeaders(t, w)
}

func assertError(t *testing.T, w *httptest.ResponseRecorder, status int, message string) {
	t.Helper()
	assert.Equal(t, status, w.Code)
	assert.Equal(t, `{"status":"error","data":null,"message":"`+message+`"}`+"\n", w.Body.String())
	assertJSONHeaders(t, w)
}

func assertJSONHeaders(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

func assertRedirect(t *testing.T, w *httptest.ResponseRecorder, status int, location string) {
	t.Helper()
	assert.Equal(t, status, w.Code)
	assert.Equal(t, location, w.Header().Get("Location"))
	assert.Empty(t, w.Body.String())
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
}

func assertPage(t *testing.T, w *httptest.ResponseRecorder, status int, contains ...string) {
	t.Helper()
	assert.Equal(t, status, w.Code)
	assert.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	assert.Contains(t, w.Body.String(), `<meta name="cutover-system" content="go">`)
	for _, text := range contains {
		assert.Contains(t, w.Body.String(), text)
	}
}

func TestServer_UnknownPaths(t *testing.T) {
	a := newApp(t)
	for _, path := range []string{"/api/nope", "/api/", "/api//users/", "/api/users/1/", "/api/users/1/x", "/api/../api/auth/me", "/api/auth/",
		"//api/nope", "/api/users//", "/api/users/%2F1", "/api/users/1%2Fx", "/api/./users/1", "/api/users/../auth/me"} {
		assertError(t, a.get(path), http.StatusNotFound, "Not found.")
	}
	for _, path := range []string{"/nope", "/api", "/login/", "/login%3Fx", "/x/../login", "/assets/", "/assets/../login"} {
		assertPage(t, a.get(path), http.StatusNotFound, "Not found.")
	}
}

// Every expectation was seen at the legacy system.
func TestServer_PathsThatTheLegacySystemFinds(t *testing.T) {
	a := newApp(t)
	const notLoggedIn = "Authentication required."
	for _, path := range []string{
		"//api/users/1", "///api/users/1", "/%2F%2Fapi/users/1", "/api%2Fusers/1", "/api%2fusers%2f1", "/api/users/%31",
		"/api/users/..", "/api/users/.", "/api/users/%2e%2e", "/api/users/%ff", "/api/users/1%20",
	} {
		assertError(t, a.get(path), http.StatusUnauthorized, notLoggedIn)
	}
	for _, path := range []string{"//login", "/%2Flogin", "/%6cogin", "//login?next=//x"} {
		assertPage(t, a.get(path), http.StatusOK, `action="/api/auth/login"`)
	}
	assertRedirect(t, a.get("//"), http.StatusFound, "/dashboard")
	assertRedirect(t, a.get("//dashboard"), http.StatusFound, "/login?next=/dashboard")
	assertRedirect(t, a.get("//api/users?q=%2F"), http.StatusPermanentRedirect, "/api/users/?q=%2F")
	assert.Equal(t, http.StatusMethodNotAllowed, a.ask(http.MethodPost, "//login", "").Code)

	w := a.ask(http.MethodPost, "/api%2Fauth/login", `{"username":"ada","password":"rehearsal"}`)
	assertSuccess(t, w, `{"user":`+userAda+`}`)
	assertSuccess(t, a.get("//api/users/1"), profileAda)
	assertSuccess(t, a.get("/api%2Fusers/1"), profileAda)
	for _, path := range []string{"/api/users/..", "/api/users/.", "/api/users/%2e%2e", "/api/users/%ff", "/api/users/1%20"} {
		assertError(t, a.get(path), http.StatusNotFound, "Not found.")
	}
	assert.Contains(t, a.log.String(), `"path":"//api/users/1","route":"/api/users/{id}"`)
}

func TestServer_WrongMethods(t *testing.T) {
	a := newApp(t)
	for _, test := range []struct{ method, path, allow string }{
		{http.MethodPost, "/api/users/", "GET, HEAD"},
		{http.MethodDelete, "/api/users/1", "GET, HEAD, PUT"},
		{http.MethodPut, "/api/badges/", "GET, HEAD, POST"},
		{http.MethodGet, "/api/tools/1/checkout", "POST"},
		{http.MethodOptions, "/api/users", "GET, HEAD"},
		{http.MethodGet, loginPath, "POST"},
		{http.MethodHead, logoutPath, "POST"},
		{"BREW", "/api/auth/me", "GET, HEAD"},
	} {
		w := a.ask(test.method, test.path, "")
		assertError(t, w, http.StatusMethodNotAllowed, "Method not allowed.")
		assert.Equal(t, test.allow, w.Header().Get("Allow"))
	}
	assertPage(t, a.ask(http.MethodPost, "/dashboard", ""), http.StatusMethodNotAllowed, "Method not allowed.")
}

func TestServer_HeadIsAnsweredLikeGet(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	assert.Equal(t, http.StatusOK, a.ask(http.MethodHead, "/api/users/1", "").Code)
	assert.Equal(t, http.StatusOK, a.ask(http.MethodHead, "/dashboard", "").Code)
}

// Whatever needs Postgres or Redis says that it is away, and works again when
// they are back.
func TestServer_Outages(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	away := func(t *testing.T) {
		for _, path := range []string{"/api/auth/me", "/api/users/", "/api/users/1"} {
			assertError(t, a.get(path), http.StatusServiceUnavailable, "Service temporarily unavailable.")
		}
		assertError(t, a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"rehearsal"}`),
			http.StatusServiceUnavailable, "Service temporarily unavailable.")
		assertPage(t, a.ask(http.MethodPost, loginPath, "username=ada&password=rehearsal", "Content-Type", urlencoded),
			http.StatusServiceUnavailable, "Service temporarily unavailable.")
		assertPage(t, a.get("/dashboard"), http.StatusServiceUnavailable, "Service temporarily unavailable.")
		fragment := a.get("/htmx/users", "HX-Request", "true")
		assert.Equal(t, http.StatusServiceUnavailable, fragment.Code)
		assert.NotContains(t, fragment.Body.String(), "<html")
		assert.Contains(t, fragment.Body.String(), "Service temporarily unavailable.")

		assert.Equal(t, http.StatusNotFound, a.get("/api/nope").Code, "needs neither")
		assert.Equal(t, http.StatusOK, a.get("/assets/htmx.min.js").Code, "needs neither")
		assert.Contains(t, a.log.String(), "connection refused", "the log tells why")
	}
	t.Run("postgres", func(t *testing.T) {
		a.records.err = fmt.Errorf("%w: %w", store.ErrUnavailable, errDown)
		away(t)
		a.records.err = nil
	})
	t.Run("redis", func(t *testing.T) {
		a.sessions.SetDown(true)
		away(t)
		assertError(t, a.ask(http.MethodPost, logoutPath, ""), http.StatusServiceUnavailable, "Service temporarily unavailable.")
		a.sessions.SetDown(false)
	})
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`,"administrator":true}`)
}

func TestServer_UnexpectedErrorsTellTheClientNothing(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	a.records.err = errors.New("column does not exist")
	assertError(t, a.get("/api/auth/me"), http.StatusInternalServerError, "Internal server error.")
	assertPage(t, a.get("/dashboard"), http.StatusInternalServerError, "Internal server error.")
	assert.Contains(t, a.log.String(), "column does not exist")
}

func TestServer_SurvivesPanics(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	a.server.accounts = nil
	assertError(t, a.get("/api/auth/me"), http.StatusInternalServerError, "Internal server error.")
	assert.Contains(t, a.log.String(), "panic: ")
}

func TestServer_Assets(t *testing.T) {
	a := newApp(t)
	w := a.get("/assets/htmx.min.js")
	assert.Equal(t, "htmx", w.Body.String())
	assert.Contains(t, w.Header().Get("Content-Type"), "javascript")
	assert.Equal(t, "no-cache", w.Header().Get("Cache-Control"))
	again := a.get("/assets/htmx.min.js", "If-None-Match", w.Header().Get("ETag"))
	assert.Equal(t, http.StatusNotModified, again.Code)
}

func TestLoadAssets(t *testing.T) {
	_, err := loadAssets(t.TempDir())
	assert.ErrorContains(t, err, "ASSETS_DIR must hold htmx.min.js")
}

func TestServe_FinishesWhatItBegan(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "finished")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, handler, slog.New(slog.DiscardHandler)) }()

	answered := make(chan string, 1)
	go func() {
		defer close(answered)
		response, err := http.Get("http://" + listener.Addr().String())
		if !assert.NoError(t, err) {
			return
		}
		body, err := io.ReadAll(response.Body)
		assert.NoError(t, errors.Join(err, response.Body.Close()))
		answered <- string(body)
	}()
	<-begun
	stop()
	require.Eventually(t, func() bool {
		connection, err := net.DialTimeout("tcp", listener.Addr().String(), time.Second)
		if err == nil {
			assert.NoError(t, connection.Close())
		}
		return err != nil
	}, 3*time.Second, 5*time.Millisecond, "it stops listening")
	close(release)
	assert.Equal(t, "finished", <-answered)
	assert.NoError(t, <-ended)
}
