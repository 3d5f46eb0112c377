package scorer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStructureKinds(t *testing.T) {
	stopClock(t)
	f := func(typ string, value any, output, want string, reason ...string) {
		t.Helper()
		got, why := verdictOf(t, typ, value, says(output))
		if got != want {
			t.Errorf("%s %v on %q: %s (%s), want %s", typ, value, output, got, why, want)
		}
		for _, r := range reason {
			if !strings.Contains(why, r) {
				t.Errorf("%s %v on %q: the reason is %q, want %q in it", typ, value, output, why, r)
			}
		}
	}
	place := map[string]any{
		"type": "object", "required": []any{"latitude"},
		"properties": map[string]any{"latitude": map[string]any{"type": "number", "minimum": int64(-90), "maximum": int64(90)}},
	}
	f("is-json", nil, " null\n", "pass")
	f("is-json", nil, "", "fail", "empty")
	f("is-json", nil, "{", "fail", "ends too early")
	f("is-json", nil, "{} x", "fail", `"x"`)
	f("is-json", nil, "```json\n{}\n```", "fail")
	f("is-json", place, `{"latitude": 12.5}`, "pass")
	f("is-json", place, `{"latitude": 100}`, "fail", "/latitude", "maximum")
	f("is-json", place, `{}`, "fail", "the root", "latitude")
	f("is-json", `{"type":"array"}`, "[]", "pass")
	f("is-json", "type: array\nminItems: 1", "[]", "fail", "minItems")
	f("is-json", true, "1", "pass")
	f("is-json", false, "1", "fail")
	f("is-json", map[string]any{"format": "date"}, `"2024-02-30"`, "fail", "date")
	f("is-json", map[string]any{"pattern": `^(?!foo)\w+$`}, `"foobar"`, "fail")
	f("is-json", map[string]any{"pattern": `^(?!foo)\w+$`}, `"bar"`, "pass")
	f("is-json", map[string]any{"pattern": `^(?=(([a-z])+.)+[A-Z]([a-z])+$)`}, `"`+strings.Repeat("a", 50)+`!"`, "error", "too long or too much")
	f("is-json", map[string]any{"$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#/definitions/x",
		"definitions": map[string]any{"x": map[string]any{"const": int64(1)}}}, "2", "fail")
	f("is-json", map[string]any{"const": uint64(1<<63 + 1)}, "9223372036854775808", "fail")
	f("json-schema", place, `nothing`, "fail")

	f("contains-json", nil, `Here: {"a": [1, 2]} as asked`, "pass")
	f("contains-json", nil, "```json\n[1]\n```", "pass")
	f("contains-json", nil, "a {b} [c] 12 \"d\"", "fail", "no JSON")
	f("contains-json", place, `{"latitude": 100} or {"latitude": 10}`, "pass")
	f("contains-json", place, `{"latitude": 100} or {}`, "fail", "none of the 2", "maximum")
	f("contains-json", place, `{"latitude": 100}`, "fail", "/latitude")
	f("contains-json", place, `{broken: {"latitude": 10}}`, "pass")

	f("is-xml", nil, "<root><child>Content</child></root>", "pass")
	f("is-xml", nil, "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<!DOCTYPE r>\n<!-- c --><r a='1'/>\n", "pass")
	f("is-xml", nil, "<root><child>Content</child></root", "fail")
	f("is-xml", nil, "<a/><b/>", "fail", "another one")
	f("is-xml", nil, "text <a/>", "fail", "outside the root")
	f("is-xml", nil, "<a></b>", "fail", "<a> is closed by </b>")
	f("is-xml", nil, "<a>", "fail", "<a> is not closed")
	f("is-xml", nil, "</a>", "fail", "closes nothing")
	f("is-xml", nil, "", "fail", "no element")
	f("is-xml", nil, "<a x='1' x='2'/>", "fail", "twice")
	f("is-xml", nil, "<a>&nbsp;</a>", "fail", "entity")
	f("is-xml", nil, " <?xml version='1.0'?><a/>", "fail", "declaration")
	f("is-xml", nil, `<!DOCTYPE a [<!ENTITY x "y">]><a/>`, "fail", "DTD")
	f("is-xml", nil, "<a/><!DOCTYPE a>", "fail", "out of place")
	f("is-xml", nil, "<![CDATA[ ]]><a/>", "fail", "outside the root")
	f("is-xml", nil, "<br>", "fail")
	need := func(paths ...any) map[string]any { return map[string]any{"requiredElements": paths} }
	f("is-xml", need("r.a.b", "r.c"), "<r><a><b/></a><c/></r>", "pass")
	f("is-xml", need("r.a.b", "r.c"), "<r><a/><b/></r>", "fail", `"r.a.b", "r.c"`)
	f("is-xml", need("n:r.n:a"), "<n:r xmlns:n='u'><n:a/></n:r>", "pass")
	f("contains-xml", need("root.child"), "Text <root><child>Content</child></root> end", "pass")
	f("contains-xml", need("root.child"), "<w><root><child/></root></w>", "fail")
	f("contains-xml", need("thinking", "answer"), "<thinking>hm</thinking>\nso\n<answer>4</answer>", "pass")
	f("contains-xml", nil, "a < b and <unclosed> and </x>", "fail")
	f("contains-xml", nil, "<p>one<br>two <b>bold</b></p>", "pass")
	f("contains-xml", nil, "<!-- <a/>", "pass")
}

// naiveJSON is eachJSON by trying the decoder at every bracket.
func naiveJSON(s string) (spans []string) {
	for i := 0; i < len(s); {
		if s[i] != '{' && s[i] != '[' {
			i++
			continue
		}
		d := json.NewDecoder(strings.NewReader(s[i:]))
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			i++
			continue
		}
		n := int(d.InputOffset())
		spans = append(spans, s[i:i+n])
		i += n
	}
	return spans
}

