package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each period of a job has one run, by its owner alone, although the owner
// changes all the time, also while a run is under way, and a system dies in
// the middle of one.
func TestJobsAreRunOnceByTheirOwner(t *testing.T) {
	story := newJobStory(t)
	story.round(t)
	story.judge(t)
}

func TestVerifyJobsAreRunOnceByTheirOwner(t *testing.T) {
	duration := verifyDuration(t)
	story := newJobStory(t)
	for end := time.Now().Add(duration); time.Now().Before(end); {
		story.round(t)
	}
	story.judge(t)
}

const (
	theJob    = "expire-memberships"
	jobPeriod = 2 * time.Second
	// Both applications look every second. Whoever had as much time as this in
	// one piece has looked, also on a slow machine.
	jobChance = 1800 * time.Millisecond
)

// jobStory is what happened to a job, by the clock of the database.
type jobStory struct {
	env       *environment
	db        *pgx.Conn // sets the scene and looks
	guard     *pgx.Conn // changes the owner, as the guard does
	locker    *pgx.Conn // makes runs slow
	changes   []ownerChange
	prevented []span
	oldest    int64 // the memberships of the story have higher ids
	feeder    sync.WaitGroup
	stop      context.CancelFunc
	fed       error
}

// ownerChange is a change and a moment when it was made and not yet visible:
// its transaction held the lock on the job, so no run was under way.
type ownerChange struct {
	owner string
	at    time.Time
}

// span is a time in which nobody could run the job.
type span struct {
	from, to time.Time
	why      string
}

// newJobStory starts an environment where the job's period is short, and
// memberships come to their end all the time.
func newJobStory(t *testing.T) *jobStory {
	t.Helper()
	settings := filepath.Join(t.TempDir(), "jobs.yaml")
	require.NoError(t, os.WriteFile(settings, []byte(`services:
  flask: {environment: {JOB_INTERVAL: "1"}}
  goapp: {environment: {JOB_INTERVAL: "1"}}
`), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	env, err := startEnvironment(ctx, settings)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, env.close()) })
	env.keepArtifacts(t)
	// The story changes owners by hand, which the guard would set right again.
	_, err = env.engine.Exec(t.Context(), env.stack.Container("guard"), "sh", "-c", "kill -STOP $(pidof -x guard)")
	require.NoError(t, err)

	s := &jobStory{env: env, db: env.db(t), guard: env.dbAs(t, "guard", "guard"), locker: env.db(t)}
	_, err = s.db.Exec(t.Context(), "UPDATE jobs SET period = $2 WHERE name = $1", theJob, jobPeriod)
	require.NoError(t, err)
	s.oldest = number(t, s.db, "SELECT max(id) FROM memberships")
	feed := env.db(t)
	ctx, s.stop = context.WithCancel(t.Context())
	s.feeder.Go(func() {
		for tick := time.NewTicker(150 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			if _, err := addDueMembership(t.Context(), feed); err != nil {
				s.fed = err
				return
			}
		}
	})
	t.Cleanup(func() { s.stop(); s.feeder.Wait() })
	s.give(t, "python")
	s.awaitRun(t, "python")
	return s
}

func addDueMembership(ctx context.Context, db *pgx.Conn) (id int64, err error) {
	err = db.QueryRow(ctx, `
		INSERT INTO memberships (account_id, starts_on, ends_on, fee)
		SELECT id, '2020-01-01', '2020-12-31', 1 FROM accounts WHERE username = $1 RETURNING id`, memberName).Scan(&id)
	return id, err
}

