package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cutover-dev/cutover/internal/control"
	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/rollout"
	"github.com/cutover-dev/cutover/internal/stack"
)

// Private

// statusDocument is what status --json prints; other programs rely on it.
type statusDocument struct {
	SchemaVersion int             `json:"schema_version"`
	Project       string          `json:"project"`
	Plan          string          `json:"plan"`
	Phase         string          `json:"phase"`
	Step          string          `json:"step"`
	Progress      *progressStatus `json:"progress"` // the step under way; null for none
	Next          *nextStatus     `json:"next"`     // null when every step is done, or where it is not known
	Paused        bool            `json:"paused"`
	PauseReason   string          `json:"pause_reason"`
	OneWay        string          `json:"one_way"` // the step after which there is no way back, once it was begun
	Jobs          []jobStatus     `json:"jobs"`
	Latched       bool            `json:"latched"`
	LatchReason   string          `json:"latch_reason"`
	Home          string          `json:"home"`
	Generation    uint64          `json:"generation"`
	Routes        []routeStatus   `json:"routes"`
	Owned         []ownedStatus   `json:"owned"`
	Services      []serviceStatus `json:"services"`
	Ports         stack.Ports     `json:"ports"`
	// Authority is the file on this machine with the certificate that a browser
	// has to trust; "" where the edge shows a team's own, or another operator
	// made the environment.
	Authority string      `json:"authority"`
	Guard     guardStatus `json:"guard"`
	// BreakGlass tells whether nginx was switched to python past the table.
	BreakGlass glassStatus `json:"break_glass"`
}

type glassStatus struct {
	control.BreakGlass
	InEffect bool `json:"in_effect"` // nginx does it, not only when it starts next
}

type routeStatus struct {
	Name     string   `json:"name"`
	Prefix   string   `json:"prefix"`
	Weight   float64  `json:"weight"`   // requested share of go, in percent
	Measured *float64 `json:"measured"` // over the last 10 s; null without requests
}

// ownedStatus is a prefix that one system serves at every weight, or wherever
// the pages of a route are.
type ownedStatus struct {
	Prefix  string `json:"prefix"`
	System  string `json:"system"`
	Follows string `json:"follows"`
}

// progressStatus is a step that was begun and is not completed yet.
type progressStatus struct {
	Phase string       `json:"phase"`
	Step  string       `json:"step"`
	Since rollout.Time `json:"since"`
	Actor string       `json:"actor"`
}

// nextStatus is the step that comes next, or that is under way, and the gates
// that it asks for now.
type nextStatus struct {
	Step  string   `json:"step"`
	Label string   `json:"label"`
	Gates []string `json:"gates"`
}

type jobStatus struct {
	Name     string `json:"name"`
	Owner    string `json:"owner"`
	Assigned bool   `json:"assigned"` // the database has it so
}

type serviceStatus struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Health string `json:"health"`
}

// guardStatus says whether the guard answers and whether the edge has the
// table that it should have.
type guardStatus struct {
	Reachable bool   `json:"reachable"`
	InSync    bool   `json:"in_sync"`
	Error     string `json:"error"`
}

// statusPatience is how long a guard may take to say how it is.
const statusPatience = 3 * time.Second

type statusCommand struct {
	*options
	watch bool
}

func newStatusCommand(o *options) *cobra.Command {
	c := &statusCommand{options: o}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show where the migration stands and how the services are",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.watch {
				return c.follow(cmd.Context())
			}
			return c.printStatus(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&c.watch, "watch", false, "go on showing it, every second, until interrupted")
	return cmd
}

func (o *options) printStatus(ctx context.Context) error {
	s, done, err := o.environment(ctx)
	if err != nil {
		return err
	}
	document, err := o.status(ctx, s)
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	return o.print(document, document.text())
}

