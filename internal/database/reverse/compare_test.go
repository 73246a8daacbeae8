package reverse

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// says answers every path alike, or in turn.
type says struct {
	status int
	bodies []string
	asked  atomic.Int64
	err    error
}

func (s *says) Ask(context.Context, string) (Answer, error) {
	n := int(s.asked.Add(1)) - 1
	return Answer{s.status, []byte(s.bodies[min(n, len(s.bodies)-1)])}, s.err
}

func written(paths ...string) (writes []Write) {
	for i, path := range paths {
		write := Write{Number: int64(i + 1), Action: "change", Path: &path}
		if path == "" {
			write.Path = nil
		}
		writes = append(writes, write)
	}
	return writes
}

func TestCompareTellsWhatDiffers(t *testing.T) {
	for name, test := range map[string]struct {
		python, goapp string
		field, was    string
		same          bool
	}{
		"the same":             {python: `{"a":[1,{"b":null}]}`, goapp: `{ "a" : [1, {"b": null}] }`, same: true},
		"another order":        {python: `{"a":1,"b":2}`, goapp: `{"b":2,"a":1}`, same: true},
		"escapes":              {python: `"\u00e5"`, goapp: `"å"`, same: true},
		"a field":              {python: `{"d":{"a":1}}`, goapp: `{"d":{"a":2}}`, field: ".d.a", was: "1"},
		"null against empty":   {python: `{"a":null}`, goapp: `{"a":""}`, field: ".a", was: "null"},
		"null against missing": {python: `{"a":null}`, goapp: `{}`, field: ".a", was: "null"},
		"number against text":  {python: `{"a":"1"}`, goapp: `{"a":1}`, field: ".a", was: `"1"`},
		"1.0 against 1":        {python: `{"a":1.0}`, goapp: `{"a":1}`, field: ".a", was: "1.0"},
		"an element":           {python: `[1,{"x":2}]`, goapp: `[1,{"x":3}]`, field: "[1].x", was: "2"},
		"a longer list":        {python: `{"l":[1]}`, goapp: `{"l":[1,2]}`, field: ".l", was: "[1]"},
		"no JSON":              {python: `<p>`, goapp: `<b>`, was: "<p>"},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := Compare(t.Context(), written("/x", "", "/x"), &says{status: 200, bodies: []string{test.python}}, &says{status: 200, bodies: []string{test.goapp}})
			require.NoError(t, err)
			assert.Equal(t, 3, result.Writes)
			assert.Equal(t, 1, result.Paths, "a path is asked for once")
			assert.Equal(t, 1, result.Unseen)
			if test.same {
				assert.Empty(t, result.Differences)
				return
			}
			require.Len(t, result.Differences, 1)
			assert.Equal(t, test.field, result.Differences[0].Field)
			assert.Equal(t, test.was, result.Differences[0].Python)
			assert.Len(t, result.Differences[0].Writes, 2)
		})
	}
}

func TestCompareWantsItToBeThere(t *testing.T) {
	gone := &says{status: 404, bodies: []string{`{}`}}
	result, err := Compare(t.Context(), written("/x"), gone, gone)
	require.NoError(t, err)
	require.Len(t, result.Differences, 1)
	assert.Equal(t, "status", result.Differences[0].Field)
}

// Somebody writes between the one question and the other.
func TestCompareAsksAgain(t *testing.T) {
	result, err := Compare(t.Context(), written("/x"), &says{status: 200, bodies: []string{`1`, `2`}}, &says{status: 200, bodies: []string{`2`}})
	require.NoError(t, err)
	assert.Empty(t, result.Differences)
}

func TestCompareFailsWhenASystemIsAway(t *testing.T) {
	away := errors.New("away")
	_, err := Compare(t.Context(), written("/x", "/y"), &says{status: 200, bodies: []string{`1`}}, &says{bodies: []string{``}, err: away})
	require.ErrorIs(t, err, away)
}
