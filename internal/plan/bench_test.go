package plan

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	for _, routes := range []int{6, 1000} {
		b.Run(fmt.Sprintf("routes=%d", routes), func(b *testing.B) {
			var source strings.Builder
			source.WriteString("version: 1\nname: x\nroutes:\n")
			for i := range routes {
				fmt.Fprintf(&source, "  - {name: r%d, prefix: /api/r%d/}\n", i, i)
			}
			for b.Loop() {
				if _, err := Parse("p.yaml", []byte(source.String())); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
