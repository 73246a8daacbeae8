package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/certs"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func TestABrowserThatTrustsTheAuthorityAcceptsTheEdge(t *testing.T) {
	names := []string{"localhost", "127.0.0.1", "::1", "192.0.2.7", "members.example.org"}
	local, err := certs.Renew(certs.Local{}, "cutover test", names, now)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair([]byte(local.Server.Certificate), []byte(local.Server.Key))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(local.Authority.Certificate)))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	dial := func(name string) error {
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: name, RootCAs: roots, Time: func() time.Time { return now }})
		if err != nil {
			return err
		}
		return conn.Close()
	}
	for _, name := range names {
		assert.NoError(t, dial(name), name)
	}
	for _, name := range []string{"example.org", "127.0.0.2", "a.localhost"} {
		assert.ErrorAs(t, dial(name), new(x509.HostnameError), name)
	}
	life := pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore)
	assert.Less(t, life, 398*day, "what browsers take")
	assert.False(t, pair.Leaf.IsCA)
	assert.NotContains(t, local.Server.Certificate+local.Authority.Certificate, "KEY")
}

func TestTheAuthorityVouchesForNobodyElse(t *testing.T) {
	local, err := certs.Renew(certs.Local{}, "cutover test", []string{"localhost", "127.0.0.1"}, now)
	require.NoError(t, err)
	authority, err := tls.X509KeyPair([]byte(local.Authority.Certificate), []byte(local.Authority.Key))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(authority.Leaf)
	key := newKey(t)
	for _, name := range []string{"bank.example", "192.0.2.1", "2001:db8::1"} {
		template := template()
		template.DNSNames, template.IPAddresses = nil, nil
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = []net.IP{ip}
		} else {
			template.DNSNames = []string{name}
		}
		forged := sign(t, template, authority.Leaf, key.Public(), authority.PrivateKey)
		_, err := forged.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
		var invalid x509.CertificateInvalidError
		require.ErrorAs(t, err, &invalid, name)
		assert.Equal(t, x509.CANotAuthorizedForThisName, invalid.Reason, name)
	}
}

func TestOnlyWhatHasToBeIsRenewed(t *testing.T) {
	names := []string{"localhost", "127.0.0.1"}
	first, err := certs.Renew(certs.Local{}, "cutover test", names, now)
	require.NoError(t, err)
	other, err := certs.Renew(certs.Local{}, "cutover test", names, now)
	require.NoError(t, err)
	require.NotEqual(t, first.Authority, other.Authority)

	for _, c := range []struct {
		what              string
		kept              certs.Local
		names             []string
		at                time.Time
		server, authority bool // are new
	}{
		{"nothing changed", first, names, now, false, false},
		{"another order", first, []string{"127.0.0.1", "localhost", "localhost"}, now, false, false},
		{"a year later", first, names, now.Add(366 * day), false, false},
		{"near its end", first, names, now.Add(368 * day), true, false},
		{"long after its end", first, names, now.Add(900 * day), true, false},
		{"a name less", first, names[:1], now, true, false},
		{"an address that the authority may vouch for", first, append(names, "127.0.0.2"), now, true, false},
		{"one that it may not", first, append(names, "192.0.2.7"), now, true, true},
		{"a host name that it may not", first, append(names, "members.example.org"), now, true, true},
		{"near the authority's end", first, names, now.Add(10*365*day - 396*day), true, true},
		{"another authority's", certs.Local{Authority: other.Authority, Server: first.Server}, names, now, true, false},
		{"another key", certs.Local{Authority: first.Authority, Server: certs.Pair{Certificate: first.Server.Certificate, Key: other.Server.Key}}, names, now, true, false},
		{"no authority", certs.Local{Server: first.Server}, names, now, true, true},
		{"no key of the authority", certs.Local{Authority: certs.Pair{Certificate: first.Authority.Certificate}, Server: first.Server}, names, now, false, false},
		{"garbage", certs.Local{Authority: certs.Pair{Certificate: "x", Key: "y"}, Server: certs.Pair{Certificate: "z"}}, names, now, true, true},
		{"a clock that was wrong", first, names, now.Add(-2 * day), true, true},
	} {
		got, err := certs.Renew(c.kept, "cutover test", c.names, c.at)
		require.NoError(t, err, c.what)
		assert.Equal(t, c.server, got.Server != c.kept.Server, c.what)
		assert.Equal(t, c.authority, got.Authority != c.kept.Authority, c.what)
		again, err := certs.Renew(got, "cutover test", c.names, c.at)
		require.NoError(t, err, c.what)
		assert.Equal(t, got, again, c.what)
	}

	_, err = certs.Renew(certs.Local{}, "cutover test", []string{"not a name"}, now)
	assert.ErrorContains(t, err, "not a name")
}

