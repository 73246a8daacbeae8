package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

func newSplitCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "split", Short: "Look at the A/B split", Args: subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newExplainCommand(o))
	return cmd
}

type explainCommand struct {
	*options
	person edge.Person
	route  string // "" for all
}

func newExplainCommand(o *options) *cobra.Command {
	c := &explainCommand{options: o}
	cmd := &cobra.Command{
		Use:   "explain --user ID | --visitor HEX",
		Short: "Say which system serves somebody, and why",
		Long: `Say for each route which system serves somebody, and why, by the table that
nginx has now. Without --user it is somebody who is not logged in; without
--visitor somebody in a browser that is not known. Testers who force a system
get the one that they ask for.`,
		Example: "  cutover split explain --user 42\n" +
			"  cutover split explain --visitor 0123456789abcdef0123456789abcdef --route users",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"user", "visitor", "route"} {
				if flag := cmd.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
					return usage(fmt.Errorf("--%s is empty", name))
				}
			}
			return c.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&c.person.User, "user", "", "the `ID` that both systems put into the cookie user_id at login")
	cmd.Flags().StringVar(&c.person.Visitor, "visitor", "", "the `HEX` digits of a browser's cookie cutover_visitor")
	cmd.Flags().StringVar(&c.route, "route", "", "of the route `NAME` alone")
	return cmd
}

func (c *explainCommand) run(ctx context.Context) (err error) {
	if c.person == (edge.Person{}) {
		return usage(errors.New("who? give --user ID, --visitor HEX, or both"))
	}
	if err := c.person.Check(); err != nil {
		return usage(err)
	}
	s, done, err := c.environment(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := edgeClient(s)
	defer client.Close()
	table, err := client.Table(ctx)
	if glassBroken(err) {
		document := splitDocument{SchemaVersion: 1, Project: c.project, Person: person(c.person), BreakGlass: true, Routes: []splitRoute{}}
		return c.print(document, document.text())
	}
	if err != nil {
		return edgeSilent(err)
	}
	document, err := c.explain(table)
	if err != nil {
		return err
	}
	return c.print(document, document.text())
}

func (c *explainCommand) explain(table edge.Table) (splitDocument, error) {
	document := splitDocument{SchemaVersion: 1, Project: c.project, Person: person(c.person), Generation: table.Generation, Routes: []splitRoute{}}
	router, err := edge.NewRouter(table)
	if err != nil {
		return document, fmt.Errorf("the edge has a table that this cutover does not understand: %w", err)
	}
	names := make([]string, len(table.Routes))
	for i, route := range table.Routes {
		names[i] = route.Name
	}
	for _, e := range router.Explain(c.person) {
		if c.route == "" || c.route == e.Route.Name {
			document.Routes = append(document.Routes, newSplitRoute(e))
		}
	}
	if c.route != "" && len(document.Routes) == 0 {
		return document, usage(fmt.Errorf("the edge has no route %q; it has: %s", c.route, cmp.Or(strings.Join(names, ", "), "none")))
	}
	return document, nil
}

// splitDocument is what split explain --json prints; other programs rely on it.
type splitDocument struct {
	SchemaVersion int    `json:"schema_version"`
	Project       string `json:"project"`
	Person        person `json:"person"`
	Generation    uint64 `json:"generation"` // of the table; 0 in break-glass
	// BreakGlass tells that nginx has no table, and sends everybody to python.
	BreakGlass bool         `json:"break_glass"`
	Routes     []splitRoute `json:"routes"`
}

type person struct {
	Visitor string `json:"visitor"` // "" where it is not known
	User    string `json:"user"`    // "" for one who is not logged in
}

type splitRoute struct {
	Name   string   `json:"name"` // "-" for what no route matches
	Prefix string   `json:"prefix"`
	By     *string  `json:"by"`     // visitor, user_id or user_id_digit; null without a weight
	Weight *float64 `json:"weight"` // requested share of go, in percent
	Bucket *int     `json:"bucket"` // 0 to 9999; null where it did not decide
	System string   `json:"system"` // "" where it depends on the visitor; edge for a fragment of python's page
	Why    string   `json:"why"`
}

func newSplitRoute(e edge.Explanation) splitRoute {
	route := splitRoute{Name: e.Route.Name, Prefix: e.Route.Prefix, System: string(e.System), Why: e.Why}
	if e.Route.Name != edge.Unmatched && e.Route.Pin == "" && e.Route.Follows == "" {
		by, weight := e.Route.By.String(), e.Route.Weight.Percent()
		route.By, route.Weight = &by, &weight
	}
	if e.Bucket >= 0 {
		route.Bucket = &e.Bucket
	}
	return route
}

func (d splitDocument) text() string {
	if d.BreakGlass {
		return fmt.Sprintf("%s: the glass is broken: nginx sends everybody to python, past the table.", d.Project)
	}
	lines := []string{fmt.Sprintf("%s: %s (generation %d)", d.Project, d.Person, d.Generation)}
	for _, route := range d.Routes {
		name := route.Name
		if name == edge.Unmatched {
			name = "anything else"
		}
		if route.System == "" {
			lines = append(lines, fmt.Sprintf("%s: unknown – %s: give --visitor to know", name, route.Why))
		} else {
			lines = append(lines, fmt.Sprintf("%s: %s – %s", name, route.System, route.Why))
		}
	}
	return strings.Join(lines, "\n")
}

func (p person) String() string {
	switch {
	case p.Visitor == "":
		return fmt.Sprintf("user %s, in any browser", p.User)
	case p.User == "":
		return fmt.Sprintf("visitor %s, not logged in", p.Visitor)
	default:
		return fmt.Sprintf("user %s, visitor %s", p.User, p.Visitor)
	}
}

// glassBroken tells by nginx's answer that it runs without a table.
func glassBroken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "break-glass") // that is how python-only.conf answers
}

// edgeSilent is the error of a command that needs the edge's table.
func edgeSilent(err error) error {
	var stopped *stack.NotRunningError
	switch {
	case errors.As(err, &stopped):
		return exitError{ExitUnavailable, stopped}
	case errors.Is(err, edge.ErrUnreachable):
		return exitError{ExitUnavailable, fmt.Errorf("%w; cutover status shows how it is", err)}
	}
	return err
}
