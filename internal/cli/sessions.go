package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/session"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

func newSessionsCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "sessions", Short: "Look at the sessions that both systems share", Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	list := &cobra.Command{Use: "list", Short: "Count the sessions, by the system that made them", Args: usageArgs(cobra.NoArgs)}
	verify := &cobra.Command{Use: "verify", Short: "Prove that both systems can read every session", Args: usageArgs(cobra.NoArgs)}
	migrate := &cobra.Command{
		Use:   "migrate --to python|go",
		Short: "Convert the sessions that a system cannot read, and list those that cannot be converted",
		Long: `Convert the sessions that a system cannot read, and list those that cannot be
converted. Both systems read and write one form, so that a rollback needs none
of this: it proves that there is nothing to do, and mends what another program
left (MessagePack, or JSON that only one system takes). Nothing is deleted.`,
		Args: usageArgs(cobra.NoArgs),
	}
	var to string
	migrate.Flags().StringVar(&to, "to", "", "the `system` that has to read them: python or go")
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		return sessionsWalk{o, session.Look, "list"}.run(cmd.Context())
	}
	verify.RunE = func(cmd *cobra.Command, _ []string) error {
		return sessionsWalk{o, session.Look, "verify"}.run(cmd.Context())
	}
	migrate.RunE = func(cmd *cobra.Command, _ []string) error {
		target := session.Target(to)
		if target != session.ToPython && target != session.ToGo {
			return usage(fmt.Errorf("--to %q: it has to be python or go", to))
		}
		return sessionsWalk{o, target, "migrate"}.run(cmd.Context())
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Show what is known of one session, but for what an application keeps in it", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return showSession(cmd.Context(), o, args[0]) },
	}
	cmd.AddCommand(list, show, verify, migrate)
	return cmd
}

// sessionsWalk is a command that looks at every session.
type sessionsWalk struct {
	*options
	target session.Target
	name   string
}

// readable is how many sessions each system can read.
type readable struct {
	Python int `json:"python"`
	Go     int `json:"go"`
}

// sessionsResult is what list, verify and migrate print with --json.
type sessionsResult struct {
	SchemaVersion int            `json:"schema_version"`
	Verdict       string         `json:"verdict"`
	Total         int            `json:"total"`
	LoggedIn      int            `json:"logged_in"`
	Creators      map[string]int `json:"creators"`
	Migrated      int            `json:"migrated"`
	Readable      readable       `json:"readable"`
	Unreadable    int            `json:"unreadable"`
	Converted     int            `json:"converted"`
	Report        string         `json:"report,omitempty"` // the file that lists what could not be read
	Seconds       float64        `json:"seconds"`
}

func (w sessionsWalk) run(ctx context.Context) (err error) {
	s, done, err := w.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	client, err := redisClient(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	const subject = "sessions"
	began := time.Now()
	event.Work(s.Events(), subject, "reading")
	census, err := session.Take(ctx, client, w.target, func(total int) {
		event.Work(s.Events(), subject, fmt.Sprintf("reading: %d", total))
	})
	if err != nil {
		event.Fail(s.Events(), subject, "could not be read")
		return redisFailed(ctx, s, err)
	}
	event.Finish(s.Events(), subject, fmt.Sprintf("%d read", census.Total))
	result := sessionsResult{
		SchemaVersion: 1, Verdict: "pass", Total: census.Total, LoggedIn: census.Users, Creators: named(census.Creators), Migrated: census.Migrated,
		Readable: readable{census.Python, census.Go}, Unreadable: len(census.Unreadable), Converted: census.Converted,
		Seconds: time.Since(began).Round(time.Millisecond).Seconds(),
	}
	if result.Unreadable > 0 {
		result.Verdict = "fail"
		if w.name != "list" {
			if result.Report, err = keepReport(s.Dir(), began, census.Unreadable); err != nil {
				return err
			}
		}
	}
	if err := w.print(result, w.text(result)); err != nil {
		return err
	}
	if w.name != "list" && result.Verdict == "fail" {
		return exitError{code: ExitRefused}
	}
	return nil
}

func (w sessionsWalk) text(r sessionsResult) string {
	var b strings.Builder
	switch {
	case r.Unreadable > 0:
		fmt.Fprintf(&b, "%d of %d sessions cannot be read by both systems: those users would be logged out by being moved.\n", r.Unreadable, r.Total)
	case r.Total == 0:
		b.WriteString("There are no sessions.\n")
	default:
		fmt.Fprintf(&b, "Both systems can read all %d sessions.\n", r.Total)
	}
	if w.name == "migrate" {
		fmt.Fprintf(&b, "%d were converted; nothing was deleted.\n", r.Converted)
	}
	fmt.Fprintf(&b, "\n%-16s %9s\n", "MADE BY", "SESSIONS")
	for _, creator := range slices.Sorted(maps.Keys(r.Creators)) {
		fmt.Fprintf(&b, "%-16s %9d\n", printable(creator), r.Creators[creator])
	}
	fmt.Fprintf(&b, "\n%d of them are logged in, %d are from before the migration. Python reads %d, Go reads %d. It took %.1f s.",
		r.LoggedIn, r.Migrated, r.Readable.Python, r.Readable.Go, r.Seconds)
	if r.Report != "" {
		fmt.Fprintf(&b, "\nWhich ones, and why: %s", r.Report)
	}
	return b.String()
}

// named gives the sessions that do not say who made them a name.
func named(creators map[string]int) map[string]int {
	all := map[string]int{}
	for creator, count := range creators {
		all[cmp.Or(creator, "unknown")] += count
	}
	return all
}

// keepReport writes what could not be read into a file of its own, which stays.
// Ids are as good as passwords: nobody else may read it.
func keepReport(dir string, at time.Time, unreadable []session.Unreadable) (path string, err error) {
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	for _, one := range unreadable {
		if err := encoder.Encode(one); err != nil {
			return "", err
		}
	}
	folder := filepath.Join(dir, "reports")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("keep the report on sessions: %w", err)
	}
	path = filepath.Join(folder, "sessions-"+at.UTC().Format("20060102T150405.000Z")+".jsonl")
	if err := os.WriteFile(path, content.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("keep the report on sessions: %w", err)
	}
	return path, nil
}

