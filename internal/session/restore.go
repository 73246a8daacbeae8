package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
)

// Private

// restore gives a visitor without a live session the one that another of the
// browser's cookies stands for. It returns the context with it.
func (m *Manager) restore(ctx, loaded context.Context, v *visit) (context.Context, error) {
	if v.id != "" && (v.old != nil || v.token != "") {
		// The request may have been under way while its session was ended.
		ended, err := m.store.Ended(ctx, v.id)
		if err != nil || ended {
			return loaded, err
		}
	}
	if v.old != nil {
		v.dropOld = true
		id, err := m.takeOver(ctx, v.old)
		if err != nil {
			return nil, err
		}
		if id != "" {
			taken := *v
			taken.id = id
			ctx, err := m.open(ctx, &taken)
			if err != nil {
				return nil, err
			}
			if taken.raw != nil {
				taken.announce = true
				taken.remember = m.upgraded(v, m.UserID(ctx))
				return ctx, nil
			}
		}
	}
	if user := m.remembered(v); user != "" {
		return loaded, m.logInAgain(loaded, v, user)
	}
	return loaded, nil
}

// takeOver exchanges a session from before the migration for a record that
// keeps its remaining life, once: whoever comes with it again gets the same
// record, or none when that has ended.
func (m *Manager) takeOver(ctx context.Context, old *flaskcookie.Cookie) (string, error) {
	record := fromBefore(old.Values)
	if len(record) == 0 {
		return "", nil
	}
	record[keyMigrated] = json.RawMessage("true")
	record[keyCreatedBy] = quote("python")
	return m.store.Claim(ctx, claimOf(old), newID(), record, remaining(old))
}

// giveUp makes the session from before the migration worthless, and what
// another browser exchanged it for. The visit's own record is left to those who
// end or replace it.
func (m *Manager) giveUp(ctx context.Context, v *visit) error {
	if v.old == nil {
		return nil
	}
	v.dropOld = true
	owner, err := m.store.Claim(ctx, claimOf(v.old), "", nil, remaining(v.old))
	if err != nil || owner == "" || owner == v.id {
		return err
	}
	return m.store.End(ctx, owner)
}

// logInAgain makes a session for a user whom Flask-Login's cookie remembers.
// It is not fresh, as there.
func (m *Manager) logInAgain(ctx context.Context, v *visit, user string) error {
	if err := m.renew(ctx, v); err != nil {
		return err
	}
	m.put(ctx, keyUserID, quote(user))
	m.put(ctx, keyFresh, json.RawMessage("false"))
	m.put(ctx, keyPermanent, json.RawMessage("true"))
	m.put(ctx, keyCreatedBy, quote("go"))
	v.announce = true
	v.remember = v.token
	return nil
}

// remembered returns whom the browser's remember_token names.
func (m *Manager) remembered(v *visit) string {
	if v.token == "" {
		return ""
	}
	return flaskcookie.Remembered(m.settings.RememberKey, v.token)
}

// upgraded returns the remember_token to send again when a browser gets a new
// session: the legacy system's came along on links from other sites, where
// session_id does not, and would replace the live session there.
func (m *Manager) upgraded(v *visit, user string) string {
	if user != "" && m.remembered(v) == user {
		return v.token
	}
	return ""
}

func claimOf(old *flaskcookie.Cookie) string {
	sum := sha256.Sum256([]byte(old.Signed))
	return hex.EncodeToString(sum[:])
}

// remaining is how long an old session still lives. Flask counts whole
// seconds, and accepts it until its last one is over.
func remaining(old *flaskcookie.Cookie) time.Duration {
	return max(time.Until(old.Expires), 0) + time.Second
}

func newID() string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// fromBefore turns the values of a Flask session into those of a record, in
// the forms that Flask-Session gives them. What has none there, half a
// character or a number of more than 64 bits, is left out with its key.
func fromBefore(values map[string]any) Record {
	record := Record{}
	for name, value := range values {
		if name == keyUserID {
			if number, ok := value.(int64); ok {
				value = strconv.FormatInt(number, 10)
			}
		}
		plain, ok := toJSON(value)
		if !ok || !utf8.ValidString(name) {
			continue
		}
		raw, err := json.Marshal(plain)
		if err != nil {
			panic(err) // toJSON returns nothing but JSON
		}
		record[name] = raw
	}
	return record
}

// toJSON returns a value of the types that JSON has.
func toJSON(value any) (any, bool) {
	switch v := value.(type) {
	case nil, bool, int64:
		return v, true
	case *big.Int:
		return v, v.IsUint64()
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, true
		}
		return v, true
	case string:
		return v, utf8.ValidString(v)
	case flaskcookie.Markup:
		return string(v), utf8.ValidString(string(v))
	case flaskcookie.Bytes:
		return base64.StdEncoding.EncodeToString(v), true
	case flaskcookie.UUID:
		return v.String(), true
	case time.Time:
		return v.Format(time.RFC3339), true
	case flaskcookie.Tuple:
		return toList(v)
	case []any:
		return toList(v)
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, inner := range v {
			plain, ok := toJSON(inner)
			if !ok || !utf8.ValidString(name) {
				return nil, false
			}
			object[name] = plain
		}
		return object, true
	}
	return nil, false
}

func toList(values []any) (any, bool) {
	list := make([]any, len(values))
	for i, value := range values {
		plain, ok := toJSON(value)
		if !ok {
			return nil, false
		}
		list[i] = plain
	}
	return list, true
}
