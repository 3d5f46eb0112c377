package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// checker counts checks and names those that failed.
type checker struct {
	n     int
	wrong []string
}

func (c *checker) check(ok bool, format string, args ...any) {
	if c.n++; !ok {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

// gatewayCase is one call of gateway.mjs, which names its session.
type gatewayCase struct {
	name, api string
	stream    bool
	text      bool // the answer has text, and it is the client's
	tokens    bool // usage arrives
	status    int
	failure   record.FailureKind
	more      func(c *checker, x *record.Exchange, said map[string]any)
}

func gatewayCases() []gatewayCase {
	return []gatewayCase{
		{name: "openai-chat", api: "openai.chat", text: true, tokens: true, status: 200, more: func(c *checker, x *record.Exchange, said map[string]any) {
			c.check(x.Seed != nil && *x.Seed == 11, "seed %v, want 11", x.Seed)
			c.check(fmt.Sprint(x.Params["temperature"]) == "0.2", "temperature %v", x.Params["temperature"])
			c.check(x.Tags["team"] == "support", "tags %v", x.Tags)
			c.check(x.Logprobs != nil && fmt.Sprint(x.Logprobs.Tokens) == fmt.Sprint(said["logprobs"]), "log-probabilities of %v tokens, want %v", x.Logprobs, said["logprobs"])
			c.check(len(x.TopK) > 0, "no top-k")
			c.check(x.Content != nil && x.Content.System == "You are a support assistant." && len(x.Content.Input) > 0, "input %v", x.Content)
			c.check(x.FinishReason == "stop", "finish reason %q", x.FinishReason)
		}},
		{name: "openai-chat-stream", api: "openai.chat", stream: true, text: true, tokens: true, status: 200, more: func(c *checker, x *record.Exchange, _ map[string]any) {
			c.check(x.TTFT != nil && *x.TTFT > 0, "no time to first token")
			c.check(x.Gaps != nil && x.Gaps.Count > 0, "no gaps")
		}},
		{name: "openai-chat-stream-no-usage", api: "openai.chat", stream: true, text: true, status: 200, more: func(c *checker, _ *record.Exchange, said map[string]any) {
			c.check(said["sawUsage"] == false, "the client was sent usage that it did not ask for")
		}},
		{name: "openai-responses", api: "openai.responses", text: true, tokens: true, status: 200},
		{name: "openai-responses-stream", api: "openai.responses", stream: true, text: true, tokens: true, status: 200, more: func(c *checker, _ *record.Exchange, said map[string]any) {
			c.check(said["last"] == "response.completed" && said["ordered"] == true, "events end with %v, ordered %v", said["last"], said["ordered"])
		}},
		{name: "openai-completions", api: "openai.completions", text: true, tokens: true, status: 200},
		{name: "openai-embeddings", api: "openai.embeddings", tokens: true, status: 200},
		{name: "openai-models", api: "openai.models", status: 200},
		{name: "openai-moderations", api: "openai.moderations", status: 200},
		{name: "openai-bad-request", api: "openai.chat", status: 400, failure: record.BadRequest, more: wasError},
		{name: "openai-abort", api: "openai.chat", stream: true, failure: record.Canceled},
		{name: "anthropic-messages", api: "anthropic.messages", text: true, tokens: true, status: 200, more: func(c *checker, x *record.Exchange, _ map[string]any) {
			c.check(x.FinishReason == "end_turn", "finish reason %q", x.FinishReason)
			c.check(x.Content != nil && x.Content.System == "You are a support assistant.", "system prompt %v", x.Content)
		}},
		{name: "anthropic-stream", api: "anthropic.messages", stream: true, text: true, tokens: true, status: 200, more: func(c *checker, x *record.Exchange, said map[string]any) {
			c.check(x.TTFT != nil && *x.TTFT > 0, "no time to first token")
			c.check(fmt.Sprint(said["events"]) == "[message_start content_block_start content_block_delta content_block_stop message_delta message_stop]", "events %v", said["events"])
		}},
		{name: "anthropic-count-tokens", api: "anthropic.count_tokens", status: 200},
		{name: "anthropic-bad-request", api: "anthropic.messages", status: 400, failure: record.BadRequest, more: wasError},
	}
}

func wasError(c *checker, x *record.Exchange, said map[string]any) {
	c.check(said["error"] == "BadRequestError", "the client saw %v", said)
	c.check(x.Error != "", "no error text")
}

func (s *servers) checkGateway(ctx context.Context, want gatewayCase, all map[string]map[string]any) (int, []string) {
	var c checker
	said := all[want.name]
	c.check(said != nil, "the client said nothing")
	c.check(want.failure == record.BadRequest || said["error"] == nil, "the client failed: %v %v", said["error"], said["message"])
	list, err := s.exchanges(ctx, url.Values{"session": {want.name}}, 1)
	c.check(err == nil, "%v", err)
	if c.check(len(list) == 1, "%d exchanges, want 1", len(list)); len(list) != 1 {
		return c.n, c.wrong
	}
	x := &list[0]
	c.check(x.API == want.api, "api %q, want %q", x.API, want.api)
	c.check(x.Stream == want.stream, "stream %v", x.Stream)
	c.check(want.status == 0 || x.Status == want.status, "status %d, want %d", x.Status, want.status)
	c.check(x.ErrorKind == want.failure, "error kind %q, want %q", x.ErrorKind, want.failure)
	c.check(x.User == "user-7", "user %q", x.User)
	c.check(x.Route == "clients" && x.Variant == "baseline" && x.Propensity == 1, "route %q, variant %q, propensity %v", x.Route, x.Variant, x.Propensity)
	c.check(x.Latency != nil && *x.Latency > 0, "no latency")
	c.check(x.Redaction != "", "not redacted")
	c.check(x.Snapshot != "", "no snapshot")
	if want.text {
		c.check(x.Content != nil && x.Content.Output == fmt.Sprint(said["text"]), "output %q, the client saw %q", output(x), said["text"])
		c.check(x.Served != "", "no served model")
	}
	if want.tokens {
		c.check(x.Usage != nil && x.Usage.Total+x.Usage.Prompt+x.Usage.Completion > 0, "no usage")
	}
	if want.more != nil {
		want.more(&c, x, said)
	}
	return c.n, c.wrong
}

func output(x *record.Exchange) string {
	if x.Content == nil {
		return ""
	}
	return x.Content.Output
}

// instrumented are the clients of otel.cjs.
var instrumented = []string{"otel", "traceloop", "openinference", "langfuse", "vercel"}

// sends is what a client's export holds: not all send all fields.
type sends struct {
	exchanges            int
	content, streamUsage bool
	seed                 bool
	failure              bool // the refused call is exported as failed
}

var exports = map[string]sends{
	"otel":          {exchanges: 3, content: true, streamUsage: true, failure: true},
	"traceloop":     {exchanges: 2, content: true},
	"openinference": {exchanges: 2, content: true, seed: true}, // it sends no span for a call that is refused
	"langfuse":      {exchanges: 3, content: true, streamUsage: true, seed: true, failure: true},
	"vercel":        {exchanges: 2, content: true, streamUsage: true, seed: true},
}

func (s *servers) checkOTLP(ctx context.Context, name string) (int, []string) {
	var c checker
	want := exports[name]
	list, err := s.exchanges(ctx, url.Values{"route": {"conformance-" + name}}, want.exchanges)
	c.check(err == nil, "%v", err)
	if c.check(len(list) == want.exchanges, "%d exchanges, want %d", len(list), want.exchanges); len(list) < 2 {
		return c.n, c.wrong
	}
	for i := range list {
		x := &list[i]
		c.check(x.TraceID != "" && x.SpanID != "", "call %d: no trace", i+1)
		c.check(x.Latency != nil && *x.Latency > 0, "call %d: no latency", i+1)
		c.check(x.Model == "sim", "call %d: model %q", i+1, x.Model)
	}
	plain, stream := &list[0], &list[1]
	if want.content {
		c.check(strings.Contains(output(plain), "refund"), "output %q", output(plain))
		c.check(plain.Content != nil && (len(plain.Content.Input) > 0), "no input")
	}
	c.check(plain.Usage != nil && plain.Usage.Prompt == 25 && plain.Usage.Completion == 24, "usage %+v, want 25 and 24", plain.Usage)
	c.check(fmt.Sprint(plain.Params["temperature"]) == "0.2", "temperature %v", plain.Params["temperature"])
	if want.streamUsage {
		c.check(stream.Usage != nil && stream.Usage.Completion == 24, "usage of the stream %+v", stream.Usage)
	}
	if want.seed {
		c.check(plain.Seed != nil && *plain.Seed == 11, "seed %v", plain.Seed)
	}
	if want.failure {
		c.check(list[len(list)-1].Failed(), "the refused call did not fail")
	}
	return c.n, c.wrong
}
