package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

// Unreadable is a record that one of the systems cannot read. It is left where
// it is.
type Unreadable struct {
	ID    string `json:"id"`
	Form  string `json:"form"` // json, msgpack, pickle or unknown
	Bytes int    `json:"bytes"`
	Why   string `json:"why"`
}

// Census is what a walk over all records found.
type Census struct {
	Total     int
	Creators  map[string]int // by created_by, "" where nobody says so
	Migrated  int            // taken over from before the migration
	Users     int            // that somebody is logged in with
	Python    int            // that python can read
	Go        int            // that Go can read
	Converted int            // that both can read since
	// Unreadable are those that at least one of them cannot read.
	Unreadable []Unreadable
}

// Target is the system for which a walk converts what it cannot read; "" only
// looks.
type Target string

// The targets.
const (
	Look     Target = ""
	ToPython Target = "python"
	ToGo     Target = "go"
)

// Take walks over all records without holding Redis up: SCAN finds two thousand
// at a time, and they are fetched together. Both systems write the same form, so
// that there is nothing to convert but what another program left: JSON that
// only Go takes, and MessagePack, which Flask-Session writes unless it is told
// not to. A record that somebody writes meanwhile is left to them. progress is
// told how many were seen, now and then.
func Take(ctx context.Context, client redis.UniversalClient, target Target, progress func(total int)) (Census, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan []string)
	var scanErr error
	go func() {
		defer close(batches)
		scanErr = scan(ctx, client, batches)
	}()
	w := &walk{backend: NewRedis(client, dialLimit), client: client, target: target, progress: progress, census: Census{Creators: map[string]int{}}}
	var all sync.WaitGroup
	for range max(runtime.GOMAXPROCS(0), 2) {
		all.Go(func() {
			for keys := range batches {
				if err := w.read(ctx, keys); err != nil {
					w.fail(err)
					cancel()
				}
			}
		})
	}
	all.Wait()
	if w.err != nil {
		return Census{}, w.err
	}
	if scanErr != nil {
		return Census{}, fmt.Errorf("the sessions could not be read: %w", scanErr)
	}
	return w.census, nil
}

// Detail is one record for a person to look at. It holds no value that an
// application put there, but for the keys that both systems know.
type Detail struct {
	Exists   bool
	Ended    bool // by a logout or a login, not long ago
	UserID   string
	Creator  string
	Fresh    bool
	Migrated bool
	Bytes    int
	Left     time.Duration
	Keys     map[string]int // the length of each value
	Problem  *Unreadable    // nil if both systems can read it
}

// LookAt returns what there is to know of one record.
func LookAt(ctx context.Context, client redis.UniversalClient, id string) (Detail, error) {
	backend := NewRedis(client, dialLimit)
	raw, err := backend.Get(ctx, key(id))
	if err != nil {
		return Detail{}, fmt.Errorf("the session could not be read: %w", err)
	}
	if raw == nil {
		ended, err := NewStore(backend, 0).Ended(ctx, id)
		return Detail{Ended: ended}, err
	}
	left, err := client.PTTL(ctx, key(id)).Result()
	if err != nil {
		return Detail{}, fmt.Errorf("the session could not be read: %w", err)
	}
	record, err := ParseRecord(raw)
	if err != nil {
		problem := judge(id, raw, err)
		return Detail{Exists: true, Bytes: len(raw), Left: left, Problem: &problem}, nil
	}
	detail := Detail{
		Exists: true, UserID: record.Text(keyUserID), Creator: record.Text(keyCreatedBy), Fresh: string(record[keyFresh]) == "true",
		Migrated: string(record[keyMigrated]) == "true", Bytes: len(raw), Left: left, Keys: map[string]int{},
	}
	for name, value := range record {
		detail.Keys[name] = len(value)
	}
	return detail, nil
}

// Private

const (
	scanCount    = 2000
	progressStep = 50_000
)

