package otlp

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var jsonSeeds = []string{
	`{}`, `[]`, `""`, `"a"`, ` [1, -2.5e3 ,true,false,null] `, `{"a":{"b":[{"c":"d"}]},"a":1}`, `"\u00e9\n\"\\"`, `"\ud83d\ude00"`, `"\ud800"`, "\"\xff\"", "\"a\nb\"",
	`01`, `-`, `1.`, `1e`, `1e999`, `-0`, `[1,]`, `{"a"}`, `{"a":}`, `{,}`, `{"a":1,}`, `[`, `{`, `"`, `"\`, `tru`, `nul`, `[1 2]`, `{"a" :1 , "b": 2}`, "\v[]", `{"\u0061":1}`, `[]x`, `{1:2}`,
	strings.Repeat("[", 150) + strings.Repeat("]", 150), strings.Repeat("[", 500) + strings.Repeat("]", 500),
}

// sameAsJSON compares with encoding/json.
func sameAsJSON(t *testing.T, s string) {
	t.Helper()
	var want any
	wantErr := json.Unmarshal([]byte(s), &want)
	got, err := decodeAny(s)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: error %v, want %v", s, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %#v, want %#v", s, got, want)
	}
	if object, ok := want.(map[string]any); ok && wantErr == nil {
		names := map[string]bool{}
		memberNames([]byte(s), func(name string) bool { names[name] = true; return true })
		if len(names) != len(object) {
			t.Fatalf("%q: names %v, want those of %v", s, names, object)
		}
		for name := range object {
			if !names[name] {
				t.Fatalf("%q: no name %q in %v", s, name, names)
			}
		}
	}
}

func TestDecodeAny(t *testing.T) {
	for _, s := range jsonSeeds {
		sameAsJSON(t, s)
	}
}

func FuzzDecodeAny(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add(s)
	}
	f.Fuzz(sameAsJSON)
}

func TestMemberNames(t *testing.T) {
	f := func(object string, want ...string) {
		t.Helper()
		var got []string
		memberNames([]byte(object), func(name string) bool { got = append(got, name); return true })
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", object, got, want)
		}
	}
	f(`{}`)
	f(`{"a":1,"b":"c","a":["d",{"e":"f"}],"g":{"h":1,"i":2},"j":null}`, "a", "b", "a", "g", "j")
	f(` {"a\"" : "x,\"y", "\u0062":"{" } `, `a"`, "b")
}

func BenchmarkDecodeAny(b *testing.B) {
	s := `[{"role":"user","parts":[{"type":"text","content":"` + strings.Repeat("a question about a lamp, ", 40) + `"}]}]`
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeAny(s); err != nil {
			b.Fatal(err)
		}
	}
}
