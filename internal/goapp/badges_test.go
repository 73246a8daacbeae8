package goapp

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	badgeLaser = `{"id":1,"title":"Laser","description":null,"circle":"laser","created_at":"2026-01-02T03:04:05Z"}`
	badgeTidy  = `{"id":2,"title":"Tidy","description":null,"circle":null,"created_at":"2026-01-02T03:04:05Z"}`
)

func TestBadges_List(t *testing.T) {
	a := newApp(t)
	assertRedirect(t, a.get("/api/badges?page=2"), http.StatusPermanentRedirect, "/api/badges/?page=2")
	assertError(t, a.get("/api/badges/"), http.StatusUnauthorized, "Authentication required.")
	a.login("bob")
	assertSuccess(t, a.get("/api/badges/"), `{"badges":[`+badgeLaser+`,`+badgeTidy+`],"page":1,"per_page":20,"total":2,"pages":1}`)
	assertSuccess(t, a.get("/api/badges/?page=3&per_page=1"), `{"badges":[],"page":3,"per_page":1,"total":2,"pages":2}`)
	assertError(t, a.get("/api/badges/?page=0"), http.StatusBadRequest, "page and per_page must be positive integers, per_page at most 100.")
}

func TestBadges_Create(t *testing.T) {
	const badTitle, badDescription = "The title is not valid.", "The description is not valid."
	for _, test := range []struct {
		user, body string
		status     int
		message    string // or the badge, of a success
	}{
		{"", `{}`, 401, "Authentication required."},
		{"bob", strings.Repeat("x", maxBody+1), 403, "You are not allowed to do this."},
		{"ada", strings.Repeat("x", maxBody+1), 413, "The request body is too large."},
		{"ada", `x`, 400, typesMessage},
		{"ada", `{"title":null}`, 400, typesMessage},
		{"ada", `{"title":"x","circle_id":"1"}`, 400, typesMessage},
		{"ada", `{"title":"x","circle_id":1.0}`, 400, typesMessage},
		{"ada", `{"title":"x","circle_id":1e0}`, 400, typesMessage},
		{"ada", `{"title":"x","circle_id":true}`, 400, typesMessage},
		{"ada", `{"title":"x","circle_id":9223372036854775808}`, 400, typesMessage},
		{"ada", `{"title":"x","description":[]}`, 400, typesMessage},
		{"ada", `{}`, 400, badTitle},
		{"ada", `{"title":"   "}`, 400, badTitle},
		{"ada", `{"title":"a\nb"}`, 400, badTitle},
		{"ada", `{"title":"\ta"}`, 400, badTitle},
		{"ada", `{"title":"` + strings.Repeat("å", 101) + `"}`, 400, badTitle},
		{"ada", `{"title":"x","description":"` + strings.Repeat("å", 2001) + `"}`, 400, badDescription},
		{"ada", `{"title":"x","description":"\u0000","circle_id":-5}`, 400, badDescription},
		{"ada", `{"title":"Tidy","circle_id":-5}`, 400, "There is no such circle."},
		{"ada", `{"title":"Tidy"}`, 409, "The title is taken."},
		{"ada", `{"title":" New ","description":"a\nb","circle_id":1,"x":1}`, 201, `{"id":3,"title":"New","description":"a\nb","circle":"laser","created_at":"2026-01-02T03:04:05Z"}`},
		{"ada", `{"title":"` + strings.Repeat("å", 100) + `","description":null,"circle_id":null}`, 201, `{"id":3,"title":"` + strings.Repeat("å", 100) + `","description":null,"circle":null,"created_at":"2026-01-02T03:04:05Z"}`},
	} {
		t.Run(test.user+" "+test.body[:min(40, len(test.body))], func(t *testing.T) {
			a := newApp(t)
			if test.user != "" {
				a.login(test.user)
			}
			a.records.written = nil
			w := a.ask(http.MethodPost, "/api/badges/", test.body, "X-Request-ID", "rid")
			if test.status == http.StatusCreated {
				assertSucceeded(t, w, test.status, `{"badge":`+test.message+`}`)
				assert.Equal(t, []string{"rid 1 badge.create [3]"}, a.records.written)
				return
			}
			assertError(t, w, test.status, test.message)
			assert.Empty(t, a.records.written)
		})
	}
}

func TestBadges_Award(t *testing.T) {
	for _, test := range []struct {
		user, badge, body string
		status            int
		message           string
	}{
		{"", "1", `{"account_id":2}`, 401, "Authentication required."},
		{"ada", "x", `{"account_id":2}`, 404, "Not found."},
		{"ada", "99999999999999999999", `x`, 400, typesMessage},
		{"ada", "1", `{"account_id":null}`, 400, typesMessage},
		{"ada", "99", `{}`, 400, "The account is required."},
		{"ada", "99", `{"account_id":99}`, 404, "Badge not found."},
		{"ada", "99999999999999999999", `{"account_id":2}`, 404, "Badge not found."},
		{"out", "1", `{"account_id":99}`, 404, "User not found."},
		{"out", "1", `{"account_id":2}`, 403, "You are not allowed to do this."},
		{"out", "2", `{"account_id":2}`, 201, "2 Tidy out"},
		{"bob", "1", `{"account_id":3}`, 201, "1 Laser bob"},
		{"ada", "1", `{"account_id":3}`, 201, "1 Laser ada"},
	} {
		t.Run(test.user+" "+test.badge+" "+test.body, func(t *testing.T) {
			a := newApp(t)
			a.records.accounts[2].Enabled = true
			if test.user != "" {
				a.login(test.user)
			}
			a.records.written = nil
			w := a.ask(http.MethodPost, "/api/badges/"+test.badge+"/award", test.body)
			if test.status == http.StatusCreated {
				made := strings.Fields(test.message)
				assertSucceeded(t, w, test.status, `{"award":{"id":10,"badge_id":`+made[0]+`,"title":"`+made[1]+`","awarded_by":"`+made[2]+`","created_at":"2026-01-02T03:04:05Z"}}`)
				assert.Len(t, a.records.written, 1)
				return
			}
			assertError(t, w, test.status, test.message)
			assert.Empty(t, a.records.written)
		})
	}
}
