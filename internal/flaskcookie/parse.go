package flaskcookie

import (
	"math"
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Python's json takes more than JSON: NaN, Infinity, numbers of any size, and
// half a character. encoding/json would refuse or change them.

// Private

// maxDepth is deeper than any session, and less than what Python's stack takes.
const maxDepth = 500

// maxDigits is Python's own limit for whole numbers.
const maxDigits = 4300

// parse reads a session as Flask's serializer does.
func parse(document []byte) (any, error) {
	if !utf8.Valid(document) {
		return nil, ErrInvalid
	}
	p := parser{text: document}
	p.space()
	value, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.at != len(p.text) {
		return nil, ErrInvalid
	}
	return value, nil
}

type parser struct {
	text []byte
	at   int
}

func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0 // which is not JSON anywhere
}

func (p *parser) space() {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return
		}
	}
}

func (p *parser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

func (p *parser) word(word string) bool {
	if end := p.at + len(word); end <= len(p.text) && string(p.text[p.at:end]) == word {
		p.at = end
		return true
	}
	return false
}

func (p *parser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, ErrInvalid
	}
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.list(depth)
	case c == '"':
		return p.str()
	case c == '-' && p.word("-Infinity"):
		return math.Inf(-1), nil
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	case p.word("true"):
		return true, nil
	case p.word("false"):
		return false, nil
	case p.word("null"):
		return nil, nil
	case p.word("NaN"):
		return math.NaN(), nil
	case p.word("Infinity"):
		return math.Inf(1), nil
	}
	return nil, ErrInvalid
}

func (p *parser) object(depth int) (any, error) {
	p.at++
	object := map[string]any{}
	p.space()
	if p.take('}') {
		return object, nil
	}
	for {
		name, err := p.str()
		if err != nil {
			return nil, err
		}
		p.space()
		if !p.take(':') {
			return nil, ErrInvalid
		}
		p.space()
		if object[name], err = p.value(depth + 1); err != nil {
			return nil, err
		}
		p.space()
		if p.take('}') {
			if len(object) == 1 && isTag(name) {
				return untag(name, object[name])
			}
			return object, nil
		}
		if !p.take(',') {
			return nil, ErrInvalid
		}
		p.space()
	}
}

func (p *parser) list(depth int) (any, error) {
	p.at++
	list := []any{}
	p.space()
	if p.take(']') {
		return list, nil
	}
	for {
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
		p.space()
		if p.take(']') {
			return list, nil
		}
		if !p.take(',') {
			return nil, ErrInvalid
		}
		p.space()
	}
}

func (p *parser) number() (any, error) {
	start := p.at
	p.take('-')
	switch c := p.peek(); {
	case c == '0':
		p.at++
	case '1' <= c && c <= '9':
		p.digits()
	default:
		return nil, ErrInvalid
	}
	whole := true
	if p.peek() == '.' {
		p.at++
		if p.digits() == 0 {
			return nil, ErrInvalid
		}
		whole = false
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if p.digits() == 0 {
			return nil, ErrInvalid
		}
		whole = false
	}
	literal := string(p.text[start:p.at])
	if !whole {
		number, _ := strconv.ParseFloat(literal, 64) // beyond its range it is infinite, as in Python
		return number, nil
	}
	if number, err := strconv.ParseInt(literal, 10, 64); err == nil {
		return number, nil
	}
	if len(literal) > maxDigits {
		return nil, ErrInvalid
	}
	number, _ := new(big.Int).SetString(literal, 10) // only digits are in it
	return number, nil
}

func (p *parser) digits() (count int) {
	for c := p.peek(); '0' <= c && c <= '9'; c = p.peek() {
		p.at++
		count++
	}
	return count
}

// str reads a string. Most have no escape and are taken as they are.
func (p *parser) str() (string, error) {
	if !p.take('"') {
		return "", ErrInvalid
	}
	start := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return string(p.text[start : p.at-1]), nil
		case c == '\\':
			return p.escaped(append([]byte(nil), p.text[start:p.at]...))
		case c < ' ':
			return "", ErrInvalid
		}
		p.at++
	}
	return "", ErrInvalid
}

func (p *parser) escaped(text []byte) (string, error) {
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '"':
			return string(text), nil
		case c < ' ':
			return "", ErrInvalid
		case c != '\\':
			text = append(text, c)
			continue
		}
		escape := p.peek()
		p.at++
		switch escape {
		case '"', '\\', '/':
			text = append(text, escape)
		case 'b':
			text = append(text, '\b')
		case 'f':
			text = append(text, '\f')
		case 'n':
			text = append(text, '\n')
		case 'r':
			text = append(text, '\r')
		case 't':
			text = append(text, '\t')
		case 'u':
			unit, ok := p.unit()
			if !ok {
				return "", ErrInvalid
			}
			text = appendUnit(text, p.pair(unit))
		default:
			return "", ErrInvalid
		}
	}
	return "", ErrInvalid
}

// unit reads the four digits of an escape.
func (p *parser) unit() (rune, bool) {
	if p.at+4 > len(p.text) {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(p.text[p.at:p.at+4]), 16, 16)
	if err != nil {
		return 0, false
	}
	p.at += 4
	return rune(unit), true
}

// pair joins the first half of a character with the second, if that follows.
func (p *parser) pair(first rune) rune {
	if first < 0xd800 || first > 0xdbff || !p.word(`\u`) {
		return first
	}
	back := p.at - 2
	if second, ok := p.unit(); ok {
		if joined := utf16.DecodeRune(first, second); joined != utf8.RuneError {
			return joined
		}
	}
	p.at = back
	return first
}

// appendUnit writes a character in UTF-8, and half a one in the form that it
// would have there (WTF-8).
func appendUnit(text []byte, c rune) []byte {
	if utf16.IsSurrogate(c) {
		return append(text, 0xe0|byte(c>>12), 0x80|byte(c>>6)&0xbf, 0x80|byte(c)&0xbf)
	}
	return utf8.AppendRune(text, c)
}
