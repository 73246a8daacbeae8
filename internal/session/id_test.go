package session

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestValidID(t *testing.T) {
	assert.True(t, ValidID("iynxXUbT-CSdEiQvkqKucOL0rOx9IfOi5diiCcVpp_E"))
	for _, id := range []string{"", "test_session", strings.Repeat("a", 42), strings.Repeat("a", 44), strings.Repeat("a", 42) + ":", strings.Repeat("a", 43) + "\n"} {
		assert.False(t, ValidID(id), "%q", id)
	}
}

// The expected values were computed by Flask-Login 0.6.3.
func TestIdentifier_IsFlaskLogins(t *testing.T) {
	for _, test := range []struct {
		name     string
		header   http.Header
		peer     string
		expected string
	}{
		{
			"no user agent", http.Header{}, "127.0.0.1:4711",
			"656d8f867997c2a40397700861e67a333b935d82576d85577e2da5109fbf90ba7d035f50908ba54969f8b60c156c4a762615d025942cb19ae24d329b88d388db",
		}, {
			"peer address", http.Header{"User-Agent": {"curl/8.0"}}, "10.0.0.1:4711",
			"3a3e45f8da8003ae1bae0a8a05a27199c00446c995077376c236b9cb27ae5fc52c335b6b134dab15cda1c619bec8a05a01d01a0baa04957beec92658d0673a0e",
		}, {
			"first of the forwarded addresses, apostrophe",
			http.Header{"User-Agent": {"it's"}, "X-Forwarded-For": {" 1.2.3.4 , 5.6.7.8"}}, "10.0.0.1:4711",
			"135de7d1d0d3615858b55deeefb19d6545bb34090f05f1303142311520a31ee0c6c2ac28a5f8adea007ba6ac411f28cd390d9149d7127e0620d91f50c93895c7",
		}, {
			"both quotes, backslash, tab, control character",
			http.Header{"User-Agent": {"it's \"q\" \\ \t\x7f"}, "X-Forwarded-For": {"2001:db8::1"}}, "10.0.0.1:4711",
			"d9faa4695fae241153fbc74934980a32a006386a066117deb841ccc499a057dffd605ef74be40a5f95faf93777d06abf087c62ea07e8e651d024436428590f67",
		}, {
			"bytes beyond ASCII, empty forwarded address",
			http.Header{"User-Agent": {"bl\xe5b\xc3\xa6r"}, "X-Forwarded-For": {""}}, "10.0.0.1:4711",
			"3913198204ad54338d7b49d666b9e0c4e52ed31ec2aba6e8351f7efc68e1b3c15aa152b2fc426e09ca3290b1da2b0a00bf1e9b764935bfc71095ed3fe996332d",
		}, {
			"empty user agent, IPv6 peer", http.Header{"User-Agent": {""}}, "[::1]:4711",
			"9671108a7d3b2758e68f4d993956ed3c8f7fe29d4b96e36e5c35adb9c98612bb2c3642bea56887ac96c1b679f01b843bcac353b65f5847e35bb610d4bf66bf6d",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header, r.RemoteAddr = test.header, test.peer
			assert.Equal(t, test.expected, Identifier(r))
		})
	}
}
