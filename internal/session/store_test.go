package session

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/session/sessiontest"
)

const (
	id    = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	other = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
)

// interrupted lets the other system act just before each compare-and-set.
type interrupted struct {
	*sessiontest.Memory
	acts []func()
}

func (i *interrupted) CompareAndSet(ctx context.Context, key string, read, value []byte, ttl time.Duration) ([]byte, time.Duration, error) {
	if len(i.acts) > 0 {
		act := i.acts[0]
		i.acts = i.acts[1:]
		act()
	}
	return i.Memory.CompareAndSet(ctx, key, read, value, ttl)
}

func TestStore_UpdateKeepsWhatOthersWrote(t *testing.T) {
	memory := sessiontest.NewMemory()
	backend := &interrupted{Memory: memory, acts: []func(){
		func() { memory.Put("session:"+id, `{"mine": 0, "theirs": 1}`) },
		func() { memory.Put("session:"+id, `{"theirs": 2, "more": [ 3 ]}`) },
	}}
	store := NewStore(backend, time.Hour)
	memory.Put("session:"+id, `{"mine":0}`)
	raw, err := store.Load(t.Context(), id)
	require.NoError(t, err)

	left, err := store.Update(t.Context(), id, raw, Changes{"mine": json.RawMessage("1")})
	require.NoError(t, err)
	assert.Equal(t, time.Hour, left)
	assert.Equal(t, `{"mine":1,"more":[ 3 ],"theirs":2}`, memory.Value("session:"+id))
}

// rival writes before every compare-and-set.
type rival struct {
	*sessiontest.Memory
	written int
}

func (r *rival) CompareAndSet(ctx context.Context, key string, read, value []byte, ttl time.Duration) ([]byte, time.Duration, error) {
	r.written++
	r.Put(key, fmt.Sprintf(`{"theirs":%d}`, r.written))
	return r.Memory.CompareAndSet(ctx, key, read, value, ttl)
}

func TestStore_UpdateGivesUpWhenOthersAreAlwaysQuicker(t *testing.T) {
	backend := &rival{Memory: sessiontest.NewMemory()}
	_, err := NewStore(backend, time.Hour).Update(t.Context(), id, []byte(`{}`), Changes{"mine": json.RawMessage("1")})
	assert.EqualError(t, err, "the session could not be saved: other writers were always quicker")
	assert.Equal(t, 10, backend.written)
}

func TestStore_UpdateDoesNotBringBackWhatWasDeleted(t *testing.T) {
	memory := sessiontest.NewMemory()
	store := NewStore(&interrupted{Memory: memory, acts: []func(){
		func() { require.NoError(t, memory.End(t.Context(), "session:"+id, "ended:"+id, time.Hour)) },
	}}, time.Hour)
	memory.Put("session:"+id, `{}`)

	_, err := store.Update(t.Context(), id, []byte(`{}`), Changes{"mine": json.RawMessage("1")})
	assert.ErrorIs(t, err, ErrGone)
	assert.Zero(t, memory.Keys())
}

func TestStore_UpdateLeavesAloneWhatBecameUnreadable(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+id, `pickle`)
	_, err := NewStore(memory, time.Hour).Update(t.Context(), id, []byte(`{}`), Changes{"mine": json.RawMessage("1")})
	assert.ErrorContains(t, err, "not a JSON object")
	assert.Equal(t, "pickle", memory.Value("session:"+id))
}

func TestStore_CreateTakesNobodysID(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+other, `{"b":1}`)
	store := NewStore(memory, time.Hour)
	require.NoError(t, store.Create(t.Context(), id, "", Record{"a": json.RawMessage("1")}))
	assert.ErrorContains(t, store.Create(t.Context(), id, other, Record{}), "its id is taken")
	assert.Equal(t, `{"a":1}`, memory.Value("session:"+id))
	assert.Equal(t, `{"b":1}`, memory.Value("session:"+other), "nor deletes the old record then")
}

func TestStore_CreateReplacesTheOldRecord(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.Put("session:"+other, `{"b":1}`)
	require.NoError(t, NewStore(memory, time.Hour).Create(t.Context(), id, other, Record{}))
	assert.Equal(t, `{}`, memory.Value("session:"+id))
	assert.Equal(t, 1, memory.Keys())
}

func TestStore_ErrorsSayWhatFailed(t *testing.T) {
	memory := sessiontest.NewMemory()
	memory.SetDown(true)
	store, ctx := NewStore(memory, time.Hour), t.Context()
	_, loadErr := store.Load(ctx, id)
	_, touchErr := store.Touch(ctx, id)
	_, updateErr := store.Update(ctx, id, []byte(`{}`), nil)
	_, endedErr := store.Ended(ctx, id)
	_, claimErr := store.Claim(ctx, "claim", id, nil, time.Hour)
	for _, err := range []error{loadErr, touchErr, store.Create(ctx, id, "", nil), updateErr, store.End(ctx, id), endedErr, claimErr} {
		assert.ErrorIs(t, err, sessiontest.ErrDown)
		assert.Regexp(t, "^the session (from before )?could not be ", err)
	}
}
