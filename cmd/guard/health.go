package main

import (
	"flag"
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
	response, err := get(args, c.timeout)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	return success(args, response)
}
