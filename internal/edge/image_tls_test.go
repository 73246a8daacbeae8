//go:build edgeimage

package edge_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

const (
	pythonPolicy = "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
	goPolicy     = "default-src 'self'; frame-ancestors 'none'"
	ownPolicy    = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// edgeHeaders are those that every answer has where its system, "" for the edge
// itself, sets none of its own.
func edgeHeaders(system edge.System, enforced bool) map[string]string {
	headers := map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "strict-origin-when-cross-origin",
	}
	policy := map[edge.System]string{edge.Python: pythonPolicy, edge.Go: goPolicy, "": ownPolicy}[system]
	if enforced || system == "" {
		headers["Content-Security-Policy"] = policy
	} else {
		headers["Content-Security-Policy-Report-Only"] = policy
	}
	return headers
}

func TestEdgeTLS(t *testing.T) {
	r := newRig(t)
	r.apply(everything(0))
	t.Run("protocols and ciphers", func(t *testing.T) {
		inBothConfigurations(r.at(t), protocols)
	})
	t.Run("sessions are resumed, and not by tickets", func(t *testing.T) { resumption(r.at(t)) })
	t.Run("requests pass over HTTP/2", func(t *testing.T) {
		inBothConfigurations(r.at(t), passOverHTTP2)
	})
	t.Run("every request is counted once", func(t *testing.T) { countedOverTLS(r.at(t)) })
	t.Run("cookies of the edge are Secure", func(t *testing.T) { secureVisitor(r.at(t)) })
	t.Run("WebSockets and events", func(t *testing.T) { upgradedOverTLS(r.at(t)) })
	t.Run("every answer has the headers", func(t *testing.T) { headersOnEveryAnswer(r.at(t), false) })
	t.Run("an application's own headers stay", func(t *testing.T) { ownHeadersStay(r.at(t), false) })
	t.Run("loopback names get no HSTS", func(t *testing.T) { loopbackNames(r.at(t)) })

	for name, c := range sorted(map[string]struct {
		flags []string
		run   func(*rig)
	}{
		"enforced policies": {[]string{"CUTOVER_CSP_ENFORCE=true"}, func(r *rig) {
			headersOnEveryAnswer(r, true)
			ownHeadersStay(r, true)
		}},
		"HSTS of another age":        {[]string{"CUTOVER_HSTS_MAX_AGE_S=63072000"}, func(r *rig) { r.hasHSTS("max-age=63072000") }},
		"HSTS is taken back":         {[]string{"CUTOVER_HSTS_MAX_AGE_S=0"}, func(r *rig) { r.hasHSTS("max-age=0") }},
		"plain HTTP leads to TLS":    {[]string{"CUTOVER_PLAIN_HTTP=false"}, leadsToTLS},
		"the usual port is not said": {[]string{"CUTOVER_PLAIN_HTTP=false", "CUTOVER_EDGE_HTTPS_PORT=443"}, usualPort},
		"a proxy that speaks TLS":    {[]string{"CUTOVER_PLAIN_HTTP=false", "CUTOVER_TRUSTED_PROXIES=0.0.0.0/0"}, proxyWithTLS},
	}) {
		t.Run(name, func(t *testing.T) {
			var flags []string
			for _, setting := range c.flags {
				flags = append(flags, "--env", setting)
			}
			r.at(t).startEdge(append(flags, "--env", "CUTOVER_CSP_PYTHON="+pythonPolicy, "--env", "CUTOVER_CSP_GO="+goPolicy)...)
			r.apply(everything(0))
			c.run(r)
		})
	}
	t.Run("without a certificate it says so", func(t *testing.T) { noCertificate(r.at(t)) })
}

