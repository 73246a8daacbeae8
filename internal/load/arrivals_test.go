package load

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestArrivalsKeepTheirScheduleHoweverSlowTheVisits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		started := map[int]time.Duration{}
		summary := Arrivals{Rate: 100, Duration: 2 * time.Second}.Run(t.Context(), func(_ context.Context, n int, intended time.Time) {
			mu.Lock()
			started[n] = time.Since(begin)
			mu.Unlock()
			assert.Equal(t, time.Duration(n)*10*time.Millisecond, intended.Sub(begin))
			time.Sleep(5 * time.Second) // slower than the whole schedule
		})
		assert.Equal(t, 200, summary.Sent)
		assert.Len(t, started, 200)
		assert.Equal(t, 1990*time.Millisecond, started[199])
		assert.Equal(t, 6990*time.Millisecond, time.Since(begin), "Run waits for the last visit")
		assert.Zero(t, summary.SlipP99)
	})
}

func TestArrivalsEndEarlyWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		summary := Arrivals{Rate: 10, Duration: time.Minute}.Run(ctx, func(context.Context, int, time.Time) {})
		assert.InDelta(t, 5, summary.Sent, 1)
	})
}
