//go:build edgeimage

package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func nobodyMovesBack(r *rig) {
	const visitors = 20000
	var requests []string
	// The same visitors in each run: among others, chance alone makes 0.35 points
	// (one standard deviation, at 50 percent).
	random := rand.New(rand.NewPCG(1, 2))
	for range visitors {
		requests = append(requests, request(http.MethodGet, "/?instant", "Cookie",
			fmt.Sprintf("cutover_visitor=%016x%016x", random.Uint64(), random.Uint64())))
	}
	before := make([]bool, visitors)
	for _, weight := range []edge.Weight{500, 1000, 2500, 5000, 7500, 10000} {
		r.apply(everything(weight))
		golang := 0
		for i, response := range r.flood(requests) {
			byGo := servedBy(response) == edge.Go
			require.False(r.t, before[i] && !byGo, "visitor %d moved back at %s", i, weight)
			before[i] = byGo
			if byGo {
				golang++
			}
		}
		share := 100 * float64(golang) / visitors
		r.t.Logf("at %s percent go serves %.2f", weight, share)
		assert.InDelta(r.t, weight.Percent(), share, 0.5)
	}
}

func credentialsStay(r *rig) {
	const clients = 1000
	r.apply(everything(5000))
	var known, cookies []string
	for i := range clients {
		header, value := "Authorization", fmt.Sprintf("Bearer %d", i)
		if i%2 == 1 {
			header, value = "Cookie", fmt.Sprintf("session_id=a-session-%d", i)
		}
		known = append(known, request(http.MethodGet, "/?instant", header, value))
	}
	first := r.flood(known)
	golang := 0
	for _, response := range first {
		given := response.Cookies()
		require.Len(r.t, given, 1)
		cookies = append(cookies, request(http.MethodGet, "/?instant", "Cookie", "cutover_visitor="+given[0].Value))
		if servedBy(response) == edge.Go {
			golang++
		}
	}
	assert.InDelta(r.t, clients/2, golang, 80) // five standard deviations
	for _, again := range [][]string{known, cookies, known} {
		for i, response := range r.flood(again) {
			assert.Equal(r.t, servedBy(first[i]), servedBy(response), "client %d", i)
		}
	}
}

func placedByName(r *rig) {
	const early, late = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	ask := func(cookie string) edge.System { return servedBy(r.get("/", "Cookie", cookie)) }
	for _, c := range []struct {
		weight               edge.Weight
		first, last, anybody edge.System
	}{
		{0, edge.Python, edge.Python, edge.Python},
		{1, edge.Go, edge.Python, edge.Python},
		{9999, edge.Go, edge.Python, edge.Go},
		{10000, edge.Go, edge.Go, edge.Go},
	} {
		for _, by := range []edge.Split{edge.ByVisitor, edge.ByUserID, edge.ByUserIDDigit} {
			r.applyTable(edge.Table{Home: edge.Python, Routes: []edge.Route{{Name: "everything", Prefix: "/", Weight: c.weight, By: by}},
				First: []string{"visitor:" + early, "user:42"}, Last: []string{"visitor:" + late, "user:a_b-C"}})
			what := fmt.Sprintf("by %s at %s", by, c.weight)
			assert.Equal(r.t, c.first, ask("cutover_visitor="+early), what)
			assert.Equal(r.t, c.first, ask("user_id=42"), what)
			assert.Equal(r.t, c.last, ask("cutover_visitor="+late), what)
			assert.Equal(r.t, c.last, ask("user_id=a_b-C"), what)
			assert.Equal(r.t, c.first, ask("user_id=a_b-C; cutover_visitor="+early), "%s: what is said of a visitor counts first", what)
			// Nobody in particular.
			assert.Equal(r.t, c.anybody, ask("user_id=421; cutover_visitor=1123456789abcdef0123456789abcdef"), what)
		}
	}
}

