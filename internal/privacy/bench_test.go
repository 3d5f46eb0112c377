package privacy

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// plainWords have nothing in them that is to be found, and the figures of everyday texts.
const plainWords = "The invoice of 12 March 2024 over 1,250.00 euros was sent to the office; please have a look at its three pages, and tell us whether item 4 is right. "

// ordinary is an exchange with 1 KB of text, which the request's body has a second time.
func ordinary(tb testing.TB) *record.Exchange {
	tb.Helper()
	input, output := strings.Repeat(plainWords, 3), strings.Repeat(plainWords, 4)
	body, err := json.Marshal(map[string]any{"model": "gpt-4.1-mini", "temperature": 0.2, "messages": []any{
		map[string]string{"role": "system", "content": "You are a helpful assistant."}, map[string]string{"role": "user", "content": input}}})
	if err != nil {
		tb.Fatal(err)
	}
	return &record.Exchange{Route: "support", Model: "gpt-4.1-mini", Served: "gpt-4.1-mini-2025-04-14", Endpoint: "/v1/chat/completions", User: "u-17", Session: "5e3c", Tags: map[string]string{"team": "a"},
		Params:  map[string]any{"temperature": 0.2},
		Content: &record.Content{System: "You are a helpful assistant.", Input: []record.Message{{Role: "user", Content: input}}, Output: output, Body: body}}
}

func BenchmarkExchangeClean(b *testing.B) {
	r := redactor(b, config.Privacy{})
	x := ordinary(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Exchange(b.Context(), x); err != nil {
			b.Fatal(err)
		}
	}
	if len(x.Found) > 0 {
		b.Fatalf("found %v", x.Found)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
}

func BenchmarkExchangeFound(b *testing.B) {
	r := redactor(b, config.Privacy{Mode: "pseudonym", Key: testKey, KeyID: "k1"})
	template := ordinary(b)
	with := strings.Replace(template.Content.Output, "office", "jane.doe@acme.org or 212-736-5000", 1)
	b.ReportAllocs()
	for b.Loop() {
		x, c := *template, *template.Content
		x.Content, x.Found = &c, nil
		c.Output = with
		if err := r.Exchange(b.Context(), &x); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
}

func BenchmarkKeep(b *testing.B) {
	s := NewSampler(testKey, config.Capture{Content: .1, Unit: "user", Errors: true, MaxErrors: 60})
	x := &record.Exchange{ID: "0193", User: "jane", Variant: "baseline"}
	b.ReportAllocs()
	for b.Loop() {
		s.Keep(x)
	}
}

// Texts that are made to be slow must not be: the time stays in proportion to the length.
func BenchmarkHostile(b *testing.B) {
	r := redactor(b, config.Privacy{})
	for name, s := range map[string]string{
		"digits": strings.Repeat("1 ", 32<<10), "groups": strings.Repeat("4111 ", 13<<10), "at": strings.Repeat("a@", 32<<10), "colons": strings.Repeat("1:", 32<<10), "plus": strings.Repeat("+1 ", 22<<10),
		"phone": "call " + strings.Repeat("(212) ", 11<<10), "keys": strings.Repeat("api_key=1 ", 6<<10), "percent": strings.Repeat("%2540", 13<<10), "brackets": strings.Repeat("[", 64<<10), "mail": strings.Repeat("a.", 32<<10) + "@",
		"cards": strings.Repeat("4111111111111111 ", 4<<10), "json": strings.Repeat("[", 100) + strings.Repeat("1,", 32<<10) + "1" + strings.Repeat("]", 100), "dot": strings.Repeat("a at b dot ", 6<<10), "many": strings.Repeat("jane@acme.org 4111111111111111 ", 64<<10), "table": "phone,card\n" + strings.Repeat("2127365000,4111111111111111\n", 4<<10),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				r.Text("input", s)
			}
		})
	}
}
