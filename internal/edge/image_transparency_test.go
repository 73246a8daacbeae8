//go:build edgeimage

package edge_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Python asked through the edge answers as python asked directly, by the table
// at weight 0 and with python-only.conf alike. EDGE_SLOW=1 adds an answer that
// takes 120 s.
func TestEdgeTransparency(t *testing.T) {
	r := newRig(t)
	r.apply(everything(0))
	inBothConfigurations(r, func(r *rig) {
		t := r.t.(*testing.T)
		for _, story := range []struct {
			name string
			run  func(*rig)
		}{
			{"requests and answers are the same", sameExchanges},
			{"what differs, and why", differences},
			{"large uploads", largeUploads},
			{"a refusal in the middle of an upload", earlyRefusals},
			{"Expect: 100-continue", continues},
			{"events come at once", eventsAtOnce},
			{"WebSockets", sameWebSockets},
			{"answers that end too early", cutAnswers},
			{"slow answers", slowAnswers},
		} {
			t.Run(story.name, func(t *testing.T) { story.run(r.at(t)) })
		}
	})
}

// inBothConfigurations runs it as two subtests.
func inBothConfigurations(r *rig, run func(*rig)) {
	t := r.t.(*testing.T)
	t.Run("nginx.conf", func(t *testing.T) { run(r.at(t)) })
	r.at(t).docker("exec", edgeName, "/etc/nginx/break-glass.sh", "on", "a test", "transparency")
	t.Run("python-only.conf", func(t *testing.T) { run(r.at(t)) })
	r.at(t).docker("exec", edgeName, "/etc/nginx/break-glass.sh", "off")
}

const line = " HTTP/1.1\r\nHost: example.org\r\n"

