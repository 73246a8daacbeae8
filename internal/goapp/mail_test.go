package goapp

import (
	"bytes"
	"io"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMail_IsWhatWasWritten(t *testing.T) {
	text := "Hello Bjørn,\n\n" + strings.Repeat("long ", 50) + "=\n.\nend\n"
	message, err := mail{to: "a@b", subject: "S", text: text, requestID: "rid"}.bytes()
	require.NoError(t, err)
	parsed, err := netmail.ReadMessage(bytes.NewReader(message))
	require.NoError(t, err)
	sent, err := parsed.Header.Date()
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), sent, time.Minute)
	delete(parsed.Header, "Date")
	assert.Equal(t, map[string][]string{
		"From": {"p2k16 <p2k16@example.com>"}, "To": {"a@b"}, "Subject": {"S"}, "X-Request-Id": {"rid"},
		"Mime-Version": {"1.0"}, "Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {"quoted-printable"},
	}, map[string][]string(parsed.Header))
	body, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
	require.NoError(t, err)
	assert.Equal(t, text, strings.ReplaceAll(string(body), "\r\n", "\n"))
}

func TestMail_NothingCanBeAddedToItsHeader(t *testing.T) {
	for _, m := range []mail{{to: "a@b\r\nBcc: c@d"}, {to: "a@b", subject: "S\nX: y"}, {to: "a@b", requestID: "x\r"}} {
		_, err := m.bytes()
		assert.ErrorContains(t, err, "cannot be in a header")
	}
	for address, expected := range map[string]bool{
		"a@b": true, "a\n@b": false, "a@b>": false, "<a@b": false, "å@b": false, "a b@c": false, "a": false, "a@b@c": false,
	} {
		assert.Equal(t, expected, mailable(address), address)
	}
}

// smtpServer answers one client line by line, and returns what it said.
func smtpServer(t *testing.T, answers map[string]string) (addr string, said func() string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, listener.Close()) })
	heard := make(chan string, 1)
	go func() {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = connection.Close() }()
		var all strings.Builder
		defer func() { heard <- all.String() }()
		text := textproto.NewConn(connection)
		_ = text.PrintfLine("220 ready")
		for {
			line, err := text.ReadLine()
			if err != nil {
				return
			}
			all.WriteString(line + "\n")
			verb, _, _ := strings.Cut(line, " ")
			answer := answers[verb]
			if answer == "" {
				answer = "250 ok"
			}
			_ = text.PrintfLine("%s", answer)
			if strings.HasPrefix(answer, "354") {
				body, _ := text.ReadDotBytes()
				all.Write(body)
				_ = text.PrintfLine("250 taken")
			}
		}
	}()
	return listener.Addr().String(), func() string { return <-heard }
}

func TestSMTPMailer(t *testing.T) {
	addr, said := smtpServer(t, map[string]string{"DATA": "354 go on", "QUIT": "221 bye"})
	require.NoError(t, smtpMailer{addr}.send(t.Context(), mail{to: "a@b", subject: "S", text: ".\n"}))
	heard := said()
	assert.Contains(t, heard, "MAIL FROM:<p2k16@example.com>\nRCPT TO:<a@b>\nDATA\nDate: ")
	assert.True(t, strings.HasSuffix(heard, "\n\n.\nQUIT\n"), heard)
}

func TestSMTPMailer_Failures(t *testing.T) {
	addr, _ := smtpServer(t, map[string]string{"RCPT": "550 no"})
	assert.ErrorContains(t, smtpMailer{addr}.send(t.Context(), mail{to: "a@b"}), `550 "no"`)
	assert.ErrorContains(t, smtpMailer{"127.0.0.1:1"}.send(t.Context(), mail{to: "a@b"}), "cannot be reached")
}

func TestSMTPMailer_GivesUpOnASilentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, listener.Close()) })
	start := time.Now()
	assert.Error(t, smtpMailer{listener.Addr().String()}.send(t.Context(), mail{to: "a@b"}))
	assert.InDelta(t, mailTimeout.Seconds(), time.Since(start).Seconds(), 0.5)
}
