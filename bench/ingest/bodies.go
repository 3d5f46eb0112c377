package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// format is a way to send exchanges.
type format struct {
	name, path, media string
	zipped            bool
	pace              int // exchanges a second; 0 for as many as are taken
	body              func(r *rand.Rand, batch int) (*body, error)
}

var formats = [...]format{
	{name: "otlp", path: "/v1/traces", media: "application/x-protobuf", body: otlpBody},
	{name: "otlp-paced", path: "/v1/traces", media: "application/x-protobuf", pace: barRate, body: otlpBody},
	{name: "otlp-gzip", path: "/v1/traces", media: "application/x-protobuf", zipped: true, body: otlpBody},
	{name: "ndjson", path: "/v1/exchanges", media: "application/x-ndjson", body: jsonBody},
}

// body is a request in which ids, times and a word of each text are replaced each time it is sent, so that sending costs next
// to nothing and yet no two exchanges are alike.
type body struct {
	data  []byte
	parts []part
	json  bool // ids are letters, as words are, and times RFC 3339
}

// part is an exchange in a body: offsets of its id and its word, each of markLength bytes, and of its times.
type part struct {
	id, word, start, end int
	latency              time.Duration
}

const (
	markLength = 16
	timeLayout = "2006-01-02T15:04:05.000000Z"
	// goldenRatio spreads numbers that follow one another, as trace ids are.
	goldenRatio = 0x9e3779b97f4a7c15
)

// fresh writes new ids and words, of the numbers from n on, of calls that have just ended.
func (b *body) fresh(n uint64, now time.Time) {
	for i := range b.parts {
		p := &b.parts[i]
		v := n + uint64(i)
		spell(b.data[p.word:], v*goldenRatio)
		if b.json {
			spell(b.data[p.id:], v)
			copy(b.data[p.start:], now.Add(-p.latency).UTC().Format(timeLayout))
			continue
		}
		binary.BigEndian.PutUint64(b.data[p.id:], v*goldenRatio)
		binary.BigEndian.PutUint64(b.data[p.id+8:], v)
		binary.LittleEndian.PutUint64(b.data[p.start:], uint64(now.Add(-p.latency).UnixNano()))
		binary.LittleEndian.PutUint64(b.data[p.end:], uint64(now.UnixNano()))
	}
}

// spell writes a number in letters: digits might be taken for those of a card.
func spell(to []byte, v uint64) {
	const letters = "bcdfghjkmnpqrstv"
	for i := range markLength {
		to[i] = letters[v>>(4*(15-i))&15]
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

// Marks stand in a body for an id and a word until it is sent.
func idMark(i int) []byte   { return fmt.Appendf(nil, "MARK%06dMARK++", i) }
func wordMark(i int) []byte { return fmt.Appendf(nil, "WORD%06dWORD..", i) }

// Times that stand in a body until it is sent.
func startMark(i int) time.Time { return time.Unix(1_000_000_000, int64(i)*1000).UTC() }
func endMark(i int) time.Time   { return startMark(i).Add(time.Second) }

// find looks up where the marks are.
func (b *body) find(latencies []time.Duration) error {
	fixed := func(t time.Time) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(t.UnixNano())) }
	for i, latency := range latencies {
		p := part{id: bytes.Index(b.data, idMark(i)), word: bytes.Index(b.data, wordMark(i)), latency: latency}
		if b.json {
			p.start = bytes.Index(b.data, startMark(i).AppendFormat(nil, timeLayout))
		} else {
			p.start, p.end = bytes.Index(b.data, fixed(startMark(i))), bytes.Index(b.data, fixed(endMark(i)))
		}
		if p.id < 0 || p.word < 0 || p.start < 0 || p.end < 0 {
			return fmt.Errorf("exchange %d is not in the body", i)
		}
		b.parts = append(b.parts, p)
	}
	return nil
}

func otlpBody(r *rand.Rand, batch int) (*body, error) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "bench")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	latencies := make([]time.Duration, batch)
	for i := range latencies {
		latencies[i] = time.Duration(300+r.IntN(5000)) * time.Millisecond
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID(idMark(i)))
		s.SetSpanID([8]byte{1, 2, 3, 4, 5, 6, byte(i >> 8), byte(i) | 1})
		s.SetName("chat gpt-4.1-mini")
		s.SetKind(ptrace.SpanKindClient)
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(startMark(i)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(endMark(i)))
		system, question, answer := said(r, string(wordMark(i)))
		a := s.Attributes()
		a.PutStr("gen_ai.operation.name", "chat")
		a.PutStr("gen_ai.provider.name", "openai")
		a.PutStr("gen_ai.request.model", "gpt-4.1-mini")
		a.PutStr("gen_ai.response.model", "gpt-4.1-mini-2025-04-14")
		a.PutDouble("gen_ai.request.temperature", .2)
		a.PutInt("gen_ai.usage.input_tokens", 80+int64(r.IntN(80)))
		a.PutInt("gen_ai.usage.output_tokens", 100+int64(r.IntN(100)))
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
	return b, b.find(latencies)
}

func jsonBody(r *rand.Rand, batch int) (*body, error) {
	var out bytes.Buffer
	latencies := make([]time.Duration, batch)
	for i := range latencies {
		latencies[i] = time.Duration(300+r.IntN(5000)) * time.Millisecond
		system, question, answer := said(r, string(wordMark(i)))
		prompt, completion := 80+r.IntN(80), 100+r.IntN(100)
		x := map[string]any{
			"id": string(idMark(i)), "time": startMark(i).Format(timeLayout), "route": "bench", "api": "openai.chat", "model": "gpt-4.1-mini", "served": "gpt-4.1-mini-2025-04-14", "status": 200,
			"finish_reason": "stop", "latency": latencies[i].Seconds(), "usage": map[string]int{"prompt": prompt, "completion": completion, "total": prompt + completion}, "params": map[string]any{"temperature": .2},
			"content": map[string]any{"system": system, "input": []any{map[string]string{"role": "user", "content": question}}, "output": answer},
		}
		out.WriteString(jsonOf(x) + "\n")
	}
	b := &body{data: out.Bytes(), json: true}
	return b, b.find(latencies)
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(b)
}
