package edge_test

import (
	"fmt"
	"testing"

	"github.com/cutover-dev/cutover/internal/edge"
)

// The cost of a look-up must not grow with the number of routes: compare the
// lines of one run.
func BenchmarkChoose(b *testing.B) {
	for _, routes := range []int{4, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			table := edge.Table{Home: edge.Python}
			for i := range routes {
				table.Routes = append(table.Routes, edge.Route{Name: fmt.Sprintf("r%d", i), Prefix: fmt.Sprintf("/api/r%d/", i), Weight: 5000})
			}
			router, err := edge.NewRouter(table)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				router.Choose(edge.Request{Target: "/api/r3/17/badges?page=2", Visitor: "0123456789abcdef0123456789abcdef"})
			}
		})
	}
}

func BenchmarkBucket(b *testing.B) {
	for b.Loop() {
		edge.Bucket("0123456789abcdef0123456789abcdef")
	}
}
