package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/certs"
)

// Whoever trusts the authority that up made reaches the application over TLS,
// and every answer protects the user: of both systems, on both ports, whatever
// happened.
func TestEveryAnswerProtectsTheUser(t *testing.T) {
	env := useShared(t)
	st := env.status(t)
	require.True(t, st.Ports.PlainHTTP)
	require.Equal(t, env.tlsAddress, fmt.Sprintf("https://127.0.0.1:%d", st.Ports.EdgeHTTPS))
	info, err := os.Stat(st.Authority)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	ports := map[string]*visitor{"TLS": env.trusting(t, st.Authority), "plain": env.newVisitor(&http.Transport{DisableKeepAlives: true})}
	setRoutes := func(weight string) {
		for _, route := range env.status(t).Routes {
			env.must(t, "route", route.Name, weight)
		}
	}
	for _, test := range []struct{ system, service, weight string }{{"python", "flask", "0"}, {"go", "goapp", "100"}} {
		setRoutes(test.weight)
		check := func(path string, wanted ...int) {
			t.Helper()
			for port, person := range ports {
				a := person.get(t, path)
				what := fmt.Sprintf("%s %s %d over %s", test.system, path, a.status, port)
				assert.Contains(t, wanted, a.status, what)
				assert.Equal(t, test.system, a.servedBy, what)
				assert.Equal(t, []string{"nosniff"}, a.header["X-Content-Type-Options"], what)
				assert.Equal(t, []string{"DENY"}, a.header["X-Frame-Options"], what)
				assert.Equal(t, []string{"strict-origin-when-cross-origin"}, a.header["Referrer-Policy"], what)
				policies := a.header["Content-Security-Policy-Report-Only"]
				if assert.Len(t, policies, 1, what) {
					assert.Equal(t, test.system == "python", strings.Contains(policies[0], "'unsafe-inline'"), what)
				}
				if port == "TLS" {
					assert.Equal(t, []string{"max-age=300"}, a.header["Strict-Transport-Security"], what)
				} else {
					assert.Empty(t, a.header["Strict-Transport-Security"], what)
				}
			}
		}
		for port, person := range ports {
			require.NoError(t, person.login(t.Context(), "user6"))
			a, err := person.do(t.Context(), http.MethodPost, "/api/auth/login", map[string]string{"username": "user6", "password": "rehearsal"})
			require.NoError(t, err)
			cookies := (&http.Response{Header: a.header}).Cookies()
			require.NotEmpty(t, cookies)
			for _, cookie := range cookies {
				assert.Equal(t, port == "TLS", cookie.Secure, "%s of %s over %s", cookie.Name, test.system, port)
			}
			assert.Equal(t, "user6", person.me(t))
		}
		check("/dashboard", http.StatusOK)
		check("/", http.StatusFound)
		check("/no/such/page", http.StatusNotFound)
		db := env.db(t)
		_, err := db.Exec(t.Context(), "ALTER TABLE tools RENAME TO tools_away")
		require.NoError(t, err)
		check("/api/tools/", http.StatusInternalServerError)
		_, err = db.Exec(t.Context(), "ALTER TABLE tools_away RENAME TO tools")
		require.NoError(t, err)

		require.NoError(t, env.engine.Kill(t.Context(), env.stack.Container(test.service)))
		// Nobody has its address now: whether that is found out at once or after a
		// second is up to the network. (TestEdgeTLS has them one by one.)
		check("/dashboard", http.StatusBadGateway, http.StatusGatewayTimeout)
		require.NoError(t, env.engine.Start(t.Context(), env.stack.Container(test.service)))
		env.awaitHealthy(t, test.service)
	}
}

