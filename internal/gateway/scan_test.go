package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	f := func(body string, want facts) {
		t.Helper()
		if got := look([]byte(body)); got != want {
			t.Errorf("%s\n got %+v\nwant %+v", body, got, want)
		}
	}
	f(`{}`, facts{object: true})
	f(" {\"model\" : \"a\" }\n", facts{object: true, model: "a"})
	f(`{"messages":[{"role":"user","content":"\"model\":\"x\" \\"}],"model":"a","stream":true}`, facts{object: true, model: "a", stream: true})
	f(`{"mod\u0065l":"\u0061"}`, facts{object: true, model: "a"})
	f(`{"model":"a","model":"a"}`, facts{object: true, model: "a"})
	f(`{"model":"a","model":"b"}`, facts{object: true, model: "b", ambiguous: true})
	f(`{"model":7}`, facts{object: true})
	f(`{"x":{"model":"inner"}}`, facts{object: true})
	f(`{"stream_options":{"include_usage":true}}`, facts{object: true, usage: true})
	f(`{"stream_options":{"include_usage":false}}`, facts{object: true})
	f(`{"stream":false,"a":[1,2,{"b":"]}"}],"model":"m"}`, facts{object: true, model: "m"})
	for _, bad := range []string{"", "[]", "null", `"x"`, "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1}}`, `{"a":1} x`, `{"a":"\"}`, `{a:1}`, `{"a":[}`, `{"a":1 "b":2}`, `{,"a":1}`} {
		if look([]byte(bad)).object {
			t.Errorf("%q was taken for an object", bad)
		}
	}
}

func edits(t testing.TB, set map[string]any, caps map[string]float64) []edit {
	t.Helper()
	list, err := compileSet(set)
	if err != nil {
		t.Fatal(err)
	}
	return compileCaps(list, caps)
}

func TestApply(t *testing.T) {
	f := func(body string, set map[string]any, caps map[string]float64, want string) {
		t.Helper()
		got, changed, err := apply([]byte("before"), []byte(body), edits(t, set, caps), true)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			return
		}
		if !changed {
			if string(got) != "before" {
				t.Errorf("%s: unchanged, but %s was appended", body, got)
			}
			got = []byte("before" + body)
		}
		if string(got) != "before"+want {
			t.Errorf("%s\n got %s\nwant %s", body, got[len("before"):], want)
		}
	}
	type m = map[string]any
	type c = map[string]float64
	f(`{ "a" : 1 , "b":[1,  2] }`, m{"a": 2}, nil, `{ "a" : 2 , "b":[1,  2] }`)
	f(`{"a":1}`, m{"b": "x<y"}, nil, `{"a":1,"b":"x<y"}`)
	f(`{ }`, m{"b": true}, nil, `{"b":true }`)
	f(`{"a":1,"b":2,"c":3}`, m{"a": nil}, nil, `{"b":2,"c":3}`)
	f(`{"a":1, "b":2 ,"c":3}`, m{"b": nil}, nil, `{"a":1 ,"c":3}`)
	f(`{"a":1,"b":2}`, m{"b": nil}, nil, `{"a":1}`)
	f(`{"a":1,"b":2}`, m{"a": nil, "b": nil}, nil, `{}`)
	f(`{"a":1,"b":2}`, m{"a": nil, "b": nil, "c": 3}, nil, `{"c":3}`)
	f(`{"a":1}`, m{"z": nil}, nil, `{"a":1}`)
	f(`{"a":1,"x":0,"a":2}`, m{"a": 9}, nil, `{"a":9,"x":0,"a":9}`)
	f(`{"\u0061":1}`, m{"a": 9}, nil, `{"\u0061":9}`)
	f(`{"max_tokens":4096,"t":1.50}`, nil, c{"max_tokens": 1000}, `{"max_tokens":1000,"t":1.50}`)
	f(`{"max_tokens":1e400}`, nil, c{"max_tokens": 1000}, `{"max_tokens":1000}`)
	f(`{"max_tokens":999}`, nil, c{"max_tokens": 1000}, `{"max_tokens":999}`)
	f(`{"max_tokens":null}`, nil, c{"max_tokens": 1000}, `{"max_tokens":null}`)
	f(`{}`, nil, c{"max_tokens": 1000}, `{}`)
	f(`{"t":1.7}`, nil, c{"t": .5}, `{"t":0.5}`)
	f(`{"r":{"effort":"high","n":9}}`, nil, c{"r.n": 5}, `{"r":{"effort":"high","n":5}}`)
	f(`{"r":{"effort":"high"}}`, m{"r.effort": "low"}, nil, `{"r":{"effort":"low"}}`)
	f(`{"r":{"effort":"high"}}`, m{"r.effort": nil}, nil, `{"r":{}}`)
	f(`{}`, m{"r.effort": nil}, nil, `{}`)
	f(`{}`, m{"r.effort": "low", "r.x": 1}, nil, `{"r":{"effort":"low","x":1}}`)
	f(`{"r":null}`, m{"r.effort": "low"}, nil, `{"r":{"effort":"low"}}`)
	f(`{"a":5}`, m{"a": 7}, c{"a": 1}, `{"a":7}`) // what is set is not capped
	for _, bad := range []string{`"9"`, `true`, `[9]`, `NaN`, `Infinity`} {
		if _, _, err := apply(nil, []byte(`{"max_tokens":`+bad+`}`), edits(t, nil, c{"max_tokens": 1}), true); err == nil {
			t.Errorf("max_tokens %s was let through", bad)
		}
	}
	if _, err := compileSet(m{"a.b": 1, "a": m{}}); err == nil {
		t.Error("a key that is set whole and in part was accepted")
	}
}

