package session

import (
	"context"
	"math"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
	"github.com/cutover-dev/cutover/internal/session/sessiontest"
)

const month = 31 * 24 * time.Hour

// browser is a visitor who keeps cookies.
type browser struct {
	t       *testing.T
	m       *Manager
	cookies map[string]string
	https   bool
	set     map[string]*http.Cookie // by the last answer
}

var (
	testKey = []byte("a secret of the tests")
	oldCode = flaskcookie.New(testKey, month)
)

func newBrowser(t *testing.T) (*browser, *sessiontest.Memory) {
	memory := sessiontest.NewMemory()
	m := NewManager(NewStore(memory, time.Hour), Settings{Old: oldCode, RememberKey: testKey})
	return &browser{t: t, m: m, cookies: map[string]string{}}, memory
}

func (b *browser) request() *http.Request {
	r := request("")
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	if b.https {
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	return r
}

func (b *browser) do(handler func(context.Context, *http.Request)) {
	b.t.Helper()
	b.answer(b.request(), handler)
}

func (b *browser) answer(r *http.Request, handler func(context.Context, *http.Request)) {
	b.t.Helper()
	ctx, err := b.m.Load(r)
	require.NoError(b.t, err)
	handler(ctx, r)
	header := http.Header{}
	require.NoError(b.t, b.m.Save(ctx, header))
	b.set = map[string]*http.Cookie{}
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		assert.NotContains(b.t, b.set, cookie.Name, "set twice")
		b.set[cookie.Name] = cookie
		b.cookies[cookie.Name] = cookie.Value
		if cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
		}
	}
}

func (b *browser) user() (user string) {
	b.t.Helper()
	b.do(func(ctx context.Context, _ *http.Request) { user = b.m.UserID(ctx) })
	return user
}

func (b *browser) login(user string, remember bool) {
	b.t.Helper()
	b.do(func(ctx context.Context, r *http.Request) { require.NoError(b.t, b.m.Login(ctx, r, user, remember)) })
}

func (b *browser) logout() {
	b.t.Helper()
	b.do(func(ctx context.Context, _ *http.Request) { require.NoError(b.t, b.m.Logout(ctx)) })
	for name := range b.cookies {
		assert.Fail(b.t, "the logout left the cookie "+name)
	}
}

// clone is another browser with the same cookies.
func (b *browser) clone() *browser {
	other := *b
	other.cookies = map[string]string{}
	for name, value := range b.cookies {
		other.cookies[name] = value
	}
	return &other
}

func oldCookie(t *testing.T, values map[string]any, age time.Duration) string {
	t.Helper()
	cookie, err := oldCode.Encode(values, time.Now().Add(-age))
	require.NoError(t, err)
	return cookie
}

func oldSession(t *testing.T, user string, age time.Duration) string {
	return oldCookie(t, map[string]any{"_user_id": user, "_fresh": true, "_permanent": true, "_id": Identifier(request(""))}, age)
}

func TestRestore_OldSessionKeepsItsRemainingLife(t *testing.T) {
	b, memory := newBrowser(t)
	b.cookies[OldCookie] = oldSession(t, "7", month-10*24*time.Hour)
	assert.Equal(t, "7", b.user())
	assert.Negative(t, b.set[OldCookie].MaxAge)
	assert.Equal(t, "7", b.cookies[UserCookie])
	record := "session:" + b.cookies[Cookie]
	assert.JSONEq(t, `{"_user_id":"7","_fresh":true,"_permanent":true,"created_by":"python","migrated":true,"_id":"`+Identifier(request(""))+`"}`, memory.Value(record))
	const left = 10 * 24 * time.Hour
	assert.InDelta(t, left, memory.Lives(record), float64(5*time.Second))
	assert.InDelta(t, left.Seconds(), b.set[Cookie].MaxAge, 5)

	id := b.cookies[Cookie]
	assert.Equal(t, "7", b.user())
	assert.Equal(t, id, b.cookies[Cookie])
	assert.InDelta(t, left.Seconds(), b.set[Cookie].MaxAge, 5, "being used does not shorten it")
	b.logout()
	assert.Zero(t, memory.Keys())
}

func TestRestore_ShortRemainingLifeSlides(t *testing.T) {
	b, memory := newBrowser(t)
	b.cookies[OldCookie] = oldSession(t, "7", month-time.Minute)
	assert.Equal(t, "7", b.user())
	assert.Equal(t, time.Hour, memory.Lives("session:"+b.cookies[Cookie]), "a session that is used lives for the contract's time")
}