// scan sends the keys of all records, each at least once.
func scan(ctx context.Context, client redis.UniversalClient, batches chan<- []string) error {
	var cursor uint64
	seen := map[string]struct{}{}
	for {
		keys, next, err := client.Scan(ctx, cursor, keyPrefix+"*", scanCount).Result()
		if err != nil {
			return err
		}
		// Redis returns some twice while it moves its tables.
		fresh := keys[:0]
		for _, key := range keys {
			if _, again := seen[key]; !again {
				seen[key] = struct{}{}
				fresh = append(fresh, key)
			}
		}
		if len(fresh) > 0 {
			select {
			case batches <- fresh:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

type walk struct {
	backend  *Redis
	client   redis.UniversalClient
	target   Target
	progress func(int)

	mu     sync.Mutex
	census Census
	shown  int
	err    error
}

func (w *walk) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *walk) read(ctx context.Context, keys []string) error {
	values, err := w.client.MGet(ctx, keys...).Result()
	if err != nil {
		return fmt.Errorf("the sessions could not be read: %w", err)
	}
	part := Census{Creators: map[string]int{}}
	for i, value := range values {
		text, ok := value.(string)
		if !ok {
			kind, err := w.client.Type(ctx, keys[i]).Result()
			if err != nil {
				return fmt.Errorf("the sessions could not be read: %w", err)
			}
			if kind != "none" { // which has expired since
				part.Total++
				part.Unreadable = append(part.Unreadable, Unreadable{ID: strings.TrimPrefix(keys[i], keyPrefix), Form: formUnknown, Why: "it is a " + kind})
			}
			continue
		}
		if err := w.count(ctx, &part, strings.TrimPrefix(keys[i], keyPrefix), []byte(text)); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.census.add(part)
	if w.progress != nil && w.census.Total-w.shown >= progressStep {
		w.shown = w.census.Total
		w.progress(w.shown)
	}
	return nil
}

func (w *walk) count(ctx context.Context, part *Census, id string, raw []byte) error {
	record, err := ParseRecord(raw)
	if err != nil {
		problem := judge(id, raw, err)
		converted, convertErr := w.convert(ctx, problem, raw)
		if convertErr != nil {
			return convertErr
		}
		if converted == nil {
			part.Total++
			part.Unreadable = append(part.Unreadable, problem)
			return nil
		}
		part.Converted++
		record = converted
	}
	part.Total++
	part.Python++
	part.Go++
	part.Creators[record.Text(keyCreatedBy)]++
	if string(record[keyMigrated]) == "true" {
		part.Migrated++
	}
	if record.Text(keyUserID) != "" {
		part.Users++
	}
	return nil
}

// convert writes a record in the form that both systems read. It returns nil if
// that is not wanted or cannot be done.
func (w *walk) convert(ctx context.Context, problem Unreadable, raw []byte) (Record, error) {
	if w.target == Look {
		return nil, nil
	}
	var values map[string]any
	var err error
	switch problem.Form {
	case formJSON:
		values, err = loose(raw)
	case formMsgpack:
		values, err = unpack(raw)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, nil
	}
	encoded, err := json.Marshal(values)
	if err != nil {
		return nil, nil // what is in it has no form in JSON
	}
	record, err := ParseRecord(encoded)
	if err != nil {
		return nil, nil
	}
	// It lives on as long as it did: no record lives shorter than this.
	found, _, err := w.backend.CompareAndSet(ctx, key(problem.ID), raw, encoded, time.Millisecond)
	switch {
	case err != nil:
		return nil, fmt.Errorf("a session could not be converted: %w", err)
	case string(found) != string(raw):
		return nil, nil // somebody else has written it meanwhile
	}
	return record, nil
}

func (c *Census) add(part Census) {
	c.Total += part.Total
	c.Migrated += part.Migrated
	c.Users += part.Users
	c.Python += part.Python
	c.Go += part.Go
	c.Converted += part.Converted
	c.Unreadable = append(c.Unreadable, part.Unreadable...)
	for creator, count := range part.Creators {
		c.Creators[creator] += count
	}
}

const (
	formJSON    = "json"
	formMsgpack = "msgpack"
	formPickle  = "pickle"
	formUnknown = "unknown"
)

// judge says what a record that cannot be read looks like.
func judge(id string, raw []byte, why error) Unreadable {
	found := Unreadable{ID: id, Form: formUnknown, Bytes: len(raw), Why: why.Error()}
	switch {
	case json.Valid(raw):
		found.Form = formJSON
	case len(raw) > 2 && raw[0] == 0x80 && raw[1] <= 5 && raw[len(raw)-1] == '.':
		// Loading one can run any program, so nobody does.
		found.Form = formPickle
	default:
		if _, err := unpack(raw); err == nil {
			found.Form = formMsgpack
		}
	}
	return found
}

// unpack reads MessagePack as Flask-Session does.
func unpack(raw []byte) (values map[string]any, err error) {
	decoder := msgpack.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseLooseInterfaceDecoding(true)
	if err := decoder.Decode(&values); err != nil {
		return nil, err
	}
	if _, err := decoder.PeekCode(); err == nil || values == nil {
		return nil, errors.New("it is not one map")
	}
	for name := range values {
		if !utf8.ValidString(name) {
			return nil, errNotUTF8
		}
	}
	return values, nil
}
