package plan

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const month = 31 * 24 * 60 * 60

func TestSession_SaysWhatIsStricter(t *testing.T) {
	p2k16 := Session{Legacy: SessionTerms{TTL: month, SameSite: "lax", Remember: true}, Shared: SessionTerms{TTL: 3600, SameSite: "strict", Remember: true}}
	assert.Equal(t, []string{
		"Who logs in anew stays logged in for 1 hour without a visit, not for 31 days as before; sessions from before keep what remains of theirs.",
		"Who follows a link from another site or a mail arrives without the session, and has it again at the next click.",
	}, p2k16.Stricter())

	for name, test := range map[string]struct {
		legacy, shared SessionTerms
		losses         int
	}{
		"nothing said":          {SessionTerms{}, SessionTerms{}, 0},
		"nothing said of one":   {SessionTerms{TTL: month}, SessionTerms{}, 0},
		"the same":              {p2k16.Legacy, p2k16.Legacy, 0},
		"more generous":         {p2k16.Shared, p2k16.Legacy, 0},
		"shorter":               {SessionTerms{TTL: 90}, SessionTerms{TTL: 89}, 1},
		"without an attribute":  {SessionTerms{TTL: 60}, SessionTerms{TTL: 60, SameSite: "lax"}, 0},
		"from none to lax":      {SessionTerms{TTL: 60, SameSite: "none"}, SessionTerms{TTL: 60}, 1},
		"remembered no more":    {SessionTerms{TTL: 60, Remember: true}, SessionTerms{TTL: 60}, 1},
		"everything is worse":   {SessionTerms{TTL: 61, SameSite: "none", Remember: true}, SessionTerms{TTL: 60, SameSite: "strict"}, 3},
		"time is left out once": {SessionTerms{SameSite: "lax"}, SessionTerms{TTL: 60, SameSite: "lax"}, 0},
	} {
		losses := Session{Legacy: test.legacy, Shared: test.shared}.Stricter()
		assert.Len(t, losses, test.losses, name)
		for _, loss := range losses {
			assert.True(t, strings.HasSuffix(loss, "."), loss)
		}
	}
}

func TestPeriod(t *testing.T) {
	for seconds, expected := range map[int]string{60: "1 minute", 3600: "1 hour", 90: "1m30s", 172800: "2 days", 5400: "90 minutes"} {
		assert.Equal(t, expected, period(seconds))
	}
}
