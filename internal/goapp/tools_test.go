package goapp

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	toolCutter = `{"id":1,"name":"Cutter","description":null,"circle":"laser","checkout":null}`
	toolDrill  = `{"id":2,"name":"Drill","description":null,"circle":null,"checkout":null}`
	toolLathe  = `{"id":3,"name":"Lathe","description":null,"circle":null,"checkout":{"id":7,"account_id":2,"username":"bob","started_at":"2026-01-02T03:04:05Z"}}`
)

func TestTools_List(t *testing.T) {
	a := newApp(t)
	assertRedirect(t, a.get("/api/tools"), http.StatusPermanentRedirect, "/api/tools/")
	assertError(t, a.get("/api/tools/"), http.StatusUnauthorized, "Authentication required.")
	a.login("bob")
	assertSuccess(t, a.get("/api/tools/"), `{"tools":[`+toolCutter+`,`+toolDrill+`,`+toolLathe+`],"page":1,"per_page":20,"total":3,"pages":1}`)
}

func TestTools_CheckOutAndIn(t *testing.T) {
	const forbidden = "You are not allowed to do this."
	for _, test := range []struct {
		user, path string
		status     int
		message    string // or the tool, of a success
		written    string
	}{
		{"", "2/checkout", 401, "Authentication required.", ""},
		{"out", "x/checkout", 404, "Not found.", ""},
		{"out", "99/checkout", 404, "Tool not found.", ""},
		{"out", "99999999999999999999/checkin", 404, "Tool not found.", ""},
		{"out", "1/checkout", 403, forbidden, ""},
		{"out", "3/checkout", 409, "The tool is checked out already.", ""},
		{"bob", "3/checkout", 409, "The tool is checked out already.", ""},
		{"out", "1/checkin", 409, "The tool is not checked out.", ""},
		{"out", "3/checkin", 403, forbidden, ""},
		{"bob", "3/checkin", 200, `{"id":3,"name":"Lathe","description":null,"circle":null,"checkout":null}`, `rid 2 tool.checkin [3 7]`},
		{"ada", "3/checkin", 200, `{"id":3,"name":"Lathe","description":null,"circle":null,"checkout":null}`, `rid 1 tool.checkin [3 7]`},
		{"bob", "1/checkout", 200, `{"id":1,"name":"Cutter","description":null,"circle":"laser","checkout":{"id":8,"account_id":2,"username":"bob","started_at":"2026-01-02T03:04:05Z"}}`, `rid 2 tool.checkout [1 8]`},
		{"ada", "1/checkout", 200, `{"id":1,"name":"Cutter","description":null,"circle":"laser","checkout":{"id":8,"account_id":1,"username":"ada","started_at":"2026-01-02T03:04:05Z"}}`, `rid 1 tool.checkout [1 8]`},
	} {
		t.Run(test.user+" "+test.path, func(t *testing.T) {
			a := newApp(t)
			a.records.accounts[2].Enabled = true
			if test.user != "" {
				a.login(test.user)
			}
			a.records.written = nil
			w := a.ask(http.MethodPost, "/api/tools/"+test.path, "not looked at", "X-Request-ID", "rid")
			if test.status == http.StatusOK {
				assertSuccess(t, w, `{"tool":`+test.message+`}`)
				assert.Equal(t, []string{test.written}, a.records.written)
				assert.Len(t, a.hooked.all(), 1)
				return
			}
			assertError(t, w, test.status, test.message)
			assert.Empty(t, a.records.written)
			assert.Empty(t, a.hooked.all())
		})
	}
}

func TestTools_Forms(t *testing.T) {
	a := newApp(t)
	post := func(path string) {
		t.Helper()
		assertRedirect(t, a.ask(http.MethodPost, path, "", "Content-Type", urlencoded), http.StatusSeeOther, "/tools")
	}
	assertPage(t, a.ask(http.MethodPost, "/api/tools/2/checkout", "", "Content-Type", urlencoded), http.StatusUnauthorized, "Authentication required.")
	a.login("bob")
	post("/api/tools/2/checkout")
	assertPage(t, a.ask(http.MethodPost, "/api/tools/2/checkout", "", "Content-Type", inParts+"; boundary=B"), http.StatusConflict, "The tool is checked out already.")
	post("/api/tools/2/checkin")
}

func TestHook(t *testing.T) {
	a := newApp(t)
	a.login("bob")
	a.ask(http.MethodPost, "/api/tools/2/checkout", "", "X-Request-ID", "rid")
	a.ask(http.MethodPost, "/api/tools/2/checkin", "", "X-Request-ID", "rid")
	assert.Equal(t, []string{
		`POST /tools rid {"tool":2,"account":2,"action":"checkout"}`,
		`POST /tools rid {"tool":2,"account":2,"action":"checkin"}`,
	}, a.hooked.all())
}

func TestHook_FailuresAreOnlyLogged(t *testing.T) {
	for name, url := range map[string]string{"nobody there": "http://127.0.0.1:1", "a redirect": redirecting(t)} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.login("bob")
			a.server.hook.url = url
			assert.Equal(t, http.StatusOK, a.ask(http.MethodPost, "/api/tools/2/checkout", "").Code)
			assert.Contains(t, a.log.String(), "the hook failed")
		})
	}
}
