// Command upstream is one of the two systems in the test of the edge image. It
// says what it was asked, and misbehaves as the query tells it to.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
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
	Length   int64       `json:"length"` // as announced; -1 in chunks
	Body     string      `json:"body"`
	Arrived  uint64      `json:"arrived"` // how many requests came, with this one, without health checks
}

type upstream struct {
	system   string
	instance string
	arrived  atomic.Uint64

	mutex sync.Mutex
	idle  map[*net.TCPConn]bool // kept-alive connections without a request
}

func main() {
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	system := &upstream{system: os.Args[1], instance: name, idle: map[*net.TCPConn]bool{}}
	server := &http.Server{
		Addr:              os.Args[2],
		Handler:           system,
		ConnState:         system.note,
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" { // does not count
		u.describe(w, r, u.arrived.Load())
		return
	}
	query := r.URL.Query()
	if how := query.Get("cut"); how != "" { // does not count either
		u.cut(how)
		return
	}
	arrived := u.arrived.Add(1)
	switch {
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		echo(w)
	case query.Has("drop"):
		drop(w)
	case query.Has("broken"):
		broken(w)
	case query.Has("hold"):
		<-r.Context().Done()
	case query.Has("events"):
		events(w, r)
	case query.Has("instant"):
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "ok")
	case query.Has("sum"):
		sum(w, r)
	case query.Has("file"):
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "file.txt", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), bytes.NewReader(content()))
	case query.Has("gzip"):
		compressed(w, r)
	case query.Has("short"):
		short(w, query.Get("short"))
	case query.Has("trailers"):
		w.Header().Set("Trailer", "X-Trailer")
		_, _ = io.Copy(w, r.Body)
		w.Header().Set("X-Trailer", "trailer")
	case query.Has("hints"):
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		u.describe(w, r, arrived)
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
		Length: r.ContentLength, Header: r.Header, Body: string(body), Arrived: arrived,
	})
}

func (u *upstream) note(conn net.Conn, state http.ConnState) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	tcp := conn.(*net.TCPConn)
	if state == http.StateIdle {
		u.idle[tcp] = true
	} else {
		delete(u.idle, tcp)
	}
}

// cut closes the idle connections, by a "reset" or in an orderly way.
func (u *upstream) cut(how string) {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	for conn := range u.idle {
		if how == "reset" {
			_ = conn.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// sum answers with what identifies a body that is too long to be repeated.
func sum(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	length, err := io.Copy(hash, r.Body)
	_, _ = fmt.Fprintf(w, "%d %d %x %v", r.ContentLength, length, hash.Sum(nil), err)
}

func content() []byte {
	return bytes.Repeat([]byte("0123456789abcdef"), 8192)
}

// compressed answers as an application that compresses by itself.
func compressed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		_, _ = w.Write(content())
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	zip := gzip.NewWriter(w)
	_, _ = zip.Write(content())
	_ = zip.Close()
}

// short ends an answer too early.
func short(w http.ResponseWriter, framing string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	header := "Content-Length: 100\r\n\r\n"
	if framing == "chunked" {
		header = "Transfer-Encoding: chunked\r\n\r\n64\r\n"
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+header+"only this")
	_ = conn.Close()
}

// drop reads the request and closes the connection without an answer.
func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// broken answers with a header that no proxy takes, after some that are good.
func broken(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Frame-Options: SAMEORIGIN\r\nX-Bad\x00: 1\r\n\r\n")
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
