package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/database/backup"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

// postgresSocket is the folder of the server's socket in its container.
const postgresSocket = "/run/postgresql"

// backupResult is what db backup, prove and restore print with --json.
type backupResult struct {
	SchemaVersion int       `json:"schema_version"`
	Verdict       string    `json:"verdict"`
	File          string    `json:"file"`
	TakenAt       time.Time `json:"taken_at"`
	Bytes         int64     `json:"bytes"`
	SHA256        string    `json:"sha256"`
	Rows          int64     `json:"rows"` // each of them equal in the restored copy
	Tables        int       `json:"tables"`
	Seconds       float64   `json:"seconds"`
	// RestoredAs is the database that holds the copy; Replaced is where the
	// live one went that it replaces.
	RestoredAs string `json:"restored_as,omitempty"`
	Replaced   string `json:"replaced,omitempty"`
}

func newBackupResult(m backup.Manifest, path string, began time.Time) backupResult {
	return backupResult{SchemaVersion: 1, Verdict: verdictPass, File: path, TakenAt: m.Baseline.TakenAt, Bytes: m.Bytes, SHA256: m.SHA256,
		Rows: m.Rows, Tables: len(m.Baseline.Tables), Seconds: math.Round(time.Since(began).Seconds()*1000) / 1000}
}

// tools runs Postgres' programs in the server's own container.
type tools struct{ stack *stack.Stack }

func (t tools) Run(ctx context.Context, in io.Reader, out io.Writer, command ...string) error {
	return t.stack.Pipe(ctx, "postgres", in, out, command...)
}

func newBackupCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "backup",
		Short: "Copy the database into a file, and prove that it brings everything back",
		Long: `Copy the database into a file, and prove that it brings everything back.

The dump is restored while it is written, and the copy compared with the moment
of the dump, table by table. Both systems go on meanwhile. The file lies in
.cutover/<project>/backups, with a manifest beside it, and what the tables held
is the baseline for cutover db verify.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withKeeper(cmd.Context(), func(ctx context.Context, k *backup.Keeper, s *stack.Stack) error {
				began := time.Now()
				m, path, _, err := k.Make(ctx, backupFolder(s))
				if err != nil {
					return err
				}
				if err := m.Baseline.Save(baselinePath(s)); err != nil {
					return err
				}
				r := newBackupResult(m, path, began)
				o.record(ctx, s, "backup", verdictPass, fmt.Sprintf("%s: %d rows of %d tables, restored and equal", filepath.Base(path), r.Rows, r.Tables))
				return o.print(r, fmt.Sprintf("The backup is whole: %d rows of %d tables, restored and equal.\n%s\n%d MB, sha256 %s, %.1f s.",
					r.Rows, r.Tables, r.File, r.Bytes>>20, r.SHA256, r.Seconds))
			})
		},
	}
}

func newProveCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "prove FILE",
		Short: "Restore a backup into a scratch database, whole, and compare every table",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withKeeper(cmd.Context(), func(ctx context.Context, k *backup.Keeper, s *stack.Stack) error {
				began, path := time.Now(), backupPath(s, args[0])
				m, err := k.Prove(ctx, path)
				if err != nil {
					return err
				}
				r := newBackupResult(m, path, began)
				return o.print(r, fmt.Sprintf("The backup is whole: %d rows of %d tables, restored with indexes and constraints, and equal (%.1f s).", r.Rows, r.Tables, r.Seconds))
			})
		},
	}
}

func newRestoreCommand(o *options) *cobra.Command {
	var as, ack string
	var live bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore a backup beside the live database, or in its place",
		Long: `Restore a backup beside the live database, or in its place.

The copy is compared with the backup's manifest before it gets its name. With
--live it takes the place of the live database in one moment; what was written
since the backup is then missing, but kept: the database that was replaced stays
under another name.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case live && strings.TrimSpace(ack) == "":
				return usage(errors.New("--live replaces the database that both systems use: say why with --ack REASON"))
			case live && as != "":
				return usage(errors.New("--live and --as exclude each other"))
			case as != "" && !regexp.MustCompile(`^[a-z_][a-z0-9_]{0,50}$`).MatchString(as):
				return usage(fmt.Errorf("--as %q: lower-case letters, digits and _, at most 51, not beginning with a digit", as))
			}
			return o.withKeeper(cmd.Context(), func(ctx context.Context, k *backup.Keeper, s *stack.Stack) error {
				began, path := time.Now(), backupPath(s, args[0])
				if live {
					m, old, err := k.Replace(ctx, path)
					if err != nil {
						return err
					}
					r := newBackupResult(m, path, began)
					r.RestoredAs, r.Replaced = k.Database, old
					return o.print(r, fmt.Sprintf("The database is what it was at %s: %d rows. What it replaced is kept as %s.",
						m.Baseline.TakenAt.Local().Format("2006-01-02 15:04:05"), m.Rows, old))
				}
				if as == "" {
					as = "restored_" + began.UTC().Format("20060102t150405")
				}
				m, err := k.Restore(ctx, path, as)
				if err != nil {
					return err
				}
				r := newBackupResult(m, path, began)
				r.RestoredAs = as
				return o.print(r, fmt.Sprintf("The backup is restored as the database %s: %d rows, equal to the backup's moment.", as, m.Rows))
			})
		},
	}
	cmd.Flags().StringVar(&as, "as", "", "the `name` of the database to restore into (default restored_<time>)")
	cmd.Flags().BoolVar(&live, "live", false, "put the copy in the place of the live database")
	cmd.Flags().StringVar(&ack, "ack", "", "the `reason` for --live")
	return cmd
}

// withKeeper opens the environment and gives what goes wrong its exit code.
func (o *options) withKeeper(ctx context.Context, do func(context.Context, *backup.Keeper, *stack.Stack) error) (err error) {
	s, done, err := o.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	server, err := databaseServer(ctx, s)
	if err != nil {
		return err
	}
	err = do(ctx, &backup.Keeper{
		Server: server, Database: databaseName, Tools: tools{s}, Socket: postgresSocket,
		Progress: progressOf(s),
	}, s)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backup.ErrNotWhole), errors.Is(err, backup.ErrDiffers), errors.Is(err, backup.ErrVersion), errors.Is(err, backup.ErrTaken):
		return exitError{ExitRefused, err}
	case errors.Is(err, backup.ErrNoRoom):
		return exitError{ExitUnavailable, err}
	case errors.Is(err, syscall.ENOSPC), strings.Contains(err.Error(), "No space left on device"):
		return exitError{ExitUnavailable, fmt.Errorf("a disk is full; nothing was kept: %w", err)}
	}
	return databaseFailed(ctx, s, err)
}

func backupFolder(s *stack.Stack) string { return filepath.Join(s.Dir(), "backups") }

// backupPath finds a backup that is named without its folder.
func backupPath(s *stack.Stack, name string) string {
	if _, err := os.Stat(name); err == nil || filepath.Base(name) != name {
		return name
	}
	return filepath.Join(backupFolder(s), name)
}
