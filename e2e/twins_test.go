package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ask is one request of a story. In path and body {system} stands for the
// system that is asked, and {name} for an id that an earlier answer gave.
type ask struct {
	as     string // member, other, admin; "" for nobody
	method string
	path   string
	body   string
	kind   string // content type; JSON unless said otherwise
	keep   string // keeps the id of what was made under this name
}

// told is an answer without what may differ.
type told struct {
	Asked  string
	Status int
	Header map[string]string
	Body   string
}

// caller asks one system directly, as several people.
type caller struct {
	env    *environment
	system string
	people map[string]*visitor
	kept   map[string]string
	asked  int
	prefix string // of the request ids
}

// The people of the stories: ordinary members, and an administrator.
const (
	memberName = "user7"
	otherName  = "user8"
)

func (env *environment) newCaller(t *testing.T, system string) *caller {
	t.Helper()
	c := &caller{env: env, system: system, people: map[string]*visitor{}, kept: map[string]string{},
		prefix: fmt.Sprintf("%s-%s-", strings.ReplaceAll(t.Name(), "/", "-"), system)}
	for role, name := range map[string]string{"": "", "member": memberName, "other": otherName, "admin": "admin"} {
		c.people[role] = env.directVisitor(t, system)
		if name != "" {
			require.NoError(t, c.people[role].login(t.Context(), name), system)
		}
	}
	return c
}

var (
	recently = regexp.MustCompile(`"20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)
	inString = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	titled   = regexp.MustCompile(`adge of (?:python|go)\b`)
	madeID   = regexp.MustCompile(`"id":(\d+)`)
	checkout = regexp.MustCompile(`("checkout":(?:\{"id":| ))\d+`) // each has a number of its own
)

func (c *caller) ask(t *testing.T, a ask) told {
	t.Helper()
	path, body := c.fill(a.path), c.fill(a.body)
	request, err := http.NewRequestWithContext(t.Context(), a.method, c.people[a.as].address, strings.NewReader(body))
	require.NoError(t, err)
	request.URL.Opaque = "//" + request.URL.Host + path // as it is written
	c.asked++
	request.Header.Set("X-Request-ID", c.prefix+strconv.Itoa(c.asked))
	if body != "" {
		request.Header.Set("Content-Type", cmp.Or(a.kind, "application/json"))
	}
	// The jar goes by the address, which Opaque hides.
	for _, cookie := range c.people[a.as].http.Jar.Cookies(request.URL) {
		request.AddCookie(cookie)
	}
	response, err := c.people[a.as].http.Transport.RoundTrip(request)
	require.NoError(t, err, "%s %s on %s", a.method, path, c.system)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err, "%s %s on %s", a.method, path, c.system)
	if a.keep != "" {
		found := madeID.FindSubmatch(text)
		require.NotNil(t, found, "%s %s on %s: %s", a.method, path, c.system, text)
		c.kept[a.keep] = string(found[1])
	}
	result := told{
		Asked:  fmt.Sprintf("%s %s as %q: %.200s", a.method, a.path, a.as, a.body),
		Status: response.StatusCode,
		Header: map[string]string{},
	}
	for _, name := range []string{"Content-Type", "Location", "Allow", "Cache-Control"} {
		result.Header[name] = c.blank(response.Header.Get(name))
	}
	for _, cookie := range response.Cookies() {
		result.Header["Set-Cookie "+cookie.Name] = fmt.Sprint(cookie.Path, cookie.MaxAge, cookie.HttpOnly, cookie.Secure, cookie.SameSite, cookie.Value == "")
	}
	// Pages look alike, but are not the same bytes.
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind == "application/json" && a.method != http.MethodHead {
		result.Body = c.blank(canonical(t, text))
	}
	return result
}

// canonical writes JSON in one way: the order of the fields and the form of the
// numbers stay, and only how characters are escaped does not count.
func canonical(t *testing.T, text []byte) string {
	t.Helper()
	require.True(t, json.Valid(text), "%s", text)
	return inString.ReplaceAllStringFunc(string(text), func(quoted string) string {
		var plain string
		require.NoError(t, json.Unmarshal([]byte(quoted), &plain))
		return strconv.Quote(plain)
	})
}

// fill puts the system and the kept ids into a text.
func (c *caller) fill(text string) string {
	text = strings.ReplaceAll(text, "{system}", c.system)
	for name, id := range c.kept {
		text = strings.ReplaceAll(text, "{"+name+"}", id)
	}
	return text
}

// blank takes out of an answer what may differ: the system's name where the
// request had it, ids of what was made, and the present time.
func (c *caller) blank(text string) string {
	text = titled.ReplaceAllString(text, "adge of {system}")
	for name, id := range c.kept {
		text = regexp.MustCompile(`(id":|[a-z/]/)`+id+`\b`).ReplaceAllString(text, "${1}{"+name+"}")
	}
	text = checkout.ReplaceAllString(text, "${1}{checkout}")
	return recently.ReplaceAllStringFunc(text, func(stamp string) string {
		if c.env.since(stamp) {
			return `"{now}"`
		}
		return stamp
	})
}

// since says whether a timestamp in quotes is later than the environment.
func (env *environment) since(stamp string) bool {
	return strings.Trim(stamp, `"`) >= env.started.UTC().Format("2006-01-02T15:04:05Z")
}

// audit is what a story left in the audit trail.
func (c *caller) audit(t *testing.T, db *pgx.Conn) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), `
		SELECT system, coalesce(account_id::text, '-') || ' ' || action || ' ' || details::text
		FROM events WHERE starts_with(request_id, $1) ORDER BY id`, c.prefix)
	require.NoError(t, err)
	var trail []string
	var system, line string
	_, err = pgx.ForEachRow(rows, []any{&system, &line}, func() error {
		assert.Equal(t, c.system, system)
		for name, id := range c.kept {
			line = regexp.MustCompile(`: `+id+`\b`).ReplaceAllString(line, ": {"+name+"}")
		}
		trail = append(trail, checkout.ReplaceAllString(line, "${1}{checkout}"))
		return nil
	})
	require.NoError(t, err)
	return trail
}

