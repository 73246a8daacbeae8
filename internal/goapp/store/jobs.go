package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// RunLimit is how long a job's run may take, and with it a change of owner
// that waits for it: the server ends what takes longer.
const RunLimit = 30 * time.Second

// Private

// runJob does a job's work, if the job belongs to this system and nobody has
// run it in its present period. The run and its work are one transaction: one
// that breaks off leaves nothing, and is made up for.
//
// The job stays locked to the end of it: a change of owner waits, and who finds
// it locked, by a run or by a change, has nothing to do now. Whether the period
// has had its run is what the key of job_runs says.
func (s *Store) runJob(ctx context.Context, job string, work func(tx pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, limitRun, RunLimit.String()); err != nil {
			return err
		}
		slot, err := scalar[time.Time](ctx, tx, errNoRun, `
			with mine as (
				select name, date_bin(period, now(), 'epoch') as slot from jobs
				where name = $1 and owner = $2
				for no key update skip locked
			)
			insert into job_runs (job, slot, system)
			select name, slot, $2 from mine
			on conflict do nothing
			returning slot`, job, system)
		if err != nil {
			return err
		}
		if err := work(tx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update job_runs set ended_at = clock_timestamp() where job = $1 and slot = $2`, job, slot)
		return err
	})
	if errors.Is(err, errNoRun) {
		return nil
	}
	return classify(err)
}

// errNoRun says that there is nothing to do now.
var errNoRun = errors.New("the job is not this system's to run now")

// limitRun bounds a run at the server: how long it may work, and how soon it
// is ended when its process hangs or is gone, whatever it waits for.
const limitRun = `
	select
		set_config('transaction_timeout', $1, true),
		set_config('statement_timeout', '0', true),
		set_config('idle_in_transaction_session_timeout', '3s', true),
		set_config('client_connection_check_interval', '1s', true)`
