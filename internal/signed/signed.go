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
	keys [][]byte // the first one signs, all of them verify
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

// Sign returns the payload with a time and a signature, fit for an address.
func (s *Signer) Sign(payload []byte, now time.Time) string {
	text := encode(payload) + "." + encode(bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), "\x00"))
	return text + "." + encode(mac(s.keys[0], []byte(text)))
}

// Verify returns the payload of a text that was signed at most maxAge ago.
func (s *Signer) Verify(text string, maxAge time.Duration, now time.Time) ([]byte, error) {
	end := strings.LastIndexByte(text, '.')
	if end < 0 {
		return nil, ErrInvalid
	}
	text, signature := text[:end], text[end+1:]
	if !s.signed(text, signature) {
		return nil, ErrInvalid
	}
	end = strings.LastIndexByte(text, '.')
	if end < 0 {
		return nil, ErrInvalid
	}
	at, err := decode(text[end+1:])
	if err != nil || len(at) > 7 {
		return nil, ErrInvalid
	}
	var seconds int64
	for _, b := range at {
		seconds = seconds<<8 | int64(b)
	}
	if age := now.Unix() - seconds; age < 0 || age > int64(maxAge.Seconds()) {
		return nil, ErrExpired
	}
	return unpack(text[:end])
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

// unpack reads a payload, which Python compresses where that makes it shorter.
func unpack(text string) ([]byte, error) {
	packed, compressed := strings.CutPrefix(text, ".")
	payload, err := decode(packed)
	if err != nil {
		return nil, ErrInvalid
	}
	if !compressed {
		return payload, nil
	}
	reader, err := zlib.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, ErrInvalid
	}
	payload, err = io.ReadAll(io.LimitReader(reader, maxPayload+1))
	if err != nil || len(payload) > maxPayload {
		return nil, ErrInvalid
	}
	return payload, nil
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
