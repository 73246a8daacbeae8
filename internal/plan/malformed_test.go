package plan

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The beginnings of the malformed plans: 5 lines, 7 lines, 10 lines.
const (
	head  = "version: 1\nname: x\nroutes:\n  - {name: a, prefix: /a}\n  - {name: b, prefix: /b}\n"
	gated = head + "gates:\n  - {name: g, says: s, acknowledge: it}\n"
	steps = gated + "phases:\n  - name: p\n    steps:\n"
	// step begins a step that is right so far.
	step = "      - {name: s, before: [g], "
	job  = "jobs:\n  - {name: j, owner: python, period: 1m, assign: \"$1 $2\", runs: \"$1 $2\"}\n"
)

// withGate is a plan with a gate of any kind, before its only step or after it.
func withGate(check, where string) string {
	return head + "gates:\n  - {name: g, says: s, " + check + "}\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, " + where + ": [g]}]}\n"
}

// Every fault is told with the line and column of what is wrong, and nothing
// else is.
func TestMalformedPlansAreRefusedWithEveryFault(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		want   []string
	}{
		// YAML
		"empty":                    {"", []string{"1:1: the plan is empty"}},
		"only blanks":              {" \n\t\n", []string{"1:1: the plan is empty"}},
		"only a comment":           {"# nothing\n", []string{"1:1: the plan is empty"}},
		"not UTF-8":                {"version: 1\nname: \xff\n", []string{"1:1: the plan is not UTF-8"}},
		"indented with a tab":      {"version: 1\nroutes:\n\t- {name: a, prefix: /}\n", []string{"3:1: found character '\t'"}},
		"bad indent":               {"version: 1\n  name: x\n", []string{"1:10: mapping value is not allowed"}},
		"colon in a value":         {"version: 1\nname: a: b\n", []string{"2:7: mapping value is not allowed"}},
		"reserved character":       {"version: 1\nname: @x\n", []string{"2:7: '@' is a reserved character"}},
		"quote that does not end":  {"version: 1\nname: \"x\n", []string{"2:7: could not find end character"}},
		"brace that does not end":  {"version: 1\nroutes: [{name: a\n", []string{"2:10: could not find flow mapping end"}},
		"key twice":                {"version: 1\nname: x\nname: y\n", []string{`3:1: mapping key "name" already defined`}},
		"key twice in a flow":      {"version: 1\nname: x\nroutes: [{name: a, name: b}]\n", []string{`3:20: mapping key "name" already defined`}},
		"unknown alias":            {head + "together: *nothing\n", []string{`6:12: could not find alias "nothing"`}},
		"alias of itself":          {head + "together: &t [*t]\n", []string{"6:15: entry 1 of together is empty"}},
		"only an alias":            {"*a\n", []string{`1:2: could not find alias "a"`}},
		"only an anchor":           {"&a\n", []string{"1:1: undefined anchor"}},
		"tag":                      {"version: !!int 1\nname: x\nroutes: [{name: a, prefix: /}]\n", []string{"1:10: a plan has no tags; leave !!int out"}},
		"tags of one's own":        {"version: 1\nname: !foo x\nroutes: !bar [{name: a, prefix: /}]\n", []string{"2:7: a plan has no tags; leave !foo out", "3:9: a plan has no tags; leave !bar out"}},
		"two documents":            {head + "---\nversion: 1\n", []string{"6:1: a plan is one document"}},
		"an empty second document": {head + "...\n---\n", []string{"7:1: a plan is one document"}},
		"unknown directive":        {"%FOO bar\n" + head, []string{"1:1: unexpected directive"}},
		"key that is no text":      {head + "1: 2\n", []string{`6:1: there is no key "1" here`}},
		"key that is true":         {head + "true: 2\n", []string{`6:1: there is no key "true" here`}},
		"key that is null":         {head + "~: 2\n", []string{`6:1: there is no key "null" here`}},
		"key that is a list":       {head + "? [a, b]\n: 2\n", []string{"7:1: found an invalid key"}},

		// structure
		"no mapping":                {"hello\n", []string{"1:1: the plan is a text; it has to be a mapping"}},
		"a list":                    {"- version: 1\n", []string{"1:1: the plan is a list; it has to be a mapping"}},
		"a number":                  {"42\n", []string{"1:1: the plan is a number; it has to be a mapping"}},
		"null":                      {"null\n", []string{"1:1: the plan is empty; it has to be a mapping"}},
		"all keys missing":          {"{}\n", []string{"1:1: the plan needs the key name", "1:1: the plan needs the key routes", "1:1: the plan needs the key version: the version of this format"}},
		"version as text":           {"version: \"1\"\nname: x\nroutes: [{name: a, prefix: /}]\n", []string{`1:10: version is "1"; it has to be 1`}},
		"no version":                {"name: x\nroutes: [{name: a, prefix: /}]\n", []string{"1:1: the plan needs the key version"}},
		"name is a number":          {"version: 1\nname: 2026\nroutes: [{name: a, prefix: /}]\n", []string{"2:7: name is a number; it has to be a text: put it in quotes"}},
		"name is true":              {"version: 1\nname: true\nroutes: [{name: a, prefix: /}]\n", []string{"2:7: name is a boolean; it has to be a text: put it in quotes"}},
		"name is null":              {"version: 1\nname:\nroutes: [{name: a, prefix: /}]\n", []string{"2:6: name is empty; it has to be a text"}},
		"name with NUL":             {"version: 1\nname: x\x00\nroutes: [{name: a, prefix: /}]\n", []string{"2:7: the plan's name"}},
		"no routes":                 {"version: 1\nname: x\nroutes: []\n", []string{"3:9: routes has 0 entries; it needs at least 1"}},
		"routes as a mapping":       {"version: 1\nname: x\nroutes: {a: /}\n", []string{"3:9: routes is a mapping; it has to be a list"}},
		"empty route":               {"version: 1\nname: x\nroutes:\n  -\n", []string{"4:5: entry 1 of routes is empty; it has to be a mapping"}},
		"route without its keys":    {"version: 1\nname: x\nroutes:\n  - by: visitor\n", []string{"4:5: entry 1 of routes needs the key name", "4:5: entry 1 of routes needs the key prefix"}},
		"misspelled and missing":    {"version: 1\nname: x\nroutes:\n  - nmae: a\n    prefix: /\n", []string{"4:5: entry 1 of routes needs the key name", `4:5: there is no key "nmae" here; did you mean name?`}},
		"key like none":             {head + "zz: 1\n", []string{`6:1: there is no key "zz" here; it takes database, drain`}},
		"unknown split":             {"version: 1\nname: x\nroutes:\n  - {name: a, prefix: /, by: cookie}\n", []string{`4:30: by is "cookie"; it has to be one of visitor, user_id, user_id_digit`}},
		"group of one":              {head + "together: [[a]]\n", []string{"6:12: entry 1 of together has 1 entries; it needs at least 2"}},
		"visitors is empty":         {head + "visitors:\n", []string{"6:11: visitors is empty; it has to be a mapping"}},
		"limit with decimals":       {head + "edge: {max_body_mb: 1.5}\n", []string{"6:21: max_body_mb is a number; it has to be a whole number"}},
		"limit beyond all numbers":  {head + "edge: {max_body_mb: 99999999999999999999999999}\n", []string{"6:21: max_body_mb is a text; it has to be a whole number"}},
		"limit beyond 64 bits":      {head + "edge: {max_body_mb: 18446744073709551615}\n", []string{"6:21: cannot unmarshal 18446744073709551615"}},
		"limit of 63 bits":          {head + "edge: {max_body_mb: 9223372036854775807}\n", []string{"6:21: max_body_mb is 9223372036854775807; it is from 1 to 10240"}},
		"duration without unit":     {head + "drain: 30\n", []string{"6:8: drain is a number; it has to be a text: a number with its unit"}},
		"session paths":             {head + "session: {probe: {login: x, form: {a: 1}, me: /me, expect: \"\"}}\n", []string{`6:26: login is "x"; it has to begin with a slash`, "6:39: a is a number; it has to be a text", "6:60: expect is empty; it needs a text"}},
		"job of nobody":             {head + "jobs:\n  - {name: j, owner: ruby, period: 1m, assign: \"$1 $2\", runs: \"$1 $2\"}\n", []string{`7:22: owner is "ruby"; it has to be one of python, go`}},
		"phase without steps":       {gated + "phases:\n  - {name: p, steps: []}\n", []string{"7:12: no step asks for the gate g", "9:22: steps has 0 entries; it needs at least 1"}},
		"weight as text":            {steps + step + "bake: 10s, routes: {a: \"10\"}}\n", []string{"11:55: a is a text; it has to be a number"}},
		"weight with a sign":        {steps + step + "bake: 10s, routes: {a: 10%}}\n", []string{"11:55: a is a text; it has to be a number"}},
		"weight that is not there":  {steps + step + "bake: 10s, routes: {a: }}\n", []string{"11:54: a is empty; it has to be a number"}},
		"weight is no number":       {steps + step + "bake: 10s, routes: {a: .nan}}\n", []string{"11:55: a is a text; it has to be a number"}},
		"weight without end":        {steps + step + "bake: 10s, routes: {a: -.inf}}\n", []string{"11:55: a is a text; it has to be a number"}},
		"weight beyond all numbers": {steps + step + "bake: 10s, routes: {a: 99999999999999999999999}}\n", []string{"11:55: a is a text; it has to be a number"}},
		"label of no kind":          {steps + step + "label: fine}\n", []string{`11:39: label is "fine"; it has to be one of safe, lossy, one-way`}},
		"work of no kind":           {steps + step + "work: dance}\n", []string{`11:38: work is "dance"; it has to be one of expand-schema, stop-python, archive-python, contract-schema, remove-python`}},
		"lowers as text":            {steps + step + "lowers: maybe}\n", []string{"11:40: lowers is a text; it has to be a boolean"}},
		"gate of no kind":           {withGate("pray: {}", "before"), []string{"7:5: the gate g asks nothing", `7:24: there is no key "pray" here`}},
		"empty question":            {withGate("routing: ", "before"), []string{"7:5: the gate g asks nothing", "7:32: routing is empty; it has to be a mapping"}},
		"share over all":            {withGate("shares: {within: 101}", "after"), []string{"7:41: within is 101; the most is 100"}},
		"errors below none":         {withGate("errors: {above: -1}", "after"), []string{"7:40: above is -1; the least is 0"}},
		"no latency at all":         {withGate("latency: {p95_ms: 0}", "after"), []string{"7:42: p95_ms is 0; it has to be more than 0"}},
		"no data is enough":         {withGate("latency: {at_least: 0}", "after"), []string{"7:44: at_least is 0; the least is 1"}},
		"finding of no kind":        {withGate("found: {by: luck}", "before"), []string{`7:36: by is "luck"; it has to be one of backup`}},
		"answer of no system":       {withGate("answers: {systems: []}", "before"), []string{"7:43: systems has 0 entries; it needs at least 1"}},

		// meaning
		"version of the future":       {"version: 2\nname: x\nroutes: [{name: a, prefix: /}]\n", []string{"1:10: version is 2; it has to be 1"}},
		"name with a space":           {"version: 1\nname: a b\nroutes: [{name: a, prefix: /}]\n", []string{`2:7: the plan's name "a b"`}},
		"name in many lines":          {"version: 1\nname: |\n  x\nroutes: [{name: a, prefix: /}]\n", []string{`2:7: the plan's name "x\n"`}},
		"letters of another alphabet": {"version: 1\nname: x\nroutes:\n  - {name: \"ærø\", prefix: æ}\n", []string{`4:12: the route name "ærø"`, `4:27: the prefix "æ" does not begin with a slash`}},
		"after letters of many bytes": {"version: 1\nname: x\nroutes: [{prefix: /, name: a}] # ærø\nowned: {go: [/æ, \"/b?\"]}\n", []string{`4:14: the route name "go-æ"`, `4:18: the prefix "/b?"`, `4:18: the route name "go-b?"`}},
		"windows lines":               {strings.ReplaceAll(head+"rotues: []\n", "\n", "\r\n"), []string{`6:1: there is no key "rotues" here; did you mean routes?`}},
		"byte order mark":             {"\ufeffversion: 1\nname: a b\nroutes: [{name: a, prefix: /}]\n", []string{`2:7: the plan's name "a b"`}},
		"alias of a route":            {"version: 1\nname: x\nroutes:\n  - &r {name: a, prefix: /a}\n  - *r\n", []string{"5:5: the name a stands for the route a already", "5:5: the prefix /a is the route a's already"}},
		"merge that adds a fault":     {"version: 1\nname: x\nroutes:\n  - &r {name: a, prefix: /a}\n  - {<<: *r, name: b, prefix: b}\n", []string{`5:31: the prefix "b" does not begin with a slash`}},
		"merge that overrides":        {"version: 1\nname: x\nroutes:\n  - &r {name: a, prefix: /a}\n  - {name: b, prefix: /b, <<: *r}\n", []string{"5:27: a merge (<<) is the first of its keys"}},
		"group with a stranger":       {head + "together: [[a, c]]\n", []string{`6:16: there is no route "c"; the plan has a, b`}},
		"route in two groups":         {head + "together: [[a, b], [b, a]]\n", []string{"6:21: the route b moves together with others already", "6:24: the route a moves together with others already"}},
		"two jobs of a name":          {head + job + "  - {name: j, owner: go, period: 1m, assign: \"$1 $2\", runs: \"$1 $2\"}\n", []string{"8:12: there are two jobs of the name j"}},
		"job that never rests":        {head + "jobs:\n  - {name: j, owner: go, period: 10ms, assign: \"$1 $2\", runs: \"$1 $2\"}\n", []string{"7:34: the period of a job is at least 1s, not 10ms"}},
		"period of no length":         {head + "jobs:\n  - {name: j, owner: go, period: daily, assign: \"$1 $2\", runs: \"$1 $2\"}\n", []string{`7:34: "daily" is not a duration`}},
		"statements without values":   {head + "jobs:\n  - {name: j, owner: go, period: 1m, assign: \"$1\", runs: \"$2\"}\n", []string{"7:46: assign has to use $1 and $2", "7:58: runs has to use $1 and $2"}},
		"drain of no length":          {head + "drain: soon\n", []string{`6:8: "soon" is not a duration`}},
		"drain for ever":              {head + "drain: 2h\n", []string{"6:8: drain is 2h; it is from 0s to 1h"}},
		"drain backwards":             {head + "drain: -1s\n", []string{"6:8: the duration -1s is negative"}},
		"seed without schema":         {head + "database: {seed: s.sql}\n", []string{"6:11: there is a seed but no schema"}},

		"gate that asks nothing":    {withGate("covers: []", "before"), []string{"7:5: the gate g asks nothing"}},
		"gate that asks twice":      {withGate("routing: {}, armed: {}", "before"), []string{"7:37: the gate g asks routing already"}},
		"two gates of a name":       {withGate("routing: {}}\n  - {name: g, says: s, armed: {}", "before"), []string{"8:12: there are two gates of the name g"}},
		"gate named as a step":      {head + "gates:\n  - {name: s, says: s, armed: {}}\nphases:\n  - {name: p, steps: [{name: s, before: [s]}]}\n", []string{"7:12: there is a step of the name s"}},
		"gate that --ack splits":    {head + "gates:\n  - {name: a=b, says: s, armed: {}}\nphases:\n  - {name: p, steps: [{name: s, before: [a=b]}]}\n", []string{"7:12: the name of a gate has no spaces and no ="}},
		"gate that nobody asks":     {gated, []string{"7:12: no step asks for the gate g"}},
		"idle without a role":       {withGate("idle: {system: python}", "before"), []string{"7:30: the gate g needs systems.python.role"}},
		"idle for an odd while":     {head + "systems: {python: {role: r}}\ngates:\n  - {name: g, says: s, idle: {system: python, watch: long}}\nphases:\n  - {name: p, steps: [{name: s, before: [g]}]}\n", []string{`8:54: "long" is not a duration`}},
		"session without session":   {withGate("session: {}", "before"), []string{"7:24: the gate g needs session"}},
		"monitored without targets": {withGate("monitored: {}", "before"), []string{"7:35: the gate g names nothing that is monitored"}},
		"jobs without jobs":         {withGate("jobs: {}", "before"), []string{"7:24: the gate g needs jobs"}},
		"archive that nobody makes": {withGate("archived: {system: python}", "before"), []string{"7:24: the gate g asks for an archive, and no step makes one"}},
		"stop that nobody makes":    {withGate("stopped: {system: python}", "before"), []string{"7:24: the gate g asks for a stopped python, and no step stops it"}},
		"gate that is not there":    {gated + "phases:\n  - {name: p, before: [g], steps: [{name: s, after: [h, gg]}]}\n", []string{`9:54: there is no gate "h" under gates; it takes g`, `9:57: there is no gate "gg" under gates; did you mean g?`}},
		"gate twice":                {gated + "phases:\n  - {name: p, steps: [{name: s, before: [g, g]}]}\n", []string{"9:45: the gate g is named twice"}},
		"bake before a bake":        {withGate("errors: {}", "before"), []string{"9:53: the gate g judges a bake, so it can only stand under after"}},

		"two phases of a name":     {steps + "      - {name: s, before: [g]}\n  - {name: p, steps: [{name: t}]}\n", []string{"12:12: there are two phases of the name p"}},
		"two steps of a name":      {steps + "      - {name: s, before: [g]}\n      - {name: s}\n", []string{"12:16: there are two steps of the name s"}},
		"two steps in two phases":  {steps + "      - {name: s, before: [g]}\n  - {name: q, steps: [{name: s}]}\n", []string{"12:30: there are two steps of the name s"}},
		"step with a space":        {steps + "      - {name: a b, before: [g]}\n", []string{`11:16: the step's name "a b"`}},
		"step with a date":         {steps + "      - {name: 2026-01-02, before: [g]}\n      - {name: on, routes: {a: 1}}\n", []string{"12:9: the step on moves traffic and has no bake"}},
		"weight of a stranger":     {steps + step + "bake: 10s, routes: {c: 10}}\n", []string{`11:52: there is no route "c"; the plan has a, b`}},
		"weight over all":          {steps + step + "bake: 10s, routes: {a: 100.01}}\n", []string{"11:55: the percentage 100.01 is over 100"}},
		"weight below none":        {steps + step + "bake: 10s, routes: {a: -1}}\n", []string{`11:55: "-1" is not a percentage`}},
		"weight too fine":          {steps + step + "bake: 10s, routes: {a: 1.234}}\n", []string{"11:55: the percentage 1.234 has more than two decimals"}},
		"weight in another base":   {steps + step + "bake: 10s, routes: {a: 0x10}}\n", []string{`11:55: "0x10" is not a percentage`}},
		"weight that goes down":    {steps + step + "bake: 10s, routes: {a: 20}}\n      - {name: t, bake: 10s, routes: {a: 10}}\n", []string{"12:42: the weight of a goes down, from 20 to 10"}},
		"together and apart":       {head + "together: [[a, b]]\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, routes: {a: 10, b: 20}}]}\n", []string{"8:63: a and b move together, and get the weights 10 and 20"}},
		"together goes down":       {head + "together: [[a, b]]\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, routes: {a: 20}}, {name: t, routes: {b: 10}}]}\n", []string{"8:84: the weight of b goes down, from 20 to 10"}},
		"a tenth by digit":         {"version: 1\nname: x\nroutes: [{name: a, prefix: /, by: user_id_digit}]\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, routes: {a: 15}}]}\n", []string{"5:56: the route a is split by the last digit of the user id, so its weight is 0, 10, 20 … or 100, not 15"}},
		"a tenth by digit, always": {head + "split: user_id_digit\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, routes: {a: 0.5, b: 10.01}}]}\n", []string{"8:56: the route a is split by the last digit", "8:64: the route b is split by the last digit"}},
		"a tenth by digit, bound":  {"version: 1\nname: x\nroutes: [{name: a, prefix: /}, {name: b, prefix: /b, by: user_id_digit}]\ntogether: [[a, b]]\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, routes: {a: 25}}]}\n", []string{"6:56: the route b is split by the last digit"}},
		"owner of a stranger":      {gated + job + "phases:\n  - {name: p, before: [g], steps: [{name: s, jobs: {k: go}}]}\n", []string{`11:53: there is no job "k"; the plan has j`}},
		"owner without jobs":       {gated + "phases:\n  - {name: p, before: [g], steps: [{name: s, jobs: {k: go}}]}\n", []string{`9:53: there is no job "k"; the plan has none`}},

		"lossy without a loss":       {steps + step + "label: lossy}\n", []string{"11:39: the step s is lossy and does not say what is lost"}},
		"a loss that is safe":        {steps + step + "loses: mail}\n", []string{"11:32: the step s loses something; its label is lossy"}},
		"stopped too early":          {gated + job + "phases:\n  - {name: p, before: [g], steps: [{name: s, work: stop-python}]}\n", []string{"11:52: python is stopped while a is at 0 %", "11:52: python is stopped while the job j is its own", "11:52: python is stopped without a gate that asks whether it is idle"}},
		"archive of nothing":         {steps + step + "work: archive-python}\n", []string{"11:38: the archive needs systems.python.source"}},
		"removed too early":          {steps + step + "work: remove-python, label: one-way}\n", []string{"11:38: python is removed before it was stopped and archived"}},
		"bake of no length":          {steps + step + "bake: a while}\n", []string{`11:38: "a while" is not a duration`}},
		"bake backwards":             {steps + step + "bake: -1s}\n", []string{"11:38: the duration -1s is negative"}},
		"bake of years":              {steps + step + "bake: 9000h}\n", []string{"11:38: the bake of s is 9000h; the longest is 2160h0m0s"}},
		"bake beyond all":            {steps + step + "bake: 9999999999h}\n", []string{`11:38: "9999999999h" is not a duration`}},
		"a phase's bake of no sense": {gated + "phases:\n  - {name: p, bake: soon, steps: [{name: s, before: [g], routes: {a: 1}}]}\n", []string{`9:21: "soon" is not a duration`}},
		"bake too short to see":      {steps + step + "bake: 9s, routes: {a: 10}}\n", []string{"11:38: the bake of s is 9s, shorter than the 10s that the guard looks back"}},
		"no bake to judge":           {head + "gates:\n  - {name: g, says: s, errors: {}}\nphases:\n  - {name: p, steps: [{name: s, after: [g]}]}\n", []string{"9:23: the bake of s is nothing, shorter than the 10s"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(c.source))

			require.Error(t, err)
			found := faultsIn(err)
			require.Len(t, found, len(c.want), "%s", err)
			for i, want := range c.want {
				assert.True(t, strings.HasPrefix(found[i], "p.yaml:"+want), "%s\nis not %s", found[i], want)
			}
		})
	}
}

