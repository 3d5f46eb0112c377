package guard

import (
	"bytes"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

// No text, however it is cut, gets a forbidden phrase through, and none grows by more than what replaces it.
func FuzzText(f *testing.F) {
	f.Add("a bo\u200bmb maker, EMP-1234 j@acme.org", uint8(3))
	f.Add("ｂomb  \n maker \xf0\x9f bomb\xff maker", uint8(1))
	f.Add("x -----BEGIN PRIVATE KEY----- y 4111111111111111", uint8(7))
	g := build(f, everything)
	strict := build(f, "filters: [{name: w, phrases: [bomb maker, boo], words: false, action: replace}]")
	f.Fuzz(func(t *testing.T, s string, size uint8) {
		var parts [][]byte
		for b := []byte(s); len(b) > 0; {
			n := min(len(b), 1+int(size)%9)
			parts = append(parts, b[:n])
			b = b[n:]
		}
		want := maskedText(g, [][]byte{[]byte(s)})
		if got := maskedText(g, parts); got != want {
			t.Errorf("%q in pieces of %d became %q, whole %q", s, size, got, want)
		}
		if len(want) > len(s)*16+16 {
			t.Errorf("%q became %q", s, want)
		}
		out := maskedText(strict, parts)
		if again := maskedText(strict, [][]byte{[]byte(out)}); again != out {
			t.Errorf("%q became %q, in which something is found: %q", s, out, again)
		}
		if low := strings.ToLower(out); strings.Contains(low, "bomb maker") || strings.Contains(low, "boo") {
			t.Errorf("%q became %q", s, out)
		}
	})
}

// No bytes make an answer panic, and cutting them differently changes nothing.
func FuzzAnswer(f *testing.F) {
	for _, api := range streams {
		f.Add(api.make([][]byte{[]byte("a bo"), []byte("mb ma"), []byte("ker foo \\")}), true, uint8(3))
	}
	f.Add([]byte(`{"choices":[{"index":0,"message":{"content":"a bomb maker","tool_calls":[{"function":{"arguments":"{\"a\":\"foo\"}"}}]}}],"content":[{"type":"text","text":"oo"},{"type":"tool_use","input":{"a":"oo"}}],"output":[{"type":"message","content":[{"text":"ofo"}]}]}`), false, uint8(9))
	replaces := build(f, everything)
	blocks := build(f, strings.ReplaceAll(strings.ReplaceAll(everything, `, replacement: "(gone)"`, ""), "action: replace", "action: block"))
	schema := build(f, "schema: {type: object}\nfilters: [{name: w, phrases: [bomb], action: reask, otherwise: replace}]")
	f.Fuzz(func(t *testing.T, b []byte, stream bool, size uint8) {
		var parts [][]byte
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+int(size))
			parts = append(parts, rest[:n])
			rest = rest[n:]
		}
		for _, g := range []*Guard{replaces, blocks, schema} {
			for _, api := range []string{record.APIChat, record.APICompletions, record.APIMessages, record.APIResponses} {
				o := Options{API: api, Stream: stream}
				got, v1, _ := run(g, o, parts)
				want, v2, _ := run(g, o, [][]byte{b})
				if !bytes.Equal(got, want) || v1.Outcome != v2.Outcome {
					t.Fatalf("%s of %q: in pieces of %d %v\n%q\nwhole %v\n%q", api, b, size, v1.Outcome, got, v2.Outcome, want)
				}
				if len(want) > 64*len(b)+4096 {
					t.Fatalf("%d bytes became %d", len(b), len(want))
				}
			}
		}
	})
}
