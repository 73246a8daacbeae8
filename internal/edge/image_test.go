//go:build edgeimage

package edge_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
		{"nginx puts people in the same buckets as Go", sameBuckets},
		{"raising weights moves nobody back", nobodyMovesBack},
		{"clients with credentials do not switch", credentialsStay},
		{"raising weights moves no user back", noUserMovesBack},
		{"the last digit splits as in the strategy", splitByDigit},
		{"first and last are placed by name", placedByName},
		{"fragments follow their pages as in Go", fragmentsFollow},
		{"a visitor is placed by cookie, credentials or chance", visitorPlacement},
		{"without a visitor key there is a random one", randomVisitorKey},
		{"a tester with the token forces a system", forcedSystem},
		{"nginx takes and refuses the same tables as Go", sameTables},
		{"a table too large for the memory changes nothing", tooLargeTable},
		{"an older table is refused", staleTables},
		{"requests pass unchanged", requestsPassUnchanged},
		{"answers pass unchanged", answersPassUnchanged},
		{"metrics are hidden", metricsHidden},
		{"answers stream", answersStream},
		{"WebSockets pass", webSocketsPass},
		{"every request is counted once", countedOnce},
		{"what nginx itself refuses is counted as such", countedRefusals},
		{"clients that leave are counted as such", countedLeavers},
		{"counters add up to the requests sent", countsAddUp},
		{"requests in flight are seen, and how long each took", inFlight},
		{"changes alone are told, to each who asks", changesTold},
		{"what a killed worker counted remains", killedWorker},
		{"counters of many routes block nobody", manyRoutes},
		{"a failed request is not tried again", notTriedAgain},
		{"a dead connection is replaced before anything was sent", deadConnection},
		{"health is asked of one system", healthOfOneSystem},
		{"a system is found at its new address", newAddress},
		{"several addresses take turns", severalAddresses},
		{"new workers know everything", newWorkers},
		{"the saved table survives a restart", savedTable},
		{"changing weights fails no request", changesUnderLoad},
		{"a wrong setting is named", wrongSettings},
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
	for target, route := range sorted(matches) {
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
	const people = 10000
	for _, by := range []edge.Split{edge.ByVisitor, edge.ByUserID, edge.ByUserIDDigit} {
		routes := []edge.Route{}
		for weight := range edge.AllGo + 1 {
			name := fmt.Sprintf("b%d", weight)
			routes = append(routes, edge.Route{Name: name, Prefix: "/" + name, Weight: weight, By: by})
		}
		r.apply(routes...)
		var requests []string
		buckets := map[int]int{}
		for range people {
			visitor, user := randomVisitor(), randomUser()
			bucket := by.Bucket(visitor, user)
			buckets[bucket]++
			for _, weight := range []int{bucket, bucket + 1} {
				requests = append(requests, request(http.MethodGet, fmt.Sprintf("/b%d/x?instant", weight), cookies(visitor, user)...))
			}
		}
		for i, response := range r.flood(requests) {
			want := []edge.System{edge.Python, edge.Go}[i%2]
			require.Equal(r.t, want, servedBy(response), "by %s: %s", by, requests[i])
		}
		r.t.Logf("by %s: %d people in %d buckets", by, people, len(buckets))
	}
}

