package plan

import _ "embed" // for the template

// Template is a commented plan to start from.
//
//go:embed template.yaml
var Template string