// Everything that may be agreed on, and nothing else. Go cannot speak what is
// older than TLS 1.0, nor export ciphers: those are offered by hand.
func protocols(r *rig) {
	dial := func(change func(*tls.Config)) (tls.ConnectionState, error) {
		config := r.tlsConfig()
		change(config)
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", r.tlsAddress, config)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		return conn.ConnectionState(), conn.Close()
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		state, err := dial(func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		require.NoError(r.t, err, tls.VersionName(version))
		assert.Equal(r.t, "h2", state.NegotiatedProtocol)
		assert.Len(r.t, state.VerifiedChains, 1)
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		_, err := dial(func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		assert.ErrorContains(r.t, err, "protocol version", tls.VersionName(version))
	}
	taken := []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		state, err := dial(func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite.ID} })
		if slices.Contains(taken, suite.ID) {
			assert.NoError(r.t, err, suite.Name)
			assert.Equal(r.t, suite.ID, state.CipherSuite, suite.Name)
		} else {
			assert.Error(r.t, err, suite.Name)
		}
	}
	for name, hello := range sorted(map[string][]byte{
		"SSL 3.0":              clientHello(0x0300, 0x0a, 0x2f, 0xc009),
		"export ciphers":       clientHello(0x0303, 0x03, 0x06, 0x08, 0x0e, 0x14, 0x17, 0x19),
		"no encryption":        clientHello(0x0303, 0x01, 0x02, 0x3b, 0xc006, 0xc010),
		"anonymous parties":    clientHello(0x0303, 0x34, 0x3a, 0x6c, 0xa6, 0xc018),
		"DES, 3DES, RC4, IDEA": clientHello(0x0303, 0x04, 0x05, 0x07, 0x09, 0x0a, 0x16, 0xc008, 0xc012, 0xc007, 0xc011),
		"CBC":                  clientHello(0x0303, 0x2f, 0x35, 0x3c, 0x3d, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028),
		"finite-field Diffie":  clientHello(0x0303, 0x33, 0x39, 0x67, 0x6b, 0x9e, 0x9f),
	}) {
		conn := r.dialTo(r.tlsAddress)
		_, err := conn.Write(hello)
		require.NoError(r.t, err)
		answer, err := io.ReadAll(conn)
		assert.NoError(r.t, err, name)
		if assert.Len(r.t, answer, 7, name) {
			assert.Equal(r.t, byte(21), answer[0], "%s: an alert", name)
			assert.Contains(r.t, []byte{40, 70}, answer[6], "%s: handshake failure or protocol version", name)
		}
	}
	// The same by hand with what is taken, or the refusals above would say nothing.
	conn := r.dialTo(r.tlsAddress)
	_, err := conn.Write(clientHello(0x0303, 0xc02b))
	require.NoError(r.t, err)
	answer := make([]byte, 6)
	_, err = io.ReadFull(conn, answer)
	require.NoError(r.t, err)
	assert.Equal(r.t, []byte{22, 2}, []byte{answer[0], answer[5]}, "a ServerHello")
}

// clientHello offers a version and cipher suites, with P-256 and ECDSA.
func clientHello(version uint16, suites ...uint16) []byte {
	number := func(n int) []byte { return []byte{byte(n >> 8), byte(n)} }
	body := slices.Concat(number(int(version)), make([]byte, 32), []byte{0}, number(2*len(suites)))
	for _, suite := range suites {
		body = append(body, number(int(suite))...)
	}
	body = append(body, 1, 0) // no compression
	if version > 0x0300 {
		extensions := []byte{
			0, 10, 0, 4, 0, 2, 0, 23, // groups
			0, 11, 0, 2, 1, 0, // point formats
			0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1, // signatures
		}
		body = slices.Concat(body, number(len(extensions)), extensions)
	}
	hello := slices.Concat([]byte{1, 0}, number(len(body)), body)
	return slices.Concat([]byte{22}, number(int(min(version, 0x0301))), number(len(hello)), hello)
}

func resumption(r *rig) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := r.tlsConfig()
		config.MinVersion, config.MaxVersion = version, version
		config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		config.NextProtos = nil
		resumed := false
		for range 5 {
			conn, err := tls.Dial("tcp", r.tlsAddress, config)
			require.NoError(r.t, err)
			_, err = io.WriteString(conn, "GET /?instant"+line+"Connection: close\r\n\r\n")
			require.NoError(r.t, err)
			_, err = io.ReadAll(conn)
			require.NoError(r.t, err)
			resumed = resumed || conn.ConnectionState().DidResume
			require.NoError(r.t, conn.Close())
		}
		// Go's client knows tickets alone: those of 1.3 are keys to the server's
		// cache, those of 1.2 would be the state itself.
		assert.Equal(r.t, version == tls.VersionTLS13, resumed, tls.VersionName(version))
	}
}

