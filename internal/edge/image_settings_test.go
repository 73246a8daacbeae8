//go:build edgeimage

package edge_test

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEdgeSettings(t *testing.T) {
	r := newRig(t)
	t.Run("a wrong setting is named", func(t *testing.T) { namedSettings(r.at(t)) })
	t.Run("settings at their bounds are taken", func(t *testing.T) { boundaries(r.at(t)) })

	peer, err := r.at(t).describe("/")
	require.NoError(t, err)
	host := peer.Header.Get("X-Real-Ip")
	for name, c := range sorted(map[string]struct {
		flags []string
		run   func(*rig, string)
	}{
		"limits": {[]string{
			"--env", "CUTOVER_MAX_BODY_MB=1", "--env", "CUTOVER_MAX_HEADER_KB=4", "--env", "CUTOVER_RESPONSE_TIMEOUT_S=1",
		}, limits},
		"trusted proxies":  {[]string{"--env", "CUTOVER_TRUSTED_PROXIES= " + host + "  198.51.100.0/24 2001:db8::/32"}, trustedProxies},
		"other proxies":    {[]string{"--env", "CUTOVER_TRUSTED_PROXIES=198.51.100.0/24"}, otherProxies},
		"no proxies":       {[]string{"--env", "CUTOVER_TRUSTED_PROXIES="}, otherProxies},
		"secrets in paths": {nil, func(r *rig, _ string) { secretsStayOutOfTheLog(r) }},
		"python at an IP": {[]string{"--env", "CUTOVER_PYTHON_ADDR=" + r.direct("python")}, func(r *rig, _ string) {
			_, err := r.describe("/")
			assert.NoError(r.t, err)
		}},
	}) {
		r.at(t).startEdge(c.flags...)
		r.apply(everything(0))
		t.Run(name, func(t *testing.T) {
			inBothConfigurations(r.at(t), func(r *rig) { c.run(r, host) })
		})
	}
}

func namedSettings(r *rig) {
	const address = "NAME:PORT or an IPv4 address with a port from 1 to 65535"
	const networks = "addresses or networks like 10.0.0.0/8, separated by spaces"
	const policies = "directives like default-src 'self', without quotation marks, backslashes, dollar signs, commas and line breaks"
	for _, c := range []struct {
		variable, must string
		values         []string
	}{
		{"CUTOVER_HOME", "python or go", []string{"", "perl", "Go", "go "}},
		{"CUTOVER_PYTHON_ADDR", address, []string{"", "flask", "flask:", ":5000", "flask:0", "flask:65536", "flask:5000/", "fla sk:1", "[::1]:5000", "a:1:2", "a\";:1", "flask:5e3"}},
		{"CUTOVER_GO_ADDR", address, []string{"", "goapp:080", "http://goapp:8080"}},
		{"CUTOVER_MAX_BODY_MB", "a whole number from 1 to 10240", []string{"", "0", "10241", "32m", "-1", "1.5", "032", "99999999999999999999", " 1", "1\n2"}},
		{"CUTOVER_MAX_HEADER_KB", "a whole number from 4 to 256", []string{"", "3", "257"}},
		{"CUTOVER_RESPONSE_TIMEOUT_S", "a whole number from 1 to 3600", []string{"", "0", "3601", "130s"}},
		{"CUTOVER_PLAIN_HTTP", "true or false", []string{"", "yes", "True", "1"}},
		{"CUTOVER_CSP_ENFORCE", "true or false", []string{"", "on"}},
		{"CUTOVER_EDGE_HTTPS_PORT", "a whole number from 1 to 65535", []string{"", "0", "65536", "08443", "8443;"}},
		{"CUTOVER_HSTS_MAX_AGE_S", "a whole number from 0 to 63072000", []string{"", "-1", "00", "0300", "63072001", "123456789", "300;"}},
		{"CUTOVER_CSP_GO", policies, []string{"", " a", "default-src \"", "a\\", "a $host", "a, b", "a\nX: y", "a\n", "default-src \u201c"}},
		{"CUTOVER_CSP_PYTHON", policies, []string{"", "'self'"}},
		{"CUTOVER_TRUSTED_PROXIES", networks, []string{
			"localhost", "10.0.0.0/33", "10.0.0", "10.0.0.256", "10.0.0.0/", "::1/129", ":::", "::1 x", "unix:", "10.0.0.1,10.0.0.2", "*", "10.0.0.0/8;", "-e", "010.0.0.1", "fe80::1%eth0",
		}},
	} {
		for _, value := range c.values {
			// Refused before anything is written.
			out, err := exec.Command("docker", "exec", "--env", c.variable+"="+value, edgeName, "/etc/nginx/entrypoint.sh", "nginx", "-v").CombinedOutput()
			assert.Error(r.t, err, "%s=%q", c.variable, value)
			assert.Equal(r.t, c.variable+" must be "+c.must+`, not "`+value+"\"\n", string(out))
		}
	}
}

