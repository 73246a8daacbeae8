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

// views renders the templates in views/. A page's file defines "title" and
// "content", which the layout puts into a whole page; what htmx asks for is
// a "fragment".
type views struct {
	templates map[string]*template.Template
}

func parseViews() (*views, error) {
	v := &views{templates: map[string]*template.Template{}}
	for _, name := range []string{"login", "dashboard", "users", "problem"} {
		files := []string{"views/layout.html", "views/" + name + ".html"}
		if name == "dashboard" {
			files = append(files, "views/users.html")
		}
		parsed, err := template.ParseFS(viewFiles, files...)
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
	return v.render(status, name, "fragment", data)
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
	members, err := s.members(r)
	if errors.Is(err, errBadPage) {
		// An old bookmark still finds the dashboard.
		first := *r
		first.URL = &url.URL{RawQuery: membersQuery(searchedText(r), 1)}
		members, err = s.members(&first)
	}
	if err != nil {
		return answer{}, err
	}
	return s.views.page(http.StatusOK, "dashboard", dashboardView{
		User:    user,
		Since:   user.view().Since(),
		Text:    searchedText(r),
		Members: members,
	})
}

type dashboardView struct {
	User    account
	Since   string
	Text    string // what is searched for
	Members usersView
}

func searchedText(r *http.Request) string { return parseQuery(r.URL.RawQuery).Get("q") }

func membersQuery(text string, page int64) string {
	return url.Values{"q": {text}, "page": {strconv.FormatInt(page, 10)}}.Encode()
}

// neighbour is a page of the list beside the one that is shown.
type neighbour struct {
	Page     string // the dashboard with it
	Fragment string // where htmx finds it
}

func neighbourAt(text string, page int64) *neighbour {
	query := "?" + membersQuery(text, page)
	return &neighbour{dashboardPath + query, "/htmx/users" + query}
}

type usersView struct {
	usersData
	Previous, Next *neighbour // nil if there is none
}

// members is what the request's search finds, as the dashboard shows it.
func (s *Server) members(r *http.Request) (usersView, error) {
	found, err := s.findUsers(r)
	if err != nil {
		return usersView{}, err
	}
	view := usersView{usersData: found}
	if found.Page > 1 {
		view.Previous = neighbourAt(searchedText(r), min(found.Page-1, found.Pages))
	}
	if found.Page < found.Pages {
		view.Next = neighbourAt(searchedText(r), found.Page+1)
	}
	return view, nil
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
	view, err := s.members(r)
	if err != nil {
		return answer{}, err
	}
	return s.views.fragment(http.StatusOK, "users", view)
}

// Status serves the view.
func (p problem) Status() int { return p.status }
