package dataset

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// objectRow reads an object of a plain JSON or JSONL file: a test case in promptfoo's shape if it has
// vars or a list of assertions, else a flat row whose every field is a variable. An object with
// assertions is never taken for a flat row, for then it would be run without them.
func (p *pass) objectRow(obj map[string]any, it *item) error {
	_, vars := obj["vars"]
	if _, asserts := obj["assert"].([]any); !vars && !asserts {
		it.test.Vars = obj
		it.idField = "id"
		return nil
	}
	pos := it.test.Pos
	if p.opts.DecodeTest == nil {
		return &config.Error{Pos: pos.At("vars"), Problem: "test cases with vars cannot be read here", Want: "flat rows"}
	}
	t, err := p.opts.DecodeTest(pos, obj)
	if err != nil {
		return err
	}
	t.Pos.File, t.Pos.Line = pos.File, pos.Line
	it.setTest(t)
	return nil
}

// label takes id, group and tags from the fields that the source names for them.
func (s *source) label(it *item) error {
	t := &it.test
	pos := config.Pos{File: t.Pos.File, Line: t.Pos.Line}
	named := s.tests.ID != "" && s.tests.ID != "-"
	idField := it.idField
	if named {
		idField = s.tests.ID
	}
	if t.ID == "" && idField != "" && s.tests.ID != "-" {
		id, err := text(t, pos, idField, named)
		if err != nil {
			return err
		}
		if id == "" && named {
			return fieldError(pos, idField, "", "the id is empty", "a string or a number, different for every case")
		}
		t.ID, it.idKey = id, idField
	}
	if f := s.tests.Group; f != "" && t.Group == "" {
		group, err := text(t, pos, f, true)
		if err != nil {
			return err
		}
		t.Group = group
	}
	if f := s.tests.TagField; f != "" {
		v, ok := field(t, f)
		if !ok {
			return missing(t, pos, f)
		}
		tags, ok := splitTags(v)
		if !ok {
			return fieldError(pos, f, v, "not tags", "a string such as a,b or a list of strings")
		}
		// The case's own list may be shared between passes, so it is not appended to in place.
		t.Tags = append(t.Tags[:len(t.Tags):len(t.Tags)], tags...)
	}
	t.Tags = cleanTags(t.Tags)
	return nil
}

// field returns a variable, or else a metadata entry.
func field(t *config.Test, name string) (any, bool) {
	if v, ok := t.Vars[name]; ok {
		return v, true
	}
	v, ok := t.Metadata[name]
	return v, ok
}

// text returns the field as a string, empty for null; required says that the field must be there.
func text(t *config.Test, pos config.Pos, name string, required bool) (string, error) {
	v, ok := field(t, name)
	if !ok && required {
		return "", missing(t, pos, name)
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return strings.TrimSpace(v), nil
	case int64, uint64, int, float64, bool:
		return fmt.Sprint(v), nil
	}
	return "", fieldError(pos, name, v, "not a name", "a string or a number")
}

// missing reports a field that the source names and the row lacks.
func missing(t *config.Test, pos config.Pos, name string) error {
	have := make([]string, 0, len(t.Vars))
	for k := range t.Vars {
		have = append(have, k)
	}
	return fieldError(pos, name, nil, "the row has no such field", oneOf(have))
}

func splitTags(v any) ([]string, bool) {
	switch v := v.(type) {
	case nil:
		return nil, true
	case string:
		return strings.Split(v, ","), true
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			out[i] = s
		}
		return out, true
	}
	return nil, false
}

// cleanTags trims tags and drops empty and repeated ones. It does not change the list it is given.
func cleanTags(tags []string) []string {
	if len(tags) == 0 {
		return nil
	}
	out := make([]string, 0, len(tags))
	for _, t := range tags {
		if t = strings.TrimSpace(t); t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// fieldError is a mistake in one field of a row.
func fieldError(pos config.Pos, key string, value any, problem, want string) *config.Error {
	e := &config.Error{Pos: pos.At(key), Problem: problem, Want: want}
	switch v := value.(type) {
	case nil:
	case string:
		e.Value = v
	default:
		if b, err := json.Marshal(v); err == nil {
			e.Value = string(b)
		}
	}
	return e
}

// oneOf lists names for a message, at most ten of them.
func oneOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	more := ""
	if len(names) > 10 {
		names, more = names[:10], ", …"
	}
	return "one of " + strings.Join(names, ", ") + more
}

// madeRow is the shape of a source that makes its cases itself. The row's number is counted by the
// pass, since rows that are left out are not decoded.
func (p *pass) madeRow(s *source) shape {
	return func(obj map[string]any, it *item) error {
		pos := it.test.Pos
		t, err := s.tests.Row(pos, p.number, obj)
		if err != nil {
			return err
		}
		t.Pos.File, t.Pos.Line = pos.File, pos.Line
		it.setTest(t)
		return nil
	}
}
