package goapp

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// credentials are what someone logs in with.
type credentials struct {
	login    string
	password string
	form     bool   // sent by a page's form, to be answered with a page
	next     string // where a form wants to go
}

func (s *Server) login(r *http.Request) (answer, error) {
	given, err := readCredentials(r)
	if err != nil {
		return answer{}, err
	}
	user, err := s.authenticate(r, given)
	var wrong problem
	if given.form && errors.As(err, &wrong) {
		return s.loginForm(wrong, given)
	}
	if err != nil {
		return answer{}, err
	}
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

	body, err := readBody(r)
	if err != nil {
		return credentials{}, err
	}
	if !utf8.Valid(body) {
		return credentials{}, errNotJSONObject
	}
	// A map, because the names of a struct's fields match in any case.
	var object map[string]any
	if json.Unmarshal(body, &object) != nil || object == nil {
		return credentials{}, errNotJSONObject
	}
	var texts [3]string
	for i, key := range []string{"username", "email", "password"} {
		switch value := object[key].(type) {
		case nil:
		case string:
			texts[i] = value
		default:
			return credentials{}, errNotJSONObject
		}
	}
	given := credentials{login: texts[0], password: texts[2]}
	if given.login == "" {
		given.login = texts[1]
	}
	return given, nil
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
