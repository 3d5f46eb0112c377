package recorded

import (
	"fmt"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/provider/providertest"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestConformance(t *testing.T) {
	var b strings.Builder
	for n := range 64 {
		fmt.Fprintf(&b, `{"prompt":"question %d","response":"answer %d","took":%d}`+"\n", n, n, n)
	}
	b.WriteString(`{"prompt":"twice","response":"one"}` + "\n" + `{"prompt":"twice","response":"two"}` + "\n")
	b.WriteString(`{"prompt":"failed","response":"","err":"HTTP 500"}` + "\n" + `{"prompt":"nothing","response":null}`)
	path := write(t, "answers.jsonl", b.String())
	open := func(t *testing.T) providertest.Provider {
		p, err := New(Options{ID: "recorded", Path: path, Error: "err", Latency: "took"})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	asks := func(prompt string, repeat int) record.Request { return record.Request{Prompt: prompt, Repeat: repeat} }
	providertest.Run(t, providertest.Subject{
		New:     open,
		Request: func(n int) record.Request { return asks(fmt.Sprintf("question %d", n), 0) },
		Want:    func(n int) string { return fmt.Sprintf("answer %d", n) },
		Failures: []providertest.Failing{
			{Name: "missing", New: open, Request: asks("what?", 0), Kind: record.Missing},
			{Name: "too few", New: open, Request: asks("twice", 2), Kind: record.Missing},
			{Name: "recorded failure", New: open, Request: asks("failed", 0), Kind: record.Server},
			{Name: "null", New: open, Request: asks("nothing", 0), Kind: record.Empty},
		},
	})
}
