package openai

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// rawServer answers every request with the same bytes, at next to no cost of its own.
func rawServer(b *testing.B, contentType, body string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	reply := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveRaw(c, reply)
		}
	}()
	b.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String() + "/v1"
}

func serveRaw(c net.Conn, reply []byte) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		length := 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 {
				break
			}
			if n, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
				_, _ = fmt.Sscan(n, &length)
			}
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

const wholeAnswer = `{"id":"chatcmpl-1","object":"chat.completion","created":1750000000,"model":"gpt-4.1-mini-2025-04-14","choices":[{"index":0,"message":{"role":"assistant","content":"%s","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":80,"total_tokens":200,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_6f2eabb9a5"}`

var question = record.Request{Messages: []record.Message{
	{Role: "system", Content: "You are a support assistant. Be brief and friendly, and never promise what you cannot keep."},
	{Role: "user", Content: strings.Repeat("My parcel has not arrived, although it should have been here last week. ", 6)},
}, Seed: 7}

func benchmark(b *testing.B, contentType, body string) {
	p := provide(b, "openai:chat:gpt-4.1-mini", nil, rawServer(b, contentType, body))
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Complete(b.Context(), question); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is the processor time used by the whole process, server included.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkWhole(b *testing.B) {
	benchmark(b, "application/json", fmt.Sprintf(wholeAnswer, strings.Repeat("I am sorry to hear that. ", 16)))
}

func BenchmarkStream(b *testing.B) {
	var s strings.Builder
	for range 80 {
		s.WriteString(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1750000000,"model":"gpt-4.1-mini","choices":[{"index":0,"delta":{"content":" sorry"},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	}
	s.WriteString(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n")
	benchmark(b, "text/event-stream", s.String())
}

func BenchmarkEncode(b *testing.B) {
	e, err := newEncoder(&Options{Model: "m", Body: map[string]any{"temperature": 0.5}}, false)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = io.Discard.Write(e.encode(&question))
	}
}

func BenchmarkDecode(b *testing.B) {
	p := provide(b, "openai:chat:m", nil, "http://localhost/v1")
	body := fmt.Appendf(nil, wholeAnswer, strings.Repeat("I am sorry to hear that. ", 16))
	b.ReportAllocs()
	for b.Loop() {
		if _, fail := p.decode(body); fail != nil {
			b.Fatal(fail)
		}
	}
}
