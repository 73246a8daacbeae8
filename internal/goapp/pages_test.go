package goapp

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

func TestHome(t *testing.T) {
	assertRedirect(t, newApp(t).get("/"), http.StatusFound, "/dashboard")
}

func TestPages_LeadToTheLoginAndBack(t *testing.T) {
	a := newApp(t)
	for _, page := range []string{"/dashboard", "/users", "/tools"} {
		assertRedirect(t, a.get(page+"?q=x"), http.StatusFound, "/login?next="+page)
	}
	for fragment, page := range map[string]string{"/htmx/users": "/users", "/htmx/tools": "/tools"} {
		w := a.get(fragment, "HX-Request", "true")
		assert.Equal(t, http.StatusUnauthorized, w.Code)
		assert.Equal(t, "/login?next="+page, w.Header().Get("HX-Redirect"))
	}
}

func TestLoginPage(t *testing.T) {
	a := newApp(t)
	assertPage(t, a.get("/login"), http.StatusOK, `<form method="post" action="/api/auth/login">`, `name="next" value="/dashboard"`, `href="/reset"`)
	assertPage(t, a.get("/login?next=/x%22y"), http.StatusOK, `name="next" value="/x&#34;y"`)
	assertPage(t, a.get("/login?next=//evil"), http.StatusOK, `name="next" value="/dashboard"`)
	assertPage(t, a.get("/login?reset=sent"), http.StatusOK, "a mail with a link is on its way")
	assertPage(t, a.get("/login?reset=done"), http.StatusOK, "Your password has been changed")
	assert.NotContains(t, a.get("/login?reset=x").Body.String(), `class="note"`)
	assert.Empty(t, a.cookies)
	a.login("ada")
	assertRedirect(t, a.get("/login"), http.StatusFound, "/dashboard")
}

func TestDashboard(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	assertPage(t, a.get("/dashboard"), http.StatusOK,
		"Hello, Ada &lt;b&gt;!", "rendered by <strong>go</strong>", "<span>ada</span>",
		"<dt>Member since</dt><dd>2026-01-02</dd>", "<dt>Circles</dt><dd>admin</dd>",
		"<td>2026-01-01 – </td>", "<td>500.00</td>", "You hold no tool.", "You have no badge yet.",
		`<a href="/dashboard" aria-current="page">`, `<a href="/users">`, `<a href="/tools">`,
		`<form class="logout" method="post" action="/api/auth/logout">`)

	for range 20 {
		a.records.awards[2] = append(a.records.awards[2], a.records.awards[2][0])
	}
	a.login("bob")
	page := a.get("/dashboard")
	assertPage(t, page, http.StatusOK, "Hello, bob!", "<dd>laser, wood</dd>", `action="/api/tools/3/checkin"`, "you since 2026-01-02")
	assert.Equal(t, 10, strings.Count(page.Body.String(), "<td>Tidy</td>"))
}

func TestUsersPage(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	assertPage(t, a.get("/users"), http.StatusOK, "<td>Ada &lt;b&gt;</td>", "Page 1 of 1 · 3 members", `<a href="/users" aria-current="page">`)
	assertPage(t, a.get("/users?q=a%26b&page=3"), http.StatusOK, `value="a&amp;b"`,
		`href="/users?page=1&amp;q=a%26b" hx-get="/htmx/users?page=1&amp;q=a%26b"`, "No member matches.")
	assertPage(t, a.get("/users?page=x"), http.StatusOK, "Page 1 of 1 · 3 members")
	assertPage(t, a.get("/users?page=x&q=bo"), http.StatusOK, `value="bo"`, "Page 1 of 1 · 1 member<")
}