func TestRestore_OldSessionsThatCannotBeUsedAreLoggedOutUsers(t *testing.T) {
	good := oldSession(t, "7", time.Hour)
	foreign, err := flaskcookie.New([]byte("another"), month).Encode(map[string]any{"_user_id": "7"}, time.Now())
	require.NoError(t, err)
	for name, cookie := range map[string]string{
		"expired": oldSession(t, "7", month+2*time.Second), "from the future": oldSession(t, "7", -time.Hour), "another key": foreign,
		"truncated": good[:len(good)-3], "forged": "x" + good[1:], "empty": "", "nonsense": "a.b.c", "no session": oldCookie(t, map[string]any{}, 0),
	} {
		b, memory := newBrowser(t)
		b.cookies[OldCookie] = cookie
		assert.Empty(t, b.user(), name)
		assert.Zero(t, memory.Keys(), name)
		assert.NotContains(t, b.set, Cookie, name)
	}
}

func TestRestore_ParallelRequestsShareOneRecord(t *testing.T) {
	b, memory := newBrowser(t)
	b.cookies[OldCookie] = oldSession(t, "7", time.Hour)
	other := b.clone()
	assert.Equal(t, "7", b.user())
	assert.Equal(t, "7", other.user())
	assert.Equal(t, b.cookies, other.cookies)
	assert.Equal(t, 1, memory.Keys())
}

func TestRestore_OldSessionIsWorthNothingAfterALogout(t *testing.T) {
	for name, end := range map[string]func(b *browser){
		"after the logout":         func(b *browser) { b.user(); b.logout() },
		"after logging in again":   func(b *browser) { b.user(); b.login("8", false) },
		"logged out at once":       func(b *browser) { b.logout() },
		"logged in at once":        func(b *browser) { b.login("8", false) },
		"after the record expired": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b, memory := newBrowser(t)
			b.cookies[OldCookie] = oldSession(t, "7", time.Hour)
			thief := b.clone()
			if end == nil {
				b.user()
				memory.Expire("session:" + b.cookies[Cookie])
			} else {
				end(b)
			}
			assert.NotContains(t, b.cookies, OldCookie)
			assert.Empty(t, thief.user())
			assert.NotContains(t, thief.set, Cookie)
		})
	}
}

func TestRestore_LogoutEndsWhatTheOldSessionBecameElsewhere(t *testing.T) {
	b, memory := newBrowser(t)
	b.cookies[OldCookie] = oldSession(t, "7", time.Hour)
	thief := b.clone()
	assert.Equal(t, "7", thief.user())
	b.logout()
	assert.Empty(t, thief.user())
	assert.Zero(t, memory.Keys())
}

func TestRestore_OldSessionBesideALiveOneIsGivenUp(t *testing.T) {
	b, _ := newBrowser(t)
	b.login("8", false)
	b.cookies[OldCookie] = oldSession(t, "7", time.Hour)
	thief := b.clone()
	delete(thief.cookies, Cookie)
	assert.Equal(t, "8", b.user())
	assert.NotContains(t, b.cookies, OldCookie)
	assert.Empty(t, thief.user())
}

func TestRestore_Remembered(t *testing.T) {
	b, memory := newBrowser(t)
	b.login("7", true)
	first := b.cookies[Cookie]
	assert.Equal(t, int((365 * 24 * time.Hour).Seconds()), b.set[RememberCookie].MaxAge)
	memory.Expire("session:" + first)
	assert.Equal(t, "7", b.user())
	assert.NotEqual(t, first, b.cookies[Cookie], "an unknown id is not adopted")
	assert.JSONEq(t, `{"_user_id":"7","_fresh":false,"_permanent":true,"created_by":"go"}`, memory.Value("session:"+b.cookies[Cookie]))
	assert.Equal(t, http.SameSiteStrictMode, b.set[RememberCookie].SameSite)

	delete(b.cookies, Cookie)
	assert.Equal(t, "7", b.user())
	b.logout()
	assert.Empty(t, b.user())
}

func TestRestore_RequestUnderWayDoesNotUndoALogout(t *testing.T) {
	for name, remember := range map[string]bool{"remembered": true, "with an old session": false} {
		b, memory := newBrowser(t)
		b.login("7", remember)
		if !remember {
			b.cookies[OldCookie] = oldSession(t, "7", time.Hour)
		}
		late := b.clone()
		b.logout()
		assert.Empty(t, late.user(), name)
		assert.NotContains(t, late.set, Cookie, name)
		assert.Zero(t, memory.Keys(), name)
	}
}

func TestRestore_RequestUnderWayDoesNotReplaceANewLogin(t *testing.T) {
	b, memory := newBrowser(t)
	b.login("7", true)
	late := b.clone()
	b.login("7", true)
	assert.Empty(t, late.user())
	assert.NotContains(t, late.set, Cookie)
	assert.Equal(t, 1, memory.Keys())
}

func TestRestore_LogoutAfterTheSessionExpiredForgetsToo(t *testing.T) {
	b, memory := newBrowser(t)
	b.login("7", true)
	memory.Expire("session:" + b.cookies[Cookie])
	late := b.clone()
	b.logout()
	assert.Empty(t, late.user())
}

func TestRestore_ForgedTokens(t *testing.T) {
	for _, token := range []string{"", "7", "7|0", flaskcookie.Remember([]byte("another"), "7")} {
		b, memory := newBrowser(t)
		b.cookies[RememberCookie] = token
		assert.Empty(t, b.user(), token)
		assert.Zero(t, memory.Keys())
	}
}

