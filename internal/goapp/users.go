package goapp

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	defaultPerPage = 20
	maxPerPage     = 100
)

// userView is a user as the API shows them.
type userView struct {
	ID        int64   `json:"id"`
	Username  string  `json:"username"`
	Email     string  `json:"email"`
	Name      *string `json:"name"`
	Enabled   bool    `json:"enabled"`
	CreatedAt *string `json:"created_at"`
}

func (a account) view() userView {
	return userView{a.ID, a.Username, a.Email, a.Name, a.Enabled, a.CreatedAt}
}

// Since is the day on which the user joined, for pages.
func (u userView) Since() string {
	if u.CreatedAt == nil {
		return ""
	}
	day, _, _ := strings.Cut(*u.CreatedAt, "T")
	return day
}

type userData struct {
	User userView `json:"user"`
}

type usersData struct {
	Users   []userView `json:"users"`
	Page    int64      `json:"page"`
	PerPage int64      `json:"per_page"`
	Total   int64      `json:"total"`
	Pages   int64      `json:"pages"`
}

func (s *Server) usersSlash(r *http.Request) (answer, error) {
	location := "/api/users/"
	if r.URL.RawQuery != "" {
		location += "?" + r.URL.RawQuery
	}
	return redirect(http.StatusPermanentRedirect, location), nil
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
	page, err := positive(query, "page", 1)
	if err != nil {
		return usersData{}, err
	}
	perPage, err := positive(query, "per_page", defaultPerPage)
	if err != nil || perPage > maxPerPage {
		return usersData{}, errBadPage
	}
	found, total, err := s.accounts.search(r.Context(), query.Get("q"), (page-1)*perPage, perPage)
	if err != nil {
		return usersData{}, err
	}
	data := usersData{
		Users:   make([]userView, len(found)),
		Page:    page,
		PerPage: perPage,
		Total:   total,
		Pages:   max(1, (total+perPage-1)/perPage),
	}
	for i, user := range found {
		data.Users[i] = user.view()
	}
	return data, nil
}

func positive(query url.Values, name string, fallback int64) (int64, error) {
	if !query.Has(name) {
		return fallback, nil
	}
	// 32 bits are pages enough, and leave room to multiply.
	number, err := strconv.ParseUint(query.Get(name), 10, 31)
	if err != nil || number == 0 {
		return 0, errBadPage
	}
	return int64(number), nil
}

func (s *Server) getUser(r *http.Request) (answer, error) {
	if _, err := s.currentUser(r); err != nil {
		return answer{}, err
	}
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return answer{}, errUserNotFound
	case err != nil:
		return answer{}, errNotFound
	}
	user, err := s.accounts.byID(r.Context(), int64(id))
	if errors.Is(err, errNoAccount) {
		return answer{}, errUserNotFound
	}
	if err != nil {
		return answer{}, err
	}
	return success(userData{user.view()})
}
