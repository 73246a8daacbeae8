package goapp

import (
	"bytes"
	"context"
	"fmt"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

const (
	mailTimeout = 2 * time.Second
	mailFrom    = "p2k16@example.com"
	mailSender  = "p2k16 <" + mailFrom + ">"
)

// mail is a message of plain text to one member.
type mail struct {
	to, subject, text string
	requestID         string
}

// mailer sends mails.
type mailer interface {
	send(ctx context.Context, m mail) error
}

func resetMail(user store.Account, link, requestID string) mail {
	return mail{
		to:      user.Email,
		subject: "Reset your password",
		text: "Hello " + user.DisplayName() + ",\n" +
			"\n" +
			"Open this link within an hour to choose a new password:\n" +
			link + "\n" +
			"\n" +
			"If you did not ask for this, you need not do anything.\n",
		requestID: requestID,
	}
}

// mailable reports whether an address can stand in a command and in a header
// as it is. Old rows have some that cannot.
func mailable(address string) bool {
	return emails.MatchString(address) && !strings.ContainsAny(address, "<>")
}

// smtpMailer hands mails to the server at an address.
type smtpMailer struct {
	addr string
}

// send gives up after mailTimeout, whatever the request has left: the link is
// written down already.
func (s smtpMailer) send(ctx context.Context, m mail) (err error) {
	message, err := m.bytes()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(mailTimeout)
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("the mail server cannot be reached: %w", err)
	}
	defer func() { _ = connection.Close() }() // Quit has said goodbye, or something worse is known
	if err := connection.SetDeadline(deadline); err != nil {
		return err
	}
	if err := deliver(connection, s.addr, m.to, message); err != nil {
		return fmt.Errorf("the mail was not taken: %w", err)
	}
	return nil
}

func deliver(connection net.Conn, addr, to string, message []byte) error {
	client, err := smtp.NewClient(connection, addr)
	if err != nil {
		return err
	}
	if err := client.Mail(mailFrom); err != nil {
		return err
	}
	if err := client.Rcpt(to); err != nil {
		return err
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := body.Write(message); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	_ = client.Quit() // the message is taken already
	return nil
}

// bytes is the message as it goes over the wire. What could end a header's
// line is not sent at all.
func (m mail) bytes() ([]byte, error) {
	header := [][2]string{
		{"Date", time.Now().UTC().Format(time.RFC1123Z)},
		{"From", mailSender},
		{"To", m.to},
		{"Subject", m.subject},
		{"X-Request-ID", m.requestID},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	}
	var b bytes.Buffer
	for _, line := range header {
		if hasControls(line[1]) {
			return nil, fmt.Errorf("the mail's %s cannot be in a header", line[0])
		}
		_, _ = fmt.Fprintf(&b, "%s: %s\r\n", line[0], line[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	if _, err := body.Write([]byte(strings.ReplaceAll(m.text, "\n", "\r\n"))); err != nil {
		return nil, err
	}
	return b.Bytes(), body.Close()
}
