// Package plan reads the plan file: everything that is particular to one
// migration.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/cutover-dev/cutover/internal/edge"
)

// Plan is one migration.
type Plan struct {
	Version   int        `yaml:"version"`
	Name      string     `yaml:"name"`
	Routes    []Route    `yaml:"routes"`
	Together  [][]string `yaml:"together"` // routes that have one weight
	Owned     Owned      `yaml:"owned"`
	Fragments []Fragment `yaml:"fragments"`
	Split     Split      `yaml:"split"`
	Visitors  Visitors   `yaml:"visitors"`
	Edge      Edge       `yaml:"edge"`
	Database  Database   `yaml:"database"`
	Systems   Systems    `yaml:"systems"`
	Session   Session    `yaml:"session"`
	Jobs      []Job      `yaml:"jobs"`
	Drain     Duration   `yaml:"drain"` // how long requests under way may take before python is stopped
	Gates     []Gate     `yaml:"gates"`
	Phases    []Phase    `yaml:"phases"`

	// Hash identifies the file's content: sha256, hexadecimal.
	Hash string `yaml:"-"`
	// Dir is the folder that the plan's own paths are relative to.
	Dir string `yaml:"-"`
}

// Route is a part of the application that moves on its own.
type Route struct {
	Name   string `yaml:"name"`
	Prefix string `yaml:"prefix"`
	By     Split  `yaml:"by"` // "" for the plan's
}

// Split says whom a weight takes: "visitor", "user_id" or "user_id_digit".
type Split string

// Edge is the split as the edge names it.
func (s Split) Edge() edge.Split {
	if s == "visitor" {
		return edge.ByVisitor
	}
	return edge.Split(s)
}

// Systems are the two implementations.
type Systems struct {
	Python System `yaml:"python"`
	Go     System `yaml:"go"`
}

// System is what has to be known of an implementation besides its image.
type System struct {
	Role   string `yaml:"role"`   // in the database
	Writes string `yaml:"writes"` // SQL that counts what it has written since $1
	Source string `yaml:"source"` // folder beside the plan
}

// SessionProbe says how a session is tried: logged in at one system, read at
// the other.
type SessionProbe struct {
	Login  string            `yaml:"login"`
	Form   map[string]string `yaml:"form"`
	Logout string            `yaml:"logout"`
	Me     string            `yaml:"me"`
	Expect string            `yaml:"expect"` // stands in the answer of Me
}

// Job is something that is done in the background once in each period.
type Job struct {
	Name   string      `yaml:"name"`
	Owner  edge.System `yaml:"owner"`
	Period Duration    `yaml:"period"`
	Assign string      `yaml:"assign"` // SQL that gives the job $1 to the system $2
	Runs   string      `yaml:"runs"`   // SQL with the runs of the job $1 since $2: period, system
}

// Owned lists the prefixes that one system serves at every weight.
type Owned struct {
	Go     []string `yaml:"go"`
	Python []string `yaml:"python"`
}

// Fragment is a prefix that exists in the new system alone and is asked for by
// its pages: it goes where the page is.
type Fragment struct {
	Prefix  string `yaml:"prefix"`
	Follows string `yaml:"follows"` // the route of the pages
}

// Visitors names those who move before or after all others: "user:ID" by the
// cookie user_id, "visitor:ID" by the edge's own.
type Visitors struct {
	First []string `yaml:"first"`
	Last  []string `yaml:"last"`
}

// Edge has the limits of the edge. They are read when nginx starts.
type Edge struct {
	// TrustedProxies are the addresses or networks of those in front of the
	// edge whose word on the client is taken.
	TrustedProxies  []string `yaml:"trusted_proxies"`
	MaxBodyMB       int      `yaml:"max_body_mb"`        // 1 to 10240
	MaxHeaderKB     int      `yaml:"max_header_kb"`      // of one header line, 4 to 256
	ResponseTimeout int      `yaml:"response_timeout_s"` // without a byte from the system, 1 to 3600
	// PlainHTTP has the plain port serve the applications as the other one does;
	// else it leads there, but for health checks. Cookies on it are not Secure.
	PlainHTTP bool `yaml:"plain_http"`
	// HSTSMaxAge is how long browsers are told to come over TLS alone, 0 to
	// 63072000. What was told cannot be taken back sooner.
	HSTSMaxAge int `yaml:"hsts_max_age_s"`
	CSP        CSP `yaml:"csp"`
}

