package incident

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const line = `{"time":"2026-01-02T03:04:05+00:00","request_id":"ID","method":"METHOD","path":"/api/tools/1/checkout","status":STATUS,"system":"SYSTEM","seconds":0.4,"user":"7","upstream":"UPSTREAM"}` + "\n"

func logged(id, method, status, system, upstream string) string {
	return strings.NewReplacer("ID", id, "METHOD", method, "STATUS", status, "SYSTEM", system, "UPSTREAM", upstream).Replace(line)
}

func TestFailedFindsWhatMayHaveChangedSomething(t *testing.T) {
	log := "2026/01/02 03:04:05 [notice] nginx says something\n" +
		logged("a", "POST", "502", "go", "10.0.0.1:8080") +
		logged("b", "GET", "502", "go", "10.0.0.1:8080") +
		logged("c", "PUT", "200", "go", "10.0.0.1:8080") +
		logged("d", "PUT", "499", "", "10.0.0.1:8080") +
		logged("e", "PUT", "499", "", "10.0.0.1:5000") +
		logged("f", "DELETE", "503", "python", "10.0.0.1:5000") +
		logged("g", "POST", "409", "go", "10.0.0.1:8080") +
		"{broken\n" +
		strings.TrimSuffix(logged("h", "PATCH", "500", "go", "10.0.0.1:8080"), "\n")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		from, to time.Time
		want     []string
	}{
		"within": {at.Add(900 * time.Millisecond), at.Add(time.Second), []string{"a", "d", "h"}},
		"before": {at.Add(-time.Hour), at.Add(-time.Second), nil},
		"after":  {at.Add(time.Second), at.Add(time.Hour), nil},
	} {
		t.Run(name, func(t *testing.T) {
			failed, err := Failed(strings.NewReader(log), "8080", test.from, test.to)
			require.NoError(t, err)
			var ids []string
			for _, r := range failed {
				ids = append(ids, r.RequestID)
				assert.Equal(t, "7", r.User)
				assert.Equal(t, "/api/tools/1/checkout", r.Path)
			}
			assert.Equal(t, test.want, ids)
		})
	}
}
