package goapp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cutover-dev/cutover/internal/goapp/store"
	"github.com/cutover-dev/cutover/internal/signed"
)

var (
	testKey   = []byte("a secret of the tests")
	testLinks = signed.New(signed.DjangoConcat, resetSalt, testKey)
)

// fakeThrottle allows three failures, and counts in memory.
type fakeThrottle struct {
	failures map[string]int
	err      error
}

func (f *fakeThrottle) Attempt(_ context.Context, account, address string) (time.Duration, error) {
	if f.failures[account+" "+address] >= 3 {
		return 90*time.Second + time.Millisecond, f.err
	}
	f.failures[account+" "+address]++
	return 0, f.err
}

func (f *fakeThrottle) Succeeded(_ context.Context, account, address string) error {
	delete(f.failures, account+" "+address)
	return f.err
}

func (f *fakeThrottle) GiveBack(_ context.Context, account, address string) error {
	f.failures[account+" "+address]--
	return f.err
}

// fakeRecords keeps in memory what the store keeps in Postgres. Lists are in
// the order of their ids; everything was made at the same moment.
type fakeRecords struct {
	accounts    []store.Account
	circles     map[int64][]string // by account
	badges      []store.Badge
	awards      map[int64][]store.Award // by account
	tools       []store.Tool
	memberships []store.Membership
	written     []string // the audit trail: "request account action details"
	err         error
	writeErr    error
}

var (
	noon     = "2026-01-02T03:04:05Z"
	nameAda  = "Ada <b>"
	laser    = "laser"
	username = "bob"
)

func newFakeRecords() *fakeRecords {
	day := "2026-01-01"
	return &fakeRecords{
		accounts: []store.Account{
			{ID: 1, Username: "ada", Email: "Ada@example.com", Name: &nameAda, Enabled: true, CreatedAt: &noon, PasswordHash: bcryptRehearsal},
			{ID: 2, Username: "bob", Email: "bob@example.com", Enabled: true, PasswordHash: sha512Rehearsal},
			{ID: 3, Username: "out", Email: "out@example.com", CreatedAt: &noon, PasswordHash: bcryptRehearsal},
		},
		circles: map[int64][]string{1: {"admin"}, 2: {"laser", "wood"}},
		badges: []store.Badge{
			{ID: 1, Title: "Laser", Circle: &laser, CreatedAt: &noon},
			{ID: 2, Title: "Tidy", CreatedAt: &noon},
		},
		awards: map[int64][]store.Award{2: {{ID: 9, BadgeID: 2, Title: "Tidy", CreatedAt: &noon}}},
		tools: []store.Tool{
			{ID: 1, Name: "Cutter", Circle: &laser},
			{ID: 2, Name: "Drill"},
			{ID: 3, Name: "Lathe", Checkout: &store.Checkout{ID: 7, AccountID: 2, Username: &username, StartedAt: &noon}},
		},
		memberships: []store.Membership{
			{ID: 1, AccountID: 1, Username: &username, StartsOn: &day, Fee: "500.00", Status: "active"},
			{ID: 2, AccountID: 2, StartsOn: &day, EndsOn: &day, Fee: "0.00", Status: "expired"},
		},
	}
}

const awardOfBob = `{"id":9,"badge_id":2,"title":"Tidy","awarded_by":null,"created_at":"2026-01-02T03:04:05Z"}`

func (f *fakeRecords) write(by store.Actor, action string, details ...any) error {
	if f.err != nil {
		return f.err
	}
	if f.writeErr != nil {
		return f.writeErr
	}
	f.written = append(f.written, fmt.Sprintf("%s %d %s %v", by.RequestID, by.AccountID, action, details))
	return nil
}

func find[T any](rows []T, err, missing error, matches func(T) bool) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	if i := slices.IndexFunc(rows, matches); i >= 0 {
		return rows[i], nil
	}
	return none, missing
}

func cut[T any](rows []T, part store.Window) []T {
	total := int64(len(rows))
	return rows[min(part.Offset, total):min(part.Offset+part.Limit, total)]
}

func (f *fakeRecords) account(matches func(store.Account) bool) (store.Account, error) {
	return find(f.accounts, f.err, store.ErrNoAccount, matches)
}