func passOverHTTP2(r *rig) {
	body := strings.Repeat("0123456789abcdef", 1<<16)
	ids := map[string]bool{}
	for name, content := range sorted(map[string]io.Reader{
		"with a length": strings.NewReader(body),
		"in chunks":     io.MultiReader(strings.NewReader(body)),
	}) {
		request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPatch, "https://"+r.tlsAddress+"/a%2Fb//c/../d%20e?x=1&y=%2F", content)
		require.NoError(r.t, err)
		request.Header = http.Header{"X-Forwarded-Proto": {"http"}, "X-Custom": {"a", "b"}, "Cookie": {"a=b; cutover_visitor=" + strings.Repeat("0", 32)}, "X-Long": {strings.Repeat("x", 30000)}}
		response, err := r.overTLS().Do(request)
		require.NoError(r.t, err)
		assert.Equal(r.t, "HTTP/2.0", response.Proto)
		got := r.receivedBy(response)
		require.NoError(r.t, response.Body.Close())
		assert.Equal(r.t, "/a%2Fb//c/../d%20e?x=1&y=%2F", got.Target, name)
		assert.Equal(r.t, r.tlsAddress, got.Host, name)
		assert.Len(r.t, got.Body, 1<<20, name)
		assert.Equal(r.t, []string{"https"}, got.Header["X-Forwarded-Proto"], name)
		assert.Equal(r.t, []string{"a", "b"}, got.Header["X-Custom"], name)
		assert.Len(r.t, got.Header.Get("X-Long"), 30000, name)
		assert.Contains(r.t, got.Header.Get("Cookie"), "a=b", name)
		ids[got.Header.Get("X-Request-Id")] = true
	}
	for range 50 {
		ids[r.receivedBy(r.getTLS("/")).Header.Get("X-Request-Id")] = true
	}
	assert.Len(r.t, ids, 52, "each request has an id of its own")
}

// As over plain HTTP, one connection or many, whatever becomes of a request.
func countedOverTLS(r *rig) {
	r.apply(everything(0), edge.Route{Name: "new", Prefix: "/new", Pin: edge.Go})
	before := r.counters()
	for range 50 {
		r.getTLS("/?status=200")
		r.getTLS("/?status=404")
		r.getTLS("/new?status=502")
		r.getTLS("/new?drop")
		r.get("/?status=500")
	}
	r.getTLS("/metrics")
	r.getTLS("/health/go")
	for range 10 { // clients that leave: their stream ends, or their connection
		abandoned := &http.Client{Transport: r.overTLS().Transport, Timeout: 300 * time.Millisecond}
		request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "https://"+r.tlsAddress+"/?hold", http.NoBody)
		require.NoError(r.t, err)
		_, err = abandoned.Do(request)
		require.Error(r.t, err)

		require.NoError(r.t, r.dialTo(r.tlsAddress).Close(), "no request")
		handshake, err := tls.Dial("tcp", r.tlsAddress, r.tlsConfig())
		require.NoError(r.t, err)
		require.NoError(r.t, handshake.Close(), "no request either")
		conn := r.dialTo(r.tlsAddress)
		_, err = io.WriteString(conn, "GET /"+line+"\r\n")
		require.NoError(r.t, err)
		plain, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(r.t, err)
		require.Equal(r.t, http.StatusBadRequest, plain.StatusCode, "plain HTTP where TLS is spoken")
		for name, value := range edgeHeaders("", true) {
			assert.Equal(r.t, []string{value}, plain.Header[name])
		}
	}
	r.counted(before, map[string]map[edge.System]edge.Classes{
		"everything":   {edge.Python: {"2xx": 50, "4xx": 50, "5xx": 50, "left": 10}},
		"new":          {edge.Go: {"5xx": 50, "none": 50}},
		edge.Unmatched: {edge.Self: {"2xx": 1, "4xx": 11}},
	})
	after := r.counters()
	assert.Equal(r.t, uint64(5*50+2+20), after.Total-before.Total)
	assert.Equal(r.t, after.Total, sumOf(after))
	assert.Empty(r.t, after.InFlight)
	r.apply(everything(0))
}

func secureVisitor(r *rig) {
	for response, want := range map[*http.Response]string{
		r.getTLS("/"): `^cutover_visitor=[0-9a-f]{32}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure$`,
		r.get("/"):    `^cutover_visitor=[0-9a-f]{32}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax$`,
	} {
		require.Len(r.t, response.Cookies(), 1)
		assert.Regexp(r.t, want, response.Cookies()[0].Raw)
	}
}

