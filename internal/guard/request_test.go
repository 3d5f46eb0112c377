package guard

import (
	"bytes"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

func TestRequest(t *testing.T) {
	f := func(section, api, in, want string) {
		t.Helper()
		got, err := build(t, section).Request(api, []byte(in))
		if err != nil {
			got = []byte("error: " + err.Error())
		}
		if string(got) != want {
			t.Errorf("%s\n%s became\n%s, want\n%s", section, in, got, want)
		}
	}
	const prepend, add, replace = "system: {prepend: 'A \"b\".'}", "system: {append: Z}", "system: {replace: R, append: Z}"
	chat, messages, responses := record.APIChat, record.APIMessages, record.APIResponses
	f(prepend, chat, `{ "messages": [ {"role":"user","content":"x"} ] }`, `{ "messages": [{"role":"system","content":"A \"b\"."}, {"role":"user","content":"x"} ] }`)
	f(prepend, chat, `{"messages":[]}`, `{"messages":[{"role":"system","content":"A \"b\"."}]}`)
	f(prepend, chat, `{"messages":[{"content":"S\u00e9","role":"developer"},{"role":"user","content":"x"}],"n":1}`, `{"messages":[{"content":"A \"b\".\n\nS\u00e9","role":"developer"},{"role":"user","content":"x"}],"n":1}`)
	f(add, chat, `{"messages":[{"role":"system","content":[{"type":"text","text":"S"}]}]}`, `{"messages":[{"role":"system","content":[{"type":"text","text":"S"},{"type":"text","text":"Z"}]}]}`)
	f(add, chat, `{"messages":[{"role":"system","content":"1"},{"role":"user","content":"x"},{"role":"system","content":"2"}]}`, `{"messages":[{"role":"system","content":"1"},{"role":"user","content":"x"},{"role":"system","content":"2\n\nZ"}]}`)
	f(replace, chat, `{"messages":[{"role":"system","content":"1"}, {"role":"system","content":"2"},{"role":"user","content":"x"}]}`, `{"messages":[{"role":"system","content":"R\n\nZ"},{"role":"user","content":"x"}]}`)
	f(add, messages, `{"model":"c","messages":[]}`, `{"model":"c","messages":[],"system":"Z"}`)
	f(add, messages, `{"system":"S","messages":[]}`, `{"system":"S\n\nZ","messages":[]}`)
	f(prepend, messages, `{"system":[{"type":"text","text":"S","cache_control":{"type":"ephemeral"}}]}`, `{"system":[{"type":"text","text":"A \"b\"."},{"type":"text","text":"S","cache_control":{"type":"ephemeral"}}]}`)
	f("system: {prepend: A, append: Z}", messages, `{"system":[]}`, `{"system":[{"type":"text","text":"A"},{"type":"text","text":"Z"}]}`)
	f(replace, messages, `{"system":[{"type":"text","text":"S"}]}`, `{"system":"R\n\nZ"}`)
	f(add, responses, `{"instructions":null,"input":"x"}`, `{"instructions":"Z","input":"x"}`)
	f(add, responses, `{}`, `{"instructions":"Z"}`)
	f(add, record.APICompletions, `{"prompt":"x"}`, `{"prompt":"x"}`)
	f("caps: {max_tokens: 5, reasoning.budget: 10}", chat, `{"max_tokens": 9e9, "reasoning" : {"budget":11,"x":1}, "messages":[]}`, `{"max_tokens": 5, "reasoning" : {"budget":10,"x":1}, "messages":[]}`)
	f("caps: {max_tokens: 5}", chat, `{"max_tokens":null}`, `{"max_tokens":null}`)
	f("caps: {max_tokens: 5}", chat, `{"max_tokens":"9"}`, `error: max_tokens must be a number`)
	f("caps: {max_tokens: 5}", chat, `{"max_tokens":9`, `error: the request's body is not a JSON object`)
	f("caps: {max_tokens: 5}", chat, `[1]`, `error: the request's body is not a JSON object`)
	f("filters: [{name: w, phrases: [x], action: block}]", chat, `not JSON`, `not JSON`)
	// Of a key that is given twice servers take the last; both are changed.
	f(add, messages, `{"system":"1","system":"2"}`, `{"system":"1\n\nZ","system":"2\n\nZ"}`)
}

func TestRetry(t *testing.T) {
	g := build(t, "filters: [{name: w, phrases: [bomb], action: reask}]\nfallback: {model: safe}")
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"x"}]}`)
	answer := []byte(`{"choices":[{"index":0,"message":{"content":"a bomb"},"finish_reason":"stop"}]}`)
	var before *Verdict
	var said []string
	for range 3 {
		out, v, _ := run(g, Options{API: record.APIChat, Request: body, Before: before}, [][]byte{answer})
		said = append(said, v.Outcome.String())
		if v.Outcome != Again {
			if !bytes.Contains(out, []byte(`"content_filter"`)) || v.Report.Model != "safe" || v.Report.Asked != "w" || v.Report.Hits[0].Count != 3 {
				t.Errorf("%s %+v", out, v.Report)
			}
			continue
		}
		if len(out) > 0 {
			t.Errorf("something was passed on: %s", out)
		}
		next, err := g.Retry(record.APIChat, body, v.Next)
		if err != nil {
			t.Fatal(err)
		}
		if v.Next.Model != "" && !bytes.Contains(next, []byte(`"model":"safe"`)) || v.Next.Model == "" && !bytes.Contains(next, []byte(`"role":"system"`)) {
			t.Errorf("%s", next)
		}
		before = &v
	}
	if got := strings.Join(said, " "); got != "again again blocked" {
		t.Error(got)
	}
	if g.Fallback(nil) != "safe" || g.Fallback(before) != "" {
		t.Error("fallback", g.Fallback(nil), g.Fallback(before))
	}
	if b, err := g.With([]byte(`{"stream":true}`), "safe"); err != nil || string(b) != `{"stream":true,"model":"safe"}` {
		t.Error(string(b), err)
	}
}
