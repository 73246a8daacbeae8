//go:build edgeimage

package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func requestsPassUnchanged(r *rig) {
	r.apply(everything(0))
	body := strings.Repeat("0123456789abcdef", 1<<16)
	for name, body := range sorted(map[string]io.Reader{
		"with a length": strings.NewReader(body),
		"in chunks":     io.MultiReader(strings.NewReader(body)),
	}) {
		request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPatch,
			"http://"+r.address+"/a%2Fb//c/../d%20e?x=1&y=%2F", body)
		require.NoError(r.t, err)
		request.Header = http.Header{
			"X-Request-Id":       {"theirs"},
			"X-Forwarded-For":    {"1.2.3.4"},
			"X-Forwarded-Proto":  {"gopher"},
			"X-Real-Ip":          {"1.2.3.4"},
			"Forwarded":          {"for=1.2.3.4;host=evil.example"},
			"X-Forwarded-Host":   {"evil.example"},
			"X-Forwarded-Port":   {"1"},
			"X-Forwarded-Prefix": {"/evil"},
			"Upgrade":            {"h2c"},
			"X-Custom":           {"a", "b"},
			"Cookie":             {"a=b"},
			"X-Long":             {strings.Repeat("x", 30000)},
			"User-Agent":         {""},
		}
		got := r.receivedBy(r.do(request))

		assert.Equal(r.t, http.MethodPatch, got.Method, name)
		assert.Equal(r.t, "/a%2Fb//c/../d%20e?x=1&y=%2F", got.Target, name)
		assert.Equal(r.t, r.address, got.Host, name)
		assert.Len(r.t, got.Body, 1<<20, name)
		assert.Regexp(r.t, `^\d+\.\d{3}-\d+-\d+-\d+$`, got.Header.Get("X-Request-Id"), name)
		client := got.Header.Get("X-Real-Ip")
		assert.NotNil(r.t, net.ParseIP(client), name)
		assert.NotEqual(r.t, "1.2.3.4", client, name)
		assert.Equal(r.t, []string{client}, got.Header["X-Forwarded-For"], name)
		assert.Equal(r.t, []string{"http"}, got.Header["X-Forwarded-Proto"], name)
		assert.Equal(r.t, []string{"a", "b"}, got.Header["X-Custom"], name)
		assert.Equal(r.t, []string{"a=b"}, got.Header["Cookie"], name)
		assert.Len(r.t, got.Header.Get("X-Long"), 30000, name)
		for _, header := range []string{
			"Upgrade", "Connection", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
		} {
			assert.NotContains(r.t, got.Header, header, name)
		}
	}

	old := r.receivedBy(r.raw("GET / HTTP/1.0\r\n\r\n"))
	assert.NotEmpty(r.t, old.Host)

	large := r.raw("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 33554433\r\n\r\n")
	assert.Equal(r.t, http.StatusRequestEntityTooLarge, large.StatusCode)
}

func answersPassUnchanged(r *rig) {
	r.apply(everything(0))
	response := r.get("/?status=418" +
		"&header-Set-Cookie=a%3Db&header-Set-Cookie=c%3Dd" +
		"&header-Location=http%3A%2F%2Fsystems%2Fx" +
		"&header-Server=gunicorn&header-ETag=%22e%22&header-X-Accel-Redirect=%2Fmetrics" +
		"&header-X-Served-By=somebody&header-Date=Thu%2C%2001%20Jan%201970%2000%3A00%3A00%20GMT")

	assert.Equal(r.t, http.StatusTeapot, response.StatusCode)
	assert.Equal(r.t, []string{"python"}, response.Header["X-Served-By"])
	assert.Subset(r.t, response.Header["Set-Cookie"], []string{"a=b", "c=d"})
	assert.Len(r.t, response.Header["Set-Cookie"], 3)
	for name, value := range sorted(map[string]string{
		"Location": "http://systems/x", "Server": "gunicorn", "Etag": `"e"`, "X-Accel-Redirect": "/metrics",
		"Date": "Thu, 01 Jan 1970 00:00:00 GMT",
	}) {
		assert.Equal(r.t, []string{value}, response.Header[name], name)
	}
}

