package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthCommand asks an HTTP address whether it is well.
type healthCommand struct {
	timeout time.Duration
}

func (c *healthCommand) flags(f *flag.FlagSet) {
	f.DurationVar(&c.timeout, "timeout", 2*time.Second, "")
}

func (c *healthCommand) run(args []string, _ streams) error {
	client := http.Client{Timeout: c.timeout}
	url := ""
	switch {
	case len(args) == 1 && strings.HasPrefix(args[0], "http://"):
		url = args[0]
	case len(args) == 2 && strings.HasPrefix(args[0], "unix:"):
		url = "http://unix" + args[1]
		client.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(args[0], "unix:"))
		}}
	default:
		return usageError("health takes a URL, or unix:SOCKET and a path")
	}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("%s answers %s", strings.Join(args, " "), response.Status)
	}
	return nil
}
