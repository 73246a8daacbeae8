package goapp

import (
	"net/http"
)

var (
	errBadNewPassword    = problem{http.StatusBadRequest, "A password has 8 to 1000 characters."}
	errNoCurrentPassword = problem{http.StatusBadRequest, "The current password is required."}
	errNotThePassword    = problem{http.StatusForbidden, "The current password is wrong."}
)

// changePassword is for who knows the current password, and for
// administrators who change somebody else's.
func (s *Server) changePassword(r *http.Request) (answer, error) {
	user, id, err := s.forSelfOrAdministrator(r)
	if err != nil {
		return answer{}, err
	}
	var current, wanted field[string]
	if err := readJSON(r, map[string]reader{"current_password": &current, "new_password": &wanted}); err != nil {
		return answer{}, err
	}
	own := id == user.ID
	switch {
	case !goodPassword(wanted.or("")):
		return answer{}, errBadNewPassword
	case own && current.or("") == "":
		return answer{}, errNoCurrentPassword
	case own && !s.passwords.match(user.PasswordHash, *current.value):
		return answer{}, errNotThePassword
	}
	if !own {
		if _, err := s.accounts.Account(r.Context(), id); err != nil { // before the time is spent on a hash
			return answer{}, err
		}
	}
	hash, err := hashPassword(wanted.or(""), s.settings.BcryptCost)
	if err != nil {
		return answer{}, err
	}
	if err := s.accounts.SetPassword(r.Context(), actor(r, user.ID), id, hash); err != nil {
		return answer{}, err
	}
	return success(nil)
}
