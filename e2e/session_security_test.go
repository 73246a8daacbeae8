package e2e

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// form sends what a page's form would.
func (v *visitor) form(t *testing.T, path string, fields url.Values, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.address+path, strings.NewReader(fields.Encode()))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	response, err := v.http.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header.Get("X-Served-By"), body, response.Header}
}

// Both systems count failed logins together, and only those.
func TestFailedLoginsAreCountedTogether(t *testing.T) {
	env := useShared(t)
	people := map[string]*visitor{}
	for _, system := range systems {
		people[system] = env.directVisitor(t, system)
	}
	// Asked past the edge, which says where people come from.
	login := func(system, name, password, address string) answer {
		return people[system].form(t, "/api/auth/login", url.Values{"username": {name}, "password": {password}}, "X-Forwarded-For", address)
	}
	const here = "203.0.113.5"
	for range 30 {
		for _, system := range systems {
			require.Equal(t, http.StatusSeeOther, login(system, "user40", "rehearsal", here).status, "who is right is never refused")
		}
	}
	for _, name := range []string{"user40", "nobody at all"} {
		wrong := func(system string) answer { return login(system, name, "wrong", here) }
		for i := range 20 {
			assert.Equal(t, http.StatusUnauthorized, wrong(systems[i%2]).status, "failure %d", i)
		}
		for _, system := range systems {
			a := wrong(system)
			assert.Equal(t, http.StatusTooManyRequests, a.status, system)
			assert.NotEmpty(t, a.header.Get("Retry-After"), system)
			a = login(system, name, "rehearsal", here)
			assert.Equal(t, http.StatusTooManyRequests, a.status, "%s: even the right one", system)
			assert.Contains(t, string(a.body), "Too many failed logins. Try again later.", system)
		}
	}
	for _, system := range systems {
		assert.Equal(t, http.StatusSeeOther, login(system, "user41", "rehearsal", here).status, "%s: another account", system)
		assert.Equal(t, http.StatusSeeOther, login(system, "user40", "rehearsal", "198.51.100.7").status, "%s: another address", system)
	}
}

// Nobody learns from the time of a refusal whether there is such a user.
func TestRefusalsTakeTheSameTime(t *testing.T) {
	env := useShared(t)
	client, db := env.redis(t), env.db(t)
	before, err := client.Keys(t.Context(), "login-failures:*").Result() // of other stories
	require.NoError(t, err)
	if len(before) > 0 {
		require.NoError(t, client.Del(t.Context(), before...).Err())
	}
	var crypted string
	require.NoError(t, db.QueryRow(t.Context(), "SELECT username FROM accounts WHERE password_hash LIKE '$6$%' AND enabled LIMIT 1").Scan(&crypted))
	names := []string{"user42", "nobody", crypted}
	for _, system := range systems {
		person := env.directVisitor(t, system)
		took := map[string][]time.Duration{}
		for range 15 {
			for _, name := range names {
				began := time.Now()
				require.Equal(t, http.StatusUnauthorized, person.post(t, "/api/auth/login", map[string]string{"username": name, "password": "wrong"}).status)
				took[name] = append(took[name], time.Since(began))
			}
		}
		keys, err := client.Keys(t.Context(), "login-failures:*").Result()
		require.NoError(t, err)
		require.NoError(t, client.Del(t.Context(), keys...).Err())
		median := map[string]time.Duration{}
		for name, times := range took {
			slices.SortFunc(times, cmp.Compare[time.Duration])
			median[name] = times[len(times)/2]
		}
		t.Logf("%s: %v", system, median)
		for _, name := range names {
			assert.InDelta(t, 1, float64(median[name])/float64(median["nobody"]), 0.2, "%s: %s", system, name)
		}
	}
}