func sameExchanges(r *rig) {
	direct := r.direct(edge.Python)
	for name, request := range sorted(map[string]string{
		"nothing special":          "GET /" + line + "\r\n",
		"a query":                  "GET /a?x=1&y=%2F&z=a+b&&=&%41" + line + "\r\n",
		"double slashes":           "GET //a//b///?x=//" + line + "\r\n",
		"encoded slashes":          "GET /a%2Fb%2f%2F/c%20d/%C3%A6%E2%82%AC" + line + "\r\n",
		"other encoded characters": "GET /%41%7E/%3F%23%25/%0A;a=b,c:@!$'()*" + line + "\r\n",
		"dot segments":             "GET /a/./b/../c/%2e%2e/d" + line + "\r\n",
		"octets above 127":         "GET /\xc3\xa6?\xff" + line + "\r\n",
		"a long query":             "GET /?" + strings.Repeat("x", 16000) + line + "\r\n",

		"HEAD":                    "HEAD /?instant" + line + "\r\n",
		"HEAD of a file":          "HEAD /?file" + line + "\r\n",
		"OPTIONS":                 "OPTIONS /?status=204&header-Allow=GET,%20HEAD" + line + "\r\n",
		"PROPFIND":                "PROPFIND /" + line + "\r\n",
		"DELETE":                  "DELETE /a" + line + "\r\n",
		"a CORS preflight":        "OPTIONS /?status=204&header-Access-Control-Allow-Origin=https%3A%2F%2Fa.example&header-Access-Control-Allow-Methods=PUT&header-Access-Control-Max-Age=600&header-Vary=Origin" + line + "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a\r\n\r\n",
		"a CORS answer":           "GET /?header-Access-Control-Allow-Origin=*&header-Access-Control-Expose-Headers=X-A&header-Access-Control-Allow-Credentials=true" + line + "Origin: null\r\n\r\n",
		"a slash that is missing": "GET /a?status=308&header-Location=http%3A%2F%2Fexample.org%2Fa%2F" + line + "\r\n",
		"a relative redirect":     "POST /a?status=303&header-Location=b%2F..%2Fc" + line + "Content-Length: 0\r\n\r\n",
		"a redirect to a path":    "GET /a?status=302&header-Location=%2F%2Fa%2F%3Fb" + line + "\r\n",
		"a redirect with a port":  "GET /a?status=301&header-Location=http%3A%2F%2Fexample.org%3A8080%2F" + line + "\r\n",
		"Refresh":                 "GET /?header-Refresh=5%3B+url%3Dhttp%3A%2F%2Fflask%3A5000%2F" + line + "\r\n",

		"a file":             "GET /?file" + line + "\r\n",
		"a range":            "GET /?file" + line + "Range: bytes=16-31\r\n\r\n",
		"the end":            "GET /?file" + line + "Range: bytes=-5\r\n\r\n",
		"several ranges":     "GET /?file&header-X=1" + line + "Range: bytes=0-0\r\nIf-Range: \"v1\"\r\n\r\n",
		"a range of another": "GET /?file" + line + "Range: bytes=0-0\r\nIf-Range: \"v0\"\r\n\r\n",
		"no such range":      "GET /?file" + line + "Range: bytes=999999-\r\n\r\n",
		"If-None-Match":      "GET /?file" + line + "If-None-Match: \"v0\", W/\"v1\"\r\n\r\n",
		"If-Match":           "GET /?file" + line + "If-Match: \"v0\"\r\n\r\n",
		"If-Modified-Since":  "GET /?file" + line + "If-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT\r\n\r\n",
		"conditions on a system that has none": "GET /?header-Etag=%22e%22&header-Last-Modified=Fri%2C+02+Jan+2026+03%3A04%3A05+GMT" + line +
			"If-None-Match: \"e\"\r\nIf-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT\r\nRange: bytes=0-0\r\n\r\n",
		"gzip":         "GET /?gzip" + line + "Accept-Encoding: gzip, br\r\n\r\n",
		"no gzip":      "GET /?gzip" + line + "Accept-Encoding: identity\r\n\r\n",
		"HEAD of gzip": "HEAD /?gzip" + line + "Accept-Encoding: gzip\r\n\r\n",

		"16 KB in one header":    "GET /" + line + "X-Long: " + strings.Repeat("x", 16384) + "\r\n\r\n",
		"16 KB in many headers":  "GET /" + line + headers(64, 256) + "\r\n",
		"large cookies":          "GET /" + line + "Cookie: a=" + strings.Repeat("x", 12000) + "; b=c\r\n\r\n",
		"several cookie lines":   "GET /" + line + "Cookie: a=b\r\nCookie: c=d\r\n\r\n",
		"a header given twice":   "GET /" + line + "X-A: 1\r\nX-B: 2\r\nX-A: 3, 4\r\nAccept: a\r\nAccept: b\r\n\r\n",
		"empty headers":          "GET /" + line + "X-Empty:\r\nUser-Agent:\r\nAccept:  \r\n\r\n",
		"octets in a header":     "GET /" + line + "X-A: \xc3\xa6\xff\t\"\\\r\n\r\n",
		"credentials":            "GET /" + line + "Authorization: Basic YTpi\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
		"headers of middlemen":   "GET /" + line + "Via: 1.1 a\r\nMax-Forwards: 3\r\nCache-Control: no-cache\r\nPragma: no-cache\r\nWarning: 199 - a\r\nDate: x\r\nFrom: a\r\n\r\n",
		"another host with port": "GET / HTTP/1.1\r\nHost: EXAMPLE.org:1234\r\n\r\n",

		"several Set-Cookie":  "GET /?header-Set-Cookie=a%3Db%3B+Path%3D%2F%3B+HttpOnly&header-Set-Cookie=c%3Dd%3B+Secure&header-Set-Cookie=a%3De" + line + "\r\n",
		"16 KB of Set-Cookie": "GET /?header-Set-Cookie=a%3D" + strings.Repeat("x", 8000) + "&header-Set-Cookie=b%3D" + strings.Repeat("y", 8000) + line + "\r\n",
		"headers that nginx reads": "GET /?header-X-Accel-Redirect=%2Fmetrics&header-X-Accel-Expires=0&header-X-Accel-Buffering=yes&header-X-Accel-Charset=utf-8&header-X-Accel-Limit-Rate=1" +
			"&header-Server=gunicorn&header-Date=Thu%2C%2001%20Jan%201970%2000%3A00%3A00%20GMT&header-Expires=0&header-Cache-Control=no-store&header-Cache-Control=private&header-Vary=*&header-X-Pad=1&header-Accept-Ranges=none" + line + "\r\n",
		"headers of all kinds": "GET /?header-Www-Authenticate=Basic&header-Www-Authenticate=Bearer&header-Link=a&header-Link=b&header-Strict-Transport-Security=max-age%3D1&header-Content-Security-Policy=default-src+%27self%27" +
			"&header-Content-Disposition=attachment&header-Content-Language=nb&header-Retry-After=1&header-X-Request-Id=theirs&header-Via=a&header-Age=5&header-Alt-Svc=clear&header-Status=200&header-X-Empty=&header-P3P=a&header-X_Under=a&status=401" + line + "\r\n",
		"no content":           "GET /?status=204" + line + "\r\n",
		"not modified":         "GET /?status=304&header-Etag=%22e%22" + line + "\r\n",
		"reset content":        "GET /?status=205" + line + "\r\n",
		"a teapot":             "GET /?status=418" + line + "\r\n",
		"an unknown status":    "GET /?status=599" + line + "\r\n",
		"no such page":         "GET /?status=404" + line + "\r\n",
		"a failure":            "GET /?status=500" + line + "\r\n",
		"another failure":      "GET /?status=503&header-Retry-After=1" + line + "\r\n",
		"a gateway's failure":  "GET /?status=504" + line + "\r\n",
		"nginx's own statuses": "GET /?status=499" + line + "\r\n",
		"too many requests":    "GET /?status=429" + line + "\r\n",

		"a body":            "POST /" + line + "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
		"an empty body":     "POST /" + line + "Content-Length: 0\r\n\r\n",
		"no body at all":    "PUT /" + line + "\r\n",
		"a GET with a body": "GET /" + line + "Content-Length: 5\r\n\r\nhello",
		"a compressed body": "POST /" + line + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",

		"HTTP/1.0":             "GET /a HTTP/1.0\r\nHost: example.org\r\n\r\n",
		"HTTP/1.0, kept alive": "POST /a?gzip HTTP/1.0\r\nHost: example.org\r\nContent-Length: 2\r\n\r\nok",
	}) {
		assert.Equal(r.t, r.exchange(direct, request), r.exchange(r.address, request), name)
	}
}

