package guard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	probeEvery    = 100 * time.Millisecond
	directTimeout = 2 * time.Second
	edgeTimeout   = 4 * time.Second // the edge itself gives python 3 s
)

// PythonProbe asks whether python answers HTTP, the way that users reach it:
// through the edge. From where the guard runs, other networks lead to python
// than from the edge, and one may be cut while the other is not.
type PythonProbe struct {
	edge   string // URL, empty where the direct way is the users'
	direct string // URL
	client *http.Client
}

// Answer is what python said.
type Answer struct {
	Status int
	Took   time.Duration // since the first question
}

// errNoAnswer says that the edge was reached and python was not.
var errNoAnswer = errors.New("nginx gets no answer from python")

// NewPythonProbe asks python through the edge at an address, host:port, and
// directly at its own address while the edge cannot be reached. Without an
// edge it only asks directly.
func NewPythonProbe(edge, python string) *PythonProbe {
	p := &PythonProbe{
		direct: "http://" + python + "/health",
		client: &http.Client{
			Transport: &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}
	if edge != "" {
		p.edge = "http://" + edge + "/health/python"
	}
	return p
}

// Wait asks until python gives an answer, of whatever status, or the limit is
// reached.
func (p *PythonProbe) Wait(ctx context.Context, limit time.Duration) (Answer, error) {
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		status, err := p.ask(limited)
		if err == nil {
			return Answer{Status: status, Took: time.Since(start)}, nil
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return Answer{}, ctx.Err()
			}
			return Answer{}, fmt.Errorf("no answer within %s: %w", limit, err)
		case <-time.After(probeEvery):
		}
	}
}

// Private

func (p *PythonProbe) ask(ctx context.Context) (int, error) {
	if p.edge != "" {
		status, err := p.askThroughEdge(ctx)
		if err == nil || errors.Is(err, errNoAnswer) {
			return status, err
		}
	}
	return p.askDirectly(ctx)
}

func (p *PythonProbe) askThroughEdge(ctx context.Context) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, edgeTimeout)
	defer cancel()
	response, err := p.options(ctx, p.edge)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.Header.Get("X-Served-By") != "python" {
		return 0, fmt.Errorf("%s does not lead to python: %s", p.edge, response.Status)
	}
	if madeByEdge(response) {
		return 0, fmt.Errorf("%w: %s", errNoAnswer, response.Status)
	}
	return response.StatusCode, nil
}

// madeByEdge tells nginx's own error from one of python's. Python's Server
// header passes through nginx, but nginx puts in its own if there is none, so
// the page decides.
func madeByEdge(response *http.Response) bool {
	if response.StatusCode < 500 || !strings.HasPrefix(response.Header.Get("Server"), "nginx") {
		return false
	}
	// nginx sends its page at once; what does not end is not nginx's.
	page, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	return err == nil && bytes.Contains(page, []byte("<center>nginx"))
}

func (p *PythonProbe) askDirectly(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	response, err := p.options(ctx, p.direct)
	if err != nil {
		return 0, err
	}
	// The status line is answer enough, the body may take its time.
	return response.StatusCode, response.Body.Close()
}

// options asks in a way that an application answers without looking at its
// health: with a database or a session store away that takes a second, and what
// is asked is whether there is any answer.
func (p *PythonProbe) options(ctx context.Context, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodOptions, url, nil)
	if err != nil {
		return nil, err
	}
	return p.client.Do(request)
}
