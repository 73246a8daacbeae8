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
)

// fakeExpiry has so many memberships to end at each run.
type fakeExpiry struct {
	due  []int
	runs atomic.Int32
	err  error
}

func (f *fakeExpiry) ExpireMemberships(_ context.Context, limit int64) (int, error) {
	f.runs.Add(1)
	if f.err != nil || len(f.due) == 0 {
		return 0, f.err
	}
	ended := min(f.due[0], int(limit))
	f.due[0] -= ended
	if f.due[0] == 0 {
		f.due = f.due[1:]
	}
	return ended, nil
}

func TestJobs_RunAtOnceAndAtEveryTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		job, ended := &fakeExpiry{}, make(chan struct{})
		go func() { defer close(ended); runJobs(ctx, job, time.Minute, slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		assert.EqualValues(t, 1, job.runs.Load())
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		assert.EqualValues(t, 3, job.runs.Load())
		stop()
		<-ended
	})
}

func TestJobs_GoOnWhileThereIsMore(t *testing.T) {
	var log bytes.Buffer
	job := &fakeExpiry{due: []int{2*expireAtOnce + 1}}
	expireMemberships(t.Context(), job, slog.New(slog.NewJSONHandler(&log, nil)))
	assert.EqualValues(t, 3, job.runs.Load())
	assert.Contains(t, log.String(), `"count":1}`)
}

func TestJobs_AFailureWaitsForTheNextTick(t *testing.T) {
	var log bytes.Buffer
	job := &fakeExpiry{err: errDown}
	expireMemberships(t.Context(), job, slog.New(slog.NewJSONHandler(&log, nil)))
	assert.EqualValues(t, 1, job.runs.Load())
	assert.Contains(t, log.String(), "memberships could not be expired")
}