func TestATeamsOwnCertificateIsChecked(t *testing.T) {
	key, otherKey := newKey(t), newKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	_, odd, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	root := sign(t, authorityTemplate(), authorityTemplate(), otherKey.Public(), otherKey)

	made := func(change func(*x509.Certificate)) string {
		template := template()
		change(template)
		return encode(sign(t, template, root, key.Public(), otherKey))
	}
	good := made(func(*x509.Certificate) {})
	private := encodeKey(t, key)

	for _, c := range []struct{ what, certificate, key, want string }{
		{"good", good, private, ""},
		{"with its authority", good + encode(root), private, ""},
		{"both in one file", good + private, private + good, ""},
		{"any purpose", made(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), private, ""},
		{"nothing", "", private, "there is no certificate in it"},
		{"a key alone", private, private, "there is no certificate in it"},
		{"broken", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", private, "certificate 1 in it is broken"},
		{"expired", made(func(c *x509.Certificate) { c.NotAfter = now.Add(-day) }), private, "the certificate expired on 2026-05-31"},
		{"not yet", made(func(c *x509.Certificate) { c.NotBefore = now.Add(day) }), private, "the certificate is not valid before 2026-06-02"},
		{"without names", made(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "localhost" }), private, "is for no name"},
		{"for clients", made(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), private, "not one for servers"},
		{"in the wrong order", encode(root) + good, private, "did not sign the one before it"},
		{"a weak key", encode(sign(t, template(), root, weak.Public(), otherKey)), encodeKey(t, weak), "has a key of 1024 bits"},
		{"a key that browsers do not take", encode(sign(t, template(), root, odd.Public(), otherKey)), encodeKey(t, odd), "has a key of the kind Ed25519"},
		{"another's key", good, encodeKey(t, otherKey), "the key does not belong to the certificate"},
		{"no key", good, good, "there is no key in it"},
		{"an encrypted key", good, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n", "the key is encrypted"},
		{"a broken key", good, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "the key does not belong to the certificate"},
	} {
		chain, err := certs.ParseChain(c.certificate)
		if err == nil {
			err = chain.Check(now)
		}
		if err == nil {
			err = chain.CheckKey(c.key)
		}
		if c.want == "" {
			require.NoError(t, err, c.what)
			_, err = tls.X509KeyPair([]byte(chain.PEM()), []byte(c.key))
			assert.NoError(t, err, c.what)
			continue
		}
		assert.ErrorContains(t, err, c.want, c.what)
	}

	chain, err := certs.ParseChain(good + encode(root))
	require.NoError(t, err)
	assert.Equal(t, []string{"*.example.org", "localhost"}, chain.Names())
	assert.Equal(t, now.Add(90*day), chain.Ends())
	for name, want := range map[string]bool{"localhost": true, "members.example.org": true, "example.org": false, "127.0.0.1": false} {
		assert.Equal(t, want, chain.Covers(name), name)
	}
}

func template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "a team's"},
		DNSNames:  []string{"localhost", "*.example.org"},
		NotBefore: now.Add(-day), NotAfter: now.Add(90 * day),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func authorityTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a team's authority"},
		NotBefore: now.Add(-day), NotAfter: now.Add(900 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return certificate
}

func encode(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

func encodeKey(t *testing.T, key crypto.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