// stopped is a plan up to the step that stops python: 15 lines.
const stopped = head + `systems: {python: {role: r}}
jobs:
  - {name: j, owner: go, period: 1m, assign: "$1 $2", runs: "$1 $2"}
gates:
  - {name: g, says: s, idle: {system: python}}
phases:
  - name: p
    bake: 10s
    steps:
      - {name: s, routes: {a: 100, b: 100}, before: [g]}
      - {name: stop, work: stop-python, before: [g]}
`

func TestNothingGoesBackToAPythonThatIsStopped(t *testing.T) {
	_, err := Parse("p.yaml", []byte(stopped))
	require.NoError(t, err)
	for more, want := range map[string]string{
		"{name: t, lowers: true, routes: {a: 50}}":        "17:45: python is stopped by now, and the weight of a",
		"{name: t, jobs: {j: python}}":                    "17:29: python is stopped by now, and nobody would do the job j",
		"{name: t, before: [g], work: stop-python}":       "17:38: stop-python is done by an earlier step already",
		"{name: t, label: one-way, work: remove-python}":  "17:41: python is removed before it was stopped and archived",
		"{name: t, work: remove-python}":                  "17:25: python is removed before it was stopped and archived",
		"{name: t, work: archive-python, label: one-way}": "17:25: the archive needs systems.python.source",
	} {
		_, err := Parse("p.yaml", []byte(stopped+"      - "+more+"\n"))
		require.Error(t, err, more)
		assert.Equal(t, []string{"p.yaml:" + want}, cut(faultsIn(err), len("p.yaml:"+want)), more)
	}
	removed := strings.Replace(stopped, "{role: r}", "{role: r, source: x}", 1) + "      - {name: archive, work: archive-python}\n"
	_, err = Parse("p.yaml", []byte(removed+"      - {name: t, work: remove-python}\n"))
	assert.ErrorContains(t, err, "18:25: there is no way back after python is removed; the step's label is one-way")
	removed += "      - {name: t, work: remove-python, label: one-way}\n"
	_, err = Parse("p.yaml", []byte(removed))
	require.NoError(t, err)
	_, err = Parse("p.yaml", []byte(removed+"      - {name: u}\n"))
	assert.ErrorContains(t, err, "19:9: the step u follows the one that removes python")
}

