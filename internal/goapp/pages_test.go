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
		"Hello, Ada &lt;b&gt;!", "served by go",
		`<form method="post" action="/api/auth/logout">`,
		`<div id="users" hx-get="/htmx/users?page=1&amp;q=" hx-trigger="load">`)
	assertPage(t, a.get("/dashboard?q=a%26b&page=3"), http.StatusOK, `value="a&amp;b"`, `hx-get="/htmx/users?page=3&amp;q=a%26b"`)
	assertPage(t, a.get("/dashboard?page=x"), http.StatusOK, `hx-get="/htmx/users?page=1&amp;q="`)

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
	assert.Contains(t, all, "<td>– (disabled)</td>")
	assert.Contains(t, all, "<td>2026-01-02</td>")
	assert.Contains(t, all, "Page 1 of 1 · 3 members")
	assert.NotContains(t, all, "<button")

	assert.Contains(t, fragment("?q=bo"), "Page 1 of 1 · 1 member<")
	assert.Contains(t, fragment("?q=nobody"), "No member matches.")
	assert.Contains(t, fragment("?q=b&page=9"), `<button hx-get="/htmx/users?page=1&amp;q=b">← Previous`)

	for i := range 40 {
		a.accounts.rows = append(a.accounts.rows, account{ID: int64(100 + i), Username: "many"})
	}
	middle := fragment("?page=2")
	assert.Equal(t, 2, strings.Count(middle, "<button"))
	assert.Contains(t, middle, `<button hx-get="/htmx/users?page=3&amp;q=">Next →`)

	w = a.get("/htmx/users?page=x", "HX-Request", "true")
	assert.Equal(t, http.StatusBadRequest, w.Code)
	assert.NotContains(t, w.Body.String(), "<html")
}