func upgradedOverTLS(r *rig) {
	conn, err := tls.Dial("tcp", r.tlsAddress, &tls.Config{RootCAs: r.roots(), ServerName: edgeHost})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	require.NoError(r.t, err)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(r.t, err)
	assert.Equal(r.t, http.StatusSwitchingProtocols, response.StatusCode)
	_, err = io.WriteString(conn, "hello\n")
	require.NoError(r.t, err)
	said, err := reader.ReadString('\n')
	require.NoError(r.t, err)
	assert.Equal(r.t, "hello\n", said)

	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "https://"+r.tlsAddress+"/?events", http.NoBody)
	require.NoError(r.t, err)
	events, err := r.overTLS().Do(request)
	require.NoError(r.t, err)
	first, err := bufio.NewReader(events.Body).ReadString('\n')
	require.NoError(r.t, err)
	assert.Equal(r.t, "data: first\n", first)
	require.NoError(r.t, events.Body.Close())
}

// Whoever makes the answer, on both ports, by the table and with the glass
// broken.
func headersOnEveryAnswer(r *rig, enforced bool) {
	r.startEdge("--env", "CUTOVER_CSP_PYTHON="+pythonPolicy, "--env", "CUTOVER_CSP_GO="+goPolicy, "--env", fmt.Sprint("CUTOVER_CSP_ENFORCE=", enforced))
	routes := []edge.Route{everything(0), {Name: "new", Prefix: "/new", Pin: edge.Go}, {Name: "fragments", Prefix: "/htmx", Follows: "everything"}}
	r.apply(routes...)
	check := func(r *rig, target string, status int, system edge.System) {
		for port, response := range sorted(map[string]*http.Response{"TLS": r.getTLS(target), "plain": r.raw("GET " + target + line + "\r\n")}) {
			want := edgeHeaders(system, enforced)
			if port == "TLS" {
				want["Strict-Transport-Security"] = "max-age=300"
			}
			what := fmt.Sprintf("%s of %s on %s", target, system, port)
			assert.Equal(r.t, status, response.StatusCode, what)
			assert.Equal(r.t, string(system), response.Header.Get("X-Served-By"), what)
			got := map[string]string{}
			for name, values := range response.Header {
				if slices.Contains(protecting, name) {
					got[name] = strings.Join(values, " AND ")
				}
			}
			assert.Equal(r.t, want, got, what)
		}
	}
	for _, status := range []int{200, 204, 302, 304, 401, 404, 405, 418, 500, 502, 503, 599} {
		check(r, fmt.Sprintf("/?status=%d&header-Location=/x", status), status, edge.Python)
		check(r, fmt.Sprintf("/new?status=%d&header-Location=/x", status), status, edge.Go)
	}
	check(r, "/new?drop", 502, edge.Go)
	check(r, "/?drop", 502, edge.Python)
	check(r, "/health/python", 200, edge.Python)
	check(r, "/health/go", 200, edge.Go)
	check(r, "/metrics", 404, "")
	check(r, "/htmx/x", 200, "")
	check(r, "/%00", 400, "")

	defer func() { _ = exec.Command("docker", "unpause", container(edge.Go)).Run() }() // also where this fails
	r.docker("pause", container(edge.Go))
	check(r, "/health/go", 504, edge.Go)
	r.docker("unpause", container(edge.Go))

	r.script(0, "on", "ola", "headers")
	for _, status := range []int{200, 302, 404, 500, 502} {
		check(r, fmt.Sprintf("/?status=%d&header-Location=/x", status), status, edge.Python)
	}
	check(r, "/?drop", 502, edge.Python)
	check(r, "/health/python", 200, edge.Python)
	check(r, "/health/go", 503, "")
	check(r, "/metrics", 404, "")
	r.script(0, "off")
	r.startEdge()
	r.apply(everything(0))
}

// protecting are all headers that this is about.
var protecting = []string{
	"Strict-Transport-Security", "Content-Security-Policy", "Content-Security-Policy-Report-Only",
	"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy",
}