// noUserMovesBack asks for users in two browsers each, of which neither counts.
func noUserMovesBack(r *rig) {
	const users = 2000
	for _, by := range []edge.Split{edge.ByUserID, edge.ByUserIDDigit} {
		var requests []string
		for user := range users {
			for range 2 {
				requests = append(requests, request(http.MethodGet, "/?instant", cookies(randomVisitor(), fmt.Sprint(user))...))
			}
		}
		before := make([]bool, users)
		for _, weight := range []edge.Weight{0, 1000, 2500, 5000, 9000, 10000} {
			r.apply(edge.Route{Name: "everything", Prefix: "/", Weight: weight, By: by})
			responses, golang := r.flood(requests), 0
			for user := range users {
				byGo := servedBy(responses[2*user]) == edge.Go
				require.Equal(r.t, servedBy(responses[2*user]), servedBy(responses[2*user+1]), "user %d by %s at %s", user, by, weight)
				require.False(r.t, before[user] && !byGo, "user %d moved back by %s at %s", user, by, weight)
				before[user] = byGo
				if byGo {
					golang++
				}
			}
			share, want := 100*float64(golang)/users, weight.Percent()
			if by == edge.ByUserIDDigit {
				want = math.Ceil(want/10) * 10 // the digits are spread evenly
				assert.Equal(r.t, want, share)
			}
			assert.InDelta(r.t, want, share, 5) // the ids are the same in each run
			r.t.Logf("by %s at %s percent go serves %.2f of the users", by, weight, share)
		}
	}
}

// splitByDigit compares with the strategy's own rule: ~*[0-4]$ go_backend.
func splitByDigit(r *rig) {
	rule := regexp.MustCompile(`(?i)[0-4]$`)
	r.apply(edge.Route{Name: "everything", Prefix: "/", Weight: 5000, By: edge.ByUserIDDigit})
	var requests, users []string
	for range 2000 {
		users = append(users, randomUser())
		requests = append(requests, request(http.MethodGet, "/?instant", cookies(randomVisitor(), users[len(users)-1])...))
	}
	for i, response := range r.flood(requests) {
		assert.Equal(r.t, rule.MatchString(users[i]), servedBy(response) == edge.Go, "user %q", users[i])
	}
}

func randomVisitor() string {
	return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
}

// randomUser is a value of the cookie user_id, "" for none: half of them are
// what applications give, and half are anything that a cookie can hold.
func randomUser() string {
	text := func(alphabet string, length int) string {
		var out strings.Builder
		for range length {
			out.WriteByte(alphabet[rand.IntN(len(alphabet))])
		}
		return out.String()
	}
	const inUser = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	switch rand.IntN(8) {
	case 0:
		return ""
	case 1, 2, 3:
		return strconv.Itoa(rand.IntN(1_000_000))
	case 4:
		return text(inUser, 1+rand.IntN(64))
	case 5:
		return text(inUser, 60+rand.IntN(10)) // around the longest
	default:
		return text(inUser+`.%"!=/:,@+*`+"\xc3\xb8", 1+rand.IntN(20))
	}
}

// cookies are headers, for request.
func cookies(visitor, user string) []string {
	if user == "" && rand.IntN(2) == 0 {
		return []string{"Cookie", "cutover_visitor=" + visitor}
	}
	return []string{"Cookie", "user_id=" + user + "; cutover_visitor=" + visitor}
}