// FuzzScan holds the scan to what encoding/json understands.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{}`, `{"model":"a","stream":true}`, `{"a":{"model":"x"},"model":"\u0061\"","max_tokens":7}`, chatBody, `{"model":"a","model":"b"}`, `{"a":[[],{}],"s":"\\\\\""}`, "{\"a\"\t:\n1e9 }"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := look(b)
		var m map[string]json.RawMessage
		if json.Unmarshal(b, &m) != nil || m == nil {
			return // not for the scan to judge; it must not crash
		}
		var want facts
		want.object = true
		_ = json.Unmarshal(m["model"], &want.model)
		want.stream = string(m["stream"]) == "true"
		if !got.object || got.model != want.model || got.stream != want.stream {
			t.Fatalf("%q: got %+v, want %+v", b, got, want)
		}
	})
}

// FuzzEdit holds edits to their meaning: what is named has the new value, and everything else has the bytes it had.
func FuzzEdit(f *testing.F) {
	for _, s := range []string{`{}`, `{"model":"a"}`, `{"x":1,"model":"a","gone":[1],"max_tokens":7}`, ` { "gone" : {} , "gone":2, "y":"é\u00e9" } `, `{"max_tokens":1e3,"max_tokens":2}`, `{"opt":{"a":1,"in":2},"z":0}`} {
		f.Add([]byte(s))
	}
	list := edits(f, map[string]any{"model": "new", "gone": nil, "opt.in": 1}, map[string]float64{"max_tokens": 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, changed, err := apply(nil, b, list, true)
		var before map[string]json.RawMessage
		if json.Unmarshal(b, &before) != nil || before == nil {
			return
		}
		if err != nil {
			var n any
			if _, bad := errors.AsType[*badParam](err); bad && json.Unmarshal(before["max_tokens"], &n) == nil {
				return // one of several max_tokens is no number
			}
			t.Fatalf("%q: %v", b, err)
		}
		if !changed {
			out = b
		}
		var after map[string]json.RawMessage
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%q became %q: %v", b, out, err)
		}
		if string(after["model"]) != `"new"` || after["gone"] != nil {
			t.Fatalf("%q became %q", b, out)
		}
		var opt struct {
			In *int `json:"in"`
		}
		if err := json.Unmarshal(after["opt"], &opt); err != nil || opt.In == nil || *opt.In != 1 {
			t.Fatalf("%q became %q", b, out)
		}
		if v, ok := after["max_tokens"]; ok && string(v) != "null" {
			var n float64
			if err := json.Unmarshal(v, &n); err != nil || n > 5 {
				t.Fatalf("%q became %q", b, out)
			}
		}
		for _, k := range []string{"model", "gone", "max_tokens", "opt"} {
			delete(before, k)
			delete(after, k)
		}
		if !reflect.DeepEqual(before, after) && !maps.EqualFunc(before, after, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Fatalf("%q became %q: other values changed", b, out)
		}
		// The bytes that were there are still there, in their order.
		if !strings.Contains(string(b), "gone") && !subsequence(out, b, list) {
			t.Fatalf("%q became %q: other bytes changed", b, out)
		}
	})
}

// subsequence walks both objects and compares each member's bytes with the spaces before it.
func subsequence(out, in []byte, list []edit) bool {
	a, b := open(in), open(out)
	for a.next() {
		if !b.next() || !bytes.Equal(in[a.keyStart:a.keyEnd], out[b.keyStart:b.keyEnd]) || !bytes.Equal(in[a.keyEnd:a.valStart], out[b.keyEnd:b.valStart]) {
			return false
		}
		named := false
		for _, e := range list {
			named = named || e.key == string(a.key())
		}
		if !named && !bytes.Equal(a.value(), b.value()) {
			return false
		}
	}
	return true
}

// FuzzHold splits a stream anywhere: what comes out depends on the stream alone, and only usage is missing.
func FuzzHold(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n"), 7)
	f.Add([]byte(": c\r\n\r\nevent: x\r\ndata: 1\r\n\r\nrest"), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		whole := &hold{}
		want := append(bytes.Clone(whole.push(b)), whole.rest()...)
		parts := &hold{}
		var got []byte
		for rest, k := b, max(1, n%64); len(rest) > 0; {
			k := min(k, len(rest))
			got = append(got, parts.push(rest[:k])...)
			rest = rest[k:]
		}
		got = append(got, parts.rest()...)
		if !bytes.Equal(got, want) {
			t.Fatalf("in pieces of %d: %q, whole: %q", n, got, want)
		}
		if !bytes.Contains(b, []byte("usage")) && !bytes.Contains(b, []byte(`\u`)) && !bytes.Equal(got, b) {
			t.Fatalf("%q became %q", b, got)
		}
	})
}
