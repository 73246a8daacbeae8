package goapp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

const hookTimeout = time.Second

// toolMoved is what the door and the machines are told.
type toolMoved struct {
	Tool    int64  `json:"tool"`
	Account int64  `json:"account"`
	Action  string `json:"action"`
}

// hook tells another system of what has happened here. If that fails, it is
// in the log, and nobody's request fails.
type hook struct {
	url    string
	client *http.Client
	log    *slog.Logger
}

func newHook(url string, log *slog.Logger) *hook {
	return &hook{
		url: url,
		client: &http.Client{
			Timeout:       hookTimeout,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 10, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log: log,
	}
}

// tell has its own second: the request's may be over.
func (h *hook) tell(ctx context.Context, moved toolMoved) {
	ctx = context.WithoutCancel(ctx)
	if err := h.post(ctx, moved); err != nil {
		h.log.WarnContext(ctx, "the hook failed", "request_id", requestID(ctx), "error", err.Error())
	}
}

func (h *hook) post(ctx context.Context, moved toolMoved) error {
	body, err := json.Marshal(moved)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+"/tools", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", requestID(ctx))
	response, err := h.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()                     // nothing is expected in it
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)) // so that the connection can be used again
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("it answered %s", response.Status)
	}
	return nil
}
