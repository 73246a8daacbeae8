package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

func newDBCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "db", Short: "Work on the database that both systems share", Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use:   "seed",
		Short: "Give a new database the plan's schema and seed data",
		Long: `Give a new database the plan's schema and seed data, in one transaction.
A database that has tables already is left alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			p, err := o.loadPlan()
			if err != nil {
				return err
			}
			s, done, err := o.environment(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, done()) }()
			seeded, err := seed(cmd.Context(), s, p)
			if err != nil {
				return err
			}
			sentence := "The database has its tables already; nothing was changed."
			if seeded {
				sentence = "The database has its schema and seed data."
			}
			return o.print(map[string]any{"schema_version": 1, "seeded": seeded}, sentence)
		},
	})
	return cmd
}

// seed gives a new database the plan's schema and data, and says whether it
// did.
func seed(ctx context.Context, s *stack.Stack, p *plan.Plan) (seeded bool, err error) {
	schema, err := readScript(p, p.Database.Schema)
	if err != nil || schema == "" {
		return false, err
	}
	data, err := readScript(p, p.Database.Seed)
	if err != nil {
		return false, err
	}
	secrets, err := s.Secrets(ctx)
	if err != nil {
		return false, err
	}
	conn, err := database.Connect(ctx, dialPostgres(s), database.Login{
		User: "postgres", Password: secrets["postgres/superuser_password"], Database: databaseName,
	})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return database.Bootstrap(ctx, conn, schema, data)
}

func readScript(p *plan.Plan, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	content, err := os.ReadFile(filepath.Join(p.Dir, name))
	if err != nil {
		return "", usage(fmt.Errorf("the plan %s names a script that cannot be read: %w", p.Name, err))
	}
	return string(content), nil
}
