package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

const requestTimeout = 10 * time.Second

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// get asks the edge the way that users do.
func (c *Checker) get(ctx context.Context, path string, header http.Header) (reply, error) {
	return c.send(ctx, &http.Client{Transport: c.Sources.Public}, http.MethodGet, path, header, nil)
}

func (c *Checker) send(ctx context.Context, client *http.Client, method, path string, header http.Header, body []byte) (_ reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.Sources.Base+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return reply{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return reply{response.StatusCode, response.Header, string(text)}, err
}

// session logs in at each system and asks the other who it is.
func (c *Checker) session(ctx context.Context, state rollout.State) answer {
	if state.Latched {
		return unknown(nil, "while everything is latched on python, Go cannot be asked")
	}
	evidence := map[string]any{}
	for _, at := range []struct{ login, read edge.System }{{edge.Python, edge.Go}, {edge.Go, edge.Python}} {
		name := fmt.Sprintf("login_at_%s_read_at_%s", at.login, at.read)
		if err := c.trySession(ctx, at.login, at.read); err != nil {
			evidence[name] = err.Error()
			return fail(evidence, "logged in at %s, asked %s: %s", at.login, at.read, err)
		}
		evidence[name] = "ok"
	}
	return pass(evidence, "who logs in at python is logged in at Go, and the other way round")
}

func (c *Checker) trySession(ctx context.Context, login, read edge.System) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: c.Sources.Public, Jar: jar}
	for _, system := range []edge.System{login, read} {
		// What stands there for everybody says nothing about a session.
		answer, err := c.ask(ctx, client, system, http.MethodGet, c.Plan.Session.Probe.Me, nil)
		if err != nil {
			return err
		}
		if c.knows(answer) {
			return fmt.Errorf("%s answers %s with %q before anybody has logged in", system, c.Plan.Session.Probe.Me, c.Plan.Session.Probe.Expect)
		}
	}
	form, err := json.Marshal(c.Plan.Session.Probe.Form)
	if err != nil {
		return err
	}
	answer, err := c.ask(ctx, client, login, http.MethodPost, c.Plan.Session.Probe.Login, form)
	if err != nil {
		return err
	}
	if answer.status >= http.StatusBadRequest {
		return fmt.Errorf("the login is answered %d", answer.status)
	}
	for _, system := range []edge.System{login, read} {
		answer, err = c.ask(ctx, client, system, http.MethodGet, c.Plan.Session.Probe.Me, nil)
		switch {
		case err != nil:
			return err
		case answer.status != http.StatusOK:
			return fmt.Errorf("%s answers %s with %d", system, c.Plan.Session.Probe.Me, answer.status)
		case !strings.Contains(answer.body, c.Plan.Session.Probe.Expect):
			return fmt.Errorf("%s answers %s without %q", system, c.Plan.Session.Probe.Me, c.Plan.Session.Probe.Expect)
		}
	}
	if c.Plan.Session.Probe.Logout == "" {
		return nil
	}
	if _, err := c.ask(ctx, client, read, http.MethodPost, c.Plan.Session.Probe.Logout, nil); err != nil {
		return err
	}
	for _, system := range []edge.System{login, read} {
		answer, err = c.ask(ctx, client, system, http.MethodGet, c.Plan.Session.Probe.Me, nil)
		switch {
		case err != nil:
			return err
		case c.knows(answer):
			return fmt.Errorf("logged out at %s, and still logged in at %s", read, system)
		}
	}
	return nil
}

// knows tells whether an answer is that to somebody who is logged in.
func (c *Checker) knows(answer reply) bool {
	return answer.status == http.StatusOK && strings.Contains(answer.body, c.Plan.Session.Probe.Expect)
}

// ask makes one system answer.
func (c *Checker) ask(ctx context.Context, client *http.Client, system edge.System, method, path string, body []byte) (reply, error) {
	header := http.Header{
		"X-Cutover-Force": {string(system)},
		"X-Cutover-Token": {c.Sources.ForceToken},
		"Accept":          {"application/json"},
	}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	answer, err := c.send(ctx, client, method, path, header, body)
	if err == nil && answer.header.Get("X-Served-By") != string(system) {
		err = fmt.Errorf("the edge did not ask %s, although it was told to", system)
	}
	return answer, err
}