// differences are what no HTTP proxy, or no safe one, passes on; everything else
// of these exchanges is the same.
func differences(r *rig) {
	for _, c := range []struct {
		reason  string
		request string
		differ  func(direct, edge *answered)
	}{
		{"these headers are between two neighbours (RFC 9110, 7.6.1)",
			"GET /" + line + "Connection: close\r\nKeep-Alive: 5\r\nTE: gzip\r\nUpgrade: h2c\r\n\r\n",
			withoutHeaders("Connection", "Keep-Alive", "Te", "Upgrade")},
		{"HTTP/1.0 knows no upgrade (RFC 9110, 7.8)",
			"GET /?instant HTTP/1.0\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", func(_, _ *answered) {}},
		{"WSGI takes X_Real_IP for X-Real-IP: a client could say who it is",
			"GET /" + line + "X_Real_IP: 1.2.3.4\r\nX.Dot: 1\r\n\r\n", withoutHeaders("X_real_ip", "X.dot")},
		{"the edge says where a request comes from, nobody else",
			"GET /" + line + "Forwarded: for=1.2.3.4\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /a\r\nX-Cutover-Force: go\r\nX-Cutover-Token: x\r\n\r\n",
			withoutHeaders("Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Cutover-Force", "X-Cutover-Token")},
		{"X-Served-By is the edge's",
			"GET /?header-X-Served-By=me" + line + "\r\n", func(_, _ *answered) {}},
		{"a target with a scheme is for proxies; what they pass on is the path",
			"GET http://example.org/a%2Fb?c HTTP/1.1\r\nHost: example.org\r\n\r\n", func(direct, _ *answered) {
				direct.Received.Target = strings.TrimPrefix(direct.Received.Target, "http://example.org")
			}},
		{"nginx passes on no trailers",
			"POST /?trailers" + line + "Content-Length: 2\r\n\r\nok", func(direct, edge *answered) {
				assert.Equal(r.t, http.Header{"X-Trailer": {"trailer"}}, direct.Trailer)
				direct.Trailer, edge.Trailer = nil, nil
			}},
		{"chunks are between two neighbours too (RFC 9112, 7): nginx joins those that came with the header",
			"DELETE /" + line + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n", joined},
		{"so it does with none", "POST /" + line + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", joined},
		{"HTTP/1.0 may leave out Host, HTTP/1.1 may not", "GET / HTTP/1.0\r\n\r\n", func(direct, edge *answered) {
			assert.NotNil(r.t, net.ParseIP(edge.Received.Host), edge.Received.Host)
			edge.Received.Host = direct.Received.Host
		}},
		{"nginx takes paths alone: OPTIONS * is about a server, and the edge is none", "OPTIONS *" + line + "\r\n", refused(http.StatusBadRequest)},
		{"nginx refuses TRACE, which repeats cookies to scripts", "TRACE /" + line + "\r\n", refused(http.StatusMethodNotAllowed)},
		{"nginx knows no method in small letters", "get /" + line + "\r\n", refused(http.StatusBadRequest)},
		{"nginx decodes a path to see whether it is hidden: no NUL", "GET /a%00b" + line + "\r\n", refused(http.StatusBadRequest)},
		{"and none that climbs above the root", "GET /../a" + line + "\r\n", refused(http.StatusBadRequest)},
		{"metrics are hidden", "GET /metrics" + line + "\r\n", refused(http.StatusNotFound)},
		{"a header line is 32 KB at most", "GET /" + line + "X-Long: " + strings.Repeat("x", 33000) + "\r\n\r\n", refused(http.StatusBadRequest)},
		{"and so is the target", "GET /?" + strings.Repeat("x", 33000) + line + "\r\n", refused(http.StatusRequestURITooLong)},
	} {
		direct, edge := r.exchange(r.direct(edge.Python), c.request), r.exchange(r.address, c.request)
		c.differ(&direct, &edge)
		assert.Equal(r.t, direct, edge, c.reason)
	}
}

// withoutHeaders is so where only the direct request arrives with these.
func withoutHeaders(names ...string) func(direct, edge *answered) {
	return func(direct, _ *answered) {
		for _, name := range names {
			delete(direct.Received.Header, name)
		}
	}
}

// joined is so where the edge announces the length of a body.
func joined(direct, _ *answered) {
	direct.Received.Length = int64(len(direct.Received.Body))
	direct.Received.Header.Set("Content-Length", strconv.FormatInt(direct.Received.Length, 10))
}

// refused is so where the edge answers by itself.
func refused(status int) func(direct, edge *answered) {
	return func(direct, edge *answered) {
		if edge.status == status && direct.status != status {
			*edge = *direct
		}
	}
}

func largeUploads(r *rig) {
	body := bytes.Repeat([]byte("0123456789abcde\n"), 25<<16)
	want := fmt.Sprintf("%d %x <nil>", len(body), sha256.Sum256(body))
	for _, length := range []int64{int64(len(body)), -1} {
		request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.address+"/?sum", io.MultiReader(bytes.NewReader(body)))
		require.NoError(r.t, err)
		request.ContentLength = length
		content, err := io.ReadAll(r.do(request).Body)
		require.NoError(r.t, err)
		assert.Equal(r.t, fmt.Sprintf("%d %s", length, want), string(content))
	}
}

// The client waits for the answer in the middle of its body, or goes on sending.
func earlyRefusals(r *rig) {
	for _, sent := range []int{0, 1, 1 << 16, 20 << 20} {
		for name, address := range sorted(map[string]string{"direct": r.direct(edge.Python), "edge": r.address}) {
			conn := r.dialTo(address)
			go func() { // an error means that the other side had enough
				_, _ = fmt.Fprintf(conn, "POST /?early"+line+"Content-Length: %d\r\n\r\n", 25<<20)
				_, _ = conn.Write(make([]byte, sent))
			}()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if assert.NoError(r.t, err, "%s, %d sent", name, sent) {
				assert.Equal(r.t, http.StatusRequestEntityTooLarge, response.StatusCode, "%s, %d sent", name, sent)
			}
		}
	}
}

func continues(r *rig) {
	for name, address := range sorted(map[string]string{"direct": r.direct(edge.Python), "edge": r.address}) {
		conn := r.dialTo(address)
		_, err := io.WriteString(conn, "POST /"+line+"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		require.NoError(r.t, err)
		reader := bufio.NewReader(conn)
		text, err := reader.ReadString('\n')
		require.NoError(r.t, err)
		assert.Equal(r.t, "HTTP/1.1 100 Continue\r\n", text, name)
		_, err = reader.ReadString('\n')
		require.NoError(r.t, err)
		_, err = io.WriteString(conn, "hello")
		require.NoError(r.t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(r.t, err)
		assert.Equal(r.t, "hello", r.receivedBy(response).Body, name)
	}
}

func eventsAtOnce(r *rig) {
	r.get("/?instant")
	for name, address := range sorted(map[string]string{"direct": r.direct(edge.Python), "edge": r.address}) {
		conn := r.dialTo(address)
		start := time.Now()
		_, err := io.WriteString(conn, "GET /?events"+line+"Accept: text/event-stream\r\n\r\n")
		require.NoError(r.t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(r.t, err)
		assert.Equal(r.t, "text/event-stream", response.Header.Get("Content-Type"), name)
		text, err := bufio.NewReader(response.Body).ReadString('\n')
		require.NoError(r.t, err)
		assert.Equal(r.t, "data: first\n", text, name)
		assert.Less(r.t, time.Since(start), 100*time.Millisecond, name)
		r.t.Logf("%s: the first event after %s", name, time.Since(start).Round(100*time.Microsecond))
		require.NoError(r.t, conn.Close())
	}
}

func sameWebSockets(r *rig) {
	var answers []http.Header
	for _, address := range []string{r.direct(edge.Python), r.address} {
		conn := r.dialTo(address)
		_, err := io.WriteString(conn, "GET /"+line+"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\r\n")
		require.NoError(r.t, err)
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(r.t, err)
		assert.Equal(r.t, http.StatusSwitchingProtocols, response.StatusCode)
		assert.True(r.t, strings.EqualFold("upgrade", response.Header.Get("Connection")))
		for _, name := range []string{"Connection", "X-Served-By", "Set-Cookie"} {
			response.Header.Del(name)
		}
		withoutProtection(response.Header)
		answers = append(answers, response.Header)
		for size := 1; size <= 1<<20; size <<= 5 {
			frame := bytes.Repeat([]byte{0x81, 0, 0xff}, size)
			go func() { _, _ = conn.Write(frame) }()
			back := make([]byte, len(frame))
			_, err := io.ReadFull(reader, back)
			require.NoError(r.t, err)
			assert.Equal(r.t, sha256.Sum256(frame), sha256.Sum256(back))
		}
	}
	assert.Equal(r.t, answers[0], answers[1])
}

// A client must see that it did not get all.
func cutAnswers(r *rig) {
	for _, framing := range []string{"length", "chunked"} {
		for name, address := range sorted(map[string]string{"direct": r.direct(edge.Python), "edge": r.address}) {
			conn := r.dialTo(address)
			_, err := io.WriteString(conn, "GET /?short="+framing+line+"\r\n")
			require.NoError(r.t, err)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(r.t, err, "%s %s", name, framing)
			content, err := io.ReadAll(response.Body)
			assert.ErrorIs(r.t, err, io.ErrUnexpectedEOF, "%s %s", name, framing)
			assert.Equal(r.t, "only this", string(content), "%s %s", name, framing)
		}
	}
}

func slowAnswers(r *rig) {
	pause := 3 * time.Second
	if os.Getenv("EDGE_SLOW") == "1" {
		pause = 120 * time.Second
	}
	conn := r.dial()
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(pause+patience)))
	start := time.Now()
	_, err := io.WriteString(conn, "POST /?pause="+pause.String()+line+"Content-Length: 5\r\n\r\nhello")
	require.NoError(r.t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(r.t, err)
	assert.Equal(r.t, http.StatusOK, response.StatusCode)
	assert.Equal(r.t, "hello", r.receivedBy(response).Body)
	assert.GreaterOrEqual(r.t, time.Since(start), pause)
}

// answered is an answer without what is the edge's own, and what differs from
// one time to the next.
type answered struct {
	status   int
	Status   string
	Header   http.Header
	Length   int64
	Received *received // where the answer says it
	Body     string    // else
	Trailer  http.Header
}

// exchange sends a request as it is written.
func (r *rig) exchange(address, request string) answered {
	r.t.Helper()
	conn := r.dialTo(address)
	_, err := io.WriteString(conn, request)
	require.NoError(r.t, err)
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(r.t, err, "%.200s", request)
	content, err := io.ReadAll(response.Body)
	require.NoError(r.t, err, "%.200s", request)
	require.NoError(r.t, conn.Close())

	got := answered{response.StatusCode, response.Status, response.Header, response.ContentLength, nil, string(content), response.Trailer}
	for _, name := range []string{"Connection", "X-Served-By"} {
		got.Header.Del(name)
	}
	withoutProtection(got.Header)
	if got.Header.Get("Date") != "Thu, 01 Jan 1970 00:00:00 GMT" {
		got.Header.Del("Date")
	}
	if cookies := slices.DeleteFunc(got.Header["Set-Cookie"], func(cookie string) bool {
		return strings.HasPrefix(cookie, "cutover_visitor=")
	}); len(cookies) == 0 {
		got.Header.Del("Set-Cookie")
	} else {
		got.Header["Set-Cookie"] = cookies
	}
	var said received
	if json.Unmarshal(content, &said) == nil && said.Method != "" {
		said.Arrived = 0
		for _, name := range []string{"X-Request-Id", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Proto"} {
			said.Header.Del(name)
		}
		// Its length is that of the headers that the edge adds, too.
		got.Received, got.Body, got.Length = &said, "", 0
		got.Header.Del("Content-Length")
	}
	return got
}

// withoutProtection leaves out what the edge adds where the system has none of
// its own; TestEdgeTLS is about these.
func withoutProtection(header http.Header) {
	for name, value := range edgeHeaders(edge.Python, false) {
		if slices.Equal(header[name], []string{value}) {
			header.Del(name)
		}
	}
}

// dialTo opens a connection that is closed when the subtest ends.
func (r *rig) dialTo(address string) net.Conn {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// headers are so many, each of so many characters.
func headers(count, size int) string {
	var all strings.Builder
	for i := range count {
		name := fmt.Sprintf("X-Many-%d: ", i)
		all.WriteString(name + strings.Repeat("x", size-len(name)-2) + "\r\n")
	}
	return all.String()
}
