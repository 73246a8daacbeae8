package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/database/migrate"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

// migrationsCommand is what the commands that look at or run migrations have
// in common.
type migrationsCommand struct {
	*options
	patience time.Duration
}

// lockPatience is how long a migration tries to get a table that somebody
// holds, unless --patience says otherwise.
const lockPatience = 5 * time.Minute

func (c *migrationsCommand) patienceFlag(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&c.patience, "patience", lockPatience, "how long each migration may try to get the locks that it needs")
}

// migrator opens the environment and reads the plan's migrations.
func (c *migrationsCommand) migrator(ctx context.Context) (*migrate.Migrator, *stack.Stack, func() error, error) {
	none := func() error { return nil }
	p, err := c.loadPlan()
	if err != nil {
		return nil, nil, none, err
	}
	migrations, err := planMigrations(p)
	if err != nil {
		return nil, nil, none, err
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return nil, nil, none, err
	}
	server, err := databaseServer(ctx, s)
	if err != nil {
		return nil, nil, none, errors.Join(err, done())
	}
	return newMigrator(s, server, migrations, c.patience), s, done, nil
}

func newMigrator(s *stack.Stack, server database.Server, migrations *migrate.Migrations, patience time.Duration) *migrate.Migrator {
	return &migrate.Migrator{
		Server: server, Database: databaseName, Migrations: migrations, Patience: patience,
		Progress: progressOf(s),
	}
}

func planMigrations(p *plan.Plan) (*migrate.Migrations, error) {
	if p.Database.Migrations == "" {
		return nil, usage(fmt.Errorf("the plan %s has no migrations under database", p.Name))
	}
	migrations, err := migrate.Read(os.DirFS(filepath.Join(p.Dir, p.Database.Migrations)))
	if err != nil {
		return nil, usage(err)
	}
	return migrations, nil
}

// migrationsResult is what the commands print with --json.
type migrationsResult struct {
	SchemaVersion int              `json:"schema_version"`
	Migrations    []migrationState `json:"migrations"`
	Invalid       []string         `json:"invalid_indexes"`
	Contracted    bool             `json:"contracted"`
	DryRun        bool             `json:"dry_run,omitempty"`
	Ran           []migrationDone  `json:"ran"` // by this command
}

type migrationState struct {
	Version int64      `json:"version"`
	Name    string     `json:"name"`
	Kind    string     `json:"kind"`
	State   string     `json:"state"` // applied, pending
	Applied *time.Time `json:"applied_at"`
}

type migrationDone struct {
	Version  int64  `json:"version"`
	Name     string `json:"name"`
	Attempts int    `json:"attempts"`
	MS       int64  `json:"duration_ms"`
}

func newMigrationsResult(status migrate.Status, done []migrate.Done) migrationsResult {
	result := migrationsResult{SchemaVersion: 1, Migrations: []migrationState{}, Invalid: append([]string{}, status.Invalid...),
		Contracted: status.Contracted(), Ran: []migrationDone{}}
	for _, state := range status.Migrations {
		is := "pending"
		if state.Applied != nil {
			is = "applied"
		}
		result.Migrations = append(result.Migrations, migrationState{state.Version, state.Name, string(state.Kind), is, state.Applied})
	}
	for _, d := range done {
		result.Ran = append(result.Ran, migrationDone{d.Version, d.Name, d.Attempts, d.Duration.Milliseconds()})
	}
	return result
}

// table shows the migrations in their order.
func (r migrationsResult) table() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "MIGRATION\tKIND\tSTATE\tSINCE")
	for _, m := range r.Migrations {
		since := "–"
		if m.Applied != nil {
			since = m.Applied.Local().Format("2006-01-02 15:04:05")
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, m.Kind, m.State, since)
	}
	_ = w.Flush()
	if len(r.Invalid) > 0 {
		_, _ = fmt.Fprintf(&out, "not valid: %s (being built, or left by an interrupted build: cutover db expand rebuilds them)\n", strings.Join(r.Invalid, ", "))
	}
	return strings.TrimRight(out.String(), "\n")
}

