package recorded

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/provider"
)

// row is one record of the file: a JSON object, or the cells of a CSV line.
type row struct {
	json    []byte
	cells   []string
	columns map[string]int
}

// field is a value in a row: JSON, or the text of a cell.
type field struct {
	raw  []byte
	cell bool
}

// notUTF8 names what of the row is not UTF-8: the row itself, or a cell by its column.
func (r row) notUTF8() string {
	if !utf8.Valid(r.json) {
		return "the row"
	}
	for name, i := range r.columns {
		if i < len(r.cells) && !utf8.ValidString(r.cells[i]) {
			return "the value of " + name
		}
	}
	return ""
}

// field finds the value at path, such as answer or model_a.answer. In a JSON object a key that is
// the whole path wins over one that is nested; the cells of a CSV line go by their header alone.
func (r row) field(path string) (field, bool) {
	if r.json == nil {
		i, ok := r.columns[path]
		if !ok || i >= len(r.cells) {
			return field{}, false
		}
		return field{raw: []byte(r.cells[i]), cell: true}, true
	}
	raw, ok := find(r.json, path)
	return field{raw: raw}, ok
}

// text returns the value as an answer's text.
func (f field) text() (string, error) {
	if f.cell {
		return string(f.raw), nil
	}
	return provider.Text(f.raw)
}

// bytes returns what text does, without a copy where the value needs no decoding.
func (f field) bytes() ([]byte, error) {
	if f.cell {
		return f.raw, nil
	}
	if n := len(f.raw); n >= 2 && f.raw[0] == '"' && bytes.IndexByte(f.raw, '\\') < 0 {
		return f.raw[1 : n-1], nil
	}
	s, err := provider.Text(f.raw)
	return []byte(s), err
}

// empty says that there is nothing: null, or a cell without text.
func (f field) empty() bool {
	if f.cell {
		return len(f.raw) == 0
	}
	return string(f.raw) == "null"
}

// decode reads the value as JSON.
func (f field) decode(into any) error { return json.Unmarshal(f.raw, into) }

// find returns the value at path in obj, which must be valid JSON. When a key is given twice the
// last one counts, as in encoding/json; no row that was indexed has one.
func find(obj []byte, path string) (value []byte, ok bool) {
	i := skipSpace(obj, 0)
	if i >= len(obj) || obj[i] != '{' {
		return nil, false
	}
	exact := false
	for i = skipSpace(obj, i+1); i < len(obj) && obj[i] == '"'; {
		end := skipValue(obj, i)
		key := keyText(obj[i:end])
		start := skipSpace(obj, skipSpace(obj, end)+1) // after the colon
		end = skipValue(obj, start)
		switch {
		case string(key) == path:
			value, ok, exact = obj[start:end], true, true
		case !exact && len(path) > len(key) && path[len(key)] == '.' && strings.HasPrefix(path, string(key)):
			if v, found := find(obj[start:end], path[len(key)+1:]); found {
				value, ok = v, true
			}
		}
		i = skipSpace(obj, end)
		if i < len(obj) && obj[i] == ',' {
			i = skipSpace(obj, i+1)
		}
	}
	return value, ok
}

// repeated returns a key that an object anywhere in obj, which must be valid JSON, has twice.
func repeated(obj []byte) (key string, twice bool) {
	type level struct {
		keys   [][]byte
		object bool
	}
	var open []level
	named := false // the next string is a key
	for i := 0; i < len(obj); i++ {
		switch obj[i] {
		case '{', '[':
			open = append(open, level{object: obj[i] == '{'})
			named = obj[i] == '{'
		case '}', ']':
			keys := open[len(open)-1].keys
			open = open[:len(open)-1]
			slices.SortFunc(keys, bytes.Compare)
			for k := 1; k < len(keys); k++ {
				if bytes.Equal(keys[k-1], keys[k]) {
					return string(keys[k]), true
				}
			}
		case ',':
			named = open[len(open)-1].object
		case '"':
			end := skipString(obj, i)
			if named {
				top := &open[len(open)-1]
				top.keys = append(top.keys, keyText(obj[i:end]))
				named = false
			}
			i = end - 1
		}
	}
	return "", false
}

// keyText is what a key, given with its quotes, says.
func keyText(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return quoted
	}
	return []byte(s)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the end of the valid JSON value that starts at b[i].
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return len(b)
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for i < len(b) {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return i
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] > ' ' {
		i++
	}
	return i
}

// skipString returns the end of the string whose opening quote is b[i].
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i + 1
		}
	}
	return len(b)
}
