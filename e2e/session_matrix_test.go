package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
	"github.com/cutover-dev/cutover/internal/session"
	"github.com/cutover-dev/cutover/internal/stack"
)

// redis is a client of the sessions' database.
func (env *environment) redis(t *testing.T) *redis.Client {
	t.Helper()
	secrets, err := env.stack.Secrets(t.Context())
	require.NoError(t, err)
	client := redis.NewClient(session.Through(secrets["redis/password"], env.dialRedis))
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

func (env *environment) oldCookie(t *testing.T, user string, age time.Duration) string {
	t.Helper()
	secrets, err := env.stack.Secrets(t.Context())
	require.NoError(t, err)
	cookie, err := flaskcookie.New([]byte(secrets["flask/secret_key"]), 31*24*time.Hour).Encode(map[string]any{
		"_user_id": user, "_fresh": true, "_permanent": true, "_flashes": []any{flaskcookie.Tuple{"message", "Hei, Kåre!"}},
	}, time.Now().Add(-age))
	require.NoError(t, err)
	return cookie
}

// setCookie gives a visitor a cookie; "" takes it away.
func (v *visitor) setCookie(t *testing.T, name, value string) {
	t.Helper()
	address, err := url.Parse(v.address)
	require.NoError(t, err)
	cookie := &http.Cookie{Name: name, Value: value, Path: "/"}
	if value == "" {
		cookie.MaxAge = -1
	}
	v.http.Jar.SetCookies(address, []*http.Cookie{cookie})
}

// matrixPerson is one visitor of the matrix, in the system that the case names.
type matrixPerson struct {
	*visitor
	env   *environment
	redis *redis.Client
	user  string // the name
	id    int64
}

func (p *matrixPerson) record() string { return "session:" + p.cookieNow("session_id") }

func (p *matrixPerson) cookieNow(name string) string {
	address, _ := url.Parse(p.address)
	for _, c := range p.http.Jar.Cookies(address) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// The session matrix: whoever logged in anywhere, does anything, on the same
// system or on the other, before, during and after a rollback.
func TestSessionMatrix(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	client := env.redis(t)
	origins := []string{"python", "go", "old cookie"}
	actions := []string{"read", "write", "log out", "expire", "be rotated", "remembered"}
	phases := []string{"before", "during", "after"}
	n := 0
	for _, origin := range origins {
		for _, action := range actions {
			for _, where := range []string{"same system", "other system"} {
				for _, phase := range phases {
					n++
					name := fmt.Sprintf("%s/%s/%s/%s a rollback", origin, action, where, phase)
					user := fmt.Sprintf("user%d", 100+n)
					t.Run(name, func(t *testing.T) {
						p := &matrixPerson{visitor: env.newVisitor(sharedTransport(t)), env: env, redis: client, user: user,
							id: number(t, db, "SELECT id FROM accounts WHERE username = $1", user)}
						env.matrixCase(t, p, origin, action, where, phase)
					})
				}
			}
		}
	}
}

func sharedTransport(t *testing.T) *http.Transport {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// matrixCase logs in on one system and acts on one, by the systems' own doors,
// while the edge's weights are what the phase says: after a rollback python is
// also what the edge itself gives.
func (env *environment) matrixCase(t *testing.T, p *matrixPerson, origin, action, where, phase string) {
	env.must(t, "route", "auth", "100")
	doors := map[string]*visitor{}
	for _, system := range systems {
		doors[system] = env.directVisitor(t, system)
		doors[system].http.Jar = p.http.Jar // one browser
	}
	beginsAt := origin
	if origin == "old cookie" {
		beginsAt = "python"
	}
	actsAt := beginsAt
	if where == "other system" {
		actsAt = map[string]string{"python": "go", "go": "python"}[beginsAt]
	}
	remember := action == "remembered"
	if origin == "old cookie" {
		p.setCookie(t, session.OldCookie, env.oldCookie(t, fmt.Sprint(p.id), time.Hour))
		if remember {
			secrets, err := env.stack.Secrets(t.Context())
			require.NoError(t, err)
			p.setCookie(t, session.RememberCookie, flaskcookie.Remember([]byte(secrets["flask/secret_key"]), fmt.Sprint(p.id)))
		}
	} else {
		a := doors[beginsAt].post(t, "/api/auth/login", map[string]any{"username": p.user, "password": "rehearsal", "remember": remember})
		require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	}
	rollback := func() { env.must(t, "rollback", "--reason", "the matrix") }
	during := make(chan struct{})
	switch phase {
	case "during":
		go func() {
			defer close(during)
			env.run(context.WithoutCancel(t.Context()), "rollback", "--reason", "the matrix")
		}()
	case "after":
		close(during)
		rollback()
	default:
		close(during)
	}
	at, other := doors[actsAt], doors[map[string]string{"python": "go", "go": "python"}[actsAt]]
	loggedOut := func() {
		t.Helper()
		for system, door := range doors {
			assert.Equal(t, http.StatusUnauthorized, door.get(t, "/api/auth/me").status, "logged out of %s", system)
		}
		assert.Equal(t, http.StatusUnauthorized, p.get(t, "/api/auth/me").status)
	}
	loggedIn := func() {
		t.Helper()
		assert.Equal(t, p.user, at.me(t))
		assert.Equal(t, p.user, other.me(t))
		assert.Equal(t, p.user, p.me(t), "through the edge")
	}
	switch action {
	case "read":
		loggedIn()
	case "write":
		loggedIn()
		p.writeKeys(t, at, other)
		loggedIn()
	case "log out":
		if origin != "old cookie" {
			loggedIn()
		}
		before := p.clone(t)
		assert.Equal(t, http.StatusOK, at.post(t, "/api/auth/logout", nil).status)
		loggedOut()
		for system, door := range doors {
			door.http.Jar = before.http.Jar
			assert.Equal(t, http.StatusUnauthorized, door.get(t, "/api/auth/me").status, "%s: what was copied before the logout is worth nothing", system)
		}
	case "expire":
		assert.Equal(t, p.user, at.me(t))
		require.NoError(t, p.redis.Del(t.Context(), p.record()).Err())
		loggedOut()
	case "be rotated":
		assert.Equal(t, p.user, at.me(t))
		before, old := p.clone(t), p.cookieNow("session_id")
		require.NoError(t, at.login(t.Context(), p.user))
		assert.NotEqual(t, old, p.cookieNow("session_id"))
		loggedIn()
		assert.Equal(t, http.StatusUnauthorized, before.get(t, "/api/auth/me").status, "the old id is worth nothing")
	case "remembered":
		assert.Equal(t, p.user, at.me(t))
		old := p.cookieNow("session_id")
		require.NoError(t, p.redis.Del(t.Context(), p.record()).Err())
		loggedIn()
		assert.NotEqual(t, old, p.cookieNow("session_id"))
		before := p.clone(t)
		assert.Equal(t, http.StatusOK, other.post(t, "/api/auth/logout", nil).status)
		loggedOut()
		assert.Equal(t, http.StatusUnauthorized, before.get(t, "/api/auth/me").status)
	}
	<-during
	if origin == "old cookie" && action == "read" {
		p.checkTakenOver(t)
	}
	if phase != "before" {
		env.must(t, "resume", "--reason", "the matrix")
	}
}

// writeKeys has both systems write the session at the same time as a third
// writer, a program with the record's rules, adds a key of its own.
func (p *matrixPerson) writeKeys(t *testing.T, at, other *visitor) {
	t.Helper()
	store := session.NewStore(session.NewRedis(p.redis, 20*time.Second), time.Hour)
	id := p.cookieNow("session_id")
	raw, err := store.Load(t.Context(), id)
	require.NoError(t, err)
	// A browser that changed: whichever system sees it first writes _fresh.
	at.agent, other.agent = "another browser", "another browser"
	assert.Equal(t, p.user, at.me(t))
	_, err = store.Update(t.Context(), id, raw, session.Changes{"basket": json.RawMessage(`[1,  2.50]`)})
	require.NoError(t, err)
	assert.Equal(t, p.user, other.me(t))
	written, err := store.Load(t.Context(), id)
	require.NoError(t, err)
	record, err := session.ParseRecord(written)
	require.NoError(t, err)
	assert.JSONEq(t, `[1,2.5]`, string(record["basket"]), "nothing is lost")
	assert.Equal(t, "false", string(record["_fresh"]))
}

func (p *matrixPerson) clone(t *testing.T) *visitor {
	t.Helper()
	other := p.env.newVisitor(p.http.Transport)
	address, err := url.Parse(p.address)
	require.NoError(t, err)
	other.http.Jar.SetCookies(address, p.http.Jar.Cookies(address))
	return other
}

func (p *matrixPerson) checkTakenOver(t *testing.T) {
	t.Helper()
	assert.Empty(t, p.cookieNow(session.OldCookie), "the old cookie is expired")
	assert.Equal(t, fmt.Sprint(p.id), p.cookieNow(session.UserCookie))
	raw, err := p.redis.Get(t.Context(), p.record()).Bytes()
	require.NoError(t, err)
	record, err := session.ParseRecord(raw)
	require.NoError(t, err)
	assert.Equal(t, "true", string(record["migrated"]))
	assert.JSONEq(t, `[["message","Hei, Kåre!"]]`, string(record["_flashes"]))
	left, err := p.redis.PTTL(t.Context(), p.record()).Result()
	require.NoError(t, err)
	assert.InDelta(t, (31*24*time.Hour - time.Hour).Seconds(), left.Seconds(), 60, "what remained of its life")
}

// Cookies that cannot be used are logged-out users, on both systems.
func TestOldCookiesThatCannotBeUsed(t *testing.T) {
	env := useShared(t)
	good := env.oldCookie(t, "1", time.Hour)
	foreign, err := flaskcookie.New([]byte("another key"), time.Hour).Encode(map[string]any{"_user_id": "1"}, time.Now())
	require.NoError(t, err)
	for name, cookie := range map[string]string{
		"expired": env.oldCookie(t, "1", 31*24*time.Hour+5*time.Second), "forged": "x" + good[1:], "truncated": good[:len(good)-5], "another key": foreign, "nonsense": "x",
	} {
		for _, system := range systems {
			person := env.directVisitor(t, system)
			person.setCookie(t, session.OldCookie, cookie)
			assert.Equal(t, http.StatusUnauthorized, person.get(t, "/api/auth/me").status, "%s at %s", name, system)
			assert.Equal(t, http.StatusFound, person.get(t, "/dashboard").status, "%s at %s", name, system)
			assert.Empty(t, person.cookie(t, "session_id"), "%s at %s", name, system)
		}
	}
}

// Both systems make the same record of an old session.
func TestOldSessionsBecomeTheSameRecord(t *testing.T) {
	env := useShared(t)
	client := env.redis(t)
	secrets, err := env.stack.Secrets(t.Context())
	require.NoError(t, err)
	records := map[string]string{}
	for _, system := range systems {
		cookie, err := flaskcookie.New([]byte(secrets["flask/secret_key"]), 31*24*time.Hour).Encode(map[string]any{
			"_user_id": int64(1), "b": flaskcookie.Bytes{0, 255}, "m": flaskcookie.Markup("<å>"), "t": flaskcookie.Tuple{1.5, nil, true},
			"u": flaskcookie.UUID{1, 2}, "d": time.Unix(1e9, 0), "half": "\xed\xa0\x80", "n": map[string]any{" t": "x"},
		}, time.Now())
		require.NoError(t, err)
		person := env.directVisitor(t, system)
		person.setCookie(t, session.OldCookie, cookie)
		assert.Equal(t, http.StatusOK, person.get(t, "/api/auth/me").status)
		records[system], err = client.Get(t.Context(), "session:"+person.cookie(t, "session_id")).Result()
		require.NoError(t, err)
	}
	assert.JSONEq(t, records["python"], records["go"])
}

// No session's id, cookie or content stands in anybody's log.
func TestSessionsStandInNoLog(t *testing.T) {
	env := useShared(t)
	secret := []string{}
	for i, system := range systems {
		person := env.directVisitor(t, system)
		old := env.oldCookie(t, "17", time.Duration(i+1)*time.Hour)
		person.setCookie(t, session.OldCookie, old)
		require.Equal(t, http.StatusOK, person.get(t, "/api/auth/me").status)
		require.Equal(t, http.StatusOK, person.post(t, "/api/auth/login", map[string]any{"username": "user17", "password": "rehearsal", "remember": true}).status)
		secret = append(secret, old, person.cookie(t, "session_id"), person.cookie(t, "remember_token"))
		edge := env.newVisitor(sharedTransport(t))
		edge.http.Jar = person.http.Jar
		require.Equal(t, http.StatusOK, edge.get(t, "/dashboard").status)
		require.Equal(t, http.StatusOK, person.post(t, "/api/auth/logout", nil).status)
	}
	var logs strings.Builder
	for _, service := range stack.ServiceNames() {
		log, err := env.engine.Logs(t.Context(), env.stack.Container(service), 100000)
		require.NoError(t, err)
		logs.WriteString(log)
	}
	require.Contains(t, logs.String(), "/api/auth/logout", "the logs are there")
	for _, text := range secret {
		require.Greater(t, len(text), 40)
		assert.NotContains(t, logs.String(), text)
		assert.NotContains(t, logs.String(), text[:30])
	}
	assert.NotContains(t, logs.String(), "Kåre!")
}
