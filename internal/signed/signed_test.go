package signed

import (
	"bytes"
	"compress/zlib"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Made by itsdangerous 2.2 at this moment, with this secret.
const (
	secret = "a secret of the tests"
	reset  = "eyJhY2NvdW50Ijo0MiwiaGFzaCI6IjAxMjM0NTY3ODlhYmNkZWYifQ.aVW5AA.pq9SxC5rZqolCFJsvCK7wTMwezo"
	zipped = ".eJyrVkpMTs4vzStRsjIx0lHKSCzOULJSMhgmQKkWAKrULNw.aVW5AA.UcxUwe4dqpPqGriP2pyO9tYuELs"
	cookie = "eyJfdXNlcl9pZCI6IjQyIiwiw6UiOnRydWV9.aVW5AA.ZyzNavYjs4AY2Zppu-Xw6cBikvo"
)

var moment = time.Unix(1767225600, 0)

func TestSigner_IsItsdangerous(t *testing.T) {
	links := New(DjangoConcat, "password-reset", []byte(secret))
	cookies := New(HMAC, "cookie-session", []byte(secret))
	const claim = `{"account":42,"hash":"0123456789abcdef"}`
	assert.Equal(t, reset, links.Sign([]byte(claim), moment))
	assert.Equal(t, cookie, cookies.Sign([]byte(`{"_user_id":"42","å":true}`), moment))

	for text, expected := range map[string]string{
		reset:  claim,
		zipped: `{"account":42,"hash":"` + strings.Repeat("0", 200) + `"}`,
	} {
		payload, err := links.Verify(text, time.Hour, moment)
		assert.NoError(t, err)
		assert.Equal(t, expected, string(payload))
	}
	payload, err := cookies.Verify(cookie, time.Hour, moment)
	assert.NoError(t, err)
	assert.Equal(t, `{"_user_id":"42","å":true}`, string(payload))
}

func TestSigner_Age(t *testing.T) {
	s := New(DjangoConcat, "password-reset", []byte(secret))
	for age, expected := range map[time.Duration]error{
		0: nil, time.Hour: nil, time.Hour + 900*time.Millisecond: nil, // Python counts whole seconds
		time.Hour + time.Second: ErrExpired, -time.Second: ErrExpired,
	} {
		_, err := s.Verify(reset, time.Hour, moment.Add(age))
		assert.Equal(t, expected, err, age)
	}
}

func TestSigner_Fallbacks(t *testing.T) {
	rotated := New(DjangoConcat, "password-reset", []byte("new"), []byte("older"), []byte(secret))
	_, err := rotated.Verify(reset, time.Hour, moment)
	assert.NoError(t, err)
	_, err = New(DjangoConcat, "password-reset", []byte(secret)).Verify(rotated.Sign(nil, moment), time.Hour, moment)
	assert.Equal(t, ErrInvalid, err, "only the new one signs")
}

func TestSigner_TrustsNothingElse(t *testing.T) {
	s := New(DjangoConcat, "password-reset", []byte(secret))
	signed := func(text string) string { return text + "." + encode(mac(s.keys[0], []byte(text))) }
	bomb := &bytes.Buffer{}
	writer := zlib.NewWriter(bomb)
	_, err := writer.Write(make([]byte, maxPayload+1))
	assert.NoError(t, err)
	assert.NoError(t, writer.Close())
	for name, text := range map[string]string{
		"empty": "", "dots": "..", "one part": "x", "another salt": cookie, "no signature": reset[:strings.LastIndexByte(reset, '.')],
		"changed payload": "f" + reset[1:], "changed time": strings.Replace(reset, "aVW5AA", "aVW5AB", 1), "not base64": reset + "!",
		"no time": signed("e30"), "time not base64": signed("e30.!"), "time too long": signed("e30.aVW5AAaVW5AAaVW5AA"),
		"payload not base64": signed("!.aVW5AA"), "not zlib": signed(".e30.aVW5AA"), "too large": signed("." + encode(bomb.Bytes()) + ".aVW5AA"),
	} {
		_, err := s.Verify(text, time.Hour, moment)
		assert.Equal(t, ErrInvalid, err, name)
	}
}
