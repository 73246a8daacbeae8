package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/session"
)

// A slow read-only request on one system never undoes a write, nor a logout, on
// the other. The read is made slow on purpose: a lock in the database holds it
// between reading its session and saving it.
func TestSlowReaders(t *testing.T) { slowReaders(t, 40) }

// A thousand of each.
func TestVerifySlowReaders(t *testing.T) {
	verifyDuration(t)
	slowReaders(t, 1000)
}

func slowReaders(t *testing.T, races int) {
	env := useShared(t)
	client, db := env.redis(t), env.db(t)
	backend := session.NewRedis(client, 20*time.Second)
	store := session.NewStore(backend, time.Hour)
	const batch = 8 // slow requests that wait for one lock; Go has 10 connections
	for i, reader := range systems {
		writer := systems[1-i]
		for _, act := range []string{"write", "logout"} {
			t.Run(fmt.Sprintf("%s reads, %s on %s", reader, act, writer), func(t *testing.T) {
				readers, writers := make([]*visitor, batch), make([]*visitor, batch)
				transports := []*http.Transport{env.direct(reader), env.direct(writer)}
				for _, transport := range transports {
					t.Cleanup(transport.CloseIdleConnections)
				}
				lost, resurrected, done := 0, 0, 0
				for done < races {
					count := min(batch, races-done)
					for n := range count {
						readers[n] = env.newVisitor(transports[0])
						writers[n] = env.newVisitor(transports[1])
						require.NoError(t, readers[n].login(t.Context(), fmt.Sprintf("user%d", 300+n)))
						writers[n].http.Jar = readers[n].http.Jar
					}
					// Accounts can be read, memberships not: the reader has its session and waits.
					tx, err := db.Begin(t.Context())
					require.NoError(t, err)
					_, err = tx.Exec(t.Context(), "LOCK TABLE memberships IN ACCESS EXCLUSIVE MODE")
					require.NoError(t, err)
					var reading sync.WaitGroup
					statuses := make([]int, count)
					for n := range count {
						reading.Go(func() {
							a, err := readers[n].do(t.Context(), http.MethodGet, "/api/memberships/", nil)
							if assert.NoError(t, err) {
								statuses[n] = a.status
							}
						})
					}
					require.Eventually(t, func() bool {
						return number(t, db, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'memberships'::regclass`) >= int64(count)
					}, 5*time.Second, 2*time.Millisecond)
					ids := make([]string, count)
					for n := range count {
						ids[n] = writers[n].cookie(t, "session_id")
						if act == "logout" {
							// The jar is shared: the reader's answer must not bring the cookie back.
							assert.Equal(t, http.StatusOK, writers[n].post(t, "/api/auth/logout", nil).status)
							continue
						}
						raw, err := store.Load(t.Context(), ids[n])
						require.NoError(t, err)
						_, err = store.Update(t.Context(), ids[n], raw, session.Changes{"basket": json.RawMessage(fmt.Sprint(done + n))})
						require.NoError(t, err)
						writers[n].agent = "another browser" // has the other system write _fresh
						assert.Equal(t, fmt.Sprintf("user%d", 300+n), writers[n].me(t))
					}
					require.NoError(t, tx.Rollback(t.Context()))
					reading.Wait()
					for n := range count {
						raw, err := store.Load(t.Context(), ids[n])
						require.NoError(t, err)
						if act == "logout" {
							if raw != nil || readers[n].cookie(t, "session_id") != "" {
								resurrected++
							}
							continue
						}
						record, err := session.ParseRecord(raw)
						if err != nil || string(record["basket"]) != fmt.Sprint(done+n) || string(record["_fresh"]) != "false" {
							lost++
						}
						if readers[n].cookie(t, "session_id") == "" {
							lost++
						}
					}
					done += count
				}
				t.Logf("%d races: %d lost, %d resurrected", done, lost, resurrected)
				assert.Zero(t, lost)
				assert.Zero(t, resurrected)
			})
		}
	}
}

// While the weights change five times a second, everybody stays who they are:
// no session is lost, none comes back, no write is lost.
func TestSessionsWhileWeightsChange(t *testing.T) { sessionsUnderLoad(t, 5*time.Second, 200) }

// A minute of it, and at least ten thousand actions.
func TestVerifySessionsWhileWeightsChange(t *testing.T) {
	sessionsUnderLoad(t, verifyDuration(t), 10_000)
}

// loadPerson is one user of the load, and what is true of them.
type loadPerson struct {
	*visitor
	name   string
	in     bool
	writes int
}

type loadCounts struct {
	actions, unavailable, lost, resurrected, lostWrites atomic.Int64
	byKind                                              [5]atomic.Int64
}

func sessionsUnderLoad(t *testing.T, duration time.Duration, least int64) {
	env := useShared(t)
	client := env.redis(t)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	store := session.NewStore(session.NewRedis(client, 20*time.Second), time.Hour)
	ctx, stop := context.WithTimeout(t.Context(), duration)
	defer stop()
	var counts loadCounts
	served := sync.Map{}
	var people sync.WaitGroup
	for n := range 24 {
		p := &loadPerson{visitor: env.newVisitor(transport), name: fmt.Sprintf("user%d", 500+n)}
		rng := rand.New(rand.NewPCG(uint64(n), 7))
		people.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				env.act(t, p, rng, store, client, &counts, &served)
			}
		})
	}
	changes := 0
	for ticker := time.NewTicker(200 * time.Millisecond); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
			ticker.Stop()
		case <-ticker.C:
			route := []string{"auth", "users", "pages"}[changes%3]
			run := env.run(t.Context(), "route", route, fmt.Sprint([]int{0, 100, 50, 10, 90}[changes%5]))
			assert.Zero(t, run.code, run.stderr)
			changes++
		}
	}
	people.Wait()
	kinds := map[string]int64{}
	for i, name := range []string{"login", "logout", "write", "read", "again"} {
		kinds[name] = counts.byKind[i].Load()
	}
	systemsSeen := 0
	served.Range(func(any, any) bool { systemsSeen++; return true })
	t.Logf("%d actions %v, %d changes of weights, %d times no time: %d lost, %d resurrected, %d writes lost", counts.actions.Load(), kinds, changes, counts.unavailable.Load(), counts.lost.Load(), counts.resurrected.Load(), counts.lostWrites.Load())
	assert.Zero(t, counts.lost.Load())
	assert.Zero(t, counts.resurrected.Load())
	assert.Zero(t, counts.lostWrites.Load())
	assert.GreaterOrEqual(t, counts.actions.Load(), least)
	assert.Equal(t, 2, systemsSeen, "both systems answered")
}

// act does one thing, and checks what must be true after it.
func (env *environment) act(t *testing.T, p *loadPerson, rng *rand.Rand, store *session.Store, client *redis.Client, counts *loadCounts, served *sync.Map) {
	ask := func(method, path string, body any) (a answer) {
		// A machine that is busy with other work makes either system say that
		// it has no time, which loses nobody's session.
		for deadline := time.Now().Add(time.Minute); ; counts.unavailable.Add(1) {
			var err error
			if a, err = p.do(t.Context(), method, path, body); err != nil {
				t.Errorf("%s %s: %v", method, path, err)
			}
			if a.status != http.StatusServiceUnavailable || time.Now().After(deadline) {
				break
			}
		}
		served.Store(a.servedBy, true)
		counts.actions.Add(1)
		return a
	}
	me := func() {
		a := ask(http.MethodGet, "/api/auth/me", nil)
		in := a.status == http.StatusOK && strings.Contains(string(a.body), fmt.Sprintf(`"username":"%s"`, p.name))
		switch {
		case p.in && !in:
			counts.lost.Add(1)
			t.Errorf("%s was logged out: %d %.200s", p.name, a.status, a.body)
		case !p.in && in:
			counts.resurrected.Add(1)
		}
	}
	if !p.in {
		counts.byKind[0].Add(1)
		a := ask(http.MethodPost, "/api/auth/login", map[string]any{"username": p.name, "password": "rehearsal", "remember": rng.IntN(2) == 0})
		if a.status != http.StatusOK {
			counts.lost.Add(1)
			t.Errorf("%s could not log in: %d %.200s", p.name, a.status, a.body)
			return
		}
		p.in, p.writes = true, 0
		me()
		return
	}
	id := p.cookie(t, "session_id")
	switch kind := rng.IntN(20); {
	case kind == 0: // logs out while other requests of the same browser are under way
		counts.byKind[1].Add(1)
		other := env.newVisitor(p.http.Transport)
		other.http.Jar = p.http.Jar
		var late sync.WaitGroup
		for _, path := range []string{"/api/users/?per_page=5", "/dashboard"} {
			late.Go(func() {
				_, err := other.do(t.Context(), http.MethodGet, path, nil)
				assert.NoError(t, err)
				counts.actions.Add(1)
			})
		}
		a := ask(http.MethodPost, "/api/auth/logout", nil)
		assert.Equal(t, http.StatusOK, a.status, "%s", a.body)
		late.Wait()
		p.in = false
		raw, err := store.Load(t.Context(), id)
		if !assert.NoError(t, err) {
			return
		}
		if raw != nil {
			counts.resurrected.Add(1)
		}
		me()
	case kind < 5: // something is written while the other system reads and writes
		counts.byKind[2].Add(1)
		raw, err := store.Load(t.Context(), id)
		if !assert.NoError(t, err) {
			return
		}
		var both sync.WaitGroup
		p.agent = fmt.Sprintf("browser %d", rng.Int())
		both.Go(func() { me() })
		p.writes++
		_, err = store.Update(t.Context(), id, raw, session.Changes{fmt.Sprintf("w%d", p.writes): json.RawMessage("1")})
		both.Wait()
		if err != nil {
			counts.lostWrites.Add(1)
			t.Errorf("%s: %v", p.name, err)
			return
		}
		now, err := client.Get(t.Context(), "session:"+id).Bytes()
		record, parseErr := session.ParseRecord(now)
		for n := 1; n <= p.writes; n++ {
			if err != nil || parseErr != nil || string(record[fmt.Sprintf("w%d", n)]) != "1" {
				counts.lostWrites.Add(1)
				t.Errorf("%s lost write %d of %d: %s", p.name, n, p.writes, now)
			}
		}
	case kind < 7: // logs in again: the id changes
		counts.byKind[4].Add(1)
		a := ask(http.MethodPost, "/api/auth/login", map[string]any{"username": p.name, "password": "rehearsal"})
		assert.Equal(t, http.StatusOK, a.status, "%s", a.body)
		raw, err := store.Load(t.Context(), id)
		if assert.NoError(t, err) && raw != nil {
			counts.resurrected.Add(1)
		}
		me()
	default:
		counts.byKind[3].Add(1)
		for _, path := range []string{"/api/users/?per_page=5", "/dashboard"} {
			if a := ask(http.MethodGet, path, nil); a.status != http.StatusOK {
				counts.lost.Add(1)
				t.Errorf("%s at %s: %d", p.name, path, a.status)
			}
		}
		me()
	}
}
