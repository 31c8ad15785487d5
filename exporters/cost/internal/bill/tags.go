package bill

import (
	"bytes"
	"encoding/json"
	"strings"
)

// readTags calls found for each tag of a text, and reports whether the text could be read. FOCUS requires a flat JSON
// object. Providers and tools also write lists of objects with key and value, an object without its braces (Azure), an
// object with single quotes (Python), and team=search;env=prod.
func readTags(text []byte, found func(key, value []byte)) bool {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return true
	}
	switch text[0] {
	case '{':
		return readObject(text, found) || readAnyObject(text, found)
	case '[':
		return readPairs(text, found)
	case '"', '\'':
		braced := append(append([]byte{'{'}, text...), '}')
		return readObject(braced, found) || readAnyObject(braced, found)
	}
	return readAssignments(text, found)
}

// readObject reads a flat object of texts without escapes, with either kind of quotes. It returns false for any other
// text. It may have called found before that.
func readObject(text []byte, found func(key, value []byte)) bool {
	return readFlat(text, quoted, found)
}

// readEscaped reads a flat object in its CSV form, a quoted field with doubled quotes. Nearly all tags have this form,
// and removing the doubled quotes takes as long as reading them.
func readEscaped(field []byte, found func(key, value []byte)) bool {
	return len(field) > 3 && field[0] == '"' && field[1] == '{' && readFlat(field[1:len(field)-1], doubleQuoted, found)
}

// readFlat reads a flat object whose texts have one kind of quotes.
func readFlat(text []byte, quoted func([]byte) (inside, after []byte, ok bool), found func(key, value []byte)) bool {
	rest := skipSpace(text[1:])
	if len(rest) > 0 && rest[0] == '}' {
		return len(skipSpace(rest[1:])) == 0
	}
	for {
		key, after, ok := quoted(rest)
		if !ok {
			return false
		}
		rest = skipSpace(after)
		if len(rest) == 0 || rest[0] != ':' {
			return false
		}
		value, after, ok := quoted(skipSpace(rest[1:]))
		if !ok {
			return false
		}
		found(key, value)
		rest = skipSpace(after)
		switch {
		case len(rest) == 0:
			return false
		case rest[0] == '}':
			return len(skipSpace(rest[1:])) == 0
		case rest[0] != ',':
			return false
		}
		rest = skipSpace(rest[1:])
	}
}

// quoted reads a text in quotes.
func quoted(text []byte) (inside, after []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' && text[0] != '\'' {
		return nil, nil, false
	}
	n := bytes.IndexByte(text[1:], text[0])
	if n < 0 || bytes.IndexByte(text[1:n+1], '\\') >= 0 {
		return nil, nil, false
	}
	return text[1 : n+1], text[n+2:], true
}

// doubleQuoted reads a text between doubled quotes that contains no quote.
func doubleQuoted(text []byte) (inside, after []byte, ok bool) {
	if len(text) < 4 || text[0] != '"' || text[1] != '"' {
		return nil, nil, false
	}
	for i, c := range text[2:] {
		switch c {
		case '\\':
			return nil, nil, false
		case '"':
			rest := text[2+i+1:]
			if len(rest) == 0 || rest[0] != '"' {
				return nil, nil, false
			}
			return text[2 : 2+i], rest[1:], true
		}
	}
	return nil, nil, false
}

func skipSpace(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t' || text[0] == '\r' || text[0] == '\n') {
		text = text[1:]
	}
	return text
}

// readAnyObject reads an object with escapes, numbers, and nested objects. A null is not a tag.
func readAnyObject(text []byte, found func(key, value []byte)) bool {
	var all map[string]json.RawMessage
	if json.Unmarshal(text, &all) != nil {
		return false
	}
	for key, raw := range all {
		if value, ok := jsonText(raw); ok {
			found([]byte(key), value)
		}
	}
	return true
}

// jsonText is a value as text. It returns false for null.
func jsonText(raw json.RawMessage) ([]byte, bool) {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, false
	case json.Unmarshal(raw, &s) == nil:
		return []byte(s), true
	}
	return raw, true
}

// readPairs reads [{"key": "team", "value": "search"}]. The two names may have any case.
func readPairs(text []byte, found func(key, value []byte)) bool {
	var pairs []struct {
		Key   *string         `json:"key"`
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal(text, &pairs) != nil {
		return false
	}
	for _, p := range pairs {
		if p.Key == nil {
			return false
		}
		if value, ok := jsonText(p.Value); ok {
			found([]byte(*p.Key), value)
		}
	}
	return true
}

// readAssignments reads team=search, or several assignments separated by semicolons, else by commas.
func readAssignments(text []byte, found func(key, value []byte)) bool {
	separator := ","
	if bytes.IndexByte(text, ';') >= 0 {
		separator = ";"
	}
	parts := strings.Split(string(text), separator)
	if last := len(parts) - 1; last > 0 && strings.TrimSpace(parts[last]) == "" {
		parts = parts[:last]
	}
	// Read all or none: in a=1,2 it is not clear what 2 is.
	for _, part := range parts {
		if key, _, ok := strings.Cut(part, "="); !ok || strings.TrimSpace(key) == "" || strings.ContainsAny(key, `"'{}:`) {
			return false
		}
	}
	for _, part := range parts {
		key, value, _ := strings.Cut(part, "=")
		found([]byte(key), []byte(strings.Trim(strings.TrimSpace(value), `"'`)))
	}
	return true
}
