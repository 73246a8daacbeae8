package goapp

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cutover-dev/cutover/internal/session"
)

func TestLogin_JSON(t *testing.T) {
	const wrong = "Invalid username or password."
	const required = "Username and password are required."
	const notAnObject = "The request body must be a JSON object."
	for _, test := range []struct {
		body    string
		user    string
		status  int
		message string
	}{
		{body: `{"username":"ada","password":"rehearsal"}`, user: userAda},
		{body: `{"username":"ADA@EXAMPLE.COM","password":"rehearsal"}`, user: userAda},
		{body: `{"email":"bob","password":"rehearsal"}`, user: userBob},
		{body: `{"username":"","email":"bob@example.com","password":"rehearsal","x":[1]}`, user: userBob},
		{body: `{"username":"ada","password":"wrong"}`, status: 401, message: wrong},
		{body: `{"username":"ADA","password":"rehearsal"}`, status: 401, message: wrong},
		{body: `{"username":"nobody","password":"rehearsal"}`, status: 401, message: wrong},
		{body: `{"username":"out","password":"rehearsal"}`, status: 401, message: wrong},
		{body: `{"username":"ada"}`, status: 400, message: required},
		{body: `{"password":"rehearsal"}`, status: 400, message: required},
		{body: `{"username":"ada","password":""}`, status: 400, message: required},
		{body: `{"username":null,"password":"x"}`, status: 400, message: required},
		{body: `{"Username":"ada","password":"x"}`, status: 400, message: required},
		{body: `{}`, status: 400, message: required},
		{body: ``, status: 400, message: notAnObject},
		{body: `{`, status: 400, message: notAnObject},
		{body: `null`, status: 400, message: notAnObject},
		{body: `[]`, status: 400, message: notAnObject},
		{body: `"ada"`, status: 400, message: notAnObject},
		{body: `{"username":1,"password":"x"}`, status: 400, message: notAnObject},
		{body: `{"username":"ada","password":true}`, status: 400, message: notAnObject},
		{body: `{"username":"ada","email":{},"password":"x"}`, status: 400, message: notAnObject},
		{body: "{\"username\":\"\xff\",\"password\":\"x\"}", status: 400, message: notAnObject},
		{body: `{"username":"` + strings.Repeat("a", maxBody) + `"}`, status: 413, message: "The request body is too large."},
	} {
		t.Run(test.body[:min(40, len(test.body))], func(t *testing.T) {
			a := newApp(t)
			w := a.ask(http.MethodPost, loginPath, test.body)
			if test.user != "" {
				assertSuccess(t, w, `{"user":`+test.user+`}`)
				assert.NotEmpty(t, a.record())
				return
			}
			assertError(t, w, test.status, test.message)
			assert.Empty(t, w.Result().Cookies())
			assert.Zero(t, a.sessions.Keys())
		})
	}
}

func TestLogin_Form(t *testing.T) {
	for _, test := range []struct {
		name, body string
		status     int
		location   string
		contains   []string
	}{
		{"next", "username=ada&password=rehearsal&next=/dashboard%3Fq=x", 303, "/dashboard?q=x", nil},
		{"no next", "username=ada@example.com&password=rehearsal", 303, "/dashboard", nil},
		{"next elsewhere", "username=ada&password=rehearsal&next=//evil", 303, "/dashboard", nil},
		{"wrong", "username=%22ada&password=x&next=/x", 401, "", []string{
			"Invalid username or password.", `name="username" value="&#34;ada"`, `name="next" value="/x"`,
		}},
		{"incomplete", "username=ada", 400, "", []string{"Username and password are required."}},
		{"too large", "username=" + strings.Repeat("a", maxBody), 413, "", []string{"The request body is too large."}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newApp(t)
			w := a.ask(http.MethodPost, loginPath, test.body, "Content-Type", urlencoded)
			if test.location != "" {
				assertRedirect(t, w, test.status, test.location)
				assert.Equal(t, "1", a.cookies[session.UserCookie])
				return
			}
			assertPage(t, w, test.status, test.contains...)
			assert.Empty(t, a.cookies)
		})
	}
}

func TestLogin_MultipartForm(t *testing.T) {
	form := func(body string) string { return strings.ReplaceAll(body, "\n", "\r\n") }
	const contentType = "multipart/form-data; boundary=B"
	field := func(name, value string) string {
		return "--B\nContent-Disposition: form-data; name=\"" + name + "\"\n\n" + value + "\n"
	}
	a := newApp(t)
	w := a.ask(http.MethodPost, loginPath, form(field("username", "bob")+field("password", "rehearsal")+"--B--\n"), "Content-Type", contentType)
	assertRedirect(t, w, http.StatusSeeOther, "/dashboard")
	w = a.ask(http.MethodPost, loginPath, form(field("username", strings.Repeat("a", maxBody))), "Content-Type", contentType)
	assertPage(t, w, http.StatusRequestEntityTooLarge)
	w = a.ask(http.MethodPost, loginPath, "malformed", "Content-Type", contentType)
	assertPage(t, w, http.StatusBadRequest, "Username and password are required.")
}

func TestLogin_RotatesTheSession(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	first := a.cookies[session.Cookie]
	a.login("ada")
	assert.NotEqual(t, first, a.cookies[session.Cookie])
	assert.Equal(t, 1, a.sessions.Keys(), "the old record is deleted")
	assert.Equal(t, http.StatusUnauthorized, a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"x"}`).Code)
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`}`)
}

func TestLogout(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	assertSuccess(t, a.ask(http.MethodPost, logoutPath, ""), "null")
	assert.Empty(t, a.cookies)
	assert.Zero(t, a.sessions.Keys())
	assertSuccess(t, a.ask(http.MethodPost, logoutPath, ""), "null")

	a.login("ada")
	assertRedirect(t, a.ask(http.MethodPost, logoutPath, "", "Content-Type", urlencoded), http.StatusSeeOther, "/login")
	assert.Zero(t, a.sessions.Keys())
}

func TestMe(t *testing.T) {
	a := newApp(t)
	const required = "Authentication required."
	assertError(t, a.get("/api/auth/me"), http.StatusUnauthorized, required)
	a.login("ada")
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`}`)

	a.accounts.rows[0].Enabled = false
	assertError(t, a.get("/api/auth/me"), http.StatusUnauthorized, required)
	a.accounts.rows = nil
	assertError(t, a.get("/api/auth/me"), http.StatusUnauthorized, required)
}

func TestMe_SessionsOfTheLegacySystem(t *testing.T) {
	const id = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	a := newApp(t)
	a.cookies[session.Cookie] = id
	for record, status := range map[string]int{
		`{"_user_id":"2","_fresh":true,"_permanent":true,"created_by":"python"}`: http.StatusOK,
		`{"_user_id":2}`:    http.StatusUnauthorized,
		`{"_user_id":"x"}`:  http.StatusUnauthorized,
		`{"_user_id":"99"}`: http.StatusUnauthorized,
		`{}`:                http.StatusUnauthorized,
		`[]`:                http.StatusUnauthorized,
	} {
		a.cookies[session.Cookie] = id
		a.sessions.Put("session:"+id, record)
		assert.Equal(t, status, a.get("/api/auth/me").Code, record)
	}
}