// compare tells both systems the same story, one after the other: it has to
// end where it began, or to make things with the system's name.
// It returns what both left in the audit trail.
func (env *environment) compare(t *testing.T, story []ask) []string {
	t.Helper()
	db := env.db(t)
	var answers [2][]told
	var trails [2][]string
	for i, system := range systems {
		c := env.newCaller(t, system)
		for _, a := range story {
			answer := c.ask(t, a)
			assert.NotEqual(t, http.StatusInternalServerError, answer.Status, "%s on %s", answer.Asked, system)
			answers[i] = append(answers[i], answer)
		}
		trails[i] = c.audit(t, db)
	}
	different := 0
	for i := range story {
		if !assert.Equal(t, answers[0][i], answers[1][i], "python (expected) and go (actual) differ") {
			different++
		}
	}
	assert.Equal(t, trails[0], trails[1], "the audit trails of python and go differ")
	t.Logf("%d requests, %d answered differently, %d audit rows", len(story), different, len(trails[0]))
	return trails[0]
}

// Whatever is read, by whomever and however badly asked for, both systems
// answer the same.
func TestTwinsReadAlike(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	paths := []string{
		"/", "/login", "/login?next=/users", "/login?next=//evil.example", "/reset", "/dashboard", "/users", "/users?q=berg&page=2", "/tools", "/tools?page=99999",
		"/nothing", "/api", "/api/", "/api/nothing", "/api/auth/me", "/api/auth/nothing", "/api/auth/reset/x", "/api/auth/reset/a.b.c",
		"//api/users/", "/api//users/", "/api/users//", "/api/%75sers/", "/api/users%2F1", "/api/users/../users/1", "/api/users/./1",
		"/api/users", "/api/users?page=2", "/api/badges", "/api/tools?x=y", "/api/memberships",
		"/api/users/0", "/api/users/-1", "/api/users/1", "/api/users/01", "/api/users/+1", "/api/users/1.0", "/api/users/1/", "/api/users/x", "/api/users/%31", "/api/users/1%00", "/api/users/%ff",
		"/api/users/9223372036854775807", "/api/users/9223372036854775808", "/api/users/" + strings.Repeat("9", 900), "/api/users/\u0661",
		"/api/users/1/password", "/api/badges/1", "/api/badges/1/award", "/api/tools/1", "/api/tools/1/checkout", "/api/tools/1/checkin", "/api/memberships/1",
	}
	for _, list := range []string{"/api/users/", "/api/badges/", "/api/tools/", "/api/memberships/"} {
		for _, query := range []string{
			"", "?", "?page=2", "?page=1&per_page=7", "?per_page=100", "?per_page=101", "?per_page=0", "?page=0", "?page=-1", "?page=1e3", "?page=1.0", "?page=", "?page=+1", "?page=%201",
			"?page=2147483647", "?page=2147483648", "?page=" + strings.Repeat("1", 5000), "?page=%EF%BC%91", "?page=1&page=2", "?page=2;per_page=3", "?page", "?%70age=3", "?page=99999&per_page=100",
		} {
			paths = append(paths, list+query)
		}
	}
	for _, text := range []string{"berg", "BERG", "%C3%98", "%c3%a5", "%25", "_", "%5C", "%00", "%ff", "%", "%2", "%zz", "a+b", "'", "%27%20OR%201%3D1--", "user1", "@", "ﬀ", strings.Repeat("a", 3000), "%F0%9F%98%80", "%ED%A0%80"} {
		paths = append(paths, "/api/users/?q="+text)
	}
	for _, id := range []string{"7", "8", "1", "0", "-1", "x", "", "9223372036854775807", "9223372036854775808", "1.0", "%00", "999999999"} {
		paths = append(paths, "/api/memberships/?account_id="+id)
	}
	// The awkward ones, in all their detail.
	rows, err := db.Query(t.Context(), "SELECT id FROM accounts WHERE id > 1000 OR id % 97 = 0 ORDER BY id")
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	for _, id := range ids {
		paths = append(paths, fmt.Sprintf("/api/users/%d", id))
	}
	for page := range 60 {
		paths = append(paths, fmt.Sprintf("/api/users/?page=%d", page+1))
	}

	var story []ask
	for _, as := range []string{"", "member", "admin"} {
		for _, path := range paths {
			story = append(story, ask{as: as, method: http.MethodGet, path: path})
		}
	}
	for _, path := range []string{"/", "/login", "/dashboard", "/users", "/tools", "/api/auth/login", "/api/auth/logout", "/api/auth/me", "/api/auth/reset", "/api/users/", "/api/users/1", "/api/users/1/password",
		"/api/badges/", "/api/badges/1/award", "/api/tools/", "/api/tools/1/checkout", "/api/memberships/", "/health", "/nothing", "/api/nothing"} {
		for _, method := range []string{http.MethodHead, http.MethodOptions, http.MethodDelete, http.MethodPatch, "NONSENSE"} {
			story = append(story, ask{as: "member", method: method, path: path})
		}
	}
	env.compare(t, story)
}

