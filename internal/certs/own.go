package certs

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Chain is a server's certificate and those between it and its authority, in
// the order in which a server shows them.
type Chain struct {
	certificates []*x509.Certificate
}

const (
	certificateBlock = "CERTIFICATE"
	leastRSABits     = 2048
)

// ParseChain reads certificates from PEM; what else there is, such as a key, is
// left out.
func ParseChain(text string) (Chain, error) {
	var chain Chain
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != certificateBlock {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return Chain{}, fmt.Errorf("certificate %d in it is broken: %w", len(chain.certificates)+1, err)
		}
		chain.certificates = append(chain.certificates, certificate)
	}
	if len(chain.certificates) == 0 {
		return Chain{}, errNoCertificate
	}
	return chain, nil
}

// PEM is the chain as a server reads it.
func (c Chain) PEM() string {
	var text strings.Builder
	for _, certificate := range c.certificates {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: certificate.Raw}))
	}
	return text.String()
}

// Names are the host names and addresses that the certificate is for, sorted.
func (c Chain) Names() []string { return namesOf(c.certificates[0]) }

// Ends is when the first certificate of the chain ends.
func (c Chain) Ends() time.Time {
	return slices.MinFunc(c.certificates, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

// Check says what would have a browser, or nginx, refuse the chain at this
// time. Whether the browser trusts its authority is another matter.
func (c Chain) Check(now time.Time) error {
	leaf := c.certificates[0]
	for i, certificate := range c.certificates {
		which := "the certificate"
		if i > 0 {
			which = fmt.Sprintf("certificate %d in it, of %s,", i+1, certificate.Subject)
			if err := c.certificates[i-1].CheckSignatureFrom(certificate); err != nil {
				return fmt.Errorf("%s did not sign the one before it: the server's own comes first, then its authority's, up to the root", which)
			}
		}
		switch {
		case now.After(certificate.NotAfter):
			return fmt.Errorf("%s expired on %s", which, day(certificate.NotAfter))
		case now.Before(certificate.NotBefore):
			return fmt.Errorf("%s is not valid before %s", which, day(certificate.NotBefore))
		}
		if err := checkStrength(certificate); err != nil {
			return fmt.Errorf("%s %w", which, err)
		}
	}
	if len(c.Names()) == 0 {
		return errors.New("the certificate is for no name (it has no subjectAltName), and browsers refuse such")
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) && len(leaf.ExtKeyUsage) > 0 {
		return errors.New("the certificate is not one for servers (its extended key usage lacks serverAuth)")
	}
	return nil
}

// Covers says whether the certificate is for a host name or address, wildcards
// included.
func (c Chain) Covers(name string) bool {
	return c.certificates[0].VerifyHostname(name) == nil
}

// CheckKey says what is wrong with the certificate's key, given as PEM.
func (c Chain) CheckKey(key string) error {
	kinds := []string{}
	for block, rest := pem.Decode([]byte(key)); block != nil; block, rest = pem.Decode(rest) {
		if strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return errors.New("the key is encrypted, and nobody is there to type its password when nginx starts: give it without one")
		}
		kinds = append(kinds, block.Type)
	}
	if !slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") }) {
		return errors.New("there is no key in it: it has to hold -----BEGIN PRIVATE KEY-----")
	}
	if _, err := tls.X509KeyPair([]byte(c.PEM()), []byte(key)); err != nil {
		// The package's errors do not quote keys.
		return fmt.Errorf("the key does not belong to the certificate: %w", err)
	}
	return nil
}

// Private

// checkStrength refuses what OpenSSL refuses at its usual level of security, or
// browsers do.
func checkStrength(certificate *x509.Certificate) error {
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < leastRSABits {
			return fmt.Errorf("has a key of %d bits; RSA takes at least %d", key.N.BitLen(), leastRSABits)
		}
	case *ecdsa.PublicKey:
		if key.Params().BitSize < 256 {
			return fmt.Errorf("has a key on %s; the curve has to be P-256, P-384 or P-521", key.Params().Name)
		}
	default:
		return fmt.Errorf("has a key of the kind %s; browsers take RSA and ECDSA", certificate.PublicKeyAlgorithm)
	}
	switch certificate.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Errorf("is signed with %s, which nobody accepts any more", certificate.SignatureAlgorithm)
	}
	return nil
}

func day(at time.Time) string { return at.UTC().Format(time.DateOnly) }
