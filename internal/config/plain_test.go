package config

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestPlainTest holds the quick reader of rows to what the full one makes of them.
func TestPlainTest(t *testing.T) {
	at := Pos{File: "cases.jsonl", Line: 7, Column: 3}
	f := func(row map[string]any, quick bool) {
		t.Helper()
		got, ok := plainTest(at, row)
		if ok != quick {
			t.Errorf("%v: quick %v, want %v", row, ok, quick)
		}
		if !ok {
			return
		}
		want, left, err := anyTest(at, row, Options{})
		if err != nil || left != nil {
			t.Fatalf("%v: %v, %v", row, left, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v:\n got %#v\nwant %#v", row, got, want)
		}
	}
	vars := func(v any) map[string]any { return map[string]any{"vars": map[string]any{"q": v}} }
	for _, v := range []any{
		"", "What is 2 + 2?", "true", "12", "1e5", "null", "~", "- a", "a: b # c", "line\nbreak\ttab", "\u00e9\u2028\u202e", "env", "{x}", "$5", "'\"\\",
		int64(0), int64(-3), int64(1) << 60, uint64(1) << 63, 0.5, 1e-7, 1e21, true, false, nil,
	} {
		f(vars(v), true)
	}
	f(map[string]any{"vars": map[string]any{}}, true)
	f(map[string]any{"vars": map[string]any{"q": "x"}, "id": "one", "group": "g", "description": "d"}, true)

	f(vars("file://x.txt"), false)
	f(vars("${HOME} and {{env.HOME}}"), true)
	f(vars([]any{"a", "b"}), false)
	f(vars(map[string]any{"a": "b"}), false)
	f(vars(json.Number("1")), false)
	f(map[string]any{"vars": "file://vars.yaml"}, false)
	f(map[string]any{"vars": map[string]any{}, "id": int64(5)}, false)
	f(map[string]any{"vars": map[string]any{}, "varz": int64(5)}, false)
	f(map[string]any{"vars": map[string]any{}, "assert": []any{}}, false)
}