func metricsHidden(r *rig) {
	r.apply(everything(0))
	for _, target := range []string{
		"/metrics", "/metrics?x", "/metrics#x", "/metrics/", "/metrics//", "/metrics%2F", "/%6detrics", "/%6D%65trics?x",
		"//metrics", "///metrics/", "/%2Fmetrics", "/%2f%2Fmetrics", "/%2F/%6detrics", "//metrics?/",
		"/./metrics", "/x/../metrics", "/x/%2e%2e/metrics", "/x/..//metrics",
		"http://x/metrics", "http://x//metrics", "http://x/%2Fmetrics",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			hidden := r.raw(method + " " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
			assert.Equal(r.t, http.StatusNotFound, hidden.StatusCode, "%s %s", method, target)
			assert.Empty(r.t, hidden.Header.Get("X-Served-By"), "%s %s", method, target)
		}
	}
	for _, target := range []string{"/metricsX", "/Metrics", "/x/metrics", "/metrics/x", "/metrics%252F", "/?/metrics", "/metrics/x/%2F"} {
		assert.Equal(r.t, target, r.receivedBy(r.raw("GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")).Target)
	}
}

func answersStream(r *rig) {
	r.apply(everything(0))
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.address+"/?events", http.NoBody)
	require.NoError(r.t, err)
	response, err := r.browser.Do(request)
	require.NoError(r.t, err)
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	require.NoError(r.t, err)
	assert.Equal(r.t, "data: first\n", line)
	require.NoError(r.t, response.Body.Close())
}

func webSocketsPass(r *rig) {
	r.apply(everything(edge.AllGo))
	before := r.counters()
	conn, err := net.DialTimeout("tcp", r.address, patience)
	require.NoError(r.t, err)
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
	require.NoError(r.t, err)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(r.t, err)
	assert.Equal(r.t, http.StatusSwitchingProtocols, response.StatusCode)
	assert.Equal(r.t, "go", response.Header.Get("X-Served-By"))
	for range 3 {
		_, err = io.WriteString(conn, "hello\n")
		require.NoError(r.t, err)
		line, err := reader.ReadString('\n')
		require.NoError(r.t, err)
		assert.Equal(r.t, "hello\n", line)
	}
	require.NoError(r.t, conn.Close())
	r.counted(before, map[string]map[edge.System]edge.Classes{"everything": {edge.Go: {"2xx": 1}}})
}

func healthOfOneSystem(r *rig) {
	r.apply(everything(0))
	for _, system := range []edge.System{edge.Python, edge.Go} {
		response := r.get("/health/" + string(system))
		assert.Equal(r.t, http.StatusOK, response.StatusCode)
		assert.Equal(r.t, string(system), response.Header.Get("X-Served-By"))
		request := r.receivedBy(response)
		assert.Equal(r.t, system, request.System)
		assert.Equal(r.t, "/health", request.Target)
	}
	assert.Equal(r.t, "/health/goX", r.receivedBy(r.get("/health/goX")).Target)

	defer func() { _ = exec.Command("docker", "unpause", container(edge.Go)).Run() }() // also where this fails
	r.docker("pause", container(edge.Go))
	start := time.Now()
	assert.Equal(r.t, http.StatusGatewayTimeout, r.get("/health/go").StatusCode)
	assert.Less(r.t, time.Since(start), 4*time.Second)
	r.docker("unpause", container(edge.Go))

	r.docker("kill", container(edge.Go))
	away := r.get("/health/go")
	assert.Contains(r.t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, away.StatusCode)
	assert.Equal(r.t, "go", away.Header.Get("X-Served-By"))
	assert.Equal(r.t, http.StatusOK, r.get("/health/python").StatusCode)
	r.docker("start", container(edge.Go))
	r.eventually(func() error {
		_, err := r.describe("/health/go")
		return err
	}, "go is found again")
}
