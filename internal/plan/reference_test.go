package plan

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestThePlanToStartFromIsValid(t *testing.T) {
	p, err := Parse("cutover.yaml", []byte(Template))
	require.NoError(t, err)
	assert.NotEmpty(t, p.Routes)
	assert.NotEmpty(t, p.Phases)
	assert.True(t, p.works("stop-python"), "it shows the whole way")
}

func TestTheReferenceExplainsEveryKey(t *testing.T) {
	var tree map[string]any
	require.NoError(t, json.Unmarshal(Schema(), &tree))
	reference, keys := Reference(), 0
	var look func(path string, schema map[string]any)
	look = func(path string, schema map[string]any) {
		members, _ := schema["properties"].(map[string]any)
		for name, member := range members {
			property, _ := member.(map[string]any)
			assert.Contains(t, reference, "`"+path+name+"`", "a key that the reference does not have")
			assert.True(t, property["description"] != nil || property["$ref"] != nil, "%s%s is not described", path, name)
			look(path+name+".", property)
			keys++
		}
	}
	look("", tree)
	definitions, _ := tree["$defs"].(map[string]any)
	for _, definition := range definitions {
		look("", definition.(map[string]any))
	}
	assert.Greater(t, keys, 80)
	for line := range strings.SplitSeq(reference, "\n") {
		if strings.HasPrefix(line, "| `") {
			assert.NotRegexp(t, `[^)] \|\s*\|$`, line, "a key without a meaning: neither its own nor that of what it links to")
		}
	}
}

// Whoever changes the schema makes docs/plan.md anew: go run ./cmd/cutover
// schema --markdown > docs/plan.md
func TestTheDocumentedReferenceIsThatOfTheSchema(t *testing.T) {
	written, err := os.ReadFile("../../docs/plan.md")
	require.NoError(t, err)
	assert.Equal(t, Reference(), string(written))
}
