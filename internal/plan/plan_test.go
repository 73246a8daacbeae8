package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
)

func TestReferencePlanIsValid(t *testing.T) {
	p, err := Load("../../fixtures/p2k16/cutover.yaml")
	require.NoError(t, err)
	assert.Equal(t, "p2k16", p.Name)
	assert.Equal(t, []string{"auth", "users", "badges", "tools", "memberships", "pages"}, names(p))
	assert.Equal(t, "../../fixtures/p2k16", p.Dir)
	assert.Len(t, p.Hash, 64)
}

func TestMalformedPlansAreRefusedWithTheirPlace(t *testing.T) {
	const head = "version: 1\nname: x\n"
	const routes = head + "routes: [{name: a, prefix: /}]\n"
	for _, test := range []struct{ name, source, want string }{
		{"unknown key", head + "rotues: []\n", `p.yaml:3:1: there is no key "rotues" here; did you mean routes?`},
		{"wrong type", head + "routes:\n  - name: [a]\n    prefix: /\n", "p.yaml:4:11:"},
		{"syntax", head + "routes: [\n", "p.yaml:3:"},
		{"version", "version: 2\nname: x\nroutes:\n  - {name: a, prefix: /}\n", "p.yaml:1:10: version is 2; it has to be 1"},
		{"no routes", head, "p.yaml:1:1: the plan needs the key routes"},
		{"name", head + "routes:\n  - {name: A b, prefix: /}\n", `p.yaml:4:12: `},
		{"twice", head + "routes:\n  - {name: a, prefix: /}\n  - {name: a, prefix: /b}\n", "p.yaml:5:12: the name a stands for the route a already"},
		{"same prefix", head + "routes:\n  - {name: a, prefix: /x}\n  - {name: b, prefix: /x/}\n", "p.yaml:5:23: the prefix /x/ is the route a's already"},
		{"relative prefix", head + "routes:\n  - {name: a, prefix: x}\n", `p.yaml:4:23: `},
		{"query in prefix", head + "routes:\n  - {name: a, prefix: \"/x?y\"}\n", `p.yaml:4:23: `},
		{"owned twice", head + "routes:\n  - {name: a, prefix: /x}\nowned:\n  go: [/x/]\n", "p.yaml:6:8: the prefix /x/ is the route a's already"},
		{"dot segment", head + "routes:\n  - {name: a, prefix: /a/../b}\n", "p.yaml:4:23: "},
		{"owned with a name that no table takes", head + "routes:\n  - {name: a, prefix: /}\nowned:\n  go: [/~x/]\n", "p.yaml:6:8: "},
		{"owned with the same name", head + "routes:\n  - {name: a, prefix: /}\nowned:\n  go: [/x/y/, /x-y/]\n", "p.yaml:6:15: the name go-x-y stands for what go owns already"},
		{"route named as what is owned", head + "routes:\n  - {name: go-htmx, prefix: /a}\nowned:\n  go: [/htmx/]\n", "p.yaml:6:8: the name go-htmx stands for the route go-htmx already"},
		{"fragment of an unknown route", routes + "fragments:\n  - {prefix: /f/, follows: b}\n", `p.yaml:5:28: there is no route "b" to follow`},
		{"fragment in the place of a route", routes + "fragments:\n  - {prefix: /, follows: a}\n", "p.yaml:5:14: the prefix / is the route a's already"},
		{"visitor of no kind", routes + "visitors:\n  first: [kari]\n", "p.yaml:5:11: "},
		{"visitor twice", routes + "visitors:\n  first: [\"user:1\"]\n  last: [\"user:1\"]\n", "p.yaml:6:10: user:1 is named twice"},
		{"proxy", routes + "edge:\n  trusted_proxies: [10.0.0.0/33]\n", "p.yaml:5:21: \"10.0.0.0/33\" is neither an address nor a network"},
		{"limit", routes + "edge:\n  max_body_mb: 0\n", "p.yaml:5:16: max_body_mb is 0; it is from 1 to 10240"},
		{"HSTS", routes + "edge:\n  hsts_max_age_s: -1\n", "p.yaml:5:19: hsts_max_age_s is -1; it is from 0 to 63072000"},
		{"a policy that ends a header", routes + "edge:\n  csp: {go: \"default-src 'self'\\nX: y\"}\n", "p.yaml:5:13: "},
		{"a policy that ends a string", routes + "edge:\n  csp: {python: \"default-src \\\"\"}\n", "p.yaml:5:17: "},
		{"a policy with a variable", routes + "edge:\n  csp: {python: \"default-src $host\"}\n", "p.yaml:5:17: "},
		{"no policy", routes + "edge:\n  csp: {go: \"\"}\n", "p.yaml:5:13: "},
		{"empty", "", "p.yaml:1:1:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(test.source))
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.want)
		})
	}
}

func TestWhatAPlanSaysReachesTheTable(t *testing.T) {
	p, err := Parse("p.yaml", []byte(`
version: 1
name: x
routes: [{name: pages, prefix: /}]
owned: {go: [/assets/]}
fragments: [{prefix: /htmx/, follows: pages}]
edge: {trusted_proxies: [10.0.0.0/8, 192.0.2.1], max_body_mb: 8, csp: {go: "default-src 'self'", enforce: true}}
`))
	require.NoError(t, err)
	assert.Equal(t, []edge.Route{
		{Name: "pages", Prefix: "/"},
		{Name: "go-assets", Prefix: "/assets/", Pin: edge.Go},
		{Name: "htmx", Prefix: "/htmx/", Follows: "pages"},
	}, p.Lines())
	assert.Equal(t, map[string]string{
		"CUTOVER_TRUSTED_PROXIES": "10.0.0.0/8 192.0.2.1", "CUTOVER_MAX_BODY_MB": "8",
		"CUTOVER_MAX_HEADER_KB": "32", "CUTOVER_RESPONSE_TIMEOUT_S": "130",
		"CUTOVER_PLAIN_HTTP": "false", "CUTOVER_HSTS_MAX_AGE_S": "300",
		"CUTOVER_CSP_PYTHON": lenientCSP, "CUTOVER_CSP_GO": "default-src 'self'", "CUTOVER_CSP_ENFORCE": "true",
	}, p.Edge.Variables())
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	_, err := Parse("p.yaml", []byte("version: 3\nname: X y\nroutes:\n  - {name: a, prefix: b}\n"))
	require.Error(t, err)
	for _, want := range []string{"p.yaml:1:10", "p.yaml:2:7", "p.yaml:4:23"} {
		assert.Contains(t, err.Error(), want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\nname: x\nroutes:\n  - {name: a, prefix: /}\n"))
	f.Add([]byte(Template))
	f.Add([]byte(stopped))
	f.Add([]byte(head + "---\n"))
	f.Add([]byte("\ufeff%YAML 1.2\n---\nversion: 1\nname: x\nroutes: [&r {name: a, prefix: /a}, {<<: *r, name: b}]\ntogether: &t [*t]\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		p, err := Parse("p.yaml", source)
		if err == nil {
			assert.NotEmpty(t, p.Routes)
		} else {
			assert.Regexp(t, `^p\.yaml:\d+:\d+: `, err.Error())
		}
	})
}

func names(p *Plan) []string {
	var names []string
	for _, r := range p.Routes {
		names = append(names, r.Name)
	}
	return names
}
