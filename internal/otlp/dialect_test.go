package otlp

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/telltale-llm/telltale/internal/record"
)

// testSpan is a span to be made.
type testSpan struct {
	id, parent byte
	name       string
	attrs      map[string]any
	events     []testEvent
	failed     string // status message of an error
}

type testEvent struct {
	name  string
	attrs map[string]any
}

func build(t testing.TB, spans ...testSpan) ptrace.Traces {
	t.Helper()
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	put(t, rs.Resource().Attributes(), map[string]any{"service.name": "shop", "service.version": "1.2"})
	ss := rs.ScopeSpans().AppendEmpty()
	for _, in := range spans {
		s := ss.Spans().AppendEmpty()
		s.SetTraceID(pcommon.TraceID{1})
		s.SetSpanID(pcommon.SpanID{in.id})
		s.SetParentSpanID(pcommon.SpanID{in.parent})
		s.SetName(in.name)
		s.SetStartTimestamp(1_750_000_000_000_000_000)
		s.SetEndTimestamp(1_750_000_001_500_000_000)
		put(t, s.Attributes(), in.attrs)
		for _, e := range in.events {
			to := s.Events().AppendEmpty()
			to.SetName(e.name)
			to.SetTimestamp(1_750_000_000_250_000_000)
			put(t, to.Attributes(), e.attrs)
		}
		if in.failed != "" {
			s.Status().SetCode(ptrace.StatusCodeError)
			s.Status().SetMessage(in.failed)
		}
	}
	return td
}

func put(t testing.TB, m pcommon.Map, from map[string]any) {
	t.Helper()
	if err := m.FromRaw(from); err != nil {
		t.Fatal(err)
	}
}

// export sends spans and returns the exchanges.
func exportSpans(t *testing.T, spans ...testSpan) []record.Exchange {
	t.Helper()
	r, k := receiver(t, Options{})
	b, err := ptraceotlp.NewExportRequestFromTraces(build(t, spans...)).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	if w := post(r, "/v1/traces", protobufType, b); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return k.xs
}

