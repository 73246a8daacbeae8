package goapp

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseQuery_IsAsLenientAsTheLegacySystem(t *testing.T) {
	for query, expected := range map[string]url.Values{
		"q=a+b%20c&page=2":       {"q": {"a b c"}, "page": {"2"}},
		"q=a;b":                  {"q": {"a;b"}},
		"q=100%&x=%zz&y=%2&z=%%": {"q": {"100%"}, "x": {"%zz"}, "y": {"%2"}, "z": {"%%"}},
		"q=%ff":                  {"q": {"\uFFFD"}},
		"q=%C3%85&q=2":           {"q": {"Å", "2"}},
		"q":                      {"q": {""}},
		"a=b=c&%71=1":            {"a": {"b=c"}, "q": {"1"}},
	} {
		assert.Equal(t, expected, parseQuery(query), query)
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
