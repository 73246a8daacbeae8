package goapp

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/goapp/store"
	"github.com/cutover-dev/cutover/internal/throttle"
)

var (
	errWrongPassword = problem{http.StatusUnauthorized, "Invalid username or password."}
	errNoPassword    = problem{http.StatusBadRequest, "Username and password are required."}
	errTooManyLogins = problem{http.StatusTooManyRequests, "Too many failed logins. Try again later."}
)

// throttler bounds how often logins may fail.
type throttler interface {
	Attempt(ctx context.Context, account, address string) (wait time.Duration, err error)
	Succeeded(ctx context.Context, account, address string) error
	GiveBack(ctx context.Context, account, address string) error
}

// logins keeps who logged in when.
type logins interface {
	NoteLogin(ctx context.Context, by store.Actor, sessionID string, account int64, ttl time.Duration) error
	NoteLogout(ctx context.Context, by store.Actor, sessionID string, account int64) error
}

// credentials are what someone logs in with.
type credentials struct {
	login    string
	password string
	remember bool
	form     bool   // sent by a page's form, to be answered with a page
	next     string // where a form wants to go
}

// login looks at the session only when the password was right: a wrong one
// neither prolongs a session nor needs Redis.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	given, err := readCredentials(r)
	var user store.Account
	if err == nil {
		user, err = s.throttled(r, given)
	}
	if err != nil {
		s.refuseLogin(r, given, err).write(w)
		return
	}
	s.inSession(w, r, func(r *http.Request) (answer, error) { return s.startSession(r, given, user) })
}

// throttled authenticates who has not failed too often.
func (s *Server) throttled(r *http.Request, given credentials) (store.Account, error) {
	if given.login == "" || given.password == "" {
		return store.Account{}, errNoPassword
	}
	ctx, address := r.Context(), throttle.Client(r)
	wait, err := s.throttle.Attempt(ctx, given.login, address)
	if err != nil {
		return store.Account{}, unavailable{err}
	}
	if wait > 0 {
		return store.Account{}, tooManyLogins{errTooManyLogins, wait}
	}
	began := time.Now()
	user, err := s.authenticate(r, given)
	switch {
	case err == nil:
		err = s.throttle.Succeeded(ctx, given.login, address)
	case errors.Is(err, errWrongPassword):
		s.passwords.pause(began)
		return store.Account{}, err
	default:
		err = errors.Join(err, s.throttle.GiveBack(ctx, given.login, address))
	}
	if err != nil {
		return store.Account{}, unavailable{err}
	}
	return user, nil
}

// tooManyLogins says when the next try is allowed.
type tooManyLogins struct {
	problem
	wait time.Duration
}

func (t tooManyLogins) Unwrap() error { return t.problem }

func (s *Server) refuseLogin(r *http.Request, given credentials, refusal error) answer {
	a, wrong := s.failed(r, refusal), toProblem(refusal)
	if given.form && errors.As(refusal, new(problem)) {
		form, err := s.loginForm(wrong, given)
		if err != nil {
			return s.failed(r, err)
		}
		a = form
	}
	if many := (tooManyLogins{}); errors.As(refusal, &many) {
		seconds := int64((many.wait + time.Second - 1) / time.Second)
		a.header = map[string]string{"Retry-After": strconv.FormatInt(seconds, 10)}
	}
	return a
}

// startSession writes down the login before Redis has the session: no session
// is without its row.
func (s *Server) startSession(r *http.Request, given credentials, user store.Account) (answer, error) {
	ctx := r.Context()
	if err := s.sessions.Login(ctx, r, strconv.FormatInt(user.ID, 10), given.remember); err != nil {
		return answer{}, unavailable{err}
	}
	if err := s.logins.NoteLogin(ctx, actor(r, user.ID), s.sessions.ID(ctx), user.ID, s.settings.SessionTTL); err != nil {
		s.sessions.Abandon(ctx)
		return answer{}, err
	}
	if given.form {
		return redirect(http.StatusSeeOther, given.next), nil
	}
	return success(userData{user})
}

// authenticate answers the same, and takes as long, whether the user does not
// exist, is disabled, or has another password.
func (s *Server) authenticate(r *http.Request, given credentials) (store.Account, error) {
	user, err := s.accounts.AccountByLogin(r.Context(), given.login)
	if errors.Is(err, store.ErrNoAccount) {
		s.passwords.mismatch(given.password)
		return store.Account{}, errWrongPassword
	}
	if err != nil {
		return store.Account{}, err
	}
	if !s.passwords.match(user.PasswordHash, given.password) || !user.Enabled {
		return store.Account{}, errWrongPassword
	}
	return user, nil
}

func (s *Server) logout(r *http.Request) (answer, error) {
	ctx := r.Context()
	if id, ok := s.sessionUser(ctx); ok {
		if err := s.logins.NoteLogout(ctx, actor(r, id), s.sessions.ID(ctx), id); err != nil {
			return answer{}, err
		}
	}
	if err := s.sessions.Logout(ctx); err != nil {
		return answer{}, unavailable{err}
	}
	if fromPage(r) {
		return redirect(http.StatusSeeOther, "/login"), nil
	}
	return success(nil)
}

type meData struct {
	User          store.Account `json:"user"`
	Administrator bool          `json:"administrator"`
}

func (s *Server) me(r *http.Request) (answer, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return answer{}, err
	}
	return success(meData{user.Account, user.administrator()})
}

func readCredentials(r *http.Request) (credentials, error) {
	if fromPage(r) {
		form, err := readForm(r)
		if err != nil {
			return credentials{}, err
		}
		return credentials{
			login:    form.Get("username"),
			password: form.Get("password"),
			next:     localPath(form.Get("next")),
			remember: form.Get("remember") != "",
			form:     true,
		}, nil
	}
	username, email, password := field[string]{nullable: true}, field[string]{nullable: true}, field[string]{nullable: true}
	var remember field[bool]
	err := readJSON(r, map[string]reader{"username": &username, "email": &email, "password": &password, "remember": &remember})
	return credentials{login: cmp.Or(username.or(""), email.or("")), password: password.or(""), remember: remember.or(false)}, err
}

// localPath returns where to go after a login: the path if it stays on this
// host, else the dashboard. It may hold nothing that a browser would drop
// ("/\t/host" becomes "//host") and nothing that an address cannot have.
func localPath(path string) string {
	if !localPattern.MatchString(path) || strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
		return dashboardPath
	}
	return path
}

var localPattern = regexp.MustCompile(`^/[!-~]*$`)
