package plan

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reference describes a plan file for people, in Markdown. It is made from the
// schema.
func Reference() string {
	var tree map[string]any
	if err := json.Unmarshal(schemaText, &tree); err != nil {
		return "" // a test reads it
	}
	var out strings.Builder
	out.WriteString("# The plan file\n\nMade from the schema by `cutover schema --markdown`; `cutover schema` prints the schema itself, for editors. `cutover init` writes a plan to start from, `cutover validate` checks one.\n")
	describe(&out, "The file", tree)
	definitions, _ := tree["$defs"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(definitions)) {
		definition, _ := definitions[name].(map[string]any)
		switch {
		case definition["properties"] != nil:
			describe(&out, name, definition)
		case definition["description"] != nil:
			fmt.Fprintf(&out, "\n## %s\n\n%s: %s\n", name, typeName(definition), definition["description"])
		}
	}
	return out.String()
}

// Private

func describe(out *strings.Builder, title string, schema map[string]any) {
	fmt.Fprintf(out, "\n## %s\n\n%s\n\n| key | type | meaning |\n|---|---|---|\n", title, schema["description"])
	rows(out, "", schema)
}

func rows(out *strings.Builder, prefix string, schema map[string]any) {
	members, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		member, _ := members[name].(map[string]any)
		text, _ := member["description"].(string)
		if slices.Contains(required, any(name)) {
			text = strings.TrimSpace(text + " Required.")
		}
		fmt.Fprintf(out, "| `%s%s` | %s | %s |\n", prefix, name, typeName(member), strings.ReplaceAll(text, "|", "\\|"))
		rows(out, prefix+name+".", member)
	}
}

func typeName(schema map[string]any) string {
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/$defs/")
		if name == "gates" {
			return "list of gates' names"
		}
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	}
	if values, ok := schema["enum"].([]any); ok {
		return list(values)
	}
	if value, ok := schema["const"]; ok {
		return fmt.Sprint(value)
	}
	name, _ := schema["type"].(string)
	if items, ok := schema["items"].(map[string]any); ok && name == "array" {
		return "list of " + typeName(items)
	}
	return strings.TrimPrefix(article(name), "a ")
}
