//go:build edgeimage

package edge_test

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func TestEdgeImage(t *testing.T) {
	r := newRig(t)
	for _, story := range []struct {
		name string
		run  func(*rig)
	}{
		{"a weight takes effect on the next request", weightTakesEffect},
		{"nginx finds the same route as Go", sameRoutes},
		{"nginx puts visitors in the same buckets as Go", sameBuckets},
		{"a visitor is placed by cookie, credentials or chance", visitorPlacement},
		{"a tester with the token forces a system", forcedSystem},
		{"a malformed table changes nothing", malformedTables},
		{"an older table is refused", staleTables},
		{"requests pass unchanged", requestsPassUnchanged},
		{"answers pass unchanged", answersPassUnchanged},
		{"answers stream", answersStream},
		{"WebSockets pass", webSocketsPass},
		{"every request is counted once", countedOnce},
		{"a failed request is not tried again", notTriedAgain},
		{"health is asked of one system", healthOfOneSystem},
		{"a system is found at its new address", newAddress},
		{"several addresses take turns", severalAddresses},
		{"new workers know everything", newWorkers},
		{"the saved table survives a restart", savedTable},
		{"changing weights fails no request", changesUnderLoad},
	} {
		t.Run(story.name, func(t *testing.T) { story.run(r.at(t)) })
	}
}

func weightTakesEffect(r *rig) {
	for i := range 40 {
		weight, want := edge.Weight(0), edge.Python
		if i%2 == 1 {
			weight, want = edge.AllGo, edge.Go
		}
		r.apply(everything(weight))
		response := r.get("/")
		assert.Equal(r.t, string(want), response.Header.Get("X-Served-By"))
		assert.Equal(r.t, want, r.receivedBy(response).System)
	}
}

func sameRoutes(r *rig) {
	r.applyTable(exampleTable())
	for target, route := range matches {
		if route == "" {
			route = edge.Unmatched
		}
		before := r.counters()
		response := r.raw("GET " + target + " HTTP/1.1\r\nHost: example.org\r\n\r\n")
		require.Equal(r.t, http.StatusOK, response.StatusCode, target)
		request := r.receivedBy(response)
		assert.Equal(r.t, target, request.Target)
		r.counted(before, map[string]map[edge.System]edge.Classes{route: {request.System: {"2xx": 1}}})
	}
}

// A route for each weight tells a bucket exactly: go takes it below one weight,
// and python at the one before.
func sameBuckets(r *rig) {
	routes := []edge.Route{}
	for weight := range edge.AllGo + 1 {
		name := fmt.Sprintf("b%d", weight)
		routes = append(routes, edge.Route{Name: name, Prefix: "/" + name, Weight: weight})
	}
	r.apply(routes...)
	for range 10000 {
		visitor := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
		bucket := edge.Bucket(visitor)
		for weight, want := range map[int]edge.System{bucket: edge.Python, bucket + 1: edge.Go} {
			response := r.get(fmt.Sprintf("/b%d/x", weight), "Cookie", "cutover_visitor="+visitor)
			require.Equal(r.t, string(want), response.Header.Get("X-Served-By"), "visitor %s, weight %d", visitor, weight)
		}
	}
}

func visitorPlacement(r *rig) {
	const visitor = "0123456789abcdef0123456789abcdef"
	const session, token = "session_id=an-opaque-id", "Bearer secret"
	for name, c := range map[string]struct {
		headers []string
		visitor string // what the answer sets; "" for a random one
	}{
		"nothing":                       {nil, ""},
		"a malformed cookie":            {[]string{"Cookie", "cutover_visitor=0123"}, ""},
		"a cookie with another letter":  {[]string{"Cookie", "cutover_visitor=g" + visitor[1:]}, ""},
		"an empty session":              {[]string{"Cookie", "session_id="}, ""},
		"a session":                     {[]string{"Cookie", session}, md5Of("an-opaque-id")},
		"an authorization":              {[]string{"Authorization", token}, md5Of(token)},
		"an authorization and session":  {[]string{"Authorization", token, "Cookie", session}, md5Of(token)},
		"a malformed cookie, a session": {[]string{"Cookie", "cutover_visitor=x; " + session}, md5Of("an-opaque-id")},
	} {
		r.apply(everything(5000))
		response := r.get("/", c.headers...)
		cookies := response.Cookies()
		require.Len(r.t, cookies, 1, name)
		given := cookies[0]
		assert.Regexp(r.t, `^cutover_visitor=[0-9a-f]{32}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax$`, given.Raw, name)
		if c.visitor != "" {
			assert.Equal(r.t, c.visitor, given.Value, name)
		}

		// The cookie continues the bucket that the request was placed in.
		assert.Equal(r.t, edge.Weight(5000).Takes(edge.Bucket(given.Value)), r.receivedBy(response).System == edge.Go, name)
		again := r.get("/", "Cookie", "cutover_visitor="+given.Value)
		assert.Equal(r.t, response.Header.Get("X-Served-By"), again.Header.Get("X-Served-By"), name)
		assert.Empty(r.t, again.Cookies(), name)
	}
	assert.NotEqual(r.t, r.get("/").Cookies()[0].Value, r.get("/").Cookies()[0].Value)
	assert.Empty(r.t, r.get("/", "Cookie", "a=b; cutover_visitor="+visitor+"; c=d").Cookies())
}

