package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"github.com/cutover-dev/cutover/internal/rollout"
)

// Dialer makes a connection to a guard's API.
type Dialer func(ctx context.Context) (net.Conn, error)

// ErrUnreached says that the guard was not reached, or did not finish its
// answer.
var ErrUnreached = errors.New("the guard was not reached")

// Client speaks the guard's API. Errors that the guard answered are *Error;
// all others are ErrUnreached.
type Client struct {
	http *http.Client
}

// NewClient speaks to the guard that a dialer reaches. A call is limited by
// its context.
func NewClient(dial Dialer) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx)
		},
		DisableCompression: true,
	}}}
}

// Close closes the connections that are kept alive.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
}

// Status is where the migration stands.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// AdoptPlan makes the guard follow a plan.
func (c *Client) AdoptPlan(ctx context.Context, r PlanRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPut, "/v1/plan", r)
}

// Route sets the weight of one route.
func (c *Client) Route(ctx context.Context, r RouteRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/route", r)
}

// Begin applies the next step of the plan.
func (c *Client) Begin(ctx context.Context, r StepRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/begin", r)
}

// Complete ends the step under way.
func (c *Client) Complete(ctx context.Context, r StepRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/complete", r)
}

// Pause keeps every step from beginning or being completed.
func (c *Client) Pause(ctx context.Context, r PauseRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/pause", r)
}

// CloseWay records that there is no way back from now on.
func (c *Client) CloseWay(ctx context.Context, r CloseRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/close", r)
}

// Find records what a command has found out.
func (c *Client) Find(ctx context.Context, r FindingRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/finding", r)
}

// Plan is the plan that the guard follows; it is empty where the guard has none.
func (c *Client) Plan(ctx context.Context) (rollout.Plan, error) {
	return call[rollout.Plan](ctx, c, http.MethodGet, "/v1/plan", nil)
}

// Rollback takes everything back to python and latches it there.
func (c *Client) Rollback(ctx context.Context, r RollbackRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/rollback", r)
}

// Resume releases the latch or the pause.
func (c *Client) Resume(ctx context.Context, r ResumeRequest) (Moved, error) {
	return call[Moved](ctx, c, http.MethodPost, "/v1/resume", r)
}

// Events are the events that follow the one with the given number. While
// following it ends with the context or the guard.
func (c *Client) Events(ctx context.Context, after uint64, follow bool) iter.Seq2[rollout.Event, error] {
	path := "/v1/events?after=" + strconv.FormatUint(after, 10) + "&follow=" + strconv.FormatBool(follow)
	return func(yield func(rollout.Event, error) bool) {
		response, err := c.send(ctx, http.MethodGet, path, nil)
		if err != nil {
			yield(rollout.Event{}, err)
			return
		}
		defer func() { _ = response.Body.Close() }() // nothing more is read from it
		lines := json.NewDecoder(response.Body)
		for {
			var event rollout.Event
			err := lines.Decode(&event)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Private

func call[Answer any](ctx context.Context, c *Client, method, path string, request any) (Answer, error) {
	var answer Answer
	response, err := c.send(ctx, method, path, request)
	if err != nil {
		return answer, err
	}
	err = json.NewDecoder(response.Body).Decode(&answer)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return answer, fmt.Errorf("%w: its answer to %s %s cannot be read: %w", ErrUnreached, method, path, err)
	}
	return answer, nil
}

// send returns answers of success only.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("the request has no JSON form: %w", err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://guard"+path, content)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error // its method and address mean nothing to a person
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreached, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }() // it was read, or is of no use
	var failure Failure
	if err := json.NewDecoder(response.Body).Decode(&failure); err != nil || failure.Error.Code == "" {
		return nil, fmt.Errorf("%w: it answered %s %s with %s", ErrUnreached, method, path, response.Status)
	}
	return nil, &failure.Error
}
