package sink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/smtp"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/sink"
)

const (
	from = "p2k16@example.com"
	to   = "kari@example.com"
)

func TestMail_IsKeptDecoded(t *testing.T) {
	for name, c := range map[string]struct{ mail, subject, text string }{
		"plain": {
			"Subject: Reset your password\r\nX-Request-ID: r1\r\n\r\nOne\r\nTwo\r\n..dot\r\n",
			"Reset your password", "One\nTwo\n..dot\n",
		},
		"8bit": {
			"Subject: Nytt passord til Åse\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\næøå\r\n",
			"Nytt passord til Åse", "æøå\n",
		},
		"quoted-printable": {
			"Subject: =?utf-8?q?Nytt_passord_til_=C3=85se?=\r\nContent-Type: text/plain; charset=\"utf-8\"\r\n" +
				"Content-Transfer-Encoding: quoted-printable\r\n\r\nhttp://localhost/?a=3D1&=\r\nb=3D=C3=A6\r\n",
			"Nytt passord til Åse", "http://localhost/?a=1&b=æ\n",
		},
		"base64": {
			"Subject: =?utf-8?b?w4VzZQ==?=\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nw6bD\r\nuMOlCg==\r\n",
			"Åse", "æøå\n",
		},
		"latin 1": {
			"Subject: s\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E6\r\n",
			"s", "æ\n",
		},
		"parts": {
			"Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: image/png\r\n\r\nPNG\r\n" +
				"--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\nContent-Type: text/plain; charset=utf-8\r\n" +
				"Content-Transfer-Encoding: base64\r\n\r\nw6YK\r\n--y--\r\n--x--\r\n",
			"s", "æ\n",
		},
		"no header":     {"\r\nOnly text\r\n", "", "Only text\n"},
		"no mail":       {"this is: no\r\n header at\r\nall\r\n", "", "this is: no\n header at\nall\n"},
		"broken base64": {"Subject: s\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n", "s", "!!!\n"},
		"unknown type":  {"Subject: s\r\nContent-Type: application/json\r\n\r\n{}\r\n", "s", "{}\n"},
		"not UTF-8":     {"Subject: s\r\n\r\na\xffb\r\n", "s", "a\uFFFDb\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			require.NoError(t, smtp.SendMail(s.at.PythonMail, nil, from, []string{to, "ola@example.com"}, []byte(c.mail)))

			found := s.messages("?system=python").Messages

			require.Len(t, found, 1)
			assert.Equal(t, sink.ByMail, found[0].Kind)
			assert.Equal(t, sink.Python, found[0].System)
			assert.Equal(t, from, found[0].Mail.From)
			assert.Equal(t, []string{to, "ola@example.com"}, found[0].Mail.To)
			assert.Equal(t, c.subject, found[0].Mail.Subject)
			assert.Equal(t, c.text, found[0].Mail.Text)
			assert.Empty(t, s.messages("?system=go").Messages)
		})
	}
}

func TestMail_CarriesItsRequest(t *testing.T) {
	s := start(t)
	mail := "From: p2k16 <p2k16@example.com>\r\nX-Request-Id: abc\r\nSubject: s\r\n\r\nt\r\n"
	require.NoError(t, smtp.SendMail(s.at.GoMail, nil, from, []string{to}, []byte(mail)))

	found := s.messages("?system=go&kind=mail").Messages

	require.Len(t, found, 1)
	assert.Equal(t, "abc", found[0].RequestID)
	assert.Equal(t, []string{"p2k16 <p2k16@example.com>"}, found[0].Mail.Header["From"])
	assert.WithinDuration(t, time.Now(), found[0].ReceivedAt.Time, time.Minute)
}

