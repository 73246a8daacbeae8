package goapp

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const typesMessage = "The request body must be a JSON object with fields of the right types."

func TestUpdateUser(t *testing.T) {
	const self, other = "/api/users/2", "/api/users/1"
	for _, test := range []struct {
		user, path, body string
		status           int
		message          string // or the user, of a success
		written          string
	}{
		{"", self, `{}`, 401, "Authentication required.", ""},
		{"", "/api/users/x", `{}`, 401, "Authentication required.", ""},
		{"bob", "/api/users/x", `{}`, 404, "Not found.", ""},
		{"bob", other, `nonsense`, 403, "You are not allowed to do this.", ""},
		{"bob", "/api/users/99999999999999999999", `{}`, 403, "You are not allowed to do this.", ""},
		{"ada", "/api/users/99999999999999999999", `x`, 400, typesMessage, ""},
		{"ada", "/api/users/99999999999999999999", `{}`, 404, "User not found.", ""},
		{"ada", "/api/users/99", `{"name":"x"}`, 404, "User not found.", ""},
		{"bob", self, `{"name":"` + strings.Repeat("x", maxBody) + `"}`, 413, "The request body is too large.", ""},
		{"bob", self, ``, 400, typesMessage, ""},
		{"bob", self, `[]`, 400, typesMessage, ""},
		{"bob", self, `{"name":1}`, 400, typesMessage, ""},
		{"bob", self, `{"email":null}`, 400, typesMessage, ""},
		{"bob", self, `{"enabled":null}`, 400, typesMessage, ""},
		{"bob", self, `{"enabled":1}`, 400, typesMessage, ""},
		{"bob", self, `{"enabled":"true"}`, 400, typesMessage, ""},
		{"bob", self, `{"name":"\ud800"}`, 400, typesMessage, ""},
		{"bob", self, `{"name":1,"name":"x"}`, 400, typesMessage, ""},
		{"bob", self, `{"enabled":true,"name":"\u0000"}`, 403, "You are not allowed to do this.", ""},
		{"bob", self, `{"name":"` + strings.Repeat("å", 201) + `"}`, 400, "The name is not valid.", ""},
		{"bob", self, `{"name":"a\tb"}`, 400, "The name is not valid.", ""},
		{"bob", self, `{"name":"\u0000"}`, 400, "The name is not valid.", ""},
		{"bob", self, `{"name":"\u007f"}`, 400, "The name is not valid.", ""},
		{"bob", self, `{"email":""}`, 400, "The email address is not valid.", ""},
		{"bob", self, `{"email":"a@"}`, 400, "The email address is not valid.", ""},
		{"bob", self, `{"email":"a@b@c"}`, 400, "The email address is not valid.", ""},
		{"bob", self, `{"email":"a b@c"}`, 400, "The email address is not valid.", ""},
		{"bob", self, `{"email":"a@b\n"}`, 400, "The email address is not valid.", ""},
		{"bob", self, `{"email":"å@b"}`, 400, "The email address is not valid.", ""},
		{"bob", self, `{"email":"a@` + strings.Repeat("b", 253) + `"}`, 400, "The email address is not valid.", ""},
		{"bob", self, `{"email":"ADA@example.com"}`, 409, "The email address is taken.", ""},

		{"bob", self, `{}`, 200, userBob, ""},
		{"bob", self, `{"other":[1,{"enabled":1}]}`, 200, userBob, ""},
		{"bob", self, `{"name":null}`, 200, userBob, "rid 2 account.update [2 [name]]"},
		{"bob", self, `{"name":""}`, 200, strings.Replace(userBob, "null", `""`, 1), "rid 2 account.update [2 [name]]"},
		{"bob", self, `{"name":"` + strings.Repeat("å", 200) + `"}`, 200, strings.Replace(userBob, "null", `"`+strings.Repeat("å", 200)+`"`, 1), "rid 2 account.update [2 [name]]"},
		{"bob", self, `{"email":"Bob@example.com","name":"x"}`, 200,
			`{"id":2,"username":"bob","email":"Bob@example.com","name":"x","enabled":true,"created_at":null}`, "rid 2 account.update [2 [email name]]"},
		{"ada", self, `{"enabled":false}`, 200, strings.Replace(userBob, "true", "false", 1), "rid 1 account.update [2 [enabled]]"},
	} {
		t.Run(test.user+" "+test.body[:min(40, len(test.body))], func(t *testing.T) {
			a := newApp(t)
			if test.user != "" {
				a.login(test.user)
			}
			a.records.written = nil
			w := a.ask(http.MethodPut, test.path, test.body, "X-Request-ID", "rid")
			if test.status == http.StatusOK {
				assertSuccess(t, w, `{"user":`+test.message+`}`)
			} else {
				assertError(t, w, test.status, test.message)
			}
			assert.Equal(t, test.written, strings.Join(a.records.written, "; "))
		})
	}
}

