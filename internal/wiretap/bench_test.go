package wiretap

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// words is some text of n bytes.
func words(n int) string {
	return strings.Repeat("The quick brown fox jumps over the lazy dog. ", n/45+1)[:n]
}

// BenchmarkRead reads a chat exchange of 2 KB each way.
func BenchmarkRead(b *testing.B) {
	req := &Request{Path: "/v1/chat/completions", Headers: http.Header{"Content-Type": {"application/json"}, "Telltale-User": {"u1"}}, Body: []byte(
		`{"model":"gpt-4.1-mini","temperature":0.2,"max_tokens":500,"seed":7,"messages":[{"role":"system","content":"` + words(500) +
			`"},{"role":"user","content":"` + words(1300) + `"}]}`)}
	ans := &Answer{Status: 200, Headers: http.Header{"Content-Type": {"application/json"}}, Body: []byte(
		`{"id":"chatcmpl-1","object":"chat.completion","created":1750000000,"model":"gpt-4.1-mini-2025-04-14","choices":[{"index":0,"message":{"role":"assistant","content":"` +
			words(1500) + `","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":80,"total_tokens":200,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default","system_fingerprint":"fp_6f2eabb9a5"}`)}
	b.SetBytes(int64(len(req.Body) + len(ans.Body)))
	b.ReportAllocs()
	for b.Loop() {
		x := record.Exchange{}
		Read(&x, req, ans, Options{})
		s := Snapshot(&x, "api.openai.com", "", "")
		if x.ErrorKind != "" || s.ID == "" || x.Content.Body == nil {
			b.Fatal(x.ErrorKind, x.Error, x.Cut)
		}
	}
}

// BenchmarkStream reads a streamed answer of 200 chunks.
func BenchmarkStream(b *testing.B) {
	var s strings.Builder
	for range 200 {
		s.WriteString(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4.1-mini","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" sorry"},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	}
	fmt.Fprint(&s, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	p := []byte(s.String())
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		st := NewStream(record.APIChat, Options{})
		st.Write(p, time.Second)
		var x record.Exchange
		Read(&x, &Request{Path: "/v1/chat/completions"}, &Answer{Status: 200, Stream: st}, Options{})
		if x.ErrorKind != "" {
			b.Fatal(x.ErrorKind, x.Error)
		}
	}
}
