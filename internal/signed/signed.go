// Package signed makes and reads the signed, timed texts of Python's library
// itsdangerous (URLSafeTimedSerializer): reset links, and Flask's own cookies.
package signed

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// What is wrong with a text that cannot be trusted.
var (
	ErrInvalid = errors.New("the signature is not one of ours")
	ErrExpired = errors.New("the signature has expired")
)

// Derivation makes the key of one purpose, which the salt names, from a secret.
type Derivation func(secret []byte, salt string) []byte

// DjangoConcat is what itsdangerous does unless it is told otherwise.
func DjangoConcat(secret []byte, salt string) []byte {
	sum := sha1.Sum(slices.Concat([]byte(salt+"signer"), secret))
	return sum[:]
}

// HMAC is what Flask does for its cookies.
func HMAC(secret []byte, salt string) []byte {
	return mac(secret, []byte(salt))
}

// Signer signs for one purpose.
type Signer struct {
	keys      [][]byte  // the first one signs, all of them verify
	inflaters sync.Pool // of readers of zlib: making one costs more than a signature
}

// New returns a signer with the secret. What one of the fallbacks has signed is
// still accepted.
func New(derive Derivation, salt string, secret []byte, fallbacks ...[]byte) *Signer {
	s := &Signer{keys: [][]byte{derive(secret, salt)}}
	for _, fallback := range fallbacks {
		s.keys = append(s.keys, derive(fallback, salt))
	}
	return s
}

// Sign returns the payload with a time and a signature, fit for an address and
// for a cookie. It is compressed where that makes it shorter.
func (s *Signer) Sign(payload []byte, now time.Time) string {
	text := pack(payload) + "." + encode(bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), "\x00"))
	return text + "." + encode(mac(s.keys[0], []byte(text)))
}

// Verify returns the payload of a text that was signed at most maxAge ago.
func (s *Signer) Verify(text string, maxAge time.Duration, now time.Time) ([]byte, error) {
	found, err := s.Check(text)
	if err != nil {
		return nil, err
	}
	if !found.Lives(maxAge, now) {
		return nil, ErrExpired
	}
	return found.Payload(maxPayload)
}

// Check looks at a text's signature alone: its age and its content are still
// to be judged.
func (s *Signer) Check(text string) (Signed, error) {
	end := strings.LastIndexByte(text, '.')
	if end < 0 {
		return Signed{}, ErrInvalid
	}
	text, signature := text[:end], text[end+1:]
	if !s.signed(text, signature) {
		return Signed{}, ErrInvalid
	}
	end = strings.LastIndexByte(text, '.')
	if end < 0 {
		return Signed{}, ErrInvalid
	}
	at, err := decode(text[end+1:])
	if err != nil || len(at) > 7 {
		return Signed{}, ErrInvalid
	}
	var seconds int64
	for _, b := range at {
		seconds = seconds<<8 | int64(b)
	}
	return Signed{Text: text, At: time.Unix(seconds, 0), packed: text[:end], signer: s}, nil
}

// Signed is a text whose signature is one of ours.
type Signed struct {
	Text   string    // what was signed: payload and time
	At     time.Time // when, in whole seconds
	packed string
	signer *Signer
}

// Lives reports whether the text was signed at most maxAge ago, and not after
// now. It counts whole seconds, as Python does.
func (s Signed) Lives(maxAge time.Duration, now time.Time) bool {
	age := now.Unix() - s.At.Unix()
	return age >= 0 && age <= int64(maxAge.Seconds())
}

// Payload returns what was signed. One that becomes longer than limit bytes is
// ErrInvalid, found out without unpacking more of it.
func (s Signed) Payload(limit int) ([]byte, error) {
	packed, compressed := strings.CutPrefix(s.packed, ".")
	payload, err := decode(packed)
	if err != nil {
		return nil, ErrInvalid
	}
	if compressed {
		return s.signer.inflate(payload, limit)
	}
	if len(payload) > limit {
		return nil, ErrInvalid
	}
	return payload, nil
}

// Private

// maxPayload bounds what a compressed payload may become.
const maxPayload = 1 << 20

func (s *Signer) signed(text, signature string) bool {
	given, err := decode(signature)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(s.keys, func(key []byte) bool {
		return hmac.Equal(given, mac(key, []byte(text)))
	})
}

// pack writes a payload as Python does: compressed if that saves more than the
// dot that says so.
func pack(payload []byte) string {
	var compressed bytes.Buffer
	writer := zlib.NewWriter(&compressed)
	_, _ = writer.Write(payload) // into memory, which never fails
	_ = writer.Close()
	if compressed.Len() < len(payload)-1 {
		return "." + encode(compressed.Bytes())
	}
	return encode(payload)
}

func (s *Signer) inflate(compressed []byte, limit int) ([]byte, error) {
	source := bytes.NewReader(compressed)
	reader, ok := s.inflaters.Get().(io.ReadCloser)
	if ok {
		ok = reader.(zlib.Resetter).Reset(source, nil) == nil
	} else {
		var err error
		reader, err = zlib.NewReader(source)
		ok = err == nil
	}
	if !ok {
		return nil, ErrInvalid
	}
	defer s.inflaters.Put(reader)
	var payload bytes.Buffer
	payload.Grow(min(4*len(compressed), limit) + bytes.MinRead) // which is enough for most
	if n, err := payload.ReadFrom(io.LimitReader(reader, int64(limit)+1)); err != nil || n > int64(limit) {
		return nil, ErrInvalid
	}
	return payload.Bytes(), nil
}

func mac(key, text []byte) []byte {
	hash := hmac.New(sha1.New, key)
	_, _ = hash.Write(text) // never fails
	return hash.Sum(nil)
}

func encode(data []byte) string {
	return base64.RawURLEncoding.EncodeToString(data)
}

func decode(text string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(text)
}
