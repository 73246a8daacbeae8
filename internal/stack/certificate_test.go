package stack

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/certs"
)

func certified(t *testing.T, variables map[string]string) *Stack {
	t.Helper()
	s, err := New(Settings{Root: t.TempDir(), Project: "p", Getenv: func(name string) string { return variables[name] }}, nil, nil)
	require.NoError(t, err)
	return s
}

func TestTheEdgesCertificateIsMadeOnceAndKept(t *testing.T) {
	s := certified(t, nil)
	wanted, err := s.certificate("127.0.0.1")
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", wanted.host())
	secrets, _ := complete(Secrets{})
	changed, err := wanted.renew(secrets)
	require.NoError(t, err)
	assert.True(t, changed)
	pair, err := tls.X509KeyPair([]byte(secrets[serverCertificate]), []byte(secrets[serverKey]))
	require.NoError(t, err)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		assert.NoError(t, pair.Leaf.VerifyHostname(name))
	}
	print := fingerprint(secrets)
	again, missing := complete(secrets)
	assert.False(t, missing)
	assert.Equal(t, secrets, again, "a command that wants no certificate leaves it alone")
	changed, err = wanted.renew(again)
	require.NoError(t, err)
	assert.False(t, changed)
	assert.Equal(t, print, fingerprint(again))

	assert.Empty(t, s.AuthorityFile())
	require.NoError(t, s.keepAuthority(wanted, secrets))
	content, err := os.ReadFile(s.AuthorityFile())
	require.NoError(t, err)
	assert.Equal(t, secrets[authorityCertificate], string(content))
	assert.NotContains(t, string(content), "PRIVATE")

	wanted, err = s.certificate("[2001:db8::7]")
	require.NoError(t, err)
	assert.Equal(t, "[2001:db8::7]", wanted.host())
	changed, err = wanted.renew(again)
	require.NoError(t, err)
	assert.True(t, changed, "another address")
	assert.NotEqual(t, print, fingerprint(again))
}

func TestATeamsOwnCertificateIsShownWhileItIsNamed(t *testing.T) {
	own, err := certs.Renew(certs.Local{}, "a team", []string{"members.example.org"}, time.Now())
	require.NoError(t, err)
	variables := map[string]string{namesVariable: "members.example.org"}
	s := certified(t, variables)
	local, err := s.certificate("127.0.0.1")
	require.NoError(t, err)
	assert.Equal(t, "members.example.org", local.host())
	secrets, _ := complete(Secrets{})
	_, err = local.renew(secrets)
	require.NoError(t, err)
	require.NoError(t, s.keepAuthority(local, secrets))
	authority := secrets[authorityCertificate]

	variables[certificateVariable], variables[keyVariable] = file(t, own.Server.Certificate), file(t, own.Server.Key)
	team, err := s.certificate("127.0.0.1")
	require.NoError(t, err)
	changed, err := team.renew(secrets)
	require.NoError(t, err)
	assert.True(t, changed)
	assert.Equal(t, own.Server, certs.Pair{Certificate: secrets[serverCertificate], Key: secrets[serverKey]})
	require.NoError(t, s.keepAuthority(team, secrets))
	assert.Empty(t, s.AuthorityFile(), "there is nothing to trust")
	changed, err = team.renew(secrets)
	require.NoError(t, err)
	assert.False(t, changed)

	changed, err = local.renew(secrets)
	require.NoError(t, err)
	assert.True(t, changed)
	assert.Equal(t, authority, secrets[authorityCertificate], "who trusted it still does")
}

func TestWrongCertificatesAreRefusedByTheNameOfTheirVariable(t *testing.T) {
	made := func(at time.Time, names ...string) certs.Pair {
		local, err := certs.Renew(certs.Local{}, "a team", names, at)
		require.NoError(t, err)
		return local.Server
	}
	good, other, expired := made(time.Now(), "localhost"), made(time.Now(), "members.example.org"), made(time.Now().AddDate(-2, 0, 0), "localhost")
	goodFile, keyFile := file(t, good.Certificate), file(t, good.Key)
	for _, c := range []struct{ certificate, key, names, want string }{
		{goodFile, keyFile, "", ""},
		{file(t, good.Certificate+good.Key), file(t, good.Key), "localhost", ""},
		{goodFile, "", "", "CUTOVER_TLS_CERTIFICATE is set and CUTOVER_TLS_KEY is not"},
		{"", keyFile, "", "CUTOVER_TLS_KEY is set and CUTOVER_TLS_CERTIFICATE is not"},
		{"/nowhere/c.pem", keyFile, "", "CUTOVER_TLS_CERTIFICATE=/nowhere/c.pem: no such file"},
		{goodFile, "/nowhere/k.pem", "", "CUTOVER_TLS_KEY=/nowhere/k.pem: no such file"},
		{t.TempDir(), keyFile, "", "CUTOVER_TLS_CERTIFICATE="},
		{keyFile, keyFile, "", "there is no certificate in it"},
		{file(t, strings.Repeat("x", largestPEM+1)), keyFile, "", "it is larger than 64 KB"},
		{file(t, expired.Certificate), file(t, expired.Key), "", "the certificate expired on"},
		{goodFile, file(t, other.Key), "", "the key does not belong to the certificate"},
		{goodFile, goodFile, "", "there is no key in it"},
		{file(t, other.Certificate), file(t, other.Key), "", "the certificate is for members.example.org; say with CUTOVER_EDGE_NAMES"},
		{goodFile, keyFile, "localhost, members.example.org", "the certificate is for localhost, not for members.example.org, which CUTOVER_EDGE_NAMES names"},
		{"", "", "Members.example.org", `CUTOVER_EDGE_NAMES="Members.example.org"`},
		{"", "", "a b_c", `"b_c" is neither a host name`},
		{"", "", "https://a.example", "is neither a host name"},
		{"", "", "fe80::1%eth0", "is neither a host name"},
		{"", "", "-a", "is neither a host name"},
		{"", "", "192.0.2.7 2001:db8::1,members.example.org", ""},
	} {
		s := certified(t, map[string]string{certificateVariable: c.certificate, keyVariable: c.key, namesVariable: c.names})
		wanted, err := s.certificate("0.0.0.0")
		if c.want == "" {
			require.NoError(t, err)
			_, err = wanted.renew(Secrets{})
			require.NoError(t, err, "%q", c.names)
			continue
		}
		assert.ErrorIs(t, err, ErrSettings)
		assert.ErrorContains(t, err, c.want)
		assert.NotContains(t, err.Error(), good.Key[30:90])
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}