// fragmentsFollow asks nginx and the reference in Go the same.
func fragmentsFollow(r *rig) {
	defer func() {
		r.write(r.secret("force_token"), "")
		r.startEdge()
	}()
	r.write(r.secret("force_token"), forceToken)
	r.startEdge()
	before, sent := r.counters(), 0
	want := edge.Classes{}
	for _, table := range []edge.Table{followers(0), followers(5000), followers(10000), {
		Latched: true, Home: edge.Go, Routes: []edge.Route{
			{Name: "pages", Prefix: "/"}, {Name: "fragments", Prefix: "/htmx", Follows: "pages"},
		},
	}} {
		table = r.applyTable(table)
		router, err := edge.NewRouter(table)
		require.NoError(r.t, err)
		for _, page := range []string{
			"", "/dashboard", "/users?q=x", "/htmx/users", "/assets/app.js", "/pinned", "/u%73ers",
			"http://example.org/users", "HTTPS://example.org:8443/dashboard#x", "http://example.org", "http://example.org?x",
			"users", "ftp://example.org/users", "http:///users", "://", "javascript:alert(1)", "//example.org/users",
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
				for _, force := range []edge.System{"", edge.Go, edge.Python} {
					visitor, user := randomVisitor(), randomUser()
					headers := cookies(visitor, user)
					if page != "" {
						headers = append(headers, "HX-Current-URL", page)
					}
					if force != "" {
						headers = append(headers, "X-Cutover-Force", string(force), "X-Cutover-Token", forceToken)
					}
					choice := router.Choose(edge.Request{Method: method, Target: "/htmx/users?instant",
						Visitor: visitor, User: user, Page: page, Force: force})
					what := fmt.Sprintf("%s from %q, weight %s, force %q, visitor %s, user %q", method, page, table.Routes[0].Weight, force, visitor, user)

					response := r.flood([]string{request(method, "/htmx/users?instant", headers...)})[0]

					sent++
					if choice.System != edge.Self {
						assert.Equal(r.t, choice.System, servedBy(response), what)
						assert.Empty(r.t, response.Header.Get("HX-Refresh"), what)
						continue
					}
					assert.Equal(r.t, choice.Status, response.StatusCode, what)
					assert.Empty(r.t, response.Header.Get("X-Served-By"), what)
					content, err := io.ReadAll(response.Body)
					require.NoError(r.t, err)
					if choice.Status == http.StatusOK {
						want["2xx"]++
						assert.Equal(r.t, "true", response.Header.Get("HX-Refresh"), what)
						assert.Empty(r.t, content, what)
					} else {
						want["4xx"]++
						assert.Equal(r.t, "none", response.Header.Get("HX-Reswap"), what)
						assert.Equal(r.t, "The page has moved on; reload it.\n", string(content), what)
					}
				}
			}
		}
	}
	after := r.counters()
	assert.Equal(r.t, uint64(sent), after.Total-before.Total)
	assert.Equal(r.t, want, growth(before, after)["fragments"][edge.Self])
}

func followers(weight edge.Weight) edge.Table {
	return edge.Table{Home: edge.Python, Routes: []edge.Route{
		{Name: "pages", Prefix: "/", Weight: weight},
		{Name: "users", Prefix: "/users", Weight: edge.AllGo - weight, By: edge.ByUserIDDigit},
		{Name: "pinned", Prefix: "/pinned", Pin: edge.Python},
		{Name: "assets", Prefix: "/assets", Pin: edge.Go},
		{Name: "fragments", Prefix: "/htmx", Follows: "pages"},
	}}
}

// request is the text of a request without a body; the pairs are headers.
func request(method, target string, headers ...string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: example.org\r\nContent-Length: 0\r\n", method, target)
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&text, "%s: %s\r\n", headers[i], headers[i+1])
	}
	return text.String() + "\r\n"
}

func servedBy(response *http.Response) edge.System {
	return edge.System(response.Header.Get("X-Served-By"))
}

// flood sends requests over a few connections, many at a time.
func (r *rig) flood(requests []string) []*http.Response {
	r.t.Helper()
	const connections, ahead = 8, 50
	responses := make([]*http.Response, len(requests))
	errs := make([]error, connections)
	each := (len(requests) + connections - 1) / connections
	var senders sync.WaitGroup
	for i := range connections {
		from := min(i*each, len(requests))
		to := min(from+each, len(requests))
		if from == to {
			continue
		}
		conn := r.dial()
		senders.Go(func() {
			reader := bufio.NewReader(conn)
			for ; from < to && errs[i] == nil; from += ahead {
				end := min(from+ahead, to)
				errs[i] = exchangeAll(conn, reader, requests[from:end], responses[from:end])
			}
			_ = conn.Close()
		})
	}
	senders.Wait()
	for _, err := range errs {
		require.NoError(r.t, err)
	}
	return responses
}

func exchangeAll(conn net.Conn, reader *bufio.Reader, requests []string, responses []*http.Response) error {
	if _, err := io.WriteString(conn, strings.Join(requests, "")); err != nil {
		return err
	}
	for i, text := range requests {
		method, _, _ := strings.Cut(text, " ")
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			return err
		}
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		response.Body = io.NopCloser(strings.NewReader(string(content)))
		responses[i] = response
	}
	return nil
}
