package plan

import (
	"fmt"
	"strings"
	"time"
)

// Session is the contract of the sessions: what the legacy system promises its
// users before the migration, and what both systems promise from then on. With
// nothing said of one of them nothing is known to be stricter.
type Session struct {
	Legacy SessionTerms `yaml:"legacy"`
	Shared SessionTerms `yaml:"shared"`
	// Probe is how it is tried; nil where it cannot be.
	Probe *SessionProbe `yaml:"probe"`
}

// SessionTerms are one side of the contract.
type SessionTerms struct {
	// TTL is how long a session lives that nobody uses, in seconds, from 60 to
	// a year; 0 says nothing of it.
	TTL int `yaml:"ttl_s"`
	// SameSite is the attribute of the session's cookie: none, lax or strict.
	// "" is a cookie without it, which browsers treat as lax.
	SameSite string `yaml:"same_site"`
	// Remember says whether users can ask to be logged in again after that.
	Remember bool `yaml:"remember"`
}

// Stricter tells, a sentence each, what users lose when the shared contract
// takes the legacy one's place. A step that begins it is lossy if there is
// anything.
func (s Session) Stricter() []string {
	var losses []string
	if s.Shared == (SessionTerms{}) || s.Legacy == (SessionTerms{}) {
		return nil
	}
	if s.Shared.TTL > 0 && s.Shared.TTL < s.Legacy.TTL {
		losses = append(losses, fmt.Sprintf("Who logs in anew stays logged in for %s without a visit, not for %s as before; sessions from before keep what remains of theirs.",
			period(s.Shared.TTL), period(s.Legacy.TTL)))
	}
	if strictness(s.Shared.SameSite) > strictness(s.Legacy.SameSite) {
		loss := "What another site's page embeds or sends comes without the session."
		if s.Shared.SameSite == "strict" {
			loss = "Who follows a link from another site or a mail arrives without the session, and has it again at the next click."
		}
		losses = append(losses, loss)
	}
	if s.Legacy.Remember && !s.Shared.Remember {
		losses = append(losses, "Nobody is remembered after the session has expired.")
	}
	return losses
}

// Private

const (
	shortestSession = 60
	longestSession  = 366 * 24 * 60 * 60
)

// validateSession wants a step that says what users lose by a contract that is
// stricter than the legacy one.
func (p *Plan) validateSession(v *source) {
	for _, side := range []struct {
		name  string
		terms SessionTerms
	}{{"legacy", p.Session.Legacy}, {"shared", p.Session.Shared}} {
		if ttl := side.terms.TTL; ttl != 0 && (ttl < shortestSession || ttl > longestSession) {
			v.fail(place{"session", side.name, "ttl_s"}, "ttl_s is %d; it has to be %d to %d seconds", ttl, shortestSession, longestSession)
		}
	}
	losses := p.Session.Stricter()
	begun := false
	for i, phase := range p.Phases {
		for j, step := range phase.Steps {
			if !step.SharesSessions {
				continue
			}
			at := place{"phases", i, "steps", j}
			if begun {
				v.failKey(at.to("shares_sessions"), "an earlier step begins the shared sessions already")
			}
			begun = true
			if len(losses) > 0 && step.Label == "" || step.Label == "safe" && len(losses) > 0 {
				v.failKey(at.to("shares_sessions"), "the shared sessions are stricter than the legacy ones, so this step is lossy: %s", strings.Join(losses, " "))
			}
		}
	}
	if len(losses) > 0 && !begun && len(p.Phases) > 0 {
		v.fail(place{"session", "shared"}, "the shared sessions are stricter than the legacy ones, and no step says that it begins them; say shares_sessions: true and label: lossy in the one that does. %s", strings.Join(losses, " "))
	}
}

func strictness(sameSite string) int {
	switch sameSite {
	case "none":
		return 0
	case "strict":
		return 2
	default:
		return 1
	}
}

// period names a time in the largest unit that fits.
func period(seconds int) string {
	for _, unit := range []struct {
		seconds int
		name    string
	}{{24 * 60 * 60, "day"}, {60 * 60, "hour"}, {60, "minute"}} {
		if count := seconds / unit.seconds; seconds%unit.seconds == 0 && count > 0 {
			if count == 1 {
				return "1 " + unit.name
			}
			return fmt.Sprintf("%d %ss", count, unit.name)
		}
	}
	return (time.Duration(seconds) * time.Second).String()
}
