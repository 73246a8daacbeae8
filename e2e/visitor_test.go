package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// visitor is a browser's worth of HTTP: a cookie jar and kept connections.
type visitor struct {
	address string
	http    *http.Client
	agent   string // the browser's name, where it matters
}

// answer is what a visitor got.
type answer struct {
	status   int
	servedBy string
	body     []byte
	header   http.Header
}

func (env *environment) newVisitor(transport http.RoundTripper) *visitor {
	jar, _ := cookiejar.New(nil) // never fails
	return &visitor{address: env.address, http: &http.Client{
		Transport: transport, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (v *visitor) do(ctx context.Context, method, path string, body any) (answer, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, v.address+path, content)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if v.agent != "" {
		request.Header.Set("User-Agent", v.agent)
	}
	response, err := v.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header.Get("X-Served-By"), text, response.Header}, err
}

func (v *visitor) get(t *testing.T, path string) answer {
	t.Helper()
	a, err := v.do(t.Context(), http.MethodGet, path, nil)
	require.NoError(t, err)
	return a
}

func (v *visitor) login(ctx context.Context, username string) error {
	a, err := v.do(ctx, http.MethodPost, "/api/auth/login", map[string]string{"username": username, "password": "rehearsal"})
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("login of %s: %d %s", username, a.status, a.body)
	}
	return nil
}

// me is the name of the user that the visitor is logged in as.
func (v *visitor) me(t *testing.T) string {
	t.Helper()
	a := v.get(t, "/api/auth/me")
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	var envelope struct {
		Data struct{ User struct{ Username string } }
	}
	require.NoError(t, json.Unmarshal(a.body, &envelope))
	return envelope.Data.User.Username
}

func (v *visitor) cookie(t *testing.T, name string) string {
	t.Helper()
	address, err := url.Parse(v.address)
	require.NoError(t, err)
	for _, c := range v.http.Jar.Cookies(address) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}
