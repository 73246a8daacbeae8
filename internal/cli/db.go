package cli

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/engine"
	"github.com/cutover-dev/cutover/internal/event"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

func newDBCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "db", Short: "Work on the database that both systems share", Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newSeedCommand(o), newDBStatusCommand(o), newExpandCommand(o), newDBDownCommand(o), newVerifyCommand(o),
		newBackupCommand(o), newProveCommand(o), newRestoreCommand(o), newReverseCommand(o), newContractCommand(o), newIncidentsCommand(o))
	return cmd
}

type seedCommand struct {
	*options
	accounts int
	seed     uint64
	again    bool // whether one of the two was given
}

func newSeedCommand(o *options) *cobra.Command {
	c := &seedCommand{options: o}
	cmd := &cobra.Command{
		Use:   "seed",
		Short: "Give a new database the plan's schema and seed data, or make other data",
		Long: `Give a new database the plan's schema and seed data, in one transaction.

A database that has tables already is left alone; with --accounts or --seed one
that cutover filled is emptied and filled anew. The applications wait or fail
meanwhile, and sessions go on with the new accounts of the same number.
The same numbers make the same data.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.again = cmd.Flags().Changed("accounts") || cmd.Flags().Changed("seed")
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&c.accounts, "accounts", defaultAccounts, "how many accounts the plan's generator makes: 0 to 5000000")
	cmd.Flags().Uint64Var(&c.seed, "seed", defaultSeed, "another number makes other data")
	return cmd
}

// What up gives a new database.
const (
	defaultAccounts = 1000
	defaultSeed     = 1
)

// mostAccounts is more than any rehearsal needs, and less than what would be
// a mistake.
const mostAccounts = 5_000_000

// seedResult is what db seed --json prints. The numbers are those of the data
// that are there; null where no generator of the plan made them.
type seedResult struct {
	SchemaVersion int     `json:"schema_version"`
	Seeded        bool    `json:"seeded"`
	Accounts      *int    `json:"accounts"`
	Seed          *uint64 `json:"seed"`
	Rows          int64   `json:"rows"`
	Seconds       float64 `json:"seconds"`
}

func (c *seedCommand) run(ctx context.Context) (err error) {
	if c.accounts < 0 || c.accounts > mostAccounts {
		return usage(fmt.Errorf("--accounts %d: 0 to %d", c.accounts, mostAccounts))
	}
	p, err := c.loadPlan()
	if err != nil {
		return err
	}
	if c.again && p.Database.Generator == "" {
		return usage(fmt.Errorf("the plan %s has no generator under database, so there is nothing to make --accounts or --seed with", p.Name))
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	began := time.Now()
	seeded, err := seed(ctx, s, p, database.Seed{Accounts: c.accounts, Seed: c.seed, Again: c.again})
	if err != nil {
		return err
	}
	result := seedResult{SchemaVersion: 1, Seeded: seeded.Done, Rows: seeded.Rows, Seconds: time.Since(began).Round(time.Millisecond).Seconds()}
	if seeded.Known && p.Database.Generator != "" {
		result.Accounts, result.Seed = &seeded.Accounts, &seeded.Seed
	}
	return c.print(result, c.sentence(p, result))
}

func (c *seedCommand) sentence(p *plan.Plan, result seedResult) string {
	switch {
	case result.Seeded && p.Database.Generator != "":
		text := fmt.Sprintf("The database holds %d accounts made from seed %d: %d rows in all, in %.1f s.",
			*result.Accounts, *result.Seed, result.Rows, result.Seconds)
		if c.again {
			text += "\nWhat it held before is gone. Sessions from before go on as the new accounts of the same number."
		}
		return text
	case result.Seeded:
		return "The database has its schema and seed data."
	case p.Database.Schema == "":
		return fmt.Sprintf("The plan %s names no schema; nothing was changed.", p.Name)
	}
	return "The database has its tables already; nothing was changed."
}

// progressPause keeps the log of a long load short.
const progressPause = time.Second

// seed fills the environment's database with what the plan names, and shows
// how far it is.
func seed(ctx context.Context, s *stack.Stack, p *plan.Plan, wish database.Seed) (database.Seeded, error) {
	const subject = "database"
	var shown time.Time
	wish.Progress = func(rows int64) {
		switch now := time.Now(); {
		case shown.IsZero():
			event.Work(s.Events(), subject, "loading")
			shown = now
		case now.Sub(shown) >= progressPause:
			event.Work(s.Events(), subject, fmt.Sprintf("loading: %d rows", rows))
			shown = now
		}
	}
	seeded, err := seedDatabase(ctx, s, p, wish)
	switch {
	case errors.Is(err, database.ErrForeign):
		return seeded, exitError{ExitRefused, fmt.Errorf("%w; cutover down --volumes and cutover up make a new one", database.ErrForeign)}
	case err != nil && !shown.IsZero():
		event.Fail(s.Events(), subject, "could not be filled")
	case seeded.Done:
		event.Finish(s.Events(), subject, fmt.Sprintf("loaded: %d rows", seeded.Rows))
		// What the tables held before is nothing to compare with any more.
		if missing := os.Remove(baselinePath(s)); !errors.Is(missing, fs.ErrNotExist) {
			err = errors.Join(err, missing)
		}
	}
	return seeded, err
}

// seedDatabase fills the environment's database with what the plan names.
func seedDatabase(ctx context.Context, s *stack.Stack, p *plan.Plan, wish database.Seed) (seeded database.Seeded, err error) {
	if p.Database.Schema == "" {
		return database.Seeded{}, nil
	}
	wish.Schema = database.File(p.Dir, p.Database.Schema)
	if p.Database.Generator != "" {
		wish.Data = append(wish.Data, database.Generator(p.Dir, p.Database.Generator, wish.Accounts, wish.Seed))
	} else {
		wish.Accounts, wish.Seed = 0, 0
	}
	if p.Database.Seed != "" {
		wish.Data = append(wish.Data, database.File(p.Dir, p.Database.Seed))
	}
	server, err := databaseServer(ctx, s)
	if err != nil {
		return database.Seeded{}, err
	}
	conn, err := server.Connect(ctx, databaseName, nil)
	if err != nil {
		return database.Seeded{}, databaseFailed(ctx, s, err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return database.Fill(ctx, conn, wish)
}

// databaseServer is the environment's database server, for its superuser.
func databaseServer(ctx context.Context, s *stack.Stack) (database.Server, error) {
	secrets, err := s.Secrets(ctx)
	if err != nil {
		return database.Server{}, err
	}
	return database.Server{Dial: dialPostgres(s), User: "postgres", Password: secrets["postgres/superuser_password"]}, nil
}

// databaseFailed gives an error of work on the database its exit code: what
// did not answer, or went away, is unavailable.
func databaseFailed(ctx context.Context, s *stack.Stack, err error) error {
	var coded exitError
	if err == nil || ctx.Err() != nil || errors.As(err, &coded) {
		return err
	}
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if stopped := s.Running(looking, "postgres"); stopped != nil {
		return errors.Join(stopped, err)
	}
	var refused *pgconn.PgError
	var unreached *pgconn.ConnectError
	switch {
	case errors.Is(err, database.ErrLogin), errors.As(err, &unreached):
		return exitError{ExitUnavailable, err}
	case errors.As(err, &refused):
		if class := refused.Code[:2]; class == "53" || class == "57" && refused.Code != "57014" { // no room, shutdown
			return exitError{ExitUnavailable, err}
		}
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), pgconn.Timeout(err),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, engine.ErrUnavailable):
		return exitError{ExitUnavailable, fmt.Errorf("the database went away; run the same command again: %w", err)}
	}
	return err
}
