package dataset

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

// FuzzParseObject compares the parser with encoding/json: it must accept what that accepts, except
// what it refuses on purpose, and find the same values in it.
func FuzzParseObject(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a": 1}`, `{"a": [1, -0, 0.5, 1e3, 1E-7, 12345678901234567890123]}`, `{"a": "é\u00e9\ud83d\ude00\ud83d\n\/"}`, ` {"a":{"b":null},"c":true,"d":false} `,
		`{"a": 1, "a": 2}`, `{"a": 01}`, `{"a": 1.}`, `{"a": "` + "\t" + `"}`, `{"a": [}`, `{"a" 1}`, `{a: 1}`, `{"a": tru}`, `{"a": "\ud800\ud800"}`, `{"a":1e400}`, `{"a":"\u2028<>&"}`, `[]`, ``, `{`,
		`{"":""}`, `{"a":"\`, `{"a":"\u00`, "{\"a\":\"\xff\"}", `{"a":18446744073709551615}`, `{"a":-9223372036854775809}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, bad := parseObject(s)
		if bad != nil {
			e := bad.at(config.Pos{File: "f", Line: 1}, s)
			if e.Problem == "" || e.Line < 1 || e.Column < 1 || bad.off > len(s) || e.Error() == "" {
				t.Fatalf("error without a place: %+v", e)
			}
		}
		dec := json.NewDecoder(strings.NewReader(s))
		dec.UseNumber()
		var want map[string]any
		err := dec.Decode(&want)
		if err == nil {
			if _, tail := dec.Token(); tail != io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		if want == nil { // null is not an object
			err = io.ErrUnexpectedEOF
		}
		switch {
		case bad == nil && err != nil:
			t.Fatalf("%q was accepted; encoding/json: %v", s, err)
		case bad != nil && err == nil:
			onPurpose := strings.Contains(bad.problem, "already set") || bad.problem == "nested too deeply" || bad.problem == "a number out of range" || !utf8.ValidString(s)
			if !onPurpose {
				t.Fatalf("%q was refused: %s; encoding/json accepts it", s, bad.problem)
			}
		case bad == nil:
			if !sameValue(got, want) {
				t.Fatalf("%q: got %#v, want %#v", s, got, want)
			}
			checkEncoder(t, got)
		}
	})
}

// sameValue compares a value with encoding/json's, whose numbers are json.Number.
func sameValue(got, want any) bool {
	switch want := want.(type) {
	case json.Number:
		switch got := got.(type) {
		case string:
			return got == want.String()
		case float64:
			f, err := want.Float64()
			return err == nil && f == got
		}
		b, _ := json.Marshal(got)
		return string(b) == want.String() || want == "-0" && string(b) == "0"
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok || len(m) != len(want) {
			return false
		}
		for k, v := range want {
			g, ok := m[k]
			if !ok || !sameValue(g, v) {
				return false
			}
		}
		return true
	case []any:
		l, ok := got.([]any)
		if !ok || len(l) != len(want) {
			return false
		}
		for i, v := range want {
			if !sameValue(l[i], v) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(got, want)
}

// checkEncoder compares the encoder with json.Marshal.
func checkEncoder(t *testing.T, m map[string]any) {
	t.Helper()
	want, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var e encoder
	for range 2 {
		if err := e.encode(m); err != nil || !bytes.Equal(e.buf, want) {
			t.Fatalf("%v\ngot  %s\nwant %s", err, e.buf, want)
		}
	}
}

func TestEncoder(t *testing.T) {
	checkEncoder(t, nil)
	checkEncoder(t, map[string]any{})
	checkEncoder(t, map[string]any{
		"s": "\x00\x1f \"\\/<>&\b\f\n\r\t\x7f é\u2028\u2029\ufffd \xff\xc3 😀", "n": []any{int64(-5), uint64(1 << 63), 1e21, 1e-7, 0.1, math.Copysign(0, -1), 3.0, int(4)},
		"m": map[string]any{"z": nil, "a": map[string]any{"<": true}}, "e": []any{}, "nil": []any(nil), "nilm": map[string]any(nil), "list": []string{"a"},
	})
}

// FuzzFile reads arbitrary bytes as each format. It must never panic, every mistake must name the file,
// and the second reading must give as many cases as the first, each with a different id.
func FuzzFile(f *testing.F) {
	add := func(format, s string) { f.Add(format, []byte(s)) }
	add("jsonl", "{\"q\": 1}\n\n{\"q\": 1}\r\n{\"id\": \"x\", \"vars\": {}}")
	add("jsonl", `{"vars": {"q": [1, 1]}, "assert": [{"type": "equals"}]}`)
	add("json", "[{\"q\": \"]}\"},\n{\"id\": 1}]")
	add("json", "[{}, {}] x")
	add("csv", "id,q,__threshold,__metadata:a[]\na,\"b\nc\",0.5,\"x\\,y,z\"\n")
	add("csv", "a,b\n\"x\"y,1\n")
	add("tsv", "a\tb\n1\t2\n")
	add("ifeval", `{"key": 1, "prompt": "p", "instruction_id_list": ["en:a:b"], "kwargs": [{"x": null}]}`)
	add("gsm8k", `{"question": "q", "answer": "#### -1,000.5"}`)
	add("gsm8k", `{"question": "q", "ground_truth": "x\nA: 3"}`)
	add("yaml", `[{"vars": {"q": 1}}]`)
	add("jsonl", "\x1f\x8b\x08")
	add("jsonl", zip("{}"))
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		opts := testOptions()
		opts.MaxRow = 500
		d, err := Open([]config.Tests{{Path: path, Format: format}}, opts)
		if err != nil {
			return
		}
		defer d.Close()
		visited := 0
		ref, err := d.Scan(t.Context(), func(Row) error { visited++; return nil })
		if err != nil {
			if !isMistake(err) || !strings.Contains(err.Error(), path) {
				t.Fatalf("%v", err)
			}
			return
		}
		seen := map[string]bool{}
		for row, err := range d.Rows(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if row.Test.ID == "" || seen[row.Test.ID] {
				t.Fatalf("id %q is empty or repeated", row.Test.ID)
			}
			seen[row.Test.ID] = true
		}
		if len(seen) != ref.Cases || visited != ref.Cases || ref.Cases == 0 {
			t.Fatalf("%d rows the second time, %d visited, %+v", len(seen), visited, ref)
		}
	})
}
