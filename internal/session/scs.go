package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cutover-dev/cutover/internal/flaskcookie"
)

// scs holds the values of one request and knows whether they were changed.
// Two things of it do not fit a record that another system writes as well, and
// are replaced here: its codec (gob), and its habit to overwrite what is
// stored. Its LoadAndSave and IdleTimeout are not used, because they rewrite
// records that nobody changed.

// codec turns a record into scs's values, each a json.RawMessage, and back.
type codec struct {
	ttl time.Duration
}

// Encode implements scs.Codec. The deadline is Redis' business.
func (codec) Encode(_ time.Time, values map[string]any) ([]byte, error) {
	record := make(Record, len(values))
	for key, value := range values {
		raw, ok := value.(json.RawMessage)
		if !ok {
			return nil, fmt.Errorf("the session value %q is a %T, not JSON", key, value)
		}
		record[key] = raw
	}
	return record.Encode(), nil
}

// Decode implements scs.Codec.
func (c codec) Decode(data []byte) (time.Time, map[string]any, error) {
	record, err := ParseRecord(data)
	if err != nil {
		return time.Time{}, nil, err
	}
	values := make(map[string]any, len(record))
	for key, raw := range record {
		values[key] = raw
	}
	return time.Now().Add(c.ttl), values, nil
}

// visit is one request's session as it was found, and what its answer has to
// tell the browser. It travels in the request's context, so that the commit can
// tell what the request changed.
type visit struct {
	id        string // as the cookie has it, "" if it has none
	raw       []byte // the record, nil if there is none
	left      time.Duration
	replaced  bool // to be ended when the new record is written, not before
	abandoned bool // nothing of the request is to be kept

	old    *flaskcookie.Cookie // a session from before the migration that came along
	token  string              // a remember_token that came along
	secure bool                // whether the browser came over TLS

	announce bool   // the user's cookie is to be sent: the session is new to the browser
	dropOld  bool   // the old session's cookie is to be expired
	remember string // a remember_token that is to be sent
	forget   bool   // the remember_token is to be expired
}

type visitKey struct{}

func visitFrom(ctx context.Context) *visit {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return &visit{}
	}
	return v
}

// ctxStore implements scs.CtxStore.
type ctxStore struct {
	store *Store
}

// FindCtx loads a record. One that is not a JSON object counts as unknown.
func (c ctxStore) FindCtx(ctx context.Context, id string) ([]byte, bool, error) {
	raw, err := c.store.Load(ctx, id)
	if err != nil || raw == nil {
		return nil, false, err
	}
	if _, err := ParseRecord(raw); err != nil {
		return nil, false, nil
	}
	visitFrom(ctx).raw = raw
	return raw, true, nil
}

// CommitCtx writes what the request changed, or a new record.
func (c ctxStore) CommitCtx(ctx context.Context, id string, data []byte, _ time.Time) error {
	after, err := ParseRecord(data)
	if err != nil {
		return err
	}
	v := visitFrom(ctx)
	if v.id != id {
		v.left = c.store.ttl
		return c.store.Create(ctx, id, v.id, after)
	}
	before, err := ParseRecord(v.raw)
	if err != nil {
		return err
	}
	v.left, err = c.store.Update(ctx, id, v.raw, Diff(before, after))
	return err
}

// DeleteCtx deletes a record. scs asks for it even when there was none.
func (c ctxStore) DeleteCtx(ctx context.Context, id string) error {
	if id == "" || visitFrom(ctx).replaced {
		return nil
	}
	return c.store.End(ctx, id)
}

// scs asks for the three below by type, but never calls them on a CtxStore.
var errNoContext = errors.New("the session store needs the request's context")

func (ctxStore) Find(string) ([]byte, bool, error)      { return nil, false, errNoContext }
func (ctxStore) Commit(string, []byte, time.Time) error { return errNoContext }
func (ctxStore) Delete(string) error                    { return errNoContext }
