package provider

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestBuiltinPrices(t *testing.T) {
	p := builtin()
	f := func(model string, input float64) {
		t.Helper()
		got, ok := p.Find(model)
		if input < 0 {
			if ok {
				t.Errorf("%s is taken to cost %+v, want unknown", model, got)
			}
			return
		}
		if !ok || got.Input != input || got.Own {
			t.Errorf("%s: %+v, %v; want input %g", model, got, ok, input)
		}
	}
	f("gpt-4.1-mini", 0.4)
	f("gpt-4.1-mini-2025-04-14", 0.4)
	f("gpt-4o-2024-05-13", 5) // a dated version with a price of its own
	f("gpt-4o-2024-08-06", 2.5)
	f("gpt-4-0613", 30)
	f("gpt-3.5-turbo-1106", 1)
	f("gpt-5-mini", 0.25)
	f("claude-sonnet-4-20250514", 3)
	f("claude-opus-4-5-20251101", 5)
	f("gemini-2.5-flash", 0.3)
	f("claude-sonnet-9", -1)
	// What only starts like a known model has a price of its own, which is not known.
	f("gpt-5.9", -1)
	f("gpt-4o-audio-preview", -1)
	f("ft:gpt-4.1-mini:acme::1", -1)
	f("gpt-4.1-mini-2025-99", -1)
	f("", -1)
	for name, price := range p.exact {
		if price.Input <= 0 || price.Output <= price.Input {
			t.Errorf("%s: %+v does not look like a price", name, price)
		}
		if c := price.Cached; c != nil && (*c <= 0 || *c > price.Input) {
			t.Errorf("%s: cached input costs %g", name, *c)
		}
	}
	if _, ok := (*Prices)(nil).Find("gpt-4o"); ok {
		t.Error("no table has prices")
	}
}

func TestCost(t *testing.T) {
	cached := 0.5
	f := func(p Price, u record.Usage, want float64) {
		t.Helper()
		got := p.Cost(u)
		if math.IsNaN(want) {
			if got != nil {
				t.Errorf("%+v of %+v costs %g, want unknown", u, p, *got)
			}
			return
		}
		if got == nil || math.Abs(*got-want) > 1e-15 {
			t.Errorf("%+v of %+v costs %v, want %g", u, p, got, want)
		}
	}
	nan := math.NaN()
	p := Price{Input: 2, Output: 8, Cached: &cached}
	f(p, record.Usage{Prompt: 1000, Completion: 100}, (1000*2+100*8)/1e6)
	f(p, record.Usage{Prompt: 1000, Cached: 400, Completion: 100}, (600*2+400*0.5+100*8)/1e6)
	f(p, record.Usage{Prompt: 10, Cached: 99}, 10*0.5/1e6)
	f(Price{Input: 2, Output: 8}, record.Usage{Prompt: 1000, Cached: 400}, 1000*2/1e6)
	f(p, record.Usage{}, nan)
	f(p, record.Usage{Total: 7}, nan)
	f(Price{Input: 2, Output: 8, UpTo: 999}, record.Usage{Prompt: 1000}, nan)
	f(Price{Input: 2, Output: 8, UpTo: 1000}, record.Usage{Prompt: 1000}, 2000/1e6)
	f(Price{}, record.Usage{Prompt: 1000}, 0) // free, because the user says so
}

func load(t *testing.T, content string) (*Prices, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadPrices(path)
}

func TestLoadPrices(t *testing.T) {
	p, err := load(t, `
models:
  gpt-4o: {input: 1, output: 2}
  local-*: {input: 0, output: 0}
  local-big-*: {input: 3, cached_input: 1, output: 4, up_to: 1_000}
  "llama:70b":
    input: 0.5
    output: 0.5
`)
	if err != nil {
		t.Fatal(err)
	}
	f := func(model string, input float64, own bool) {
		t.Helper()
		got, ok := p.Find(model)
		if !ok || got.Input != input || got.Own != own {
			t.Errorf("%s: %+v, %v; want input %g, own %v", model, got, ok, input, own)
		}
	}
	f("gpt-4o", 1, true)
	f("gpt-4.1", 2, false)
	f("local-small", 0, true)
	f("local-big-1", 3, true)
	f("llama:70b", 0.5, true)
	if got, _ := p.Find("local-big-1"); got.UpTo != 1000 || *got.Cached != 1 {
		t.Errorf("local-big-1: %+v", got)
	}
	if got, _ := builtin().Find("gpt-4o"); got.Input != 2.5 {
		t.Error("the user's file changed the built-in table")
	}

	p, err = load(t, "replace: true\nmodels: {m: {input: 1, output: 2}}\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Find("gpt-4o"); ok {
		t.Error("replace kept the built-in models")
	}
}

func TestLoadPricesMistakes(t *testing.T) {
	f := func(content string, line int, parts ...string) {
		t.Helper()
		_, err := load(t, content)
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v, want a config error", content, err)
			return
		}
		if e.Line != line || !strings.HasSuffix(e.File, "prices.yaml") {
			t.Errorf("%q: reported at %s, want line %d", content, e.Pos, line)
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q lacks %q", content, err, part)
			}
		}
	}
	f("", 0, "not a price file")
	f("models: [", 1, "invalid YAML")
	f("models: {}", 1, "no model")
	f("modles: {}", 1, "modles")
	f("models:\n  a: {input: 1}\n", 2, "models.a", "no output price")
	f("models:\n  a: {input: -1, output: 1}\n", 2, "models.a.input", "-1")
	f("models:\n  a: {input: x, output: 1}\n", 2, "models.a.input", `"x"`)
	f("models:\n  a: {input: 1, output: .inf}\n", 2, "models.a.output")
	f("models:\n  a: {input: 1, output: 1, cache: 1}\n", 2, "models.a.cache", "unknown key")
	f("models:\n  a: {input: 1, output: 1, up_to: 1.5}\n", 2, "up_to")
	f("models:\n  a: {input: 1, output: 1}\n  a: {input: 2, output: 1}\n", 3, "duplicate key")
	f("models:\n  a: 3\n", 2, "not a mapping")
	f("replace: maybe\nmodels:\n  a: {input: 1, output: 1}\n", 1, "replace", "maybe")
	if _, err := LoadPrices(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzParsePrices(f *testing.F) {
	f.Add([]byte("models:\n  a: {input: 1, output: 2}\n"))
	f.Add(builtinPrices)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePrices("f.yaml", data, Prices{}, origin{own: true})
		if err != nil {
			return
		}
		for name, price := range p.exact {
			if !NotNegative(price.Input) || !NotNegative(price.Output) {
				t.Errorf("%s costs %+v", name, price)
			}
		}
	})
}
