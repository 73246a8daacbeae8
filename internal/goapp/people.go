package goapp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

// administrators is the circle whose members may do everything.
const administrators = "admin"

// member is who is logged in.
type member struct {
	store.Account
	circles []string
}

func (m member) administrator() bool { return m.in(administrators) }

func (m member) in(circle string) bool { return slices.Contains(m.circles, circle) }

// mayUse reports whether the member may do what belongs to a circle, or to
// everybody if there is none.
func (m member) mayUse(circle *string) bool {
	return circle == nil || m.in(*circle) || m.administrator()
}

// currentUser returns who is logged in, or errNotLoggedIn. A user who was
// disabled or deleted since the login is not.
func (s *Server) currentUser(r *http.Request) (store.Account, error) {
	id, ok := s.sessionUser(r.Context())
	if !ok {
		return store.Account{}, errNotLoggedIn
	}
	user, err := s.accounts.Account(r.Context(), id)
	switch {
	case errors.Is(err, store.ErrNoAccount), err == nil && !user.Enabled:
		return store.Account{}, errNotLoggedIn
	default:
		return user, err
	}
}

// sessionUser returns whose the session is.
func (s *Server) sessionUser(ctx context.Context) (int64, bool) {
	id, err := strconv.ParseUint(s.sessions.UserID(ctx), 10, 63)
	return int64(id), err == nil
}

// currentMember returns who is logged in and what they may do.
func (s *Server) currentMember(r *http.Request) (member, error) {
	user, err := s.currentUser(r)
	if err != nil {
		return member{}, err
	}
	circles, err := s.accounts.Circles(r.Context(), user.ID)
	return member{user, circles}, err
}

// unknownID is an id that no row has.
const unknownID = -1

// pathID reads the id in the path. One that is beyond all ids is like one that
// no row has.
func pathID(r *http.Request) (int64, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return unknownID, nil
	case err != nil:
		return 0, errNotFound
	}
	return int64(id), nil
}

// actor says who writes, for the audit trail.
func actor(r *http.Request, account int64) store.Actor {
	return store.Actor{RequestID: auditedID(r), AccountID: account}
}
