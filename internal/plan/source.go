package plan

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Private

// enough faults are reported; who has more mends these first.
const enough = 50

// place is the way to a value: names of keys and numbers of entries.
type place []any

func (p place) to(next ...any) place {
	return append(slices.Clone(p), next...)
}

// source is the text of a plan, and what is wrong with it.
type source struct {
	name   string
	text   []byte
	tree   *ast.File
	faults []fault
}

type fault struct {
	line, column int
	message      string
}

// newSource parses the text as YAML; what is no YAML has no further faults.
func newSource(name string, text []byte) (*source, error) {
	switch {
	case !utf8.Valid(text):
		return nil, fmt.Errorf("%s:1:1: the plan is not UTF-8 text", name)
	case len(bytes.TrimSpace(text)) == 0:
		return nil, fmt.Errorf("%s:1:1: the plan is empty; cutover init writes one to start from", name)
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, located(name, text, err)
	}
	s := &source{name: name, text: text, tree: tree}
	switch {
	case len(tree.Docs) == 0 || tree.Docs[0].Body == nil:
		return nil, fmt.Errorf("%s:1:1: the plan is empty; cutover init writes one to start from", name)
	case len(tree.Docs) > 1:
		at := tree.Docs[1].GetToken()
		if at == nil {
			at = tree.Docs[1].Body.GetToken()
		}
		s.failAt(at, "a plan is one document, and this begins another one")
		return nil, s.faulty()
	}
	return s, nil
}

// fail records a fault of the value at a place. One that is not there is
// reported at its nearest parent that is.
func (s *source) fail(at place, format string, args ...any) {
	s.failAt(s.find(at, false), format, args...)
}

// failKey records a fault of the key at a place.
func (s *source) failKey(at place, format string, args ...any) {
	s.failAt(s.find(at, true), format, args...)
}

// faulty is all that is wrong, in the order of the text; nil if nothing is.
func (s *source) faulty() error {
	slices.SortStableFunc(s.faults, func(a, b fault) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.column - b.column
	})
	var all []error
	for _, f := range s.faults {
		if len(all) == enough {
			all = append(all, fmt.Errorf("%s: and %d faults more", s.name, len(s.faults)-enough))
			break
		}
		all = append(all, fmt.Errorf("%s:%d:%d: %s\n%s", s.name, f.line, f.column, f.message, caret(s.text, f.line, f.column)))
	}
	return errors.Join(all...)
}

// failAt records a fault; a second one of the same place follows from the first.
func (s *source) failAt(at *token.Token, format string, args ...any) {
	f := fault{line: 1, column: 1, message: fmt.Sprintf(format, args...)}
	if at != nil && at.Position != nil {
		f.line, f.column = at.Position.Line, at.Position.Column
	}
	if !slices.ContainsFunc(s.faults, func(other fault) bool { return other.line == f.line && other.column == f.column }) {
		s.faults = append(s.faults, f)
	}
}

// find follows a place as far as it goes.
func (s *source) find(at place, key bool) *token.Token {
	node := s.tree.Docs[0].Body
	found := start(node)
	for i, segment := range at {
		switch n := bare(node).(type) {
		case *ast.MappingNode:
			value := entry(n.Values, segment)
			if value == nil {
				return found
			}
			node, found = value.Value, start(value.Value)
			if key && i == len(at)-1 || found == nil {
				found = value.Key.GetToken()
			}
		case *ast.MappingValueNode:
			value := entry([]*ast.MappingValueNode{n}, segment)
			if value == nil {
				return found
			}
			node, found = value.Value, start(value.Value)
			if key && i == len(at)-1 || found == nil {
				found = value.Key.GetToken()
			}
		case *ast.SequenceNode:
			number, ok := segment.(int)
			if !ok || number >= len(n.Values) {
				return found
			}
			node = n.Values[number]
			found = start(node)
		default:
			return found
		}
	}
	return found
}

func entry(values []*ast.MappingValueNode, key any) *ast.MappingValueNode {
	for _, value := range values {
		if token := value.Key.GetToken(); token != nil && token.Value == key {
			return value
		}
	}
	return nil
}

// bare is what stands behind an anchor or a tag.
func bare(node ast.Node) ast.Node {
	for {
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.TagNode:
			node = n.Value
		default:
			return node
		}
	}
}

// start is the first token of a node: that of a mapping is its first key.
func start(node ast.Node) *token.Token {
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return node.GetToken()
}

// located gives a YAML error the form file:line:column.
func located(name string, text []byte, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil {
		return fmt.Errorf("%s:1:1: %w", name, err)
	}
	position := y.GetToken().Position
	return fmt.Errorf("%s:%d:%d: %s\n%s", name, position.Line, position.Column, y.GetMessage(),
		caret(text, position.Line, position.Column))
}

// caret shows a line of the text and points at a column of it.
func caret(text []byte, line, column int) string {
	lines := strings.Split(string(text), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	shown := strings.TrimRight(lines[line-1], "\r")
	before := []rune(shown)
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return '\t' // as wide as it is in the line above
		}
		return ' '
	}, string(before[:min(max(column-1, 0), len(before))]))
	return fmt.Sprintf("%6d | %s\n       | %s^", line, shown, indent)
}
