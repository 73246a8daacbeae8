package goapp

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUsers_NeedALogin(t *testing.T) {
	a := newApp(t)
	for _, path := range []string{"/api/users/", "/api/users/?page=0", "/api/users/1", "/api/users/x"} {
		assertError(t, a.get(path), http.StatusUnauthorized, "Authentication required.")
	}
}

func TestUsers_WithoutSlash(t *testing.T) {
	a := newApp(t)
	assertRedirect(t, a.get("/api/users"), http.StatusPermanentRedirect, "/api/users/")
	assertRedirect(t, a.get("/api/users?q=a%20b&page=2"), http.StatusPermanentRedirect, "/api/users/?q=a%20b&page=2")
}

func TestUsers_List(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	for query, data := range map[string]string{
		"":                                   `{"users":[` + userAda + `,` + userBob + `,` + userOut + `],"page":1,"per_page":20,"total":3,"pages":1}`,
		"?per_page=2":                        `{"users":[` + userAda + `,` + userBob + `],"page":1,"per_page":2,"total":3,"pages":2}`,
		"?per_page=2&page=02":                `{"users":[` + userOut + `],"page":2,"per_page":2,"total":3,"pages":2}`,
		"?page=2147483647&per_page=100":      `{"users":[],"page":2147483647,"per_page":100,"total":3,"pages":1}`,
		"?q=bo":                              `{"users":[` + userBob + `],"page":1,"per_page":20,"total":1,"pages":1}`,
		"?q=nobody":                          `{"users":[],"page":1,"per_page":20,"total":0,"pages":1}`,
		"?q=b%&page=1&page=x&other=anything": `{"users":[],"page":1,"per_page":20,"total":0,"pages":1}`,
	} {
		t.Run(query, func(t *testing.T) { assertSuccess(t, a.get("/api/users/"+query), data) })
	}
}

func TestUsers_BadPages(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	for _, query := range []string{
		"page=0", "page=-1", "page=", "page=x", "page=1.0", "page=%2B1", "page=%201", "page=1_0", "page=%D9%A3",
		"page=2147483648", "page=99999999999999999999", "per_page=0", "per_page=101", "per_page=x", "page",
	} {
		t.Run(query, func(t *testing.T) {
			assertError(t, a.get("/api/users/?"+query), http.StatusBadRequest,
				"page and per_page must be positive integers, per_page at most 100.")
		})
	}
}

func TestUsers_Get(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	for _, id := range []string{"2", "0002"} {
		assertSuccess(t, a.get("/api/users/"+id), `{"user":`+userBob+`,"circles":["laser","wood"],"awards":[`+awardOfBob+`]}`)
	}
	for _, id := range []string{"0", "99", "9223372036854775807", "9223372036854775808", "99999999999999999999999999"} {
		assertError(t, a.get("/api/users/"+id), http.StatusNotFound, "User not found.")
	}
	for _, id := range []string{"x", "-1", "+1", "1.0", "0x1", "1_0", "%D9%A3", "1%2F2", "%31x"} {
		assertError(t, a.get("/api/users/"+id), http.StatusNotFound, "Not found.")
	}
}

func TestUsers_ReadingOnlyTouchesTheSession(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	before := a.record()
	cookie := a.get("/api/users/").Result().Cookies()
	assert.Equal(t, before, a.record())
	assert.Len(t, cookie, 1, "the session's cookie is prolonged, the user's is not sent again")
}
