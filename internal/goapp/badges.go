package goapp

import (
	"context"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

var (
	errBadTitle       = problem{http.StatusBadRequest, "The title is not valid."}
	errBadDescription = problem{http.StatusBadRequest, "The description is not valid."}
	errNoSuchCircle   = problem{http.StatusBadRequest, "There is no such circle."}
	errTitleTaken     = problem{http.StatusConflict, "The title is taken."}
	errNoAwardee      = problem{http.StatusBadRequest, "The account is required."}
)

// badges finds, makes and awards badges.
type badges interface {
	Badges(ctx context.Context, part store.Window) ([]store.Badge, int64, error)
	Badge(ctx context.Context, id int64) (store.Badge, error)
	CreateBadge(ctx context.Context, by store.Actor, title string, description *string, circle *int64) (store.Badge, error)
	AwardBadge(ctx context.Context, by store.Actor, badge, account int64) (store.Award, error)
	Awards(ctx context.Context, account, limit int64) ([]store.Award, error)
}

type badgesData struct {
	Badges []store.Badge `json:"badges"`
	paging
}

func (s *Server) listBadges(r *http.Request) (answer, error) {
	if _, err := s.currentUser(r); err != nil {
		return answer{}, err
	}
	page, err := readPage(parseQuery(r.URL.RawQuery))
	if err != nil {
		return answer{}, err
	}
	found, total, err := s.badges.Badges(r.Context(), page.window())
	if err != nil {
		return answer{}, err
	}
	return success(badgesData{orEmpty(found), page.of(total)})
}

type badgeData struct {
	Badge store.Badge `json:"badge"`
}

const (
	maxTitle       = 100
	maxDescription = 2000
)

func (s *Server) createBadge(r *http.Request) (answer, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return answer{}, err
	}
	if !user.administrator() {
		return answer{}, errNotAllowed
	}
	title, description, circle := field[string]{}, field[string]{nullable: true}, field[int64]{nullable: true}
	if err := readJSON(r, map[string]reader{"title": &title, "description": &description, "circle_id": &circle}); err != nil {
		return answer{}, err
	}
	trimmed := strings.Trim(title.or(""), " ")
	switch {
	case trimmed == "" || utf8.RuneCountInString(trimmed) > maxTitle || hasControls(trimmed):
		return answer{}, errBadTitle
	case utf8.RuneCountInString(description.or("")) > maxDescription || strings.ContainsRune(description.or(""), 0):
		return answer{}, errBadDescription
	}
	created, err := s.badges.CreateBadge(r.Context(), actor(r, user.ID), trimmed, description.value, circle.value)
	if err != nil {
		return answer{}, err
	}
	return succeeded(http.StatusCreated, badgeData{created})
}

type awardData struct {
	Award store.Award `json:"award"`
}

func (s *Server) awardBadge(r *http.Request) (answer, error) {
	user, err := s.currentMember(r)
	if err != nil {
		return answer{}, err
	}
	id, err := pathID(r)
	if err != nil {
		return answer{}, err
	}
	var account field[int64]
	if err := readJSON(r, map[string]reader{"account_id": &account}); err != nil {
		return answer{}, err
	}
	if !account.given {
		return answer{}, errNoAwardee
	}
	badge, err := s.badges.Badge(r.Context(), id)
	if err != nil {
		return answer{}, err
	}
	if _, err := s.accounts.Account(r.Context(), *account.value); err != nil {
		return answer{}, err
	}
	if !user.mayUse(badge.Circle) {
		return answer{}, errNotAllowed
	}
	made, err := s.badges.AwardBadge(r.Context(), actor(r, user.ID), badge.ID, *account.value)
	if err != nil {
		return answer{}, err
	}
	return succeeded(http.StatusCreated, awardData{made})
}
