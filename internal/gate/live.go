package gate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cutover-dev/cutover/internal/edge"
	"github.com/cutover-dev/cutover/internal/plan"
	"github.com/cutover-dev/cutover/internal/rollout"
)

// Private

const (
	pollEvery = 250 * time.Millisecond
	// settle is how long something that comes by itself may take: a healthcheck
	// is every 3 s, a scrape every second, and Prometheus looks for targets
	// every 5 s.
	settle = 20 * time.Second
)

// eventually asks until the answer is a pass, or the limit is reached; the last
// answer counts.
func eventually(ctx context.Context, limit time.Duration, ask func(context.Context) answer) answer {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		found := ask(ctx)
		if found.verdict == rollout.Pass {
			return found
		}
		select {
		case <-ctx.Done():
			return unknown(found.evidence, "interrupted while it was: %s", found.why)
		case <-deadline.C:
			return found
		case <-ticker.C:
		}
	}
}

func (c *Checker) answers(ctx context.Context, g plan.AnswersGate) answer {
	return eventually(ctx, settle, func(ctx context.Context) answer {
		facts, err := c.Sources.Services.Facts(ctx)
		if err != nil {
			return unknown(nil, "the engine does not say how the services are: %s", err)
		}
		evidence := map[string]any{}
		for _, system := range g.Systems {
			i := slices.IndexFunc(facts, func(f SystemFacts) bool { return f.System == system })
			if i < 0 {
				return fail(evidence, "%s has no container", system)
			}
			evidence[string(system)+"_image"] = facts[i].Image
			switch {
			case facts[i].State != "running":
				return fail(evidence, "%s is %s", system, facts[i].State)
			case facts[i].Health == "":
				return unknown(evidence, "%s has no healthcheck", system)
			case facts[i].Health != "healthy":
				return fail(evidence, "%s is %s", system, facts[i].Health)
			}
			response, err := c.get(ctx, "/health/"+string(system), nil)
			if err != nil {
				return fail(evidence, "the edge does not answer: %s", err)
			}
			evidence[string(system)+"_status"] = response.status
			if response.status != http.StatusOK || response.header.Get("X-Served-By") != string(system) {
				return fail(evidence, "/health/%s answers %d through the edge", system, response.status)
			}
		}
		return pass(evidence, "%s healthy", join(g.Systems))
	})
}

func (c *Checker) monitored(ctx context.Context, gate string, g plan.Monitored) answer {
	return eventually(ctx, settle, func(ctx context.Context) answer {
		targets, err := c.Sources.Metrics.Targets(ctx)
		if err != nil {
			return unknown(nil, "Prometheus does not answer: %s", err)
		}
		evidence := map[string]any{"targets": targets}
		for _, job := range g.Targets {
			up, known := targets[job]
			switch {
			case !known:
				c.wait(gate, "waiting for Prometheus to find "+job)
				return fail(evidence, "Prometheus does not read %s", job)
			case !up:
				c.wait(gate, "waiting for Prometheus to read "+job)
				return fail(evidence, "Prometheus cannot read %s", job)
			}
		}
		for _, job := range g.Gone {
			if _, known := targets[job]; known {
				c.wait(gate, "waiting for Prometheus to forget "+job)
				return fail(evidence, "Prometheus still reads %s", job)
			}
		}
		return pass(evidence, "Prometheus reads %s", strings.Join(g.Targets, ", "))
	})
}

func (c *Checker) routing(ctx context.Context) answer {
	return eventually(ctx, settle, func(ctx context.Context) answer {
		status, err := c.Sources.Guard.Status(ctx)
		if err != nil {
			return unknown(nil, "the guard does not answer: %s", err)
		}
		evidence := map[string]any{"generation": status.State.Generation}
		switch {
		case status.BreakGlass.Active:
			return fail(evidence, "the glass is broken: nginx serves python only")
		case status.State.Plan.Hash != c.Plan.Hash:
			return fail(evidence, "the guard follows another plan")
		case !status.Edge.Reachable:
			return fail(evidence, "the edge does not answer the guard: %s", status.Edge.Error)
		}
		table, err := c.Sources.Edge.Table(ctx)
		if err != nil {
			return unknown(evidence, "the edge's table cannot be read: %s", err)
		}
		if !table.Equal(status.State.Table()) {
			return fail(evidence, "the edge has another table (generation %d) than the guard (generation %d)", table.Generation, status.State.Generation)
		}
		return pass(evidence, "the edge has the table of generation %d, with %d routes", table.Generation, len(table.Routes))
	})
}

func (c *Checker) armed(ctx context.Context) answer {
	status, err := c.Sources.Guard.Status(ctx)
	switch {
	case err != nil:
		return unknown(nil, "the guard does not answer: %s", err)
	case !status.Edge.InSync:
		return fail(nil, "the edge does not have the guard's table")
	case status.Armed == nil:
		return unknown(nil, "this guard has no rules that would take traffic back by themselves")
	case !*status.Armed:
		return fail(nil, "the guard is not armed")
	}
	return pass(nil, "the guard watches and is armed")
}

func (c *Checker) stopped(ctx context.Context) answer {
	return eventually(ctx, settle, func(ctx context.Context) answer {
		facts, err := c.Sources.Services.Facts(ctx)
		if err != nil {
			return unknown(nil, "the engine does not say how the services are: %s", err)
		}
		evidence := map[string]any{}
		for _, fact := range facts {
			if fact.System != edge.Python {
				continue
			}
			evidence["state"] = fact.State
			if fact.State == "running" || fact.State == "paused" || fact.State == "restarting" {
				return fail(evidence, "python is %s", fact.State)
			}
		}
		table, err := c.Sources.Edge.Table(ctx)
		if err != nil {
			return unknown(evidence, "the edge's table cannot be read: %s", err)
		}
		evidence["home"] = table.Home
		if table.Home != edge.Go {
			return fail(evidence, "the edge's home is %s", table.Home)
		}
		for _, route := range table.Routes {
			if route.Pin == edge.Python || route.Pin == "" && route.Follows == "" && route.Weight < edge.AllGo {
				return fail(evidence, "the route %s still leads to python", route.Name)
			}
		}
		return pass(evidence, "python is stopped, the edge's home is go, and no route leads to python")
	})
}

func (c *Checker) archived(ctx context.Context) answer {
	path, err := c.Sources.Archive.Verify(ctx)
	evidence := map[string]any{"path": path}
	switch {
	case errors.Is(err, ErrNoArchive):
		return unknown(nil, "there is no archive on this machine (%s)", path)
	case err != nil:
		return fail(evidence, "the archive %s is not whole: %s", path, err)
	}
	return pass(evidence, "the archive %s is whole", path)
}

// ErrNoArchive says that no archive was made, or not on this machine.
var ErrNoArchive = errors.New("there is no archive")

func join(systems []edge.System) string {
	var names []string
	for _, system := range systems {
		names = append(names, string(system))
	}
	return strings.Join(names, " and ") + map[bool]string{true: " are", false: " is"}[len(names) > 1]
}