func (f *fakeRecords) AccountByLogin(ctx context.Context, login string) (store.Account, error) {
	if ctx.Err() != nil {
		return store.Account{}, store.ErrUnavailable
	}
	return f.account(func(a store.Account) bool { return a.Username == login || strings.EqualFold(a.Email, login) })
}

func (f *fakeRecords) AccountByEmail(_ context.Context, email string) (store.Account, error) {
	return f.account(func(a store.Account) bool { return strings.EqualFold(a.Email, email) })
}

func (f *fakeRecords) Account(_ context.Context, id int64) (store.Account, error) {
	return f.account(func(a store.Account) bool { return a.ID == id })
}

func (f *fakeRecords) Accounts(_ context.Context, text string, part store.Window) ([]store.Account, int64, error) {
	var found []store.Account
	for _, row := range f.accounts {
		if strings.Contains(row.Username, text) {
			found = append(found, row)
		}
	}
	return cut(found, part), int64(len(found)), f.err
}

func (f *fakeRecords) Circles(_ context.Context, account int64) ([]string, error) {
	return f.circles[account], f.err
}

func (f *fakeRecords) UpdateAccount(ctx context.Context, by store.Actor, id int64, changes store.AccountChanges) (store.Account, error) {
	row, err := f.Account(ctx, id)
	if err != nil {
		return store.Account{}, err
	}
	var fields []string
	if changes.Email != nil {
		if other, err := f.AccountByEmail(ctx, *changes.Email); err == nil && other.ID != id {
			return store.Account{}, store.ErrEmailTaken
		}
		row.Email, fields = *changes.Email, append(fields, "email")
	}
	if changes.Enabled != nil {
		row.Enabled, fields = *changes.Enabled, append(fields, "enabled")
	}
	if changes.Name != nil {
		row.Name, fields = *changes.Name, append(fields, "name")
	}
	f.accounts[slices.IndexFunc(f.accounts, func(a store.Account) bool { return a.ID == id })] = row
	return row, f.write(by, "account.update", id, fields)
}

func (f *fakeRecords) SetPassword(ctx context.Context, by store.Actor, id int64, hash string) error {
	return f.setPassword(ctx, by, "account.password", id, hash)
}

func (f *fakeRecords) setPassword(ctx context.Context, by store.Actor, action string, id int64, hash string) error {
	if _, err := f.Account(ctx, id); err != nil {
		return err
	}
	f.accounts[slices.IndexFunc(f.accounts, func(a store.Account) bool { return a.ID == id })].PasswordHash = hash
	return f.write(by, action, id)
}

func (f *fakeRecords) NoteResetRequest(_ context.Context, by store.Actor, id int64) error {
	return f.write(by, "reset.request", id)
}

func (f *fakeRecords) ResetPassword(ctx context.Context, by store.Actor, id int64, oldHash, newHash string) error {
	if row, err := f.Account(ctx, id); err != nil || row.PasswordHash != oldHash {
		return store.ErrNoAccount
	}
	return f.setPassword(ctx, by, "reset", id, newHash)
}

func (f *fakeRecords) NoteLogin(_ context.Context, by store.Actor, sessionID string, account int64, ttl time.Duration) error {
	return f.write(by, "login", len(sessionID), account, ttl)
}

func (f *fakeRecords) NoteLogout(_ context.Context, by store.Actor, sessionID string, account int64) error {
	return f.write(by, "logout", len(sessionID), account)
}

func (f *fakeRecords) Badges(_ context.Context, part store.Window) ([]store.Badge, int64, error) {
	return cut(f.badges, part), int64(len(f.badges)), f.err
}

func (f *fakeRecords) Badge(_ context.Context, id int64) (store.Badge, error) {
	return find(f.badges, f.err, store.ErrNoBadge, func(b store.Badge) bool { return b.ID == id })
}

