// Command instant is a system that answers everything at once: what is
// measured with it is the edge.
package main

import (
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	server := &http.Server{
		Addr:              os.Args[1],
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte("ok\n")) // a client that left is none of its business
		}),
	}
	log.Fatal(server.ListenAndServe())
}
