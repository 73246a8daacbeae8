package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ErrUnreachable is wrapped by every error that means that nginx did not answer.
var ErrUnreachable = errors.New("the edge does not answer")

// ErrStale is what a StaleError is.
var ErrStale = errors.New("the edge has a newer table")

// StaleError says that a table was refused for a newer one, or for another one
// of the same generation.
type StaleError struct {
	Current uint64 // the generation in force
}

// Error names the generation in force.
func (e *StaleError) Error() string {
	return fmt.Sprintf("%v, of generation %d", ErrStale, e.Current)
}

// Is makes errors.Is(err, ErrStale) true.
func (e *StaleError) Is(target error) bool {
	return target == ErrStale
}

const (
	requestLimit = 5 * time.Second // for a context that allows more
	idleLimit    = 30 * time.Second
	answerLimit  = 64 << 20
)

// Client speaks to nginx's control server.
type Client struct {
	http *http.Client
}

// NewClient makes a client that reaches the control server by dialling: its
// unix socket, or a tunnel to it.
func NewClient(dial func(context.Context) (net.Conn, error)) *Client {
	return &Client{http: &http.Client{
		Timeout: requestLimit,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial(ctx)
			},
			IdleConnTimeout: idleLimit,
		},
	}}
}

// Close ends the connections that are idle.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
}

// Table reads the table in force; its generation is 0 where there is none.
func (c *Client) Table(ctx context.Context) (Table, error) {
	return get[Table](ctx, c, "/table")
}

// Apply puts a table in force and reads it back. When it returns nil, every
// request that arrives from then on goes where the table says.
func (c *Client) Apply(ctx context.Context, table Table) error {
	if err := table.Validate(); err != nil {
		return fmt.Errorf("the table cannot be applied: %w", err)
	}
	content, err := json.Marshal(table)
	if err != nil {
		return fmt.Errorf("the table has no JSON form: %w", err)
	}
	if _, err := c.do(ctx, http.MethodPut, "/table", bytes.NewReader(content)); err != nil {
		return err
	}
	applied, err := c.Table(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("the table was taken but cannot be read back: %w", err)
	case applied.Generation > table.Generation:
		return &StaleError{Current: applied.Generation}
	case !applied.Equal(table):
		return fmt.Errorf("the edge took the table of generation %d but has another one", table.Generation)
	}
	return nil
}

// Counters reads the counters since nginx started, with zeros for routes that
// have no requests yet.
func (c *Client) Counters(ctx context.Context) (Counters, error) {
	return get[Counters](ctx, c, "/counters")
}

// CountersSince reads the counters with Requests and Durations of only those
// routes that changed after a sequence number of the same epoch. They stand for
// themselves: they replace what was read of the route before. Of another epoch
// it reads everything.
func (c *Client) CountersSince(ctx context.Context, sequence uint64, epoch string) (Counters, error) {
	return get[Counters](ctx, c, fmt.Sprintf("/counters?since=%d&epoch=%s", sequence, url.QueryEscape(epoch)))
}

// Upstreams reads where the systems are.
func (c *Client) Upstreams(ctx context.Context) (Upstreams, error) {
	return get[Upstreams](ctx, c, "/upstreams")
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var answer T
	content, err := c.do(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return answer, fmt.Errorf("the edge's answer to GET %s is not understood: %w", path, err)
	}
	return answer, nil
}

// do returns the content of an answer with status 200.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://edge"+path, body)
	if err != nil {
		return nil, fmt.Errorf("the edge cannot be asked: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, unreachable(err)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, unreachable(err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, refusal(response.StatusCode, content)
	}
	return content, nil
}

// unreachable leaves out the method and the made-up URL that net/http adds.
func unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

func refusal(status int, content []byte) error {
	var answer struct {
		Error      string `json:"error"`
		Generation uint64 `json:"generation"`
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return fmt.Errorf("the edge answers with status %d", status)
	}
	if status == http.StatusConflict {
		return &StaleError{Current: answer.Generation}
	}
	return fmt.Errorf("the edge refuses with status %d: %s", status, answer.Error)
}
