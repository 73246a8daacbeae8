package event

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
)

// Mode names a renderer.
type Mode string

// The modes that --progress takes. Auto is TTY on a terminal, else Plain.
const (
	Auto  Mode = "auto"
	TTY   Mode = "tty"
	Plain Mode = "plain"
	JSON  Mode = "json"
	Quiet Mode = "quiet"
)

// Renderer is a Sink that shows events. Close ends what it shows.
type Renderer interface {
	Sink
	Close() error
}

// NewRenderer returns the renderer of a mode; terminal says whether w is one,
// colour whether it may be coloured.
func NewRenderer(mode Mode, w io.Writer, terminal, colour bool) (Renderer, error) {
	switch mode {
	case Auto, "":
		if terminal {
			return newTTY(w, colour), nil
		}
		return newPlain(w), nil
	case TTY:
		return newTTY(w, colour), nil
	case Plain:
		return newPlain(w), nil
	case JSON:
		return &jsonRenderer{encoder: json.NewEncoder(w)}, nil
	case Quiet:
		return &quiet{w: w}, nil
	}
	return nil, fmt.Errorf("--progress %q is unknown: it is one of auto, tty, plain, json, quiet", mode)
}

// Private

// plain writes a line for each change of a subject, for pipes and logs.
type plain struct {
	mu    sync.Mutex
	w     io.Writer
	begun map[string]time.Time
	last  map[string]Event
}

func newPlain(w io.Writer) *plain {
	return &plain{w: w, begun: map[string]time.Time{}, last: map[string]Event{}}
}

func (p *plain) Emit(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begun, known := p.begun[e.Subject]
	if !known {
		begun = e.Time
		p.begun[e.Subject] = begun
	}
	// Progress inside a subject is for a person who watches; a log wants its
	// beginning and its end.
	last := p.last[e.Subject]
	if known && e.Status == Working || known && last.Status == e.Status && last.Text == e.Text {
		return
	}
	p.last[e.Subject] = e
	_, _ = fmt.Fprintln(p.w, line(e, e.Time.Sub(begun)))
}

func (*plain) Close() error { return nil }

func line(e Event, took time.Duration) string {
	text := fmt.Sprintf("%-22s %s", e.Subject, e.Text)
	if e.Status != Working && took >= 100*time.Millisecond {
		text += fmt.Sprintf(" (%.1f s)", took.Seconds())
	}
	switch e.Status {
	case Warning:
		text = "warning: " + text
	case Failed:
		text = "failed: " + text
	}
	return text
}

// jsonRenderer writes one object a line, for programs.
type jsonRenderer struct {
	mu      sync.Mutex
	encoder *json.Encoder
}

func (j *jsonRenderer) Emit(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_ = j.encoder.Encode(map[string]string{
		"time":    e.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		"subject": e.Subject,
		"status":  e.Status.String(),
		"text":    e.Text,
	})
}

func (*jsonRenderer) Close() error { return nil }

// quiet shows only what went wrong.
type quiet struct {
	mu sync.Mutex
	w  io.Writer
}

func (q *quiet) Emit(e Event) {
	if e.Status < Warning {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_, _ = fmt.Fprintln(q.w, line(e, 0))
}

func (*quiet) Close() error { return nil }

// tty keeps a line for each subject and redraws them in place.
type tty struct {
	mu       sync.Mutex
	w        io.Writer
	colour   bool
	order    []string
	subjects map[string]*row
	drawn    int
	stop     chan struct{}
	stopped  sync.WaitGroup
}

type row struct {
	begun time.Time
	last  Event
}

// redraw is how often a terminal is redrawn: more is flicker.
const redraw = 200 * time.Millisecond

func newTTY(w io.Writer, colour bool) *tty {
	t := &tty{w: w, colour: colour, subjects: map[string]*row{}, stop: make(chan struct{})}
	t.stopped.Go(func() {
		ticker := time.NewTicker(redraw)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				t.draw(now)
			case <-t.stop:
				t.draw(time.Now())
				return
			}
		}
	})
	return t
}

func (t *tty) Emit(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, known := t.subjects[e.Subject]
	if !known {
		r = &row{begun: e.Time}
		t.subjects[e.Subject] = r
		t.order = append(t.order, e.Subject)
	}
	r.last = e
}

func (t *tty) Close() error {
	close(t.stop)
	t.stopped.Wait()
	return nil
}

func (t *tty) draw(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out strings.Builder
	out.WriteString("\x1b[?7l") // a line that wrapped would be counted as one
	if t.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", t.drawn)
	}
	for _, subject := range t.order {
		r := t.subjects[subject]
		end := now
		if r.last.Status != Working {
			end = r.last.Time
		}
		fmt.Fprintf(&out, "\x1b[2K%s %-22s %5.1f s  %s\n", t.icon(r.last.Status, now), subject,
			end.Sub(r.begun).Seconds(), shorten(r.last.Text, 60))
	}
	out.WriteString("\x1b[?7h")
	t.drawn = len(t.order)
	_, _ = io.WriteString(t.w, out.String())
}

func (t *tty) icon(s Status, now time.Time) string {
	spinner := []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧"}
	icon, colour := spinner[int(now.UnixMilli()/redraw.Milliseconds())%len(spinner)], "6"
	switch s {
	case Done:
		icon, colour = "✔", "2"
	case Warning:
		icon, colour = "!", "3"
	case Failed:
		icon, colour = "✘", "1"
	}
	if !t.colour {
		return icon
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(colour)).Render(icon)
}

func shorten(text string, limit int) string {
	runes := []rune(strings.ReplaceAll(text, "\n", " "))
	if len(runes) <= limit {
		return string(runes)
	}
	return string(runes[:limit-1]) + "…"
}
