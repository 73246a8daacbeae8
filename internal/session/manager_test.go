package session

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/session/sessiontest"
)

func newManager(backend Backend) *Manager {
	return NewManager(NewStore(backend, time.Hour), Settings{SecureCookies: true})
}

func request(id string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("User-Agent", "test")
	if id != "" {
		r.AddCookie(&http.Cookie{Name: Cookie, Value: id})
	}
	return r
}

// browse makes a request do something with its session, and returns the
// cookies of the answer.
func browse(t *testing.T, m *Manager, id string, handler func(context.Context, *http.Request)) map[string]*http.Cookie {
	t.Helper()
	r := request(id)
	ctx, err := m.Load(r)
	require.NoError(t, err)
	handler(ctx, r)
	header := http.Header{}
	require.NoError(t, m.Save(ctx, header))
	cookies := map[string]*http.Cookie{}
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		cookies[cookie.Name] = cookie
	}
	return cookies
}

func login(t *testing.T, m *Manager, old, user string) (id string) {
	t.Helper()
	cookies := browse(t, m, old, func(ctx context.Context, r *http.Request) {
		require.NoError(t, m.Login(ctx, r, user, false))
	})
	return cookies[Cookie].Value
}

func look(context.Context, *http.Request) {}

func TestManager_ReadsCookiesLikeTheLegacySystem(t *testing.T) {
	m := newManager(sessiontest.NewMemory())
	id := login(t, m, "", "7")
	for text, user := range map[string]string{
		"session_id=" + id:                        "7",
		"a; b=\"c; session_id=" + id + "; x=\x01": "7",
		" session_id\t= \"" + id + "\" ":          "7",
		"session_id=" + id + "; session_id=x":     "7",
		"session_id=x; session_id=" + id:          "",
		"session_id=" + id + "|session_id=x":      "",
		"session_id=" + id + ",a=b":               "",
		"session_id=\"" + id:                      "",
		"Session_id=" + id:                        "",
		"session_id":                              "",
	} {
		r := request("")
		for header := range strings.SplitSeq(text, "|") {
			r.Header.Add("Cookie", header)
		}
		ctx, err := m.Load(r)
		require.NoError(t, err)
		assert.Equal(t, user, m.UserID(ctx), text)
	}
}

func TestManager_AnonymousVisitorsLeaveNoTrace(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	for _, id := range []string{"", "test_session", id} {
		cookies := browse(t, m, id, func(ctx context.Context, _ *http.Request) {
			assert.Empty(t, m.UserID(ctx))
		})
		assert.Empty(t, cookies, "an unknown id is not adopted")
	}
	assert.Zero(t, memory.Keys())
}

func TestManager_LoginWritesWhatFlaskReads(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	cookies := browse(t, m, "", func(ctx context.Context, r *http.Request) {
		require.NoError(t, m.Login(ctx, r, "42", false))
		assert.Equal(t, "42", m.UserID(ctx))
	})

	got := cookies[Cookie]
	require.True(t, ValidID(got.Value))
	assert.JSONEq(t,
		`{"_user_id":"42","_fresh":true,"_permanent":true,"created_by":"go","_id":"`+Identifier(request(""))+`"}`,
		memory.Value("session:"+got.Value))
	expires := time.Now().Add(time.Hour)
	assert.WithinDuration(t, expires, got.Expires, 10*time.Second)
	assert.Equal(t, "session_id="+got.Value+"; Path=/; Expires="+got.RawExpires+"; Max-Age=3600; HttpOnly; Secure; SameSite=Strict", got.Raw)
	assert.Equal(t, "user_id=42; Path=/; HttpOnly; Secure; SameSite=Strict", cookies[UserCookie].Raw)
}

func TestManager_LoginRotatesTheIDAndKeepsForeignKeys(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+id, `{"basket": [ 1 ], "created_by": "python"}`)
	renewed := login(t, newManager(memory), id, "7")

	assert.NotEqual(t, id, renewed)
	assert.Equal(t, 1, memory.Keys(), "the old record is deleted")
	assert.Contains(t, memory.Value("session:"+renewed), `"basket":[ 1 ],"created_by":"go"`)
}

func TestManager_LoginThatCannotBeSavedLeavesTheOldSession(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	old := login(t, m, "", "7")
	r := request(old)
	ctx, err := m.Load(r)
	require.NoError(t, err)
	require.NoError(t, m.Login(ctx, r, "7", false))
	memory.SetDown(true)
	header := http.Header{}
	assert.ErrorIs(t, m.Save(ctx, header), sessiontest.ErrDown)
	assert.Empty(t, header)

	memory.SetDown(false)
	browse(t, m, old, func(ctx context.Context, _ *http.Request) {
		assert.Equal(t, "7", m.UserID(ctx))
	})
	assert.Equal(t, 1, memory.Keys())
}

func TestManager_IDIsTheNewOneFromTheLoginOn(t *testing.T) {
	m := newManager(sessiontest.NewMemory())
	var before, after string
	cookies := browse(t, m, "", func(ctx context.Context, r *http.Request) {
		before = m.ID(ctx)
		require.NoError(t, m.Login(ctx, r, "7", false))
		after = m.ID(ctx)
	})
	assert.Empty(t, before)
	assert.Equal(t, cookies[Cookie].Value, after)
	browse(t, m, after, func(ctx context.Context, _ *http.Request) { assert.Equal(t, after, m.ID(ctx)) })
}

