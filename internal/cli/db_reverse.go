package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/database/reverse"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

// Where the systems are; the compose file says the same.
const (
	pythonAddress = "flask:5000"
	goAddress     = "goapp:8080"
)

// span is a stretch of time that --since and --until name.
type span struct {
	since, until string
	from, to     time.Time
}

func (s *span) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.since, "since", "", "from this `time` on: 2006-01-02T15:04:05Z, or so long ago: 15m (default: from the beginning)")
	cmd.Flags().StringVar(&s.until, "until", "", "up to this `time` (default: now)")
}

func (s *span) read(now time.Time) (err error) {
	s.from, s.to = time.Unix(0, 0), now
	for _, end := range []struct {
		flag, text string
		at         *time.Time
	}{{"since", s.since, &s.from}, {"until", s.until, &s.to}} {
		if end.text == "" {
			continue
		}
		if ago, err := time.ParseDuration(end.text); err == nil && ago >= 0 {
			*end.at = now.Add(-ago)
		} else if *end.at, err = time.Parse(time.RFC3339, end.text); err != nil {
			return usage(fmt.Errorf("--%s %q is neither a time like 2006-01-02T15:04:05Z nor a duration like 15m", end.flag, end.text))
		}
	}
	return nil
}

type reverseCommand struct {
	*options
	span
	list bool
}

