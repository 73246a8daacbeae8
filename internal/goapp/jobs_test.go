package goapp

import (
	"bytes"
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cutover-dev/cutover/internal/goapp/store"
)

// fakeExpiry ends so many memberships at each run, or fails, or takes as long
// as it is given.
type fakeExpiry struct {
	due   int64
	runs  atomic.Int32
	err   error
	hangs bool
}

func (f *fakeExpiry) ExpireMemberships(ctx context.Context) (int64, error) {
	f.runs.Add(1)
	if f.hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return f.due, f.err
}

func TestJobs_RunAtOnceAndAtEveryTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		job, ended := &fakeExpiry{}, make(chan struct{})
		go func() { defer close(ended); runJobs(ctx, job, 5*time.Second, slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		assert.EqualValues(t, 1, job.runs.Load())
		time.Sleep(11 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 3, job.runs.Load())
		stop()
		<-ended
	})
}

func TestJobs_SayWhatTheyDid(t *testing.T) {
	var log bytes.Buffer
	job := &fakeExpiry{}
	expireMemberships(t.Context(), job, slog.New(slog.NewJSONHandler(&log, nil)))
	assert.Empty(t, log.String(), "nothing was to do")
	job.due = 3
	expireMemberships(t.Context(), job, slog.New(slog.NewJSONHandler(&log, nil)))
	assert.Contains(t, log.String(), `"count":3}`)
}

func TestJobs_AFailureWaitsForTheNextTick(t *testing.T) {
	var log bytes.Buffer
	job := &fakeExpiry{err: errDown}
	expireMemberships(t.Context(), job, slog.New(slog.NewJSONHandler(&log, nil)))
	assert.EqualValues(t, 1, job.runs.Load())
	assert.Contains(t, log.String(), "memberships could not be expired")
}

func TestJobs_ARunThatHangsIsGivenUpAfterTheDatabaseHasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		begin := time.Now()
		expireMemberships(t.Context(), &fakeExpiry{hangs: true}, slog.New(slog.NewJSONHandler(&log, nil)))
		assert.Greater(t, time.Since(begin), store.RunLimit)
		assert.Contains(t, log.String(), "memberships could not be expired")
	})
}

func TestJobs_StoppingIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runJobs(ctx, &fakeExpiry{hangs: true}, time.Second, slog.New(slog.NewJSONHandler(&log, nil)))
		}()
		synctest.Wait()
		stop()
		<-ended
		assert.Empty(t, log.String())
	})
}
