package reverse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Asker asks one system for a path as somebody who may read everything.
type Asker interface {
	Ask(ctx context.Context, path string) (Answer, error)
}

// Answer is what a system said.
type Answer struct {
	Status int    `json:"status"`
	Body   []byte `json:"-"`
}

// Difference is a path of which the two systems say different things.
type Difference struct {
	Path   string `json:"path"`
	Field  string `json:"field"` // the first that differs, "status", or "" for all
	Python string `json:"python"`
	Go     string `json:"go"`
	// Writes are those that the path shows.
	Writes []Write `json:"writes"`
}

// Result says how what was written reads.
type Result struct {
	Writes      int          `json:"writes"`
	Paths       int          `json:"paths"`  // that were asked of both
	Unseen      int          `json:"unseen"` // writes that no path shows
	Differences []Difference `json:"differences"`
}

// attempts are made before two answers are taken to differ: others may write
// between the one question and the other.
const attempts = 3

// Compare asks both systems for every path of the writes, and lists where they
// differ or do not show it. The askers must be safe for concurrent use.
func Compare(ctx context.Context, writes []Write, python, goapp Asker) (Result, error) {
	result := Result{Writes: len(writes), Differences: []Difference{}}
	byPath := map[string][]Write{}
	var paths []string
	for _, write := range writes {
		if write.Path == nil {
			result.Unseen++
			continue
		}
		if byPath[*write.Path] == nil {
			paths = append(paths, *write.Path)
		}
		byPath[*write.Path] = append(byPath[*write.Path], write)
	}
	result.Paths = len(paths)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan string, len(paths))
	for _, path := range paths {
		queue <- path
	}
	close(queue)
	var mutex sync.Mutex
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for path := range queue {
				difference, err := comparePath(ctx, path, python, goapp)
				if err != nil {
					cancel(err)
					return
				}
				if difference != nil {
					difference.Writes = byPath[path]
					mutex.Lock()
					result.Differences = append(result.Differences, *difference)
					mutex.Unlock()
				}
			}
		})
	}
	asking.Wait()
	slices.SortFunc(result.Differences, func(a, b Difference) int { return int(a.Writes[0].Number - b.Writes[0].Number) })
	return result, context.Cause(ctx)
}

// Private

func comparePath(ctx context.Context, path string, python, goapp Asker) (*Difference, error) {
	for attempt := 1; ; attempt++ {
		old, err := python.Ask(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("ask python for %s: %w", path, err)
		}
		fresh, err := goapp.Ask(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("ask go for %s: %w", path, err)
		}
		difference := differ(path, old, fresh)
		if difference == nil || attempt == attempts {
			return difference, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(attempt) * 100 * time.Millisecond):
		}
	}
}

// differ compares two answers. That both have not what was written is a
// difference too.
func differ(path string, old, fresh Answer) *Difference {
	if old.Status != fresh.Status || old.Status != http.StatusOK {
		return &Difference{Path: path, Field: "status", Python: fmt.Sprint(old.Status), Go: fmt.Sprint(fresh.Status)}
	}
	was, err := decode(old.Body)
	is, err2 := decode(fresh.Body)
	if errors.Join(err, err2) != nil {
		if bytes.Equal(old.Body, fresh.Body) {
			return nil
		}
		return &Difference{Path: path, Python: short(string(old.Body)), Go: short(string(fresh.Body))}
	}
	field, a, b := firstDifference("", was, is)
	if field == "" && reflect.DeepEqual(was, is) {
		return nil
	}
	return &Difference{Path: path, Field: field, Python: short(encode(a)), Go: short(encode(b))}
}

func decode(text []byte) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // 1.0 is not 1, and no digit is lost
	err = decoder.Decode(&value)
	return value, err
}

// firstDifference finds where two JSON values part.
func firstDifference(at string, a, b any) (field string, was, is any) {
	if reflect.DeepEqual(a, b) {
		return "", nil, nil
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			break
		}
		names := make([]string, 0, len(a)+len(b))
		for name := range a {
			names = append(names, name)
		}
		for name := range b {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			inA, hasA := a[name]
			inB, hasB := b[name]
			if hasA != hasB {
				return at + "." + name, inA, inB
			}
			if !reflect.DeepEqual(inA, inB) {
				return firstDifference(at+"."+name, inA, inB)
			}
		}
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range a {
			if !reflect.DeepEqual(a[i], b[i]) {
				return firstDifference(fmt.Sprintf("%s[%d]", at, i), a[i], b[i])
			}
		}
	}
	return at, a, b
}

func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func short(text string) string {
	const limit = 200
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}
