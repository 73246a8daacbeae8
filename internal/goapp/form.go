package goapp

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxBody is the largest body that is read; nothing here needs more.
const maxBody = 64 << 10

const (
	urlencoded = "application/x-www-form-urlencoded"
	inParts    = "multipart/form-data"
)

// contentType is what the body is said to be; of several the last one counts,
// as in the legacy system.
func contentType(r *http.Request) string {
	values := r.Header.Values("Content-Type")
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// mediaType is the content type without its parameters, right or wrong.
func mediaType(r *http.Request) string {
	kind, _, _ := strings.Cut(contentType(r), ";")
	return strings.ToLower(strings.TrimSpace(kind))
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
		return slices.Contains(formPaths, r.Pattern) && (kind == urlencoded || kind == inParts)
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
	switch {
	case mediaType(r) == inParts:
		return readParts(body, contentType(r))
	case !utf8.Valid(body):
		return url.Values{}, nil // what a malformed form lacks is missed later
	}
	return parseQuery(string(body)), nil
}

// maxParts is the legacy system's limit.
const maxParts = 1000

// readParts reads a multipart form as the legacy system does: parts are as they
// are, whatever encoding they name, files are left out, and a malformed form
// has no values.
func readParts(body []byte, contentType string) (url.Values, error) {
	_, parameters, _ := mime.ParseMediaType(contentType) // none if malformed
	reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	values := url.Values{}
	for count := 0; ; count++ {
		part, err := reader.NextRawPart()
		switch {
		case err == io.EOF: // not errors.Is: what breaks off before its end wraps it
			return values, nil
		case err != nil:
			return url.Values{}, nil
		case count == maxParts:
			return nil, errTooLarge
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return url.Values{}, nil
		}
		_, named, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if _, file := named["filename"]; !file {
			values.Add(named["name"], strings.ToValidUTF8(string(value), "\uFFFD"))
		}
	}
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
	return quoteInvalid(b.String())
}

// quoteInvalid leaves bytes that are not UTF-8 as they were escaped.
func quoteInvalid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		char, size := utf8.DecodeRuneInString(text)
		if char == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, "%%%02X", text[0])
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}