// CSP has the Content-Security-Policy of what each system answers without one
// of its own.
type CSP struct {
	Python string `yaml:"python"`
	Go     string `yaml:"go"`
	// Enforce has browsers obey the policies; else they only report.
	Enforce bool `yaml:"enforce"`
}

// Database says how a fresh rehearsal's database is made: its schema, what a
// program generates, and a script with what is written by hand, in this order.
// Then how it is migrated, and how it is known that nothing was lost.
type Database struct {
	Schema    string `yaml:"schema"`
	Generator string `yaml:"generator"` // the folder of a Go program
	Seed      string `yaml:"seed"`

	// Migrations is a folder that has the folders expand and contract, with
	// SQL files as goose reads them.
	Migrations string `yaml:"migrations"`
	// Tables are those whose rows the migration must not change; none: all.
	Tables []string `yaml:"tables"`
	// Invariants are queries for rows that must not be there.
	Invariants []Invariant `yaml:"invariants"`
	Writes     Writes      `yaml:"writes"`
}

// Invariant is something that holds of the data at every moment.
type Invariant struct {
	Name string `yaml:"name"`
	// SQL selects what breaks it: one text column that says which row.
	SQL string `yaml:"sql"`
}

// Writes says how what a system wrote is found and read again.
type Writes struct {
	// Query is a file with one SELECT. Its parameters are the system that
	// wrote ("go"), and the times from and to: $1, $2, $3. Its columns are
	// number (bigint, ascending), at (timestamptz), request_id (text), who
	// (text), action (text), and path (text): where the API shows what was
	// written, NULL where it does not.
	Query string `yaml:"query"`
	// Login is how somebody logs in who may read all of it.
	Login Login `yaml:"login"`
}

// Login is a request that begins a session.
type Login struct {
	Path string            `yaml:"path"`
	Body map[string]string `yaml:"body"` // sent as JSON
}

// Find returns the path of the plan to use: the one given, else
// $CUTOVER_PLAN, else cutover.yaml in the working folder, else the reference
// plan below root.
func Find(given, fromEnvironment, root string) (string, error) {
	for _, path := range []string{given, fromEnvironment} {
		if path != "" {
			return path, nil
		}
	}
	candidates := []string{"cutover.yaml", filepath.Join(root, "fixtures", "p2k16", "cutover.yaml")}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no plan: none of %s exists; name one with --plan FILE or CUTOVER_PLAN", strings.Join(candidates, ", "))
}

// Load reads and validates a plan file. Its error names file, line and column.
func Load(path string) (*Plan, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no plan file %s", path)
	case err != nil:
		return nil, fmt.Errorf("read the plan: %w", err)
	case !info.Mode().IsRegular() || info.Size() > largest:
		return nil, fmt.Errorf("%s is no plan: a plan is a file of at most %d MB", path, largest>>20)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	p, err := Parse(path, source)
	if err != nil {
		return nil, err
	}
	p.Dir = filepath.Dir(path)
	v, err := newSource(path, source)
	if err != nil {
		return nil, err
	}
	p.checkFiles(v)
	if err := v.faulty(); err != nil {
		return nil, err
	}
	return p, nil
}

