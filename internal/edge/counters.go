package edge

import "net/netip"

// Unmatched is the name under which requests are counted that no route matched.
const Unmatched = "-"

// Counters say how many requests each system answered since nginx started.
type Counters struct {
	Epoch      string                        `json:"epoch"` // another one after nginx started anew
	Generation uint64                        `json:"generation"`
	Total      uint64                        `json:"total"`
	Requests   map[string]map[System]Classes `json:"requests"` // by route name
}

// Classes are numbers of requests by the class of their status: "2xx" (with
// connections that became WebSockets) to "5xx", "none" where the system did not
// answer, and "left" where the client did not wait for the answer. What nginx
// itself refuses in the middle of a request, such as an upload that becomes too
// long, is in "4xx".
type Classes map[string]uint64

// Upstreams are the addresses of each system as resolved now.
type Upstreams map[System][]netip.AddrPort