func TestUsersFragment(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	fragment := func(query string) string {
		w := a.get("/htmx/users"+query, "HX-Request", "true")
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.NotContains(t, w.Body.String(), "<html")
		return w.Body.String()
	}
	all := fragment("")
	assert.Contains(t, all, "<td>Ada &lt;b&gt;</td>")
	assert.Contains(t, all, `<td>– <span class="tag">disabled</span></td>`)
	assert.Contains(t, all, "<td>2026-01-02</td>")
	assert.Contains(t, all, "Page 1 of 1 · 3 members")
	assert.NotContains(t, all, "<a ")

	assert.Contains(t, fragment("?q=bo"), "Page 1 of 1 · 1 member<")
	assert.Contains(t, fragment("?q=nobody"), "No member matches.")
	assert.Contains(t, fragment("?q=b&page=9"), `<a rel="prev" href="/users?page=1&amp;q=b" hx-get="/htmx/users?page=1&amp;q=b" hx-push-url="/users?page=1&amp;q=b" `)

	empty := ""
	a.records.accounts = append(a.records.accounts, store.Account{ID: 50, Username: "blank", Name: &empty, Enabled: true})
	assert.Contains(t, fragment("?q=blank"), "<td>–</td>", "an empty name is shown like none")

	for i := range 40 {
		a.records.accounts = append(a.records.accounts, store.Account{ID: int64(100 + i), Username: "many"})
	}
	middle := fragment("?page=2")
	assert.Equal(t, 2, strings.Count(middle, "<a "))
	assert.Contains(t, middle, `<a rel="next" href="/users?page=3&amp;q=" hx-get="/htmx/users?page=3&amp;q="`)

	w := a.get("/htmx/users?page=x", "HX-Request", "true")
	assert.Equal(t, http.StatusBadRequest, w.Code)
	assert.NotContains(t, w.Body.String(), "<html")
}

func TestToolsPage(t *testing.T) {
	a := newApp(t)
	a.login("bob")
	page := a.get("/tools")
	assertPage(t, page, http.StatusOK, "Page 1 of 1 · 3 tools",
		`action="/api/tools/1/checkout" hx-post="/htmx/tools/1/checkout"`, `action="/api/tools/3/checkin"`, "you since 2026-01-02")
	assertPage(t, a.get("/tools?page=x"), http.StatusOK, "Page 1 of 1 · 3 tools")

	a.records.circles[2] = nil
	assert.NotContains(t, a.get("/tools").Body.String(), "/api/tools/1/checkout", "only what is allowed is offered")

	w := a.get("/htmx/tools?page=2", "HX-Request", "true")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.NotContains(t, w.Body.String(), "<html")
	assert.Contains(t, w.Body.String(), `<a rel="prev" href="/tools?page=1" hx-get="/htmx/tools?page=1"`)
}

func TestToolFragment(t *testing.T) {
	a := newApp(t)
	w := a.ask(http.MethodPost, "/htmx/tools/2/checkout", "", "HX-Request", "true")
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.Equal(t, "/login?next=/tools", w.Header().Get("HX-Redirect"))

	a.login("bob")
	w = a.ask(http.MethodPost, "/htmx/tools/2/checkout", "", "HX-Request", "true")
	assert.Equal(t, http.StatusOK, w.Code)
	assert.True(t, strings.HasPrefix(w.Body.String(), "<tr>"), w.Body)
	assert.Contains(t, w.Body.String(), `hx-post="/htmx/tools/2/checkin"`)

	w = a.ask(http.MethodPost, "/htmx/tools/2/checkout", "", "HX-Request", "true")
	assert.Equal(t, http.StatusConflict, w.Code)
	assert.Equal(t, `<p class="alert" role="alert">The tool is checked out already.</p>`, strings.TrimSpace(w.Body.String()))
	assert.Len(t, a.hooked.all(), 1)
}

func TestProblemPage(t *testing.T) {
	assertPage(t, newApp(t).get("/nope"), http.StatusNotFound,
		"<title>Not found. · p2k16</title>", "<h1>404</h1>", "<p>Not found.</p>", `<a href="/">Back to the start</a>`)
}

// What a strict Content-Security-Policy forbids is not in the pages.
func TestPages_HaveNothingInline(t *testing.T) {
	a := newApp(t)
	pages := []string{a.get("/login").Body.String(), a.get("/reset").Body.String()}
	a.login("ada")
	for _, path := range []string{"/dashboard", "/users", "/tools", "/nope"} {
		pages = append(pages, a.get(path).Body.String())
	}
	for _, page := range pages {
		assert.NotRegexp(t, `(?i)<style|\sstyle=|\son[a-z]+=|<script>|hx-on|javascript:|hx-vals="js:`, page)
		assert.Contains(t, page, `"allowEval":false`)
		assert.Contains(t, page, `"includeIndicatorStyles":false`)
	}
}
