package wiretap

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// tree reads a whole document.
func tree(b []byte) (v any, ok bool) {
	c := cursor{b: b}
	v = c.value()
	return v, c.end()
}

func TestCursorAgreesWithEncodingJSON(t *testing.T) {
	f := func(s string) {
		t.Helper()
		var want any
		err := json.Unmarshal([]byte(s), &want)
		got, ok := tree([]byte(s))
		if ok && err != nil && json.Valid([]byte(s)) {
			return // a number out of range
		}
		if ok != (err == nil) {
			t.Fatalf("%q: well-formed %v, encoding/json says %v", s, ok, err)
		}
		if ok && !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %#v, want %#v", s, got, want)
		}
		c := cursor{b: []byte(s)}
		if c.skip(); c.end() != ok {
			t.Errorf("%q: skipping says %v, reading says %v", s, c.end(), ok)
		}
	}
	for _, s := range cursorSeeds {
		f(s)
	}
}

var cursorSeeds = []string{
	`{}`, `[]`, `{"a":1}`, `{"a":1,}`, `{,"a":1}`, `[1,]`, `[,1]`, `[1 2]`, `{"a" 1}`, `{"a":}`, `{a:1}`, `[[[]]]`, `[}`, `{]`, `[[]`,
	`0`, `-0`, `01`, `1.`, `.5`, `1e5`, `1E+5`, `1e`, `-`, `1.5e-3`, `9007199254740993`, `1e999`, `123456789012`,
	`"a\nb"`, `"\u00e9"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\x"`, `"\u12"`, `"` + "\x01" + `"`, `"` + "\xff" + `"`, `"\`, `"abc`,
	`true`, `tru`, `false`, `null`, `nul`, ``, ` `, `1 1`, `{"a":{"b":[true,false,null,"x"]},"a":2}`, " {\r\n\t\"a\" : [ 1 , 2 ] } \n", `{"a\u0062":1}`,
}

func FuzzCursor(f *testing.F) {
	for _, s := range cursorSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := tree(b)
		var want any
		err := json.Unmarshal(b, &want)
		if ok && err != nil && json.Valid(b) {
			return // a number out of range
		}
		if ok && err != nil {
			t.Fatalf("%q passes, encoding/json says %v", b, err)
		}
		if ok && utf8.Valid(b) && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", b, got, want)
		}
		if !ok && err == nil && len(b) < maxDepth {
			t.Fatalf("%q does not pass, encoding/json takes it", b)
		}
	})
}