func FuzzContainsJSON(f *testing.F) {
	f.Add(`Here: {"a": [1, 2.5e-3, -0, true, null, "x\u00e9\n"]} and [broken, {"b":{}}] [`)
	f.Add(`["[",[",",[",",[" ] "]" ]`)
	f.Add(`x ["a [" b "] {"a":"{\"b\":[1]}"`)
	f.Add("[\"a\nb\", {\"c\":1}]")
	f.Add(`[1 2] [01] [1.] [.5] [+1] [1e] {"a" 1} {"a":1,} [,] [tru] {1:2}`)
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 2000 {
			t.Skip("too long for the reference")
		}
		var got []string
		if err := eachJSON(s, func(start, end int) bool {
			got = append(got, s[start:end])
			return true
		}); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := naiveJSON(s); !slices.Equal(got, want) {
			t.Fatalf("%q: found %q, want %q", s, got, want)
		}
	})
}

func FuzzXML(f *testing.F) {
	f.Add("a <r><a x='1'/>b<!-- c --></r> <b>")
	f.Add("<?xml version='1.0'?><!DOCTYPE r><r><![CDATA[<x>]]></r>")
	f.Add("<a><b></a></b><c/>")
	f.Fuzz(func(t *testing.T, s string) {
		seen, err := wellFormed(s)
		if err == nil && len(seen) == 0 {
			t.Fatalf("%q is XML without an element", s)
		}
		_, n, within := xmlWithin(s, false)
		if err == nil && (within != nil || n == 0) {
			t.Fatalf("%q is XML but contains none: %v", s, within)
		}
	})
}

// Texts made to be read many times end soon, by an outcome or by an error.
func TestHostileStructures(t *testing.T) {
	const n = 100_000
	for _, unit := range []string{"[", "{", `{"a":`, `["[",`, `[",",`, `"[`, `[" `, `],[",`, `[[],`, `[1,{"a":"[`, `{"[{":`, "[\"\\\"[",
		"<a>", "<a", "<a b='", "<!--", "<![CDATA[", "<a/>", "<a><!--", "</a>", "<", "<a b=\"<c>"} {
		text := strings.Repeat(unit, n/len(unit))
		for _, typ := range []string{"contains-json", "contains-xml", "is-json", "is-xml"} {
			start := time.Now()
			got, why := verdictOf(t, typ, nil, says(text))
			if d := time.Since(start); d > 10*time.Second {
				t.Errorf("%s on %d × %q took %v: %s (%s)", typ, n/len(unit), unit, d, got, why)
			}
		}
	}
}

func TestDeepJSONIsFound(t *testing.T) {
	deep := strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999)
	if got, why := verdictOf(t, "contains-json", nil, says("x "+deep)); got != "pass" {
		t.Error(got, why)
	}
	// Deeper than the decoder goes there is still the inner part.
	if got, why := verdictOf(t, "contains-json", true, says("["+strings.Repeat("[", 10)+deep+strings.Repeat("]", 10)+"]")); got != "pass" {
		t.Error(got, why)
	}
}

func benchmarkScore(b *testing.B, typ string, value any, output string) {
	c := compile(b, example{value: value}.assertion(typ))
	r := says(output)
	in := &Input{Response: &r}
	b.SetBytes(int64(len(output)))
	b.ReportAllocs()
	for b.Loop() {
		if s := c.Score(b.Context(), in); s.Error != "" {
			b.Fatal(s.Error)
		}
	}
}

const prose = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness. "

func BenchmarkContains(b *testing.B) {
	benchmarkScore(b, "contains", "incredulity", strings.Repeat(prose, 20))
}

func BenchmarkContainsAny(b *testing.B) {
	for _, n := range []int{4, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkScore(b, "contains-any", phrases(n), strings.Repeat(prose, 20)) })
	}
}

func BenchmarkForbidden(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkScore(b, "forbidden", phrases(n), strings.Repeat(prose, 20)) })
	}
}

func phrases(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = fmt.Sprintf("the word number %x", uint32(i)*2654435761)
	}
	return list
}

func BenchmarkIsJSONWithSchema(b *testing.B) {
	schema := map[string]any{"type": "array", "items": map[string]any{"type": "object", "required": []any{"id"},
		"properties": map[string]any{"id": map[string]any{"type": "integer"}, "name": map[string]any{"type": "string", "maxLength": int64(20)}}}}
	benchmarkScore(b, "is-json", schema, "["+strings.TrimSuffix(strings.Repeat(`{"id": 12, "name": "somebody"},`, 20), ",")+"]")
}

func BenchmarkRegex(b *testing.B) {
	b.Run("re2", func(b *testing.B) { benchmarkScore(b, "regex", `\bage of (\w+)ity\b`, strings.Repeat(prose, 20)) })
	b.Run("ecmascript", func(b *testing.B) { benchmarkScore(b, "regex", `(?<=age of )\w+ity\b`, strings.Repeat(prose, 20)) })
}

func BenchmarkIsRefusal(b *testing.B) {
	benchmarkScore(b, "is-refusal", nil, strings.Repeat(prose, 20))
}

func BenchmarkCEL(b *testing.B) {
	benchmarkScore(b, "cel", `output.size() < 5000 && !output.contains("lorem")`, strings.Repeat(prose, 20))
}

func BenchmarkLevenshtein(b *testing.B) {
	benchmarkScore(b, "levenshtein", strings.Repeat(prose, 19)+"the end", strings.Repeat(prose, 20))
}
