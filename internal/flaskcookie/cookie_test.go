package flaskcookie

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"math"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/signed"
)

const (
	month  = 31 * 24 * time.Hour
	secret = "a secret of the tests"
)

// Made by Flask 3.1.1 at this moment, with this secret.
const cookie = "eyJfdXNlcl9pZCI6IjQyIiwiw6UiOnRydWV9.aVW5AA.ZyzNavYjs4AY2Zppu-Xw6cBikvo"

var moment = time.Unix(1767225600, 0)

// sign makes a cookie of any text.
func sign(text string) string {
	return signed.New(signed.HMAC, "cookie-session", []byte(secret)).Sign([]byte(text), moment)
}

func TestDecode(t *testing.T) {
	got, err := New([]byte(secret), month).Decode(cookie, moment.Add(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"_user_id": "42", "å": true}, got.Values)
	assert.Equal(t, moment.Add(month), got.Expires)
	assert.Equal(t, cookie[:strings.LastIndexByte(cookie, '.')], got.Signed)
}

func TestDecode_EveryTag(t *testing.T) {
	text := `{"b":{" b":"AP8="},"d":{" d":"Thu, 01 Jan 2026 00:00:00 GMT"},"di":{" di":{" t__":[1]}},"m":{" m":"<b>"},` +
		`"t":{" t":[1,{" t":[]}]},"u":{" u":"00112233445566778899aabbccddeeff"}}`
	expected := map[string]any{
		"b": Bytes{0, 255}, "d": moment.UTC(), "di": map[string]any{" t": []any{int64(1)}}, "m": Markup("<b>"),
		"t": Tuple{int64(1), Tuple{}}, "u": UUID{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
	}
	got, err := New([]byte(secret), month).Decode(sign(text), moment)
	require.NoError(t, err)
	assert.Equal(t, expected, got.Values)
	again, err := appendValue(nil, expected, 0)
	require.NoError(t, err)
	assert.Equal(t, text, string(again))
	assert.Equal(t, "00112233-4455-6677-8899-aabbccddeeff", expected["u"].(UUID).String())
}

func TestDecode_WhatPythonTakesAndJSONDoesNot(t *testing.T) {
	for text, expected := range map[string]any{
		`NaN`: math.NaN(), `Infinity`: math.Inf(1), `-Infinity`: math.Inf(-1), `1e999`: math.Inf(1), `-0`: int64(0), `-0.0`: math.Copysign(0, -1),
		`18446744073709551616`: new(big.Int).Lsh(big.NewInt(1), 64), `"\ud800x"`: "\xed\xa0\x80x", `"\ud83d\ude00"`: "😀",
		`"\ud83dA"`: "\xed\xa0\xbdA", `"\b\f\n\r\t\/\"\\"`: "\b\f\n\r\t/\"\\", `{" d":"no date"}`: nil, `{" b":"A*A=="}`: Bytes{0},
		`{" u":"{00112233-4455-6677-8899-aabbccddeeff}"}`: UUID{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
		`[ ]`: []any{}, `{"a" : 1 , "a":2}`: map[string]any{"a": int64(2)}, `{" x":1}`: map[string]any{" x": int64(1)},
	} {
		got, err := New([]byte(secret), month).Decode(sign(`{"x":`+text+`}`), moment)
		require.NoError(t, err, text)
		if number, ok := expected.(float64); ok && math.IsNaN(number) {
			assert.True(t, math.IsNaN(got.Values["x"].(float64)))
			continue
		}
		assert.Equal(t, expected, got.Values["x"], text)
	}
}

func TestDecode_RefusesWhatFlaskRefuses(t *testing.T) {
	c := New([]byte(secret), month)
	for _, text := range []string{
		``, `null`, `[]`, `"x"`, `{`, `{"x":}`, `{"x":1,}`, `{"x":01}`, `{"x":1.}`, `{"x":.5}`, `{"x":1e}`, `{"x":+1}`, `{"x":-}`, `{"x":-inf}`,
		`{"x":tru}`, `{x:1}`, `{"x":1} y`, `{"x":"` + "\n" + `"}`, `{"x":"\x"}`, `{"x":"\u12g4"}`, `{"x":"`, `{"x":"\`, `{"x":"\u12`, "{\"x\":\"\xff\"}",
		`{"x":[1 2]}`, `{"x":{" t":1}}`, `{"x":{" b":"A"}}`, `{"x":{" b":1}}`, `{"x":{" u":"x"}}`, `{"x":{" di":[]}}`, `{"x":{" di":{}}}`,
		`{" t":[]}`, `{"x":` + strings.Repeat("1", maxDigits+1) + `}`, `{"x":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
		`{"x":"` + strings.Repeat("x", maxSession) + `"}`,
	} {
		_, err := c.Decode(sign(text), moment)
		assert.Equal(t, ErrInvalid, err, "%.60s", text)
	}
	for name, text := range map[string]string{
		"empty": "", "truncated": cookie[:len(cookie)-1], "half": cookie[:len(cookie)/2], "changed": "f" + cookie[1:], "another key": signed.New(signed.HMAC, "cookie-session", []byte("x")).Sign([]byte(`{}`), moment),
		"another salt": signed.New(signed.HMAC, "password-reset", []byte(secret)).Sign([]byte(`{}`), moment), "too long": strings.Repeat("x", maxCookie+1),
	} {
		_, err := c.Decode(text, moment)
		assert.Equal(t, ErrInvalid, err, name)
	}
}

func TestDecode_AgeLimit(t *testing.T) {
	c := New([]byte(secret), time.Hour)
	for age, expected := range map[time.Duration]error{
		0: nil, time.Hour: nil, time.Hour + time.Second: ErrExpired, -time.Second: ErrExpired,
	} {
		_, err := c.Decode(cookie, moment.Add(age))
		assert.Equal(t, expected, err, age)
	}
}

func TestDecode_Fallbacks(t *testing.T) {
	rotated := New([]byte("new"), month, []byte("older"), []byte(secret))
	_, err := rotated.Decode(cookie, moment)
	assert.NoError(t, err)
	made, err := rotated.Encode(map[string]any{}, moment)
	require.NoError(t, err)
	_, err = New([]byte(secret), month).Decode(made, moment)
	assert.Equal(t, ErrInvalid, err, "only the new key signs")
}

// bomb is a cookie that we signed and that would unpack to size zeros.
func bomb(t *testing.T, size, level int) string {
	t.Helper()
	var packed bytes.Buffer
	writer, err := zlib.NewWriterLevel(&packed, level)
	require.NoError(t, err)
	_, err = writer.Write(make([]byte, size))
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	return signAsIs("." + base64.RawURLEncoding.EncodeToString(packed.Bytes()))
}

// signAsIs signs a payload that is packed already.
func signAsIs(packed string) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := packed + "." + encode([]byte{byte(moment.Unix() >> 24), byte(moment.Unix() >> 16), byte(moment.Unix() >> 8), byte(moment.Unix())})
	mac := hmac.New(sha1.New, signed.HMAC([]byte(secret), "cookie-session"))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

func TestDecode_ZipBombs(t *testing.T) {
	c := New([]byte(secret), month)
	for name, text := range map[string]string{
		"100 MB": bomb(t, 100<<20, zlib.BestSpeed), "as large as a cookie can carry": bomb(t, 5<<20, zlib.BestCompression),
	} {
		fastest, least := time.Hour, uint64(1<<40)
		for range 10 { // the machine may be busy with other work
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			_, err := c.Decode(text, moment)
			fastest = min(fastest, time.Since(begin))
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
			assert.Equal(t, ErrInvalid, err)
		}
		assert.Less(t, fastest, 10*time.Millisecond, name)
		assert.Less(t, least, uint64(1<<20), name)
		t.Logf("%s (%d bytes): %s, %d kB", name, len(text), fastest, least>>10)
	}
}

func TestEncode_RefusesWhatFlaskCannotHold(t *testing.T) {
	_, err := New(nil, 0).Encode(map[string]any{"x": []any{struct{}{}}}, moment)
	assert.EqualError(t, err, "a session cookie cannot hold a struct {}")
	var deep any
	for range 600 {
		deep = []any{deep}
	}
	_, err = New(nil, 0).Encode(map[string]any{"x": deep}, moment)
	assert.ErrorContains(t, err, "nested")
}

// values are the sessions that there can be.
func values(depth int) *rapid.Generator[any] {
	simple := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.String().AsAny(),
		rapid.Float64().AsAny(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return Bytes(append([]byte{}, b...)) }),
		rapid.Map(rapid.String(), func(s string) any { return Markup(s) }),
		rapid.Map(rapid.Int64Range(0, 1<<33), func(s int64) any { return time.Unix(s, 0).UTC() }),
		rapid.Custom(func(t *rapid.T) any { return UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid")) }),
	}
	if depth == 0 {
		return rapid.OneOf(simple...)
	}
	names := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{tagDict, tagTuple, tagBytes, tagMarkup, tagUUID, tagTime, " di__"}))
	return rapid.OneOf(append(simple,
		rapid.Map(rapid.SliceOfN(values(depth-1), 0, 3), func(v []any) any { return append([]any{}, v...) }),
		rapid.Map(rapid.SliceOfN(values(depth-1), 0, 3), func(v []any) any { return append(Tuple{}, v...) }),
		rapid.MapOfN(names, values(depth-1), 0, 3).AsAny())...)
}

func TestRoundTrip(t *testing.T) {
	c := New([]byte(secret), month)
	rapid.Check(t, func(t *rapid.T) {
		session := map[string]any{"x": values(3).Draw(t, "value")}
		text, err := c.Encode(session, moment)
		require.NoError(t, err)
		got, err := c.Decode(text, moment)
		require.NoError(t, err)
		assert.Equal(t, session, got.Values)
	})
}

// FuzzDecode feeds both the cookie as it comes and, signed, what is in it:
// whatever can be decoded is written and read again as the same.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{cookie, `{"x":{" t":[1,"å"]}}`, `{"x":NaN,"y":{" b":"AP8="}}`, `{"\ud800":{" d":"Thu, 01 Jan 2026 00:00:00 GMT"}}`, `{" di":{" t__":[]}}`} {
		f.Add(text)
	}
	c := New([]byte(secret), month)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := c.Decode(text, moment); err == nil && !strings.HasSuffix(cookie, text[strings.LastIndexByte(text, '.'):]) {
			t.Fatalf("forged: %q", text)
		}
		for _, packed := range []string{base64.RawURLEncoding.EncodeToString([]byte(text)), text} {
			got, err := c.Decode(signAsIs(packed), moment)
			if err != nil {
				continue
			}
			again, err := c.Encode(got.Values, moment)
			if err != nil {
				t.Fatalf("%q cannot be written: %v", text, err)
			}
			reread, err := c.Decode(again, moment)
			if len(again) > maxCookie && err != nil {
				continue
			}
			if err != nil {
				t.Fatalf("%q became %q: %v", text, again, err)
			}
			first, _ := appendValue(nil, got.Values, 0)
			second, _ := appendValue(nil, reread.Values, 0)
			if !bytes.Equal(first, second) {
				t.Fatalf("%q: %s became %s", text, first, second)
			}
		}
	})
}

func TestRemember(t *testing.T) {
	// Made by Flask-Login 0.6.3.
	token := Remember([]byte(secret), "42")
	assert.Equal(t, "42|e16f4a07da9439cdab68084d8098b7c0978481aa4ee5c8d66e7aa2fca064ca0bb46d1d805464982baec76032166db1a66164b3e5f54aabd0b050971947552fc9", token)
	assert.Equal(t, "42", Remembered([]byte(secret), token))
	for _, bad := range []string{"", "42", "42|", "43" + token[2:], token + "0", token[:len(token)-1], strings.ToUpper(token), "|", strings.Repeat("x", maxCookie) + token} {
		assert.Empty(t, Remembered([]byte(secret), bad), bad)
	}
	assert.Empty(t, Remembered([]byte("another"), token))
}

func BenchmarkDecode(b *testing.B) {
	c := New([]byte(secret), month)
	text, err := c.Encode(map[string]any{
		"_user_id": "4711", "_fresh": true, "_permanent": true, "_id": strings.Repeat("0123456789abcdef", 8),
		"_flashes": []any{Tuple{"message", "Welcome back, Kåre"}}, "csrf_token": "c2f0a0b4e8",
	}, moment)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(text, moment); err != nil {
			b.Fatal(err)
		}
	}
}
