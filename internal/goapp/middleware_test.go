package goapp

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRequestLog_HasWhatHelpsAndNoSecret(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	a.get("/api/users/1?q=secret", "X-Request-ID", "0123-abc")

	lines := strings.Split(strings.TrimSpace(a.log.String()), "\n")
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &line))
	assert.IsType(t, 0.0, line["ms"])
	delete(line, "time")
	delete(line, "ms")
	assert.Equal(t, map[string]any{
		"level": "INFO", "msg": "request", "request_id": "0123-abc", "method": "GET",
		"path": "/api/users/1", "route": "/api/users/{id}", "status": 200.0,
	}, line)
	for _, secret := range []string{"secret", "rehearsal", a.cookies["session_id"]} {
		assert.NotContains(t, a.log.String(), secret)
	}
}

func TestRequestLog_MakesAnIDWhereNoneFits(t *testing.T) {
	for _, given := range []string{"", "two words", strings.Repeat("x", 129)} {
		a := newApp(t)
		a.get("/nope", "X-Request-ID", given)
		assert.Regexp(t, `"request_id":"[0-9a-f]{32}"`, a.log.String())
	}
}

func TestRequestLog_LeavesOutWhatMachinesAskFor(t *testing.T) {
	a := newApp(t)
	a.get("/health")
	a.get("/metrics")
	assert.Empty(t, a.log.String())
	a.checks["redis"] = errDown
	a.get("/health")
	assert.Contains(t, a.log.String(), `"status":503`)
}

func TestMetrics(t *testing.T) {
	a := newApp(t)
	fresh := a.get("/metrics").Body.String()
	for _, series := range []string{
		`http_requests_total{method="POST",route="/api/auth/login",service="go",status="500"} 0`,
		`http_requests_total{method="GET",route="/api/users/{id}",service="go",status="200"} 0`,
		`http_requests_total{method="GET",route="/",service="go",status="200"} 0`,
		`http_requests_total{method="POST",route="/api/badges/",service="go",status="201"} 0`,
		`http_requests_total{method="PUT",route="/api/users/{id}",service="go",status="403"} 0`,
		`http_requests_total{method="POST",route="/htmx/tools/{id}/checkout",service="go",status="409"} 0`,
		`http_request_duration_seconds_count{method="GET",route="/dashboard",service="go"} 0`,
		"process_resident_memory_bytes ",
	} {
		assert.Contains(t, fresh, "\n"+series)
	}

	a.get("/api/users/7?q=x")
	a.get("/nope")
	a.get("/api//users/")
	a.ask("BREW", "/nope", "")
	a.ask(http.MethodPost, "/api/users/7", "")
	counted := a.get("/metrics").Body.String()
	for _, series := range []string{
		`http_requests_total{method="GET",route="/api/users/{id}",service="go",status="401"} 1`,
		`http_requests_total{method="GET",route="other",service="go",status="404"} 2`,
		`http_requests_total{method="other",route="other",service="go",status="404"} 1`,
		`http_requests_total{method="POST",route="other",service="go",status="405"} 1`,
		`http_request_duration_seconds_bucket{method="GET",route="/api/users/{id}",service="go",le="10"} 1`,
	} {
		assert.Contains(t, counted, "\n"+series)
	}
}

func TestFragments_AreNoPartOfTheAddress(t *testing.T) {
	a := newApp(t)
	a.login("ada")
	assertSuccess(t, a.get("/api/auth/me#x"), `{"user":`+userAda+`,"administrator":true}`)
	assertError(t, a.get("/api/auth/me%23x"), http.StatusNotFound, "Not found.")
}
