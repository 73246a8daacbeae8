package goapp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

var (
	errNoEmail = problem{http.StatusBadRequest, "An email address is required."}
	errBadLink = problem{http.StatusBadRequest, "The link is invalid or has expired."}
)

// resetSalt is the purpose of the signature in a reset link; the legacy system
// has the same.
const resetSalt = "password-reset"

// resetClaim is what a reset link says, and its signature proves. The hash is
// of the password that is to be replaced: so the link works once.
type resetClaim struct {
	Account int64  `json:"account"`
	Hash    string `json:"hash"`
}

func claimFor(user store.Account) resetClaim {
	sum := sha256.Sum256([]byte(user.PasswordHash))
	return resetClaim{Account: user.ID, Hash: hex.EncodeToString(sum[:8])}
}

// requestReset sends a link to whoever has the address, and does not tell
// whether anybody has.
func (s *Server) requestReset(r *http.Request) (answer, error) {
	email, err := readEmail(r)
	if err == nil && email == "" {
		err = errNoEmail
	}
	if errors.Is(err, errNoEmail) && fromPage(r) {
		return s.views.page(errNoEmail.status, "reset", resetView{Message: errNoEmail.message})
	}
	if err != nil {
		return answer{}, err
	}
	user, err := s.accounts.AccountByEmail(r.Context(), email)
	switch {
	case errors.Is(err, store.ErrNoAccount), err == nil && !user.Enabled:
	case err != nil:
		return answer{}, err
	default:
		if err := s.sendLink(r, user); err != nil {
			return answer{}, err
		}
	}
	if fromPage(r) {
		return redirect(http.StatusSeeOther, "/login?reset=sent"), nil
	}
	return success(nil)
}

func readEmail(r *http.Request) (string, error) {
	if fromPage(r) {
		form, err := readForm(r)
		return form.Get("email"), err
	}
	var email field[string]
	err := readJSON(r, map[string]reader{"email": &email})
	return email.or(""), err
}

func (s *Server) sendLink(r *http.Request, user store.Account) error {
	claim, err := json.Marshal(claimFor(user))
	if err != nil {
		return fmt.Errorf("the reset link could not be made: %w", err)
	}
	if err := s.accounts.NoteResetRequest(r.Context(), actor(r, 0), user.ID); err != nil {
		return err
	}
	if !mailable(user.Email) {
		s.log.WarnContext(r.Context(), "no mail can be sent to this account's address",
			"request_id", requestID(r.Context()), "account", user.ID)
		return nil
	}
	link := s.settings.PublicURL + resetPath + "/" + s.links.Sign(claim, time.Now())
	if err := s.mailer.send(r.Context(), resetMail(user, link, requestID(r.Context()))); err != nil {
		return unavailable{err}
	}
	return nil
}

// linkedAccount returns the account whose password the link in the path
// may change.
func (s *Server) linkedAccount(r *http.Request) (store.Account, error) {
	document, err := s.links.Verify(r.PathValue("token"), s.settings.ResetTTL, time.Now())
	var claim resetClaim
	if err != nil || json.Unmarshal(document, &claim) != nil {
		return store.Account{}, errBadLink
	}
	user, err := s.accounts.Account(r.Context(), claim.Account)
	switch {
	case errors.Is(err, store.ErrNoAccount), err == nil && (!user.Enabled || claimFor(user) != claim):
		return store.Account{}, errBadLink
	default:
		return user, err
	}
}

func (s *Server) linkPage(r *http.Request) (answer, error) {
	if _, err := s.linkedAccount(r); err != nil {
		return answer{}, err
	}
	return s.passwordForm(r, http.StatusOK, "")
}

func (s *Server) passwordForm(r *http.Request, status int, message string) (answer, error) {
	return s.views.page(status, "password", passwordView{
		Message: message,
		Action:  resetPath + "/" + r.PathValue("token"),
	})
}

// followLink sets the password that somebody with a link has chosen.
func (s *Server) followLink(r *http.Request) (answer, error) {
	user, err := s.linkedAccount(r)
	if err != nil {
		return answer{}, err
	}
	password, err := readNewPassword(r)
	if err == nil && !goodPassword(password) {
		err = errBadNewPassword
	}
	if errors.Is(err, errBadNewPassword) && fromPage(r) {
		return s.passwordForm(r, errBadNewPassword.status, errBadNewPassword.message)
	}
	if err != nil {
		return answer{}, err
	}
	hash, err := hashPassword(password, s.settings.BcryptCost)
	if err != nil {
		return answer{}, err
	}
	err = s.accounts.ResetPassword(r.Context(), actor(r, 0), user.ID, user.PasswordHash, hash)
	if errors.Is(err, store.ErrNoAccount) {
		return answer{}, errBadLink // somebody was quicker
	}
	if err != nil {
		return answer{}, err
	}
	if fromPage(r) {
		return redirect(http.StatusSeeOther, "/login?reset=done"), nil
	}
	return success(nil)
}

func readNewPassword(r *http.Request) (string, error) {
	if fromPage(r) {
		form, err := readForm(r)
		return form.Get("password"), err
	}
	var password field[string]
	err := readJSON(r, map[string]reader{"password": &password})
	return password.or(""), err
}