func (f *fakeRecords) CreateBadge(_ context.Context, by store.Actor, title string, description *string, circle *int64) (store.Badge, error) {
	if circle != nil && *circle != 1 {
		return store.Badge{}, store.ErrNoCircle
	}
	if slices.ContainsFunc(f.badges, func(b store.Badge) bool { return b.Title == title }) {
		return store.Badge{}, store.ErrTitleTaken
	}
	made := store.Badge{ID: int64(len(f.badges) + 1), Title: title, Description: description, CreatedAt: &noon}
	if circle != nil {
		made.Circle = &laser
	}
	f.badges = append(f.badges, made)
	return made, f.write(by, "badge.create", made.ID)
}

func (f *fakeRecords) AwardBadge(ctx context.Context, by store.Actor, badge, account int64) (store.Award, error) {
	row, err := f.Badge(ctx, badge)
	if err != nil {
		return store.Award{}, err
	}
	giver, err := f.Account(ctx, by.AccountID)
	if err != nil {
		return store.Award{}, err
	}
	made := store.Award{ID: 10, BadgeID: badge, Title: row.Title, AwardedBy: &giver.Username, CreatedAt: &noon}
	f.awards[account] = append([]store.Award{made}, f.awards[account]...)
	return made, f.write(by, "badge.award", made.ID, badge, account)
}

func (f *fakeRecords) Awards(_ context.Context, account, limit int64) ([]store.Award, error) {
	awards := f.awards[account]
	if limit > 0 {
		awards = cut(awards, store.Window{Limit: limit})
	}
	return awards, f.err
}

func (f *fakeRecords) Tools(_ context.Context, part store.Window) ([]store.Tool, int64, error) {
	return cut(f.tools, part), int64(len(f.tools)), f.err
}

func (f *fakeRecords) ToolsHeldBy(_ context.Context, account int64) ([]store.Tool, error) {
	var held []store.Tool
	for _, tool := range f.tools {
		if tool.Checkout != nil && tool.Checkout.AccountID == account {
			held = append(held, tool)
		}
	}
	return held, f.err
}

func (f *fakeRecords) Tool(_ context.Context, id int64) (store.Tool, error) {
	return find(f.tools, f.err, store.ErrNoTool, func(t store.Tool) bool { return t.ID == id })
}

func (f *fakeRecords) CheckOut(ctx context.Context, by store.Actor, id int64) (store.Tool, error) {
	who, err := f.Account(ctx, by.AccountID)
	if err != nil {
		return store.Tool{}, err
	}
	tool := &f.tools[id-1]
	if tool.Checkout != nil {
		return store.Tool{}, store.ErrCheckedOut
	}
	tool.Checkout = &store.Checkout{ID: 8, AccountID: who.ID, Username: &who.Username, StartedAt: &noon}
	return *tool, f.write(by, "tool.checkout", id, 8)
}

func (f *fakeRecords) CheckIn(_ context.Context, by store.Actor, id, checkout int64) (store.Tool, error) {
	tool := &f.tools[id-1]
	if tool.Checkout == nil || tool.Checkout.ID != checkout {
		return store.Tool{}, store.ErrNotCheckedOut
	}
	tool.Checkout = nil
	return *tool, f.write(by, "tool.checkin", id, checkout)
}

func (f *fakeRecords) Memberships(_ context.Context, account *int64, part store.Window) ([]store.Membership, int64, error) {
	var found []store.Membership
	for _, row := range f.memberships {
		if account == nil || row.AccountID == *account {
			found = append(found, row)
		}
	}
	return cut(found, part), int64(len(found)), f.err
}

// fakeMailer keeps the mails.
type fakeMailer struct {
	sent []mail
	err  error
}

func (f *fakeMailer) send(_ context.Context, m mail) error {
	if f.err == nil {
		f.sent = append(f.sent, m)
	}
	return f.err
}

// hookedCalls is the system at the other end of the hook.
type hookedCalls struct {
	url  string
	mu   sync.Mutex
	seen []string
}

func (h *hookedCalls) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

func listenToHook(t *testing.T) *hookedCalls {
	t.Helper()
	calls := &hookedCalls{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls.mu.Lock()
		defer calls.mu.Unlock()
		calls.seen = append(calls.seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Request-ID")+" "+string(body))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	calls.url = server.URL
	return calls
}

func redirecting(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/tools" {
			t.Errorf("the redirect was followed: %s %s", r.Method, r.URL.Path)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