// A token of the legacy system comes along on links from other sites, where
// session_id does not: it would replace the live session.
func TestRestore_NewSessionsUpgradeTheTokenOrDropIt(t *testing.T) {
	mine, another := flaskcookie.Remember(testKey, "7"), flaskcookie.Remember(testKey, "8")
	for _, test := range []struct {
		name, token string
		begin       func(b *browser)
		kept        bool
	}{
		{"login", mine, func(b *browser) { b.login("7", false) }, true},
		{"login of somebody else", another, func(b *browser) { b.login("7", false) }, false},
		{"login with a forged one", "x", func(b *browser) { b.login("7", false) }, false},
		{"old session", mine, func(b *browser) { b.cookies[OldCookie] = oldSession(b.t, "7", time.Hour); b.user() }, true},
	} {
		b, _ := newBrowser(t)
		b.cookies[RememberCookie] = test.token
		test.begin(b)
		require.Contains(t, b.set, RememberCookie, test.name)
		assert.Equal(t, http.SameSiteStrictMode, b.set[RememberCookie].SameSite, test.name)
		if test.kept {
			assert.Equal(t, test.token, b.cookies[RememberCookie], test.name)
		} else {
			assert.NotContains(t, b.cookies, RememberCookie, test.name)
		}
	}
}

// A link from another site brings the legacy system's cookies along, but not
// session_id.
func TestRestore_LinkFromAnotherSiteNeverTouchesALiveSession(t *testing.T) {
	b, memory := newBrowser(t)
	b.cookies[OldCookie] = oldSession(t, "7", time.Hour)
	stale := b.clone() // as if the browser had not seen its expiry yet
	b.user()
	live := b.cookies[Cookie]
	assert.Equal(t, "7", stale.user())
	assert.Equal(t, live, stale.cookies[Cookie], "the same session, not another one")

	b.login("7", false)
	stale.cookies = map[string]string{OldCookie: oldSession(t, "7", time.Hour)}
	strict := b.clone()
	delete(strict.cookies, Cookie)
	delete(strict.cookies, UserCookie)
	assert.Empty(t, strict.user())
	assert.Empty(t, strict.set, "who comes without session_id is told nothing about it")
	assert.Equal(t, 1, memory.Keys())
}

func TestManager_CookiesAreSecureUnderTLS(t *testing.T) {
	b, _ := newBrowser(t)
	b.login("7", true)
	for _, cookie := range b.set {
		assert.False(t, cookie.Secure, cookie.Name)
	}
	b.https = true
	b.login("7", true)
	b.cookies[OldCookie] = oldSession(t, "7", time.Hour)
	check := func() {
		for _, cookie := range b.set {
			assert.True(t, cookie.Secure && cookie.HttpOnly && cookie.Path == "/" && cookie.SameSite == http.SameSiteStrictMode, cookie.String())
		}
	}
	check()
	b.logout()
	assert.Len(t, b.set, 4)
	check()
}

func TestFromBefore(t *testing.T) {
	record := fromBefore(map[string]any{
		"_user_id": int64(7), "b": flaskcookie.Bytes{0, 255}, "d": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "m": flaskcookie.Markup("<b>"),
		"t": flaskcookie.Tuple{int64(1), []any{nil, true}}, "u": flaskcookie.UUID{1}, "nan": math.NaN(), "inf": []any{math.Inf(1)}, "f": 1.5,
		"n": map[string]any{"å": "ø"}, "big": new(big.Int).SetUint64(math.MaxUint64), "half": "\xed\xa0\x80", "half\xed\xa0\x80": 1,
		"deep": []any{map[string]any{"x": flaskcookie.Markup("\xed\xa0\x80")}}, "bigger": new(big.Int).Lsh(big.NewInt(1), 64), "key": map[string]any{"\xed\xa0\x80": nil},
	})
	assert.JSONEq(t, `{"_user_id":"7","b":"AP8=","d":"2026-01-02T03:04:05Z","m":"<b>","t":[1,[null,true]],
		"u":"01000000-0000-0000-0000-000000000000","nan":null,"inf":[null],"f":1.5,"n":{"å":"ø"},"big":18446744073709551615}`, string(record.Encode()))
	assert.True(t, strings.HasPrefix(string(record.Encode()), `{"_user_id":"7"`))
}

func TestRestore_RedisAway(t *testing.T) {
	for _, name := range []string{OldCookie, RememberCookie} {
		b, memory := newBrowser(t)
		b.cookies[Cookie] = id
		b.cookies[name] = map[string]string{OldCookie: oldSession(t, "7", time.Hour), RememberCookie: flaskcookie.Remember(testKey, "7")}[name]
		memory.SetDown(true)
		_, err := b.m.Load(b.request())
		assert.ErrorIs(t, err, sessiontest.ErrDown)
		memory.SetDown(false)
		assert.Equal(t, "7", b.user())
	}
}
