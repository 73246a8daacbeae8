// Package engine speaks to a Docker Engine. It is the only package of the
// project that knows the Docker SDK: everything above it deals in the small
// types declared here, so that replacing the SDK is a change to one package.
package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/docker/client"
)

// ErrUnavailable is wrapped by every error that means the engine itself could
// not be reached, as opposed to having refused something.
var ErrUnavailable = errors.New("the Docker Engine is not available")

// LostError says that the engine, which answered before, does not any more. It
// is an ErrUnavailable.
type LostError struct {
	Endpoint string
	Err      error
}

// Error names the engine and what happened.
func (e *LostError) Error() string {
	return fmt.Sprintf("%s at %s: %s", ErrUnavailable, e.Endpoint, e.Err)
}

// Is makes it an ErrUnavailable.
func (*LostError) Is(target error) bool { return target == ErrUnavailable }

// Unwrap is what happened.
func (e *LostError) Unwrap() error { return e.Err }

// MinAPI is the oldest Engine API that the project is tested against
// (Docker 20.10).
const MinAPI = "1.41"

// Engine is a connection to one Docker Engine. It is safe for concurrent use.
type Engine struct {
	api      *client.Client
	endpoint string
}

// Info describes the engine that answers.
type Info struct {
	Endpoint   string // where it was reached, e.g. unix:///var/run/docker.sock
	Version    string
	APIVersion string
	OS         string
	Arch       string // as Go names it: amd64, arm64
}

// Connect opens the engine that DOCKER_HOST, DOCKER_CONTEXT or the current
// Docker context names, in the order of the docker command itself, and makes
// sure that it answers. It fails with ErrUnavailable when it does not.
func Connect(ctx context.Context) (*Engine, error) {
	host, opts, err := resolveEndpoint()
	if err != nil {
		return nil, err
	}
	opts = append(opts, client.WithAPIVersionNegotiation())
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", host, err)
	}
	e := &Engine{api: api, endpoint: host}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := api.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w at %s: %w", ErrUnavailable, host, err), api.Close())
	}
	if v := api.ClientVersion(); older(v, MinAPI) {
		return nil, errors.Join(
			fmt.Errorf("%w: the engine at %s speaks API %s, at least %s (Docker 20.10) is needed", ErrUnavailable, host, v, MinAPI),
			api.Close())
	}
	return e, nil
}

// Close releases the connection.
func (e *Engine) Close() error { return e.api.Close() }

// Local says whether the engine is on this machine.
func (e *Engine) Local() bool { return strings.HasPrefix(e.endpoint, "unix://") }

// Info asks the engine what it is.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	v, err := e.api.ServerVersion(ctx)
	if err != nil {
		return Info{}, e.wrap("ask for the engine's version", err)
	}
	return Info{Endpoint: e.endpoint, Version: v.Version, APIVersion: v.APIVersion, OS: v.Os, Arch: v.Arch}, nil
}

// Private

// wrap names the action that failed and marks a lost connection as such.
func (e *Engine) wrap(action string, err error) error {
	if err == nil {
		return nil
	}
	if lost(err) {
		err = &LostError{Endpoint: e.endpoint, Err: err}
	}
	return fmt.Errorf("%s: %w", action, err)
}

// lost tells whether there was no connection, or it ended in the middle of
// something.
func lost(err error) bool {
	var network *net.OpError
	return client.IsErrConnectionFailed(err) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// resolveEndpoint lets Docker's own command library decide which engine is
// meant: it knows contexts, TLS material and ssh.
func resolveEndpoint() (string, []client.Opt, error) {
	cli, err := command.NewDockerCli(command.WithCombinedStreams(io.Discard))
	if err != nil {
		return "", nil, fmt.Errorf("read the Docker configuration: %w", err)
	}
	if err := cli.Initialize(flags.NewClientOptions()); err != nil {
		return "", nil, fmt.Errorf("%w: read the Docker context: %w", ErrUnavailable, err)
	}
	endpoint := cli.DockerEndpoint()
	if endpoint.Host == "" {
		return "", nil, fmt.Errorf("%w: the Docker context %q names no engine", ErrUnavailable, cli.CurrentContext())
	}
	helper, err := connhelper.GetConnectionHelper(endpoint.Host)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, endpoint.Host, err)
	}
	if helper != nil { // ssh://
		return endpoint.Host, []client.Opt{
			client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: helper.Dialer}}),
			client.WithHost(helper.Host),
			client.WithDialContext(helper.Dialer),
		}, nil
	}
	opts := []client.Opt{client.WithHost(endpoint.Host)}
	if endpoint.TLSData != nil && strings.HasPrefix(endpoint.Host, "tcp://") {
		config, err := tlsConfig(endpoint)
		if err != nil {
			return "", nil, fmt.Errorf("read the TLS material for %s: %w", endpoint.Host, err)
		}
		opts = append([]client.Opt{client.WithHTTPClient(&http.Client{
			Transport:     &http.Transport{TLSClientConfig: config},
			CheckRedirect: client.CheckRedirect,
		})}, opts...)
	}
	return endpoint.Host, opts, nil
}

// tlsConfig turns the TLS material of a Docker context, or of DOCKER_CERT_PATH,
// into a client's configuration.
func tlsConfig(endpoint docker.Endpoint) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: endpoint.SkipTLSVerify}
	if len(endpoint.TLSData.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(endpoint.TLSData.CA) {
			return nil, errors.New("ca.pem holds no certificate")
		}
	}
	if len(endpoint.TLSData.Cert) > 0 && len(endpoint.TLSData.Key) > 0 {
		pair, err := tls.X509KeyPair(endpoint.TLSData.Cert, endpoint.TLSData.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// older compares two Engine API versions of the form "1.41".
func older(a, b string) bool {
	var a1, a2, b1, b2 int
	if _, err := fmt.Sscanf(a, "%d.%d", &a1, &a2); err != nil {
		return true
	}
	if _, err := fmt.Sscanf(b, "%d.%d", &b1, &b2); err != nil {
		return false
	}
	return a1 < b1 || a1 == b1 && a2 < b2
}
