package edge_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/edge"
)

func TestBucketIsTheSameForEver(t *testing.T) {
	assert.Equal(t, 262, edge.Bucket("123456789")) // the polynomial's check value, 0xcbf43926
	assert.Equal(t, 0, edge.Bucket(""))
}

func TestRaisingAWeightMovesNobodyBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bucket := edge.Bucket(visitor().Draw(t, "visitor"))
		lower := rapid.IntRange(0, int(edge.AllGo)).Draw(t, "lower")
		higher := rapid.IntRange(lower, int(edge.AllGo)).Draw(t, "higher")

		assert.False(t, edge.Weight(0).Takes(bucket))
		assert.True(t, edge.AllGo.Takes(bucket))
		if edge.Weight(lower).Takes(bucket) {
			assert.True(t, edge.Weight(higher).Takes(bucket))
		}
	})
}

func visitor() *rapid.Generator[string] {
	return rapid.StringMatching(`[0-9a-f]{32}`)
}
