package goapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

// answer is a whole HTTP response. Handlers return it rather than write it,
// so that the session is saved before the first byte goes out.
type answer struct {
	status      int
	contentType string
	header      map[string]string
	body        []byte
}

func (a answer) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	for name, value := range a.header {
		header.Set(name, value)
	}
	if a.contentType != "" {
		header.Set("Content-Type", a.contentType)
	}
	header.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // fails only when the client has gone
}

// redirect has no body: nobody sees it.
func redirect(status int, to string) answer {
	return answer{status: status, header: map[string]string{"Location": location(to)}}
}

// unquoted are the characters, letters and digits aside, that an address may
// hold as they are. (The legacy system quotes the others, brackets too.)
const unquoted = "%!$&'()*+,/:;=@-._~?#"

// location writes an address as the legacy system does: what may not stand in
// it is quoted, and an empty query or fragment is left out.
func location(address string) string {
	address, fragment, _ := strings.Cut(address, "#")
	path, query, _ := strings.Cut(address, "?")
	var b strings.Builder
	for _, part := range []struct{ mark, text string }{{"", path}, {"?", query}, {"#", fragment}} {
		if part.text != "" {
			b.WriteString(part.mark)
		}
		for _, c := range []byte(part.text) {
			if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(unquoted, c) >= 0 {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
	}
	return b.String()
}

// envelope is the form of every answer under /api/.
type envelope struct {
	Status  string  `json:"status"`
	Data    any     `json:"data"`
	Message *string `json:"message"`
}

func success(data any) (answer, error) {
	return succeeded(http.StatusOK, data)
}

func succeeded(status int, data any) (answer, error) {
	return jsonAnswer(status, envelope{Status: "success", Data: data})
}

func jsonAnswer(status int, document any) (answer, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // no browser takes JSON for HTML
	if err := encoder.Encode(document); err != nil {
		return answer{}, fmt.Errorf("the answer could not be written as JSON: %w", err)
	}
	return answer{status: status, contentType: "application/json", body: body.Bytes()}, nil
}

// problem is an error that the client is told.
type problem struct {
	status  int
	message string
}

func (p problem) Error() string { return p.message }

// Message serves the view.
func (p problem) Message() string { return p.message }

var (
	errNotFound         = problem{http.StatusNotFound, "Not found."}
	errUserNotFound     = problem{http.StatusNotFound, "User not found."}
	errBadgeNotFound    = problem{http.StatusNotFound, "Badge not found."}
	errToolNotFound     = problem{http.StatusNotFound, "Tool not found."}
	errNotLoggedIn      = problem{http.StatusUnauthorized, "Authentication required."}
	errNotAllowed       = problem{http.StatusForbidden, "You are not allowed to do this."}
	errOtherSite        = problem{http.StatusForbidden, "This request came from another site."}
	errNotJSONObject    = problem{http.StatusBadRequest, "The request body must be a JSON object with fields of the right types."}
	errBadPage          = problem{http.StatusBadRequest, "page and per_page must be positive integers, per_page at most 100."}
	errMethodNotAllowed = problem{http.StatusMethodNotAllowed, "Method not allowed."}
	errTooLarge         = problem{http.StatusRequestEntityTooLarge, "The request body is too large."}
	errUnavailable      = problem{http.StatusServiceUnavailable, "Service temporarily unavailable."}
	errInternal         = problem{http.StatusInternalServerError, "Internal server error."}
)

// storeProblems is what the client is told of what the store found.
var storeProblems = map[error]problem{
	store.ErrNoAccount:     errUserNotFound,
	store.ErrNoBadge:       errBadgeNotFound,
	store.ErrNoTool:        errToolNotFound,
	store.ErrNoCircle:      errNoSuchCircle,
	store.ErrEmailTaken:    errEmailTaken,
	store.ErrTitleTaken:    errTitleTaken,
	store.ErrCheckedOut:    errCheckedOut,
	store.ErrNotCheckedOut: errNotCheckedOut,
	store.ErrUnavailable:   errUnavailable,
}

// unavailable marks an error as the fault of a server that is away.
type unavailable struct{ error }

func (u unavailable) Unwrap() error { return u.error }

// toProblem tells what of an error the client may know.
func toProblem(err error) problem {
	var known problem
	var away unavailable
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &away):
		return errUnavailable
	}
	for found, told := range storeProblems {
		if errors.Is(err, found) {
			return told
		}
	}
	return errInternal
}

// failed turns an error into an answer: JSON for the API, a fragment for
// htmx, a page for everyone else.
func (s *Server) failed(r *http.Request, err error) answer {
	p := toProblem(err)
	if p.status >= http.StatusInternalServerError {
		s.log.ErrorContext(r.Context(), "request failed", "request_id", requestID(r.Context()), "error", err.Error())
	}
	var a answer
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/") && !fromPage(r):
		a, err = jsonAnswer(p.status, envelope{Status: "error", Message: &p.message})
	case r.Header.Get("HX-Request") != "":
		a, err = s.views.fragment(p.status, "problem", p)
	default:
		a, err = s.views.page(p.status, "problem", p)
	}
	if err != nil {
		return answer{status: p.status, contentType: "text/plain; charset=utf-8", body: []byte(p.message)}
	}
	return a
}