func (o *options) status(ctx context.Context, s *stack.Stack) (statusDocument, error) {
	services, ports, err := s.Services(ctx)
	if err != nil {
		return statusDocument{}, err
	}
	document := statusDocument{SchemaVersion: 1, Project: o.project, Ports: ports, Authority: s.AuthorityFile(), Routes: []routeStatus{}, Owned: []ownedStatus{}, Jobs: []jobStatus{}}
	for _, service := range services {
		document.Services = append(document.Services, serviceStatus{Name: service.Name, State: service.State, Health: service.Health})
	}
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	client := guardClient(s)
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		document.Guard.Error = err.Error()
		o.statusFromEdge(s, &document)
		return document, nil
	}
	document.Guard = guardStatus{Reachable: true, InSync: status.Edge.InSync, Error: status.Edge.Error}
	document.BreakGlass.BreakGlass = status.BreakGlass
	if status.BreakGlass.Active {
		document.BreakGlass.InEffect = o.glassInEffect(ctx, s)
	}
	document.setState(status.State, status.Measured)
	for _, job := range status.State.Jobs {
		document.Jobs = append(document.Jobs, jobStatus{Name: job.Name, Owner: string(job.Owner), Assigned: status.JobsAssigned})
	}
	if steps, err := client.Plan(ctx); err == nil {
		document.setNext(status.State, steps)
	}
	return document, nil
}

// glassInEffect asks nginx whether it runs without a table.
func (o *options) glassInEffect(ctx context.Context, s *stack.Stack) bool {
	client := edgeClient(s)
	defer client.Close()
	_, err := client.Table(ctx)
	return err != nil && strings.Contains(err.Error(), "break-glass") // that is how python-only.conf answers
}

// statusFromEdge asks nginx itself what it does when the guard does not
// answer: traffic flows without a guard, too.
func (o *options) statusFromEdge(s *stack.Stack, document *statusDocument) {
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	client := edgeClient(s)
	defer client.Close()
	table, err := client.Table(ctx)
	if err != nil && strings.Contains(err.Error(), "break-glass") { // that is how python-only.conf answers
		document.Home, document.BreakGlass.Active, document.BreakGlass.InEffect = string(edge.Python), true, true
		return
	}
	if err != nil {
		document.Guard.Error += "; the edge does not answer either: " + err.Error()
		return
	}
	document.Latched, document.Home, document.Generation = table.Latched, string(table.Home), table.Generation
	for _, route := range table.Routes {
		document.addRoute(route, nil)
	}
}

// setNext tells which step comes next, and what it asks for.
func (d *statusDocument) setNext(state rollout.State, steps rollout.Plan) {
	i := state.Next(steps)
	if i >= len(steps.Steps) {
		return
	}
	step := steps.Steps[i]
	d.Next = &nextStatus{Step: step.Name, Label: string(step.Label), Gates: step.Before}
	if state.Progress != nil {
		d.Next.Gates = step.After
	}
	if d.Next.Gates == nil {
		d.Next.Gates = []string{}
	}
}

func (d *statusDocument) setState(state rollout.State, measured map[string]*float64) {
	d.Plan, d.Phase, d.Step = state.Plan.Name, state.Phase, state.Step
	if p := state.Progress; p != nil {
		d.Progress = &progressStatus{Phase: p.Phase, Step: p.Step, Since: p.Since, Actor: p.Actor}
	}
	d.Paused, d.PauseReason, d.OneWay = state.Paused, state.PauseReason, state.OneWay
	d.Latched, d.LatchReason = state.Latched, state.LatchReason
	d.Home, d.Generation = string(state.Home), state.Generation
	for _, route := range state.Table().Routes {
		d.addRoute(route, measured[route.Name])
	}
}

// addRoute adds a route that moves, or a prefix that one system owns.
func (d *statusDocument) addRoute(route edge.Route, measured *float64) {
	switch {
	case route.Pin != "":
		d.Owned = append(d.Owned, ownedStatus{Prefix: route.Prefix, System: string(route.Pin)})
	case route.Follows != "":
		d.Owned = append(d.Owned, ownedStatus{Prefix: route.Prefix, System: string(edge.Go), Follows: route.Follows})
	default:
		d.Routes = append(d.Routes, routeStatus{
			Name: route.Name, Prefix: route.Prefix, Weight: route.Weight.Percent(), Measured: measured,
		})
	}
}

