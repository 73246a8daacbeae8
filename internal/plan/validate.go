package plan

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Private

var (
	namePattern   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	prefixPattern = regexp.MustCompile(`^/([A-Za-z0-9._~-]+/?)*$`)
)

// validate finds every fault of a plan that YAML alone does not show, not only
// the first.
func (p *Plan) validate(name string, source []byte) error {
	v := validator{name: name, source: source}
	if p.Version != 1 {
		v.fail("$.version", "the plan's version is %d; this program reads version 1", p.Version)
	}
	if !namePattern.MatchString(p.Name) {
		v.fail("$.name", "%q is no name: lower-case letters, digits, - and _, beginning with a letter", p.Name)
	}
	if len(p.Routes) == 0 {
		v.fail("$.routes", "the plan has no routes; it needs at least one with a name and a prefix")
	}
	names, prefixes := map[string]bool{}, map[string]string{}
	claim := func(path, prefix, owner string) {
		if !prefixPattern.MatchString(prefix) {
			v.fail(path, "%q is no prefix: an absolute path such as /api/users/, without a query, . or ..", prefix)
			return
		}
		key := strings.TrimSuffix(prefix, "/")
		if other, taken := prefixes[key]; taken {
			v.fail(path, "the prefix %s is %s's already", prefix, other)
		}
		prefixes[key] = owner
	}
	for i, route := range p.Routes {
		at := fmt.Sprintf("$.routes[%d]", i)
		if !namePattern.MatchString(route.Name) {
			v.fail(at+".name", "%q is no name: lower-case letters, digits, - and _, beginning with a letter", route.Name)
		} else if names[route.Name] {
			v.fail(at+".name", "there are two routes named %s", route.Name)
		}
		names[route.Name] = true
		claim(at+".prefix", route.Prefix, "route "+route.Name)
	}
	for system, owned := range map[string][]string{"go": p.Owned.Go, "python": p.Owned.Python} {
		for i, prefix := range owned {
			claim(fmt.Sprintf("$.owned.%s[%d]", system, i), prefix, system)
		}
	}
	if (p.Database.Seed != "") && p.Database.Schema == "" {
		v.fail("$.database", "there is a seed but no schema to put it into")
	}
	return errors.Join(v.faults...)
}

type validator struct {
	name   string
	source []byte
	tree   *ast.File // of source; parsed for the first fault
	faults []error
}

// fail records a fault at a YAML path, with the line it stands in; a path that
// is missing altogether is reported at its nearest parent that is there.
func (v *validator) fail(path, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if v.tree == nil {
		tree, err := parser.ParseBytes(v.source, 0)
		if err != nil {
			v.faults = append(v.faults, fmt.Errorf("%s:1:1: %s", v.name, message))
			return
		}
		v.tree = tree
	}
	for at := path; at != "$"; at = at[:strings.LastIndexAny(at, ".[")] {
		yamlPath, err := yaml.PathString(at)
		if err != nil {
			break
		}
		node, err := yamlPath.FilterFile(v.tree)
		if err != nil || node == nil {
			continue
		}
		position := node.GetToken().Position
		v.faults = append(v.faults, fmt.Errorf("%s:%d:%d: %s\n%s", v.name, position.Line, position.Column, message,
			caret(v.source, position.Line, position.Column)))
		return
	}
	v.faults = append(v.faults, fmt.Errorf("%s:1:1: %s", v.name, message))
}

// located gives a YAML error the form file:line:column.
func located(name string, source []byte, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil {
		return fmt.Errorf("%s:1:1: %w", name, err)
	}
	position := y.GetToken().Position
	return fmt.Errorf("%s:%d:%d: %s\n%s", name, position.Line, position.Column, y.GetMessage(),
		caret(source, position.Line, position.Column))
}

// caret shows a line of the source and points at a column of it.
func caret(source []byte, line, column int) string {
	lines := strings.Split(string(source), "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	return fmt.Sprintf("%6d | %s\n         %s^", line, lines[line-1], strings.Repeat(" ", max(column-1, 0)))
}