func ownHeadersStay(r *rig, enforced bool) {
	r.startEdge("--env", "CUTOVER_CSP_PYTHON="+pythonPolicy, "--env", fmt.Sprint("CUTOVER_CSP_ENFORCE=", enforced))
	r.apply(everything(0))
	inBothConfigurations(r, func(r *rig) {
		for _, own := range []struct {
			headers map[string][]string
			without []string // the edge's that are left out
		}{
			{map[string][]string{"Strict-Transport-Security": {"max-age=1"}}, nil},
			{map[string][]string{"X-Frame-Options": {"SAMEORIGIN"}, "Referrer-Policy": {"no-referrer", "origin"}, "X-Content-Type-Options": {"x"}}, nil},
			{map[string][]string{"Content-Security-Policy": {"default-src 'self'", "img-src *"}}, []string{"Content-Security-Policy-Report-Only"}},
			{map[string][]string{"Content-Security-Policy-Report-Only": {"default-src *"}}, nil},
		} {
			target := "/?status=404"
			for name, values := range own.headers {
				for _, value := range values {
					target += "&header-" + name + "=" + strings.NewReplacer(" ", "+", "=", "%3D").Replace(value)
				}
			}
			want := http.Header{"Strict-Transport-Security": {"max-age=300"}}
			for name, value := range edgeHeaders(edge.Python, enforced) {
				want[name] = []string{value}
			}
			maps.Copy(want, own.headers)
			for _, name := range own.without {
				delete(want, name)
			}
			got := r.getTLS(target).Header
			maps.DeleteFunc(got, func(name string, _ []string) bool { return !slices.Contains(protecting, name) })
			assert.Equal(r.t, want, got, target)
		}

		// Where nginx answers in a system's place, that one's headers say nothing.
		conn := r.getTLS("/?broken")
		assert.Equal(r.t, http.StatusBadGateway, conn.StatusCode)
		assert.Equal(r.t, []string{"DENY"}, conn.Header["X-Frame-Options"])
	})
}

func loopbackNames(r *rig) {
	for host, want := range sorted(map[string]bool{
		"localhost": false, "LOCALHOST:8443": false, "localhost.": false, "a.localhost": false, "a.b.LocalHost:1": false,
		"127.0.0.1": false, "127.0.0.1:8443": false, "127.255.255.254": false, "[::1]": false, "[::1]:8443": false,
		"[0:0:0:0:0:0:0:1]": false, "[::ffff:127.0.0.1]": false, "[::ffff:7f00:1]": false,
		"members.example.org": true, "localhost.example.org": true, "notlocalhost": true, "127.example.org": true,
		"192.0.2.7": true, "[2001:db8::1]:8443": true, "[::2]": true, "[::11]": true, "[2001:db8::ffff:7f00:1]": true,
	}) {
		for _, protocol := range []string{"h2", "http/1.1"} {
			client := r.over(protocol)
			request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "https://"+r.tlsAddress+"/", http.NoBody)
			require.NoError(r.t, err)
			request.Host = host
			response, err := client.Do(request)
			require.NoError(r.t, err, host)
			require.NoError(r.t, response.Body.Close())
			require.Equal(r.t, http.StatusOK, response.StatusCode, host)
			assert.Equal(r.t, want, response.Header.Get("Strict-Transport-Security") != "", "%s over %s", host, protocol)
		}
		assert.Empty(r.t, r.raw("GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n").Header.Get("Strict-Transport-Security"), "over plain HTTP")
	}
}

func (r *rig) hasHSTS(want string) {
	assert.Equal(r.t, want, r.getTLS("/").Header.Get("Strict-Transport-Security"))
	assert.Equal(r.t, want, r.getTLS("/?status=500").Header.Get("Strict-Transport-Security"))
	assert.Empty(r.t, r.get("/").Header.Get("Strict-Transport-Security"))
}