// A team that wants no plain HTTP, has policies obeyed, and then brings its own
// certificate.
func TestTLSAlone(t *testing.T) {
	variables := map[string]string{"CUTOVER_PLAN": strictPlan(t)}
	env := ownEnvironment(t, "tls", variables)
	env.up(t)
	authority := env.status(t).Authority

	t.Run("plain HTTP leads to TLS", func(t *testing.T) {
		plain := env.newVisitor(&http.Transport{DisableKeepAlives: true})
		a := plain.get(t, "/dashboard?next=%2F")
		assert.Equal(t, http.StatusPermanentRedirect, a.status)
		assert.Equal(t, env.tlsAddress+"/dashboard?next=%2F", a.header.Get("Location"))
		assert.Empty(t, a.header["Set-Cookie"])
		assert.Equal(t, http.StatusOK, plain.get(t, "/health/python").status)
		assert.Contains(t, env.must(t, "status"), "leads to TLS")
	})

	t.Run("a browser obeys Go's policy, and has nothing to complain of", func(t *testing.T) {
		for _, route := range env.status(t).Routes {
			env.must(t, "route", route.Name, "100")
		}
		b := newBrowser(t, chromedp.Flag("ignore-certificate-errors-spki-list", keyHash(t, env)))
		env.address = env.tlsAddress
		b.login(t, env, "user14")
		for _, path := range []string{"/", "/dashboard", "/tools", "/users", "/reset", "/no/such/page"} {
			b.do(t, chromedp.Navigate(env.address+path))
			b.eventually(t, system+` === "go" && document.readyState === "complete" && location.protocol === "https:"`)
		}
		b.do(t, chromedp.Navigate(env.address+"/users"))
		b.search(t, "berg", nil)
		b.do(t, chromedp.Navigate(env.address+"/tools"))
		b.do(t, chromedp.Click(`form[action$="/checkout"] button`))
		b.eventually(t, `document.querySelector('form[action$="/checkin"]') !== null`)
		assert.Empty(t, b.complaints())

		// It would say so.
		b.eventually(t, `(() => {
			const script = document.createElement("script");
			script.textContent = "window.violated = true";
			document.body.append(script);
			return window.violated === undefined;
		})()`)
		require.Eventually(t, func() bool { return len(b.complaints()) > 0 }, 10*time.Second, 20*time.Millisecond)
		assert.Contains(t, strings.Join(b.complaints(), "\n"), "Content Security Policy")
		env.reset(t)
	})

	t.Run("a certificate that is wrong changes nothing", func(t *testing.T) {
		before := env.containers(t)
		own := ownCertificate(t)
		variables["CUTOVER_TLS_CERTIFICATE"], variables["CUTOVER_TLS_KEY"] = own.file, ownCertificate(t).key
		run := env.run(t.Context(), "up")
		assert.Equal(t, 2, run.code)
		assert.Contains(t, run.stderr, "CUTOVER_TLS_KEY="+variables["CUTOVER_TLS_KEY"]+": the key does not belong to the certificate")
		assert.Equal(t, before, env.containers(t))
		env.trusting(t, authority).get(t, "/login")
	})

	t.Run("a team's own is shown", func(t *testing.T) {
		own := ownCertificate(t)
		variables["CUTOVER_TLS_CERTIFICATE"], variables["CUTOVER_TLS_KEY"] = own.file, own.key
		before := env.containers(t)
		env.up(t)
		assert.NotEqual(t, before, env.containers(t), "nginx was started anew")
		assert.Equal(t, http.StatusOK, env.trusting(t, own.authority).get(t, "/login").status)
		assert.Empty(t, env.status(t).Authority)
		before = env.containers(t)
		env.up(t)
		assert.Equal(t, before, env.containers(t), "the same certificate is no change")

		env.must(t, "rollback", "--break-glass", "--reason", "TLS and headers stay")
		broken := env.trusting(t, own.authority).get(t, "/login")
		assert.Equal(t, http.StatusOK, broken.status)
		assert.Equal(t, []string{"DENY"}, broken.header["X-Frame-Options"])
		assert.Equal(t, []string{"max-age=300"}, broken.header["Strict-Transport-Security"])
		require.Eventually(t, func() bool {
			return env.run(t.Context(), "resume", "--reason", "after TLS").code == 0
		}, 20*time.Second, 200*time.Millisecond)

		delete(variables, "CUTOVER_TLS_CERTIFICATE")
		delete(variables, "CUTOVER_TLS_KEY")
		env.up(t)
		assert.Equal(t, authority, env.status(t).Authority)
		assert.Equal(t, http.StatusOK, env.trusting(t, authority).get(t, "/login").status, "the authority is the same as before")
	})
}

// trusting is a visitor over TLS who trusts one authority, given as a file, and
// calls the edge by a name that is not a loopback one.
func (env *environment) trusting(t *testing.T, authority string) *visitor {
	t.Helper()
	roots := x509.NewCertPool()
	content, err := os.ReadFile(authority)
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(content))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	person := env.newVisitor(named{transport})
	person.address = env.tlsAddress
	return person
}

// named sends requests under a host name of their own.
type named struct{ next http.RoundTripper }

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = "members.example.org"
	return n.next.RoundTrip(r)
}

// keyHash identifies the edge's key to Chromium, which then takes it without
// knowing the authority.
func keyHash(t *testing.T, env *environment) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(env.tlsAddress, "https://"), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.Equal(t, uint16(tls.VersionTLS13), conn.ConnectionState().Version)
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// strictPlan is the reference plan without plain HTTP, with policies enforced.
func strictPlan(t *testing.T) string {
	t.Helper()
	fixtures, err := filepath.Abs("../fixtures/p2k16")
	require.NoError(t, err)
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, fixtures)
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(fixtures, "cutover.yaml"))
	require.NoError(t, err)
	text := string(content)
	for _, change := range [][2]string{
		{"plain_http: true", "plain_http: false"}, {"enforce: false", "enforce: true"},
		{"source: ../../flask-stub", "source: " + relative + "/../../flask-stub"}, {"migrations: migrations", "migrations: " + relative + "/migrations"}, {"query: writes.sql", "query: " + relative + "/writes.sql"}, {"schema: schema.sql", "schema: " + relative + "/schema.sql"}, {"generator: seed", "generator: " + relative + "/seed"}, {"seed: seed.sql", "seed: " + relative + "/seed.sql"},
	} {
		require.Contains(t, text, change[0])
		text = strings.Replace(text, change[0], change[1], 1)
	}
	path := filepath.Join(dir, "cutover.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// teamFiles are a team's certificate, its key and its authority's certificate.
type teamFiles struct{ file, key, authority string }

func ownCertificate(t *testing.T) teamFiles {
	t.Helper()
	made, err := certs.Renew(certs.Local{}, "a team's own", []string{"localhost"}, time.Now())
	require.NoError(t, err)
	dir := t.TempDir()
	files := teamFiles{filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"), filepath.Join(dir, "ca.pem")}
	for path, content := range map[string]string{files.file: made.Server.Certificate, files.key: made.Server.Key, files.authority: made.Authority.Certificate} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return files
}
