// Command upstream is one of the two systems in the test of the edge image. It
// says what it was asked, and misbehaves as the query tells it to.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Request is the answer: what arrived here.
type Request struct {
	System   string      `json:"system"`
	Instance string      `json:"instance"`
	Method   string      `json:"method"`
	Target   string      `json:"target"`
	Host     string      `json:"host"`
	Header   http.Header `json:"header"`
	Body     string      `json:"body"`
	Arrived  uint64      `json:"arrived"` // how many requests came, with this one, without health checks
}

type upstream struct {
	system   string
	instance string
	arrived  atomic.Uint64
}

func main() {
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Addr:              os.Args[2],
		Handler:           &upstream{system: os.Args[1], instance: name},
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" { // does not count
		u.describe(w, r, u.arrived.Load())
		return
	}
	arrived := u.arrived.Add(1)
	query := r.URL.Query()
	switch {
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		echo(w)
	case query.Has("drop"):
		drop(w)
	case query.Has("hold"):
		<-r.Context().Done()
	case query.Has("events"):
		events(w, r)
	case query.Has("instant"):
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "ok")
	case query.Has("early"):
		w.Header().Set("Connection", "close")
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	default:
		u.describe(w, r, arrived)
	}
}

func (u *upstream) describe(w http.ResponseWriter, r *http.Request, arrived uint64) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	query := r.URL.Query()
	if pause, err := time.ParseDuration(query.Get("pause")); err == nil {
		time.Sleep(pause)
	}
	for name, values := range query {
		if header, ok := strings.CutPrefix(name, "header-"); ok {
			w.Header()[header] = values
		}
	}
	status, err := strconv.Atoi(query.Get("status"))
	if err != nil {
		status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Request{
		System: u.system, Instance: u.instance, Method: r.Method, Target: r.RequestURI, Host: r.Host,
		Header: r.Header, Body: string(body), Arrived: arrived,
	})
}

// drop reads the request and closes the connection without an answer.
func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// events sends one event and keeps the answer open until the client leaves.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprint(w, "data: first\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// echo upgrades the connection and returns what comes.
func echo(w http.ResponseWriter) {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(conn, buffer)
}