func TestMail_OfADialogueWithSeveralIsKeptOneByOne(t *testing.T) {
	s := start(t)
	client, err := smtp.Dial(s.at.PythonMail)
	require.NoError(t, err)
	for i := range 2 {
		require.NoError(t, client.Mail(from))
		require.NoError(t, client.Rcpt(fmt.Sprintf("user%d@example.com", i)))
		data, err := client.Data()
		require.NoError(t, err)
		_, err = io.WriteString(data, "Subject: s\r\n\r\nt\r\n")
		require.NoError(t, errors.Join(err, data.Close()))
	}
	require.NoError(t, client.Mail("other@example.com"))
	require.NoError(t, client.Reset())
	require.NoError(t, client.Quit())

	found := s.messages("?system=python").Messages

	require.Len(t, found, 2)
	assert.Equal(t, []string{"user0@example.com"}, found[0].Mail.To)
	assert.Equal(t, []string{"user1@example.com"}, found[1].Mail.To)
	assert.Equal(t, found[0].Seq+1, found[1].Seq)
}

func TestMail_TooLongIsRefusedAndTheDialogueGoesOn(t *testing.T) {
	s := start(t)
	client, err := smtp.Dial(s.at.PythonMail)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	send := func(size int) error {
		require.NoError(t, client.Mail(from))
		require.NoError(t, client.Rcpt(to))
		data, err := client.Data()
		require.NoError(t, err)
		_, err = io.WriteString(data, "Subject: s\r\n\r\n"+strings.Repeat(strings.Repeat("x", 62)+"\r\n", size/64))
		return errors.Join(err, data.Close())
	}

	err = send(1<<20 + 64)

	var refusal *textproto.Error
	require.ErrorAs(t, err, &refusal)
	assert.Equal(t, 552, refusal.Code)
	require.NoError(t, send(1<<20-128))
	assert.Len(t, s.messages("").Messages, 1)
}

func TestMail_HasALimitOfRecipients(t *testing.T) {
	s := start(t)
	client, err := smtp.Dial(s.at.PythonMail)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	require.NoError(t, client.Mail(from))
	for range 100 {
		require.NoError(t, client.Rcpt(to))
	}

	assert.ErrorContains(t, client.Rcpt(to), "452")
}

func TestMail_CutOffIsNotKept(t *testing.T) {
	s := start(t)
	client, err := smtp.Dial(s.at.PythonMail)
	require.NoError(t, err)
	require.NoError(t, client.Mail(from))
	require.NoError(t, client.Rcpt(to))
	data, err := client.Data()
	require.NoError(t, err)
	_, err = io.WriteString(data, "Subject: s\r\n\r\nhalf")
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.NoError(t, smtp.SendMail(s.at.PythonMail, nil, from, []string{to}, []byte("Subject: whole\r\n\r\n")))

	found := s.messages("").Messages

	require.Len(t, found, 1)
	assert.Equal(t, "whole", found[0].Mail.Subject)
}

func TestHTTP_TakesAnyMethodAndPath(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/tools", `{"tool":1,"account":2,"action":"checkout"}`},
		{"GET", "/a//b/../%2e?q=1", ""},
		{"DELETE", "/messages", ""},
		{"OPTIONS", "/", ""},
		{"BREW", "/coffee", "\xff"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+s.at.GoHTTP+c.path, strings.NewReader(c.body))
		require.NoError(t, err)
		request.Header.Set("X-Request-ID", "r1")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, http.StatusNoContent, response.StatusCode)

		found := s.messages("?system=go&kind=http").Messages
		last := found[len(found)-1]
		assert.Equal(t, "r1", last.RequestID)
		assert.Equal(t, c.method, last.HTTP.Method)
		assert.Equal(t, c.path, last.HTTP.Path)
		assert.Equal(t, strings.ToValidUTF8(c.body, "\uFFFD"), last.HTTP.Body)
		assert.Equal(t, []string{"r1"}, last.HTTP.Header["X-Request-Id"])
	}
	assert.Empty(t, s.messages("?system=python").Messages)
}

