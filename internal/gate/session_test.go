package gate

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

const testToken = "the testers' token"

// twins is an edge with two systems behind it. What they have in common is one
// store of sessions, unless a fault says otherwise.
type twins struct {
	mu       sync.Mutex
	sessions map[string]bool // by id, or by system and id
	fault    string
}

func (e *twins) key(system, id string) string {
	if e.fault == "a store for each" {
		return system + id
	}
	return id
}

func (e *twins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	system := r.Header.Get("X-Cutover-Force")
	if r.Header.Get("X-Cutover-Token") != testToken || e.fault == "not forced" {
		system = "python"
	}
	w.Header().Set("X-Served-By", system)
	id := ""
	if cookie, err := r.Cookie("session_id"); err == nil {
		id = cookie.Value
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /login":
		if e.fault == "no login at go" && system == "go" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		id = rand.Text()
		e.sessions[e.key(system, id)] = true
		http.SetCookie(w, &http.Cookie{Name: "session_id", Value: id, Path: "/", HttpOnly: true})
		w.WriteHeader(http.StatusFound)
	case "POST /logout":
		switch {
		case e.fault == "logout does nothing":
		case e.fault == "logout only at home":
			e.sessions[id] = false
			e.sessions["other than "+system+id] = true
		default:
			delete(e.sessions, e.key(system, id))
		}
	case "GET /me":
		known := e.sessions[e.key(system, id)]
		if other := map[string]string{"python": "go", "go": "python"}[system]; e.sessions["other than "+other+id] {
			known = true
		}
		switch {
		case e.fault == "everybody is somebody" || known && e.fault != "nobody is anybody":
			_, _ = fmt.Fprint(w, `{"email":"kari@example.com"}`)
		case known:
			_, _ = fmt.Fprint(w, `{"email":null}`)
		case e.fault == "a page that names the account":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, "kari@example.com, log in")
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestSession(t *testing.T) {
	for name, c := range map[string]struct {
		fault   string
		change  func(*Checker, *rollout.State)
		want    rollout.Verdict
		why     string
		atStage string // where the evidence stands
	}{
		"shared":                            {want: rollout.Pass, why: "the other way round", atStage: "login_at_go_read_at_python"},
		"words beside the status":           {fault: "a page that names the account", want: rollout.Pass},
		"a store for each":                  {fault: "a store for each", want: rollout.Fail, why: "logged in at python, asked go: go answers /me with 401", atStage: "login_at_python_read_at_go"},
		"no login at the second":            {fault: "no login at go", want: rollout.Fail, why: "logged in at go, asked python: the login is answered 401", atStage: "login_at_go_read_at_python"},
		"logout does nothing":               {fault: "logout does nothing", want: rollout.Fail, why: "logged out at go, and still logged in at python"},
		"logout at one only":                {fault: "logout only at home", want: rollout.Fail, why: "and still logged in at python"},
		"everybody is logged in":            {fault: "everybody is somebody", want: rollout.Fail, why: "before anybody has logged in"},
		"the answer says nobody":            {fault: "nobody is anybody", want: rollout.Fail, why: `without "kari@example.com"`},
		"force is refused":                  {fault: "not forced", want: rollout.Fail, why: "the edge did not ask go, although it was told to"},
		"a wrong token":                     {change: func(c *Checker, _ *rollout.State) { c.Sources.ForceToken = "guessed" }, want: rollout.Fail, why: "the edge did not ask go"},
		"latched":                           {change: func(_ *Checker, s *rollout.State) { s.Latched = true }, want: rollout.Inconclusive, why: "latched on python"},
		"no such path":                      {change: func(c *Checker, _ *rollout.State) { c.Plan.Session.Probe.Login = "/nowhere" }, want: rollout.Fail, why: "the login is answered 404"},
		"no logout":                         {change: func(c *Checker, _ *rollout.State) { c.Plan.Session.Probe.Logout = "" }, want: rollout.Pass},
		"no logout, everybody is logged in": {fault: "everybody is somebody", change: func(c *Checker, _ *rollout.State) { c.Plan.Session.Probe.Logout = "" }, want: rollout.Fail, why: "before anybody has logged in"},
		"no logout, and a text that is none": {change: func(c *Checker, _ *rollout.State) {
			c.Plan.Session.Probe.Logout, c.Plan.Session.Probe.Expect = "", "ola"
		}, want: rollout.Fail, why: `without "ola"`},
		"nobody answers": {change: func(c *Checker, _ *rollout.State) { c.Sources.Base = "http://127.0.0.1:1" }, want: rollout.Fail, why: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(&twins{sessions: map[string]bool{}, fault: c.fault})
			defer server.Close()
			checker := &Checker{
				Plan: &plan.Plan{Session: plan.Session{Probe: &plan.SessionProbe{
					Login: "/login", Form: map[string]string{"username": "kari", "password": "secret"}, Logout: "/logout", Me: "/me", Expect: "kari@example.com",
				}}},
				Sources: Sources{Public: server.Client().Transport, Base: server.URL, ForceToken: testToken},
			}
			state := rollout.NewState(edge.Python)
			if c.change != nil {
				c.change(checker, &state)
			}

			found := checker.session(t.Context(), state)

			expect(t, c.want, c.why, found)
			if c.atStage != "" {
				assert.Contains(t, found.evidence, c.atStage)
			}
			for _, text := range found.evidence {
				assert.NotContains(t, text, "secret")
				assert.NotContains(t, text, testToken)
			}
		})
	}
}
