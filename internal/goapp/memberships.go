package goapp

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

var errBadAccountID = problem{http.StatusBadRequest, "account_id must be a positive integer."}

// memberships finds what members pay for.
type memberships interface {
	Memberships(ctx context.Context, account *int64, part store.Window) ([]store.Membership, int64, error)
}

type membershipsData struct {
	Memberships []store.Membership `json:"memberships"`
	paging
}

// listMemberships shows members their own, and administrators everybody's.
func (s *Server) listMemberships(r *http.Request) (answer, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return answer{}, err
	}
	query := parseQuery(r.URL.RawQuery)
	account, err := readAccountID(query)
	if err != nil {
		return answer{}, err
	}
	if !user.administrator() {
		if account != nil && *account != user.ID {
			return answer{}, errNotAllowed
		}
		account = &user.ID
	}
	page, err := readPage(query)
	if err != nil {
		return answer{}, err
	}
	found, total, err := s.memberships.Memberships(r.Context(), account, page.window())
	if err != nil {
		return answer{}, err
	}
	return success(membershipsData{orEmpty(found), page.of(total)})
}

func readAccountID(query url.Values) (*int64, error) {
	if !query.Has("account_id") {
		return nil, nil
	}
	number, err := strconv.ParseUint(query.Get("account_id"), 10, 63)
	if err != nil || number == 0 {
		return nil, errBadAccountID
	}
	id := int64(number)
	return &id, nil
}