// Parse reads a plan out of source; name stands for it in errors, which are
// all the faults that the plan has.
func Parse(name string, source []byte) (*Plan, error) {
	v, err := newSource(name, source)
	if err != nil {
		return nil, err
	}
	p := Plan{
		Edge: Edge{
			MaxBodyMB: 32, MaxHeaderKB: 32, ResponseTimeout: 130,
			HSTSMaxAge: 300, CSP: CSP{Python: lenientCSP, Go: strictCSP},
		},
		Drain: Duration{Text: "30s", Value: 30 * time.Second},
	}
	structure := v.checkStructure()
	// The parser has refused what stands twice; a merge (<<) may be overridden.
	if err := yaml.UnmarshalWithOptions(v.text, &p, yaml.AllowDuplicateMapKey()); err == nil {
		sum := sha256.Sum256(source)
		p.Hash = hex.EncodeToString(sum[:])
		if structure == 0 || p.Version != 0 || p.Name != "" || p.Routes != nil { // else nothing was decoded
			p.validate(v)
		}
	} else if structure == 0 {
		return nil, located(name, source, err)
	}
	if err := v.faulty(); err != nil {
		return nil, err
	}
	return &p, nil
}

// Path is where a file or folder beside the plan is.
func (p *Plan) Path(name string) string {
	return filepath.Join(p.Dir, name)
}

// Lines are the entries of the routing table that the plan makes, all with
// weight 0: its routes in their order, what each system owns, the fragments.
func (p *Plan) Lines() []edge.Route {
	var routes []edge.Route
	for _, line := range p.lines() {
		routes = append(routes, line.Route)
	}
	return routes
}

// Variables are the edge's settings as its containers read them.
func (e Edge) Variables() map[string]string {
	return map[string]string{
		"CUTOVER_TRUSTED_PROXIES":    strings.Join(e.TrustedProxies, " "),
		"CUTOVER_MAX_BODY_MB":        strconv.Itoa(e.MaxBodyMB),
		"CUTOVER_MAX_HEADER_KB":      strconv.Itoa(e.MaxHeaderKB),
		"CUTOVER_RESPONSE_TIMEOUT_S": strconv.Itoa(e.ResponseTimeout),
		"CUTOVER_PLAIN_HTTP":         strconv.FormatBool(e.PlainHTTP),
		"CUTOVER_HSTS_MAX_AGE_S":     strconv.Itoa(e.HSTSMaxAge),
		"CUTOVER_CSP_PYTHON":         e.CSP.Python,
		"CUTOVER_CSP_GO":             e.CSP.Go,
		"CUTOVER_CSP_ENFORCE":        strconv.FormatBool(e.CSP.Enforce),
	}
}

// Private

// The policies of a plan that names none: of an application that was written
// for none, and of one that was.
const (
	lenientCSP = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
		"object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
	strictCSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

// largest is more than any plan needs, and less than what would be a mistake.
const largest = 4 << 20

// line is an entry of the table and where the plan says it.
type line struct {
	edge.Route
	at, nameAt, prefixAt place
}

func (p *Plan) lines() []line {
	var lines []line
	for i, route := range p.Routes {
		at := place{"routes", i}
		by := cmp.Or(route.By, p.Split).Edge()
		lines = append(lines, line{edge.Route{Name: route.Name, Prefix: route.Prefix, By: by}, at, at.to("name"), at.to("prefix")})
	}
	for _, owned := range []struct {
		system   edge.System
		prefixes []string
	}{{edge.Go, p.Owned.Go}, {edge.Python, p.Owned.Python}} {
		for i, prefix := range owned.prefixes {
			at := place{"owned", string(owned.system), i}
			lines = append(lines, line{edge.Route{Name: ownedName(owned.system, prefix), Prefix: prefix, Pin: owned.system}, at, at, at})
		}
	}
	for i, fragment := range p.Fragments {
		at := place{"fragments", i}
		route := edge.Route{Name: prefixName(fragment.Prefix), Prefix: fragment.Prefix, Follows: fragment.Follows}
		lines = append(lines, line{route, at, at.to("prefix"), at.to("prefix")})
	}
	return lines
}

// ownedName names a prefix that one system owns: the label that its requests
// are counted under.
func ownedName(system edge.System, prefix string) string {
	return string(system) + "-" + prefixName(prefix)
}

func prefixName(prefix string) string {
	return strings.ReplaceAll(strings.Trim(prefix, "/"), "/", "-")
}
