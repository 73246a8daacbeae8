package plan

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Private

const (
	// enough faults are reported; who has more mends these first.
	enough = 50
	// deepest is how deep a plan may be nested, and mostAliased how many values
	// its aliases may stand for: more than any plan needs. A text of some hundred
	// bytes could fill the memory otherwise.
	deepest     = 100
	mostAliased = 100_000
)

// place is the way to a value: names of keys and numbers of entries.
type place []any

func (p place) to(next ...any) place {
	return append(slices.Clone(p), next...)
}

// source is the text of a plan, and what is wrong with it.
type source struct {
	name   string
	text   []byte
	body   ast.Node
	faults []fault
	shape  map[position]bool // where its structure is at fault
	known  map[fault]bool
	keys   map[ast.Node]map[string]*ast.MappingValueNode
}

type position struct{ line, column int }

type fault struct {
	position
	message string
}

// newSource parses the text as YAML; what is no YAML has no further faults.
func newSource(name string, text []byte) (*source, error) {
	switch {
	case !utf8.Valid(text):
		return nil, fmt.Errorf("%s:1:1: the plan is not UTF-8 text", name)
	case len(bytes.TrimSpace(text)) == 0:
		return nil, fmt.Errorf("%s:1:1: the plan is empty; cutover init writes one to start from", name)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // that is how some editors begin a file
	s := &source{name: name, text: text, known: map[fault]bool{}, keys: map[ast.Node]map[string]*ast.MappingValueNode{}}
	tokens := lexer.Tokenize(string(text))
	if at := tooDeep(tokens); at != nil {
		s.failAt(at, "the plan is nested deeper than %d levels", deepest)
		return nil, s.faulty()
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, located(name, text, err)
	}
	docs := slices.DeleteFunc(slices.Clone(tree.Docs), func(d *ast.DocumentNode) bool {
		_, directive := d.Body.(*ast.DirectiveNode)
		return directive
	})
	switch {
	case len(docs) == 0 || docs[0].Body == nil:
		return nil, fmt.Errorf("%s:1:1: the plan is empty; cutover init writes one to start from", name)
	case len(docs) > 1:
		at := docs[1].Start
		if at == nil {
			at = start(docs[1].Body)
		}
		s.failAt(at, "a plan is one document, and this begins another one")
		return nil, s.faulty()
	}
	s.body = docs[0].Body
	s.checkForm()
	return s, s.faulty()
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
	slices.SortFunc(s.faults, func(a, b fault) int {
		return cmp.Or(a.line-b.line, a.column-b.column, strings.Compare(a.message, b.message))
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

// failAt records a fault. Where the structure is wrong nothing more is said
// about the value: it follows from that.
func (s *source) failAt(at *token.Token, format string, args ...any) {
	f := fault{position{1, 1}, clip(fmt.Sprintf(format, args...), longestMessage)}
	if at != nil && at.Position != nil {
		f.position = position{at.Position.Line, at.Position.Column}
	}
	if !s.shape[f.position] && !s.known[f] {
		s.known[f] = true
		s.faults = append(s.faults, f)
	}
}

// find follows a place as far as it goes.
func (s *source) find(at place, key bool) *token.Token {
	node := s.body
	found := start(node)
	for i, segment := range at {
		switch n := bare(node).(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			value := s.entry(n, segment)
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

// entry is what a mapping has under a key, nil for nothing.
func (s *source) entry(mapping ast.Node, key any) *ast.MappingValueNode {
	entries, known := s.keys[mapping]
	if !known {
		entries = map[string]*ast.MappingValueNode{}
		for _, value := range pairs(mapping) {
			if at := value.Key.GetToken(); at != nil {
				entries[at.Value] = value
			}
			if _, null := value.Key.(*ast.NullNode); null {
				entries["null"] = value
			}
		}
		s.keys[mapping] = entries
	}
	return entries[fmt.Sprint(key)]
}

func pairs(mapping ast.Node) []*ast.MappingValueNode {
	switch n := mapping.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// tooDeep is where a text is nested too deeply.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, entries, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			entries, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(flow-1, 0)
		case token.SequenceEntryType, token.MappingKeyType:
			entries++
		}
		if flow+entries > deepest || t.Position.IndentNum > 2*deepest && t.Type != token.StringType {
			return t
		}
	}
	return nil
}

// checkForm refuses what YAML knows and a plan does not need.
func (s *source) checkForm() {
	sizes, aliased := map[string]int{}, 0
	var size func(ast.Node) int
	size = func(node ast.Node) int {
		total := 1
		switch n := node.(type) {
		case *ast.TagNode:
			s.failAt(n.GetToken(), "a plan has no tags; leave %s out", n.GetToken().Value)
			total += size(n.Value)
		case *ast.AnchorNode:
			total = size(n.Value)
			sizes[n.Name.String()] = total
		case *ast.AliasNode:
			total = sizes[n.Value.String()]
			if before := aliased; before <= mostAliased {
				if aliased += total; aliased > mostAliased {
					s.failAt(n.GetToken(), "the plan's aliases stand for more than %d values", mostAliased)
				}
			}
		case *ast.SequenceNode:
			for _, value := range n.Values {
				total += size(value)
			}
		case *ast.MappingNode, *ast.MappingValueNode:
			for i, pair := range pairs(n) {
				if _, merge := pair.Key.(*ast.MergeKeyNode); merge && i > 0 {
					s.failAt(pair.Key.GetToken(), "a merge (<<) is the first of its keys, so that the others override it")
				}
				total += size(pair.Value)
			}
		}
		return min(total, 2*mostAliased)
	}
	size(s.body)
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
	if from := column - 1 - longestLine/2; len(before) > longestLine && from > 0 && column <= len(before) {
		before, column = before[from:], column-from
	}
	shown = clip(string(before), longestLine)
	indent := strings.Map(func(r rune) rune {
		if r == '\t' {
			return '\t' // as wide as it is in the line above
		}
		return ' '
	}, string(before[:min(max(column-1, 0), len(before))]))
	return fmt.Sprintf("%6d | %s\n       | %s^", line, shown, indent)
}

// What a fault shows of a plan, in runes.
const (
	longestLine    = 200
	longestMessage = 1000
)

func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}
