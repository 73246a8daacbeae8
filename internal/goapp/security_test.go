package goapp

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
	"github.com/cutover-dev/cutover/internal/session"
)

const wrongLogin = `{"username":"ada","password":"x"}`

func TestLogin_TooManyFailures(t *testing.T) {
	const tooMany = "Too many failed logins. Try again later."
	a := newApp(t)
	for range 5 {
		a.login("ada")
	}
	for range 3 {
		assert.Equal(t, http.StatusUnauthorized, a.ask(http.MethodPost, loginPath, wrongLogin).Code)
	}
	w := a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"rehearsal"}`)
	assertError(t, w, http.StatusTooManyRequests, tooMany)
	assert.Equal(t, "91", w.Header().Get("Retry-After"))
	w = a.ask(http.MethodPost, loginPath, "username=ada&password=x", "Content-Type", urlencoded)
	assertPage(t, w, http.StatusTooManyRequests, tooMany, `name="username" value="ada"`)
	assert.Equal(t, "91", w.Header().Get("Retry-After"))

	assert.Equal(t, http.StatusOK, a.ask(http.MethodPost, loginPath, `{"username":"ada","password":"rehearsal"}`, "X-Forwarded-For", "1.2.3.4").Code)
	a.login("bob")
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userBob+`,"administrator":false}`)
}

func TestLogin_WhatIsNoFailureIsNotCounted(t *testing.T) {
	a := newApp(t)
	for range 5 {
		assert.Equal(t, http.StatusBadRequest, a.ask(http.MethodPost, loginPath, `{"username":"ada"}`).Code)
	}
	a.records.err = errors.New("broken")
	for range 5 {
		assert.Equal(t, http.StatusServiceUnavailable, a.ask(http.MethodPost, loginPath, wrongLogin).Code)
	}
	a.records.err = nil
	a.throttle.err = errDown
	assert.Equal(t, http.StatusServiceUnavailable, a.ask(http.MethodPost, loginPath, wrongLogin).Code, "nobody guesses uncounted")
	a.throttle.err = nil
	a.login("ada")
	assert.Empty(t, a.throttle.failures)
}

func TestLogin_RefusalsTakeTheSameTime(t *testing.T) {
	a := newApp(t)
	for _, name := range []string{"ada", "bob", "out", "nobody"} {
		began := time.Now()
		assert.Equal(t, http.StatusUnauthorized, a.ask(http.MethodPost, loginPath, `{"username":"`+name+`","password":"x"}`).Code)
		assert.GreaterOrEqual(t, time.Since(began), shortestRefusal, name)
	}
}

func TestLogin_Remember(t *testing.T) {
	for name, body := range map[string][]string{
		"program": {`{"username":"ada","password":"rehearsal","remember":true}`},
		"form":    {"username=ada&password=rehearsal&remember=1", "Content-Type", urlencoded},
	} {
		a := newApp(t)
		a.ask(http.MethodPost, loginPath, body[0], body[1:]...)
		assert.Equal(t, flaskcookie.Remember(testKey, "1"), a.cookies[session.RememberCookie], name)
		a.sessions.Expire("session:" + a.cookies[session.Cookie])
		assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`,"administrator":true}`)
		a.ask(http.MethodPost, logoutPath, "")
		assert.Empty(t, a.cookies, name)
	}
	a := newApp(t)
	a.login("ada")
	assert.NotContains(t, a.cookies, session.RememberCookie)
}

func TestMe_SessionFromBefore(t *testing.T) {
	a := newApp(t)
	cookie, err := flaskcookie.New(testKey, time.Hour).Encode(map[string]any{"_user_id": "1"}, time.Now())
	require.NoError(t, err)
	a.cookies[session.OldCookie] = cookie
	assertSuccess(t, a.get("/api/auth/me"), `{"user":`+userAda+`,"administrator":true}`)
	assert.NotContains(t, a.cookies, session.OldCookie)
	assert.Contains(t, a.record(), `"migrated":true`)
	a.ask(http.MethodPost, logoutPath, "")
	assert.NotContains(t, a.log.String(), cookie)
}

// The legacy system's tests have the same table.
func TestCrossOrigin(t *testing.T) {
	for _, test := range []struct {
		name    string
		refused bool
		headers []string
	}{
		{"no browser", false, nil},
		{"our own page", false, []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}},
		{"typed in", false, []string{"Sec-Fetch-Site", "none"}},
		{"another site", true, []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}},
		{"a neighbour", true, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://other.example.com"}},
		{"another site that claims our origin", true, []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"}},
		{"an old browser", false, []string{"Origin", "http://example.com"}},
		{"an old browser under TLS", false, []string{"Origin", "https://example.com"}},
		{"an old browser on another site", true, []string{"Origin", "https://evil.example"}},
		{"another port", true, []string{"Origin", "http://example.com:81"}},
		{"nowhere", true, []string{"Origin", "null"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newApp(t)
			a.login("ada")
			w := a.ask(http.MethodPost, logoutPath, "", test.headers...)
			assert.Equal(t, test.refused, a.get("/dashboard", test.headers...).Code == http.StatusOK, "only changes are refused")
			if test.refused {
				assertError(t, w, http.StatusForbidden, "This request came from another site.")
				return
			}
			assertSuccess(t, w, "null")
		})
	}
	a := newApp(t)
	w := a.ask(http.MethodPost, loginPath, "username=ada&password=rehearsal", "Content-Type", urlencoded, "Sec-Fetch-Site", "cross-site")
	assertPage(t, w, http.StatusForbidden, "This request came from another site.")
	assert.Empty(t, w.Result().Cookies())
	assertError(t, a.ask(http.MethodPost, "/api/nope", "", "Sec-Fetch-Site", "cross-site"), http.StatusNotFound, "Not found.")
}
