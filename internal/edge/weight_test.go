package edge_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cutover-dev/cutover/internal/edge"
)

func TestParseWeightReadsPercentages(t *testing.T) {
	for text, want := range map[string]edge.Weight{
		"0": 0, "0.01": 1, "0.1": 10, "25": 2500, "25.5": 2550, "25.50": 2550, "33.33": 3333, "100": 10000, "100.00": 10000,
	} {
		got, err := edge.ParseWeight(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestParseWeightRefusesEverythingElse(t *testing.T) {
	for text, problem := range map[string]string{
		"":                     `"" is not a percentage from 0 to 100`,
		"NaN":                  `"NaN" is not a percentage from 0 to 100`,
		"Inf":                  `"Inf" is not a percentage from 0 to 100`,
		"-1":                   `"-1" is not a percentage from 0 to 100`,
		"+1":                   `"+1" is not a percentage from 0 to 100`,
		"1e1":                  `"1e1" is not a percentage from 0 to 100`,
		"25,5":                 `"25,5" is not a percentage from 0 to 100`,
		"25%":                  `"25%" is not a percentage from 0 to 100`,
		".5":                   `".5" is not a percentage from 0 to 100`,
		"5.":                   `"5." is not a percentage from 0 to 100`,
		"0.001":                "the percentage 0.001 has more than two decimals",
		"100.01":               "the percentage 100.01 is over 100",
		"99999999999999999999": "the percentage 99999999999999999999 is over 100",
	} {
		_, err := edge.ParseWeight(text)
		assert.EqualError(t, err, problem, text)
	}
}

func TestWeightKeepsItsValueThroughJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weight := edge.Weight(rapid.IntRange(0, int(edge.AllGo)).Draw(t, "weight"))
		text, err := json.Marshal(weight)
		require.NoError(t, err)

		var number float64
		require.NoError(t, json.Unmarshal(text, &number))
		assert.InDelta(t, weight.Percent(), number, 1e-9)

		var back edge.Weight
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, weight, back)
	})
}

func TestWeightRefusesJSONThatIsNoNumber(t *testing.T) {
	for _, text := range []string{"null", `"25"`, "true", "1e1", "-0"} {
		var weight edge.Weight
		assert.Error(t, json.Unmarshal([]byte(text), &weight), text)
	}
}
