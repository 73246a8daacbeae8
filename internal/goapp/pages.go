package goapp

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

const (
	dashboardPath = "/dashboard"
	usersPath     = "/users"
	toolsPath     = "/tools"
)

// menu is on top of every page that needs a login.
type menu struct {
	User store.Account
	Here string // which of its pages this is
}

func (s *Server) home(*http.Request) (answer, error) {
	return redirect(http.StatusFound, dashboardPath), nil
}

// toLogin sends who is not logged in to the login, and back to the page
// afterwards. Every other error stays.
func toLogin(page string, err error) (answer, error) {
	if errors.Is(err, errNotLoggedIn) {
		return redirect(http.StatusFound, loginFor(page)), nil
	}
	return answer{}, err
}

func loginFor(page string) string { return "/login?next=" + page }

type loginView struct {
	Message  string
	Notice   string
	Username string
	Next     string
}

// loginNotices say what came before the login.
var loginNotices = map[string]string{
	"sent": "If there is an account with this address, a mail with a link is on its way.",
	"done": "Your password has been changed. Log in with the new one.",
}

func (s *Server) loginPage(r *http.Request) (answer, error) {
	_, err := s.currentUser(r)
	if err == nil {
		return redirect(http.StatusFound, dashboardPath), nil
	}
	if !errors.Is(err, errNotLoggedIn) {
		return answer{}, err
	}
	query := parseQuery(r.URL.RawQuery)
	return s.views.page(http.StatusOK, "login", loginView{
		Next:   localPath(query.Get("next")),
		Notice: loginNotices[query.Get("reset")],
	})
}

// loginForm shows the form again, with what was wrong and what was typed.
func (s *Server) loginForm(p problem, given credentials) (answer, error) {
	return s.views.page(p.status, "login", loginView{Message: p.message, Username: given.login, Next: given.next})
}

type resetView struct{ Message string }

func (s *Server) resetPage(*http.Request) (answer, error) {
	return s.views.page(http.StatusOK, "reset", resetView{})
}

type passwordView struct{ Message, Action string }

type dashboardView struct {
	menu
	Circles     []string
	Memberships []store.Membership
	Tools       []toolView
	Awards      []store.Award
}

// onDashboard is how many of a list the dashboard shows.
const onDashboard = 10

func (s *Server) dashboard(r *http.Request) (answer, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return toLogin(dashboardPath, err)
	}
	memberships, _, err := s.memberships.Memberships(r.Context(), &user.ID, store.Window{Limit: onDashboard})
	if err != nil {
		return answer{}, err
	}
	held, err := s.tools.ToolsHeldBy(r.Context(), user.ID)
	if err != nil {
		return answer{}, err
	}
	awards, err := s.badges.Awards(r.Context(), user.ID, onDashboard)
	if err != nil {
		return answer{}, err
	}
	return s.views.page(http.StatusOK, "dashboard", dashboardView{
		menu:        menu{user.Account, dashboardPath},
		Circles:     user.circles,
		Memberships: memberships,
		Tools:       toolViews(user, held),
		Awards:      awards,
	})
}

// neighbour is a page of a list beside the one that is shown.
type neighbour struct {
	Page     string // the whole page with it
	Fragment string // where htmx finds it
}

// neighbours are nil where there is none.
type neighbours struct {
	Previous, Next *neighbour
}

// beside finds the pages beside the one that is shown, of the list at an
// address and its query.
func beside(path string, query url.Values, shown paging) neighbours {
	at := func(number int64) *neighbour {
		values := url.Values{"page": {strconv.FormatInt(number, 10)}}
		for name := range query {
			values[name] = query[name]
		}
		text := "?" + values.Encode()
		return &neighbour{path + text, "/htmx" + path + text}
	}
	var n neighbours
	if shown.Page > 1 {
		n.Previous = at(min(shown.Page-1, shown.Pages))
	}
	if shown.Page < shown.Pages {
		n.Next = at(shown.Page + 1)
	}
	return n
}

// firstPage lets an old bookmark still find its page: what find says of the
// request, or if the request asks for no page that there can be, of the first.
func firstPage[T any](r *http.Request, find func(*http.Request) (T, error), kept url.Values) (T, error) {
	found, err := find(r)
	if !errors.Is(err, errBadPage) {
		return found, err
	}
	first := *r
	first.URL = &url.URL{RawQuery: kept.Encode()}
	return find(&first)
}

// notLoggedIn sends the whole page of a fragment to the login.
func (s *Server) notLoggedIn(r *http.Request, page string, err error) (answer, error) {
	if !errors.Is(err, errNotLoggedIn) {
		return answer{}, err
	}
	a := s.failed(r, err)
	a.header = map[string]string{"HX-Redirect": loginFor(page)}
	return a, nil
}

// Status serves the view.
func (p problem) Status() int { return p.status }
