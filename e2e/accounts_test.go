package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (v *visitor) post(t *testing.T, path string, body any) answer {
	t.Helper()
	a, err := v.do(t.Context(), http.MethodPost, path, body)
	require.NoError(t, err)
	return a
}

var resetLink = regexp.MustCompile(`http://127\.0\.0\.1:\d+(/api/auth/reset/\S+)`)

// A link that one system mailed resets the password on the other, once, and
// the password is then good on both.
func TestResetLinkOfEitherSystemWorksOnBoth(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	account := number(t, db, "SELECT id FROM accounts WHERE username = 'user13'")
	people := map[string]*visitor{}
	admins := map[string]*visitor{}
	for _, system := range systems {
		people[system], admins[system] = env.directVisitor(t, system), env.directVisitor(t, system)
		require.NoError(t, admins[system].login(t.Context(), "admin"))
	}
	texts := map[string]string{}
	for i, asked := range systems {
		used := systems[1-i]
		t.Run("mailed by "+asked, func(t *testing.T) {
			last := 0
			for _, m := range env.sink(t, asked, 0) {
				last = max(last, m.Seq)
			}
			assert.Equal(t, 200, people[asked].post(t, "/api/auth/reset", map[string]string{"email": "nobody@example.com"}).status)
			assert.Equal(t, 200, people[asked].post(t, "/api/auth/reset", map[string]string{"email": "USER13@Example.com"}).status)
			var mails []message
			require.Eventually(t, func() bool {
				mails = env.sink(t, asked, last)
				return len(mails) > 0
			}, 10*time.Second, 50*time.Millisecond)
			require.Len(t, mails, 1, "nobody gets no mail")
			mail := mails[0]
			require.NotNil(t, mail.Mail)
			assert.Equal(t, []string{"user13@example.com"}, mail.Mail.To)
			assert.Equal(t, "Reset your password", mail.Mail.Subject)
			found := resetLink.FindStringSubmatch(mail.Mail.Text)
			require.NotNil(t, found, mail.Mail.Text)
			link := found[1]
			texts[asked] = mail.Mail.From + "\n" + strings.ReplaceAll(mail.Mail.Text, found[0], "LINK")

			for _, system := range systems {
				page := people[system].get(t, link)
				assert.Equal(t, 200, page.status, system)
				assert.Contains(t, page.header.Get("Content-Type"), "text/html", system)
				assert.Equal(t, 400, people[system].get(t, link+"x").status, system)
				assert.Equal(t, 400, people[system].post(t, link, map[string]string{"password": "short"}).status, system)
			}
			password := "brand new by " + asked
			assert.Equal(t, 200, people[used].post(t, link, map[string]string{"password": password}).status)
			for _, system := range systems {
				assert.Equal(t, 200, people[system].post(t, "/api/auth/login", map[string]string{"username": "user13", "password": password}).status, system)
				assert.Equal(t, 401, people[system].post(t, "/api/auth/login", map[string]string{"username": "user13", "password": "rehearsal"}).status, system)
				assert.Equal(t, 400, people[system].get(t, link).status, "%s: a link works once", system)
				assert.Equal(t, 400, people[system].post(t, link, map[string]string{"password": "once more, please"}).status, system)
			}
			a := admins[used].post(t, fmt.Sprintf("/api/users/%d/password", account), map[string]string{"new_password": "rehearsal"})
			assert.Equal(t, 200, a.status, "%s", a.body)
		})
	}
	assert.Equal(t, texts["python"], texts["go"], "the mails differ")
}

// Two people never hold one tool, whichever systems they ask at the same
// moment.
func TestOneToolIsHeldByOnePerson(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	tool := number(t, db, `SELECT max(id) FROM tools t WHERE circle_id IS NULL
		AND NOT EXISTS (SELECT FROM checkouts WHERE tool_id = t.id AND ended_at IS NULL)`)
	var people []*visitor
	for i := range 6 {
		person := env.directVisitor(t, systems[i%2])
		require.NoError(t, person.login(t.Context(), fmt.Sprintf("user%d", 20+i)))
		people = append(people, person)
	}
	won := map[string]int{}
	for range 15 {
		answers := make([]answer, len(people))
		errs := make([]error, len(people))
		var asking sync.WaitGroup
		for i, person := range people {
			asking.Go(func() {
				answers[i], errs[i] = person.do(t.Context(), http.MethodPost, fmt.Sprintf("/api/tools/%d/checkout", tool), nil)
			})
		}
		asking.Wait()
		winner := -1
		for i, a := range answers {
			require.NoError(t, errs[i])
			switch a.status {
			case http.StatusOK:
				require.Equal(t, -1, winner, "two people hold one tool")
				winner = i
			default:
				require.Equal(t, http.StatusConflict, a.status, "%s", a.body)
			}
		}
		require.NotEqual(t, -1, winner, "nobody got the tool")
		won[systems[winner%2]]++
		require.EqualValues(t, 1, number(t, db, "SELECT count(*) FROM checkouts WHERE tool_id = $1 AND ended_at IS NULL", tool))
		// It goes back through the other system.
		require.Equal(t, 200, people[winner].post(t, fmt.Sprintf("/api/tools/%d/checkin", tool), nil).status)
	}
	t.Logf("tools won: %v", won)
}

