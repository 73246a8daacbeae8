package plan

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed schema.json
var schemaText []byte

// Schema is the JSON schema (draft 2020-12) of a plan file.
func Schema() []byte {
	return slices.Clone(schemaText)
}

// Private

const schemaName = "plan.json"

// checkStructure compares the plan with the schema, and says how many faults
// that made.
func (s *source) checkStructure() int {
	var document any
	if err := yaml.UnmarshalWithOptions(s.text, &document, yaml.AllowDuplicateMapKey()); err != nil {
		return 0 // decoding the plan meets the same error
	}
	schema, tree, err := compileSchema()
	if err == nil {
		err = schema.Validate(plainJSON(document))
	}
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		s.explain(invalid, tree)
	} else if err != nil {
		s.failAt(nil, "%s", err)
	}
	s.shape = map[position]bool{}
	for _, f := range s.faults {
		s.shape[f.position] = true
	}
	return len(s.faults)
}

func compileSchema() (*jsonschema.Schema, map[string]any, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		return nil, nil, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schemaName, document); err != nil {
		return nil, nil, err
	}
	schema, err := compiler.Compile(schemaName)
	tree, _ := document.(map[string]any)
	return schema, tree, err
}

// explain tells every fault that a validation found, in the words of a person.
func (s *source) explain(invalid *jsonschema.ValidationError, tree map[string]any) {
	for _, cause := range invalid.Causes {
		s.explain(cause, tree)
	}
	if len(invalid.Causes) > 0 {
		return
	}
	at := s.placeOf(invalid.InstanceLocation)
	what := "the plan"
	if len(at) > 0 {
		what = fmt.Sprint(at[len(at)-1])
		if number, ok := at[len(at)-1].(int); ok {
			what = fmt.Sprintf("entry %d", number+1)
			if len(at) > 1 {
				what += fmt.Sprintf(" of %v", at[len(at)-2])
			}
		}
	}
	switch k := invalid.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		known := properties(subschema(tree, invalid.SchemaURL))
		for _, name := range k.Properties {
			s.failKey(at.to(name), "there is no key %q here%s", name, suggestion(name, known))
		}
	case *kind.Required:
		for _, name := range k.Missing {
			s.fail(at, "%s needs the key %s%s", what, name, described(subschema(tree, invalid.SchemaURL), name))
		}
	case *kind.Type:
		s.fail(at, "%s is %s; it has to be %s%s", what, article(k.Got), articles(k.Want), remedy(k, invalid.SchemaURL))
	case *kind.Enum:
		s.fail(at, "%s is %v; it has to be one of %s", what, quoted(k.Got), list(k.Want))
	case *kind.Const:
		s.fail(at, "%s is %v; it has to be %v", what, quoted(k.Got), k.Want)
	case *kind.MinItems:
		s.fail(at, "%s has %d entries; it needs at least %d", what, k.Got, k.Want)
	case *kind.MinLength:
		s.fail(at, "%s is empty; it needs a text", what)
	case *kind.Minimum:
		s.fail(at, "%s is %s; the least is %s", what, k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		s.fail(at, "%s is %s; the most is %s", what, k.Got.RatString(), k.Want.RatString())
	case *kind.ExclusiveMinimum:
		s.fail(at, "%s is %s; it has to be more than %s", what, k.Got.RatString(), k.Want.RatString())
	case *kind.Pattern:
		s.fail(at, "%s is %q; it has to begin with a slash", what, k.Got)
	default:
		s.fail(at, "%s: %s", what, invalid.Error())
	}
}

// remedy is what makes a text of what YAML takes for something else.
func remedy(k *kind.Type, schema string) string {
	scalar := k.Got == "number" || k.Got == "integer" || k.Got == "boolean"
	switch {
	case !scalar || !slices.Contains(k.Want, "string"):
		return ""
	case strings.HasSuffix(schema, "/duration"):
		return ": a number with its unit, as 30s, 5m or 24h"
	}
	return ": put it in quotes"
}

// placeOf turns a location of the schema's validator into a place.
func (s *source) placeOf(location []string) place {
	at := place{}
	for _, segment := range location {
		if number, err := strconv.Atoi(segment); err == nil {
			at = at.to(number)
		} else {
			at = at.to(segment)
		}
	}
	return at
}

// plainJSON is the document as a JSON decoder would have read it.
func plainJSON(value any) any {
	switch v := value.(type) {
	case map[string]any:
		plain := make(map[string]any, len(v))
		for key, member := range v {
			plain[key] = plainJSON(member)
		}
		return plain
	case map[any]any:
		plain := make(map[string]any, len(v))
		for key, member := range v {
			plain[fmt.Sprint(key)] = plainJSON(member)
		}
		return plain
	case []any:
		plain := make([]any, 0, len(v))
		for _, entry := range v {
			plain = append(plain, plainJSON(entry))
		}
		return plain
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v) // no number in JSON
		}
		return json.Number(strconv.FormatFloat(v, 'g', -1, 64))
	case uint64:
		return json.Number(strconv.FormatUint(v, 10))
	case int64:
		return json.Number(strconv.FormatInt(v, 10))
	case int:
		return json.Number(strconv.Itoa(v))
	case nil, bool, string:
		return v
	default:
		return fmt.Sprint(v) // a time, for one
	}
}

// subschema is the part of the schema that an address names.
func subschema(tree map[string]any, url string) map[string]any {
	_, pointer, _ := strings.Cut(url, "#")
	var at any = tree
	for segment := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
		if segment == "" {
			continue
		}
		members, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = members[segment]
	}
	found, _ := at.(map[string]any)
	return found
}

func properties(schema map[string]any) []string {
	members, _ := schema["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(members))
}

func described(schema map[string]any, name string) string {
	members, _ := schema["properties"].(map[string]any)
	property, _ := members[name].(map[string]any)
	text, _ := property["description"].(string)
	if text == "" {
		return ""
	}
	text, _, _ = strings.Cut(text, ". ")
	return ": " + strings.ToLower(text[:1]) + strings.TrimRight(text[1:], ".")
}

// suggestion names the key that was probably meant, else all of them.
func suggestion(name string, known []string) string {
	nearest, least := "", 3
	for _, candidate := range known {
		if d := distance(name, candidate); d < min(least, len(name)) {
			nearest, least = candidate, d
		}
	}
	switch {
	case nearest != "":
		return fmt.Sprintf("; did you mean %s?", nearest)
	case len(known) > 0:
		return "; it takes " + strings.Join(known, ", ")
	}
	return ""
}

// distance counts the letters that have to be changed, added, left out or
// exchanged with their neighbour (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func article(name string) string {
	switch name {
	case "null":
		return "empty"
	case "object":
		return "a mapping"
	case "array":
		return "a list"
	case "integer":
		return "a whole number"
	case "string":
		return "a text"
	}
	return "a " + name
}

func articles(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, article(name))
	}
	return strings.Join(all, " or ")
}

func quoted(value any) string {
	if text, ok := value.(string); ok {
		return strconv.Quote(text)
	}
	return fmt.Sprint(value)
}

func list(values []any) string {
	var all []string
	for _, value := range values {
		all = append(all, fmt.Sprint(value))
	}
	return strings.Join(all, ", ")
}
