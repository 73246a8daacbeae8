package goapp

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var linkPattern = regexp.MustCompile(`(?m)^http://p2k16\.example(/api/auth/reset/[A-Za-z0-9_.-]+)$`)

// requestLink asks for a link for ada, and returns its path.
func (a *app) requestLink() string {
	a.t.Helper()
	assertSuccess(a.t, a.ask(http.MethodPost, resetPath, `{"email":"ADA@example.com"}`, "X-Request-ID", "rid"), "null")
	require.NotEmpty(a.t, a.mails.sent)
	found := linkPattern.FindStringSubmatch(a.mails.sent[len(a.mails.sent)-1].text)
	require.NotNil(a.t, found)
	return found[1]
}

func TestReset_SendsALink(t *testing.T) {
	a := newApp(t)
	link := a.requestLink()
	sent := a.mails.sent[0]
	assert.Equal(t, "Ada@example.com", sent.to)
	assert.Equal(t, "Reset your password", sent.subject)
	assert.Equal(t, "rid", sent.requestID)
	assert.Equal(t, "Hello Ada <b>,\n\nOpen this link within an hour to choose a new password:\nhttp://p2k16.example"+link+
		"\n\nIf you did not ask for this, you need not do anything.\n", sent.text)
	assert.Equal(t, []string{"rid 0 reset.request [1]"}, a.records.written)
	for _, path := range []string{link, link + "/", "/" + link} {
		a.get(path)
	}
	assert.NotContains(t, a.log.String(), link[len(resetPath)+1:], "a link is a secret")
	assert.Contains(t, a.log.String(), `"path":"/api/auth/reset/{token}"`)

	assertRedirect(t, a.ask(http.MethodPost, resetPath, "email=bob@example.com", "Content-Type", urlencoded), http.StatusSeeOther, "/login?reset=sent")
	assert.Equal(t, "bob@example.com", a.mails.sent[1].to)
	assert.True(t, strings.HasPrefix(a.mails.sent[1].text, "Hello bob,\n"))
}

func TestReset_DoesNotTellWhoIsThere(t *testing.T) {
	a := newApp(t)
	a.records.accounts[1].Email = "bob@example.com\r\nRCPT TO:<x>"
	for _, email := range []string{"nobody@example.com", "out@example.com", `\u0000`, `bob@example.com\r\nRCPT TO:<x>`} {
		assertSuccess(t, a.ask(http.MethodPost, resetPath, `{"email":"`+email+`"}`), "null")
	}
	assert.Empty(t, a.mails.sent)
	assert.Len(t, a.records.written, 1, "an address that gets no mail was asked for all the same")
	assert.Contains(t, a.log.String(), "no mail can be sent to this account's address")
}

func TestReset_Refusals(t *testing.T) {
	a := newApp(t)
	for body, message := range map[string]string{
		`{}`: "An email address is required.", `{"email":""}`: "An email address is required.",
		`{"email":null}`: typesMessage, `[]`: typesMessage, ``: typesMessage,
	} {
		assertError(t, a.ask(http.MethodPost, resetPath, body), http.StatusBadRequest, message)
	}
	assertPage(t, a.ask(http.MethodPost, resetPath, "", "Content-Type", urlencoded), http.StatusBadRequest,
		"An email address is required.", `<form method="post" action="/api/auth/reset">`)
	a.mails.err = errDown
	assertError(t, a.ask(http.MethodPost, resetPath, `{"email":"ada@example.com"}`), http.StatusServiceUnavailable, "Service temporarily unavailable.")
	assert.Len(t, a.records.written, 1, "that somebody asked stays written down")
}

func TestReset_FollowTheLink(t *testing.T) {
	a := newApp(t)
	link := a.requestLink()
	assertPage(t, a.get(link), http.StatusOK, `<form method="post" action="`+link+`">`)
	assertError(t, a.ask(http.MethodPost, link, `{}`), http.StatusBadRequest, "A password has 8 to 1000 characters.")
	assertError(t, a.ask(http.MethodPost, link, `{"password":null}`), http.StatusBadRequest, typesMessage)
	assertPage(t, a.ask(http.MethodPost, link, "password=short", "Content-Type", urlencoded), http.StatusBadRequest,
		"A password has 8 to 1000 characters.", `action="`+link+`"`)

	a.records.written = nil
	assertSuccess(t, a.ask(http.MethodPost, link, `{"password":"brand new"}`, "X-Request-ID", "rid"), "null")
	assert.Equal(t, []string{"rid 0 reset [1]"}, a.records.written)
	assert.True(t, testPasswords(t).match(a.records.accounts[0].PasswordHash, "brand new"))
	assertError(t, a.ask(http.MethodPost, link, `{"password":"once more"}`), http.StatusBadRequest, "The link is invalid or has expired.")

	assertRedirect(t, a.ask(http.MethodPost, a.requestLink(), "password=brand+new", "Content-Type", urlencoded), http.StatusSeeOther, "/login?reset=done")
}

func TestReset_LinksThatNobodyMayFollow(t *testing.T) {
	a := newApp(t)
	link := a.requestLink()
	claim := `{"account":1,"hash":"0000000000000000"}`
	for name, path := range map[string]string{
		"cut off":          link[:len(link)-4],
		"nonsense":         "/api/auth/reset/x",
		"another password": "/api/auth/reset/" + testLinks.Sign([]byte(claim), time.Now()),
		"no such account":  "/api/auth/reset/" + testLinks.Sign([]byte(`{"account":99}`), time.Now()),
		"not an object":    "/api/auth/reset/" + testLinks.Sign([]byte(`[]`), time.Now()),
		"old":              "/api/auth/reset/" + testLinks.Sign([]byte(claim), time.Now().Add(-settings.ResetTTL-2*time.Second)),
	} {
		t.Run(name, func(t *testing.T) {
			assertPage(t, a.get(path), http.StatusBadRequest, "The link is invalid or has expired.")
			assertError(t, a.ask(http.MethodPost, path, "not looked at"), http.StatusBadRequest, "The link is invalid or has expired.")
			assertPage(t, a.ask(http.MethodPost, path, "password=short", "Content-Type", urlencoded), http.StatusBadRequest, "The link is invalid or has expired.")
		})
	}
	a.records.accounts[0].Enabled = false
	assertPage(t, a.get(link), http.StatusBadRequest, "The link is invalid or has expired.")
}

func TestResetPage(t *testing.T) {
	assertPage(t, newApp(t).get("/reset"), http.StatusOK, `<form method="post" action="/api/auth/reset">`, `name="email"`)
}