func TestWhatYAMLAllowsIsUnderstood(t *testing.T) {
	for name, source := range map[string]string{
		"windows lines":          strings.ReplaceAll(head, "\n", "\r\n"),
		"byte order mark":        "\ufeff" + head,
		"marks of a document":    "---\n" + head + "...\n",
		"directive":              "%YAML 1.2\n---\n" + head,
		"unquoted words":         "version: 1\nname: on\nroutes: [{name: yes, prefix: /a}, {name: 2026-01-02, prefix: /b}]\n",
		"version with a decimal": strings.Replace(head, "version: 1", "version: 1.0", 1),
		"anchors":                head + "together: [&g [a, b]]\nphases:\n  - {name: p, bake: &b 10s, steps: [{name: s, bake: *b, routes: {a: &w 10, b: *w}}]}\n",
		"merges":                 "version: 1\nname: x\nroutes:\n  - &r {name: a, prefix: /a}\n  - {<<: *r, name: b, prefix: /b}\n",
		"a number with comments": head + "phases:\n  - name: p\n    bake: '10s' # quoted\n    steps:\n      - name: s\n        routes:\n          a: 10.50 # and a half\n",
		"tenths by digit":        head + "split: user_id_digit\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, routes: {a: 10, b: 0}}, {name: t, routes: {a: 90.00, b: 100}}]}\n",
		"visitors beside digits": "version: 1\nname: x\nsplit: user_id_digit\nroutes: [{name: a, prefix: /, by: visitor}]\nphases:\n  - {name: p, bake: 10s, steps: [{name: s, routes: {a: 15}}]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte(source))
			require.NoError(t, err)
			assert.Equal(t, 1, p.Version)
			assert.NotEmpty(t, p.Routes)
		})
	}
	p, err := Parse("p.yaml", []byte(head+"drain: &d >\n  11s\nphases:\n  - {name: p, bake: *d, steps: [{name: s, routes: {a: &w 010, b: *w}}, {name: t, bake: \"12s\", routes: {a: 10.50}}]}\n"))
	require.NoError(t, err)
	assert.Equal(t, 11*time.Second, p.BakeOf(p.Phases[0], p.Phases[0].Steps[0]))
	assert.Equal(t, 12*time.Second, p.BakeOf(p.Phases[0], p.Phases[0].Steps[1]))
	assert.Equal(t, map[string]Weight{"a": {"010", 1000}, "b": {"010", 1000}}, p.Phases[0].Steps[0].Routes)
	assert.Equal(t, map[string]Weight{"a": {"10.50", 1050}}, p.Phases[0].Steps[1].Routes)
	p, err = Parse("p.yaml", []byte("version: 1\nname: x\nroutes:\n  - &r {name: a, prefix: /a, by: user_id}\n  - {<<: *r, name: b, prefix: /b}\n  - {<<: *r, prefix: /c, name: c}\n"))
	require.NoError(t, err)
	assert.Equal(t, []Route{{"a", "/a", "user_id"}, {"b", "/b", "user_id"}, {"c", "/c", "user_id"}}, p.Routes)
}