// sessionResult is what sessions show --json prints.
type sessionResult struct {
	SchemaVersion int            `json:"schema_version"`
	State         string         `json:"state"` // live, ended (by a logout or login, not long ago) or unknown
	UserID        string         `json:"user_id"`
	CreatedBy     string         `json:"created_by"`
	Fresh         bool           `json:"fresh"`
	Migrated      bool           `json:"migrated"`
	Readable      bool           `json:"readable"`
	Why           string         `json:"why,omitempty"`
	Bytes         int            `json:"bytes"`
	LeftS         float64        `json:"left_s"`
	Keys          map[string]int `json:"keys"` // the length of each value in bytes
}

func showSession(ctx context.Context, o *options, id string) (err error) {
	s, done, err := o.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	client, err := redisClient(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	d, err := session.LookAt(ctx, client, id)
	if err != nil {
		return redisFailed(ctx, s, err)
	}
	result := sessionResult{SchemaVersion: 1, State: "live", UserID: d.UserID, CreatedBy: d.Creator, Fresh: d.Fresh, Migrated: d.Migrated,
		Readable: d.Exists && d.Problem == nil, Bytes: d.Bytes, LeftS: d.Left.Seconds(), Keys: d.Keys}
	if d.Problem != nil {
		result.Why = d.Problem.Why
	}
	switch {
	case d.Ended:
		result.State = "ended"
	case !d.Exists:
		result.State = "unknown"
	}
	return o.print(result, sessionText(result))
}

func sessionText(r sessionResult) string {
	switch {
	case r.State == "ended":
		return "This session was ended by a logout or by logging in again."
	case r.State == "unknown":
		return "There is no such session: it has expired, or never was."
	case !r.Readable:
		return fmt.Sprintf("At least one system cannot read this session of %d bytes: %s.", r.Bytes, printable(r.Why))
	}
	who := "Nobody is logged in"
	if r.UserID != "" {
		who = "User " + printable(r.UserID) + " is logged in"
	}
	text := fmt.Sprintf("%s. Made by %s, it lives for another %s unless it is used.", who, printable(cmp.Or(r.CreatedBy, "nobody knows whom")),
		(time.Duration(r.LeftS) * time.Second).String())
	if r.Migrated {
		text += " It is from before the migration."
	}
	text += fmt.Sprintf("\n%d bytes in %d keys: ", r.Bytes, len(r.Keys))
	for i, name := range slices.Sorted(maps.Keys(r.Keys)) {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s (%d)", printable(name), r.Keys[name])
	}
	return text
}

const redisAddress = "redis:6379"

// redisClient reaches the sessions' database through the engine.
func redisClient(ctx context.Context, s *stack.Stack) (*redis.Client, error) {
	if err := s.Running(ctx, "redis"); err != nil {
		return nil, err
	}
	secrets, err := s.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(session.Through(secrets["redis/password"], func(ctx context.Context) (net.Conn, error) {
		return s.Dial(ctx, "guard", "tcp", redisAddress)
	})), nil
}

// redisFailed tells a Redis that is away from anything else.
func redisFailed(ctx context.Context, s *stack.Stack, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if stopped := s.Running(context.WithoutCancel(ctx), "redis"); stopped != nil {
		return stopped
	}
	return exitError{ExitUnavailable, err}
}