func TestManager_AbandonedLoginLeavesTheOldSession(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	old := login(t, m, "", "7")
	before := memory.Value("session:" + old)
	cookies := browse(t, m, old, func(ctx context.Context, r *http.Request) {
		require.NoError(t, m.Login(ctx, r, "8", false))
		m.Abandon(ctx)
	})
	assert.Empty(t, cookies)
	assert.Equal(t, before, memory.Value("session:"+old))
	assert.Equal(t, 1, memory.Keys())
}

func TestManager_LoginReplacesWhatCannotBeRead(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+id, "\x80\x04}.")
	renewed := login(t, newManager(memory), id, "7")
	assert.NotEqual(t, id, renewed)
	assert.Equal(t, 1, memory.Keys())
}

func TestManager_LoginOfAnotherUserTakesNothingOver(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+id, `{"_user_id":"6","basket":1}`)
	renewed := login(t, newManager(memory), id, "7")
	assert.NotContains(t, memory.Value("session:"+renewed), "basket")
}

func TestManager_UnmodifiedSessionIsOnlyTouched(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	id := login(t, m, "", "7")
	memory.Put("session:"+id, ` `+memory.Value("session:"+id)) // Go would not write the blank
	before := memory.Value("session:" + id)

	cookies := browse(t, m, id, look)
	assert.Equal(t, before, memory.Value("session:"+id))
	assert.Equal(t, 1, memory.Touched("session:"+id))
	assert.Equal(t, id, cookies[Cookie].Value, "the cookie lives as long as the record")
	assert.NotContains(t, cookies, UserCookie)
}

func TestManager_LogoutDeletesRecordAndCookies(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	for _, id := range []string{login(t, m, "", "7"), ""} {
		cookies := browse(t, m, id, func(ctx context.Context, _ *http.Request) {
			require.NoError(t, m.Logout(ctx))
			assert.Empty(t, m.UserID(ctx))
		})
		assert.Negative(t, cookies[Cookie].MaxAge)
		assert.Negative(t, cookies[UserCookie].MaxAge)
		assert.Zero(t, memory.Keys())
	}
}

func TestManager_SlowReaderDoesNotUndoALogout(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	id := login(t, m, "", "7")
	cookies := browse(t, m, id, func(ctx context.Context, _ *http.Request) {
		assert.Equal(t, "7", m.UserID(ctx))
		require.NoError(t, memory.End(ctx, "session:"+id, "ended:"+id, time.Hour))
	})
	assert.Empty(t, cookies)
	assert.Zero(t, memory.Keys())
}

func TestManager_SessionAtAnotherClientIsNotFresh(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	memory.Put("session:"+id, `{"_user_id":"7","_fresh":true,"_id":"of another client"}`)

	browse(t, m, id, func(context.Context, *http.Request) {
		memory.Put("session:"+id, `{"_user_id":"7","_fresh":true,"_id":"of another client","basket":1}`)
	})
	assert.JSONEq(t, `{"_user_id":"7","_fresh":false,"_id":"of another client","basket":1}`, memory.Value("session:"+id))

	browse(t, m, id, look)
	assert.Equal(t, 1, memory.Touched("session:"+id), "it is marked only once")
}

func TestManager_StaleSessionThatWasLoggedOutStaysSo(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+id, `{"_user_id":"7","_fresh":true,"_id":"of another client"}`)
	cookies := browse(t, newManager(memory), id, func(ctx context.Context, _ *http.Request) {
		require.NoError(t, memory.End(ctx, "session:"+id, "ended:"+id, time.Hour))
	})
	assert.Empty(t, cookies)
	assert.Zero(t, memory.Keys())
}

func TestManager_UnreadableRecordIsUnknown(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+id, "\x80\x04}.")
	m := newManager(memory)
	cookies := browse(t, m, id, func(ctx context.Context, _ *http.Request) {
		assert.Empty(t, m.UserID(ctx))
	})
	assert.Empty(t, cookies)
	assert.Equal(t, "\x80\x04}.", memory.Value("session:"+id))
}

func TestManager_ReportsAnAbsentStore(t *testing.T) {
	memory := sessiontest.NewMemory()
	m := newManager(memory)
	id := login(t, m, "", "7")
	ctx, err := m.Load(request(id))
	require.NoError(t, err)

	memory.SetDown(true)
	_, err = m.Load(request(id))
	assert.ErrorIs(t, err, sessiontest.ErrDown)
	header := http.Header{}
	assert.NoError(t, m.Save(ctx, header), "a reader is answered all the same")
	assert.Empty(t, header)
	assert.ErrorIs(t, m.Logout(ctx), sessiontest.ErrDown)
}

// The edge says how a request came.
func TestManager_CookiesAreSecureOverTLSOrAlways(t *testing.T) {
	for _, test := range []struct {
		always bool
		scheme string
		want   bool
	}{{true, "http", true}, {false, "https", true}, {false, "http", false}, {false, "", false}} {
		m := NewManager(NewStore(sessiontest.NewMemory(), time.Hour), Settings{SecureCookies: test.always})
		r := request("")
		r.Header.Set("X-Forwarded-Proto", test.scheme)
		ctx, err := m.Load(r)
		require.NoError(t, err)
		require.NoError(t, m.Login(ctx, r, "42", false))
		header := http.Header{}
		require.NoError(t, m.Save(ctx, header))
		cookies := (&http.Response{Header: header}).Cookies()
		require.Len(t, cookies, 2)
		for _, cookie := range cookies {
			assert.Equal(t, test.want, cookie.Secure, "%+v %s", test, cookie.Name)
		}
	}
}