// A text that is small and means something enormous takes no time and no
// memory.
func TestPlansThatGrowAreRefusedAtOnce(t *testing.T) {
	laughs := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	block := ""
	for i := range 500 {
		block += strings.Repeat(" ", i) + "a:\n"
	}
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for name, c := range map[string]struct{ source, want string }{
		"a billion laughs": {laughs, "p.yaml:5:38: the plan's aliases stand for more than 100000 values"},
		"lists":            {"version: 1\ntogether: " + strings.Repeat("[", 50000), "p.yaml:2:111: the plan is nested deeper than 100 levels"},
		"mappings":         {strings.Repeat("{a: ", 50000), "p.yaml:1:401: the plan is nested deeper than 100 levels"},
		"entries":          {"together:\n  " + strings.Repeat("- ", 50000) + "a", "p.yaml:2:203: the plan is nested deeper than 100 levels"},
		"keys":             {strings.Repeat("? ", 50000) + "a", "p.yaml:1:201: the plan is nested deeper than 100 levels"},
		"indents":          {block, "p.yaml:202:203: the plan is nested deeper than 100 levels"},
		"a long line":      {"version: 1\nname: " + strings.Repeat("x", 1<<20) + "\nroutes: [{name: a, prefix: /a}]\n", "p.yaml:2:7: the plan's name \"xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()

			_, err := Parse("p.yaml", []byte(c.source))

			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			require.ErrorContains(t, err, c.want)
			assert.Less(t, len(err.Error()), 4000, "what is shown of it is short")
			assert.Less(t, took, 5*time.Second)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(256<<20))
		})
	}
}

