package goapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"unicode/utf8"
)

var errMalformed = errors.New("the text is not the JSON object that is wanted")

// field is a wanted member of a JSON object.
type field[T string | int64 | bool] struct {
	nullable bool
	given    bool
	value    *T // nil: null, or not given
}

// or returns the field's value, else what stands for none.
func (f *field[T]) or(none T) T {
	if f.value == nil {
		return none
	}
	return *f.value
}

func (f *field[T]) read(raw json.RawMessage) error {
	f.given, f.value = true, nil
	if string(raw) == "null" {
		if f.nullable {
			return nil
		}
		return errMalformed
	}
	var value T
	if !utf8.Valid(raw) || json.Unmarshal(raw, &value) != nil {
		return errMalformed
	}
	f.value = &value
	return nil
}

type reader interface{ read(json.RawMessage) error }

// readObject reads the wanted fields of a JSON object, as strictly and as
// leniently as the legacy system: names have their case, every one of a name
// that comes twice must be of the right type, and nothing is asked of the
// values that nobody wants but that they are JSON.
func readObject(document []byte, wanted map[string]reader) error {
	if !json.Valid(document) || hasLoneSurrogate(document) {
		return errMalformed
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return errMalformed
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		if field, ok := wanted[name.(string)]; ok {
			if err := field.read(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// escapes matches a pair of surrogates, one that is alone (the group), or any
// other escape.
var escapes = regexp.MustCompile(`\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)`)

// hasLoneSurrogate reports whether valid JSON has half a character, for which
// encoding/json would put another one.
func hasLoneSurrogate(document []byte) bool {
	return slices.ContainsFunc(escapes.FindAllSubmatch(document, -1), func(match [][]byte) bool {
		return match[1] != nil
	})
}
