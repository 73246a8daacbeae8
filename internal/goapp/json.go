package goapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"unicode/utf8"
)

var errMalformed = errors.New("the text is not the JSON object that is wanted")

// readObject reads the wanted texts of a JSON object, as strictly and as
// leniently as the legacy system: names have their case, every one of a name
// that comes twice must be a text or null, and nothing is asked of the values
// that nobody wants but that they are JSON.
func readObject(document []byte, wanted map[string]*string) error {
	if !json.Valid(document) || hasLoneSurrogate(document) {
		return errMalformed
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return errMalformed
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		text, ok := wanted[name.(string)]
		if !ok {
			continue
		}
		*text = "" // null changes nothing
		if !utf8.Valid(value) || json.Unmarshal(value, text) != nil {
			return errMalformed
		}
	}
	return nil
}

// escapes matches a pair of surrogates, one that is alone (the group), or any
// other escape.
var escapes = regexp.MustCompile(`\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)`)

// hasLoneSurrogate reports whether valid JSON has half a character, for which
// encoding/json would put another one.
func hasLoneSurrogate(document []byte) bool {
	return slices.ContainsFunc(escapes.FindAllSubmatch(document, -1), func(match [][]byte) bool {
		return match[1] != nil
	})
}
