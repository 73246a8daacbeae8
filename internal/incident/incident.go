// Package incident finds, in what the edge logged, the requests that the new
// system failed and that may have changed something.
package incident

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// Request is a line of the edge's access log.
type Request struct {
	Time      time.Time `json:"time"`
	RequestID string    `json:"request_id"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Status    int       `json:"status"` // 499: the client did not wait
	User      string    `json:"user"`   // as the client's cookie names it
	// System is whose answer it was; "" where none came.
	System string `json:"system"`
	// Upstream is the address that was asked.
	Upstream string `json:"-"`
}

// Failed lists the requests between two moments that were not for reading and
// that the new system failed or left unanswered. Port is the one that it
// listens on: where no answer came, the log has the address alone. Lines that
// are not of the access log are passed over.
func Failed(log io.Reader, port string, from, to time.Time) ([]Request, error) {
	var failed []Request
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if r, ok := parse(line); ok && r.counts(port) && !r.Time.Before(from.Truncate(time.Second)) && !r.Time.After(to) {
			failed = append(failed, r)
		}
		if err == io.EOF {
			return failed, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Private

func parse(line string) (r Request, ok bool) {
	if !strings.HasPrefix(line, "{") {
		return r, false
	}
	var all struct {
		Request
		Upstream string `json:"upstream"`
	}
	if err := json.Unmarshal([]byte(line), &all); err != nil || all.RequestID == "" {
		return r, false
	}
	r, r.Upstream = all.Request, all.Upstream
	return r, true
}

// counts says whether the request may have changed something and did not go
// well with the new system.
func (r Request) counts(port string) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	asked := strings.HasSuffix(r.Upstream, ":"+port)
	return (r.System == "go" || asked) && (r.Status >= 500 || r.Status == 499)
}
