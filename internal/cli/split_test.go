package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/stack"
)

const someVisitor = "0123456789abcdef0123456789abcdef" // bucket 7758

func TestSplitExplainRefusesBadInput(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{nil, "cutover: who? give --user ID, --visitor HEX, or both\n"},
		{[]string{"--route", "users"}, "who?"},
		{[]string{"--user", ""}, "cutover: --user is empty\n"},
		{[]string{"--visitor", "", "--user", "7"}, "--visitor is empty"},
		{[]string{"--user", "7", "--route", ""}, "--route is empty"},
		{[]string{"--user", "kari@x"}, `the user id "kari@x" is not 1 to 64 letters, digits, dashes and underscores`},
		{[]string{"--visitor", "123"}, `the visitor "123" is not the 32 hexadecimal digits of a cookie cutover_visitor`},
		{[]string{"42"}, "cutover split explain --help"},
	} {
		code, out, stderr := run(t, append([]string{"split", "explain"}, test.args...)...)
		assert.Equal(t, ExitUsage, code, "%v: %s", test.args, stderr)
		assert.Contains(t, stderr, test.says, "%v", test.args)
		assert.Empty(t, out, "%v", test.args)
	}
	code, _, stderr := run(t, "split", "nonsense")
	assert.Equal(t, ExitUsage, code)
	assert.Contains(t, stderr, `there is no command "nonsense"`)
}

func TestSplitIsExplainedInSentences(t *testing.T) {
	table := edge.Table{Generation: 12, Home: edge.Python, First: []string{"user:7"}, Routes: []edge.Route{
		{Name: "users", Prefix: "/api/users/", Weight: 7800},
		{Name: "tools", Prefix: "/api/tools/", Weight: 5000, By: edge.ByUserIDDigit},
		{Name: "assets", Prefix: "/assets/", Pin: edge.Go},
		{Name: "htmx", Prefix: "/htmx/", Follows: "users"},
	}}
	for _, test := range []struct {
		person edge.Person
		route  string
		want   string
	}{
		{edge.Person{User: "42"}, "", `p: user 42, in any browser (generation 12)
users: unknown – by visitor, who is not known: give --visitor to know
tools: go – by the last digit of user 42: bucket 2000, below 5000 (50 %)
assets: go – pinned: only go has it
htmx: unknown – it follows its page; users: by visitor, who is not known: give --visitor to know
anything else: python – no route matches, and home is python`},
		{edge.Person{Visitor: someVisitor}, "tools", `p: visitor 0123456789abcdef0123456789abcdef, not logged in (generation 12)
tools: python – by the last digit of a user id, which is not there: bucket 9999, not below 5000 (50 %)`},
		{edge.Person{Visitor: someVisitor, User: "7"}, "users", `p: user 7, visitor 0123456789abcdef0123456789abcdef (generation 12)
users: go – the plan has user:7 go first`},
	} {
		document, err := explainer(test.person, test.route).explain(table)
		require.NoError(t, err)
		assert.Equal(t, test.want, document.text())
	}
}

func TestSplitIsExplainedAsJSON(t *testing.T) {
	table := edge.Table{Generation: 12, Home: edge.Python, Routes: []edge.Route{
		{Name: "users", Prefix: "/", Weight: 7800}, {Name: "assets", Prefix: "/assets/", Pin: edge.Go},
	}}
	document, err := explainer(edge.Person{Visitor: someVisitor}, "").explain(table)
	require.NoError(t, err)
	text, err := json.Marshal(document)
	require.NoError(t, err)
	assert.JSONEq(t, `{"schema_version": 1, "project": "p", "generation": 12, "break_glass": false,
		"person": {"visitor": "0123456789abcdef0123456789abcdef", "user": ""},
		"routes": [
			{"name": "users", "prefix": "/", "by": "visitor", "weight": 78, "bucket": 7758, "system": "go",
				"why": "by visitor 0123456789abcdef0123456789abcdef: bucket 7758, below 7800 (78 %)"},
			{"name": "assets", "prefix": "/assets/", "by": null, "weight": null, "bucket": null, "system": "go",
				"why": "pinned: only go has it"}]}`, string(text))
}

func TestSplitExplainNamesTheRoutesThatThereAre(t *testing.T) {
	table := edge.Table{Home: edge.Python, Routes: []edge.Route{{Name: "auth", Prefix: "/a"}, {Name: "users", Prefix: "/u"}}}
	_, err := explainer(edge.Person{User: "7"}, "user").explain(table)
	assert.EqualError(t, err, `the edge has no route "user"; it has: auth, users`)
	assert.Equal(t, ExitUsage, exitCode(err))
}

func TestSplitExplainWithoutATable(t *testing.T) {
	assert.True(t, glassBroken(errors.New("the edge refuses with status 503: break-glass: everything goes to python, and there is no table")))
	assert.False(t, glassBroken(nil))
	document := splitDocument{Project: "p", BreakGlass: true}
	assert.Equal(t, "p: the glass is broken: nginx sends everybody to python, past the table.", document.text())

	for err, want := range map[error]int{
		fmt.Errorf("x: %w", &stack.NotRunningError{Project: "p"}): ExitUnavailable,
		fmt.Errorf("%w: reset", edge.ErrUnreachable):              ExitUnavailable,
		errors.New("it answers nonsense"):                         ExitInternal,
	} {
		assert.Equal(t, want, exitCode(edgeSilent(err)), "%v", err)
	}
}

func explainer(person edge.Person, route string) *explainCommand {
	return &explainCommand{options: &options{project: "p"}, person: person, route: route}
}
