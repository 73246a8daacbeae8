package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Private

// What JSON can say and the legacy system does not read. Each system reads only
// what both read: a record that one of them could not read would be logged out
// by being moved.
var (
	errNotUTF8  = errors.New("it is not UTF-8")
	errHalf     = errors.New("it holds half a character")
	errTooDeep  = errors.New("it is nested too deeply")
	errTooLarge = errors.New("it holds a number that is too large")
)

// maxDepth is deeper than any session, and less than either system's limit.
const maxDepth = 1000

// maxDigits is Python's limit for whole numbers.
const maxDigits = 4300

// strict checks valid JSON by the rules of the legacy system's codec (msgspec).
func strict(document []byte) error {
	if !utf8.Valid(document) {
		return errNotUTF8
	}
	depth := 0
	for i := 0; i < len(document); {
		switch c := document[i]; {
		case c == '"':
			end, err := strictText(document, i+1)
			if err != nil {
				return err
			}
			i = end
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(document) && bytes.IndexByte([]byte("0123456789.eE+-"), document[end]) >= 0 {
				end++
			}
			if !fits(document[i:end]) {
				return errTooLarge
			}
			i = end
		default:
			switch c {
			case '{', '[':
				if depth++; depth > maxDepth {
					return errTooDeep
				}
			case '}', ']':
				depth--
			}
			i++
		}
	}
	return nil
}

// strictText returns where the text that begins at i ends.
func strictText(document []byte, i int) (int, error) {
	for document[i] != '"' {
		if document[i] != '\\' {
			i++
			continue
		}
		if document[i+1] != 'u' {
			i += 2
			continue
		}
		switch unit := escaped(document, i); {
		case unit >= 0xd800 && unit <= 0xdbff:
			if next := escaped(document, i+6); next < 0xdc00 || next > 0xdfff {
				return 0, errHalf
			}
			i += 12
		case unit >= 0xdc00 && unit <= 0xdfff:
			return 0, errHalf
		default:
			i += 6
		}
	}
	return i + 1, nil
}

// escaped reads the escape at i, -1 if there is none.
func escaped(document []byte, i int) int64 {
	if i+6 > len(document) || document[i] != '\\' || document[i+1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseInt(string(document[i+2:i+6]), 16, 32)
	if err != nil {
		return -1
	}
	return unit
}

func fits(number []byte) bool {
	if !bytes.ContainsAny(number, ".eE") {
		return len(bytes.TrimLeft(number, "-")) <= maxDigits
	}
	_, err := strconv.ParseFloat(string(number), 64)
	return err == nil
}

// loose reads a JSON object as generously as Go does, which puts another
// character for half a one, and for a number that is too large null.
func loose(data []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	if decoder.More() || object == nil {
		return nil, errors.New("it is not one JSON object")
	}
	for name, value := range object {
		object[name] = fitting(value)
	}
	return object, nil
}

func fitting(value any) any {
	switch v := value.(type) {
	case json.Number:
		if !fits([]byte(v)) {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = fitting(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = fitting(v[name])
		}
	}
	return value
}
