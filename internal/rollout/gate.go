package rollout

import (
	"fmt"
	"slices"
)

// Verdict is the answer of a gate. No data is never a pass.
type Verdict string

// The verdicts.
const (
	Pass          Verdict = "pass"
	Fail          Verdict = "fail"
	Inconclusive  Verdict = "inconclusive"
	NotApplicable Verdict = "not_applicable" // the plan says so, with a reason
)

// GateResult is what was found out about a gate, and what decided it.
type GateResult struct {
	Name     string         `json:"name"`
	Verdict  Verdict        `json:"verdict"`
	Evidence map[string]any `json:"evidence"`
}

// Ack is what a person takes responsibility for: a gate that has no answer.
// It holds as long as what it was said about is the same.
type Ack struct {
	Gate    string `json:"gate"`
	Reason  string `json:"reason"`
	Actor   string `json:"actor"`
	Time    Time   `json:"time"`
	Context string `json:"context"`
}

// Finding is what a command found out that a gate asks for later: a backup that
// was proved, a drill that passed. It holds as long as what it is about is the
// same.
type Finding struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Summary string  `json:"summary"` // one sentence
	Actor   string  `json:"actor"`
	Time    Time    `json:"time"`
	Context string  `json:"context"`
}

// Acknowledged returns what a person said about a gate in this context.
func (s State) Acknowledged(gate, context string) (Ack, bool) {
	i := slices.IndexFunc(s.Acks, func(a Ack) bool { return a.Gate == gate && a.Context == context })
	if i < 0 {
		return Ack{}, false
	}
	return s.Acks[i], true
}

// Found returns the last finding of a name, whatever it is about.
func (s State) Found(name string) (Finding, bool) {
	i := slices.IndexFunc(s.Findings, func(f Finding) bool { return f.Name == name })
	if i < 0 {
		return Finding{}, false
	}
	return s.Findings[i], true
}

// Find records a finding in the place of an earlier one of the same name. It
// moves nothing, so it names no generation.
func (s State) Find(finding Finding, cause Cause) (State, *Event, error) {
	if err := cause.validate(); err != nil {
		return s, nil, err
	}
	switch {
	case finding.Name == "" || len(finding.Name) > longestName:
		return s, nil, refuse(Invalid, "A finding needs a name of at most %d bytes.", longestName)
	case len(finding.Summary) > longestSummary:
		return s, nil, refuse(Invalid, "The summary of the finding %s is longer than %d bytes.", finding.Name, longestSummary)
	case finding.Verdict != Pass && finding.Verdict != Fail && finding.Verdict != Inconclusive:
		return s, nil, refuse(Invalid, "The finding %s has the verdict %q, which is none.", finding.Name, finding.Verdict)
	}
	finding.Actor, finding.Time = cause.Actor, cause.time()
	after := s.next()
	after.Findings = slices.DeleteFunc(slices.Clone(s.Findings), func(f Finding) bool { return f.Name == finding.Name })
	if len(after.Findings) >= mostFindings {
		return s, nil, refuse(Invalid, "There are %d findings already, which is all that are kept.", mostFindings)
	}
	after.Findings = append(after.Findings, finding)
	after, event := changed(ActionFinding, s, after, cause)
	return after, event, nil
}

// Private

// The state is written with every event, so what is kept in it is short.
const (
	longestName    = 64
	longestSummary = 1000
	mostFindings   = 64
)

// admit tells whether gates let a step pass, and which of the
// acknowledgements were needed for it.
func (s State) admit(step Step, gates []string, r StepRequest) ([]Ack, error) {
	var used []Ack
	for _, gate := range gates {
		i := slices.IndexFunc(r.Gates, func(g GateResult) bool { return g.Name == gate })
		if i < 0 {
			return nil, refuse(GateClosed, "Nothing was said about the gate %s of the step %s.", gate, step.Name)
		}
		switch verdict := r.Gates[i].Verdict; verdict {
		case Pass, NotApplicable:
		case Inconclusive:
			if reason := r.Acks[gate]; reason != "" {
				used = append(used, Ack{Gate: gate, Reason: reason, Context: r.Context})
			} else if _, before := s.Acknowledged(gate, r.Context); !before {
				return nil, refuse(GateClosed, "The gate %s of the step %s has no answer; a person can acknowledge it: --ack %s=REASON.", gate, step.Name, gate)
			}
		case Fail:
			return nil, refuse(GateClosed, "The gate %s of the step %s fails, which cannot be acknowledged.", gate, step.Name)
		default:
			return nil, refuse(Invalid, "The gate %s has the verdict %q, which is none.", gate, verdict)
		}
	}
	return used, nil
}

// withAcks keeps acknowledgements, each in the place of an earlier one.
func (s State) withAcks(acks []Ack, cause Cause) State {
	s.Acks = slices.Clone(s.Acks)
	for _, ack := range acks {
		ack.Actor, ack.Time = cause.Actor, cause.time()
		s.Acks = slices.DeleteFunc(s.Acks, func(a Ack) bool { return a.Gate == ack.Gate })
		s.Acks = append(s.Acks, ack)
	}
	return s
}

func (v Verdict) String() string {
	if v == NotApplicable {
		return "not applicable"
	}
	return string(v)
}

var _ fmt.Stringer = Pass
