package goapp

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

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
	var user account
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

func (s *Server) startSession(r *http.Request, given credentials, user account) (answer, error) {
	if err := s.sessions.Login(r.Context(), r, strconv.FormatInt(user.ID, 10)); err != nil {
		return answer{}, unavailable{err}
	}
	if given.form {
		return redirect(http.StatusSeeOther, given.next), nil
	}
	return success(userData{user.view()})
}

// authenticate answers the same, and takes as long, whether the user does not
// exist, is disabled, or has another password.
func (s *Server) authenticate(r *http.Request, given credentials) (account, error) {
	if given.login == "" || given.password == "" {
		return account{}, errNoPassword
	}
	user, err := s.accounts.byLogin(r.Context(), given.login)
	if errors.Is(err, errNoAccount) {
		s.passwords.mismatch(given.password)
		return account{}, errWrongPassword
	}
	if err != nil {
		return account{}, err
	}
	if !s.passwords.match(user.PasswordHash, given.password) || !user.Enabled {
		return account{}, errWrongPassword
	}
	return user, nil
}

func (s *Server) logout(r *http.Request) (answer, error) {
	if err := s.sessions.Logout(r.Context()); err != nil {
		return answer{}, unavailable{err}
	}
	if fromPage(r) {
		return redirect(http.StatusSeeOther, "/login"), nil
	}
	return success(nil)
}

func (s *Server) me(r *http.Request) (answer, error) {
	user, err := s.currentUser(r)
	if err != nil {
		return answer{}, err
	}
	return success(userData{user.view()})
}

// currentUser returns who is logged in, or errNotLoggedIn. A user who was
// disabled or deleted since the login is not.
func (s *Server) currentUser(r *http.Request) (account, error) {
	id, err := strconv.ParseInt(s.sessions.UserID(r.Context()), 10, 64)
	if err != nil {
		return account{}, errNotLoggedIn
	}
	user, err := s.accounts.byID(r.Context(), id)
	switch {
	case errors.Is(err, errNoAccount), err == nil && !user.Enabled:
		return account{}, errNotLoggedIn
	default:
		return user, err
	}
}

func readCredentials(r *http.Request) (credentials, error) {
	if fromPage(r) {
		form, err := readForm(r)
		return credentials{
			login:    form.Get("username"),
			password: form.Get("password"),
			next:     localPath(form.Get("next")),
			form:     true,
		}, err
	}

	body, err := io.ReadAll(r.Body)
	if err != nil {
		return credentials{}, err
	}
	var username, email, password string
	err = readObject(body, map[string]*string{"username": &username, "email": &email, "password": &password})
	if err != nil {
		return credentials{}, errNotJSONObject
	}
	return credentials{login: cmp.Or(username, email), password: password}, nil
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
