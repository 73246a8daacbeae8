package sink

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-smtp"
)

const maxNesting = 8 // of the parts of a mail

// mailbox is the backend of a system's SMTP server.
type mailbox struct {
	system System
	sink   *Sink
}

// NewSession begins a dialogue.
func (b mailbox) NewSession(*smtp.Conn) (smtp.Session, error) {
	return &delivery{mailbox: b}, nil
}

// delivery is one SMTP dialogue.
type delivery struct {
	mailbox
	from string
	to   []string
}

// Mail names the sender.
func (d *delivery) Mail(from string, _ *smtp.MailOptions) error {
	d.from = from
	return nil
}

// Rcpt names a recipient.
func (d *delivery) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.to = append(d.to, to)
	return nil
}

// Data receives the message.
func (d *delivery) Data(r io.Reader) error {
	d.sink.slots <- struct{}{}
	defer func() { <-d.sink.slots }()
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // the library's own, with its status: too large, or gone
	}
	received := parseMail(raw)
	received.From, received.To = d.from, d.to
	d.sink.messages.add(&Message{
		System:    d.system,
		Kind:      ByMail,
		RequestID: mail.Header(received.Header).Get("X-Request-ID"),
		Mail:      received,
	}, time.Now())
	return nil
}

// Reset forgets the message under way.
func (d *delivery) Reset() {
	d.from, d.to = "", nil
}

// Logout ends the dialogue.
func (d *delivery) Logout() error {
	return nil
}

// parseMail makes the best of a mail: what is malformed is kept as it came.
func parseMail(raw []byte) *Mail {
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return &Mail{Text: tidy(raw), Header: map[string][]string{}}
	}
	body, err := io.ReadAll(parsed.Body)
	if err != nil {
		body = raw // it is in memory: this does not happen
	}
	text, ok := textOf(field(parsed.Header), body, 0)
	if !ok {
		text = tidy(body)
	}
	header := make(map[string][]string, len(parsed.Header))
	for name, values := range parsed.Header {
		for _, value := range values {
			header[name] = append(header[name], tidy([]byte(value)))
		}
	}
	return &Mail{Subject: decodeWords(parsed.Header.Get("Subject")), Text: text, Header: header}
}

// field is how a header is asked, be it of a mail or of a part of one.
type field interface {
	Get(name string) string
}

// textOf is the text of a mail or of a part: its own, or that of the first part
// that has one.
func textOf(header field, body []byte, depth int) (string, bool) {
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		kind, params = "text/plain", nil // as the standard has it
	}
	if strings.HasPrefix(kind, "multipart/") && depth < maxNesting {
		parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for {
			part, err := parts.NextRawPart()
			if err != nil {
				return "", false
			}
			content, err := io.ReadAll(part)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return "", false
			}
			if text, ok := textOf(part.Header, content, depth+1); ok {
				return text, true
			}
		}
	}
	if !strings.HasPrefix(kind, "text/") {
		return "", false
	}
	content := decode(header.Get("Content-Transfer-Encoding"), body)
	if charset := strings.ToLower(params["charset"]); charset == "iso-8859-1" || charset == "latin1" {
		runes := make([]rune, len(content))
		for i, octet := range content {
			runes[i] = rune(octet)
		}
		content = []byte(string(runes))
	}
	return tidy(content), true
}

// decode undoes a transfer encoding; what is not in it stays as it is.
func decode(encoding string, body []byte) []byte {
	var decoded io.Reader
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		decoded = quotedprintable.NewReader(bytes.NewReader(body))
	case "base64":
		decoded = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body))
	default: // 7bit, 8bit, binary
		return body
	}
	content, err := io.ReadAll(decoded)
	if err != nil {
		return body
	}
	return content
}

func decodeWords(text string) string {
	decoded, err := new(mime.WordDecoder).DecodeHeader(text)
	if err != nil {
		decoded = text
	}
	return tidy([]byte(decoded))
}

// tidy is text with plain line feeds, and without what is not UTF-8.
func tidy(text []byte) string {
	return strings.ToValidUTF8(strings.ReplaceAll(string(text), "\r\n", "\n"), "\uFFFD")
}
