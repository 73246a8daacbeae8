// Package sink receives the mail and the HTTP calls that the applications make,
// delivers none of it, and keeps it for tests and for comparing both systems.
package sink

import (
	"slices"
	"sync"
	"time"
)

// System is who sent a message. Each has addresses of its own to send to.
type System string

// Both systems.
const (
	Python System = "python"
	Go     System = "go"
)

// Kind is how a message came.
type Kind string

// The kinds of messages.
const (
	ByMail Kind = "mail"
	ByHTTP Kind = "http"
)

// Message is one mail or one HTTP call.
type Message struct {
	Seq        uint64 `json:"seq"` // over both systems; grows for ever
	System     System `json:"system"`
	Kind       Kind   `json:"kind"`
	ReceivedAt Time   `json:"received_at"`
	RequestID  string `json:"request_id"` // header X-Request-ID
	Mail       *Mail  `json:"mail,omitempty"`
	HTTP       *Call  `json:"http,omitempty"`
}

// Mail is what was delivered over SMTP.
type Mail struct {
	From    string              `json:"from"` // of the envelope, as is To
	To      []string            `json:"to"`
	Subject string              `json:"subject"`
	Text    string              `json:"text"` // decoded, with plain line feeds
	Header  map[string][]string `json:"header"`
}

// Call is an HTTP request.
type Call struct {
	Method string              `json:"method"`
	Path   string              `json:"path"` // with its query
	Header map[string][]string `json:"header"`
	Body   string              `json:"body"`
}

// Time is written in UTC with milliseconds.
type Time struct {
	time.Time
}

// MarshalJSON writes the time.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05.000Z07:00"`)), nil
}

const (
	maxKept  = 10_000   // messages of a system
	maxBytes = 32 << 20 // in the messages of a system
	perEntry = 512      // what a message takes besides its text, about
)

// messages keeps the newest messages of each system.
type messages struct {
	mu       sync.Mutex
	seq      uint64
	kept     map[System][]*Message // oldest first
	bytes    map[System]int
	dropped  map[System]int
	received map[System]map[Kind]uint64 // also those that are not kept any more
}

// query says which messages are wanted; empty fields leave the choice open.
type query struct {
	system System
	kind   Kind
	after  uint64
}

func newMessages() *messages {
	return &messages{
		kept:     map[System][]*Message{},
		bytes:    map[System]int{},
		dropped:  map[System]int{},
		received: map[System]map[Kind]uint64{Python: {ByMail: 0, ByHTTP: 0}, Go: {ByMail: 0, ByHTTP: 0}},
	}
}

// add numbers a message and keeps it, and lets go the oldest ones that are too
// many or too long together.
func (m *messages) add(message *Message, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	message.Seq, message.ReceivedAt = m.seq, Time{at}
	system := message.System
	kept := append(m.kept[system], message)
	m.bytes[system] += message.size()
	m.received[system][message.Kind]++
	for len(kept) > maxKept || m.bytes[system] > maxBytes && len(kept) > 1 {
		m.bytes[system] -= kept[0].size()
		m.dropped[system]++
		kept[0] = nil // the array outlives the slice
		kept = kept[1:]
	}
	m.kept[system] = kept
}

// find returns messages by their number, and how many were let go.
func (m *messages) find(q query) (found []*Message, dropped int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, system := range []System{Python, Go} {
		if q.system != "" && q.system != system {
			continue
		}
		dropped += m.dropped[system]
		for _, message := range m.kept[system] {
			if message.Seq > q.after && (q.kind == "" || q.kind == message.Kind) {
				found = append(found, message)
			}
		}
	}
	slices.SortFunc(found, func(a, b *Message) int {
		return int(a.Seq) - int(b.Seq)
	})
	return found, dropped
}

// forget lets all messages go. The numbers and the counters go on.
func (m *messages) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.kept)
	clear(m.bytes)
	clear(m.dropped)
}

// counts are all messages that ever came.
func (m *messages) counts(report func(System, Kind, uint64)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for system, kinds := range m.received {
		for kind, count := range kinds {
			report(system, kind, count)
		}
	}
}

func (m *Message) size() int {
	size := perEntry + len(m.RequestID)
	if mail := m.Mail; mail != nil {
		size += len(mail.From) + len(mail.Subject) + len(mail.Text) + headerSize(mail.Header)
		for _, to := range mail.To {
			size += len(to)
		}
	}
	if call := m.HTTP; call != nil {
		size += len(call.Method) + len(call.Path) + len(call.Body) + headerSize(call.Header)
	}
	return size
}

func headerSize(header map[string][]string) int {
	size := 0
	for name, values := range header {
		size += perEntry/4 + len(name)
		for _, value := range values {
			size += len(value)
		}
	}
	return size
}
