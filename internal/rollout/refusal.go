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
