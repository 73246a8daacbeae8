package flaskcookie

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Private

// appendValue writes a value as Flask's serializer does: marked where JSON has
// no such type, names in order, nothing but ASCII, no blanks.
func appendValue(out []byte, value any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the session is nested more than %d times", maxDepth)
	}
	switch v := value.(type) {
	case nil:
		return append(out, "null"...), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case int:
		return strconv.AppendInt(out, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(out, v, 10), nil
	case *big.Int:
		return v.Append(out, 10), nil
	case float64:
		return appendFloat(out, v), nil
	case string:
		return appendText(out, v), nil
	case []any:
		return appendList(out, v, depth)
	case map[string]any:
		return appendObject(out, v, depth)
	case Tuple:
		return appendTagged(out, tagTuple, []any(v), depth)
	case Bytes:
		return appendTagged(out, tagBytes, base64.StdEncoding.EncodeToString(v), depth)
	case Markup:
		return appendTagged(out, tagMarkup, string(v), depth)
	case UUID:
		return appendTagged(out, tagUUID, hex.EncodeToString(v[:]), depth)
	case time.Time:
		return appendTagged(out, tagTime, httpDate(v), depth)
	}
	return nil, fmt.Errorf("a session cookie cannot hold a %T", value)
}

func appendTagged(out []byte, tag string, value any, depth int) ([]byte, error) {
	out = append(appendText(append(out, '{'), tag), ':')
	out, err := appendValue(out, value, depth+1)
	return append(out, '}'), err
}

func appendList(out []byte, list []any, depth int) (_ []byte, err error) {
	out = append(out, '[')
	for i, item := range list {
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = appendValue(out, item, depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

func appendObject(out []byte, object map[string]any, depth int) (_ []byte, err error) {
	if len(object) == 1 {
		for name, value := range object {
			if isTag(name) {
				// The inner object's name is none of the tags, and passes.
				return appendTagged(out, tagDict, map[string]any{name + "__": value}, depth)
			}
		}
	}
	out = append(out, '{')
	for i, name := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendText(out, name), ':')
		if out, err = appendValue(out, object[name], depth+1); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

// appendFloat writes a number as Python's repr does: the fewest digits that
// tell it from every other, and an exponent below 1e-4 and from 1e16.
func appendFloat(out []byte, number float64) []byte {
	switch {
	case math.IsNaN(number):
		return append(out, "NaN"...)
	case math.IsInf(number, 1):
		return append(out, "Infinity"...)
	case math.IsInf(number, -1):
		return append(out, "-Infinity"...)
	}
	if size := math.Abs(number); size != 0 && (size < 1e-4 || size >= 1e16) {
		return strconv.AppendFloat(out, number, 'e', -1, 64)
	}
	digits := strconv.AppendFloat(nil, number, 'f', -1, 64)
	if !bytes.ContainsRune(digits, '.') {
		digits = append(digits, '.', '0')
	}
	return append(out, digits...)
}

func appendText(out []byte, text string) []byte {
	out = append(out, '"')
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		if c == utf8.RuneError && size == 1 {
			c, size = halfCharacter(text[i:])
		}
		i += size
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', byte(c))
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\r':
			out = append(out, `\r`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c == '\f':
			out = append(out, `\f`...)
		case c == '\b':
			out = append(out, `\b`...)
		case c >= ' ' && c < 0x7f:
			out = append(out, byte(c))
		case c > 0xffff:
			first, second := utf16.EncodeRune(c)
			out = appendEscape(appendEscape(out, first), second)
		default:
			out = appendEscape(out, c)
		}
	}
	return append(out, '"')
}

// halfCharacter reads what appendUnit writes for half a character; any other
// byte that is not UTF-8 becomes the replacement character.
func halfCharacter(text string) (rune, int) {
	if len(text) >= 3 && text[0] == 0xed && text[1] >= 0xa0 && text[1] <= 0xbf && text[2]&0xc0 == 0x80 {
		return 0xd000 | rune(text[1]&0x3f)<<6 | rune(text[2]&0x3f), 3
	}
	return utf8.RuneError, 1
}

func appendEscape(out []byte, unit rune) []byte {
	const digits = "0123456789abcdef"
	return append(out, '\\', 'u', digits[unit>>12&0xf], digits[unit>>8&0xf], digits[unit>>4&0xf], digits[unit&0xf])
}