// A store takes no time of another age: such a span is of the time it came, and its latency is not known.
func TestImpossibleTimes(t *testing.T) {
	for _, at := range []pcommon.Timestamp{0, 1, 9_999_999_999_999_999_999, math.MaxUint64} {
		td := build(t, testSpan{id: 1, name: "chat m", attrs: map[string]any{"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}})
		s := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
		s.SetStartTimestamp(at)
		s.SetEndTimestamp(at)
		r, k := receiver(t, Options{})
		b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		if w := post(r, "/v1/traces", protobufType, b); w.Code != 200 || len(k.xs) != 1 {
			t.Fatalf("%d: %d %s, %d exchanges", at, w.Code, w.Body, len(k.xs))
		}
		if x := &k.xs[0]; time.Since(x.Time).Abs() > time.Hour || x.Latency != nil {
			t.Errorf("%d: %v, latency %v", at, x.Time, x.Latency)
		}
	}
}

// one sends a span and compares the exchange, as JSON, with what is wanted.
func one(t *testing.T, s testSpan, want string) {
	t.Helper()
	s.id = 7
	xs := exportSpans(t, s)
	if len(xs) != 1 {
		t.Fatalf("%d exchanges", len(xs))
	}
	b, err := json.Marshal(&xs[0])
	if err != nil {
		t.Fatal(err)
	}
	var got, w map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v in %s", err, want)
	}
	for _, name := range []string{"id", "source", "time", "route", "variant", "snapshot", "propensity", "inclusion", "latency", "trace_id", "span_id", "input_hash"} {
		delete(got, name)
	}
	if tags, ok := got["tags"].(map[string]any); ok {
		delete(tags, "version")
		if len(tags) == 0 {
			delete(got, "tags")
		}
	}
	if lp, ok := got["logprobs"].(map[string]any); ok {
		delete(lp, "histogram")
	}
	if !reflect.DeepEqual(got, w) {
		b, _ := json.Marshal(got)
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func TestConventions(t *testing.T) {
	one(t, testSpan{name: "chat gpt", attrs: map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4.1", "gen_ai.response.model": "gpt-4.1-x", "gen_ai.request.seed": 5,
		"gen_ai.request.temperature": .5, "gen_ai.request.top_k": 3.0, "gen_ai.request.stop_sequences": []any{"a"}, "gen_ai.request.choice.count": 2, "gen_ai.output.type": "json",
		"gen_ai.response.finish_reasons": []any{"length", "stop"}, "gen_ai.response.time_to_first_chunk": .25, "openai.response.system_fingerprint": "fp", "openai.request.service_tier": "flex",
		"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.reasoning.output_tokens": 2,
		"gen_ai.conversation.id": "c1", "user.id": "u1", "telltale.tag.team": "a", "server.address": "api.openai.com",
		"gen_ai.system_instructions": []any{map[string]any{"type": "text", "content": "Be brief."}},
		"gen_ai.input.messages": []any{
			map[string]any{"role": "user", "parts": []any{map[string]any{"type": "text", "content": "Hi"}, map[string]any{"type": "blob", "mime_type": "image/png", "content": "AAAA"}, map[string]any{"type": "uri", "modality": "image", "uri": "https://x/y.png"}}},
			map[string]any{"role": "assistant", "parts": []any{map[string]any{"type": "tool_call", "id": "c0", "name": "look", "arguments": map[string]any{"a": 1}}}},
			map[string]any{"role": "tool", "parts": []any{map[string]any{"type": "tool_call_response", "id": "c0", "response": map[string]any{"found": true}}}},
		},
		"gen_ai.output.messages": []any{
			map[string]any{"role": "assistant", "finish_reason": "length", "parts": []any{map[string]any{"type": "reasoning", "content": "hm"}, map[string]any{"type": "text", "content": "Hello"}, map[string]any{"type": "tool_call", "id": "c1", "name": "look", "arguments": "{}"}}},
			map[string]any{"role": "assistant", "finish_reason": "stop", "parts": []any{map[string]any{"type": "text", "content": "other"}}},
		},
	}, events: []testEvent{{"gen_ai.evaluation.result", map[string]any{"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": .75, "gen_ai.evaluation.score.label": "pass", "gen_ai.evaluation.explanation": "on topic"}}}},
		`{"api":"openai.chat","provider":"openai","upstream":"api.openai.com","stream":true,"model":"gpt-4.1","served":"gpt-4.1-x","fingerprint":"fp","finish_reason":"length","ttft":0.25,"seed":5,"user":"u1","session":"c1","tags":{"team":"a"},
		"params":{"temperature":0.5,"top_k":3,"stop_sequences":["a"],"n":2,"output_type":"json","service_tier":"flex"},"usage":{"prompt":10,"completion":5,"total":15,"cached":4,"reasoning":2},"cut":["choices"],
		"scores":[{"name":"relevance","value":0.75,"pass":true,"label":"pass","reason":"on topic","inclusion":1}],
		"content":{"system":"Be brief.","input":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image_url","image_url":{"url":"sha256:63c1dd951ffedf6f image/png 3 bytes"}},{"type":"image_url","image_url":{"url":"https://x/y.png"}}]},
		{"role":"assistant","content":"look({\"a\":1})"},{"role":"tool","content":"{\"found\":true}"}],"output":"Hello","tool_calls":[{"id":"c1","name":"look","arguments":"{}"}]}}`)
}

func TestOlderConventions(t *testing.T) {
	one(t, testSpan{attrs: map[string]any{
		"gen_ai.system": "anthropic", "gen_ai.request.model": "claude", "gen_ai.usage.prompt_tokens": 3, "gen_ai.usage.completion_tokens": 2, "gen_ai.operation.name": "chat",
	}, events: []testEvent{
		{"gen_ai.system.message", map[string]any{"content": "Be brief."}},
		{"gen_ai.user.message", map[string]any{"gen_ai.event.content": `{"content":"Hi","role":"user"}`}},
		{"gen_ai.assistant.message", map[string]any{"tool_calls": `[{"id":"c0","type":"function","function":{"name":"look","arguments":"{}"}}]`}},
		{"gen_ai.tool.message", map[string]any{"id": "c0", "content": "cat"}},
		{"gen_ai.choice", map[string]any{"gen_ai.event.content": `{"index":0,"finish_reason":"tool_calls","message":{"content":"Hello","tool_calls":[{"id":"c1","function":{"name":"look","arguments":"{}"}}]}}`}},
	}}, `{"api":"anthropic.messages","provider":"anthropic","model":"claude","finish_reason":"tool_calls","usage":{"prompt":3,"completion":2,"total":5},
		"content":{"system":"Be brief.","input":[{"role":"user","content":"Hi"},{"role":"assistant","content":"look({})"},{"role":"tool","content":"cat"}],"output":"Hello","tool_calls":[{"id":"c1","name":"look","arguments":"{}"}]}}`)
	one(t, testSpan{attrs: map[string]any{"gen_ai.system": "openai", "gen_ai.request.model": "m"}, events: []testEvent{
		{"gen_ai.content.prompt", map[string]any{"gen_ai.prompt": `[{"role":"user","content":"Hi"}]`}},
		{"gen_ai.content.completion", map[string]any{"gen_ai.completion": `[{"role":"assistant","content":"Hello"}]`}},
	}}, `{"api":"openai.chat","provider":"openai","model":"m","content":{"input":[{"role":"user","content":"Hi"}],"output":"Hello"}}`)
	one(t, testSpan{attrs: map[string]any{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "mistral", "gen_ai.request.model": "m"}, events: []testEvent{
		{"gen_ai.client.inference.operation.details", map[string]any{"gen_ai.input.messages": `[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]`, "gen_ai.output.messages": `[{"role":"assistant","parts":[{"type":"text","content":"Hello"}],"finish_reason":"stop"}]`}},
	}}, `{"api":"other","provider":"mistral","model":"m","finish_reason":"stop","content":{"input":[{"role":"user","content":"Hi"}],"output":"Hello"}}`)
}

func TestTraceloop(t *testing.T) {
	one(t, testSpan{attrs: map[string]any{
		"gen_ai.system": "OpenAI", "llm.request.type": "chat", "gen_ai.request.model": "m", "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief.", "gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "Hi",
		"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "Hello", "gen_ai.completion.0.finish_reason": "stop", "gen_ai.completion.0.tool_calls.0.id": "c1", "gen_ai.completion.0.tool_calls.0.name": "look", "gen_ai.completion.0.tool_calls.0.arguments": "{}",
		"llm.usage.total_tokens": 9, "gen_ai.usage.prompt_tokens": 6, "gen_ai.usage.completion_tokens": 3, "llm.frequency_penalty": .1, "llm.is_streaming": true, "traceloop.association.properties.user_id": "u1", "traceloop.association.properties.plan": "pro",
		"llm.request.functions.0.name": "look", "llm.request.functions.0.parameters": `{"type":"object"}`,
	}, events: []testEvent{{"logprobs", map[string]any{"logprobs": `[{"token":"Hello","logprob":-0.5,"top_logprobs":[]}]`}}}},
		`{"api":"openai.chat","provider":"openai","stream":true,"model":"m","finish_reason":"stop","user":"u1","tags":{"plan":"pro"},"usage":{"prompt":6,"completion":3,"total":9},"logprobs":{"tokens":1,"mean":-0.5,"min":-0.5},
		"params":{"frequency_penalty":0.1,"tools":[{"name":"look","parameters":"{\"type\":\"object\"}"}]},
		"content":{"system":"Be brief.","input":[{"role":"user","content":"Hi"}],"output":"Hello","tool_calls":[{"id":"c1","name":"look","arguments":"{}"}]}}`)
}

func TestOpenInference(t *testing.T) {
	one(t, testSpan{attrs: map[string]any{
		"openinference.span.kind": "LLM", "llm.provider": "openai", "llm.model_name": "m-2025", "llm.invocation_parameters": `{"model":"m","seed":9,"temperature":0,"stream":true,"tools":[1]}`,
		"llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.contents.0.message_content.type": "text", "llm.input_messages.0.message.contents.0.message_content.text": "Hi",
		"llm.input_messages.0.message.contents.1.message_content.type": "image", "llm.input_messages.0.message.contents.1.message_content.image.image.url": "data:image/png;base64,AAAA",
		"llm.input_messages.10.message.role": "user", "llm.input_messages.10.message.content": "second", "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "Hello",
		"llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1", "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look", "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": "{}",
		"llm.token_count.prompt": 4, "llm.token_count.completion": 2, "llm.token_count.total": 6, "llm.token_count.prompt_details.cache_read": 1, "session.id": "s", "metadata": `{"plan":"pro","n":1}`, "tag.tags": []any{"beta"},
	}, events: []testEvent{{"First Token Stream Event", nil}}},
		`{"api":"openai.chat","provider":"openai","stream":true,"model":"m","served":"m-2025","seed":9,"session":"s","ttft":0.25,"tags":{"plan":"pro","n":"1","beta":"true"},"params":{"temperature":0,"tools":[1]},"usage":{"prompt":4,"completion":2,"total":6,"cached":1},
		"content":{"input":[{"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image_url","image_url":{"url":"sha256:63c1dd951ffedf6f image/png 3 bytes"}}]},{"role":"user","content":"second"}],"output":"Hello","tool_calls":[{"id":"c1","name":"look","arguments":"{}"}]}}`)
	one(t, testSpan{attrs: map[string]any{"openinference.span.kind": "EMBEDDING", "llm.system": "openai", "embedding.model_name": "e", "embedding.embeddings.0.embedding.text": "a", "embedding.embeddings.0.embedding.vector": []any{1.0}, "llm.token_count.prompt": 1}},
		`{"api":"openai.embeddings","provider":"openai","model":"e","usage":{"prompt":1,"total":1},"content":{"input":[{"role":"user","content":"a"}]}}`)
}

func TestLangfuse(t *testing.T) {
	one(t, testSpan{name: "OpenAI.responses", attrs: map[string]any{
		"langfuse.observation.type": "generation", "langfuse.observation.model.name": "m", "langfuse.observation.input": `{"input":"Hi","instructions":"Be brief."}`, "langfuse.observation.output": `"Hello"`,
		"langfuse.observation.usage_details": `{"input":60,"output":10,"total":120,"input_cached_tokens":40,"output_reasoning_tokens":10}`, "langfuse.observation.cost_details": `{"total":0.5}`,
		"langfuse.observation.metadata.plan": "pro", "langfuse.user.id": "u",
	}}, `{"api":"openai.responses","provider":"openai","model":"m","cost":0.5,"user":"u","tags":{"plan":"pro"},"usage":{"prompt":100,"completion":20,"total":120,"cached":40,"reasoning":10},
		"content":{"system":"Be brief.","input":[{"role":"user","content":"Hi"}],"output":"Hello"}}`)
	f := func(details string, want record.Usage) {
		t.Helper()
		var m map[string]any
		if err := json.Unmarshal([]byte(details), &m); err != nil {
			t.Fatal(err)
		}
		if got := langfuseUsage(m); got != want {
			t.Errorf("%s: got %+v, want %+v", details, got, want)
		}
	}
	f(`{"input":100,"output":20,"total":120,"input_cached_tokens":40}`, record.Usage{Prompt: 100, Completion: 20, Total: 120, Cached: 40})
	f(`{"input":60,"output":20,"input_cached_tokens":40}`, record.Usage{Prompt: 100, Completion: 20, Cached: 40})
	f(`{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":30,"cache_creation_input_tokens":5}`, record.Usage{Prompt: 45, Completion: 5, Cached: 30})
}

func TestVercel(t *testing.T) {
	one(t, testSpan{attrs: map[string]any{
		"ai.operationId": "ai.streamText.doStream", "ai.model.provider": "anthropic.messages", "ai.model.id": "claude", "ai.response.msToFirstChunk": 120.0, "ai.response.finishReason": "tool-calls", "ai.settings.seed": 3,
		"ai.prompt.messages": `[{"role":"user","content":[{"type":"text","text":"Hi"}]},{"role":"assistant","content":[{"type":"tool-call","toolCallId":"c0","toolName":"look","input":{"a":1}}]},{"role":"tool","content":[{"type":"tool-result","toolCallId":"c0","output":{"type":"text","value":"cat"}}]}]`,
		"ai.response.text":   "Hello", "ai.response.toolCalls": `[{"toolCallId":"c1","toolName":"look","input":"{}"}]`, "ai.usage.inputTokens": 4, "ai.usage.outputTokens": 2, "ai.prompt.tools": []any{`{"name":"look"}`}, "ai.telemetry.metadata.userId": "u",
	}}, `{"api":"anthropic.messages","provider":"anthropic","stream":true,"model":"claude","finish_reason":"tool-calls","ttft":0.12,"seed":3,"user":"u","params":{"tools":["{\"name\":\"look\"}"]},"usage":{"prompt":4,"completion":2,"total":6},
		"content":{"input":[{"role":"user","content":"Hi"},{"role":"assistant","content":"look({\"a\":1})"},{"role":"tool","content":"cat"}],"output":"Hello","tool_calls":[{"id":"c1","name":"look","arguments":"{}"}]}}`)
}

func TestClassify(t *testing.T) {
	f := func(want operation, attrs map[string]any) {
		t.Helper()
		m := pcommon.NewMap()
		put(t, m, attrs)
		if got := classify(attrsOf(m)); got != want {
			t.Errorf("%v is %d, want %d", attrs, got, want)
		}
	}
	f(foreign, map[string]any{"http.request.method": "GET"})
	f(foreign, map[string]any{"ai.thing": "x"})
	f(related, map[string]any{"gen_ai.operation.name": "execute_tool"})
	f(related, map[string]any{"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3})
	f(related, map[string]any{"traceloop.span.kind": "workflow", "gen_ai.system": "openai", "gen_ai.request.model": "m"})
	f(related, map[string]any{"openinference.span.kind": "CHAIN"})
	f(related, map[string]any{"langfuse.observation.type": "span"})
	f(related, map[string]any{"ai.operationId": "ai.generateText", "ai.usage.inputTokens": 3})
	f(related, map[string]any{"gen_ai.tool.name": "x"})
	f(completion, map[string]any{"gen_ai.operation.name": "text_completion"})
	f(embedding, map[string]any{"gen_ai.operation.name": "embeddings"})
	f(embedding, map[string]any{"ai.operationId": "ai.embed.doEmbed"})
	f(chat, map[string]any{"llm.request.type": "chat"})
	f(chat, map[string]any{"gen_ai.system": "x", "gen_ai.response.model": "m"})
}

func TestFailureKind(t *testing.T) {
	f := func(kind, message string, status int, want record.FailureKind) {
		t.Helper()
		if got := failureKind(kind, message, status); got != want {
			t.Errorf("%q %q %d is %s, want %s", kind, message, status, got, want)
		}
	}
	f("RateLimitError", "", 0, record.RateLimited)
	f("429", "", 0, record.RateLimited)
	f("APIConnectionTimeoutError", "", 0, record.Timeout)
	f("APIConnectionError", "", 0, record.Connection)
	f("openai.AuthenticationError", "", 0, record.Auth)
	f("APIUserAbortError", "", 0, record.Canceled)
	f("BadRequestError", "", 0, record.BadRequest)
	f("InternalServerError", "", 0, record.Server)
	f("_OTHER", "Error: 404 no such model", 0, record.NotFound)
	f("Error", "", 503, record.Server)
	f("", "4000 things", 0, record.Server)
}

func TestUsageOnce(t *testing.T) {
	call := map[string]any{"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 2}
	outer := map[string]any{"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 2, "user.id": "u", "gen_ai.request.seed": 4}
	xs := exportSpans(t, testSpan{id: 1, attrs: outer}, testSpan{id: 2, parent: 1, attrs: call})
	if len(xs) != 1 || xs[0].SpanID[:2] != "02" || xs[0].User != "u" || *xs[0].Seed != 4 {
		t.Errorf("got %+v", xs)
	}
	send := func(r *Receiver, spans ...testSpan) {
		t.Helper()
		b, err := ptraceotlp.NewExportRequestFromTraces(build(t, spans...)).MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		if w := post(r, "/v1/traces", protobufType, b); w.Code != 200 {
			t.Fatalf("%d", w.Code)
		}
	}
	for _, order := range [][]testSpan{{{id: 2, parent: 1, attrs: call}, {id: 1, attrs: outer}}, {{id: 1, attrs: outer}, {id: 2, parent: 1, attrs: call}}} {
		r, k := receiver(t, Options{})
		for _, s := range order {
			send(r, s)
		}
		if len(k.xs) != 1 || r.Counts().Doubles != 1 {
			t.Errorf("in two requests: %d exchanges, %+v", len(k.xs), r.Counts())
		}
	}
	// An agent above two calls is none itself, and both calls count.
	xs = exportSpans(t, testSpan{id: 1, attrs: map[string]any{"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 6}}, testSpan{id: 2, parent: 1, attrs: call}, testSpan{id: 3, parent: 1, attrs: call})
	if len(xs) != 2 {
		t.Errorf("%d exchanges", len(xs))
	}
}

func TestContentIsBounded(t *testing.T) {
	long := strings.Repeat("é", 50_000)
	xs := exportSpans(t, testSpan{id: 1, attrs: map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.input.messages": `[{"role":"user","content":"` + long + `"},{"role":"user","content":"last"}]`,
		"gen_ai.output.messages": `[{"role":"assistant","content":"` + long + `"}]`, "gen_ai.tool.definitions": strings.Repeat("x", maxParam+1),
	}})
	x := &xs[0]
	if len(x.Content.Input) != 1 || x.Content.Input[0].Content != "last" || len(x.Content.Output) != 32<<10 || !reflect.DeepEqual(x.Cut, []string{"params.tools", "input", "output"}) {
		t.Errorf("%d messages, %d bytes, cut %q", len(x.Content.Input), len(x.Content.Output), x.Cut)
	}
}