func TestChangePassword(t *testing.T) {
	const self, other = "/api/users/2/password", "/api/users/1/password"
	const rule = "A password has 8 to 1000 characters."
	const forbidden = "You are not allowed to do this."
	for _, test := range []struct {
		user, path, body string
		status           int
		message          string
	}{
		{"", self, `{}`, 401, "Authentication required."},
		{"bob", "/api/users/x/password", `{}`, 404, "Not found."},
		{"bob", other, `{}`, 403, forbidden},
		{"bob", self, `{"current_password":"rehearsal","new_password":1}`, 400, typesMessage},
		{"bob", self, `{"current_password":null,"new_password":"longer than 8"}`, 400, typesMessage},
		{"bob", self, `{"current_password":"wrong"}`, 400, rule},
		{"bob", self, `{"current_password":"wrong","new_password":"2 short"}`, 400, rule},
		{"bob", self, `{"new_password":"` + strings.Repeat("x", 1001) + `"}`, 400, rule},
		{"bob", self, `{"new_password":"longer\u0000than 8"}`, 400, rule},
		{"bob", self, `{"new_password":"longer than 8"}`, 400, "The current password is required."},
		{"bob", self, `{"new_password":"longer than 8","current_password":""}`, 400, "The current password is required."},
		{"bob", self, `{"new_password":"longer than 8","current_password":"wrong"}`, 403, "The current password is wrong."},
		{"ada", "/api/users/1/password", `{"new_password":"longer than 8"}`, 400, "The current password is required."},
		{"ada", "/api/users/99/password", `{"new_password":"longer than 8"}`, 404, "User not found."},
		{"bob", self, `{"new_password":"` + strings.Repeat("å", 1000) + `","current_password":"rehearsal"}`, 200, ""},
		{"bob", self, `{"new_password":"12345678","current_password":"rehearsal"}`, 200, ""},
		{"ada", self, `{"new_password":"longer than 8"}`, 200, ""},
	} {
		t.Run(test.user+" "+test.body[:min(60, len(test.body))], func(t *testing.T) {
			a := newApp(t)
			if test.user != "" {
				a.login(test.user)
			}
			a.records.written = nil
			w := a.ask(http.MethodPost, test.path, test.body)
			if test.status != http.StatusOK {
				assertError(t, w, test.status, test.message)
				assert.Empty(t, a.records.written)
				return
			}
			assertSuccess(t, w, "null")
			assert.Len(t, a.records.written, 1)
			assert.Regexp(t, `^\$2b\$04\$.{53}$`, a.records.accounts[1].PasswordHash)
		})
	}
}

func TestHashPassword_IsWhatIsVerified(t *testing.T) {
	for _, password := range []string{"12345678", "blåbær🫐🫐", strings.Repeat("a", 73), strings.Repeat("å", 36) + "b", "a" + strings.Repeat("å", 40)} {
		hash, err := hashPassword(password, minBcryptCost)
		assert.NoError(t, err)
		p := testPasswords(t)
		assert.True(t, p.match(hash, password))
		assert.False(t, p.match(hash, "x"+password[1:]))
	}
}
