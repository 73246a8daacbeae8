package goapp

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHome(t *testing.T) {
	assertRedirect(t, newApp(t).get("/"), http.StatusFound, "/dashboard")
}

func TestLoginPage(t *testing.T) {
	a := newApp(t)
	assertPage(t, a.get("/login"), http.StatusOK, `<form method="post" action="/api/auth/login">`, `name="next" value="/dashboard"`)
	assertPage(t, a.get("/login?next=/x%22y"), http.StatusOK, `name="next" value="/x&#34;y"`)
	assertPage(t, a.get("/login?next=//evil"), http.StatusOK, `name="next" value="/dashboard"`)
	assert.Empty(t, a.cookies)
	a.login("ada")
	assertRedirect(t, a.get("/login"), http.StatusFound, "/dashboard")
}

func TestDashboard(t *testing.T) {
	a := newApp(t)
	assertRedirect(t, a.get("/dashboard?q=x"), http.StatusFound, "/login?next=/dashboard")
	a.login("ada")
	assertPage(t, a.get("/dashboard"), http.StatusOK,
		"Hello, Ada &lt;b&gt;!", "rendered by <strong>go</strong>", "<span>ada</span>",
		"<dt>Member since</dt><dd>2026-01-02</dd>", "<td>Ada &lt;b&gt;</td>", "Page 1 of 1 · 3 members",
		`<form class="logout" method="post" action="/api/auth/logout">`)
	assertPage(t, a.get("/dashboard?q=a%26b&page=3"), http.StatusOK, `value="a&amp;b"`,
		`href="/dashboard?page=1&amp;q=a%26b" hx-get="/htmx/users?page=1&amp;q=a%26b"`, "No member matches.")
	assertPage(t, a.get("/dashboard?page=x"), http.StatusOK, "Page 1 of 1 · 3 members")
	assertPage(t, a.get("/dashboard?page=x&q=bo"), http.StatusOK, `value="bo"`, "Page 1 of 1 · 1 member<")

	a.login("bob")
	assertPage(t, a.get("/dashboard"), http.StatusOK, "Hello, bob!")
}

func TestUsersFragment(t *testing.T) {
	a := newApp(t)
	w := a.get("/htmx/users", "HX-Request", "true")
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.Equal(t, "/login?next=/dashboard", w.Header().Get("HX-Redirect"))

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
	assert.Contains(t, fragment("?q=b&page=9"), `<a rel="prev" href="/dashboard?page=1&amp;q=b" hx-get="/htmx/users?page=1&amp;q=b" hx-push-url="/dashboard?page=1&amp;q=b" `)

	empty := ""
	a.accounts.rows = append(a.accounts.rows, account{ID: 50, Username: "blank", Name: &empty, Enabled: true})
	assert.Contains(t, fragment("?q=blank"), "<td>–</td>", "an empty name is shown like none")

	for i := range 40 {
		a.accounts.rows = append(a.accounts.rows, account{ID: int64(100 + i), Username: "many"})
	}
	middle := fragment("?page=2")
	assert.Equal(t, 2, strings.Count(middle, "<a "))
	assert.Contains(t, middle, `<a rel="next" href="/dashboard?page=3&amp;q=" hx-get="/htmx/users?page=3&amp;q="`)

	w = a.get("/htmx/users?page=x", "HX-Request", "true")
	assert.Equal(t, http.StatusBadRequest, w.Code)
	assert.NotContains(t, w.Body.String(), "<html")
}

func TestProblemPage(t *testing.T) {
	assertPage(t, newApp(t).get("/nope"), http.StatusNotFound,
		"<title>Not found. · p2k16</title>", "<h1>404</h1>", "<p>Not found.</p>", `<a href="/">Back to the start</a>`)
}
