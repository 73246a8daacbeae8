package goapp

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseQuery_IsAsLenientAsTheLegacySystem(t *testing.T) {
	for query, expected := range map[string]url.Values{
		"q=a+b%20c&page=2":       {"q": {"a b c"}, "page": {"2"}},
		"q=a;b":                  {"q": {"a;b"}},
		"q=100%&x=%zz&y=%2&z=%%": {"q": {"100%"}, "x": {"%zz"}, "y": {"%2"}, "z": {"%%"}},
		"q=%ff":                  {"q": {"%FF"}},
		"q=\xff%c3x%C3%A5":       {"q": {"%FF%C3xå"}},
		"q=%C3%85&q=2":           {"q": {"Å", "2"}},
		"q":                      {"q": {""}},
		"a=b=c&%71=1":            {"a": {"b=c"}, "q": {"1"}},
	} {
		assert.Equal(t, expected, parseQuery(query), query)
	}
}

func TestReadForm_IsAsLenientAsTheLegacySystem(t *testing.T) {
	const partsOfX = "multipart/form-data; boundary=x"
	part := func(head, value string) string { return "--x\r\n" + head + "\r\n\r\n" + value + "\r\n" }
	const disposition = `Content-Disposition: form-data; name="a"`
	for _, test := range []struct {
		kind, body string
		expected   url.Values
	}{
		{urlencoded, "a=1&a=2", url.Values{"a": {"1", "2"}}},
		{urlencoded, "a=1&b=\xff", url.Values{}},
		{partsOfX, part(disposition, "1") + part(disposition, "2") + "--x--", url.Values{"a": {"1", "2"}}},
		{partsOfX, part(disposition, "1") + "--y--", url.Values{}},
		{partsOfX, part(disposition, "1") + "--x", url.Values{}},
		{partsOfX, part(disposition, "\xff") + "--x--", url.Values{"a": {"\uFFFD"}}},
		{partsOfX, part(disposition+"\r\nContent-Transfer-Encoding: quoted-printable", "=31") + "--x--", url.Values{"a": {"=31"}}},
		{partsOfX, part(disposition+`; filename=""`, "1") + "--x--", url.Values{}},
		{partsOfX, part(`Content-Disposition: attachment; name="a"`, "1") + "--x--", url.Values{"a": {"1"}}},
		{"multipart/form-data", part(disposition, "1") + "--x--", url.Values{}},
		{"multipart/form-data; boundary=x; boundary=y", part(disposition, "1") + "--x--", url.Values{}},
	} {
		r := httptest.NewRequest(http.MethodPost, loginPath, strings.NewReader(test.body))
		r.Header.Add("Content-Type", "text/plain")
		r.Header.Add("Content-Type", test.kind)
		form, err := readForm(r)
		assert.NoError(t, err)
		assert.Equal(t, test.expected, form, "%s: %q", test.kind, test.body)
	}

	r := httptest.NewRequest(http.MethodPost, loginPath, strings.NewReader(strings.Repeat(part(disposition, ""), maxParts+1)+"--x--"))
	r.Header.Set("Content-Type", partsOfX)
	_, err := readForm(r)
	assert.ErrorIs(t, err, errTooLarge)
}

func TestLocation_IsQuotedLikeTheLegacySystems(t *testing.T) {
	for address, expected := range map[string]string{
		"/users?q=a%20b&x=[1]#top": "/users?q=a%20b&x=%5B1%5D#top",
		"/\"<>\\^`{|}":             "/%22%3C%3E%5C%5E%60%7B%7C%7D",
		"/a?b?c=/d:e@f#g#h?i":      "/a?b?c=/d:e@f#g#h?i",
		"/a?":                      "/a",
		"/a?#":                     "/a",
		"/a?#b":                    "/a#b",
		"/?q=\xff":                 "/?q=%FF",
	} {
		assert.Equal(t, expected, location(address))
	}
}

func TestLocalPath_LeadsNowhereElse(t *testing.T) {
	for path, expected := range map[string]string{
		"/users?q=1#top": "/users?q=1#top",
		"/":              "/",
		"":               "/dashboard",
		"dashboard":      "/dashboard",
		"//evil.example": "/dashboard",
		`/\evil.example`: "/dashboard",
		"/\t/evil":       "/dashboard",
		"/a b":           "/dashboard",
		"/a\n":           "/dashboard",
		"/søk":           "/dashboard",
		"https://evil":   "/dashboard",
	} {
		assert.Equal(t, expected, localPath(path), "%q", path)
	}
}