func TestHTTP_TooLongIsRefused(t *testing.T) {
	s := start(t)
	for size, status := range map[int]int{1 << 20: http.StatusNoContent, 1<<20 + 1: http.StatusRequestEntityTooLarge} {
		response, err := http.Post("http://"+s.at.PythonHTTP, "text/plain", bytes.NewReader(make([]byte, size)))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, status, response.StatusCode)
	}
	assert.Len(t, s.messages("").Messages, 1)
}

func TestMessages_AreFoundByTheirNumber(t *testing.T) {
	s := start(t)
	s.call(sink.Python, "1")
	s.call(sink.Go, "2")
	require.NoError(t, smtp.SendMail(s.at.PythonMail, nil, from, []string{to}, []byte("Subject: 3\r\n\r\n")))
	s.call(sink.Python, "4")
	for query, numbers := range map[string][]uint64{
		"":                                    {1, 2, 3, 4},
		"?system=python":                      {1, 3, 4},
		"?system=go":                          {2},
		"?system=python&kind=http":            {1, 4},
		"?kind=mail":                          {3},
		"?system=python&after=1":              {3, 4},
		"?system=python&kind=http&after=4":    {},
		"?after=18446744073709551615&kind=":   {},
		"?system=python&after=&kind=mail&x=1": {3},
	} {
		found := []uint64{}
		for _, message := range s.messages(query).Messages {
			found = append(found, message.Seq)
		}
		assert.Equal(t, numbers, found, query)
	}
	for _, query := range []string{"?system=ruby", "?kind=fax", "?after=-1", "?after=x"} {
		response, err := http.Get("http://" + s.at.Control + "/messages" + query)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, http.StatusBadRequest, response.StatusCode, query)
	}
}

func TestMessages_HaveTheDocumentedForm(t *testing.T) {
	s := start(t)
	assert.JSONEq(t, `{"schema_version":1,"messages":[],"dropped":0}`, s.get("/messages?system=go"))
	require.NoError(t, smtp.SendMail(s.at.GoMail, nil, from, []string{to}, []byte("Subject: s\r\n\r\nt\r\n")))
	text := s.get("/messages?system=go")
	var document struct {
		Messages []map[string]any `json:"messages"`
	}
	require.NoError(t, json.Unmarshal([]byte(text), &document))

	assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`, document.Messages[0]["received_at"])
	delete(document.Messages[0], "received_at")
	content, err := json.Marshal(document.Messages)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"seq":1,"system":"go","kind":"mail","request_id":"","mail":{
		"from":"p2k16@example.com","to":["kari@example.com"],"subject":"s","text":"t\n","header":{"Subject":["s"]}}}]`, string(content))
}

func TestMessages_AreForgotten(t *testing.T) {
	s := start(t)
	s.call(sink.Python, "1")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+s.at.Control+"/messages", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusNoContent, response.StatusCode)

	assert.Empty(t, s.messages("").Messages)
	s.call(sink.Python, "2")
	assert.Equal(t, uint64(2), s.messages("?after=1").Messages[0].Seq, "whoever asks for what comes later goes on")
}

func TestMessages_OldestAreLetGoOfTheirOwnSystem(t *testing.T) {
	s := start(t)
	s.call(sink.Go, "kept")
	const megabytes = 40
	for range megabytes {
		s.call(sink.Python, strings.Repeat("x", 1<<20))
	}

	last := s.messages(fmt.Sprintf("?system=python&after=%d", megabytes))
	golang := s.messages("?system=go")

	assert.Len(t, last.Messages, 1)
	assert.Greater(t, last.Dropped, megabytes/10)
	assert.Less(t, last.Dropped, megabytes/2)
	assert.Zero(t, golang.Dropped)
	assert.Len(t, golang.Messages, 1)
}

