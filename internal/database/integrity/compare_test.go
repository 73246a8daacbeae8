package integrity

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func ranges(rs ...Range) Table { return Table{Ranges: rs} }

func rangeOf(number, rows int64, sum string) Range {
	return Range{Number: number, From: number * Width, To: number*Width + rows - 1, Rows: rows, Sum: sum}
}

func TestCompareLocatesDifferences(t *testing.T) {
	before := ranges(rangeOf(0, 10, "a"), rangeOf(1, 10, "b"), rangeOf(2, 10, "c"), rangeOf(5, 10, "d"), rangeOf(7, 10, "e"))
	for name, test := range map[string]struct {
		after Table
		want  []Difference
	}{
		"the same": {before, nil},
		"one changed": {
			ranges(rangeOf(0, 10, "a"), rangeOf(1, 10, "x"), rangeOf(2, 10, "c"), rangeOf(5, 10, "d"), rangeOf(7, 10, "e")),
			[]Difference{{From: 1000, To: 1009, Before: 10, After: 10, Keys: []int64{}}},
		},
		"two beside each other are one": {
			ranges(rangeOf(0, 10, "a"), rangeOf(1, 9, "x"), rangeOf(2, 12, "y"), rangeOf(5, 10, "d"), rangeOf(7, 10, "e")),
			[]Difference{{From: 1000, To: 2011, Before: 20, After: 21, Keys: []int64{}}},
		},
		"one gone, one new": {
			ranges(rangeOf(0, 10, "a"), rangeOf(1, 10, "b"), rangeOf(2, 10, "c"), rangeOf(3, 1, "n"), rangeOf(7, 10, "e")),
			[]Difference{{From: 3000, To: 3000, After: 1, Keys: []int64{}}, {From: 5000, To: 5009, Before: 10, Keys: []int64{}}},
		},
		"all gone": {
			ranges(),
			[]Difference{
				{From: 0, To: 2009, Before: 30, Keys: []int64{}},
				{From: 5000, To: 5009, Before: 10, Keys: []int64{}},
				{From: 7000, To: 7009, Before: 10, Keys: []int64{}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, Compare(before, test.after)) })
	}
}

// Whatever is changed in one range is found, in that range and nowhere else.
func TestCompareFindsAnyChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.Int64Range(-50, 50), 1, 40, rapid.ID[int64]).Draw(t, "numbers")
		m, changed := newMerger(), newMerger()
		victim := rapid.SampledFrom(numbers).Draw(t, "victim")
		for _, number := range numbers {
			one := part{Number: number, From: number * Width, To: number*Width + 1, Rows: 2, Sum: strconv.FormatInt(rapid.Int64().Draw(t, "sum"), 10)}
			require.NoError(t, m.add(one, false))
			if number == victim {
				one.Sum = one.Sum[:len(one.Sum)-1] + string('0'+('9'-one.Sum[len(one.Sum)-1]))
			}
			require.NoError(t, changed.add(one, false))
		}
		assert.Empty(t, Compare(m.table(Shape{}), m.table(Shape{})))
		found := Compare(m.table(Shape{}), changed.table(Shape{}))
		require.Len(t, found, 1)
		assert.LessOrEqual(t, found[0].From, victim*Width)
		assert.GreaterOrEqual(t, found[0].To, victim*Width)
	})
}

// In whatever order and parts the rows are read, the sums are the same.
func TestMergerKnowsNoOrder(t *testing.T) {
	one, other := newMerger(), newMerger()
	parts := []part{
		{Number: 3, From: 3001, To: 3500, Rows: 400, Sum: "9223372036854775807000"},
		{Number: 3, From: 3000, To: 3999, Rows: 600, Sum: "-17"},
		{Number: -1, From: -1500, To: -1001, Rows: 2, Sum: "5"},
	}
	for i := range parts {
		require.NoError(t, one.add(parts[i], false))
		require.NoError(t, other.add(parts[len(parts)-1-i], false))
	}
	require.NoError(t, one.add(part{Rows: 7, Sum: "1"}, true))
	table := one.table(Shape{Name: "t"})
	assert.Equal(t, other.table(Shape{}).Ranges, table.Ranges)
	assert.Equal(t, []Range{
		{Number: -1, From: -1500, To: -1001, Rows: 2, Sum: "5"},
		{Number: 3, From: 3000, To: 3999, Rows: 1000, Sum: "9223372036854775806983"},
	}, table.Ranges)
	assert.EqualValues(t, 1002, table.Rows)
	assert.EqualValues(t, 7, table.Added)
	assert.Error(t, one.add(part{Sum: "NaN"}, false))
}