func (d *statusDocument) text() string {
	var out strings.Builder
	fmt.Fprintln(&out, d.sentence())
	if position := d.position(); position != "" {
		fmt.Fprintln(&out, position)
	}
	fmt.Fprintln(&out)
	table := tabwriter.NewWriter(&out, 0, 4, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "ROUTE\tPREFIX\tON GO\tMEASURED")
	for _, route := range d.Routes {
		measured := "–"
		if route.Measured != nil {
			measured = fmt.Sprintf("%.1f %%", *route.Measured)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", route.Name, route.Prefix, percent(route.Weight), measured)
	}
	_ = table.Flush() // a strings.Builder takes everything
	if !d.BreakGlass.InEffect {
		d.writeOwned(&out)
	}
	fmt.Fprintln(&out)
	_, _ = fmt.Fprintln(table, "SERVICE\tSTATE\tHEALTH")
	for _, service := range d.Services {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", service.Name, service.State, service.Health)
	}
	_ = table.Flush()
	fmt.Fprintln(&out)
	d.writeAddresses(&out)
	return strings.TrimRight(out.String(), "\n")
}

// writeAddresses says where everything is.
func (d *statusDocument) writeAddresses(out io.Writer) {
	plain := "leads to TLS"
	if d.Ports.PlainHTTP {
		plain = "plain HTTP: cookies on it are not Secure"
	}
	for _, address := range []struct {
		name   string
		scheme string
		port   int
		note   string
	}{
		{"application", "https", d.Ports.EdgeHTTPS, ""},
		{"", "http", d.Ports.EdgeHTTP, plain},
		{"guard", "http", d.Ports.Guard, "read-only"},
		{"prometheus", "http", d.Ports.Prometheus, ""},
	} {
		if address.port != 0 {
			line := fmt.Sprintf("%-12s %s://%s:%d  %s", address.name, address.scheme, stack.PublicHost(d.Ports.Bind), address.port, address.note)
			_, _ = fmt.Fprintln(out, strings.TrimRight(line, " "))
		}
	}
	if d.Authority != "" {
		_, _ = fmt.Fprintf(out, "%-12s %s  for your browser to trust; nothing was installed\n", "authority", d.Authority)
	}
}

// writeOwned says what has no weight of its own.
func (d *statusDocument) writeOwned(out io.Writer) {
	for _, system := range []edge.System{edge.Go, edge.Python} {
		var prefixes []string
		for _, owned := range d.Owned {
			if owned.System == string(system) && owned.Follows == "" {
				prefixes = append(prefixes, owned.Prefix)
			}
		}
		if len(prefixes) > 0 {
			_, _ = fmt.Fprintf(out, "Always on %s: %s\n", system, strings.Join(prefixes, " "))
		}
	}
	for _, owned := range d.Owned {
		if owned.Follows != "" {
			_, _ = fmt.Fprintf(out, "Where the %s are: %s\n", owned.Follows, owned.Prefix)
		}
	}
}

// position tells how far the plan is, and what comes next.
func (d *statusDocument) position() string {
	if d.Phase == "" || !d.Guard.Reachable {
		return ""
	}
	text := fmt.Sprintf("Phase %s, %s.", d.Phase, after(d.Step))
	if d.Progress != nil {
		text = fmt.Sprintf("Phase %s: the step %s is under way since %s, begun by %s.",
			d.Phase, d.Progress.Step, d.Progress.Since.Local().Format("15:04:05"), printable(d.Progress.Actor))
	}
	switch {
	case d.OneWay != "":
		text += fmt.Sprintf(" There is no way back since %s.", d.OneWay)
	case d.Home == string(edge.Go):
		text += " Python is stopped; cutover rollback starts it again."
	}
	switch {
	case d.Latched || d.Paused:
	case d.Next == nil:
		text += " Every step is done."
	case d.Progress != nil:
		text += fmt.Sprintf("\nIt goes on with cutover advance: its bake, then %s.", gatesText(d.Next.Gates))
	default:
		text += fmt.Sprintf("\nNext is %s (%s), after %s: cutover advance", d.Next.Step, d.Next.Label, gatesText(d.Next.Gates))
	}
	for _, job := range d.Jobs {
		text += fmt.Sprintf("\nThe job %s is done by %s", job.Name, job.Owner)
		if !job.Assigned {
			text += ", but the database does not know yet"
		}
		text += "."
	}
	return text
}

func gatesText(names []string) string {
	switch len(names) {
	case 0:
		return "no gates"
	case 1:
		return "the gate " + names[0]
	}
	return fmt.Sprintf("the gates %s and %s", strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}

// sentence is the state in one line, what matters most first.
func (d *statusDocument) sentence() string {
	where := "everything is on " + d.Home
	if d.Home == string(edge.Go) {
		where = "everything is on go, for good"
	}
	if d.Home == "" {
		return fmt.Sprintf("%s: where traffic goes is unknown, because neither guard nor edge answers.", d.Project) + d.troubles()
	}
	var moved []string
	for _, route := range d.Routes {
		if route.Weight > 0 {
			moved = append(moved, fmt.Sprintf("%s %s", route.Name, percent(route.Weight)))
		}
	}
	if len(moved) > 0 && d.Home == string(edge.Python) {
		where = "on Go: " + strings.Join(moved, ", ")
	}
	return fmt.Sprintf("%s: %s (generation %d).", d.Project, where, d.Generation) + d.troubles()
}

// troubles are what a person should know besides, a line each.
func (d *statusDocument) troubles() string {
	text := ""
	if d.Latched {
		text += fmt.Sprintf("\nLatched since a rollback: %s. When the cause is mended: cutover resume --reason …", printable(strings.TrimRight(d.LatchReason, ".")))
	}
	if d.Paused {
		text += fmt.Sprintf("\nPaused: %s. To go on: cutover resume --reason …", printable(strings.TrimRight(d.PauseReason, ".")))
	}
	for _, service := range d.Services {
		if service.Name == "flask" && d.Home == string(edge.Go) {
			continue // it was stopped on purpose
		}
		if service.State != "running" || service.Health == "unhealthy" {
			text += fmt.Sprintf("\nThe service %s %s.%s", service.Name, condition(service), d.consequence(service.Name))
		}
	}
	switch {
	case d.Home == "":
	case !d.Guard.Reachable && d.BreakGlass.Active:
		text += "\nThe guard does not answer. The glass is broken: nginx sends everything to python, past the table."
	case !d.Guard.Reachable:
		text += "\nThe guard does not answer; what follows is what the edge does now. (" + d.Guard.Error + ")"
	case d.BreakGlass.Active && !d.BreakGlass.InEffect:
		text += fmt.Sprintf("\nThe glass is broken, by %s: %s; but nginx does NOT do it yet, only when it starts next: repeat cutover rollback --break-glass.",
			printable(d.BreakGlass.Actor), printable(strings.TrimRight(d.BreakGlass.Reason, ".")))
	case d.BreakGlass.Active:
		text += fmt.Sprintf("\nThe glass is broken, by %s: %s. nginx sends everything to python, past the table. The way back: cutover resume --reason …",
			printable(d.BreakGlass.Actor), printable(strings.TrimRight(d.BreakGlass.Reason, ".")))
	case !d.Guard.InSync:
		text += "\nThe edge does not have the table that it should have. " + d.Guard.Error
	}
	return text
}

// consequence is what users notice of a service that is away, and the remedy.
func (d *statusDocument) consequence(service string) string {
	onGo, onPython := false, d.BreakGlass.InEffect
	for _, route := range d.Routes {
		onGo = onGo || route.Weight > 0 && !d.BreakGlass.InEffect
		onPython = onPython || route.Weight < 100
	}
	what := map[string]string{
		"nginx":    " Nobody is served.",
		"postgres": " Both systems answer 503 to nearly everything.",
		"redis":    " Nobody can log in, and whoever is logged in gets 503.",
		"guard":    " Traffic goes on as it is.",
	}[service]
	switch {
	case service == "flask" && onPython:
		what = " Who is on python is not served."
	case service == "goapp" && onGo:
		what = " Who is on Go is not served: cutover rollback takes them back."
	}
	return what + " The remedy: cutover up."
}

// condition is what is wrong with a service, as the end of a sentence.
func condition(s serviceStatus) string {
	switch s.State {
	case "running":
		return "is running but unhealthy"
	case "exited":
		return "has exited"
	}
	return "is " + s.State
}

func percent(share float64) string {
	return fmt.Sprintf("%v %%", share)
}
