package session

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
)

// Manager gives every request its session: Load before the handler, Save
// after it and before the first byte of the answer.
type Manager struct {
	scs      *scs.SessionManager
	store    *Store
	settings Settings
}

// Settings are what a Manager is told of the application.
type Settings struct {
	// SecureCookies makes cookies Secure even for who comes over plain HTTP.
	SecureCookies bool
	// Old reads the sessions from before the migration; nil if there are none.
	Old *flaskcookie.Codec
	// RememberKey is the key of Flask-Login's remember_token.
	RememberKey []byte
}

// NewManager returns a manager of the records in store. Their cookies live as
// long as they do, and are Secure where the edge says that the request came
// over TLS, or always.
func NewManager(store *Store, settings Settings) *Manager {
	sessions := scs.New()
	sessions.Store = ctxStore{store}
	sessions.Codec = codec{store.ttl}
	sessions.Lifetime = store.ttl
	return &Manager{scs: sessions, store: store, settings: settings}
}

// Load returns the request's context with its session. An id that no record
// has is not adopted: the session is then the one that a cookie from before the
// migration or a remember_token stands for, else empty, and gets a new id when
// something is stored in it.
func (m *Manager) Load(r *http.Request) (context.Context, error) {
	v := m.visit(r)
	ctx, err := m.open(r.Context(), v)
	switch {
	case err != nil:
		return nil, err
	case v.raw == nil:
		ctx, err = m.restore(r.Context(), ctx, v)
	case v.old != nil:
		// Left over beside a live session, it would outlive that.
		v.dropOld = true
		_, err = m.store.Claim(ctx, claimOf(v.old), "", nil, remaining(v.old))
	}
	if err != nil {
		return nil, err
	}
	m.protect(ctx, r)
	return ctx, nil
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
// what was another user's does not. With remember the browser logs the user in
// again when the session has expired.
func (m *Manager) Login(ctx context.Context, r *http.Request, userID string, remember bool) error {
	v := visitFrom(ctx)
	if err := m.giveUp(ctx, v); err != nil {
		return err
	}
	if err := m.renew(ctx, v); err != nil {
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
	m.put(ctx, keyMigrated, nil)
	v.announce = true
	if v.remember = m.upgraded(v, userID); remember {
		v.remember = flaskcookie.Remember(m.settings.RememberKey, userID)
	}
	v.forget = v.remember == "" && v.token != ""
	return nil
}

// Abandon leaves the record as it is, whatever the request changed: Save then
// writes nothing and sends no cookie.
func (m *Manager) Abandon(ctx context.Context) {
	visitFrom(ctx).abandoned = true
}

// Logout deletes the record. Save then expires the cookies: all of them, or
// another one would log the user in again.
func (m *Manager) Logout(ctx context.Context) error {
	v := visitFrom(ctx)
	if err := m.giveUp(ctx, v); err != nil {
		return err
	}
	v.forget = v.token != ""
	if v.raw == nil && v.id != "" {
		if err := m.store.End(ctx, v.id); err != nil {
			return err
		}
	}
	return m.scs.Destroy(ctx)
}

// Save writes what the request changed, or only prolongs the record's life if
// it changed nothing, and sets the cookies. A record that was deleted
// meanwhile, by a login or a logout elsewhere, stays deleted, and its cookie
// is not sent again: the browser may have a newer one by now.
func (m *Manager) Save(ctx context.Context, header http.Header) error {
	v := visitFrom(ctx)
	if v.abandoned {
		return nil
	}
	id, err := m.save(ctx, v)
	switch {
	case errors.Is(err, ErrGone):
		return nil
	case err != nil:
		return err
	case m.scs.Status(ctx) == scs.Destroyed:
		v.expire(header, Cookie)
		v.expire(header, UserCookie)
	case id != "":
		v.send(header, Cookie, id, v.left)
		if user := m.UserID(ctx); v.announce && user != "" {
			v.send(header, UserCookie, user, untilBrowserCloses)
		}
	}
	m.cookies(header, v)
	return nil
}

// Private

const untilBrowserCloses time.Duration = 0

// visit reads a request's cookies.
func (m *Manager) visit(r *http.Request) *visit {
	v := &visit{
		token:  cookieValue(r, RememberCookie),
		secure: m.settings.SecureCookies || r.Header.Get("X-Forwarded-Proto") == "https",
	}
	if id := cookieValue(r, Cookie); ValidID(id) {
		v.id = id
	}
	if text := cookieValue(r, OldCookie); text != "" && m.settings.Old != nil {
		// One that cannot be used is none.
		if old, err := m.settings.Old.Decode(text, time.Now()); err == nil {
			v.old = &old
		}
	}
	return v
}

// open returns the context with the session of the visit's id.
func (m *Manager) open(ctx context.Context, v *visit) (context.Context, error) {
	return m.scs.Load(context.WithValue(ctx, visitKey{}, v), v.id)
}

// renew gives the session a new id, so that one that was planted before is
// worth nothing.
func (m *Manager) renew(ctx context.Context, v *visit) error {
	v.replaced = true
	return m.scs.RenewToken(ctx)
}

// save brings the store up to date, and returns the id of the session if there
// is one now.
func (m *Manager) save(ctx context.Context, v *visit) (id string, err error) {
	switch m.scs.Status(ctx) {
	case scs.Modified:
		id, _, err = m.scs.Commit(ctx)
	case scs.Unmodified:
		id = m.scs.Token(ctx)
		if id == "" {
			return "", nil
		}
		// The answer does not depend on this. If Redis has just gone, the next
		// request will tell.
		left, touchErr := m.store.Touch(ctx, id)
		if touchErr != nil || left == 0 {
			return "", ErrGone
		}
		v.left = left
	}
	return id, err
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

func (m *Manager) text(ctx context.Context, key string) string {
	raw, _ := m.scs.Get(ctx, key).(json.RawMessage)
	return Record{key: raw}.Text(key)
}

// put sets a key of the session; nil removes it.
func (m *Manager) put(ctx context.Context, key string, value json.RawMessage) {
	if value == nil {
		m.scs.Remove(ctx, key)
		return
	}
	m.scs.Put(ctx, key, value)
}
