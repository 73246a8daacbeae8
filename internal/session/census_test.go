package session

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/cutover-dev/cutover/internal/session/sessiontest"
)

// strange are records that some program left, by what they are.
func strange(t testing.TB) map[string]string {
	packed, err := msgpack.Marshal(map[string]any{"_user_id": "7", "n": []any{1, 2.5, nil}})
	require.NoError(t, err)
	return map[string]string{
		"half": `{"_user_id":"7","x":"\ud800"}`, "large": `{"_user_id":"7","x":[1e999]}`, "latin": "{\"_user_id\":\"7\",\"x\":\"\xe5\"}",
		"list": `[1]`, "null": `null`, "empty": ``, "text": `hello`, "pickle": "\x80\x04}.", "msgpack": string(packed), "two": `{} {}`,
	}
}

func TestTake_CountsWhatEachSystemReads(t *testing.T) {
	client, ctx := sessiontest.StartRedis(t), t.Context()
	for i := range 5000 {
		record := fmt.Sprintf(`{"_user_id":"%d","created_by":"%s"}`, i, []string{"python", "go"}[i%2])
		if i%10 == 0 {
			record = `{"created_by":"python","migrated":true}`
		}
		require.NoError(t, client.Set(ctx, key(fmt.Sprint(i)), record, time.Hour).Err())
	}
	for name, record := range strange(t) {
		require.NoError(t, client.Set(ctx, key(name), record, time.Hour).Err())
	}
	require.NoError(t, client.LPush(ctx, key("another type"), "x").Err())
	for _, name := range []string{"bridged:x", "ended:x", "login-failures:x", "session-x"} {
		require.NoError(t, client.Set(ctx, name, "x", time.Hour).Err())
	}

	census, err := Take(ctx, client, Look, nil)
	require.NoError(t, err)
	assert.Equal(t, 5011, census.Total)
	assert.Equal(t, map[string]int{"python": 2500, "go": 2500}, census.Creators)
	assert.Equal(t, 500, census.Migrated)
	assert.Equal(t, 4500, census.Users)
	assert.Equal(t, 5000, census.Python)
	assert.Equal(t, 5000, census.Go)
	assert.Len(t, census.Unreadable, 11)
	forms := map[string]string{}
	for _, one := range census.Unreadable {
		forms[one.ID] = one.Form
		assert.NotEmpty(t, one.Why)
	}
	assert.Equal(t, map[string]string{
		"half": "json", "large": "json", "latin": "json", "list": "json", "null": "json", "empty": "unknown", "text": "unknown",
		"pickle": "pickle", "msgpack": "msgpack", "two": "unknown", "another type": "unknown",
	}, forms)
	for name, record := range strange(t) {
		assert.Equal(t, record, client.Get(ctx, key(name)).Val(), "only looked at")
	}

	census, err = Take(ctx, client, ToPython, nil)
	require.NoError(t, err)
	assert.Equal(t, 4, census.Converted)
	assert.Equal(t, 5004, census.Python)
	assert.Len(t, census.Unreadable, 7)
	assert.JSONEq(t, `{"_user_id":"7","n":[1,2.5,null]}`, client.Get(ctx, key("msgpack")).Val())
	assert.JSONEq(t, `{"_user_id":"7","x":[null]}`, client.Get(ctx, key("large")).Val())
	assert.InDelta(t, time.Hour, client.PTTL(ctx, key("msgpack")).Val(), float64(time.Minute), "it lives on as long")
	assert.Equal(t, strange(t)["pickle"], client.Get(ctx, key("pickle")).Val(), "kept as it is")
}

func TestTake_RedisAway(t *testing.T) {
	client := sessiontest.StartRedis(t)
	require.NoError(t, client.Close())
	_, err := Take(t.Context(), client, Look, nil)
	assert.ErrorContains(t, err, "the sessions could not be read")
}

func TestLookAt(t *testing.T) {
	client, ctx := sessiontest.StartRedis(t), t.Context()
	require.NoError(t, client.Set(ctx, key("a"), `{"_user_id":"7","_fresh":true,"created_by":"go","basket":"secret"}`, time.Hour).Err())
	require.NoError(t, client.Set(ctx, key("b"), strange(t)["pickle"], time.Hour).Err())
	require.NoError(t, client.Set(ctx, mark("c"), "", time.Hour).Err())
	detail, err := LookAt(ctx, client, "a")
	require.NoError(t, err)
	assert.InDelta(t, time.Hour, detail.Left, float64(time.Minute))
	detail.Left = 0
	assert.Equal(t, Detail{Exists: true, UserID: "7", Creator: "go", Fresh: true, Bytes: 66, Keys: map[string]int{"_user_id": 3, "_fresh": 4, "created_by": 4, "basket": 8}}, detail)
	detail, err = LookAt(ctx, client, "b")
	require.NoError(t, err)
	assert.Equal(t, "pickle", detail.Problem.Form)
	detail, err = LookAt(ctx, client, "c")
	require.NoError(t, err)
	assert.Equal(t, Detail{Ended: true}, detail)
	detail, err = LookAt(ctx, client, "d")
	require.NoError(t, err)
	assert.Equal(t, Detail{}, detail)
}

func TestStrict(t *testing.T) {
	for text, expected := range map[string]error{
		`{"a":"\ud83d\ude00\\ud800"}`: nil, `{"a":1e308,"b":-1.5e-999}`: nil, `{"a":` + strings.Repeat("9", maxDigits) + `}`: nil,
		`{"a":"1e999"}`: nil, `{"a":"\u00e5"}`: nil, `{"a":"\ud83d"}`: errHalf, `{"\ude00":1}`: errHalf, `{"a":"\ud83d\ud83d"}`: errHalf,
		`{"a":"\ud83d\n"}`: errHalf, `{"a":1e309}`: errTooLarge, `{"a":-` + strings.Repeat("9", maxDigits+1) + `}`: errTooLarge,
		"{\"a\":\"\xff\"}": errNotUTF8, `{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`: errTooDeep,
	} {
		assert.Equal(t, expected, strict([]byte(text)), "%.40s", text)
	}
}

// A million records take less than half a minute, and nobody waits for them.
func TestTake_AMillion(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("SESSIONS"))
	if err != nil {
		t.Skip("SESSIONS says how many")
	}
	client, ctx := sessiontest.StartRedis(t), t.Context()
	for begin := 0; begin < count; begin += 10_000 {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range 10_000 {
				p.Set(ctx, key(newID()), fmt.Sprintf(`{"_user_id":"%d","_fresh":true,"_permanent":true,"created_by":"python","_id":"%0128x"}`, begin+i, rand.Uint64()), time.Hour)
			}
			return nil
		})
		require.NoError(t, err)
	}
	began := time.Now()
	census, err := Take(ctx, client, Look, nil)
	require.NoError(t, err)
	assert.Equal(t, count, census.Python)
	t.Logf("%d in %s; Redis holds %s", count, time.Since(began), strings.Split(strings.Split(client.Info(ctx, "memory").Val(), "used_memory_human:")[1], "\r")[0])
	slow, err := client.SlowLogGet(ctx, -1).Result()
	require.NoError(t, err)
	for _, command := range slow {
		assert.Less(t, command.Duration, 100*time.Millisecond, command.Args[0])
	}
}
