package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// browser is a real one, with one tab.
type browser struct {
	ctx   context.Context
	loads atomic.Int64 // pages that were loaded

	mutex    sync.Mutex
	security []string // what it said of policies and certificates
}

func newBrowser(t *testing.T, flags ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WindowSize(1280, 900))
	options = append(options, flags...)
	if os.Geteuid() == 0 { // the browser's own sandbox refuses to run as root
		options = append(options, chromedp.NoSandbox)
	}
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	b := &browser{}
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithListener(func(event any) {
		switch event := event.(type) {
		case *page.EventLoadEventFired:
			b.loads.Add(1)
		case *log.EventEntryAdded:
			if event.Entry.Source == log.EntrySourceSecurity {
				b.mutex.Lock()
				defer b.mutex.Unlock()
				b.security = append(b.security, event.Entry.Text)
			}
		}
	}))
	t.Cleanup(cancel)
	// The browser lives as long as the context that it is first used with.
	require.NoError(t, chromedp.Do(ctx))
	b.ctx = ctx
	return b
}

// complaints are what it said so far of policies that pages violate.
func (b *browser) complaints() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return slices.Clone(b.security)
}

// do carries out steps, each within a generous time.
func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, steps...))
}

// eventually waits until an expression is true in the page.
func (b *browser) eventually(t *testing.T, expression string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
		defer cancel()
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		assert.NoError(c, err)
		assert.True(c, is, expression)
	}, 20*time.Second, 20*time.Millisecond)
}

// system is the one that made the page.
const system = `document.querySelector("footer strong").textContent`

func (b *browser) login(t *testing.T, env *environment, username string) {
	t.Helper()
	b.do(t,
		chromedp.Navigate(env.address+"/login"),
		chromedp.SendKeys("input[name=username]", username),
		chromedp.SendKeys("input[name=password]", "rehearsal"),
		chromedp.Submit("form[action='/api/auth/login']"),
	)
	b.eventually(t, `location.pathname === "/dashboard" && document.readyState === "complete"`)
}

// Whatever the weights become, a page of Go's that is open goes on working,
// with at most one reload.
func TestOpenPageSurvivesAnyWeights(t *testing.T) {
	moves := [][]string{{}, {"pages"}, {"auth", "users", "badges", "tools", "memberships"}, {"auth", "users", "badges", "tools", "memberships", "pages"}}
	openPage(t, moves)
}

func TestVerifyOpenPageSurvivesAnyWeights(t *testing.T) {
	verifyDuration(t)
	names := []string{"auth", "users", "badges", "tools", "memberships", "pages"}
	var moves [][]string
	for bits := range 1 << len(names) {
		var back []string
		for i, name := range names {
			if bits&(1<<i) != 0 {
				back = append(back, name)
			}
		}
		moves = append(moves, back)
	}
	openPage(t, moves)
}

// openPage opens a page while all is on Go, takes some routes back, and goes
// on using it.
func openPage(t *testing.T, moves [][]string) {
	env := useShared(t)
	b := newBrowser(t)
	allOnGo := func() {
		for _, route := range env.status(t).Routes {
			env.must(t, "route", route.Name, "100")
		}
	}
	allOnGo()
	b.login(t, env, "user11")
	for _, back := range moves {
		t.Run(fmt.Sprint(back), func(t *testing.T) {
			allOnGo()
			b.do(t, chromedp.Navigate(env.address+"/users"))
			b.eventually(t, system+` === "go"`)
			for _, route := range back {
				env.must(t, "route", route, "0")
			}
			b.search(t, "berg", back)
		})
	}
	t.Run("rollback", func(t *testing.T) {
		allOnGo()
		b.do(t, chromedp.Navigate(env.address+"/users"))
		b.eventually(t, system+` === "go"`)
		env.must(t, "rollback", "--reason", "while a page is open")
		b.search(t, "berg", []string{"pages"})
		env.must(t, "resume", "--reason", "after the page")
	})
}

// search types into the open page of members. When the page has gone back, it
// is loaded again, once, and then works as python's.
func (b *browser) search(t *testing.T, text string, back []string) {
	t.Helper()
	before := b.loads.Load()
	b.do(t, chromedp.SendKeys("input[name=q]", text))
	found := `[...document.querySelectorAll("tbody tr")].length > 0 &&
		[...document.querySelectorAll("tbody tr")].every(row => row.textContent.toLowerCase().includes("` + text + `"))`
	for _, route := range back {
		if route != "pages" {
			continue
		}
		b.eventually(t, system+` === "python" && document.readyState === "complete"`)
		assert.Equal(t, before+1, b.loads.Load(), "one reload")
		b.do(t, chromedp.SetValue("input[name=q]", text), chromedp.Submit("form.search"))
		b.eventually(t, found)
		return
	}
	b.eventually(t, found)
	assert.Equal(t, before, b.loads.Load(), "no reload")
	b.eventually(t, system+` === "go"`)
}

// A click on a page that has gone back says so, loses nothing, and works after
// a reload.
func TestOpenPageSaysThatItMovedOn(t *testing.T) {
	env := useShared(t)
	db := env.db(t)
	_, err := db.Exec(t.Context(), "UPDATE checkouts SET ended_at = now() WHERE ended_at IS NULL AND account_id = (SELECT id FROM accounts WHERE username = 'user12')")
	require.NoError(t, err)
	held := func() int64 {
		return number(t, db, "SELECT count(*) FROM checkouts WHERE ended_at IS NULL AND account_id = (SELECT id FROM accounts WHERE username = 'user12')")
	}
	b := newBrowser(t)
	env.must(t, "route", "pages", "100")
	b.login(t, env, "user12")
	b.do(t, chromedp.Navigate(env.address+"/tools"))
	b.eventually(t, system+` === "go"`)
	before := b.loads.Load()

	const checkout = `form[action$="/checkout"] button`
	b.do(t, chromedp.Click(checkout))
	b.eventually(t, `document.querySelector('form[action$="/checkin"]') !== null`)
	require.EqualValues(t, 1, held(), "htmx works")

	env.must(t, "route", "pages", "0")
	b.do(t, chromedp.Click(checkout))
	b.eventually(t, `!document.getElementById("notice").hidden && document.getElementById("notice").textContent.includes("moved on")`)
	assert.EqualValues(t, 1, held(), "nothing was done")
	assert.Equal(t, before, b.loads.Load(), "nothing was reloaded")

	b.do(t, chromedp.Reload())
	b.eventually(t, system+` === "python"`)
	b.do(t, chromedp.Click(checkout))
	b.eventually(t, system+` === "python" && document.readyState === "complete" && document.querySelectorAll('form[action$="/checkin"]').length === 2`)
	assert.EqualValues(t, 2, held())
}