func leadsToTLS(r *rig) {
	inBothConfigurations(r, func(r *rig) {
		before := r.arrivals()
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions} {
			for target, want := range sorted(map[string]string{
				"/": "/", "/a%2Fb//c/../d%20e?x=1&y=%2F": "/a%2Fb//c/../d%20e?x=1&y=%2F", "//evil.example/": "//evil.example/",
				"/health": "/health", "/health/pythonX": "/health/pythonX", "/metrics?x": "/metrics?x", "http://other.example/a?b": "/a?b",
			}) {
				response := r.raw(method + " " + target + " HTTP/1.1\r\nHost: Members.Example.org:8080\r\nContent-Length: 0\r\n\r\n")
				host := "members.example.org"
				if strings.HasPrefix(target, "http:") {
					host = "other.example" // as every HTTP server reads it
				}
				assert.Equal(r.t, http.StatusPermanentRedirect, response.StatusCode, "%s %s", method, target)
				assert.Equal(r.t, []string{"https://" + host + ":8443" + want}, response.Header["Location"])
				assert.Empty(r.t, response.Cookies())
				assert.Empty(r.t, response.Header.Get("Strict-Transport-Security"))
				for name, value := range edgeHeaders("", true) {
					assert.Equal(r.t, []string{value}, response.Header[name])
				}
			}
		}
		assert.Equal(r.t, before, r.arrivals(), "nobody is asked")
		ipv6 := r.raw("GET /x HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n")
		assert.Equal(r.t, "https://[::1]:8443/x", ipv6.Header.Get("Location"))
		nameless := r.raw("GET /x HTTP/1.0\r\n\r\n").Header.Get("Location")
		assert.Regexp(r.t, `^https://[0-9.]+:8443/x$`, nameless)

		assert.Equal(r.t, "python", r.get("/health/python").Header.Get("X-Served-By"))
		assert.NotEqual(r.t, http.StatusPermanentRedirect, r.get("/health/go").StatusCode)
		assert.Equal(r.t, http.StatusOK, r.getTLS("/").StatusCode)
	})
	r.startEdge("--env", "CUTOVER_PLAIN_HTTP=false")
	r.apply(everything(0))
	counted := r.counters()
	for range 10 {
		r.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	r.counted(counted, map[string]map[edge.System]edge.Classes{edge.Unmatched: {edge.Self: {"3xx": 10}}})
}

func usualPort(r *rig) {
	response := r.raw("GET /x?y HTTP/1.1\r\nHost: members.example.org:80\r\n\r\n")
	assert.Equal(r.t, "https://members.example.org/x?y", response.Header.Get("Location"))
}

// Its word on how the client came is taken, or it would be led in circles.
func proxyWithTLS(r *rig) {
	const from = "GET /%s HTTP/1.1\r\nHost: members.example.org\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: %s\r\n\r\n"
	secure := r.raw(fmt.Sprintf(from, "", "https"))
	assert.Equal(r.t, http.StatusOK, secure.StatusCode)
	assert.Equal(r.t, "max-age=300", secure.Header.Get("Strict-Transport-Security"))
	assert.Contains(r.t, secure.Header.Get("Set-Cookie"), "; Secure")
	assert.Equal(r.t, http.StatusPermanentRedirect, r.raw(fmt.Sprintf(from, "", "http")).StatusCode)
	assert.Equal(r.t, http.StatusOK, r.raw(fmt.Sprintf(from, "health/go", "http")).StatusCode)
}

func noCertificate(r *rig) {
	r.write(r.secret("tls_key"), "")
	r.docker("rm", "--force", edgeName)
	out, err := exec.Command("docker", "run", "--name", edgeName, "--user", "10100:10100", "--volume", r.secrets+":/run/secrets:ro", edgeImage).CombinedOutput()
	assert.Error(r.t, err)
	assert.Contains(r.t, string(out), "nginx cannot read /run/secrets/nginx/tls_key: cutover up makes it")
}

// arrivals is how many requests came to both systems.
func (r *rig) arrivals() (sum uint64) {
	r.t.Helper()
	for _, system := range []edge.System{edge.Python, edge.Go} {
		got, err := r.describeAt(r.direct(system), "/health")
		require.NoError(r.t, err)
		sum += got.Arrived
	}
	return sum
}

func (r *rig) roots() *x509.CertPool {
	roots := x509.NewCertPool()
	require.True(r.t, roots.AppendCertsFromPEM([]byte(r.local.Authority.Certificate)))
	return roots
}

func (r *rig) tlsConfig() *tls.Config {
	return &tls.Config{RootCAs: r.roots(), ServerName: edgeHost, MinVersion: tls.VersionTLS10, NextProtos: []string{"h2", "http/1.1"}}
}

// over is a client that speaks one protocol over TLS, or lets the edge choose.
func (r *rig) over(protocols ...string) *http.Client {
	config := r.tlsConfig()
	config.NextProtos = protocols
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: slices.Contains(protocols, "h2")}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Timeout: patience, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (r *rig) overTLS() *http.Client { return r.over("h2", "http/1.1") }

// getTLS asks the edge over TLS, under the name that it has outside.
func (r *rig) getTLS(target string) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "https://"+r.tlsAddress+target, http.NoBody)
	require.NoError(r.t, err)
	request.Host = edgeHost
	response, err := r.overTLS().Do(request)
	require.NoError(r.t, err)
	content, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(strings.NewReader(string(content)))
	require.NoError(r.t, err)
	require.Equal(r.t, "HTTP/2.0", response.Proto)
	return response
}