func TestMessages_OfManyAtOnceAreAllKept(t *testing.T) {
	s := start(t)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if i%2 == 0 {
				assert.NoError(t, smtp.SendMail(s.at.GoMail, nil, from, []string{to}, []byte("Subject: s\r\n\r\n")))
			} else {
				s.call(sink.Go, "x")
			}
		})
	}
	all.Wait()

	assert.Len(t, s.messages("?system=go").Messages, 40)
	metrics := s.get("/metrics")
	assert.Contains(t, metrics, `sink_messages_total{kind="mail",system="go"} 20`)
	assert.Contains(t, metrics, `sink_messages_total{kind="http",system="go"} 20`)
	assert.Contains(t, metrics, `sink_messages_total{kind="mail",system="python"} 0`)
	assert.Contains(t, s.get("/health"), `"ok"`)
}

func TestRun_EndsWithOpenDialogues(t *testing.T) {
	s := start(t)
	client, err := smtp.Dial(s.at.PythonMail)
	require.NoError(t, err)
	require.NoError(t, client.Mail(from))
	begun := time.Now()

	s.stop()

	assert.Less(t, time.Since(begun), 3*time.Second)
	assert.Error(t, client.Rcpt(to))
	require.NoError(t, client.Close())
	_, err = net.Dial("tcp", s.at.PythonMail)
	assert.Error(t, err)
}

func TestRun_LetsAMessageUnderWayFinish(t *testing.T) {
	s := start(t)
	client, err := smtp.Dial(s.at.PythonMail)
	require.NoError(t, err)
	require.NoError(t, client.Mail(from))
	require.NoError(t, client.Rcpt(to))
	data, err := client.Data()
	require.NoError(t, err)
	stopped := make(chan struct{})
	go func() {
		s.stop()
		close(stopped)
	}()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", s.at.PythonMail)
		return err != nil || conn.Close() != nil
	}, 5*time.Second, time.Millisecond, "it takes no new ones")
	_, err = io.WriteString(data, "Subject: s\r\n\r\n")

	assert.NoError(t, errors.Join(err, data.Close()), "it was taken")
	require.NoError(t, client.Quit())
	<-stopped
}

func TestRun_EndsAtOnce(t *testing.T) {
	s, err := sink.Listen(anywhere(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	assert.NoError(t, s.Run(ctx))
}

func TestListen_NamesAnAddressThatIsTaken(t *testing.T) {
	s := start(t)
	at := anywhere()
	at.Control = s.at.Control

	_, err := sink.Listen(at, slog.New(slog.DiscardHandler))

	assert.ErrorContains(t, err, s.at.Control)
}

// running is a sink that runs.
type running struct {
	t    *testing.T
	at   sink.Addresses
	stop func()
}

// page is what /messages answers.
type page struct {
	Messages []sink.Message `json:"messages"`
	Dropped  int            `json:"dropped"`
}

func start(t *testing.T) running {
	t.Helper()
	s, err := sink.Listen(anywhere(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
	})
	return running{t, s.Addresses(), stop}
}

func anywhere() sink.Addresses {
	const free = "127.0.0.1:0"
	return sink.Addresses{PythonMail: free, GoMail: free, PythonHTTP: free, GoHTTP: free, Control: free}
}

func (r running) call(system sink.System, body string) {
	r.t.Helper()
	address := r.at.PythonHTTP
	if system == sink.Go {
		address = r.at.GoHTTP
	}
	response, err := http.Post("http://"+address+"/tools", "text/plain", strings.NewReader(body))
	if assert.NoError(r.t, err) {
		assert.NoError(r.t, response.Body.Close())
		assert.Equal(r.t, http.StatusNoContent, response.StatusCode)
	}
}

func (r running) get(path string) string {
	r.t.Helper()
	response, err := http.Get("http://" + r.at.Control + path)
	require.NoError(r.t, err)
	content, err := io.ReadAll(response.Body)
	require.NoError(r.t, errors.Join(err, response.Body.Close()))
	require.Equal(r.t, http.StatusOK, response.StatusCode)
	return string(content)
}

func (r running) messages(query string) page {
	r.t.Helper()
	var found page
	require.NoError(r.t, json.Unmarshal([]byte(r.get("/messages"+query)), &found))
	return found
}