func forcedSystem(r *rig) {
	ask := func(system, token string) string {
		return r.get("/", "X-Cutover-Force", system, "X-Cutover-Token", token).Header.Get("X-Served-By")
	}
	r.apply(everything(0))
	assert.Equal(r.t, "python", ask("go", forceToken), "there is no token")

	r.startEdge(r.withToken()...)
	r.apply(everything(0))
	assert.Equal(r.t, "go", ask("go", forceToken))
	assert.Equal(r.t, "python", ask("python", forceToken))
	assert.Equal(r.t, "python", ask("perl", forceToken))
	assert.Equal(r.t, "python", ask("go", forceToken[1:]))
	assert.Equal(r.t, "python", ask("go", forceToken[1:]+"x"))
	assert.Equal(r.t, "python", r.get("/", "X-Cutover-Force", "go").Header.Get("X-Served-By"))
	request := r.receivedBy(r.get("/", "X-Cutover-Force", "go", "X-Cutover-Token", forceToken))
	assert.NotContains(r.t, request.Header, "X-Cutover-Token")
	assert.NotContains(r.t, request.Header, "X-Cutover-Force")

	r.applyTable(edge.Table{Latched: true, Home: edge.Python, Routes: []edge.Route{everything(0)}})
	assert.Equal(r.t, "python", ask("go", forceToken), "latched")
}

func malformedTables(r *rig) {
	applied := r.apply(everything(2500))
	const table = `{"generation":%d,"latched":false,"home":"python","routes":[%s]}`
	next := r.generation + 1
	for _, text := range []string{
		"", "[]", "null", "7", "{", `{"generation":NaN}`,
		fmt.Sprintf(table, next, "") + "x",
		fmt.Sprintf(`{"generation":%d,"latched":false,"home":"python"}`, next),
		fmt.Sprintf(`{"generation":%d,"latched":false,"home":"python","routes":{"a":1}}`, next),
		fmt.Sprintf(`{"generation":%d,"latched":false,"home":"perl","routes":[]}`, next),
		fmt.Sprintf(`{"generation":%d,"latched":0,"home":"go","routes":[]}`, next),
		fmt.Sprintf(`{"generation":%d,"latched":false,"home":"go","routes":[],"sticky":true}`, next),
		`{"generation":1e300,"latched":false,"home":"go","routes":[]}`,
		`{"generation":"9","latched":false,"home":"go","routes":[]}`,
		fmt.Sprintf(`{"generation":%d.5,"latched":false,"home":"go","routes":[]}`, next),
		fmt.Sprintf(table, next, "null"),
		fmt.Sprintf(table, next, `{"prefix":"/a","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"-","prefix":"/a","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a b","prefix":"/a","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"`+strings.Repeat("a", 65)+`","prefix":"/a","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"a","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a//b","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a/../b","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a%2Fb","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a b","weight_bp":0}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a"}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":0,"pin":"go"}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","pin":"perl"}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":-1}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":10001}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":0.5}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":"1"}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":null}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":1},{"name":"a","prefix":"/b","weight_bp":1}`),
		fmt.Sprintf(table, next, `{"name":"a","prefix":"/a","weight_bp":1},{"name":"b","prefix":"/a/","weight_bp":1}`),
	} {
		status, answer := r.put(text)
		assert.Equal(r.t, http.StatusUnprocessableEntity, status, text)
		assert.Regexp(r.t, `^{"error":".+"}$`, answer, text)
	}
	found, err := r.control.Table(r.t.Context())
	require.NoError(r.t, err)
	assert.True(r.t, applied.Equal(found))
}

func staleTables(r *rig) {
	applied := r.apply(everything(2500))

	require.NoError(r.t, r.control.Apply(r.t.Context(), applied), "the same once more")

	older := applied
	older.Generation--
	other := applied
	other.Routes = []edge.Route{everything(2501)}
	for _, table := range []edge.Table{older, other} {
		err := r.control.Apply(r.t.Context(), table)
		var stale *edge.StaleError
		require.ErrorAs(r.t, err, &stale)
		assert.Equal(r.t, applied.Generation, stale.Current)
	}
}

func countedOnce(r *rig) {
	r.apply(everything(0), edge.Route{Name: "new", Prefix: "/new", Pin: edge.Go})
	before := r.counters()
	for range 50 {
		r.get("/?status=200")
		r.get("/?status=302&header-Location=/")
		r.get("/new?status=404")
		r.get("/new?status=502")
		r.get("/new?drop")
	}
	r.get("/metrics")
	r.get("/health/go")
	// The client follows each redirect to /.
	r.counted(before, map[string]map[edge.System]edge.Classes{
		"everything": {edge.Python: {"2xx": 100, "3xx": 50}},
		"new":        {edge.Go: {"4xx": 50, "5xx": 50, "none": 50}},
	})
	after := r.counters()
	assert.Equal(r.t, before.Epoch, after.Epoch)
	assert.Equal(r.t, uint64(300), after.Total-before.Total)
	assert.Equal(r.t, r.generation, after.Generation)
}

// The connection is a kept-alive one, which nginx would otherwise try again.
func notTriedAgain(r *rig) {
	r.apply(everything(edge.AllGo))
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		first := r.receivedBy(r.get("/")).Arrived
		request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.address+"/?drop", http.NoBody)
		require.NoError(r.t, err)
		response := r.do(request)
		assert.Equal(r.t, http.StatusBadGateway, response.StatusCode)
		assert.Equal(r.t, "go", response.Header.Get("X-Served-By"))
		assert.NotEmpty(r.t, response.Cookies())
		assert.Equal(r.t, first+2, r.receivedBy(r.get("/")).Arrived)
	}
}

// raw sends a request as it is written.
func (r *rig) raw(text string) *http.Response {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.address, patience)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, text)
	require.NoError(r.t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(r.t, err)
	return response
}

func md5Of(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
