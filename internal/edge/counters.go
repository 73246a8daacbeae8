package edge

import (
	"math"
	"net/netip"
)

// Unmatched is the name under which requests are counted that no route matched.
const Unmatched = "-"

// AllRoutes is the name under which durations and requests in flight are kept
// where a table has too many routes to keep them for each.
const AllRoutes = "*"

// Self stands beside python and go in counters alone: what the edge answered
// itself.
const Self System = "edge"

// Buckets is the number of buckets of a histogram.
const Buckets = 12

// DurationBounds are the upper bounds of a histogram's buckets, in seconds.
func DurationBounds() [Buckets]float64 {
	return [Buckets]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, math.Inf(1)}
}

// Counters say how many requests each system answered since nginx started.
type Counters struct {
	Epoch      string                          `json:"epoch"`    // another one after nginx started anew
	Sequence   uint64                          `json:"sequence"` // what to ask the next changes since
	Generation uint64                          `json:"generation"`
	Total      uint64                          `json:"total"`
	Requests   map[string]map[System]Classes   `json:"requests"`  // by route name
	Durations  map[string]map[System]Histogram `json:"durations"` // by route name, or AllRoutes
	InFlight   map[string]map[System]InFlight  `json:"in_flight"` // what is not zero, by route name or AllRoutes
}

// Classes are numbers of requests by the class of their status: "2xx" (with
// connections that became WebSockets) to "5xx", "none" where the system did not
// answer, and "left" where the client did not wait for the answer. What nginx
// itself refuses in the middle of a request, such as an upload that becomes too
// long, is in "4xx".
type Classes map[string]uint64

// Histogram says how long requests took, from their first octet to the end of
// their answer.
type Histogram struct {
	Buckets [Buckets]uint64 `json:"buckets"` // each for itself, not cumulative
	Sum     float64         `json:"sum"`     // seconds
}

// InFlight are requests that wait for the end of their answer.
type InFlight struct {
	Count  uint64          `json:"count"`
	Ages   [Buckets]uint64 `json:"ages"`   // as in a histogram
	Oldest float64         `json:"oldest"` // seconds
}

// Upstreams are the addresses of each system as resolved now.
type Upstreams map[System][]netip.AddrPort
