package goapp

import (
	"net/http"
	"testing"
)

func TestMemberships(t *testing.T) {
	const (
		ofAda = `{"id":1,"account_id":1,"username":"bob","starts_on":"2026-01-01","ends_on":null,"fee":"500.00","status":"active"}`
		ofBob = `{"id":2,"account_id":2,"username":null,"starts_on":"2026-01-01","ends_on":"2026-01-01","fee":"0.00","status":"expired"}`
		rest  = `,"page":1,"per_page":20`
	)
	a := newApp(t)
	assertRedirect(t, a.get("/api/memberships"), http.StatusPermanentRedirect, "/api/memberships/")
	assertError(t, a.get("/api/memberships/"), http.StatusUnauthorized, "Authentication required.")

	a.login("bob")
	for _, query := range []string{"", "?account_id=2", "?account_id=02"} {
		assertSuccess(t, a.get("/api/memberships/"+query), `{"memberships":[`+ofBob+`]`+rest+`,"total":1,"pages":1}`)
	}
	assertError(t, a.get("/api/memberships/?account_id=1&page=0"), http.StatusForbidden, "You are not allowed to do this.")
	for _, id := range []string{"", "0", "-1", "x", "1.0", "+1", "9223372036854775808", "%00", "%D9%A3"} {
		assertError(t, a.get("/api/memberships/?account_id="+id), http.StatusBadRequest, "account_id must be a positive integer.")
	}
	assertError(t, a.get("/api/memberships/?page=0"), http.StatusBadRequest, "page and per_page must be positive integers, per_page at most 100.")

	a.login("ada")
	assertSuccess(t, a.get("/api/memberships/"), `{"memberships":[`+ofAda+`,`+ofBob+`]`+rest+`,"total":2,"pages":1}`)
	assertSuccess(t, a.get("/api/memberships/?account_id=2"), `{"memberships":[`+ofBob+`]`+rest+`,"total":1,"pages":1}`)
	assertSuccess(t, a.get("/api/memberships/?account_id=9223372036854775807"), `{"memberships":[]`+rest+`,"total":0,"pages":1}`)
}
