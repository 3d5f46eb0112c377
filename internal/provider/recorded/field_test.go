package recorded

import (
	"encoding/json"
	"errors"
	"hash/maphash"
	"os"
	"path/filepath"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

func hashOf(p *Provider, key string) uint64 { return maphash.String(p.index.seed, key) }

func TestFind(t *testing.T) {
	f := func(obj, path, want string) {
		t.Helper()
		got, ok := find([]byte(obj), path)
		if want == "" {
			if ok {
				t.Errorf("find(%s, %s) = %s, want nothing", obj, path, got)
			}
			return
		}
		if !ok || string(got) != want {
			t.Errorf("find(%s, %s) = %s, %v; want %s", obj, path, got, ok, want)
		}
	}
	f(`{"a":1}`, "a", "1")
	f(` { "a" : "x\"y}" , "b" : [1,{"a":2}] } `, "b", `[1,{"a":2}]`)
	f(`{"a":"\\","b":true}`, "b", "true")
	f(`{"a":{"b":{"c":null}}}`, "a.b.c", "null")
	f(`{"a":{"b":1},"a.b":2}`, "a.b", "2")
	f(`{"a.b":2,"a":{"b":1}}`, "a.b", "2")
	f(`{"a":1,"a":2}`, "a", "2")
	f(`{"\u0061":1}`, "a", "1")
	f(`{"ab":1}`, "a", "")
	f(`{"a":[1]}`, "a.0", "")
	f(`{}`, "a", "")
	f(`[1]`, "a", "")
	f(`{"a":-1.5e3}`, "a", "-1.5e3")
}

// FuzzFind compares with encoding/json on every valid object.
func FuzzFind(f *testing.F) {
	f.Add([]byte(`{"a":"x\\\"y","b":{"c":[1,2,{"d":null}]}}`), "a")
	f.Add([]byte(` {"a" : 1, "\u00e4": {} } `), "ä")
	f.Fuzz(func(t *testing.T, obj []byte, key string) {
		var m map[string]json.RawMessage
		if json.Unmarshal(obj, &m) != nil || m == nil {
			return
		}
		repeated(obj) // must not fail on any valid object
		want, exists := m[key]
		got, ok := find(obj, key)
		if exists && (!ok || string(got) != string(want)) {
			t.Errorf("find(%s, %q) = %s, %v; encoding/json has %s", obj, key, got, ok, want)
		}
	})
}

// FuzzRows feeds arbitrary files to the readers: a file is refused, or its rows can be read back.
func FuzzRows(f *testing.F) {
	f.Add([]byte(`{"prompt":"a","response":"b"}`), "jsonl")
	f.Add([]byte(`[{"prompt":"a","response":"b"}]`), "json")
	f.Add([]byte("prompt,response\n\"a\n\",b\n"), "csv")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte, format string) {
		if format != "jsonl" && format != "json" && format != "csv" {
			return
		}
		path := filepath.Join(dir, "rows")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := New(Options{Path: path, Format: format})
		if err != nil {
			return
		}
		defer p.Close()
		var buf []byte
		for _, e := range p.index.entries {
			r, err := p.index.read(e, &buf)
			if err != nil {
				t.Fatalf("row at %d: %v", e.offset, err)
			}
			k, ok := r.field("prompt")
			if !ok {
				t.Fatalf("row at %d has lost its key", e.offset)
			}
			key, err := k.bytes()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Complete(t.Context(), record.Request{Prompt: string(key)}); err != nil {
				if f, ok := errors.AsType[*record.Failure](err); !ok || f.Kind != record.Empty {
					t.Fatalf("the row with key %q is not found: %v", key, err)
				}
			}
		}
	})
}