// Everybody whom the legacy system lets in gets into the new one too, and into
// the legacy one after the new one changed the password.
func TestAwkwardAccountsLogInOnBoth(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	rows, err := db.Query(t.Context(), `SELECT id, username, email, enabled, password_hash FROM accounts WHERE id > 1000 ORDER BY id`)
	require.NoError(t, err)
	type account struct {
		id                    int64
		username, email, hash string
		enabled               bool
	}
	var accounts []account
	for rows.Next() {
		var a account
		require.NoError(t, rows.Scan(&a.id, &a.username, &a.email, &a.enabled, &a.hash))
		accounts = append(accounts, a)
	}
	require.NoError(t, rows.Err())
	require.Greater(t, len(accounts), 8)
	people, admins := map[string]*visitor{}, map[string]*visitor{}
	for _, system := range systems {
		people[system], admins[system] = env.directVisitor(t, system), env.directVisitor(t, system)
		require.NoError(t, admins[system].login(t.Context(), "admin"))
	}
	kinds := map[string]int{}
	for _, a := range accounts {
		t.Run(a.username, func(t *testing.T) {
			password := awkwardPassword(a.username)
			kinds[a.hash[:3]]++
			want := http.StatusOK
			if !a.enabled {
				want = http.StatusUnauthorized
			}
			login := func(system, password string) answer {
				return people[system].post(t, "/api/auth/login", map[string]string{"username": a.username, "password": password})
			}
			for _, system := range systems {
				assert.Equal(t, want, login(system, password).status, system)
				assert.Equal(t, want, people[system].post(t, "/api/auth/login", map[string]string{"email": strings.ToUpper(a.email), "password": password}).status, "%s by email", system)
				assert.Equal(t, http.StatusUnauthorized, login(system, "x"+password).status, system)
			}
			// Each system changes the password, to something that is just as awkward.
			for i, changes := range []string{"go", "python"} {
				fresh := fmt.Sprintf("ny-%d-Ås-ﬀ-%s", i, strings.Repeat("æ", 40))
				changed := admins[changes].post(t, fmt.Sprintf("/api/users/%d/password", a.id), map[string]string{"new_password": fresh, "current_password": awkwardPassword("admin")})
				if a.username == "admin" {
					continue
				}
				assert.Equal(t, 200, changed.status, "%s", changed.body)
				for _, system := range systems {
					assert.Equal(t, want, login(system, fresh).status, "%s after %s changed it", system, changes)
				}
			}
			_, err := db.Exec(t.Context(), "UPDATE accounts SET password_hash = $2 WHERE id = $1", a.id, a.hash)
			require.NoError(t, err)
		})
	}
	assert.Positive(t, kinds["$2b"])
	assert.Positive(t, kinds["$6$"])
	t.Logf("%d accounts, hashes %v", len(accounts), kinds)
}

// awkwardPassword is what fixtures/p2k16/seed.sql says of an account.
func awkwardPassword(username string) string {
	sevenTimes := strings.Repeat("rehearsal-", 7)
	special := map[string]string{
		"test":                "test",
		"awkward-72-bytes":    sevenTimes + "72",
		"awkward-73-bytes":    sevenTimes + "73!",
		"awkward-sha512-73":   sevenTimes + "73!",
		"awkward-73-split":    sevenTimes + "7ø",
		"awkward-non-ascii":   "bl\u00e5bærsyltetøy",
		"awkward-decomposed":  "bla\u030abærsyltetøy",
		"awkward-emoji":       "🦀 er 🔑",
		"awkward-spaces":      "  rehearsal  ",
		"awkward-sha512-long": strings.Repeat("ærøå", 20),
	}
	return cmp.Or(special[username], "rehearsal")
}
