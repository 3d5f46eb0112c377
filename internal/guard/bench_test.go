package guard

import (
	"fmt"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

const prose = "The committee met on Tuesday to go over the plan for the harbour, which had been put off twice because of the weather. It was agreed that the work begins in spring, and that the costs are shared between the towns along the coast. "

func phrases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "forbidden phrase number %d, ", i)
	}
	return "[" + strings.TrimSuffix(b.String(), ", ") + "]"
}

var guards = []struct{ name, section string }{
	{"phrases-1000", "filters: [{name: w, action: replace, phrases: " + phrases(1000) + "}]"},
	{"patterns-5", `filters: [{name: p, action: replace, patterns: ['(?i)project\s+(alpha|beta)\b', 'EMP-\d{4,}', '\bACME\b', 'https?://internal\.', '(?i)do not tell']}]`},
	{"pii", "filters: [{name: p, action: replace, pii: [all]}]"},
	{"pii+secrets", "filters: [{name: p, action: replace, pii: [all], secrets: true}]"},
}

func BenchmarkText(b *testing.B) {
	text := []byte(strings.Repeat(prose, 20))
	for _, c := range guards {
		b.Run(c.name, func(b *testing.B) {
			g := build(b, c.section)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				f := newFilter(&g.rules, &finding{}, false)
				f.take(text)
				f.flush()
			}
		})
	}
}

// BenchmarkEvent is one event of a stream, of one word.
func BenchmarkEvent(b *testing.B) {
	var parts [][]byte
	for _, w := range strings.SplitAfter(strings.Repeat(prose, 20), " ") {
		parts = append(parts, []byte(w))
	}
	for _, api := range streams {
		stream := api.make(parts)
		for _, c := range guards {
			b.Run(strings.TrimPrefix(api.api, "openai.")+"/"+c.name, func(b *testing.B) {
				g := build(b, c.section)
				b.ReportAllocs()
				for b.Loop() {
					a := g.Answer(Options{API: api.api, Stream: true})
					for rest := stream; len(rest) > 0; {
						n := min(len(rest), 1400)
						a.Push(rest[:n])
						rest = rest[n:]
					}
					a.End(true)
				}
				b.SetBytes(int64(len(stream)))
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(parts)), "ns/event")
			})
		}
	}
}

func BenchmarkDocument(b *testing.B) {
	body := []byte(`{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":` + string(quote(strings.Repeat(prose, 20))) + `},"finish_reason":"stop"}]}`)
	for _, c := range guards {
		b.Run(c.name, func(b *testing.B) {
			g := build(b, c.section)
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				a := g.Answer(Options{API: record.APIChat})
				a.Push(body)
				a.End(true)
			}
		})
	}
}
