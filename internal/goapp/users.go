package goapp

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

var (
	errEmailTaken = problem{http.StatusConflict, "The email address is taken."}
	errBadName    = problem{http.StatusBadRequest, "The name is not valid."}
	errBadEmail   = problem{http.StatusBadRequest, "The email address is not valid."}
)

// accounts finds and changes users.
type accounts interface {
	AccountByLogin(ctx context.Context, login string) (store.Account, error)
	AccountByEmail(ctx context.Context, email string) (store.Account, error)
	Account(ctx context.Context, id int64) (store.Account, error)
	Accounts(ctx context.Context, text string, part store.Window) ([]store.Account, int64, error)
	Circles(ctx context.Context, account int64) ([]string, error)
	UpdateAccount(ctx context.Context, by store.Actor, id int64, changes store.AccountChanges) (store.Account, error)
	SetPassword(ctx context.Context, by store.Actor, id int64, hash string) error
	NoteResetRequest(ctx context.Context, by store.Actor, id int64) error
	ResetPassword(ctx context.Context, by store.Actor, id int64, oldHash, newHash string) error
}

type userData struct {
	User store.Account `json:"user"`
}

type usersData struct {
	Users []store.Account `json:"users"`
	paging
}

func (s *Server) listUsers(r *http.Request) (answer, error) {
	if _, err := s.currentUser(r); err != nil {
		return answer{}, err
	}
	found, err := s.findUsers(r)
	if err != nil {
		return answer{}, err
	}
	return success(found)
}

// findUsers answers the query's q, page and per_page.
func (s *Server) findUsers(r *http.Request) (usersData, error) {
	query := parseQuery(r.URL.RawQuery)
	page, err := readPage(query)
	if err != nil {
		return usersData{}, err
	}
	found, total, err := s.accounts.Accounts(r.Context(), query.Get("q"), page.window())
	return usersData{orEmpty(found), page.of(total)}, err
}

type profileData struct {
	User    store.Account `json:"user"`
	Circles []string      `json:"circles"`
	Awards  []store.Award `json:"awards"`
}

func (s *Server) getUser(r *http.Request) (answer, error) {
	if _, err := s.currentUser(r); err != nil {
		return answer{}, err
	}
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	user, err := s.accounts.Account(r.Context(), id)
	if err != nil {
		return answer{}, err
	}
	circles, err := s.accounts.Circles(r.Context(), id)
	if err != nil {
		return answer{}, err
	}
	awards, err := s.badges.Awards(r.Context(), id, 0)
	if err != nil {
		return answer{}, err
	}
	return success(profileData{user, orEmpty(circles), orEmpty(awards)})
}

// forSelfOrAdministrator returns who is logged in and the account that the path
// names, which has to be theirs unless they are an administrator.
func (s *Server) forSelfOrAdministrator(r *http.Request) (user member, id int64, err error) {
	user, err = s.currentMember(r)
	if err != nil {
		return member{}, 0, err
	}
	id, err = pathID(r)
	if err == nil && id != user.ID && !user.administrator() {
		err = errNotAllowed
	}
	return user, id, err
}

func (s *Server) updateUser(r *http.Request) (answer, error) {
	user, id, err := s.forSelfOrAdministrator(r)
	if err != nil {
		return answer{}, err
	}
	changes, err := readChanges(r, user)
	if err != nil {
		return answer{}, err
	}
	var updated store.Account
	if changes == (store.AccountChanges{}) {
		updated, err = s.accounts.Account(r.Context(), id)
	} else {
		updated, err = s.accounts.UpdateAccount(r.Context(), actor(r, user.ID), id, changes)
	}
	if err != nil {
		return answer{}, err
	}
	return success(userData{updated})
}

const maxName = 200

// emails are 3 to 254 characters of ASCII without blanks, with one "@".
var emails = regexp.MustCompile(`^[!-?A-~]+@[!-?A-~]+$`)

const maxEmail = 254

func readChanges(r *http.Request, user member) (store.AccountChanges, error) {
	name, email, enabled := field[string]{nullable: true}, field[string]{}, field[bool]{}
	err := readJSON(r, map[string]reader{"name": &name, "email": &email, "enabled": &enabled})
	switch {
	case err != nil:
		return store.AccountChanges{}, err
	case enabled.given && !user.administrator():
		return store.AccountChanges{}, errNotAllowed
	case utf8.RuneCountInString(name.or("")) > maxName || hasControls(name.or("")):
		return store.AccountChanges{}, errBadName
	case email.given && (len(*email.value) > maxEmail || !emails.MatchString(*email.value)):
		return store.AccountChanges{}, errBadEmail
	}
	changes := store.AccountChanges{Email: email.value, Enabled: enabled.value}
	if name.given {
		changes.Name = &name.value
	}
	return changes, nil
}

func hasControls(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7F })
}
