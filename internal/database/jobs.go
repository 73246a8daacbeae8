package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Owner gives a job to a system, by a statement of the plan: $1 is the job, $2
// the system.
type Owner struct {
	Job       string
	System    string
	Statement string
}

// AssignJobs changes the owners of background jobs, all of them or none.
func AssignJobs(ctx context.Context, conn *pgx.Conn, owners []Owner) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, owner := range owners {
			tag, err := tx.Exec(ctx, owner.Statement, owner.Job, owner.System)
			if err != nil {
				return fmt.Errorf("give the job %s to %s: %w", owner.Job, owner.System, err)
			}
			if tag.RowsAffected() == 0 {
				return fmt.Errorf("give the job %s to %s: %w", owner.Job, owner.System, errNoSuchJob)
			}
		}
		return nil
	})
}

// Private

var errNoSuchJob = errors.New("the database has no such job")
