package config

import (
	"strings"
	"testing"
)

const variantText = `
routes:
  - name: main
    set: {temperature: 0, top_p: 1}
    caps: {max_tokens: 100}
    upstreams: [{url: https://a.example, name: a}, {url: https://b.example, name: b, model: old}]
    variants:
`

func TestRouteVariants(t *testing.T) {
	s, err := loadServer(t, variantText+`
      - {name: canary, model: new, set: {temperature: 0.7}, caps: {n: 2}}
      - {name: elsewhere, upstreams: [{url: https://c.example}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	r := &s.Routes[0]
	c := r.With(&r.Variants[0])
	if len(c.Upstreams) != 2 || c.Upstreams[0].Model != "new" || c.Upstreams[1].Model != "new" || c.Set["temperature"] != .7 || c.Set["top_p"] == nil || c.Caps["max_tokens"] != 100 || c.Caps["n"] != 2 {
		t.Errorf("%+v", c)
	}
	if r.Upstreams[0].Model != "" || r.Upstreams[1].Model != "old" || len(r.Set) != 2 || len(r.Caps) != 1 {
		t.Errorf("the route was changed: %+v", r)
	}
	e := r.With(&r.Variants[1])
	if len(e.Upstreams) != 1 || e.Upstreams[0].URL != "https://c.example" || e.Set["top_p"] == nil {
		t.Errorf("%+v", e)
	}
	ids := map[string]bool{r.Behaviour(): true, c.Behaviour(): true, e.Behaviour(): true}
	if len(ids) != 3 || len(c.Behaviour()) != 16 {
		t.Errorf("%v", ids)
	}
	if v, ok := r.Variant(c.Behaviour()); !ok || v.Name != "canary" {
		t.Errorf("%+v", v)
	}
	if v, ok := r.Variant("elsewhere"); !ok || v.Name != "elsewhere" {
		t.Errorf("%+v", v)
	}
	if _, ok := r.Variant("nothing"); ok {
		t.Error("found what is not there")
	}
	// Names, keys and time-outs are no behaviour.
	same := *r
	same.Name, same.Timeout = "renamed", 1
	same.Upstreams = append([]Upstream{}, r.Upstreams...)
	same.Upstreams[0].Key, same.Upstreams[0].Name = "secret", "z"
	if same.Behaviour() != r.Behaviour() {
		t.Error("the name decides")
	}
}

func TestRouteVariantsRefused(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := loadServer(t, variantText+text)
		if err == nil {
			t.Errorf("%s: accepted", text)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", text, err, w)
			}
		}
	}
	f("      - {name: baseline, model: m}", "routes[0].variants[0].name", "baseline", "not a name for a variant")
	f("      - {name: Canary, model: m}", "small letters")
	f("      - {model: m}", "variants[0]", "name")
	f("      - {name: canary}", "the same as the route")
	f("      - {name: a, model: m}\n      - {name: a, model: n}", "variants[1].name", "another variant")
	f("      - {name: a, set: {messages: []}}", "set.messages", "not a parameter")
	f("      - {name: a, caps: {max_tokens: many}}", "caps.max_tokens", "not a number")
	f("      - {name: a, upstreams: [{url: ftp://x}]}", "variants[0].upstreams[0].url")
	f("      - {name: a, modell: m}", "modell", "model")
}
