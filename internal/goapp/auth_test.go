package goapp

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cutover-dev/cutover/internal/goapp/store"
	"github.com/cutover-dev/cutover/internal/session"
)

func TestLogin_JSON(t *testing.T) {
	const wrong = "Invalid username or password."
	const required = "Username and password are required."
	const notAnObject = "The request body must be a JSON object with fields of the right types."
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
		{body: "{\"username\":\"ada\",\"password\":\"rehearsal\",\"x\":\"\xff\"}", user: userAda},
		{body: `{"username":"ada","password":"rehearsal","x":1e999}`, user: userAda},
		{body: `{"username":"x","username":"ada","password":"rehearsal"}`, user: userAda},
		{body: `{"username":1,"username":"ada","password":"rehearsal"}`, status: 400, message: notAnObject},
		{body: `{"username":"ada","username":null,"password":"x"}`, status: 400, message: required},
		{body: `{"username":"ada","password":"x"} x`, status: 400, message: notAnObject},
		{body: `{"username":"\ud83d\uDE00","password":"x"}`, status: 401, message: wrong},
		{body: `{"username":"\\ud800","password":"x"}`, status: 401, message: wrong},
		{body: `{"username":"\ud800","password":"x"}`, status: 400, message: notAnObject},
		{body: `{"username":"\uDC00","password":"x"}`, status: 400, message: notAnObject},
		{body: `{"username":"\ud800\u0041","password":"x"}`, status: 400, message: notAnObject},
		{body: `{"username":"\ud83d\ude00\ude00","password":"x"}`, status: 400, message: notAnObject},
		{body: `{"username":"ada","password":"rehearsal","x":[{"\ud800":1}]}`, status: 400, message: notAnObject},
		{body: `{"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"username":"ada","password":"rehearsal"}`, user: userAda},
		{body: `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, status: 400, message: notAnObject},
		{body: strings.Repeat("[", 30000), status: 400, message: notAnObject},
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

// bodyFunc is a request's body.
type bodyFunc func([]byte) (int, error)

func (f bodyFunc) Read(buffer []byte) (int, error) { return f(buffer) }

func (a *app) send(body io.Reader, contentType string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest(http.MethodPost, loginPath, body)
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	a.server.ServeHTTP(w, r)
	return w
}

func TestLogin_WaitsForASlowClient(t *testing.T) {
	a := newApp(t)
	synctest.Test(t, func(t *testing.T) {
		rest := strings.NewReader(`{"username":"ada","password":"rehearsal"}`)
		w := a.send(bodyFunc(func(buffer []byte) (int, error) {
			time.Sleep(2 * requestTimeout)
			return rest.Read(buffer)
		}), "application/json")
		assertSuccess(t, w, `{"user":`+userAda+`}`)
	})
}

func TestLogin_RefusesABodyThatBreaksOff(t *testing.T) {
	for body, contentType := range map[string]string{
		`{"username":"ada","password":"rehearsal"}`: "application/json",
		`username=ada&password=rehearsal`:           urlencoded,
	} {
		a := newApp(t)
		w := a.send(io.MultiReader(strings.NewReader(body), iotest.ErrReader(io.ErrUnexpectedEOF)), contentType)
		if contentType == urlencoded {
			assertPage(t, w, http.StatusBadRequest, "Username and password are required.")
		} else {
			assertError(t, w, http.StatusBadRequest, "The request body must be a JSON object with fields of the right types.")
		}
		assert.Zero(t, a.sessions.Keys())
	}
}

func TestLogin_WithAWrongPasswordLeavesTheSessionAlone(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	key := "session:" + a.cookies[session.Cookie]
	wrong := func() {
		w := a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"x"}`)
		assertError(t, w, http.StatusUnauthorized, "Invalid username or password.")
		assert.Empty(t, w.Result().Cookies())
	}
	wrong()
	assert.Zero(t, a.sessions.Touched(key))
	a.sessions.SetDown(true)
	wrong()
	assert.Equal(t, http.StatusBadRequest, a.ask(http.MethodPost, loginPath, `{}`).Code)
	right := a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"rehearsal"}`)
	assertError(t, right, http.StatusServiceUnavailable, "Service temporarily unavailable.")
	assert.Empty(t, right.Result().Cookies())
	a.sessions.SetDown(false)
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`,"administrator":true}`)
}

func TestLogin_IsWrittenDown(t *testing.T) {
	a := newApp(t)
	w := a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"rehearsal"}`, "X-Request-ID", "bl\xe5 b\xe6r")
	assert.Equal(t, http.StatusOK, w.Code)
	a.ask(http.MethodPost, logoutPath, "", "X-Request-ID", strings.Repeat("x", 300))
	a.ask(http.MethodPost, logoutPath, "")
	assert.Equal(t, []string{"blå bær 1 login [43 1 1h0m0s]", strings.Repeat("x", 200) + " 1 logout [43 1]"}, a.records.written)
}

func TestLogin_ThatCannotBeWrittenDownIsNone(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	before := a.record()
	a.records.writeErr = store.ErrUnavailable
	w := a.ask(http.MethodPost, loginPath, `{"username":"bob","password":"rehearsal"}`)
	assertError(t, w, http.StatusServiceUnavailable, "Service temporarily unavailable.")
	assert.Empty(t, w.Result().Cookies())
	assertError(t, a.ask(http.MethodPost, logoutPath, ""), http.StatusServiceUnavailable, "Service temporarily unavailable.")
	assert.Equal(t, before, a.record())
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`,"administrator":true}`)
}

func TestLogin_RotatesTheSession(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	first := a.cookies[session.Cookie]
	a.login("ada")
	assert.NotEqual(t, first, a.cookies[session.Cookie])
	assert.Equal(t, 1, a.sessions.Keys(), "the old record is deleted")
	assert.Equal(t, http.StatusUnauthorized, a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"x"}`).Code)
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`,"administrator":true}`)
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
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`,"administrator":true}`)

	a.records.accounts[0].Enabled = false
	assertError(t, a.get("/api/auth/me"), http.StatusUnauthorized, required)
	a.records.accounts = nil
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