func visitorPlacement(r *rig) {
	const visitor = "0123456789abcdef0123456789abcdef"
	const session, token = "session_id=an-opaque-id", "Bearer secret"
	for name, c := range sorted(map[string]struct {
		headers []string
		visitor string // what the answer sets; "" for a random one
	}{
		"nothing":                       {nil, ""},
		"a malformed cookie":            {[]string{"Cookie", "cutover_visitor=0123"}, ""},
		"a cookie with another letter":  {[]string{"Cookie", "cutover_visitor=g" + visitor[1:]}, ""},
		"an empty session":              {[]string{"Cookie", "session_id="}, ""},
		"a session":                     {[]string{"Cookie", session}, visitorOf("an-opaque-id")},
		"an authorization":              {[]string{"Authorization", token}, visitorOf(token)},
		"an authorization and session":  {[]string{"Authorization", token, "Cookie", session}, visitorOf(token)},
		"a malformed cookie, a session": {[]string{"Cookie", "cutover_visitor=x; " + session}, visitorOf("an-opaque-id")},
	}) {
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

	r.write(r.secret("force_token"), forceToken)
	r.startEdge()
	r.apply(everything(0), edge.Route{Name: "assets", Prefix: "/assets/", Pin: edge.Go})
	assert.Equal(r.t, "go", ask("go", forceToken))
	assert.Equal(r.t, "python", ask("python", forceToken))
	assert.Equal(r.t, "python", ask("perl", forceToken))
	assert.Equal(r.t, "python", ask("go", forceToken[1:]))
	assert.Equal(r.t, "python", ask("go", forceToken[1:]+"x"))
	assert.Equal(r.t, "python", r.get("/", "X-Cutover-Force", "go").Header.Get("X-Served-By"))
	request := r.receivedBy(r.get("/", "X-Cutover-Force", "go", "X-Cutover-Token", forceToken))
	assert.NotContains(r.t, request.Header, "X-Cutover-Token")
	assert.NotContains(r.t, request.Header, "X-Cutover-Force")

	pinned := r.get("/assets/x", "X-Cutover-Force", "python", "X-Cutover-Token", forceToken)
	assert.Equal(r.t, "go", pinned.Header.Get("X-Served-By"), "python has no such asset")

	r.applyTable(edge.Table{Latched: true, Home: edge.Python, Routes: []edge.Route{everything(0)}})
	assert.Equal(r.t, "python", ask("go", forceToken), "latched")
}

func randomVisitorKey(r *rig) {
	place := func() string { return r.get("/", "Authorization", "Bearer secret").Cookies()[0].Value }
	t := r.t
	defer func() {
		r.write(r.secret("visitor_key"), visitorKey)
		r.startEdge()
	}()
	r.write(r.secret("visitor_key"), "")
	r.startEdge()
	assert.Contains(t, r.logs(), "there is no visitor key")

	first := place()
	assert.Regexp(t, "^[0-9a-f]{32}$", first)
	assert.NotEqual(t, visitorOf("Bearer secret"), first)
	r.replaceWorkers(func([]string) { r.docker("exec", edgeName, "nginx", "-s", "reload") })
	assert.Equal(t, first, place(), "after a reload")
	r.startEdge()
	assert.NotEqual(t, first, place(), "after a start")
}

func sameTables(r *rig) {
	applied := r.apply(everything(2500))
	good, bad := tables(r.t)
	for name, text := range sorted(bad) {
		status, answer := r.put(text)
		assert.Equal(r.t, http.StatusUnprocessableEntity, status, name)
		assert.Regexp(r.t, `^{"error":".+"}$`, answer, name)
	}
	found, err := r.control.Table(r.t.Context())
	require.NoError(r.t, err)
	assert.True(r.t, applied.Equal(found))

	// Their generations rise in this order.
	r.startEdge()
	defer r.startEdge()
	for name, text := range sorted(good) {
		status, answer := r.put(text)
		require.Equal(r.t, http.StatusOK, status, "%s: %s", name, answer)
		found, err := r.control.Table(r.t.Context())
		require.NoError(r.t, err, name)
		var want edge.Table
		require.NoError(r.t, json.Unmarshal([]byte(text), &want), name)
		assert.True(r.t, want.Equal(found), name)
	}
}

func tooLargeTable(r *rig) {
	t := r.t
	defer r.startEdge()
	config, err := os.ReadFile("../../nginx/nginx.conf")
	require.NoError(t, err)
	small := filepath.Join(t.TempDir(), "nginx.conf")
	r.write(small, strings.Replace(string(config), "lua_shared_dict edge 32m;", "lua_shared_dict edge 64k;", 1))
	r.startEdge("--volume", small+":/etc/nginx/nginx.conf:ro")
	applied := r.apply(everything(edge.AllGo))

	large := edge.Table{Generation: r.generation + 1, Home: edge.Python}
	for i := range 2000 {
		name := fmt.Sprintf("r%d", i)
		large.Routes = append(large.Routes, edge.Route{Name: name, Prefix: "/" + name})
	}
	err = r.control.Apply(t.Context(), large)

	assert.EqualError(t, err, "the edge refuses with status 503: the table cannot be applied: "+
		`the shared memory "edge" has no memory left`)
	found, err := r.control.Table(t.Context())
	require.NoError(t, err)
	assert.True(t, applied.Equal(found))
	assert.Equal(t, "go", r.get("/").Header.Get("X-Served-By"))
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
		"everything":   {edge.Python: {"2xx": 100, "3xx": 50}},
		"new":          {edge.Go: {"4xx": 50, "5xx": 50, "none": 50}},
		edge.Unmatched: {edge.Self: {"2xx": 1, "4xx": 1}},
	})
	after := r.counters()
	assert.Equal(r.t, before.Epoch, after.Epoch)
	assert.Equal(r.t, uint64(302), after.Total-before.Total)
	assert.Equal(r.t, r.generation, after.Generation)
}

