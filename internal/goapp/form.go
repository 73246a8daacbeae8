package goapp

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxBody is the largest body that is read; nothing here needs more.
const maxBody = 64 << 10

const (
	urlencoded = "application/x-www-form-urlencoded"
	multipart  = "multipart/form-data"
)

func mediaType(r *http.Request) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // "" if malformed
	return kind
}

// The forms of the pages go to the API, as the legacy system's do.
const (
	loginPath    = "/api/auth/login"
	logoutPath   = "/api/auth/logout"
	resetPath    = "/api/auth/reset"
	linkPath     = "/api/auth/reset/{token}"
	checkoutPath = "/api/tools/{id}/checkout"
	checkinPath  = "/api/tools/{id}/checkin"
)

var formPaths = []string{loginPath, logoutPath, resetPath, linkPath, checkoutPath, checkinPath}

// fromPage reports whether a form of a page sent the request: it is answered
// with a page. So is who follows the link in a mail.
func fromPage(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost:
		kind := mediaType(r)
		return slices.Contains(formPaths, r.Pattern) && (kind == urlencoded || kind == multipart)
	case http.MethodGet, http.MethodHead:
		return r.Pattern == linkPath
	default:
		return false
	}
}

// readForm returns what a form sent.
func readForm(r *http.Request) (url.Values, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if mediaType(r) == multipart {
		r.Body = io.NopCloser(bytes.NewReader(body))
		_ = r.ParseMultipartForm(maxBody) // what a malformed form lacks is missed later
		return r.PostForm, nil
	}
	return parseQuery(string(body)), nil
}

// readJSON reads the wanted fields of the request's body.
func readJSON(r *http.Request, wanted map[string]reader) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if readObject(body, wanted) != nil {
		return errNotJSONObject
	}
	return nil
}

// parseQuery reads a query or a form as the legacy system does, and browsers
// write them: a semicolon, or a percent sign that escapes nothing, is a
// character like any other. (net/url drops the whole pair.)
func parseQuery(query string) url.Values {
	values := url.Values{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		values.Add(unescape(name), unescape(value))
	}
	return values
}

func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '+':
			b.WriteByte(' ')
		case '%':
			if plain, err := url.PathUnescape(text[i:min(i+3, len(text))]); err == nil {
				b.WriteString(plain)
				i += 2
				continue
			}
			b.WriteByte('%')
		default:
			b.WriteByte(text[i])
		}
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}
