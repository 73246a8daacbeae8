package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// raw is a request that no client library would send.
type raw struct {
	as   string // as in ask
	line string // method and target; HTTP/1.1 unless it says otherwise
	body string
	head []string // further lines; {session} stands for the person's session id
}

// wire is one connection to a system, which is opened anew when it has closed
// it.
type wire struct {
	conn   net.Conn
	reader *bufio.Reader
}

const limit = 20 * time.Second

// send sends a request as it is written, and returns the answer like ask.
func (c *caller) send(t *testing.T, w *wire, r raw) told {
	t.Helper()
	person := c.people[r.as]
	if w.conn == nil {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		conn, err := person.http.Transport.(*http.Transport).DialContext(ctx, "tcp", "")
		require.NoError(t, err)
		w.conn, w.reader = conn, bufio.NewReader(conn)
	}
	require.NoError(t, w.conn.SetDeadline(time.Now().Add(limit)))
	result := told{Asked: fmt.Sprintf("%.300q as %q: %.200q %.300q", r.line, r.as, r.head, r.body), Header: map[string]string{}}
	// A system may answer, and hang up, before it has read all of it.
	written := make(chan error, 1)
	go func(conn net.Conn, text string) {
		_, err := io.WriteString(conn, text)
		written <- err
	}(w.conn, c.text(t, r))
	method, _, _ := strings.Cut(r.line, " ")
	response, err := http.ReadResponse(w.reader, &http.Request{Method: method})
	require.NoError(t, err, "%s: %s", c.system, result.Asked)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err, "%s: %s", c.system, result.Asked)
	if response.Close {
		require.NoError(t, w.close())
	} else {
		require.NoError(t, <-written, "%s: %s", c.system, result.Asked)
	}
	result.Status = response.StatusCode
	for _, name := range []string{"Content-Type", "Location", "Allow", "Cache-Control"} {
		result.Header[name] = response.Header.Get(name)
	}
	for _, cookie := range response.Cookies() {
		result.Header["Set-Cookie "+cookie.Name] = fmt.Sprint(cookie.Path, cookie.MaxAge, cookie.HttpOnly, cookie.Secure, cookie.SameSite, cookie.Value == "")
	}
	if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind == "application/json" && method != http.MethodHead {
		result.Body = c.blank(canonical(t, text))
	}
	return result
}

func (w *wire) close() error {
	if w.conn == nil {
		return nil
	}
	err := w.conn.Close()
	w.conn = nil
	return err
}

// text is the request byte for byte, with the lines that it does not have
// itself.
func (c *caller) text(t *testing.T, r raw) string {
	person := c.people[r.as]
	head := strings.ReplaceAll(strings.Join(append(r.head, ""), "\r\n"), "{session}", person.cookie(t, "session_id"))
	add := func(name, value string) {
		if !strings.Contains("\r\n"+strings.ToLower(head), "\r\n"+strings.ToLower(name)+":") {
			head = name + ": " + value + "\r\n" + head
		}
	}
	if r.as != "" {
		add("Cookie", "session_id="+person.cookie(t, "session_id"))
	}
	if r.body != "" && !strings.Contains(head, "Transfer-Encoding: chunked") {
		add("Content-Length", strconv.Itoa(len(r.body)))
	}
	c.asked++
	add("X-Request-ID", c.prefix+strconv.Itoa(c.asked))
	add("Host", "127.0.0.1:8080")
	line := r.line
	if !strings.Contains(line, " HTTP/") {
		line += " HTTP/1.1"
	}
	return line + "\r\n" + head + "\r\n" + r.body
}

// Whatever is sent, both systems answer the same, and neither fails. What nginx
// refuses or mends before a system sees it is not asked: it cannot differ.
func TestTwinsTakeHostileRequestsAlike(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	for _, story := range []struct {
		name     string
		requests []raw
	}{
		{"forms", hostileForms()},
		{"forms in parts", hostileParts()},
		{"JSON", hostileJSON()},
		{"sizes", hostileSizes()},
		{"addresses", hostileAddresses()},
		{"heads", hostileHeads()},
		{"cookies", hostileCookies()},
	} {
		t.Run(story.name, func(t *testing.T) { env.compareRaw(t, db, story.requests) })
	}
}