// A form that one system rendered can be sent to the other; what another site
// sends is refused by both, and changes nothing.
func TestFormsAcrossSystemsAndSites(t *testing.T) {
	env := useShared(t)
	for i, system := range systems {
		other := systems[1-i]
		shown, sent := env.directVisitor(t, system), env.directVisitor(t, other)
		sent.http.Jar = shown.http.Jar
		page := shown.get(t, "/login")
		require.Equal(t, http.StatusOK, page.status)
		fields := url.Values{"username": {"user43"}, "password": {"rehearsal"}}
		for _, name := range []string{"username", "password", "next", "remember"} {
			assert.Contains(t, string(page.body), fmt.Sprintf("name=%q", name), "%s", system)
		}
		origin := []string{"Sec-Fetch-Site", "same-origin", "Origin", env.address}
		foreign := [][]string{{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, {"Origin", "https://evil.example"}, {"Origin", "null"}}
		for _, headers := range foreign {
			a := sent.form(t, "/api/auth/login", fields, headers...)
			assert.Equal(t, http.StatusForbidden, a.status, "%s %v", other, headers)
			assert.Empty(t, a.header.Values("Set-Cookie"))
		}
		require.Equal(t, http.StatusSeeOther, sent.form(t, "/api/auth/login", fields, origin...).status, other)
		for _, headers := range foreign {
			assert.Equal(t, http.StatusForbidden, shown.form(t, "/api/auth/logout", nil, headers...).status, "%s %v", system, headers)
		}
		assert.Equal(t, "user43", shown.me(t), "the session is as it was")
		assert.Equal(t, http.StatusSeeOther, shown.form(t, "/api/auth/logout", nil, origin...).status)
		assert.Equal(t, http.StatusUnauthorized, sent.get(t, "/api/auth/me").status)
	}
}

// Cookies are Secure for who came over TLS, and both systems set them alike.
func TestCookiesAreAlikeAndSecureUnderTLS(t *testing.T) {
	env := useShared(t)
	for _, proto := range []string{"http", "https"} {
		found := map[string][]string{}
		for _, system := range systems {
			a := env.directVisitor(t, system).form(t, "/api/auth/login", url.Values{"username": {"user44"}, "password": {"rehearsal"}, "remember": {"1"}}, "X-Forwarded-Proto", proto)
			require.Equal(t, http.StatusSeeOther, a.status)
			for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
				assert.Equal(t, proto == "https", cookie.Secure, "%s %s", system, cookie.Name)
				assert.True(t, cookie.HttpOnly && cookie.SameSite == http.SameSiteStrictMode && cookie.Path == "/" && cookie.Domain == "", cookie.String())
				found[system] = append(found[system], fmt.Sprint(cookie.Name, " ", cookie.MaxAge))
			}
			slices.Sort(found[system])
		}
		assert.Equal(t, []string{"remember_token 31536000", "session_id 3600", "user_id 0"}, found["go"])
		assert.Equal(t, found["go"], found["python"])
	}
}

// Without Redis both systems answer 503 within a second for what needs a
// session, and they recover by themselves.
func TestRedisAway(t *testing.T) {
	env := useShared(t)
	people := map[string]*visitor{}
	for _, system := range systems {
		people[system] = env.directVisitor(t, system)
		require.NoError(t, people[system].login(t.Context(), "user45"))
	}
	container := env.stack.Container("redis")
	for name, fault := range map[string][2]func() error{
		"paused": {func() error { return env.engine.Pause(t.Context(), container) }, func() error { return env.engine.Unpause(t.Context(), container) }},
	} {
		require.NoError(t, fault[0]())
		for _, system := range systems {
			for _, ask := range []func() answer{
				func() answer { return people[system].get(t, "/api/auth/me") },
				func() answer { return people[system].get(t, "/dashboard") },
				func() answer { return people[system].post(t, "/api/auth/logout", nil) },
				func() answer {
					return people[system].post(t, "/api/auth/login", map[string]string{"username": "user45", "password": "rehearsal"})
				},
			} {
				began := time.Now()
				a := ask()
				assert.Equal(t, http.StatusServiceUnavailable, a.status, "%s %s", name, system)
				assert.Less(t, time.Since(began), time.Second, "%s %s", name, system)
				assert.Empty(t, a.header.Values("Set-Cookie"))
			}
		}
		require.NoError(t, fault[1]())
		for _, system := range systems {
			require.Eventually(t, func() bool { return people[system].get(t, "/api/auth/me").status == http.StatusOK }, 20*time.Second, 50*time.Millisecond, "%s %s", name, system)
			assert.Equal(t, "user45", people[system].me(t))
		}
	}
	env.awaitHealthy(t, "redis")
}