// What nginx refuses before it chose a system is the edge's own: the system had
// no part in it.
func countedRefusals(r *rig) {
	r.apply(everything(0))
	before := r.counters()
	for _, c := range []struct {
		body string
		want int
	}{{"no size\r\n", http.StatusBadRequest}, {"2000001\r\nx", http.StatusRequestEntityTooLarge}} {
		conn := r.upload()
		_, err := io.WriteString(conn, c.body)
		require.NoError(r.t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(r.t, err, "%q", c.body)
		assert.Equal(r.t, c.want, response.StatusCode)
	}
	early := r.raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 33554433\r\n\r\n")
	assert.Equal(r.t, http.StatusRequestEntityTooLarge, early.StatusCode)
	malformed := r.raw("no request\r\n\r\n")
	assert.Equal(r.t, http.StatusBadRequest, malformed.StatusCode)
	long := r.raw("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 40000) + "\r\n\r\n")
	assert.Equal(r.t, http.StatusBadRequest, long.StatusCode)
	r.counted(before, map[string]map[edge.System]edge.Classes{
		"everything": {edge.Python: {"4xx": 2}}, edge.Unmatched: {edge.Self: {"4xx": 3}},
	})
}

func countedLeavers(r *rig) {
	r.apply(everything(0))
	before := r.counters()
	require.NoError(r.t, r.upload().Close())
	require.NoError(r.t, r.arrives("GET /?hold HTTP/1.1\r\nHost: x\r\n\r\n").Close())
	r.counted(before, map[string]map[edge.System]edge.Classes{"everything": {edge.Python: {"left": 2}}})
}

// upload begins an upload that has reached the system.
func (r *rig) upload() net.Conn {
	r.t.Helper()
	return r.arrives("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
}

// arrives sends what is written, and waits until it has reached python. It asks
// python itself, so that the edge counts nothing of that.
func (r *rig) arrives(text string) net.Conn {
	r.t.Helper()
	before, err := r.arrived()
	require.NoError(r.t, err)
	conn := r.dial()
	_, err = io.WriteString(conn, text)
	require.NoError(r.t, err)
	r.eventually(func() error {
		now, err := r.arrived()
		if err == nil && now == before {
			return errors.New("nothing came")
		}
		return err
	}, "the request arrives")
	return conn
}

// arrived is how many requests came to python, but for health checks.
func (r *rig) arrived() (uint64, error) {
	got, err := r.describeAt(r.direct(edge.Python), "/health")
	return got.Arrived, err
}

// The connection is a kept-alive one, and the system has the request when it
// drops it: nginx cannot know. Only what is safe to ask twice is asked again, once.
func notTriedAgain(r *rig) {
	r.apply(everything(edge.AllGo))
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		for name, body := range sorted(map[string]io.Reader{"": http.NoBody, " with a body": strings.NewReader("body")}) {
			r.flood(slices.Repeat([]string{request(http.MethodGet, "/?instant")}, 100)) // connections for both workers
			before, first := r.counters(), r.receivedBy(r.get("/")).Arrived
			request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.address+"/?drop", body)
			require.NoError(r.t, err)
			response := r.do(request)
			assert.Equal(r.t, http.StatusBadGateway, response.StatusCode, method+name)
			assert.Equal(r.t, "go", response.Header.Get("X-Served-By"), method+name)
			assert.NotEmpty(r.t, response.Cookies(), method+name)
			executed := r.receivedBy(r.get("/")).Arrived - first - 1
			if method == http.MethodGet || method == http.MethodHead {
				assert.LessOrEqual(r.t, executed, uint64(2), method+name)
			} else {
				assert.Equal(r.t, uint64(1), executed, method+name)
			}
			r.counted(before, map[string]map[edge.System]edge.Classes{"everything": {edge.Go: {"2xx": 2, "none": 1}}})
		}
	}
}

// dial opens a connection to the edge that is closed when the subtest ends.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.address, patience)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// raw sends a request as it is written.
func (r *rig) raw(text string) *http.Response {
	r.t.Helper()
	conn := r.dial()
	_, err := io.WriteString(conn, text)
	require.NoError(r.t, err)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(r.t, err)
	return response
}

func visitorOf(credential string) string {
	mac := hmac.New(sha1.New, []byte(visitorKey))
	mac.Write([]byte(credential)) // never fails
	return hex.EncodeToString(mac.Sum(nil))[:32]
}
