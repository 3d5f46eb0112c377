package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func loadGuards(t *testing.T, text string) (*Server, error) {
	t.Helper()
	return LoadServer("server.yaml", []byte(text), Options{Read: func(p string) ([]byte, error) {
		switch {
		case strings.HasSuffix(p, "phrases.txt"):
			return []byte("one\n\n two words \n"), nil
		case strings.HasSuffix(p, "schema.json"):
			return []byte(`{"type":"object"}`), nil
		case strings.HasSuffix(p, "bad.json"):
			return []byte(`{`), nil
		}
		return nil, errors.New("no such file")
	}})
}

const guardedRoute = `
routes:
  - name: chat
    upstreams: [{url: "http://127.0.0.1:1"}]
    guard: hotfix
    variants:
      - {name: open, guard: none}
      - {name: strict, guard: strict}
guards:
`

func TestGuards(t *testing.T) {
	s, err := loadGuards(t, guardedRoute+`
  - name: hotfix
    version: "7"
    filters:
      - {name: words, phrases: [three], file: phrases.txt, action: block}
      - {name: ids, patterns: ['ID-\d{3}', '${x}y'], window: 1KiB, action: reask, ask: Without ids., otherwise: replace}
    schema_file: schema.json
    caps: {max_tokens: 100}
    fallback: {model: small}
    system: {append: Be brief.}
  - name: strict
    filters: [{name: pii, pii: [email], action: replace}]
`)
	if err != nil {
		t.Fatal(err)
	}
	g := s.Guards[0]
	if got := strings.Join(g.Filters[0].Phrases, "|"); got != "three|one|two words" {
		t.Error(got)
	}
	if f := g.Filters[1]; f.Patterns[1] != "${x}y" || f.Window != 1024 || !f.Words || f.Otherwise != GuardReplace {
		t.Errorf("%+v", f)
	}
	if string(g.Schema) != `{"type":"object"}` || !g.Ask || g.Caps["max_tokens"] != 100 || len(g.FallbackOn) != 2 || g.OnError != GuardBlock || g.Refusal == "" {
		t.Errorf("%+v", g)
	}
	r := s.Routes[0]
	if r.GuardID != g.ID || len(g.ID) != 16 || r.Variants[0].GuardID != "" || r.Variants[1].GuardID != s.Guards[1].ID {
		t.Errorf("%q %q", r.GuardID, r.Variants[1].GuardID)
	}
	open, strict := r.With(&r.Variants[0]), r.With(&r.Variants[1])
	if open.Guard != "" || open.GuardID != "" || strict.GuardID != s.Guards[1].ID {
		t.Errorf("%+v", open)
	}
	if a, b, c := r.Behaviour(), open.Behaviour(), strict.Behaviour(); a == b || b == c || a == c {
		t.Error("guards do not count for what a route does")
	}
}

// The id is of what a guard does, not of its name, version or place.
func TestGuardID(t *testing.T) {
	id := func(text string) string {
		t.Helper()
		s, err := loadGuards(t, "guards:\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		return s.Guards[0].ID
	}
	a := id("  - {name: a, filters: [{name: f, phrases: [x], action: block}]}")
	if b := id("\n  - name: b\n    version: 2\n    filters: [{name: f, phrases: [x], action: block, words: true}]"); a != b {
		t.Error("the same guard has two ids")
	}
	for _, other := range []string{"phrases: [y], action: block}]", "phrases: [x], action: replace}]", "phrases: [x], words: false, action: block}]", "phrases: [x], action: block}], refusal: No.", "phrases: [x], action: block}], on_error: pass"} {
		if id("  - {name: a, filters: [{name: f, "+other+"}") == a {
			t.Error(other)
		}
	}
}

func TestGuardsRefuse(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		start := time.Now()
		_, err := loadGuards(t, text)
		if err == nil {
			t.Errorf("%s: no error", text)
			return
		}
		for _, w := range append(want, "server.yaml") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s:\n%v\nwant %q", text, err, w)
			}
		}
		if time.Since(start) > 5*time.Second {
			t.Error("slow")
		}
	}
	g := func(rest string) string { return "guards: [{name: g, " + rest + "}]" }
	filter := func(rest string) string { return g("filters: [{name: f, action: block, " + rest + "}]") }
	f(guardedRoute+"  - {name: hotfx, caps: {n: 1}}\n  - {name: strict, caps: {n: 1}}", `there is no such guard`, `did you mean "hotfx"?`)
	f("routes: [{name: a, guard: x, upstreams: [{url: 'http://127.0.0.1:1'}]}]", "there is no such guard", "guards:")
	f("guards: [{name: none, caps: {n: 1}}]", "not a name for a guard")
	f("guards: [{name: a, caps: {n: 1}}, {name: a, caps: {n: 1}}]", "two guards have this name")
	f("guards: [{name: a}]", "the guard does nothing")
	f(g("caps: {n: x}"), "not a number")
	f(g("on_error: maybe, caps: {n: 1}"), "guards[0].on_error", "pass, block")
	f(g("system: {}"), "nothing is changed")
	f(g("fallback: {}"), "without a model")
	f(g("fallback: {model: m, on: [never]}"), "block, error")
	f(g("hold: 9MiB, caps: {n: 1}"), "more than max_answer")
	f(g("max_answer: 1GiB, caps: {n: 1}"), "at most 64MiB")
	f(g("schema: {}, schema_file: schema.json"), "schema or schema_file")
	f(g("schema_file: bad.json"), "the file is not JSON")
	f(g("filters: [{name: f, phrases: [x]}]"), "without an action")
	f(g("filters: [{name: f, phrases: [x], action: mask}]"), "block, replace, reask")
	f(filter("words: true"), "looks for nothing")
	f(filter("phrases: ['']"), "no phrases")
	f(filter("file: none.txt"), "cannot read the file")
	f(filter("patterns: ['(']"), "not a regular expression")
	f(filter("patterns: ['a*']"), "matches an empty text")
	f(filter("phrases: [x], window: 10"), "64 to 64KiB")
	f(filter("phrases: [x], ask: Again."), "not asked again")
	f(filter("phrases: [x], repalcement: y"), `did you mean "replacement"?`)
}
