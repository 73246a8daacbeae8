package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Private

// validate finds every fault of a plan that YAML alone does not show, not only
// the first.
func (p *Plan) validate(name string, source []byte) error {
	v := validator{name: name, source: source}
	if p.Version != 1 {
		v.fail("$.version", "the plan's version is %d; this program reads version 1", p.Version)
	}
	if edge.CheckName(p.Name) != nil {
		v.fail("$.name", "the plan's name %q is not made of letters, digits, dots, dashes and underscores", p.Name)
	}
	if len(p.Routes) == 0 {
		v.fail("$.routes", "the plan has no routes; it needs at least one with a name and a prefix")
	}
	names, prefixes := map[string]string{}, map[string]string{}
	for _, line := range p.lines() {
		owner := "the route " + line.Name
		switch {
		case line.Pin != "":
			owner = "what " + string(line.Pin) + " owns"
		case line.Follows != "":
			owner = "the fragments of " + line.Follows
			if !slices.ContainsFunc(p.Routes, func(r Route) bool { return r.Name == line.Follows }) {
				v.fail(line.at+".follows", "there is no route %q to follow", line.Follows)
			}
		}
		if err := edge.CheckPrefix(line.Prefix); err != nil {
			v.fail(line.at+line.prefixAt, "%s", err)
		} else if other, taken := prefixes[strings.TrimSuffix(line.Prefix, "/")]; taken {
			v.fail(line.at+line.prefixAt, "the prefix %s is %s's already", line.Prefix, other)
		} else {
			prefixes[strings.TrimSuffix(line.Prefix, "/")] = owner
		}
		if err := edge.CheckName(line.Name); err != nil {
			v.fail(line.at+line.nameAt, "%s", err)
		} else if other, taken := names[line.Name]; taken {
			v.fail(line.at+line.nameAt, "the name %s stands for %s already", line.Name, other)
		} else {
			names[line.Name] = owner
		}
	}
	p.validateVisitors(&v)
	p.Edge.validate(&v)
	if (p.Database.Seed != "" || p.Database.Generator != "") && p.Database.Schema == "" {
		v.fail("$.database", "there is a seed but no schema to put it into")
	}
	p.Database.validate(&v)
	return errors.Join(v.faults...)
}

func (d Database) validate(v *validator) {
	names := map[string]bool{}
	for i, invariant := range d.Invariants {
		at := fmt.Sprintf("$.database.invariants[%d]", i)
		switch {
		case invariant.Name == "" || invariant.SQL == "":
			v.fail(at, "an invariant has a name, and sql that selects what breaks it")
		case names[invariant.Name]:
			v.fail(at+".name", "there is an invariant %q already", invariant.Name)
		}
		names[invariant.Name] = true
	}
	for i, table := range d.Tables {
		if table == "" || slices.Contains(d.Tables[:i], table) {
			v.fail(fmt.Sprintf("$.database.tables[%d]", i), "the table %q is empty or named twice", table)
		}
	}
	if d.Writes.Query != "" && !strings.HasPrefix(d.Writes.Login.Path, "/") {
		v.fail("$.database.writes", "login.path is missing: what was written is read by somebody who is logged in")
	}
}

func (p *Plan) validateVisitors(v *validator) {
	seen := map[string]bool{}
	for _, list := range []struct {
		at      string
		entries []string
	}{{"$.visitors.first", p.Visitors.First}, {"$.visitors.last", p.Visitors.Last}} {
		for i, entry := range list.entries {
			at := fmt.Sprintf("%s[%d]", list.at, i)
			if err := edge.CheckVisitor(entry); err != nil {
				v.fail(at, "%s", err)
			} else if seen[entry] {
				v.fail(at, "%s is named twice", entry)
			}
			seen[entry] = true
		}
	}
}

func (e Edge) validate(v *validator) {
	for i, proxy := range e.TrustedProxies {
		_, network := netip.ParsePrefix(proxy)
		if _, address := netip.ParseAddr(proxy); address != nil && network != nil {
			v.fail(fmt.Sprintf("$.edge.trusted_proxies[%d]", i), "%q is neither an address nor a network like 10.0.0.0/8", proxy)
		}
	}
	for _, limit := range []struct {
		name        string
		value       int
		least, most int
	}{
		{"max_body_mb", e.MaxBodyMB, 1, 10240},
		{"max_header_kb", e.MaxHeaderKB, 4, 256},
		{"response_timeout_s", e.ResponseTimeout, 1, 3600},
	} {
		if limit.value < limit.least || limit.value > limit.most {
			v.fail("$.edge."+limit.name, "%s is %d; it is from %d to %d", limit.name, limit.value, limit.least, limit.most)
		}
	}
}

// checkFiles makes sure that the files beside the plan are there.
func (p *Plan) checkFiles(name string, source []byte) error {
	v := validator{name: name, source: source}
	for path, file := range map[string]string{
		"$.database.schema": p.Database.Schema, "$.database.seed": p.Database.Seed, "$.database.writes.query": p.Database.Writes.Query,
	} {
		if file == "" {
			continue
		}
		if info, err := os.Stat(filepath.Join(p.Dir, file)); err != nil || !info.Mode().IsRegular() {
			v.fail(path, "there is no file %s beside the plan", file)
		}
	}
	for path, folder := range map[string]string{"$.database.generator": p.Database.Generator, "$.database.migrations": p.Database.Migrations} {
		if folder == "" {
			continue
		}
		if info, err := os.Stat(filepath.Join(p.Dir, folder)); err != nil || !info.IsDir() {
			v.fail(path, "there is no folder %s beside the plan", folder)
		}
	}
	return errors.Join(v.faults...)
}

// enough faults are reported; who has more mends these first.
const enough = 50

type validator struct {
	name   string
	source []byte
	tree   *ast.File // of source; parsed for the first fault
	faults []error
}

// fail records a fault at a YAML path, with the line it stands in; a path that
// is missing altogether is reported at its nearest parent that is there.
func (v *validator) fail(path, format string, args ...any) {
	if len(v.faults) >= enough {
		return
	}
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
