package session

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

// The cookies that both systems set and expire together.
const (
	// Cookie carries the id of the record.
	Cookie = "session_id"
	// UserCookie carries the id of the logged-in user. Nothing trusts it: the
	// edge may place visitors by it.
	UserCookie = "user_id"
)

// Manager gives every request its session: Load before the handler, Save
// after it and before the first byte of the answer.
type Manager struct {
	scs    *scs.SessionManager
	store  *Store
	maxAge int
	secure bool
}

// NewManager returns a manager of the records in store. Their cookies live as
// long as they do, and are Secure where the edge says that the request came
// over TLS, or always.
func NewManager(store *Store, secureCookies bool) *Manager {
	sessions := scs.New()
	sessions.Store = ctxStore{store}
	sessions.Codec = codec{store.ttl}
	sessions.Lifetime = store.ttl
	return &Manager{scs: sessions, store: store, maxAge: int(store.ttl.Seconds()), secure: secureCookies}
}

// Load returns the request's context with its session. An id that no record
// has is not adopted: the session is then empty, and gets a new id when
// something is stored in it.
func (m *Manager) Load(r *http.Request) (context.Context, error) {
	id := cookie(r, Cookie)
	if !ValidID(id) {
		id = ""
	}
	ctx, err := m.scs.Load(withAsRead(r.Context(), id), id)
	if err != nil {
		return nil, err
	}
	asReadFrom(ctx).secure = m.secure || r.Header.Get("X-Forwarded-Proto") == "https"
	m.protect(ctx, r)
	return ctx, nil
}

// protect does what Flask-Login's session protection does: a session that
// shows up at another client is no longer fresh.
func (m *Manager) protect(ctx context.Context, r *http.Request) {
	if len(m.scs.Keys(ctx)) == 0 || m.text(ctx, keyIdentifier) == Identifier(r) {
		return
	}
	if value, _ := m.scs.Get(ctx, keyFresh).(json.RawMessage); string(value) != "false" {
		m.put(ctx, keyFresh, json.RawMessage("false"))
	}
}

// UserID returns who is logged in, or "".
func (m *Manager) UserID(ctx context.Context) string {
	return m.text(ctx, keyUserID)
}

// ID returns the id of the session's record, "" if it has none. From Login on
// it is the new one, which Save will write.
func (m *Manager) ID(ctx context.Context) string {
	return m.scs.Token(ctx)
}

// Login makes the session userID's, under a new id. Save deletes the old record
// as it writes the new one. What the visitor collected before the login stays;
// what was another user's does not.
func (m *Manager) Login(ctx context.Context, r *http.Request, userID string) error {
	asReadFrom(ctx).replaced = true
	if err := m.scs.RenewToken(ctx); err != nil {
		return err
	}
	if old := m.UserID(ctx); old != "" && old != userID {
		if err := m.scs.Clear(ctx); err != nil {
			return err
		}
	}
	m.put(ctx, keyUserID, quote(userID))
	m.put(ctx, keyFresh, json.RawMessage("true"))
	m.put(ctx, keyIdentifier, quote(Identifier(r)))
	m.put(ctx, keyPermanent, json.RawMessage("true"))
	m.put(ctx, keyCreatedBy, quote("go"))
	return nil
}

// Abandon leaves the record as it is, whatever the request changed: Save then
// writes nothing and sends no cookie.
func (m *Manager) Abandon(ctx context.Context) {
	asReadFrom(ctx).abandoned = true
}

// Logout deletes the record. Save then expires the cookies.
func (m *Manager) Logout(ctx context.Context) error {
	return m.scs.Destroy(ctx)
}

// Save writes what the request changed, or only prolongs the record's life if
// it changed nothing, and sets the cookies. A record that was deleted
// meanwhile, by a login or a logout elsewhere, stays deleted, and its cookie
// is not sent again: the browser may have a newer one by now.
func (m *Manager) Save(ctx context.Context, header http.Header) error {
	if asReadFrom(ctx).abandoned {
		return nil
	}
	switch m.scs.Status(ctx) {
	case scs.Destroyed:
		m.setCookie(ctx, header, Cookie, "", expired)
		m.setCookie(ctx, header, UserCookie, "", expired)
		return nil
	case scs.Modified:
		id, _, err := m.scs.Commit(ctx)
		if errors.Is(err, ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
		m.setCookie(ctx, header, Cookie, id, m.maxAge)
		if id != asReadFrom(ctx).id {
			m.setCookie(ctx, header, UserCookie, m.UserID(ctx), untilBrowserCloses)
		}
	case scs.Unmodified:
		id := m.scs.Token(ctx)
		if id == "" {
			return nil
		}
		// The answer does not depend on this. If Redis has just gone, the next
		// request will tell.
		if exists, err := m.store.Touch(ctx, id); err == nil && exists {
			m.setCookie(ctx, header, Cookie, id, m.maxAge)
		}
	}
	return nil
}

// Values of a cookie's Max-Age that have a meaning of their own to net/http.
const (
	expired            = -1
	untilBrowserCloses = 0
)

func (m *Manager) setCookie(ctx context.Context, header http.Header, name, value string, maxAge int) {
	set := http.Cookie{
		Name: name, Value: value, MaxAge: maxAge, Path: "/",
		HttpOnly: true, Secure: asReadFrom(ctx).secure, SameSite: http.SameSiteStrictMode,
	}
	switch maxAge {
	case expired:
		set.Expires = time.Unix(1, 0)
	case untilBrowserCloses:
	default:
		set.Expires = time.Now().Add(time.Duration(maxAge) * time.Second)
	}
	header.Add("Set-Cookie", set.String())
}

// cookie returns the first cookie of a name, as Flask reads them: blanks and
// quotes around it do not count, and several headers are one with commas.
// (net/http drops what is not written by the book: the visitor would be logged
// in on one system alone.)
func cookie(r *http.Request, name string) string {
	for pair := range strings.SplitSeq(strings.Join(r.Header.Values("Cookie"), ","), ";") {
		key, value, _ := strings.Cut(pair, "=")
		if strings.TrimSpace(key) != name {
			continue
		}
		value = strings.TrimSpace(value)
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		return value
	}
	return ""
}

func (m *Manager) text(ctx context.Context, key string) string {
	raw, _ := m.scs.Get(ctx, key).(json.RawMessage)
	return Record{key: raw}.Text(key)
}

func (m *Manager) put(ctx context.Context, key string, value json.RawMessage) {
	m.scs.Put(ctx, key, value)
}
