package session

import (
	"net/http"
	"strings"
	"time"
)

// The cookies that both systems set and expire together.
const (
	// Cookie carries the id of the record.
	Cookie = "session_id"
	// UserCookie carries the id of the logged-in user. Nothing trusts it: the
	// edge may place visitors by it.
	UserCookie = "user_id"
	// OldCookie carries a whole session from before the migration.
	OldCookie = "session"
	// RememberCookie is Flask-Login's: it logs its user in again when the
	// session has expired.
	RememberCookie = "remember_token"
)

// rememberFor is how long Flask-Login remembers.
const rememberFor = 365 * 24 * time.Hour

// Private

// cookies sends what the answer has to tell the browser.
func (m *Manager) cookies(header http.Header, v *visit) {
	if v.dropOld {
		v.expire(header, OldCookie)
	}
	switch {
	case v.forget:
		v.expire(header, RememberCookie)
	case v.remember != "":
		v.send(header, RememberCookie, v.remember, rememberFor)
	}
}

// send sets a cookie that lives for a while, or with 0 until the browser closes.
func (v *visit) send(header http.Header, name, value string, life time.Duration) {
	cookie := v.cookie(name, value)
	if life > 0 {
		cookie.MaxAge = int((life + time.Second - 1) / time.Second)
		cookie.Expires = time.Now().Add(life)
	}
	header.Add("Set-Cookie", cookie.String())
}

func (v *visit) expire(header http.Header, name string) {
	cookie := v.cookie(name, "")
	cookie.MaxAge = -1
	cookie.Expires = time.Unix(1, 0)
	header.Add("Set-Cookie", cookie.String())
}

func (v *visit) cookie(name, value string) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: v.secure, SameSite: http.SameSiteStrictMode}
}

// cookieValue returns the first cookie of a name, as Flask reads them: blanks
// and quotes around it do not count, and several headers are one with commas.
// (net/http drops what is not written by the book: the visitor would be logged
// in on one system alone.)
func cookieValue(r *http.Request, name string) string {
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
