package flaskcookie

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/mail"
	"strings"
	"time"
)

// The types of Python that JSON does not have, and that Flask marks.
type (
	// Tuple is a tuple.
	Tuple []any
	// Bytes is a bytes object.
	Bytes []byte
	// Markup is a text that is HTML already.
	Markup string
	// UUID is a uuid.UUID.
	UUID [16]byte
)

// String returns the usual form, with hyphens.
func (u UUID) String() string {
	text := hex.EncodeToString(u[:])
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}

// Private

// Flask writes a value that it marks as an object with one of these names
// alone; an object that looks so by accident is marked itself.
const (
	tagDict   = " di"
	tagTuple  = " t"
	tagBytes  = " b"
	tagMarkup = " m"
	tagUUID   = " u"
	tagTime   = " d"
)

func isTag(name string) bool {
	switch name {
	case tagDict, tagTuple, tagBytes, tagMarkup, tagUUID, tagTime:
		return true
	}
	return false
}

// untag turns a marked object into what it stands for.
func untag(tag string, value any) (any, error) {
	switch tag {
	case tagDict:
		if object, ok := value.(map[string]any); ok && len(object) == 1 {
			for name, inner := range object {
				return map[string]any{cutTwo(name): inner}, nil
			}
		}
	case tagTuple:
		if list, ok := value.([]any); ok {
			return Tuple(list), nil
		}
	default:
		if text, ok := value.(string); ok {
			return untagText(tag, text)
		}
	}
	return nil, ErrInvalid
}

func untagText(tag, text string) (any, error) {
	switch tag {
	case tagBytes:
		content, ok := decodeBase64(text)
		if !ok {
			return nil, ErrInvalid
		}
		return Bytes(content), nil
	case tagMarkup:
		return Markup(text), nil
	case tagUUID:
		return parseUUID(text)
	default:
		return parseTime(text), nil
	}
}

// cutTwo drops the two characters that Flask puts behind a name.
func cutTwo(name string) string {
	characters := []rune(name)
	return string(characters[:max(0, len(characters)-2)])
}

// parseTime returns nil for a text that is no date, as werkzeug does.
func parseTime(text string) any {
	if at, err := http.ParseTime(text); err == nil {
		return at.UTC()
	}
	if at, err := mail.ParseDate(text); err == nil {
		return at.UTC()
	}
	return nil
}

func httpDate(at time.Time) string { return at.UTC().Format(http.TimeFormat) }

func parseUUID(text string) (any, error) {
	digits := strings.NewReplacer("urn:", "", "uuid:", "").Replace(text)
	digits = strings.ReplaceAll(strings.Trim(digits, "{}"), "-", "")
	content, err := hex.DecodeString(digits)
	if err != nil || len(content) != len(UUID{}) {
		return nil, ErrInvalid
	}
	return UUID(content), nil
}

// decodeBase64 reads what Python's base64.b64decode reads: whatever is not of
// the alphabet is skipped, and what follows the padding is not looked at.
func decodeBase64(text string) ([]byte, bool) {
	kept := make([]byte, 0, len(text))
	pads := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '=':
			pads++
			if used := len(kept) % 4; used >= 2 && used+pads >= 4 {
				content, err := base64.RawStdEncoding.DecodeString(string(kept))
				return content, err == nil
			}
		case isBase64(c):
			pads = 0
			kept = append(kept, c)
		}
	}
	if len(kept)%4 != 0 {
		return nil, false
	}
	content, err := base64.RawStdEncoding.DecodeString(string(kept))
	return content, err == nil
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}
