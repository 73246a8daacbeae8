package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/certs"
	"github.com/cutover-dev/cutover/internal/event"
)

// AuthorityFile is where this machine has the certificate of the environment's
// own authority, for browsers to trust; "" where the edge shows a team's own.
func (s *Stack) AuthorityFile() string {
	if _, err := os.Stat(s.authorityFile()); err != nil {
		return ""
	}
	return s.authorityFile()
}

// Private

// What the secrets volume has of the edge's certificate. nginx reads the first
// two; no service runs as the owner of the others.
const (
	serverCertificate    = "nginx/tls_certificate"
	serverKey            = "nginx/tls_key"
	authorityCertificate = "authority/certificate"
	authorityKey         = "authority/key"
)

const (
	certificateVariable = "CUTOVER_TLS_CERTIFICATE"
	keyVariable         = "CUTOVER_TLS_KEY"
	namesVariable       = "CUTOVER_EDGE_NAMES"

	// largestPEM is more than any chain of certificates.
	largestPEM = 64 << 10
)

// certificate decides what the edge shows when it starts next.
type certificate struct {
	names []string // that the edge is known by, the first as users type it
	own   *certs.Pair
	title string // of the environment's authority
	now   time.Time
}

// certificate reads the settings, and a team's own certificate, before anything
// is made.
func (s *Stack) certificate(bind string) (certificate, error) {
	c := certificate{title: "cutover " + s.settings.Project, now: time.Now()}
	given := strings.FieldsFunc(s.settings.Getenv(namesVariable), func(r rune) bool { return r == ' ' || r == ',' })
	for _, name := range given {
		if !validName(name) {
			return c, fmt.Errorf("%w: %s=%q: %q is neither a host name in small letters nor an IP address", ErrSettings, namesVariable, s.settings.Getenv(namesVariable), name)
		}
	}
	host := strings.Trim(PublicHost(strings.Trim(bind, "[]")), "[]")
	c.names = append(given, host, "localhost", "127.0.0.1", "::1")

	certificateFile, keyFile := s.settings.Getenv(certificateVariable), s.settings.Getenv(keyVariable)
	switch {
	case certificateFile == "" && keyFile == "":
		return c, nil
	case keyFile == "":
		return c, fmt.Errorf("%w: %s is set and %s is not: a certificate needs its key", ErrSettings, certificateVariable, keyVariable)
	case certificateFile == "":
		return c, fmt.Errorf("%w: %s is set and %s is not: a key needs its certificate", ErrSettings, keyVariable, certificateVariable)
	}
	wrong := func(variable, file string, err error) error {
		return fmt.Errorf("%w: %s=%s: %w", ErrSettings, variable, file, err)
	}
	text, err := readPEM(certificateFile)
	if err != nil {
		return c, wrong(certificateVariable, certificateFile, err)
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return c, wrong(keyVariable, keyFile, err)
	}
	chain, err := certs.ParseChain(text)
	if err == nil {
		err = chain.Check(c.now)
	}
	if err == nil {
		err = coversNames(chain, given, c.names)
	}
	if err != nil {
		return c, wrong(certificateVariable, certificateFile, err)
	}
	if err := chain.CheckKey(key); err != nil {
		return c, wrong(keyVariable, keyFile, err)
	}
	c.own = &certs.Pair{Certificate: chain.PEM(), Key: key}
	return c, nil
}

// coversNames wants a certificate to be for all names that were given, or else
// for one that the edge has anyway.
func coversNames(chain certs.Chain, given, all []string) error {
	for _, name := range given {
		if !chain.Covers(name) {
			return fmt.Errorf("the certificate is for %s, not for %s, which %s names", strings.Join(chain.Names(), ", "), name, namesVariable)
		}
	}
	if len(given) == 0 && !slices.ContainsFunc(all, chain.Covers) {
		return fmt.Errorf("the certificate is for %s; say with %s by which of these names the edge is reached", strings.Join(chain.Names(), ", "), namesVariable)
	}
	return nil
}

// renew puts what the edge is to show into the secrets, and says whether it is
// something new.
func (c certificate) renew(secrets Secrets) (changed bool, err error) {
	kept := certs.Local{
		Authority: certs.Pair{Certificate: secrets[authorityCertificate], Key: secrets[authorityKey]},
		Server:    certs.Pair{Certificate: secrets[serverCertificate], Key: secrets[serverKey]},
	}
	wanted := kept
	if c.own != nil {
		wanted.Server = *c.own
	} else if wanted, err = certs.Renew(kept, c.title, c.names, c.now); err != nil {
		return false, fmt.Errorf("%w: %s: %w", ErrSettings, namesVariable, err)
	}
	for name, value := range map[string]string{
		authorityCertificate: wanted.Authority.Certificate, authorityKey: wanted.Authority.Key,
		serverCertificate: wanted.Server.Certificate, serverKey: wanted.Server.Key,
	} {
		if value != "" {
			secrets[name] = value
		}
	}
	return wanted != kept, nil
}

// host is the edge as users address it.
func (c certificate) host() string {
	if strings.Contains(c.names[0], ":") {
		return "[" + c.names[0] + "]"
	}
	return c.names[0]
}

// keepAuthority puts the authority's certificate where a browser can be given
// it; there is none to trust where the edge shows a team's own.
func (s *Stack) keepAuthority(c certificate, secrets Secrets) error {
	if c.own != nil {
		return ignoreMissing(os.Remove(s.authorityFile()))
	}
	if err := writePrivate(s.authorityFile(), []byte(secrets[authorityCertificate])); err != nil {
		return fmt.Errorf("keep the authority's certificate: %w", err)
	}
	return nil
}

func (s *Stack) authorityFile() string { return filepath.Join(s.Dir(), "ca.pem") }

// tell says what the edge shows, where that is new.
func (c certificate) tell(events event.Sink, changed bool) {
	switch {
	case !changed:
	case c.own != nil:
		event.Finish(events, "certificate", "the one that "+certificateVariable+" names")
	default:
		event.Finish(events, "certificate", "made, for "+strings.Join(slices.Compact(slices.Sorted(slices.Values(c.names))), " "))
	}
}

// fingerprint tells one certificate from another.
func fingerprint(secrets Secrets) string {
	sum := sha256.Sum256([]byte(secrets[serverCertificate] + secrets[serverKey]))
	return hex.EncodeToString(sum[:])
}

func validName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return net.ParseIP(name) != nil // which a zone is not
	}
	labels := strings.Split(name, ".")
	return len(name) <= 253 && !slices.ContainsFunc(labels, func(label string) bool {
		return label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(label, "-") != label
	})
}

func readPEM(path string) (text string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", errors.Unwrap(err) // without the path, which is said already
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err := io.ReadAll(io.LimitReader(file, largestPEM+1))
	if err == nil && len(content) > largestPEM {
		err = fmt.Errorf("it is larger than %d KB", largestPEM>>10)
	}
	return string(content), err
}
