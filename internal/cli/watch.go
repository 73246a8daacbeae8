package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

const (
	watchEvery = time.Second
	lastEvents = 5
)

// follow shows the status again and again: on a terminal in place, in a pipe a
// line whenever something changed, with --json a document a line.
func (c *statusCommand) follow(ctx context.Context) (err error) {
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var journal tail
	for shown := ""; ; {
		document, err := c.status(ctx, s)
		if ctx.Err() != nil {
			return nil // watching ends by being interrupted
		}
		if err != nil {
			return err
		}
		journal.read(ctx, s)
		text, err := c.frame(document, journal.events)
		if err != nil {
			return err
		}
		if text != shown || c.env.Screen {
			if _, err := fmt.Fprint(c.env.Stdout, text); err != nil {
				return err
			}
		}
		shown = text
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// frame is what is shown at one moment.
func (c *statusCommand) frame(document statusDocument, events []rollout.Event) (string, error) {
	switch {
	case c.json:
		text, err := json.Marshal(document)
		return string(text) + "\n", err
	case c.env.Screen:
		text := document.text() + "\n"
		for _, e := range events {
			text += "\n" + eventLine(e)
		}
		return "\x1b[H\x1b[2J" + text + "\n", nil // from the top of an empty screen
	}
	return document.line() + "\n", nil
}

// line is the status in one line, without what changes all the time.
func (d statusDocument) line() string {
	parts := []string{strings.SplitN(d.sentence(), "\n", 2)[0]}
	if d.Progress != nil {
		parts = append(parts, "step "+d.Progress.Step+" under way")
	} else if d.Step != "" {
		parts = append(parts, "after step "+d.Step)
	}
	if d.Latched {
		parts = append(parts, "latched")
	}
	if d.Paused {
		parts = append(parts, "paused")
	}
	for _, route := range d.Routes {
		if route.Measured != nil && route.Weight > 0 && route.Weight < 100 {
			parts = append(parts, fmt.Sprintf("%s %s of %s", route.Name, percent(float64(int(*route.Measured+0.5))), percent(route.Weight)))
		}
	}
	for _, service := range d.Services {
		if (service.State != "running" || service.Health == "unhealthy") && (service.Name != "flask" || d.Home != "go") {
			parts = append(parts, service.Name+" "+condition(service))
		}
	}
	if !d.Guard.Reachable {
		parts = append(parts, "the guard does not answer")
	}
	return strings.Join(parts, " · ")
}

// tail is the end of the journal.
type tail struct {
	seq    uint64
	events []rollout.Event
}

// read adds what was recorded since the last reading; a guard that does not
// answer is read the next time.
func (j *tail) read(ctx context.Context, s *stack.Stack) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	client := guardClient(s)
	defer client.Close()
	for e, err := range client.Events(ctx, j.seq, false) {
		if err != nil {
			return
		}
		j.seq = e.Seq
		j.events = append(j.events, e)
		if len(j.events) > lastEvents {
			j.events = j.events[1:]
		}
	}
}
