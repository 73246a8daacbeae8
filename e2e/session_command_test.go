package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/session"
)

// What Go takes for a record python takes, and nothing else: thousands of
// records that were damaged in every way.
func TestBothSystemsReadTheSameRecords(t *testing.T) {
	env := useShared(t)
	seeds := []string{
		`{"_user_id":"42","_fresh":true,"created_by":"go","å":[1,-2.5e3,null,{"x":"\u00e5\ud83d\ude00\n\/"}]}`, `{}`, ` {"a":1} `, `[]`, `null`, `"x"`, ``, `{"a":"\ud800"}`,
		`{"\udc00":1}`, `{"a":"\ud83d\ud83d"}`, `{"a":1e999}`, `{"a":-1e-999}`, `{"a":01}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}", "\xef\xbb\xbf{}", `{"a":NaN}`, `{"a":"` + "\x00" + `"}`,
		`{"a":` + strings.Repeat("9", 4300) + `}`, `{"a":` + strings.Repeat("9", 4301) + `}`, `{"a":18446744073709551616}`, `{"a":` + strings.Repeat("[", 900) + strings.Repeat("]", 900) + `}`,
		"\x80\x04}.", "\x81\xa1a\x01", `{"a":1.7976931348623159e308}`, `{"a":1.` + strings.Repeat("1", 500) + `}`,
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	records := append([]string{}, seeds...)
	for range 20_000 {
		record := []byte(seeds[rng.IntN(18)])
		for range 1 + rng.IntN(3) {
			switch at := rng.IntN(len(record) + 1); {
			case len(record) == 0 || rng.IntN(3) == 0:
				const pieces = `{}[]",:\/bu0189eE+-.dDaAfF ntr`
				record = append(record[:at], append([]byte{pieces[rng.IntN(len(pieces))]}, record[at:]...)...)
			case at < len(record) && rng.IntN(2) == 0:
				record = append(record[:at], record[at+1:]...)
			case at < len(record):
				record[at] ^= 1 << rng.IntN(8)
			}
		}
		records = append(records, string(record))
	}
	conn := env.python(t, "records.py")
	go func() {
		out := bufio.NewWriter(conn)
		for _, record := range records {
			_, _ = fmt.Fprintln(out, base64.StdEncoding.EncodeToString([]byte(record)))
		}
		_ = out.Flush() // the answers will be missed
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	answers := bufio.NewScanner(conn)
	read := 0
	for _, record := range records {
		require.True(t, answers.Scan(), answers.Err())
		_, err := session.ParseRecord([]byte(record))
		assert.Equal(t, answers.Text() == "yes", err == nil, "%.200q: %v", record, err)
		if err == nil {
			read++
		}
	}
	t.Logf("%d of %d were readable", read, len(records))
	assert.Greater(t, read, 1000)
	assert.Less(t, read, len(records)-1000)
}

type sessionsReport struct {
	Verdict    string
	Total      int
	Creators   map[string]int
	Readable   struct{ Python, Go int }
	Unreadable int
	Converted  int
	Report     string
	Seconds    float64
}

func (env *environment) sessions(t *testing.T, exit int, args ...string) sessionsReport {
	t.Helper()
	run := env.run(t.Context(), append([]string{"sessions", "--json"}, args...)...)
	require.Equal(t, exit, run.code, "%s%s", run.stdout, run.stderr)
	var report sessionsReport
	require.NoError(t, json.Unmarshal([]byte(run.stdout), &report))
	return report
}

// The command counts what both systems made, lists what nobody reads, converts
// what it can, and deletes nothing.
func TestSessionsCommand(t *testing.T) {
	env := useShared(t)
	client := env.redis(t)
	before := env.sessions(t, 0, "list")
	for _, system := range systems {
		require.NoError(t, env.directVisitor(t, system).login(t.Context(), "user30"))
	}
	after := env.sessions(t, 0, "verify")
	assert.Equal(t, "pass", after.Verdict)
	assert.Equal(t, before.Total+2, after.Total)
	for _, system := range systems {
		assert.Equal(t, before.Creators[system]+1, after.Creators[system])
	}
	assert.Equal(t, after.Total, after.Readable.Python)
	assert.Equal(t, after.Total, after.Readable.Go)

	odd := map[string]string{"msgpack": "\x82\xa8_user_id\xa230\xaacreated_by\xa6python", "pickle": "\x80\x04}."}
	for name, record := range odd {
		require.NoError(t, client.Set(t.Context(), "session:"+name, record, time.Hour).Err())
	}
	t.Cleanup(func() { client.Del(t.Context(), "session:msgpack", "session:pickle") })
	found := env.sessions(t, 3, "verify")
	assert.Equal(t, "fail", found.Verdict)
	assert.Equal(t, 2, found.Unreadable)
	for _, to := range systems {
		found = env.sessions(t, 3, "migrate", "--to", to)
		assert.Equal(t, 1, found.Unreadable)
		assert.Equal(t, map[string]int{"python": 1, "go": 0}[to], found.Converted, to)
	}
	report, err := os.ReadFile(found.Report)
	require.NoError(t, err)
	assert.Contains(t, string(report), `"id":"pickle","form":"pickle"`)
	assert.NotContains(t, string(report), "msgpack")
	assert.Equal(t, odd["pickle"], client.Get(t.Context(), "session:pickle").Val())
	assert.JSONEq(t, `{"_user_id":"30","created_by":"python"}`, client.Get(t.Context(), "session:msgpack").Val())
	assert.Contains(t, env.must(t, "sessions", "show", "msgpack"), "User 30 is logged in. Made by python")
	assert.Contains(t, env.must(t, "sessions", "show", "nobody"), "no such session")
	require.NoError(t, client.Del(t.Context(), "session:msgpack", "session:pickle").Err())
	assert.Equal(t, "pass", env.sessions(t, 0, "migrate", "--to", "python").Verdict)
}

// A million records are verified in less than half a minute, while both
// systems go on answering.
func TestVerifyMillionSessions(t *testing.T) {
	verifyDuration(t)
	env := ownEnvironment(t, "sessions", nil)
	env.up(t)
	client := env.redis(t)
	for begin := 0; begin < 1_000_000; begin += 5000 {
		_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for i := range 5000 {
				id := fmt.Sprintf("%043d", begin+i)
				p.Set(t.Context(), "session:"+id, fmt.Sprintf(`{"_user_id":"%d","_fresh":true,"_permanent":true,"created_by":"python"}`, begin+i), time.Hour)
			}
			return nil
		})
		require.NoError(t, err)
	}
	person := env.directVisitor(t, "python")
	require.NoError(t, person.login(t.Context(), "user1"))
	done := make(chan time.Duration)
	stop := make(chan struct{})
	go func() {
		var longest time.Duration
		defer func() { done <- longest }()
		for {
			select {
			case <-stop:
				return
			default:
				began := time.Now()
				if a := person.get(t, "/api/auth/me"); a.status != 200 {
					t.Errorf("status %d", a.status)
				}
				longest = max(longest, time.Since(began))
			}
		}
	}()
	report := env.sessions(t, 0, "verify")
	close(stop)
	t.Logf("%d in %.1f s; the slowest request meanwhile took %s", report.Total, report.Seconds, <-done)
	assert.GreaterOrEqual(t, report.Total, 1_000_000)
	assert.Less(t, report.Seconds, 30.0)
}
