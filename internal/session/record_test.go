package session

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseRecord_RefusesWhatIsNotAnObject(t *testing.T) {
	for _, data := range []string{``, `null`, `[]`, `"text"`, `{`, `{"a":NaN}`, "\x80\x04}."} {
		_, err := ParseRecord([]byte(data))
		assert.Error(t, err, "%q", data)
	}
}

func TestRecord_KeepsForeignValuesByteForByte(t *testing.T) {
	record, err := ParseRecord([]byte(` {"z":  1.50 , "a<b": "<\u00e5>\/", "n": [1,  {"b":2, "a":1e300}], "\u00e5": null} `))
	require.NoError(t, err)
	changed := record.With(Changes{keyFresh: json.RawMessage("true")})
	assert.Equal(t,
		`{"_fresh":true,"a\u003cb":"<\u00e5>\/","n":[1,  {"b":2, "a":1e300}],"z":1.50,"å":null}`,
		string(changed.Encode()))
}

func TestRecord_With(t *testing.T) {
	record := Record{"keep": json.RawMessage("1"), "drop": json.RawMessage("2")}
	changed := record.With(Changes{"drop": nil, "absent": nil, "new": json.RawMessage("3")})
	assert.Equal(t, Record{"keep": json.RawMessage("1"), "new": json.RawMessage("3")}, changed)
	assert.Len(t, record, 2, "the original is left alone")
	assert.Equal(t, Record{}, Record(nil).With(nil))
}

func TestRecord_Text(t *testing.T) {
	record := Record{"text": json.RawMessage(`"\u00e5"`), "number": json.RawMessage("7")}
	assert.Equal(t, "å", record.Text("text"))
	assert.Empty(t, record.Text("number"))
	assert.Empty(t, record.Text("absent"))
}

func records() *rapid.Generator[Record] {
	values := rapid.SampledFrom([]json.RawMessage{
		json.RawMessage(`1`), json.RawMessage(`1.0`), json.RawMessage(`"x"`), json.RawMessage(`null`), json.RawMessage(`{"a": [ ]}`),
	})
	return rapid.Custom(func(t *rapid.T) Record {
		return rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", `"`, "å"}), values, 0, 6).Draw(t, "record")
	})
}

func TestMerge_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, mine, theirs := records().Draw(t, "base"), records().Draw(t, "mine"), records().Draw(t, "theirs")
		changes := Diff(base, mine)

		assert.Equal(t, mine, base.With(changes), "without a conflict, what I wrote is stored")
		merged := theirs.With(changes)
		for key := range merge(base, mine, theirs) {
			if value, mineToo := changes[key]; mineToo {
				assert.Equal(t, value, merged[key], "what I changed is mine: %s", key)
			} else {
				assert.Equal(t, theirs[key], merged[key], "what I left alone is theirs: %s", key)
			}
		}
		assert.Equal(t, merged, merged.With(changes), "applying changes twice changes nothing")
		if len(changes) == 0 {
			assert.Equal(t, theirs, merged)
		}
	})
}

// merge returns a record with the keys of all of them.
func merge(records ...Record) Record {
	all := Record{}
	for _, record := range records {
		for key, value := range record {
			all[key] = value
		}
	}
	return all
}

func TestRecord_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		record := records().Draw(t, "record")
		read, err := ParseRecord(record.Encode())
		require.NoError(t, err)
		assert.Equal(t, record, read)
		assert.True(t, json.Valid(record.Encode()))
	})
}