func newReverseCommand(o *options) *cobra.Command {
	c := &reverseCommand{options: o}
	cmd := &cobra.Command{
		Use:   "reverse",
		Short: "Read what Go wrote through python, and compare it with what Go says",
		Long: `Read what Go wrote through python, and compare it with what Go says.

What Go wrote is in the audit trail. Everything that the API shows of it is asked
of both systems, directly, and has to be there and to be the same: only then is
the way back open. With --list what was written is listed as well, for a person
to judge what came of a bad stretch of time.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.list, "list", false, "list what was written, too")
	return cmd
}

// reverseResult is what db reverse --json prints.
type reverseResult struct {
	SchemaVersion int    `json:"schema_version"`
	Verdict       string `json:"verdict"`
	reverse.Result
	List []reverse.Write `json:"list,omitempty"`
}

func (c *reverseCommand) run(ctx context.Context) (err error) {
	if err := c.read(time.Now()); err != nil {
		return err
	}
	p, err := c.loadPlan()
	if err != nil {
		return err
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	result, err := reverseCheck(ctx, s, p, c.span, c.list)
	if err != nil {
		return databaseFailed(ctx, s, err)
	}
	if c.since == "" && c.until == "" {
		c.record(ctx, s, "reverse", result.Verdict, fmt.Sprintf("%d writes of Go were read through python, %d differ", result.Writes, len(result.Differences)))
	}
	if err := c.print(result, result.text()); err != nil {
		return err
	}
	return result.failure()
}

func (r reverseResult) failure() error {
	switch r.Verdict {
	case verdictFail:
		return exitError{code: ExitRefused}
	case verdictInconclusive:
		return exitError{code: ExitInconclusive}
	}
	return nil
}

// reverseCheck compares what both systems say of what Go wrote.
func reverseCheck(ctx context.Context, s *stack.Stack, p *plan.Plan, within span, list bool) (result reverseResult, err error) {
	writes, err := writesOf(ctx, s, p, "go", within)
	if err != nil {
		return result, err
	}
	python, goapp := newAsker(s, pythonAddress), newAsker(s, goAddress)
	defer python.close()
	defer goapp.close()
	result = reverseResult{SchemaVersion: 1, Verdict: verdictPass}
	if len(writes) == 0 {
		// No data is no pass.
		result.Verdict, result.Differences = verdictInconclusive, []reverse.Difference{}
		return result, nil
	}
	for _, service := range []string{"flask", "goapp"} {
		if err := s.Running(ctx, service); err != nil {
			return result, err
		}
	}
	cookies, err := python.login(ctx, p.Database.Writes.Login)
	if err != nil {
		return result, err
	}
	// One session: both systems know it.
	python.cookies, goapp.cookies = cookies, cookies
	if result.Result, err = reverse.Compare(ctx, writes, python, goapp); err != nil {
		return result, exitError{ExitUnavailable, err}
	}
	if len(result.Differences) > 0 {
		result.Verdict = verdictFail
	}
	if list {
		result.List = writes
	}
	return result, nil
}

// writesOf asks the database for what a system wrote.
func writesOf(ctx context.Context, s *stack.Stack, p *plan.Plan, system string, within span) (_ []reverse.Write, err error) {
	if p.Database.Writes.Query == "" {
		return nil, usage(fmt.Errorf("the plan %s does not say how writes are found: it has no writes under database", p.Name))
	}
	query, err := os.ReadFile(filepath.Join(p.Dir, p.Database.Writes.Query))
	if err != nil {
		return nil, err
	}
	server, err := databaseServer(ctx, s)
	if err != nil {
		return nil, err
	}
	conn, err := server.Connect(ctx, databaseName, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return reverse.Find(ctx, conn, string(query), system, within.from, within.to)
}

func (r reverseResult) text() string {
	var out strings.Builder
	switch r.Verdict {
	case verdictPass:
		fmt.Fprintf(&out, "Everything that Go wrote reads the same through python: %d writes, %d paths asked of both.", r.Writes, r.Paths)
	case verdictInconclusive:
		out.WriteString("Go wrote nothing in this time, so there is nothing to compare.")
	default:
		fmt.Fprintf(&out, "FAIL: of %d paths that show what Go wrote, %d read otherwise through python.", r.Paths, len(r.Differences))
	}
	if r.Unseen > 0 {
		fmt.Fprintf(&out, "\n%d writes are shown nowhere by the API.", r.Unseen)
	}
	for _, d := range r.Differences {
		fmt.Fprintf(&out, "\n%s  %s: python %s, go %s (event %d, %s)", d.Path, d.Field, printable(d.Python), printable(d.Go), d.Writes[0].Number, d.Writes[0].Action)
	}
	for _, write := range r.List {
		out.WriteString("\n" + writeLine(write))
	}
	return out.String()
}

func writeLine(w reverse.Write) string {
	return fmt.Sprintf("%s  event %d  %s by %s  %s  request %s", w.At.Local().Format("2006-01-02 15:04:05.000"), w.Number, w.Action,
		orDash(w.Who), orDash(w.Path), printable(orDash(w.RequestID)))
}

func orDash(text *string) string {
	if text == nil {
		return "–"
	}
	return *text
}

// asker asks one system past the edge.
type asker struct {
	http    *http.Client
	cookies []*http.Cookie
}

// askPatience is how long an application may take for one answer.
const askPatience = 15 * time.Second

func newAsker(s *stack.Stack, address string) *asker {
	return &asker{http: &http.Client{
		Timeout: askPatience,
		Transport: &http.Transport{MaxIdleConnsPerHost: 8, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.Dial(ctx, "nginx", "tcp", address)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (a *asker) close() { a.http.CloseIdleConnections() }

// Ask makes it a reverse.Asker. What is a matter of waiting is an error, and
// not an answer.
func (a *asker) Ask(ctx context.Context, path string) (reverse.Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cutover"+path, nil)
	if err != nil {
		return reverse.Answer{}, err
	}
	for _, cookie := range a.cookies {
		request.AddCookie(cookie)
	}
	answer, _, err := a.do(request)
	if err == nil && answer.Status == http.StatusServiceUnavailable {
		err = errors.New("it answers 503: wait until it is well")
	}
	return answer, err
}

// login begins a session and returns its cookies.
func (a *asker) login(ctx context.Context, login plan.Login) ([]*http.Cookie, error) {
	body, err := json.Marshal(login.Body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cutover"+login.Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, cookies, err := a.do(request)
	switch {
	case err != nil:
		return nil, exitError{ExitUnavailable, fmt.Errorf("log in to read what was written: %w", err)}
	case answer.Status >= 500:
		return nil, exitError{ExitUnavailable, fmt.Errorf("log in to read what was written: python answers %d", answer.Status)}
	case answer.Status >= 400 || len(cookies) == 0:
		return nil, usage(fmt.Errorf("the login that the plan names under database.writes does not work: %s answers %d", login.Path, answer.Status))
	}
	return cookies, nil
}

func (a *asker) do(request *http.Request) (_ reverse.Answer, _ []*http.Cookie, err error) {
	response, err := a.http.Do(request)
	if err != nil {
		return reverse.Answer{}, nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	return reverse.Answer{Status: response.StatusCode, Body: body}, response.Cookies(), err
}