func boundaries(r *rig) {
	for _, settings := range [][]string{
		{
			"CUTOVER_MAX_BODY_MB=1", "CUTOVER_MAX_HEADER_KB=4", "CUTOVER_RESPONSE_TIMEOUT_S=1", "CUTOVER_PYTHON_ADDR=a:1", "CUTOVER_TRUSTED_PROXIES= \t",
			"CUTOVER_HSTS_MAX_AGE_S=0", "CUTOVER_EDGE_HTTPS_PORT=1", "CUTOVER_CSP_GO=a",
		},
		{
			"CUTOVER_MAX_BODY_MB=10240", "CUTOVER_MAX_HEADER_KB=256", "CUTOVER_RESPONSE_TIMEOUT_S=3600", "CUTOVER_PYTHON_ADDR=10.0.0.1:65535",
			"CUTOVER_HSTS_MAX_AGE_S=63072000", "CUTOVER_EDGE_HTTPS_PORT=65535", "CUTOVER_PLAIN_HTTP=true", "CUTOVER_CSP_ENFORCE=true",
			"CUTOVER_CSP_PYTHON=script-src 'self' 'sha256-" + strings.Repeat("aB9+/", 300) + "=' https://*.example.org:443/a%20b?c&d#e|f{g}~[h]^`_!*(i)@;",
			"CUTOVER_TRUSTED_PROXIES=0.0.0.0/0 ::/0 10.1.2.3/8 127.0.0.1 ::ffff:1.2.3.4/128 2001:DB8::1",
		},
	} {
		args := []string{"run", "--rm", "--name", prefix + "bounds", "--user", "10100:10100", "--volume", r.secrets + ":/run/secrets:ro"}
		for _, setting := range settings {
			args = append(args, "--env", setting)
		}
		r.docker(append(args, edgeImage, "nginx", "-t")...)
	}
}

func limits(r *rig, _ string) {
	for size, want := range sorted(map[int]int{1 << 20: http.StatusOK, 1<<20 + 1: http.StatusRequestEntityTooLarge}) {
		request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.address+"/?sum", strings.NewReader(strings.Repeat("x", size)))
		require.NoError(r.t, err)
		assert.Equal(r.t, want, r.do(request).StatusCode)
	}
	for size, want := range sorted(map[int]int{4000: http.StatusOK, 4200: http.StatusBadRequest}) {
		assert.Equal(r.t, want, r.get("/", "X-Long", strings.Repeat("x", size)).StatusCode, "%d", size)
	}
	assert.Equal(r.t, http.StatusOK, r.raw("GET /"+line+headers(64, 256)+"\r\n").StatusCode, "16 KB in many headers")
	assert.Equal(r.t, http.StatusGatewayTimeout, r.get("/?pause=3s").StatusCode)
	assert.Equal(r.t, http.StatusOK, r.get("/?pause=300ms").StatusCode)
}

func trustedProxies(r *rig, peer string) {
	for said, want := range sorted(map[string]string{
		"X-Forwarded-For: 203.0.113.7\r\n":                                     "203.0.113.7",
		"X-Forwarded-For: 1.2.3.4, 203.0.113.7, 198.51.100.9\r\n":              "203.0.113.7",
		"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 198.51.100.9\r\n":    "203.0.113.7",
		"X-Forwarded-For: 203.0.113.7,2001:db8::5\r\n":                         "203.0.113.7",
		"X-Forwarded-For: 198.51.100.9, 2001:db9::1\r\n":                       "2001:db9::1",
		"X-Forwarded-For: 198.51.100.9\r\n":                                    "198.51.100.9",
		"X-Forwarded-For: nobody\r\n":                                          peer,
		"X-Forwarded-For: 203.0.113.7, nobody\r\n":                             peer,
		"X-Real-IP: 203.0.113.7\r\nForwarded: for=203.0.113.7;proto=https\r\n": peer,
		"": peer,
	}) {
		got := r.receivedBy(r.raw("GET /" + line + said + "\r\n"))
		assert.Equal(r.t, []string{want}, got.Header["X-Real-Ip"], said)
		assert.Equal(r.t, []string{want}, got.Header["X-Forwarded-For"], said)
		assert.NotContains(r.t, got.Header, "Forwarded", said)
	}
	for said, want := range sorted(map[string]string{
		"http": "http", "https": "https", "HTTPS": "https", "gopher": "http", "https, http": "http", "": "http", "https;": "http",
	}) {
		got := r.receivedBy(r.get("/", "X-Forwarded-Proto", said, "X-Forwarded-For", "203.0.113.7"))
		assert.Equal(r.t, []string{want}, got.Header["X-Forwarded-Proto"], said)
	}
}

func otherProxies(r *rig, peer string) {
	got := r.receivedBy(r.get("/", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https"))
	assert.Equal(r.t, []string{peer}, got.Header["X-Real-Ip"])
	assert.Equal(r.t, []string{peer}, got.Header["X-Forwarded-For"])
	assert.Equal(r.t, []string{"http"}, got.Header["X-Forwarded-Proto"])
}

// Links in mails hold their secret in the path.
func secretsStayOutOfTheLog(r *rig) {
	secret := strings.Repeat("Secret.1-_", 4)
	mark := fmt.Sprintf("/%x", time.Now().UnixNano()) // not that of another time
	for target, want := range sorted(map[string]string{
		mark + "/api/auth/reset/" + secret:             `"path":"` + mark + `/api/auth/reset/***"`,
		mark + "/b//" + secret + "/c/" + secret + "?x": `"path":"` + mark + `/b//***"`,
		mark + "/%53ecret.1-_" + secret[1:]:            `"path":"` + mark + `/***"`,
		mark + "/short/" + secret[1:] + "?hidden":      `"path":"` + mark + `/short/` + secret[1:] + `"`,
	}) {
		assert.Equal(r.t, http.StatusOK, r.get(target).StatusCode)
		r.eventually(func() error {
			if !strings.Contains(r.logs(), want) {
				return errors.New("it is not in the log")
			}
			return nil
		}, want)
	}
	assert.NotContains(r.t, r.logs(), secret)
	assert.NotContains(r.t, r.logs(), "hidden")
}
