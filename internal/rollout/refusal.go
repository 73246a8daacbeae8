package rollout

import "fmt"

// Code says why something was refused, in the words of the guard's API.
type Code string

// The reasons for a refusal.
const (
	Stale        Code = "stale"
	Latched      Code = "latched"
	PlanDiffers  Code = "plan_differs"
	UnknownRoute Code = "unknown_route"
	Invalid      Code = "invalid"
	GateClosed   Code = "gate"         // a gate fails, or has no answer that was acknowledged
	Paused       Code = "paused"       // nothing begins or is completed
	OutOfOrder   Code = "out_of_order" // another step is next
	NoWayBack    Code = "no_way_back"  // a one-way step was begun
)

// Refusal is the answer to a wish that the state does not allow.
type Refusal struct {
	Code    Code
	Message string // one sentence for a person
}

// Error is the sentence.
func (r *Refusal) Error() string {
	return r.Message
}

func refuse(code Code, format string, args ...any) error {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}
