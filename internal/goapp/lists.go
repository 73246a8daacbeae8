package goapp

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

const (
	defaultPerPage = 20
	maxPerPage     = 100
)

// page is the part of a list that a query asks for.
type page struct {
	number, size int64
}

// readPage reads page and per_page.
func readPage(query url.Values) (page, error) {
	number, err := positive(query, "page", 1)
	if err != nil {
		return page{}, err
	}
	size, err := positive(query, "per_page", defaultPerPage)
	if err != nil || size > maxPerPage {
		return page{}, errBadPage
	}
	return page{number, size}, nil
}

func (p page) window() store.Window {
	return store.Window{Offset: (p.number - 1) * p.size, Limit: p.size}
}

// paging stands after every list in the API.
type paging struct {
	Page    int64 `json:"page"`
	PerPage int64 `json:"per_page"`
	Total   int64 `json:"total"`
	Pages   int64 `json:"pages"`
}

func (p page) of(total int64) paging {
	return paging{Page: p.number, PerPage: p.size, Total: total, Pages: max(1, (total+p.size-1)/p.size)}
}

// orEmpty makes a list that is [] in JSON, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func positive(query url.Values, name string, fallback int64) (int64, error) {
	if !query.Has(name) {
		return fallback, nil
	}
	// 32 bits are pages enough, and leave room to multiply.
	number, err := strconv.ParseUint(query.Get(name), 10, 31)
	if err != nil || number == 0 {
		return 0, errBadPage
	}
	return int64(number), nil
}

// slash leads from a list's address without its slash to the list.
func (s *Server) slash(r *http.Request) (answer, error) {
	location := r.Pattern + "/"
	if r.URL.RawQuery != "" {
		location += "?" + r.URL.RawQuery
	}
	return redirect(http.StatusPermanentRedirect, location), nil
}
