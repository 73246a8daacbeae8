// Package certs makes and checks the certificates that the edge shows: those of
// a local authority, and a team's own. It touches no files.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// Pair is a certificate and its key, both as PEM.
type Pair struct {
	Certificate string // with those between it and its authority, if there are any
	Key         string
}

// Local is an authority of one environment, and the certificate that it gave
// to the environment's edge. The zero value has neither.
type Local struct {
	Authority Pair
	Server    Pair
}

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	serverLife    = 397 * 24 * time.Hour // browsers refuse more
	renewBefore   = 30 * 24 * time.Hour
)

// Renew returns what is kept where its certificate is for exactly these names
// and good for 30 more days. Else the edge gets a new certificate; and where the
// authority is missing, may not vouch for one of the names, or does not live as
// long, there is a new authority too. The names are host names and IP addresses,
// at least one; title tells the authority from others in a browser's list.
func Renew(kept Local, title string, names []string, now time.Time) (Local, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if kept.serves(names, now) {
		return kept, nil
	}
	renewed := Local{Authority: kept.Authority}
	var err error
	if renewed.Server, err = issue(kept.Authority, names, now); err == nil && renewed.serves(names, now) {
		return renewed, nil
	}
	if renewed.Authority, err = newAuthority(title, names, now); err != nil {
		return Local{}, fmt.Errorf("make a certificate authority: %w", err)
	}
	if renewed.Server, err = issue(renewed.Authority, names, now); err != nil {
		return Local{}, fmt.Errorf("make a certificate for %v: %w", names, err)
	}
	if !renewed.serves(names, now) {
		return Local{}, fmt.Errorf("no certificate can be made for %v: each has to be a host name or an IP address", names)
	}
	return renewed, nil
}

// Private

// serves says whether a browser that trusts the authority accepts the
// certificate for exactly these names, from now until its end.
func (l Local) serves(names []string, now time.Time) bool {
	pair, err := tls.X509KeyPair([]byte(l.Server.Certificate), []byte(l.Server.Key))
	if err != nil || !slices.Equal(namesOf(pair.Leaf), names) || now.Add(renewBefore).After(pair.Leaf.NotAfter) {
		return false
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(l.Authority.Certificate)) {
		return false
	}
	for _, name := range names {
		for _, at := range []time.Time{now, pair.Leaf.NotAfter} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: at}); err != nil {
				return false
			}
		}
	}
	return true
}

// newAuthority makes one that can vouch for nothing but the names and this
// machine itself: whoever trusts it trusts it with no more.
func newAuthority(title string, names []string, now time.Time) (Pair, error) {
	template := x509.Certificate{
		Subject:                     pkix.Name{CommonName: title},
		NotBefore:                   now.Add(-time.Hour), // clocks differ
		NotAfter:                    now.Add(authorityLife),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	for _, name := range names {
		ip := net.ParseIP(name)
		switch {
		case name == "localhost" || ip.IsLoopback():
		case ip == nil:
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, name)
		case ip.To4() != nil:
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip.To4(), Mask: net.CIDRMask(32, 32)})
		default:
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)})
		}
	}
	return sign(&template, nil)
}

// issue makes the edge's certificate.
func issue(authority Pair, names []string, now time.Time) (Pair, error) {
	signer, err := tls.X509KeyPair([]byte(authority.Certificate), []byte(authority.Key))
	if err != nil {
		return Pair{}, err
	}
	template := x509.Certificate{
		Subject:               pkix.Name{CommonName: names[0]},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(serverLife),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(&template, &signer)
}

// sign makes a certificate with a key of its own, signed by that key itself
// where there is no signer.
func sign(template *x509.Certificate, signer *tls.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if signer == nil {
		signer = &tls.Certificate{Leaf: template, PrivateKey: key}
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, signer.Leaf, key.Public(), signer.PrivateKey)
	if err != nil {
		return Pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: certificate})),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}, nil
}

// namesOf are the names that a certificate is for, sorted.
func namesOf(certificate *x509.Certificate) []string {
	names := slices.Clone(certificate.DNSNames)
	for _, ip := range certificate.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return names
}

var errNoCertificate = errors.New("there is no certificate in it: it has to begin with -----BEGIN CERTIFICATE-----")
