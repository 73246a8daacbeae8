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
)

var (
	errWrongPassword = problem{http.StatusUnauthorized, "Invalid username or password."}
	errNoPassword    = problem{http.StatusBadRequest, "Username and password are required."}
)

// logins keeps who logged in when.
type logins interface {
	NoteLogin(ctx context.Context, by store.Actor, sessionID string, account int64, ttl time.Duration) error
	NoteLogout(ctx context.Context, by store.Actor, sessionID string, account int64) error
}

// credentials are what someone logs in with.
type credentials struct {
	login    string
	password string
	form     bool   // sent by a page's form, to be answered with a page
	next     string // where a form wants to go
}

// login looks at the session only when the password was right: a wrong one
// neither prolongs a session nor needs Redis.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	given, err := readCredentials(r)
	var user store.Account
	if err == nil {
		user, err = s.authenticate(r, given)
	}
	if err != nil {
		s.try(func(*http.Request) (answer, error) { return s.refuseLogin(given, err) }, r).write(w)
		return
	}
	s.inSession(w, r, func(r *http.Request) (answer, error) { return s.startSession(r, given, user) })
}

func (s *Server) refuseLogin(given credentials, err error) (answer, error) {
	var wrong problem
	if given.form && errors.As(err, &wrong) {
		return s.loginForm(wrong, given)
	}
	return answer{}, err
}

// startSession writes down the login before Redis has the session: no session
// is without its row.
func (s *Server) startSession(r *http.Request, given credentials, user store.Account) (answer, error) {
	ctx := r.Context()
	if err := s.sessions.Login(ctx, r, strconv.FormatInt(user.ID, 10)); err != nil {
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
	if given.login == "" || given.password == "" {
		return store.Account{}, errNoPassword
	}
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
			form:     true,
		}, nil
	}
	username, email, password := field[string]{nullable: true}, field[string]{nullable: true}, field[string]{nullable: true}
	err := readJSON(r, map[string]reader{"username": &username, "email": &email, "password": &password})
	return credentials{login: cmp.Or(username.or(""), email.or("")), password: password.or("")}, err
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
