package plan

import (
	"fmt"
	"slices"
	"time"
)

// Session is the contract of the sessions: what the legacy system promises its
// users before the migration, and what both systems promise from then on. With
// nothing said of one of them nothing is known to be stricter.
type Session struct {
	Legacy SessionTerms `yaml:"legacy"`
	Shared SessionTerms `yaml:"shared"`
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

// Problems tells what is wrong with the contract itself, by the path below
// `session` that says it.
func (s Session) Problems() map[string]string {
	problems := map[string]string{}
	for name, terms := range map[string]SessionTerms{"legacy": s.Legacy, "shared": s.Shared} {
		if terms.TTL != 0 && (terms.TTL < shortestSession || terms.TTL > longestSession) {
			problems[name+".ttl_s"] = fmt.Sprintf("ttl_s is %d; it has to be %d to %d seconds", terms.TTL, shortestSession, longestSession)
		}
		if !slices.Contains([]string{"", "none", "lax", "strict"}, terms.SameSite) {
			problems[name+".same_site"] = fmt.Sprintf("same_site is %q; it has to be none, lax or strict", terms.SameSite)
		}
	}
	return problems
}

// Private

const (
	shortestSession = 60
	longestSession  = 366 * 24 * 60 * 60
)

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
