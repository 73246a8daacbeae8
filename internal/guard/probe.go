package guard

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	probeEvery   = 100 * time.Millisecond
	probeTimeout = 2 * time.Second
)

// Probe asks a system directly whether it answers HTTP.
type Probe struct {
	url    string
	client *http.Client
}

// Answer is what a probed system said.
type Answer struct {
	Status int
	Took   time.Duration // since the first question
}

// NewProbe asks the system at an address, host:port.
func NewProbe(addr string) *Probe {
	return &Probe{
		url: "http://" + addr + "/health",
		client: &http.Client{
			Timeout: probeTimeout,
			Transport: &http.Transport{
				DisableKeepAlives: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
	}
}

// Wait asks until there is an answer, of whatever status, or the limit is
// reached.
func (p *Probe) Wait(ctx context.Context, limit time.Duration) (Answer, error) {
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

func (p *Probe) ask(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return 0, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	// The status line is answer enough, the body may take its time.
	return response.StatusCode, response.Body.Close()
}