// Bodies that no program should send get the same refusals, and change nothing.
func TestTwinsRefuseAlike(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	member := number(t, db, "SELECT id FROM accounts WHERE username = $1", memberName)
	other := number(t, db, "SELECT id FROM accounts WHERE username = $1", otherName)
	bodies := []string{
		"", " ", "null", "[]", "{}", "{", "5", `"x"`, "true", "{}{}", `{"a":1,}`, `{'a':1}`, "\xff", "\xef\xbb\xbf{}", `{"email":null}`, `{"password":null}`,
		`{"name":5}`, `{"name":[]}`, `{"name":{}}`, `{"email":5}`, `{"email":""}`, `{"email":"x"}`, `{"email":"a@b c"}`, `{"email":"å@example.com"}`, `{"email":"a@b@c"}`,
		`{"enabled":1}`, `{"enabled":"true"}`, `{"enabled":null}`, `{"enabled":true}`,
		`{"username":"x"}`, `{"username":"x","password":5}`, `{"username":"x","password":""}`, `{"username":"\u0000","password":"\u0000"}`, `{"username":"\ud800","password":"x"}`, `{"username":"a","username":5,"password":"x"}`,
		`{"password":"short"}`, `{"new_password":"short","current_password":"rehearsal"}`, `{"new_password":"long enough"}`, `{"new_password":"long enough","current_password":""}`, `{"new_password":"long enough","current_password":"wrong"}`,
		`{"new_password":5}`, `{"new_password":null}`, `{"new_password":"with\u0000zero"}`, `{"new_password":"` + strings.Repeat("x", 1001) + `"}`,
		`{"title":""}`, `{"title":"  "}`, `{"title":null}`, `{"title":5}`, `{"title":"` + strings.Repeat("å", 101) + `"}`, `{"title":"a\u0007b"}`, `{"title":"x","description":5}`, `{"title":"x","description":"\u0000"}`, `{"title":"x","circle_id":999999999}`, `{"title":"x","circle_id":"1"}`, `{"title":"x","circle_id":1.0}`, `{"title":"x","circle_id":1e0}`, `{"title":"x","circle_id":-1}`, `{"title":"x","circle_id":9223372036854775808}`, `{"title":"x","circle_id":true}`,
		`{"account_id":null}`, `{"account_id":"7"}`, `{"account_id":7.0}`, `{"account_id":7e0}`, `{"account_id":-7}`, `{"account_id":0}`, `{"account_id":999999999}`, `{"account_id":123456789012345678901234567890}`, `{"account_id":true}`, `{"account_id":[7]}`, `{"account_id":"x","account_id":999999999}`,
		`{"x":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`, `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, `{"x":1e999999}`, `{"x":` + strings.Repeat("9", 5000) + `}`,
		`{"x":"` + strings.Repeat("y", 70000) + `"}`,
	}
	targets := []ask{
		{method: http.MethodPost, path: "/api/auth/login"},
		{method: http.MethodPost, path: "/api/auth/reset"},
		{method: http.MethodPost, path: "/api/auth/reset/no-such-token"},
		{method: http.MethodPut, path: fmt.Sprintf("/api/users/%d", member)},
		{method: http.MethodPut, path: fmt.Sprintf("/api/users/%d", other)},
		{method: http.MethodPut, path: "/api/users/999999999"},
		{method: http.MethodPost, path: fmt.Sprintf("/api/users/%d/password", member)},
		{method: http.MethodPost, path: fmt.Sprintf("/api/users/%d/password", other)},
		{method: http.MethodPost, path: "/api/badges/"},
		{method: http.MethodPost, path: "/api/badges/1/award"},
		{method: http.MethodPost, path: "/api/badges/999999999/award"},
		{method: http.MethodPost, path: "/api/tools/999999999/checkout"},
		{method: http.MethodPost, path: "/api/tools/999999999/checkin"},
		{method: http.MethodPost, path: "/api/tools/x/checkin"},
	}
	var story []ask
	for _, target := range targets {
		for _, as := range []string{"", "member", "admin"} {
			for _, body := range bodies {
				// An administrator may do these to somebody else.
				if as == "admin" && (strings.Contains(body, `{"enabled":true}`) || strings.Contains(body, `"long enough"`)) {
					continue
				}
				target.as, target.body = as, body
				story = append(story, target)
			}
		}
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x", "nonsense"} {
			target.as, target.kind, target.body = "", kind, "username=x&password=y&email=nobody%40example.com"
			story = append(story, target)
		}
	}
	assert.Empty(t, env.compare(t, story), "something was written")
}

// What members do has the same effects, answers and audit rows on both.
func TestTwinsWriteAlike(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	member := number(t, db, "SELECT id FROM accounts WHERE username = $1", memberName)
	other := number(t, db, "SELECT id FROM accounts WHERE username = $1", otherName)
	circle := number(t, db, "SELECT id FROM circles WHERE name <> 'admin' ORDER BY id LIMIT 1")
	free := number(t, db, `SELECT min(id) FROM tools t WHERE circle_id IS NULL
		AND NOT EXISTS (SELECT FROM checkouts WHERE tool_id = t.id AND ended_at IS NULL)`)
	closed := number(t, db, `SELECT min(id) FROM tools t WHERE NOT EXISTS
		(SELECT FROM circle_members m JOIN accounts a ON a.id = m.account_id WHERE m.circle_id = t.circle_id AND a.username = $1)
		AND t.circle_id IS NOT NULL AND NOT EXISTS (SELECT FROM checkouts WHERE tool_id = t.id AND ended_at IS NULL)`, memberName)
	var email string
	require.NoError(t, db.QueryRow(t.Context(), "SELECT email FROM accounts WHERE id = $1", member).Scan(&email))
	_, err := db.Exec(t.Context(), "DELETE FROM circle_members WHERE circle_id = $1 AND account_id IN ($2, $3)", circle, member, other)
	require.NoError(t, err)

	user, their := fmt.Sprintf("/api/users/%d", member), fmt.Sprintf("/api/users/%d", other)
	tool, locked := fmt.Sprintf("/api/tools/%d", free), fmt.Sprintf("/api/tools/%d", closed)
	put, post, get := http.MethodPut, http.MethodPost, http.MethodGet
	form := "application/x-www-form-urlencoded"
	for name, story := range map[string][]ask{
		"account": {
			{as: "member", method: put, path: user, body: `{"name":"Ærlig <Ås> & \"Sønn\" \u2028"}`},
			{as: "other", method: get, path: user},
			{as: "member", method: put, path: user, body: `{"name":null}`},
			{as: "member", method: put, path: user, body: `{"name":""}`},
			{as: "member", method: put, path: user, body: `{}`},
			{as: "member", method: put, path: user, body: `{"name":"` + strings.Repeat("å", 200) + `"}`},
			{as: "member", method: put, path: user, body: `{"name":"` + strings.Repeat("å", 201) + `"}`},
			{as: "member", method: put, path: user, body: `{"name":"tab\there"}`},
			{as: "member", method: put, path: user, body: `{"email":"USER8@Example.com"}`},
			{as: "member", method: put, path: user, body: `{"email":"User7@Example.COM","name":"both"}`},
			{as: "member", method: put, path: user, body: `{"enabled":false}`},
			{as: "member", method: put, path: user, body: `{"enabled":false,"name":"not half of it"}`},
			{as: "other", method: put, path: user, body: `{"name":"somebody else"}`},
			{as: "admin", method: put, path: user, body: `{"enabled":false}`},
			{as: "member", method: get, path: "/api/auth/me"},
			{method: post, path: "/api/auth/login", body: `{"username":"user7","password":"rehearsal"}`},
			{as: "admin", method: put, path: user, body: `{"enabled":true,"name":"Back again","email":"` + email + `"}`},
			{as: "member", method: get, path: "/api/auth/me"},
			{as: "admin", method: put, path: "/api/users/999999999", body: `{"name":"nobody"}`},
		},
		"password": {
			{as: "member", method: post, path: user + "/password", body: `{"current_password":"wrong","new_password":"a new one, long"}`},
			{as: "member", method: post, path: user + "/password", body: `{"current_password":"rehearsal","new_password":"a new one, long"}`},
			{method: post, path: "/api/auth/login", body: `{"username":"user7","password":"rehearsal"}`},
			{method: post, path: "/api/auth/login", body: `{"username":"user7","password":"a new one, long"}`},
			{as: "other", method: post, path: user + "/password", body: `{"new_password":"rehearsal"}`},
			{as: "admin", method: post, path: user + "/password", body: `{"new_password":"rehearsal"}`},
			{method: post, path: "/api/auth/login", body: `{"email":"` + strings.ToUpper(email) + `","password":"rehearsal"}`},
			{method: post, path: "/api/auth/logout"},
			{method: get, path: "/api/auth/me"},
			{method: post, path: "/api/auth/logout"},
			{method: post, path: "/api/auth/login", kind: form, body: "username=user7&password=rehearsal&next=%2Fusers"},
			{method: post, path: "/api/auth/logout", kind: form, body: "x=y"},
			{method: post, path: "/api/auth/login", kind: form, body: "username=user7&password=wrong"},
		},
		"badges": {
			{as: "member", method: post, path: "/api/badges/", body: `{"title":"Badge of {system}"}`},
			{as: "admin", method: post, path: "/api/badges/", body: `{"title":"  Badge of {system} ","description":"Æ","circle_id":null}`, keep: "open"},
			{as: "admin", method: post, path: "/api/badges/", body: `{"title":"Badge of {system}"}`},
			{as: "admin", method: post, path: "/api/badges/", body: fmt.Sprintf(`{"title":"Closed badge of {system}","description":null,"circle_id":%d}`, circle), keep: "closed"},
			{as: "member", method: post, path: "/api/badges/{open}/award", body: fmt.Sprintf(`{"account_id":%d}`, other), keep: "award"},
			{as: "member", method: post, path: "/api/badges/{closed}/award", body: fmt.Sprintf(`{"account_id":%d}`, other)},
			{as: "admin", method: post, path: "/api/badges/{closed}/award", body: fmt.Sprintf(`{"account_id":%d}`, other), keep: "second"},
			{as: "member", method: post, path: "/api/badges/{open}/award", body: `{"account_id":999999999}`},
		},
		"tools": {
			{as: "member", method: post, path: tool + "/checkin"},
			{as: "member", method: post, path: tool + "/checkout"},
			{as: "member", method: post, path: tool + "/checkout"},
			{as: "other", method: post, path: tool + "/checkout", body: "{nonsense"},
			{as: "other", method: post, path: tool + "/checkin"},
			{as: "other", method: post, path: tool + "/checkin", kind: form, body: "x=y"},
			{as: "member", method: post, path: tool + "/checkin"},
			{as: "other", method: post, path: tool + "/checkout", kind: form, body: "x=y"},
			{as: "admin", method: post, path: tool + "/checkin", kind: form, body: "x=y"},
			{as: "member", method: post, path: locked + "/checkout"},
			{as: "admin", method: post, path: locked + "/checkout"},
			{as: "admin", method: post, path: locked + "/checkin"},
			{as: "member", method: get, path: "/api/tools/?per_page=100"},
			{method: post, path: tool + "/checkout"},
		},
		"people": {
			{as: "other", method: put, path: their, body: `{"name":"Åse"}`},
			{as: "member", method: get, path: their},
			{as: "admin", method: get, path: "/api/memberships/?account_id=" + strconv.FormatInt(other, 10)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			env.compare(t, story)
		})
	}
}
