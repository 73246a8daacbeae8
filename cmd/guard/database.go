package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/cutover-dev/cutover/internal/database"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// assignJobs gives background jobs to their owners, over a connection of its
// own: that is done so seldom that none is kept.
func (c config) assignJobs(ctx context.Context, jobs []rollout.PlanJob) (err error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var owners []database.Owner
	for _, job := range jobs {
		owners = append(owners, database.Owner{Job: job.Name, System: string(job.Owner), Statement: job.Assign})
	}
	return database.AssignJobs(ctx, conn, owners)
}

func (c config) connect(ctx context.Context) (*pgx.Conn, error) {
	if c.database == "" {
		return nil, errors.New("the guard has no database: CUTOVER_DATABASE_URL is not set")
	}
	settings, err := pgx.ParseConfig(c.database)
	if err != nil {
		return nil, fmt.Errorf("CUTOVER_DATABASE_URL cannot be used: %w", err)
	}
	if c.password != "" {
		password, err := os.ReadFile(c.password)
		if err != nil {
			return nil, fmt.Errorf("the database's password cannot be read: %w", err)
		}
		settings.Password = strings.TrimSpace(string(password))
	}
	conn, err := pgx.ConnectConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("the database does not answer: %w", err)
	}
	return conn, nil
}
