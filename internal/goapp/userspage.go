package goapp

import (
	"net/http"
	"net/url"
)

type usersView struct {
	menu
	Text string // what is searched for
	usersData
	neighbours
}

func searched(r *http.Request) url.Values {
	return url.Values{"q": {parseQuery(r.URL.RawQuery).Get("q")}}
}

// viewUsers is what the request's search finds, as the page shows it.
func (s *Server) viewUsers(r *http.Request) (usersView, error) {
	found, err := s.findUsers(r)
	query := searched(r)
	return usersView{Text: query.Get("q"), usersData: found, neighbours: beside(usersPath, query, found.paging)}, err
}

func (s *Server) usersPage(r *http.Request) (answer, error) {
	user, err := s.currentUser(r)
	if err != nil {
		return toLogin(usersPath, err)
	}
	view, err := firstPage(r, s.viewUsers, searched(r))
	if err != nil {
		return answer{}, err
	}
	view.menu = menu{user, usersPath}
	return s.views.page(http.StatusOK, "users", view)
}

// usersFragment is the list alone, for one page of one search.
func (s *Server) usersFragment(r *http.Request) (answer, error) {
	if _, err := s.currentUser(r); err != nil {
		return s.notLoggedIn(r, usersPath, err)
	}
	view, err := s.viewUsers(r)
	if err != nil {
		return answer{}, err
	}
	return s.views.fragment(http.StatusOK, "users", view)
}