func TestNoMoreFaultsAreToldThanAPersonReads(t *testing.T) {
	source := head
	for i := range 60 {
		source += fmt.Sprintf("key%d: 1\n", i)
	}
	_, err := Parse("p.yaml", []byte(source))
	require.ErrorContains(t, err, "p.yaml: and 10 faults more")
	assert.Len(t, faultsIn(err), 50)
}

func TestAFaultIsShownWithItsLine(t *testing.T) {
	_, err := Parse("p.yaml", []byte("version: 1\nname: x\nroutes:\n  - {name: \"ærø\", prefix: /}\n"))
	require.ErrorContains(t, err, "\n     4 |   - {name: \"ærø\", prefix: /}\n       |            ^")
	long := strings.Repeat("y", 500)
	_, err = Parse("p.yaml", []byte("version: 1\nname: x\nroutes: [{prefix: /"+long+", name: a b}]\n"))
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 3)
	assert.Less(t, len(lines[1]), 220)
	assert.Equal(t, "a b}]", lines[1][strings.Index(lines[2], "^"):])
}

// faultsIn are the first lines of the faults.
func faultsIn(err error) []string {
	var found []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if strings.HasPrefix(line, "p.yaml:") && !strings.Contains(line, " faults more") {
			found = append(found, line)
		}
	}
	return found
}

func cut(texts []string, length int) []string {
	for i, text := range texts {
		texts[i] = text[:min(length, len(text))]
	}
	return texts
}
