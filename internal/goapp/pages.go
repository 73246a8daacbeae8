package goapp

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
)

//go:embed views/*.html
var viewFiles embed.FS

// views renders the templates in views/. Each file defines "title" and
// "content", which the layout puts into a whole page.
type views struct {
	templates map[string]*template.Template
}

func parseViews() (*views, error) {
	v := &views{templates: map[string]*template.Template{}}
	for _, name := range []string{"login", "dashboard", "users", "problem"} {
		parsed, err := template.ParseFS(viewFiles, "views/layout.html", "views/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("the view %s cannot be read: %w", name, err)
		}
		v.templates[name] = parsed
	}
	return v, nil
}

// page renders a whole page.
func (v *views) page(status int, name string, data any) (answer, error) {
	return v.render(status, name, "layout", data)
}

// fragment renders a piece of a page, for htmx.
func (v *views) fragment(status int, name string, data any) (answer, error) {
	return v.render(status, name, "content", data)
}

func (v *views) render(status int, name, part string, data any) (answer, error) {
	var body bytes.Buffer
	if err := v.templates[name].ExecuteTemplate(&body, part, data); err != nil {
		return answer{}, fmt.Errorf("the view %s cannot be rendered: %w", name, err)
	}
	return answer{status: status, contentType: "text/html; charset=utf-8", body: body.Bytes()}, nil
}

const (
	dashboardPath     = "/dashboard"
	loginForDashboard = "/login?next=/dashboard"
)

func (s *Server) home(*http.Request) (answer, error) {
	return redirect(http.StatusFound, dashboardPath), nil
}

type loginView struct {
	Message  string
	Username string
	Next     string
}

func (s *Server) loginPage(r *http.Request) (answer, error) {
	_, err := s.currentUser(r)
	if err == nil {
		return redirect(http.StatusFound, dashboardPath), nil
	}
	if !errors.Is(err, errNotLoggedIn) {
		return answer{}, err
	}
	return s.views.page(http.StatusOK, "login", loginView{Next: localPath(parseQuery(r.URL.RawQuery).Get("next"))})
}

// loginForm shows the form again, with what was wrong and what was typed.
func (s *Server) loginForm(p problem, given credentials) (answer, error) {
	return s.views.page(p.status, "login", loginView{Message: p.message, Username: given.login, Next: given.next})
}

func (s *Server) dashboard(r *http.Request) (answer, error) {
	user, err := s.currentUser(r)
	if errors.Is(err, errNotLoggedIn) {
		return redirect(http.StatusFound, loginForDashboard), nil
	}
	if err != nil {
		return answer{}, err
	}
	query := parseQuery(r.URL.RawQuery)
	view := dashboardView{User: user, Text: query.Get("q")}
	page, err := positive(query, "page", 1)
	if err != nil {
		page = 1 // an old bookmark still finds the dashboard
	}
	view.Users = usersFragmentPath(view.Text, page)
	return s.views.page(http.StatusOK, "dashboard", view)
}

type dashboardView struct {
	User  account
	Text  string // what is searched for
	Users string // where htmx finds the first fragment
}

func usersFragmentPath(text string, page int64) string {
	query := url.Values{"q": {text}, "page": {strconv.FormatInt(page, 10)}}
	return "/htmx/users?" + query.Encode()
}

type usersView struct {
	usersData
	Previous string // where htmx finds the neighbouring pages, "" if there is none
	Next     string
}

// usersFragment is the table of the dashboard, for one page of one search.
func (s *Server) usersFragment(r *http.Request) (answer, error) {
	_, err := s.currentUser(r)
	if errors.Is(err, errNotLoggedIn) {
		a := s.failed(r, err)
		a.header = map[string]string{"HX-Redirect": loginForDashboard}
		return a, nil
	}
	if err != nil {
		return answer{}, err
	}
	found, err := s.findUsers(r)
	if err != nil {
		return answer{}, err
	}
	view := usersView{usersData: found}
	text := parseQuery(r.URL.RawQuery).Get("q")
	if found.Page > 1 {
		view.Previous = usersFragmentPath(text, min(found.Page-1, found.Pages))
	}
	if found.Page < found.Pages {
		view.Next = usersFragmentPath(text, found.Page+1)
	}
	return s.views.fragment(http.StatusOK, "users", view)
}