// round has the job change hands in every way; it begins and ends with python.
func (s *jobStory) round(t *testing.T) {
	t.Helper()
	s.give(t, "go")
	s.awaitRun(t, "go")

	// A change waits for the run that is under way, and nobody else waits.
	release := s.hold(t, "go")
	began := s.now(t)
	given := make(chan error, 1)
	go func() { given <- s.tryGive("python") }()
	s.awaitWaiting(t, 1, "usename = 'guard'")
	s.awaitTime(t, began.Add(jobPeriod+jobChance))
	assert.Equal(t, "go", s.owner(t))
	assert.EqualValues(t, 1, number(t, s.db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'go' AND xact_start < $1", began))
	release()
	require.NoError(t, <-given)
	run := s.awaitRunAfter(t, "go", began)
	assert.True(t, run.Before(s.changed().at), "the run ended at %s, the owner changed at %s", run, s.changed().at)
	s.awaitRun(t, "python")

	// The other workers of the owner do not wait for the one that runs.
	release = s.hold(t, "python")
	began = s.now(t)
	s.awaitTime(t, began.Add(jobPeriod+jobChance))
	assert.EqualValues(t, 1, number(t, s.db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'python' AND wait_event_type = 'Lock'"))
	// One that dies gives the job back, although what it waited for is not there.
	dead := s.now(t)
	s.env.crash(t, "flask")
	s.give(t, "go")
	took := s.changed().at.Sub(dead)
	t.Logf("the owner was changed %s after the run's process began to die", took.Round(time.Millisecond))
	assert.Less(t, took, 5*time.Second)
	s.prevented = append(s.prevented, span{dead, s.changed().at, "python was dead"})
	release()
	s.awaitRun(t, "go")
	s.env.awaitHealthy(t, "flask")

	// An owner that dies takes its job up again.
	dead = s.now(t)
	s.env.crash(t, "goapp")
	s.env.awaitHealthy(t, "goapp")
	healthy := s.now(t)
	s.prevented = append(s.prevented, span{dead, healthy, "go was dead"})
	s.awaitRunAfter(t, "go", healthy)

	// Back and forth, at every moment of a period, ending where it began.
	for i := range 9 {
		s.give(t, systems[i%2])
		s.awaitTime(t, s.changed().at.Add(jobPeriod*time.Duration(i)/4))
	}
	s.awaitRun(t, "python")
}

// judge compares the runs, and what they left, with what happened.
func (s *jobStory) judge(t *testing.T) {
	t.Helper()
	s.stop()
	s.feeder.Wait()
	require.NoError(t, s.fed)
	require.Eventually(t, func() bool {
		return number(t, s.db, "SELECT count(*) FROM memberships WHERE id > $1 AND status <> 'expired'", s.oldest) == 0
	}, 20*time.Second, 100*time.Millisecond, "due memberships are left")

	// All that one transaction writes has its number in xmin: so each row in
	// the audit trail belongs to one run.
	rows, err := s.db.Query(t.Context(), `
		SELECT m.id, count(DISTINCT e.id), count(r.slot)
		FROM memberships m
		LEFT JOIN events e ON e.action = 'membership.expire' AND e.details->>'membership' = m.id::text
		LEFT JOIN job_runs r ON r.xmin = e.xmin AND r.xmin = m.xmin AND r.system = e.system
		WHERE m.id > $1 GROUP BY m.id HAVING (count(e.id), count(r.slot)) <> (1, 1)`, s.oldest)
	require.NoError(t, err)
	wrong, err := pgx.CollectRows(rows, pgx.RowToMap)
	require.NoError(t, err)
	assert.Empty(t, wrong, "memberships that were not expired once, in a run, with one row in the audit trail by its system")

	end := s.now(t)
	rows, err = s.db.Query(t.Context(), "SELECT slot, system, started_at, ended_at FROM job_runs WHERE slot > $1", s.changes[0].at)
	require.NoError(t, err)
	type jobRun struct {
		Slot      time.Time
		System    string
		StartedAt time.Time
		EndedAt   *time.Time
	}
	runs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[jobRun])
	require.NoError(t, err)
	ran, by := map[int64]bool{}, map[string]int{}
	busy := s.prevented
	for _, run := range runs {
		if !assert.NotNil(t, run.EndedAt, "run of %s", run.Slot) {
			continue
		}
		// Both moments were within a lock that excludes the other.
		assert.Equal(t, s.ownerAt(*run.EndedAt), run.System, "run of %s, ended at %s", run.Slot, run.EndedAt)
		ran[run.Slot.UnixNano()] = true
		by[run.System]++
		busy = append(busy, span{run.StartedAt, *run.EndedAt, "another run was under way"})
	}
	slots, excused := 0, 0
	for slot := s.changes[0].at.Truncate(jobPeriod).Add(jobPeriod); !slot.Add(jobPeriod).After(end); slot = slot.Add(jobPeriod) {
		slots++
		if ran[slot.UnixNano()] {
			continue
		}
		chance, why := s.chance(slot, busy)
		assert.Less(t, chance, jobChance, "the period from %s has no run, although its owner was there", slot)
		t.Logf("no run from %s: nobody had more than %s: %v", slot.Format("05.000"), chance.Round(time.Millisecond), why)
		excused++
	}
	t.Logf("%d periods: %d runs by python, %d by go, %d in which nobody could run; %d changes of owner; %d memberships",
		slots, by["python"], by["go"], excused, len(s.changes), number(t, s.db, "SELECT count(*) FROM memberships WHERE id > $1", s.oldest))
	assert.Greater(t, by["python"], 3)
	assert.Greater(t, by["go"], 3)
	assert.Less(t, 2*excused, slots, "too little was tested")
}

// chance is the longest time in one piece that one owner had to run a period,
// and what took the rest.
func (s *jobStory) chance(slot time.Time, busy []span) (longest time.Duration, why []string) {
	end := slot.Add(jobPeriod)
	for _, c := range s.changes {
		busy = append(busy[:len(busy):len(busy)], span{c.at, c.at, "the owner changed"})
	}
	for at := slot; at.Before(end); {
		next := span{from: end, to: end}
		for _, b := range busy {
			if b.to.After(at) && b.from.Before(next.from) {
				next = b
			}
		}
		longest = max(longest, next.from.Sub(at))
		if next.why != "" {
			why = append(why, next.why)
		}
		at = next.to
	}
	return longest, why
}

func (s *jobStory) ownerAt(at time.Time) (owner string) {
	for _, c := range s.changes {
		if c.at.Before(at) {
			owner = c.owner
		}
	}
	return owner
}

func (s *jobStory) changed() ownerChange { return s.changes[len(s.changes)-1] }

func (s *jobStory) give(t *testing.T, owner string) {
	t.Helper()
	require.NoError(t, s.tryGive(owner))
}

func (s *jobStory) tryGive(owner string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := ownerChange{owner: owner}
	err := s.guard.QueryRow(ctx, "UPDATE jobs SET owner = $2 WHERE name = $1 RETURNING clock_timestamp()", theJob, owner).Scan(&c.at)
	if err != nil {
		return fmt.Errorf("give the job to %s: %w", owner, err)
	}
	s.changes = append(s.changes, c)
	return nil
}

// hold makes the owner's next run wait for a row, until release.
func (s *jobStory) hold(t *testing.T, owner string) (release func()) {
	t.Helper()
	var tx pgx.Tx
	for {
		id, err := addDueMembership(t.Context(), s.db)
		require.NoError(t, err)
		tx, err = s.locker.Begin(t.Context())
		require.NoError(t, err)
		err = tx.QueryRow(t.Context(), "SELECT id FROM memberships WHERE id = $1 AND status = 'active' FOR UPDATE", id).Scan(&id)
		if err == nil {
			break
		}
		require.True(t, errors.Is(err, pgx.ErrNoRows), "%v", err)
		require.NoError(t, tx.Rollback(t.Context()))
	}
	from := s.now(t)
	s.awaitWaiting(t, 1, "application_name = '"+owner+"'")
	return func() {
		s.prevented = append(s.prevented, span{from, s.now(t), "a run waited for a row"})
		require.NoError(t, tx.Commit(t.Context()))
	}
}

// awaitWaiting waits until so many sessions wait for a lock.
func (s *jobStory) awaitWaiting(t *testing.T, sessions int64, condition string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return number(t, s.db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "+condition) == sessions
	}, 10*time.Second, 20*time.Millisecond, "nobody waits: %s", condition)
}

// awaitRun waits for a run of a system since the last change of owner.
func (s *jobStory) awaitRun(t *testing.T, system string) {
	t.Helper()
	s.awaitRunAfter(t, system, s.changed().at)
}

// awaitRunAfter waits for a run that ended after a moment, and says when.
func (s *jobStory) awaitRunAfter(t *testing.T, system string, after time.Time) time.Time {
	t.Helper()
	var ended *time.Time
	require.Eventually(t, func() bool {
		require.NoError(t, s.db.QueryRow(t.Context(), "SELECT min(ended_at) FROM job_runs WHERE system = $1 AND ended_at > $2", system, after).Scan(&ended))
		return ended != nil
	}, 20*time.Second, 50*time.Millisecond, "no run of %s", system)
	return *ended
}

func (s *jobStory) owner(t *testing.T) (owner string) {
	t.Helper()
	require.NoError(t, s.db.QueryRow(t.Context(), "SELECT owner FROM jobs WHERE name = $1", theJob).Scan(&owner))
	return owner
}

// now is the database's clock.
func (s *jobStory) now(t *testing.T) (now time.Time) {
	t.Helper()
	require.NoError(t, s.db.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&now))
	return now
}

func (s *jobStory) awaitTime(t *testing.T, at time.Time) {
	t.Helper()
	require.Eventually(t, func() bool { return !s.now(t).Before(at) }, time.Minute, 20*time.Millisecond)
}
