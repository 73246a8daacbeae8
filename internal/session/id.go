package session

import (
	"crypto/sha512"
	"encoding/hex"
	"net"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Ids are 32 random bytes, base64url without padding. Both systems make them
// so (Python's secrets.token_urlsafe(32), scs's own tokens).
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// ValidID reports whether a cookie's value can be the id of a record at all.
func ValidID(id string) bool {
	return idPattern.MatchString(id)
}

// Identifier returns what Flask-Login keeps as `_id` to notice that a session
// moved to another client: the SHA-512 of address and user agent, each in
// Python's notation for bytes, which Flask-Login 0.6 hashes by accident.
func Identifier(r *http.Request) string {
	address, ok := header(r, "X-Forwarded-For")
	if ok {
		address, _, _ = strings.Cut(address, ",")
		address = strings.Trim(address, " \t")
	} else if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		address = host
	}

	agent := "None"
	if value, ok := header(r, "User-Agent"); ok {
		agent = pythonBytes(value)
	}
	sum := sha512.Sum512([]byte(pythonBytes(address) + "|" + agent))
	return hex.EncodeToString(sum[:])
}

func header(r *http.Request, name string) (string, bool) {
	values, ok := r.Header[name]
	return strings.Join(values, ","), ok
}

// pythonBytes is repr(text.encode()) in Python, where the text is a header's
// bytes read as Latin-1.
func pythonBytes(latin1 string) string {
	var utf []byte
	for _, b := range []byte(latin1) {
		utf = utf8.AppendRune(utf, rune(b))
	}

	mark := byte('\'')
	if strings.Contains(latin1, "'") && !strings.Contains(latin1, `"`) {
		mark = '"'
	}
	const digits = "0123456789abcdef"
	out := []byte{'b', mark}
	for _, b := range utf {
		switch {
		case b == mark || b == '\\':
			out = append(out, '\\', b)
		case b == '\t':
			out = append(out, '\\', 't')
		case b < 0x20 || b >= 0x7f:
			out = append(out, '\\', 'x', digits[b>>4], digits[b&0xf])
		default:
			out = append(out, b)
		}
	}
	return string(append(out, mark))
}
