package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// format is a way to send exchanges.
type format struct {
	name, path, media string
	zipped            bool
	body              func(batch int) (*body, error)
}

var formats = [...]format{
	{"otlp", "/v1/traces", "application/x-protobuf", false, otlpBody},
	{"otlp-gzip", "/v1/traces", "application/x-protobuf", true, otlpBody},
	{"ndjson", "/v1/exchanges", "application/x-ndjson", false, jsonBody},
}

// body is a request whose ids are replaced each time it is sent, so that sending costs next to nothing.
type body struct {
	data []byte
	ids  []int // offsets of the ids, each of idLength bytes
	hex  bool
}

const idLength = 16

// fresh writes new ids, of the numbers from n on.
func (b *body) fresh(n uint64) {
	const digits = "bcdfghjkmnpqrstv" // in letters: digits might be taken for those of a card
	for i, at := range b.ids {
		id := b.data[at : at+idLength]
		v := n + uint64(i)
		if !b.hex {
			binary.BigEndian.PutUint64(id, v*0x9e3779b97f4a7c15) // spread, as trace ids are
			binary.BigEndian.PutUint64(id[8:], v)
			continue
		}
		for j := range id {
			id[j] = digits[v>>(4*(15-j))&15]
		}
	}
}

// zip compresses as exporters do by default.
func zip(data []byte, to *bytes.Buffer, z *gzip.Writer) ([]byte, error) {
	to.Reset()
	z.Reset(to)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return to.Bytes(), nil
}

// said is a conversation of 1 KB. One in four names somebody.
func said(i int) (system, question, answer string) {
	system = "You are the support assistant of a shop. Answer politely, briefly and only from the shop's terms."
	question = fmt.Sprintf("I ordered %d lamps on day %d and only %d of them arrived; the box was open on one side and there was no note in it. ", 2+i%7, i%28+1, 1+i%2)
	if i%4 == 0 {
		question += fmt.Sprintf("You can reach me at customer%d@example.org or +1 415 555 %04d. ", i, i%10000)
	}
	answer = "Thank you for telling us, and I am sorry for the trouble. Items that are missing are sent again at no cost. "
	const more = "The parcel service is asked first where the rest is, which takes up to three days; if it cannot be found, we send the missing lamps with the next delivery and tell you its number. "
	for len(system)+len(question)+len(answer)+len(more) < 1024 {
		answer += more
	}
	answer += strings.Repeat(".", max(0, 1024-len(system)-len(question)-len(answer)))
	return system, question, answer
}

// mark is an id that stands in a body until it is sent.
func mark(i int) []byte { return fmt.Appendf(nil, "MARK%06dMARK++", i) }

func (b *body) find(n int) error {
	for i := range n {
		at := bytes.Index(b.data, mark(i))
		if at < 0 {
			return fmt.Errorf("id %d is not in the body", i)
		}
		b.ids = append(b.ids, at)
	}
	return nil
}

func otlpBody(batch int) (*body, error) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "bench")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	now := time.Now()
	for i := range batch {
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID(mark(i)))
		s.SetSpanID([8]byte{1, 2, 3, 4, 5, 6, byte(i >> 8), byte(i) | 1})
		s.SetName("chat gpt-4.1-mini")
		s.SetKind(ptrace.SpanKindClient)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(now))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(now.Add(time.Duration(300+i) * time.Millisecond)))
		system, question, answer := said(i)
		a := s.Attributes()
		a.PutStr("gen_ai.operation.name", "chat")
		a.PutStr("gen_ai.provider.name", "openai")
		a.PutStr("gen_ai.request.model", "gpt-4.1-mini")
		a.PutStr("gen_ai.response.model", "gpt-4.1-mini-2025-04-14")
		a.PutDouble("gen_ai.request.temperature", .2)
		a.PutInt("gen_ai.usage.input_tokens", 120)
		a.PutInt("gen_ai.usage.output_tokens", 150)
		a.PutEmptySlice("gen_ai.response.finish_reasons").AppendEmpty().SetStr("stop")
		a.PutStr("gen_ai.system_instructions", jsonOf([]any{map[string]any{"type": "text", "content": system}}))
		a.PutStr("gen_ai.input.messages", jsonOf([]any{map[string]any{"role": "user", "parts": []any{map[string]any{"type": "text", "content": question}}}}))
		a.PutStr("gen_ai.output.messages", jsonOf([]any{map[string]any{"role": "assistant", "finish_reason": "stop", "parts": []any{map[string]any{"type": "text", "content": answer}}}}))
	}
	data, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		return nil, err
	}
	b := &body{data: data}
	return b, b.find(batch)
}

func jsonBody(batch int) (*body, error) {
	var out bytes.Buffer
	now := time.Now().UTC()
	for i := range batch {
		system, question, answer := said(i)
		x := map[string]any{
			"id": string(mark(i)), "time": now, "route": "bench", "api": "openai.chat", "model": "gpt-4.1-mini", "served": "gpt-4.1-mini-2025-04-14", "status": 200,
			"finish_reason": "stop", "latency": .3 + float64(i)/1000, "usage": map[string]int{"prompt": 120, "completion": 150, "total": 270}, "params": map[string]any{"temperature": .2},
			"content": map[string]any{"system": system, "input": []any{map[string]string{"role": "user", "content": question}}, "output": answer},
		}
		out.WriteString(jsonOf(x) + "\n")
	}
	b := &body{data: out.Bytes(), hex: true}
	return b, b.find(batch)
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(b)
}
