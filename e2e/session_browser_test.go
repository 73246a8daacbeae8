package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cookies are the browser's, by name.
func (b *browser) cookies(t *testing.T) map[string]*network.Cookie {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	list, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (storage.GetCookiesResult, error) {
		return cdp.Call(ctx, t, storage.GetCookies, storage.GetCookiesParams{})
	})
	require.NoError(t, err)
	found := map[string]*network.Cookie{}
	for _, cookie := range list.Cookies {
		found[cookie.Name] = cookie
	}
	return found
}

// Somebody logs in on python, is moved to Go, uses its pages, is taken back,
// and is logged in through all of it.
func TestBrowserStaysLoggedIn(t *testing.T) {
	env := useShared(t)
	b := newBrowser(t)
	b.login(t, env, "user46")
	b.eventually(t, system+` === "python"`)
	id := b.cookies(t)["session_id"].Value

	for _, route := range env.status(t).Routes {
		env.must(t, "route", route.Name, "100")
	}
	b.do(t, chromedp.Navigate(env.address+"/users"))
	b.eventually(t, system+` === "go" && document.querySelector("form.logout span").textContent === "user46"`)
	before := b.loads.Load()
	b.do(t, chromedp.SendKeys("input[name=q]", "berg"))
	b.eventually(t, `document.querySelectorAll("tbody tr").length > 0 &&
		[...document.querySelectorAll("tbody tr")].every(row => row.textContent.toLowerCase().includes("berg"))`)
	assert.Equal(t, before, b.loads.Load(), "htmx works")

	env.must(t, "rollback", "--reason", "the browser")
	b.do(t, chromedp.Navigate(env.address+"/dashboard"))
	b.eventually(t, system+` === "python" && document.querySelector("form.logout span").textContent === "user46"`)
	assert.Equal(t, id, b.cookies(t)["session_id"].Value)
	env.must(t, "resume", "--reason", "after the browser")
}

// Who arrives over a link from another site keeps the session, on both systems.
func TestLinkFromAnotherSite(t *testing.T) {
	env := useShared(t)
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<a href="%s/dashboard">the members' system</a>`, env.address)
	}))
	listener, err := net.Listen("tcp", "127.0.0.2:0") // another site to a browser
	require.NoError(t, err)
	require.NoError(t, other.Listener.Close())
	other.Listener = listener
	other.Start()
	t.Cleanup(other.Close)
	for i, weight := range []string{"0", "100"} {
		b := newBrowser(t)
		for _, route := range []string{"auth", "pages"} {
			env.must(t, "route", route, weight)
		}
		b.login(t, env, "user47")
		b.eventually(t, system+` === "`+systems[i]+`"`)
		id := b.cookies(t)["session_id"].Value
		b.do(t, chromedp.Navigate(other.URL))
		b.eventually(t, `document.links.length === 1 && (document.links[0].click(), true)`)
		b.eventually(t, `location.origin === "`+env.address+`" && document.readyState === "complete"`)
		assert.Equal(t, id, b.cookies(t)["session_id"].Value)
		b.do(t, chromedp.Navigate(env.address+"/dashboard"))
		b.eventually(t, `location.pathname === "/dashboard" && document.querySelector("form.logout span").textContent === "user47"`)
		assert.Equal(t, id, b.cookies(t)["session_id"].Value)
	}
}