func newDBStatusCommand(o *options) *cobra.Command {
	c := &migrationsCommand{options: o}
	return &cobra.Command{
		Use:   "status",
		Short: "Show which migrations were run, and which indexes are not valid",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.work(cmd.Context(), func(context.Context, *migrate.Migrator, migrate.Status) ([]migrate.Done, string, error) {
				return nil, "", nil
			})
		},
	}
}

func newExpandCommand(o *options) *cobra.Command {
	c := &migrationsCommand{options: o}
	var dry bool
	cmd := &cobra.Command{
		Use:   "expand",
		Short: "Add to the schema what Go needs, while both systems go on",
		Long: `Add to the schema what Go needs, while both systems go on.

Each migration waits for a lock for a tenth of a second at most and then gives
way, again and again until --patience is over; indexes are built beside the
traffic. It may be interrupted at any point and run again: what an interrupted
build left is rebuilt.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.work(cmd.Context(), func(ctx context.Context, m *migrate.Migrator, status migrate.Status) ([]migrate.Done, string, error) {
				if dry {
					return nil, dryRun(status), nil
				}
				done, err := m.Up(ctx, migrate.Expand)
				if len(done) == 0 {
					return done, "Everything was added already; nothing was changed.", err
				}
				return done, fmt.Sprintf("%d migrations were run. cutover db verify compares what was there before.", len(done)), err
			})
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show the statements that would be run, and change nothing")
	c.patienceFlag(cmd)
	return cmd
}

func newDBDownCommand(o *options) *cobra.Command {
	c := &migrationsCommand{options: o}
	var to int64
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take back what expand added, with what is in it",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to < 0 {
				return usage(fmt.Errorf("--to %d: a migration's version, or 0 for none", to))
			}
			return c.work(cmd.Context(), func(ctx context.Context, m *migrate.Migrator, _ migrate.Status) ([]migrate.Done, string, error) {
				done, err := m.Down(ctx, to)
				if errors.Is(err, migrate.ErrContracted) {
					err = exitError{ExitRefused, err}
				}
				if len(done) == 0 {
					return done, "There was nothing to take back.", err
				}
				return done, fmt.Sprintf("%d migrations were taken back, the last one first.", len(done)), err
			})
		},
	}
	cmd.Flags().Int64Var(&to, "to", 0, "leave the migrations up to this `version`")
	c.patienceFlag(cmd)
	return cmd
}

// work does something to the schema and shows where it then stands.
func (c *migrationsCommand) work(ctx context.Context, do func(context.Context, *migrate.Migrator, migrate.Status) ([]migrate.Done, string, error)) error {
	return c.workOn(ctx, func(ctx context.Context, _ *stack.Stack, m *migrate.Migrator, status migrate.Status) ([]migrate.Done, string, error) {
		return do(ctx, m, status)
	})
}

func (c *migrationsCommand) workOn(ctx context.Context, do func(context.Context, *stack.Stack, *migrate.Migrator, migrate.Status) ([]migrate.Done, string, error)) (err error) {
	m, s, closeAll, err := c.migrator(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	before, err := m.Status(ctx)
	if err != nil {
		return databaseFailed(ctx, s, err)
	}
	done, sentence, err := do(ctx, s, m, before)
	var locked *migrate.LockedError
	if errors.As(err, &locked) {
		err = exitError{ExitRefused, err}
	}
	if err != nil {
		return databaseFailed(ctx, s, err)
	}
	after, err := m.Status(ctx)
	if err != nil {
		return databaseFailed(ctx, s, err)
	}
	result := newMigrationsResult(after, done)
	text := result.table()
	if sentence != "" {
		text = sentence + "\n\n" + text
	}
	return c.print(result, text)
}

func dryRun(status migrate.Status) string {
	var text strings.Builder
	for _, migration := range status.Pending(migrate.Expand) {
		how := "in a transaction, giving way to whoever holds the table"
		if migration.Alone {
			how = "beside the traffic"
		}
		fmt.Fprintf(&text, "%s, %s:\n%s\n\n", migration.Name, how, indent(migration.Up))
	}
	if text.Len() == 0 {
		return "There is nothing to add."
	}
	return text.String() + "Nothing was changed."
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }
