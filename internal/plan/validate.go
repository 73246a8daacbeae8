package plan

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Private

// validate finds every fault of a plan that its structure does not show.
func (p *Plan) validate(v *source) {
	if p.Version != 1 {
		v.fail(place{"version"}, "the plan's version is %d; this program reads version 1", p.Version)
	}
	if edge.CheckName(p.Name) != nil {
		v.fail(place{"name"}, "the plan's name %q is not made of letters, digits, dots, dashes and underscores", p.Name)
	}
	if len(p.Routes) == 0 {
		v.fail(place{"routes"}, "the plan has no routes; it needs at least one with a name and a prefix")
	}
	p.validateLines(v)
	p.validateVisitors(v)
	p.Edge.validate(v)
	p.validateTogether(v)
	p.validateSession(v)
	p.validateJobs(v)
	p.validateGates(v)
	p.validatePhases(v)
	if checkDuration(v, place{"drain"}, p.Drain) && p.Drain.Value > time.Hour {
		v.fail(place{"drain"}, "drain is %s; it is from 0s to 1h", p.Drain)
	}
	if (p.Database.Seed != "" || p.Database.Generator != "") && p.Database.Schema == "" {
		v.fail(place{"database"}, "there is a seed but no schema to put it into")
	}
	p.Database.validate(v)
}

func (p *Plan) validateLines(v *source) {
	names, prefixes := map[string]string{}, map[string]string{}
	for _, line := range p.lines() {
		owner := "the route " + line.Name
		switch {
		case line.Pin != "":
			owner = "what " + string(line.Pin) + " owns"
		case line.Follows != "":
			owner = "the fragments of " + line.Follows
			if !p.hasRoute(line.Follows) {
				v.fail(line.at.to("follows"), "there is no route %q to follow; the plan has %s", line.Follows, strings.Join(p.routeNames(), ", "))
			}
		}
		if err := edge.CheckPrefix(line.Prefix); err != nil {
			v.fail(line.prefixAt, "%s", err)
		} else if other, taken := prefixes[strings.TrimSuffix(line.Prefix, "/")]; taken {
			v.fail(line.prefixAt, "the prefix %s is %s's already, so that one of the two would never be asked", line.Prefix, other)
		} else {
			prefixes[strings.TrimSuffix(line.Prefix, "/")] = owner
		}
		if err := edge.CheckName(line.Name); err != nil {
			v.fail(line.nameAt, "%s", err)
		} else if other, taken := names[line.Name]; taken {
			v.fail(line.nameAt, "the name %s stands for %s already", line.Name, other)
		} else {
			names[line.Name] = owner
		}
	}
}

func (d Database) validate(v *source) {
	names := map[string]bool{}
	for i, invariant := range d.Invariants {
		at := place{"database", "invariants", i}
		if names[invariant.Name] {
			v.fail(at.to("name"), "there is an invariant %q already", invariant.Name)
		}
		names[invariant.Name] = true
	}
	for i, table := range d.Tables {
		if table == "" || slices.Contains(d.Tables[:i], table) {
			v.fail(place{"database", "tables", i}, "the table %q is empty or named twice", table)
		}
	}
	if d.Writes.Query != "" && !strings.HasPrefix(d.Writes.Login.Path, "/") {
		v.fail(place{"database", "writes"}, "login.path is missing: what was written is read by somebody who is logged in")
	}
}

func (p *Plan) validateVisitors(v *source) {
	seen := map[string]bool{}
	for _, list := range []struct {
		name    string
		entries []string
	}{{"first", p.Visitors.First}, {"last", p.Visitors.Last}} {
		for i, entry := range list.entries {
			at := place{"visitors", list.name, i}
			if err := edge.CheckVisitor(entry); err != nil {
				v.fail(at, "%s", err)
			} else if seen[entry] {
				v.fail(at, "%s is named twice", entry)
			}
			seen[entry] = true
		}
	}
}

func (e Edge) validate(v *source) {
	for i, proxy := range e.TrustedProxies {
		_, network := netip.ParsePrefix(proxy)
		if _, address := netip.ParseAddr(proxy); address != nil && network != nil {
			v.fail(place{"edge", "trusted_proxies", i}, "%q is neither an address nor a network like 10.0.0.0/8", proxy)
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
		{"hsts_max_age_s", e.HSTSMaxAge, 0, 63072000},
	} {
		if limit.value < limit.least || limit.value > limit.most {
			v.fail(place{"edge", limit.name}, "%s is %d; it is from %d to %d", limit.name, limit.value, limit.least, limit.most)
		}
	}
	for _, policy := range []struct{ name, text string }{{"python", e.CSP.Python}, {"go", e.CSP.Go}} {
		if len(policy.text) > longestPolicy || !policyForm.MatchString(policy.text) {
			v.fail(place{"edge", "csp", policy.name}, "%q is no Content-Security-Policy: directives like default-src 'self', separated by \"; \", without quotation marks, backslashes, dollar signs, commas and line breaks, at most %d characters", policy.text, longestPolicy)
		}
	}
}

// policyForm is what nginx and a header can carry as it is.
var policyForm = regexp.MustCompile(`^[a-z][!#%-+\--\[\]-~ ]*$`)

const longestPolicy = 2000

func (p *Plan) validateTogether(v *source) {
	bound := map[string]bool{}
	for i, group := range p.Together {
		for j, name := range group {
			at := place{"together", i, j}
			switch {
			case !p.hasRoute(name):
				v.fail(at, "there is no route %q; the plan has %s", name, strings.Join(p.routeNames(), ", "))
			case bound[name]:
				v.fail(at, "the route %s moves together with others already", name)
			}
			bound[name] = true
		}
	}
}

func (p *Plan) validateJobs(v *source) {
	seen := map[string]bool{}
	for i, job := range p.Jobs {
		at := place{"jobs", i}
		if seen[job.Name] {
			v.fail(at.to("name"), "there are two jobs of the name %s", job.Name)
		}
		seen[job.Name] = true
		if checkDuration(v, at.to("period"), job.Period) && job.Period.Value < time.Second {
			v.fail(at.to("period"), "the period of a job is at least 1s, not %s", job.Period)
		}
		for _, statement := range []struct{ key, text string }{{"assign", job.Assign}, {"runs", job.Runs}} {
			if !strings.Contains(statement.text, "$1") || !strings.Contains(statement.text, "$2") {
				v.fail(at.to(statement.key), "%s has to use $1 and $2; see cutover schema", statement.key)
			}
		}
	}
}

func (p *Plan) validateGates(v *source) {
	seen := map[string]bool{}
	used := map[string]bool{}
	for _, phase := range p.Phases {
		for _, step := range phase.Steps {
			for _, name := range once(p.GatesBefore(phase, step), p.GatesAfter(phase, step)) {
				used[name] = true
			}
		}
	}
	steps := map[string]bool{}
	for _, phase := range p.Phases {
		for _, step := range phase.Steps {
			steps[step.Name] = true
		}
	}
	for i, gate := range p.Gates {
		at := place{"gates", i}
		switch kinds := gate.kinds(); len(kinds) {
		case 0:
			v.fail(at, "the gate %s asks nothing: it needs acknowledge, or a check such as answers or sql", gate.Name)
		case 1:
		default:
			v.failKey(at.to(kinds[1]), "the gate %s asks %s already; another question is another gate", gate.Name, kinds[0])
		}
		switch {
		case seen[gate.Name]:
			v.fail(at.to("name"), "there are two gates of the name %s", gate.Name)
		case steps[gate.Name]:
			v.fail(at.to("name"), "there is a step of the name %s; --ack would not know which is meant", gate.Name)
		case strings.ContainsAny(gate.Name, "= \t\n"):
			v.fail(at.to("name"), "the name of a gate has no spaces and no =, because of --ack GATE=REASON")
		case !used[gate.Name] && gate.Name != "":
			v.fail(at.to("name"), "no step asks for the gate %s, so nobody would ever see it; name it under before or after", gate.Name)
		}
		seen[gate.Name] = true
		p.validateGate(v, at, gate)
	}
}

func (p *Plan) validateGate(v *source, at place, gate Gate) {
	if gate.Idle != nil {
		checkDuration(v, at.to("idle", "watch"), gate.Idle.Watch)
		if p.Systems.Python.Role == "" {
			v.fail(at.to("idle"), "the gate %s needs systems.python.role, the system's role in the database", gate.Name)
		}
	}
	if gate.Monitored != nil && len(gate.Monitored.Targets)+len(gate.Monitored.Gone) == 0 {
		v.fail(at.to("monitored"), "the gate %s names nothing that is monitored: targets, or what is gone", gate.Name)
	}
	if gate.Session != nil && p.Session.Probe == nil {
		v.failKey(at.to("session"), "the gate %s needs session.probe, which says how to log in", gate.Name)
	}
	if gate.Jobs != nil && len(p.Jobs) == 0 {
		v.failKey(at.to("jobs"), "the gate %s needs jobs, and the plan has none", gate.Name)
	}
	if gate.Archived != nil && !p.works("archive-python") {
		v.failKey(at.to("archived"), "the gate %s asks for an archive, and no step makes one (work: archive-python)", gate.Name)
	}
	if gate.Stopped != nil && !p.works("stop-python") {
		v.failKey(at.to("stopped"), "the gate %s asks for a stopped python, and no step stops it (work: stop-python)", gate.Name)
	}
}

func (p *Plan) works(work string) bool {
	for _, phase := range p.Phases {
		for _, step := range phase.Steps {
			if step.Work == work {
				return true
			}
		}
	}
	return false
}

func (p *Plan) hasRoute(name string) bool {
	return slices.ContainsFunc(p.Routes, func(r Route) bool { return r.Name == name })
}

func (p *Plan) routeNames() []string {
	var names []string
	for _, route := range p.Routes {
		if len(names) == 20 {
			return append(names, "…")
		}
		names = append(names, route.Name)
	}
	return names
}

func checkDuration(v *source, at place, d Duration) bool {
	if d.Text == "" {
		return true
	}
	value, err := time.ParseDuration(d.Text)
	switch {
	case err != nil:
		v.fail(at, "%q is not a duration; write a number with its unit, as 30s, 5m or 24h", d.Text)
	case value < 0:
		v.fail(at, "the duration %s is negative", d.Text)
	default:
		return true
	}
	return false
}

// checkFiles makes sure that the files beside the plan are there.
func (p *Plan) checkFiles(v *source) {
	for _, file := range []struct {
		at   place
		name string
	}{
		{place{"database", "schema"}, p.Database.Schema},
		{place{"database", "seed"}, p.Database.Seed},
		{place{"database", "writes", "query"}, p.Database.Writes.Query},
	} {
		if file.name == "" {
			continue
		}
		if info, err := os.Stat(filepath.Join(p.Dir, file.name)); err != nil || !info.Mode().IsRegular() {
			v.fail(file.at, "there is no file %s beside the plan", file.name)
		}
	}
	p.checkFolder(v, place{"database", "generator"}, p.Database.Generator)
	p.checkFolder(v, place{"database", "migrations"}, p.Database.Migrations)
	p.checkFolder(v, place{"systems", "python", "source"}, p.Systems.Python.Source)
	p.checkFolder(v, place{"systems", "go", "source"}, p.Systems.Go.Source)
}

func (p *Plan) checkFolder(v *source, at place, folder string) {
	if folder == "" {
		return
	}
	if info, err := os.Stat(filepath.Join(p.Dir, folder)); err != nil || !info.IsDir() {
		v.fail(at, "there is no folder %s beside the plan", folder)
	}
}
