package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"

	"github.com/cutover-dev/cutover/internal/edge"
)

const defaultDir = "/var/lib/cutover"

// config is what the environment says.
type config struct {
	python   string // host:port
	golang   string // host:port
	edgeAddr string // nginx, host:port; empty in its own container, where python is asked the users' way anyhow
	home     edge.System
	dir      string
	database string // URL; empty where the guard has no database
	password string // file with the database's password
}

// readConfig refuses what it cannot use, and names the variable.
func readConfig(getenv func(string) string) (config, error) {
	c := config{
		python:   getenv("CUTOVER_PYTHON_ADDR"),
		golang:   getenv("CUTOVER_GO_ADDR"),
		edgeAddr: getenv("CUTOVER_EDGE_ADDR"),
		home:     edge.System(getenv("CUTOVER_HOME")),
		dir:      getenv("CUTOVER_DIR"),
		database: getenv("CUTOVER_DATABASE_URL"),
		password: getenv("CUTOVER_DATABASE_PASSWORD_FILE"),
	}
	if err := checkAddr("CUTOVER_PYTHON_ADDR", c.python); err != nil {
		return config{}, err
	}
	if err := checkAddr("CUTOVER_GO_ADDR", c.golang); err != nil {
		return config{}, err
	}
	if c.edgeAddr != "" {
		if err := checkAddr("CUTOVER_EDGE_ADDR", c.edgeAddr); err != nil {
			return config{}, err
		}
	}
	if c.home == "" {
		c.home = edge.Python
	}
	if !c.home.Valid() {
		return config{}, usageError("CUTOVER_HOME is %q, which is neither python nor go", c.home)
	}
	if c.dir == "" {
		c.dir = defaultDir
	}
	return c, nil
}

func checkAddr(variable, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host == "" {
		err = errors.New("the host is missing")
	}
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return usageError("%s is %q, which is not host:port: %w", variable, addr, err)
	}
	return nil
}

// edge is the edge's control server.
func (c config) edge() *edge.Client {
	path := filepath.Join(c.dir, "run", "edge.sock")
	return edge.NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	})
}

func (c config) guardSocket() string {
	return filepath.Join(c.dir, "run", "guard.sock")
}
