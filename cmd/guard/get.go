package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// getCommand prints what an HTTP address answers, for a person who looks into
// the environment.
type getCommand struct {
	timeout time.Duration
}

func (c *getCommand) flags(f *flag.FlagSet) {
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "")
}

func (c *getCommand) run(args []string, std streams) error {
	response, err := get(args, c.timeout)
	if err != nil {
		return err
	}
	_, err = io.Copy(std.out, response.Body) // of an error as well
	return errors.Join(err, response.Body.Close(), success(args, response))
}

// get asks a URL or a unix socket, each with or without a path.
func get(args []string, timeout time.Duration) (*http.Response, error) {
	if len(args) != 1 && len(args) != 2 {
		return nil, usageError("there has to be a URL or unix:SOCKET, and a path perhaps")
	}
	base, path := args[0], ""
	if len(args) == 2 {
		path = "/" + strings.TrimPrefix(args[1], "/")
	}
	client := http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	if socket, ok := strings.CutPrefix(base, "unix:"); ok {
		base = "http://unix"
		client.Transport = &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
		}
	}
	if !strings.HasPrefix(base, "http://") {
		return nil, usageError("%q is neither an http URL nor unix:SOCKET", base)
	}
	return client.Get(strings.TrimSuffix(base, "/") + path)
}

func success(args []string, response *http.Response) error {
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("%s answers %s", strings.Join(args, " "), response.Status)
	}
	return nil
}
