package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// The keys of a record that both systems know. The ones with an underscore
// are Flask-Login's and Flask-Session's own.
const (
	keyUserID     = "_user_id"
	keyFresh      = "_fresh"
	keyIdentifier = "_id"
	keyPermanent  = "_permanent"
	keyCreatedBy  = "created_by"
	keyMigrated   = "migrated"
)

// Record is one session as both systems store it: a JSON object. The values
// stay the bytes that were read, so what this system does not know survives
// it unchanged.
type Record map[string]json.RawMessage

// ParseRecord reads a stored record, and only one that both systems read.
func ParseRecord(data []byte) (Record, error) {
	var record Record
	if err := json.Unmarshal(data, &record); err != nil {
		return nil, fmt.Errorf("the session record is not a JSON object: %w", err)
	}
	if record == nil {
		return nil, errors.New("the session record is null, not a JSON object")
	}
	if err := strict(data); err != nil {
		return nil, fmt.Errorf("the session record is not what both systems read: %w", err)
	}
	return record, nil
}

// Encode returns the record as it is stored: keys in order, values as they
// are. (json.Marshal would compact and escape the values.)
func (r Record) Encode() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(r)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quote(key))
		b.WriteByte(':')
		b.Write(r[key])
	}
	b.WriteByte('}')
	return b.Bytes()
}

// Text returns a value that is a JSON string, or "".
func (r Record) Text(key string) string {
	var text string
	if json.Unmarshal(r[key], &text) != nil {
		return ""
	}
	return text
}

// With returns the record after the changes.
func (r Record) With(changes Changes) Record {
	changed := maps.Clone(r)
	if changed == nil {
		changed = Record{}
	}
	for key, value := range changes {
		if value == nil {
			delete(changed, key)
		} else {
			changed[key] = value
		}
	}
	return changed
}

// Changes are the keys of a record that one request wrote. A nil value
// removes its key.
type Changes map[string]json.RawMessage

// Diff returns the changes that lead from one record to another.
func Diff(before, after Record) Changes {
	changes := Changes{}
	for key, value := range after {
		if old, ok := before[key]; !ok || !bytes.Equal(old, value) {
			changes[key] = value
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			changes[key] = nil
		}
	}
	return changes
}

func quote(text string) json.RawMessage {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // strings always marshal
	}
	return quoted
}
