// Package flaskcookie reads and writes the cookies that a Flask application
// signs: the one that Flask keeps a whole session in, and Flask-Login's
// remember_token. What it makes, Flask 3.1 reads, and the other way round.
package flaskcookie

import (
	"errors"
	"time"

	"github.com/cutover-dev/cutover/internal/signed"
)

// What is wrong with a cookie that cannot be used.
var (
	// ErrInvalid is a cookie that no key of ours signed, or that Flask would
	// not have made.
	ErrInvalid = errors.New("the session cookie is not one of ours")
	// ErrExpired is one of ours that is too old, or from the future.
	ErrExpired = errors.New("the session cookie has expired")
)

// A browser keeps about 4 kB of a cookie. What is longer is no cookie, and what
// unpacks to more was made to do harm.
const (
	maxCookie  = 8 << 10
	maxSession = 128 << 10
)

// Codec reads and writes the session cookies of one application.
type Codec struct {
	signer *signed.Signer
	maxAge time.Duration
}

// New returns the codec of an application with this SECRET_KEY, these
// SECRET_KEY_FALLBACKS, and this PERMANENT_SESSION_LIFETIME, which Flask counts
// from the moment when it made the cookie.
func New(secret []byte, maxAge time.Duration, fallbacks ...[]byte) *Codec {
	return &Codec{signer: signed.New(signed.HMAC, "cookie-session", secret, fallbacks...), maxAge: maxAge}
}

// Cookie is what a session cookie says.
type Cookie struct {
	// Values are the session. See Decode for their types.
	Values map[string]any
	// Expires is when Flask stops to accept the cookie.
	Expires time.Time
	// Signed is the part that the signature protects: nobody but the
	// application can make another text that says the same.
	Signed string
}

// Decode reads a cookie. The values are nil, bool, int64, *big.Int, float64,
// string, []any, map[string]any, Tuple, Bytes, Markup, UUID and time.Time.
// Python's strings can hold half a character; such a string is in WTF-8.
func (c *Codec) Decode(cookie string, now time.Time) (Cookie, error) {
	if len(cookie) > maxCookie {
		return Cookie{}, ErrInvalid
	}
	found, err := c.signer.Check(cookie)
	if err != nil {
		return Cookie{}, ErrInvalid
	}
	if !found.Lives(c.maxAge, now) {
		return Cookie{}, ErrExpired
	}
	payload, err := found.Payload(maxSession)
	if err != nil {
		return Cookie{}, ErrInvalid
	}
	value, err := parse(payload)
	if err != nil {
		return Cookie{}, ErrInvalid
	}
	values, ok := value.(map[string]any)
	if !ok {
		return Cookie{}, ErrInvalid
	}
	return Cookie{Values: values, Expires: found.At.Add(c.maxAge), Signed: found.Text}, nil
}

// Encode makes a cookie of a session that holds the types that Decode lists
// (and int). Another type is an error.
func (c *Codec) Encode(values map[string]any, now time.Time) (string, error) {
	payload, err := appendValue(nil, values, 0)
	if err != nil {
		return "", err
	}
	return c.signer.Sign(payload, now), nil
}
