package privacy

import (
	"encoding/json"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// A text that went through once goes through a second time unchanged, and a value between two texts never survives.
func FuzzText(f *testing.F) {
	for _, s := range append(planted, "", "[EMAIL]", "email_k1_", "call +1 (212", "%2540", `\u0040`, "４１１１", "a at b dot c", "\xff@a.bc", "1 1 1 1 1 1 1 1 1 1 1 1 1") {
		f.Add(s, s)
	}
	mask := redactor(f, config.Privacy{Patterns: []config.PrivacyPattern{{Name: "own", Pattern: `x[0-9]+`}}, Words: []config.PrivacyWords{{Name: "word", Words: []string{"jane", "doe"}}}})
	token := redactor(f, config.Privacy{Mode: "pseudonym", Key: testKey, KeyID: "k1"})
	gone := redactor(f, config.Privacy{Mode: "remove"})
	f.Fuzz(func(t *testing.T, before, after string) {
		for name, r := range map[string]*Redactor{"mask": mask, "pseudonym": token, "remove": gone} {
			for _, s := range []string{before, before + " jane.doe@acme.org " + after} {
				once, _ := r.Text("input", s)
				if twice, _ := r.Text("input", once); twice != once {
					t.Errorf("%s: %q became %q and then %q", name, s, once, twice)
				}
				if s != before && survives(once, "jane.doe@acme.org") && !survives(before+after, "jane.doe@acme.org") {
					t.Errorf("%s: the address survives in %q", name, once)
				}
			}
		}
	})
}

// What was JSON is JSON, with the same shape.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": "jane@acme.org"}`, `[1, 4111111111111111, "x"]`, `"\ud83d\ude00 4111111111111111"`, `{"a": "{\"b\": 1}"}`, `{"a":1,"a":2}`, ` {} `, `[[[]]]`, `{"password": "x y z w"}`, `-0.0e+9`, `"\u0000"`} {
		f.Add(s)
	}
	r := redactor(f, config.Privacy{})
	f.Fuzz(func(t *testing.T, s string) {
		if wellFormed(s) && !json.Valid([]byte(s)) {
			t.Errorf("%q is taken for JSON", s)
		}
		out, _ := r.JSON("input", []byte(s))
		if json.Valid([]byte(s)) && !json.Valid(out) && looksLikeJSON(s) && wellFormed(s) {
			t.Errorf("%q became %q", s, out)
		}
		if again, _ := r.JSON("input", out); string(again) != string(out) {
			t.Errorf("%q became %q and then %q", s, out, again)
		}
	})
}

func FuzzView(f *testing.F) {
	for _, s := range []string{"a", "é%41", `\n`, "电话1", "&#64;", "\u200b1\u200b", "\xff\xfe%", "½ﬁ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, view := range []func(string) (string, []int32){fold, unescape} {
			v, at := view(s)
			if at == nil {
				if v != s {
					t.Errorf("%q is %q without places", s, v)
				}
				continue
			}
			if len(at) != len(v)+1 || int(at[len(v)]) != len(s) {
				t.Fatalf("%q: %d places for %d bytes", s, len(at), len(v))
			}
			for i := range v {
				start, end := span(at, i, i+1)
				if start < 0 || end <= start || end > len(s) || i > 0 && at[i] < at[i-1] {
					t.Fatalf("%q: byte %d is at %d to %d", s, i, start, end)
				}
			}
		}
	})
}
