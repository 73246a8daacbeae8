package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDatabaseFaultsAreFound(t *testing.T) {
	const head = "version: 1\nname: x\nroutes:\n  - name: all\n    prefix: /\ndatabase:\n"
	for name, test := range map[string]struct{ database, says string }{
		"no SQL":              {"  invariants:\n    - name: a\n", "x.yaml:8:"},
		"a name twice":        {"  invariants:\n    - {name: a, sql: SELECT 1}\n    - {name: a, sql: SELECT 2}\n", `an invariant "a" already`},
		"a table twice":       {"  tables: [a, b, a]\n", `the table "a" is empty or named twice`},
		"nobody reads writes": {"  writes:\n    query: writes.sql\n", "writes needs the key login"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(head+test.database))
			assert.ErrorContains(t, err, test.says)
		})
	}
}