func (env *environment) compareRaw(t *testing.T, db *pgx.Conn, story []raw) {
	var answers [2][]told
	var trails [2][]string
	for i, system := range systems {
		c, w := env.newCaller(t, system), &wire{}
		for _, r := range story {
			answer := c.send(t, w, r)
			assert.Less(t, answer.Status, 500, "%s on %s", answer.Asked, system)
			answers[i] = append(answers[i], answer)
		}
		require.NoError(t, w.close())
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
}

const (
	postLogin  = "POST /api/auth/login"
	asJSON     = "Content-Type: application/json"
	asForm     = "Content-Type: application/x-www-form-urlencoded"
	asParts    = "Content-Type: multipart/form-data; boundary=x"
	goodJSON   = `{"username":"user7","password":"rehearsal"}`
	goodForm   = "username=user7&password=rehearsal"
	chunked    = "Transfer-Encoding: chunked"
	noSuchTool = "POST /api/tools/999999999/checkout"
)

func hostileForms() (story []raw) {
	for _, kind := range []string{
		"application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded", "application/x-www-form-urlencoded;",
		"application/x-www-form-urlencoded; foo", "application/x-www-form-urlencoded; charset=iso-8859-1",
		"application/x-www-form-urlencoded; charset=utf-8; charset=utf-8", "application/x-www-form-urlencoded, text/plain",
		" application/x-www-form-urlencoded ", "application/x-www-form-urlencoded/x", "application/x-www-form-urlencoded ;a=b",
		"application/x-www-form-urlencoded; a=\"b", "application/x-www-form-urlencoded; =b", "application/x-www-form-urlencoded; a*=utf-8''b",
		"x-www-form-urlencoded",
		asJSON[len("Content-Type: "):] + "\r\n" + asForm, asForm[len("Content-Type: "):] + "\r\n" + asJSON,
		"application/json; charset=utf-16", "APPLICATION/JSON", "text/json", "", "application/json, text/plain", "*/*",
	} {
		kind = "Content-Type: " + kind
		for _, body := range []string{goodForm, "username=user7&password=wrong", "username=bj%F8rn-%E5ge&password=rehearsal", "username=bj%C3%B8rn-%C3%A5ge&password=rehearsal", goodJSON} {
			story = append(story, raw{"", postLogin, body, []string{kind}}, raw{"member", noSuchTool, body, []string{kind}})
		}
		story = append(story, raw{"", "POST /api/auth/reset", "email=nobody%40example.com", []string{kind}})
	}
	for _, body := range []string{
		"username=user7&password=rehearsal&username=user8", "username=nobody&username=user7&password=rehearsal", "password=rehearsal;username=user7",
		"username=user7&password=rehearsal&", "&&username=user7&&password=rehearsal", "username=user7%&password=rehearsal",
		"username=user7&password=%72ehearsal", "USERNAME=user7&password=rehearsal", "username=user7&password=rehearsal%00", "username=%00&password=rehearsal",
		"username=user7\xff&password=rehearsal", "username=user7\r\n&password=rehearsal", "username=user7+&password=rehearsal",
		"user%6eame=user7&password=rehearsal", "username[]=user7&password=rehearsal", "username=user7&password=rehearsal#x", "username", "=",
		"username=user7&password=rehearsal&next=//evil.example", "username=user7&password=rehearsal&next=/%5Cevil.example",
		"username=user7&password=rehearsal&next=/%0d%0aX-A:b", "username=user7&password=rehearsal&next=/users%3Fq%3D%C3%A5",
		"username=user7&password=rehearsal&next=/users?q=a%20b", "username=user7&password=rehearsal&next=/a&next=/b",
		"username=user7&password=rehearsal&next=javascript:alert(1)", "username=user7&password=rehearsal&next=%2Fusers%22%3E",
		"email=user7%40example.com&password=rehearsal", strings.Repeat("a=b&", 1200) + "username=user7&password=rehearsal",
		"username=user7&password=" + strings.Repeat("x", 5000),
		goodForm + "&next=/%FF", goodForm + "&next=/a?b?c", goodForm + "&next=/a%23b%23c", goodForm + "&next=/a?%23", goodForm + "&next=/%5B%5D%7B%7D%60%5E%7C",
	} {
		story = append(story, raw{"", postLogin, body, []string{asForm}})
	}
	return append(story, raw{"", postLogin, goodJSON, nil}, raw{"", postLogin, goodForm, nil})
}

func hostileParts() (story []raw) {
	part := func(disposition, value string, more ...string) string {
		return "--x\r\nContent-Disposition: " + disposition + "\r\n" + strings.Join(append(more, ""), "\r\n") + "\r\n" + value + "\r\n"
	}
	user, pass := part(`form-data; name="username"`, "user7"), part(`form-data; name="password"`, "rehearsal")
	for _, body := range []string{
		user + pass + "--x--\r\n", user + pass + "--x--", user + pass, user + pass + "--x", "preamble\r\n" + user + pass + "--x--\r\nepilogue",
		strings.ReplaceAll(user+pass+"--x--\r\n", "\r\n", "\n"),
		user + user + pass + "--x--\r\n", part(`form-data; name="username"`, "user8") + user + pass + "--x--\r\n",
		part(`form-data; name="username"; filename="f"`, "user7") + pass + "--x--\r\n",
		part(`form-data; name="username"; filename=""`, "user7") + pass + "--x--\r\n",
		part(`form-data; name="username"`, "user7", "Content-Type: text/plain; charset=utf-16") + pass + "--x--\r\n",
		part(`form-data; name="username"`, "user7", "Content-Transfer-Encoding: base64") + pass + "--x--\r\n",
		part(`form-data; name="username"`, "=75ser7", "Content-Transfer-Encoding: quoted-printable") + pass + "--x--\r\n",
		part(`form-data; name=username`, "user7") + pass + "--x--\r\n",
		part(`form-data; name*=utf-8''username`, "user7") + pass + "--x--\r\n",
		part(`attachment; name="username"`, "user7") + pass + "--x--\r\n",
		part(`form-data`, "user7") + pass + "--x--\r\n",
		part(`form-data; NAME="username"`, "user7") + pass + "--x--\r\n",
		"--x\r\n\r\nuser7\r\n" + pass + "--x--\r\n",
		part(`form-data; name="username"`, "bj\xf8rn") + pass + "--x--\r\n",
		part(`form-data; name="username"`, "bjørn-åge") + pass + "--x--\r\n",
		part(`form-data; name="username"`, "user7\x00") + pass + "--x--\r\n",
		strings.Repeat(part(`form-data; name="n"`, ""), 1001), strings.Repeat(part(`form-data; name="n"`, ""), 600) + user + pass + "--x--\r\n", "--x--\r\n", "", "--x\r\n", "garbage",
		user + part(`form-data; name="password"`, strings.Repeat("x", 5000)) + "--x--\r\n",
		user + pass + part(`form-data; name="next"`, "/users") + "--x--\r\n",
		user + pass + part(`form-data; name="next"`, "//evil") + "--x--\r\n",
	} {
		story = append(story, raw{"", postLogin, body, []string{asParts}})
	}
	for _, kind := range []string{
		`multipart/form-data; boundary="x"`, "multipart/form-data;boundary=x", "Multipart/Form-Data; Boundary=x",
		"multipart/form-data; boundary=x; charset=utf-8", "multipart/form-data; boundary=", "multipart/form-data; boundary=y", "multipart/mixed; boundary=x",
		"multipart/form-data; boundary=\"" + strings.Repeat("x", 80) + "\"", "multipart/form-data; boundary=x; boundary=y", "multipart/form-data; boundary=a b",
	} {
		story = append(story, raw{"", postLogin, user + pass + "--x--\r\n", []string{"Content-Type: " + kind}})
	}
	return story
}

func hostileJSON() (story []raw) {
	utf16 := func(text string, high, low int) string {
		wide := make([]byte, 2*len(text))
		for i := range text {
			wide[2*i+low], wide[2*i+high] = text[i], 0
		}
		return string(wide)
	}
	for _, body := range []string{
		utf16(goodJSON, 0, 1), utf16(goodJSON, 1, 0), "\xfe\xff" + utf16(goodJSON, 0, 1),
		`{"Username":"user7","password":"rehearsal"}`, `{"\u0075sername":"user7","password":"rehearsal"}`, `{"username":"user7\u0000","password":"rehearsal"}`,
		`{"username":"ｕser7","password":"rehearsal"}`, `{"username":"USER7","password":"rehearsal"}`, `{"username":"user7 ","password":"rehearsal"}`, `{"username":" user7","password":"rehearsal"}`, `{"username":"user７","password":"rehearsal"}`, `{"username":"uſer7","password":"rehearsal"}`, `{"email":"UſER7@EXAMPLE.COM","password":"rehearsal"}`, `{"email":"uſer7@example.com","password":"rehearsal"}`, `{"username":"us\u0435r7","password":"rehearsal"}`, `{"username":"user7\u200b","password":"rehearsal"}`, `{"username":"bjo\u0308rn-a\u030age","password":"rehearsal"}`, `{"username":"bjørn-a\u030age","password":"rehearsal"}`, `{"username":"BJØRN-ÅGE","password":"rehearsal"}`, `{"username":"Bjorn.Age@example.com","password":"rehearsal"}`, `{"email":"bjorn.age@example.com\u0000","password":"rehearsal"}`,
		`{"username":"awkward-mixed","password":"rehearsal"}`, `{"username":"Awkward-Mixed","password":"rehearsal"}`, `{"email":"awkward.mixed@example.com","password":"rehearsal"}`, `{"email":"user7@example.com","username":"nobody","password":"rehearsal"}`, `{"email":"user7@example.com","username":"","password":"rehearsal"}`, `{"email":"user7@example.com","username":null,"password":"rehearsal"}`, `{"username":"user7@example.com","password":"rehearsal"}`, `{"email":"user7","password":"rehearsal"}`,
		goodJSON + "\x00", goodJSON + "\n\n\t ", goodJSON + " // c", "/**/" + goodJSON, "\u00a0" + goodJSON, "\x0b" + goodJSON, "\x0c" + goodJSON, goodJSON + "{}", goodJSON + ",", "[" + goodJSON + "]", "\ufeff" + goodJSON,
		`{"password":"rehearsal","username":"user7","password":"wrong"}`, `{"password":"wrong","username":"user7","password":"rehearsal"}`, `{"username":"nobody","username":"user7","password":"rehearsal"}`, `{"username":5,"username":"user7","password":"rehearsal"}`, `{"username":null,"username":"user7","password":"rehearsal"}`, `{"username":"user7","username":null,"password":"rehearsal"}`,
		`{"username":"user7","password":"rehearsal","x":NaN}`, `{"username":"user7","password":"rehearsal","x":Infinity}`, `{"username":"user7","password":"rehearsal","x":-Infinity}`, `{"username":"user7","password":"rehearsal","x":01}`, `{"username":"user7","password":"rehearsal","x":+1}`, `{"username":"user7","password":"rehearsal","x":.5}`, `{"username":"user7","password":"rehearsal","x":1.}`, `{"username":"user7","password":"rehearsal","x":0x10}`, `{"username":"user7","password":"rehearsal","x":-}`, `{"username":"user7","password":"rehearsal","x":1e}`, `{"username":"user7","password":"rehearsal","x":-0}`, `{"username":"user7","password":"rehearsal","x":1E400}`, `{"username":"user7","password":"rehearsal","x":-1E-400}`, `{"username":"user7","password":"rehearsal","x":tru}`, `{"username":"user7","password":"rehearsal","x":TRUE}`, `{"username":"user7","password":"rehearsal","x":undefined}`,
		"{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\x01\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"a\nb\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\x7f\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\u2028\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\xff\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"\xff\":1}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\xed\xa0\x80\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\xc0\xaf\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\xf4\x90\x80\x80\"}", "{\"username\":\"user7\",\"password\":\"rehearsal\",\"x\":\"\xf0\x9f\x98\"}",
		`{"username":"user7","password":"rehearsal","x":"\ud83d\ude00"}`, `{"username":"user7","password":"rehearsal","x":"\ude00\ud83d"}`, `{"username":"user7","password":"rehearsal","\ud83d":1}`, `{"username":"user7","password":"rehearsal","x":"\ud83d\u0041"}`, `{"username":"user7","password":"rehearsal","x":"\ud83d\\ude00"}`, `{"username":"user7","password":"rehearsal","x":"\\ud83d"}`, `{"username":"user7","password":"rehearsal","x":"\x41"}`, `{"username":"user7","password":"rehearsal","x":"\u12"}`, `{"username":"user7","password":"rehearsal","x":"\u00zz"}`, `{"username":"user7","password":"rehearsal","x":"\'"}`, `{"username":"user7","password":"rehearsal","x":"\/\b\f"}`, `{"username":"user7","password":"rehearsal","x":"\U00000041"}`, `{"username":"user7","password":"rehearsal","":1}`, `{"username":"user7","password":"rehearsal",}`, `{"username":"user7","password":"rehearsal"`, `{username:"user7","password":"rehearsal"}`, `{"username":"user7" "password":"rehearsal"}`, `{"username":"user7","password":"rehearsal",,}`, `{"username":["user7"],"password":"rehearsal"}`, `{"username":"user7","password":"rehearsal","x":` + strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500) + "}", `{"username":"user7","password":"rehearsal","x":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) + "}", `{"username":"user7","password":"rehearsal","x":` + strings.Repeat(`[`, 990) + strings.Repeat("]", 990) + "}", `{"username":"user7","password":"rehearsal","x":` + strings.Repeat(`[`, 10001) + strings.Repeat("]", 10001) + "}",
		`{"username":"user7","password":"rehearsal","x":` + strings.Repeat("9", 400) + `}`, `{"username":"user7","password":"rehearsal","x":` + strings.Repeat("9", 400) + `.5e3}`,
	} {
		story = append(story, raw{"", postLogin, body, []string{asJSON}})
	}
	for _, number := range []string{
		"9223372036854775807", "-9223372036854775808", "-9223372036854775809", "18446744073709551616", "-0", "0.0", "1E2", "1e-0", "7.5", "1e400", "01",
		strings.Repeat("9", 400), `""`, "{}", "[]",
	} {
		story = append(story,
			raw{"admin", "POST /api/badges/999999999/award", `{"account_id":` + number + `}`, []string{asJSON}},
			raw{"admin", "POST /api/badges/", `{"title":"hostile","circle_id":` + number + `}`, []string{asJSON}})
	}
	return story
}

// hostileSizes are bodies about the limit, to the byte.
func hostileSizes() (story []raw) {
	inChunks := func(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }
	for _, size := range []int{65535, 65536, 65537, 200_000} {
		document := func(start, end string) string { return start + strings.Repeat("p", size-len(start)-len(end)) + end }
		json, form := document(`{"username":"nobody","password":"`, `"}`), document("username=nobody&password=", "")
		for _, line := range []string{"POST /api/nothing", "POST /api/users/", "POST /api/auth/logout", "GET /api/auth/me", noSuchTool} {
			story = append(story, raw{"", line, json, []string{asJSON}}, raw{"", line, inChunks(json), []string{asJSON, chunked}})
		}
		story = append(story,
			raw{"", postLogin, json, []string{asJSON}}, raw{"", postLogin, inChunks(json), []string{asJSON, chunked}},
			raw{"", postLogin, form, []string{asForm}}, raw{"", postLogin, inChunks(form), []string{asForm, chunked}},
			raw{"", postLogin, form, []string{asParts}}, raw{"", postLogin, inChunks(form), []string{asParts, chunked}},
			raw{"member", "PUT /api/users/7", json, []string{asJSON}}, raw{"member", "PUT /api/users/7", inChunks(json), []string{asJSON, chunked}},
			raw{"member", noSuchTool, json, []string{asJSON}})
	}
	return append(story,
		raw{"", postLogin, inChunks(goodJSON), []string{asJSON, chunked}},
		raw{"", postLogin, "5;ext=1\r\n" + goodJSON[:5] + "\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n", len(goodJSON)-5, goodJSON[5:]), []string{asJSON, chunked}},
		raw{"", postLogin, "", []string{asJSON, "Content-Length: 0"}}, raw{"", postLogin, "", []string{asJSON}},
		raw{"", postLogin, goodJSON, []string{asJSON, "Content-Encoding: gzip"}},
		raw{"", "GET /api/users/", goodJSON, []string{asJSON}}, raw{"", "DELETE /api/users/7", goodJSON, []string{asJSON}},
		raw{"", postLogin + " HTTP/1.0", goodJSON, []string{asJSON}}, raw{"member", "GET /api/auth/me HTTP/1.0", "", nil},
		raw{"member", "GET http://127.0.0.1:8080/api/auth/me HTTP/1.1", "", nil}, raw{"", "GET http://evil.example/api/auth/me?x HTTP/1.1", "", nil})
}

func hostileAddresses() (story []raw) {
	for _, path := range []string{
		"/api/users;x=1/", "/api/users/;x", "/api/users/?page=1?page=2", "/api/users/%2e%2e/", "/%2Fapi/users/", "/api%2Fusers%2F", "/api/users/1%2Fpassword",
		"/API/users/", "/api/Users/", "/api/users/\x80", "/api/users/1%0A", "/api/users/%00", "/api/users/1%20", "/api/auth/me/", "/api/auth/me%20", "/login/",
		"/health/", "/api/auth/reset/a/b", "/api/auth/reset/%2e", "/api/auth/reset/..", "/api/auth/reset/", "/api/auth/reset/%2F", "/api/auth/reset/a%00",
		"/api/auth/reset/" + strings.Repeat("a", 3000), "/api/users/1?", "/api/users/1#x", "/?", "/dashboard/", "/users/", "/tools/", "/..",
		"/../../etc/passwd", "/.%2e/", "/api/./users/", "/api/users/7/.", "/api/users/7/./", "/api/users/..", "/\\", "/api\\users\\", "/api/users/²",
		"/api/users/%C2%B2", "/api/users/%D9%A7", "/api/users/7,8", "/api/users/7%2c8", "/api/users/7:8", "/api/users/0x7", "/api/users/7e0", "/api/users/007",
		"/api/users/-0", "/api/users/%2B7", "/api/users/%E2%88%927", "/api/memberships/?account_id=+7", "/api/memberships/?account_id=7&account_id=8",
		"/api/memberships/?account_id=%207", "/api/memberships/?account_id=7%00", "/api/memberships/?account_id=٧", "/api/memberships/?account_id=%D9%A7",
		"/api/memberships/?account_id=007", "/api/memberships/?account_id=7.", "/api/memberships/?account_id=7&page=-1",
		"/api/memberships/?account_id=8&page=-1", "/api/memberships/?account_id=x&page=-1", "/api/memberships/?ACCOUNT_ID=8",
		"/api/memberships/?account_id[]=8", "/api/users/?page=-0", "/api/users/?page=1_0", "/api/users/?page=0x1", "/api/users/?page=%D9%A1",
		"/api/users/?page=1&page=x", "/api/users/?page=x&page=1", "/api/users/?page[]=2", "/api/users/?Page=2", "/api/users/?page=2%00",
		"/api/users/?page=2%0a", "/api/users/?page=%0a2", "/api/users/?page=1%20", "/api/users/?page=00000002", "/api/users/?page=-9223372036854775809",
		"/api/users/?page=NaN", "/api/users/?page=null", "/api/users/?page=&per_page=", "/api/users/?per_page=-5", "/api/users/?per_page=1e2",
		"/api/users/?per_page=2147483648", "/api/users/?per_page=9999999999999999999999", "/api/users/?page=2147483647&per_page=100", "/api/users/?&&&",
		"/api/users/?=", "/api/users/?page", "/api/users/?q=\xff", "/api/users/?q=å", "/api/users/?q=%F8", "/api/users/?q=%26&q=berg", "/api/users/?q=berg&q=",
		"/api/users/?q=a%00b&page=0", "/api/users/?q=%E2%80%8B", "/api/users/?q=%C4%B0", "/api/users/?q=%C5%BFer7", "/api/users/?q=%E2%84%AA",
		"/api/users/?q=BJ%C3%98RN", "/api/users/?q=a%CC%8Ase", "/api/users/?q=AASE", "/api/users/?q=%5C%5C", "/api/users/?q=%5C%25", "/api/users/?q=100%25_%5C",
		"/api/users/?q=%25%25%25", "/api/users/?q=___", "/api/users/?q=ing%C2%A0", "/api/users/?q=%09", "/api/users/?q=%0A", "/api/users/?q=%F0%9F%A6%80",
		"/api/users/?q=%C3%9F", "/api/users/?q=SS", "/api/users/?q=%EF%AC%81", "/api/users/?q=%CE%B5%CE%BB", "/api/users/?q=+++", "/api/users/?q=%20",
		"/api/users/?q=" + strings.Repeat("%C3%A5", 1000), "/api/badges/?q=x", "/api/tools/?page=2&per_page=3&page=9",
		`/api/users?q="<>[]^{}|\`, "/api/badges?\xc3\xa5=\xff", "/api/tools?a?b#c", "/api/users?#", "/api/users/?q=\xff\xfe%ff%C3", "/api/users/?page=1#&page=x", "/users?q=\xff",
	} {
		for _, as := range []string{"", "member", "admin"} {
			story = append(story, raw{as, "GET " + path, "", nil})
		}
		story = append(story, raw{"member", "POST " + path, "{}", []string{asJSON}}, raw{"member", "PUT " + path, "{}", []string{asJSON}})
	}
	return story
}

func hostileHeads() (story []raw) {
	many := make([]string, 80)
	for i := range many {
		many[i] = fmt.Sprintf("X-Many-%d: x", i)
	}
	for _, head := range []string{
		"X-HTTP-Method-Override: DELETE", "X-Original-URL: /api/auth/logout", "X-Rewrite-URL: /health", "X-Forwarded-Prefix: /x", "X-Script-Name: /api",
		"SCRIPT_NAME: /api", "Script-Name: /api", "PATH_INFO: /health", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https",
		"X-Forwarded-Proto: https\r\nX-Forwarded-SSL: off", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: \xff", "Forwarded: for=1.2.3.4", "Host: evil.example",
		"Host: evil.example:99999", "Host: [::1]", "Host: a_b", "Host: EXAMPLE.org.", "Accept: text/html", "Accept: nothing/at-all", "Accept-Encoding: gzip",
		"Accept-Language: nb", "If-None-Match: *", "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT", "Range: bytes=0-1",
		"Authorization: Basic dXNlcjc6cmVoZWFyc2Fs", "Authorization: Bearer x", "Origin: https://evil.example", "Referer: https://evil.example/",
		"X-Requested-With: XMLHttpRequest", "Upgrade: websocket", "X-Request-ID: ", "X-Request-ID: " + strings.Repeat("x", 3000), "X-Request-ID: a\tb",
		"X-Request-ID: æ", "X-Long: " + strings.Repeat("y", 8000), "X-Empty:", "Content-Length: 0", "Cache-Control: no-cache", "Pragma: no-cache",
		"HX-Request: true", "User-Agent: ", "User-Agent: \xff\xfe", "From: x",
		strings.Join(many, "\r\n"),
	} {
		for _, line := range []string{"GET /api/auth/me", "GET /api/users", "GET /api/users/7", "HEAD /api/users/7", "GET /api/nothing", "PUT /api/users/7", "GET /"} {
			story = append(story, raw{"", line, "", []string{head}}, raw{"member", line, "", []string{head}})
		}
	}
	return story
}

func hostileCookies() (story []raw) {
	for _, cookie := range []string{
		"session_id={session}", "session_id={session};", " session_id={session} ", "session_id=\"{session}\"", "session_id={session}; session_id=x",
		"session_id=x; session_id={session}", "session_id=; session_id={session}", "session_id={session}\r\nCookie: session_id=x",
		"session_id=x\r\nCookie: session_id={session}", "a=b; session_id={session}", "a; session_id={session}", "a=\"b; session_id={session}",
		"a=\"b;c\"; session_id={session}", "a=b, session_id={session}", "session_id={session},a=b", "session_id={session}x", "session_id={session} x",
		"session_id ={session}", "session_id= {session}", "SESSION_ID={session}", "Session_Id={session}", "$Version=1; session_id={session}; $Path=/",
		"session_id={session};;;a=b", ";session_id={session}", "=x; session_id={session}", "æ=ø; session_id={session}", "a=\xff; session_id={session}",
		"a=b\tc; session_id={session}", "a b=c; session_id={session}", "a[]=c; session_id={session}", "a{}=c; session_id={session}",
		"session_id={session}; user_id=1", "user_id=7", "session_id=" + strings.Repeat("A", 43), "session_id=" + strings.Repeat("A", 44),
		"session_id=" + strings.Repeat("A", 5000), "session_id=../../etc", "session_id=%7B", "session_id=session:{session}", "session={session}",
		"session=eyJfdXNlcl9pZCI6IjEifQ.aaaa.bbbb", "remember_token=7|x", "a=b; session_id={session}; a=\"", "session_id\t=\t{session}",
		"session_id=\"{session}", "session_id={session}\"", "session_id=\\\"{session}\\\"", "session_id=\"\\163{session}\"",
	} {
		for _, line := range []string{"GET /api/auth/me", "GET /dashboard", "GET /login"} {
			story = append(story, raw{"member", line, "", []string{"Cookie: " + cookie}})
		}
	}
	return story
}
