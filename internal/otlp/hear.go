package otlp

import (
	"encoding/json"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telltale-llm/telltale/internal/record"
)

// hear gathers what was said, from the attributes and events of a call's own span.
func (r *Receiver) hear(c *call, s ptrace.Span, a attrs) {
	c.said = fromAttributes(&c.x, a)
	c.addEvents(eventsOf(s))
	// The older conventions have no attributes for content; it comes as logs, or not at all.
	c.apart = len(c.said.input) == 0 && len(c.said.output) == 0 && c.x.Source == "otlp" && a.str("gen_ai.operation.name", "gen_ai.system") != ""
}

// addEvents takes in events, of the span itself or that came as logs: content, scores, log-probabilities.
func (c *call) addEvents(events []event) {
	var heard said
	for i := range events {
		e := &events[i]
		switch e.name {
		case "gen_ai.evaluation.result":
			c.x.Scores = append(c.x.Scores, scoreOf(e.attrs))
		case "logprobs", "gen_ai.logprobs", "llm.logprobs":
			c.logprobs(e.attrs)
		default:
			heard.add(e)
		}
	}
	c.said.missing(heard)
}

// known says whether an event may tell of a model call.
func known(name string) bool {
	return strings.HasPrefix(name, "gen_ai.")
}

// add takes an event with content: one message, or all.
func (s *said) add(e *event) {
	body := unpack(e.body)
	if m := object(body); m == nil {
		if content := e.attrs.any("gen_ai.event.content", "content"); content != nil {
			body = content
		}
	}
	m := object(body)
	if m == nil {
		m = map[string]any{}
		if body != nil {
			m["content"] = body
		}
		for _, name := range []string{"role", "id", "tool_calls", "finish_reason", "message"} {
			if v := e.attrs.any(name); v != nil {
				m[name] = v
			}
		}
	}
	switch e.name {
	case "gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message":
		role := strings.TrimSuffix(strings.TrimPrefix(e.name, "gen_ai."), ".message")
		t := oneTurn(m, role)
		if len(t.parts)+len(t.calls) > 0 && len(s.input) < maxMessages {
			s.input = append(s.input, t)
		}
	case "gen_ai.choice":
		t := turn{}
		if found := turnsOf(m, "assistant", 0); len(found) > 0 {
			t = found[0]
		}
		if t.finish == "" {
			t.finish = text(m["finish_reason"])
		}
		// Where an instrumentation puts the calls beside the message.
		if len(t.calls) == 0 {
			for _, c := range list(m["tool_calls"]) {
				if c := object(c); c != nil {
					t.calls = append(t.calls, toolCall(c))
				}
			}
		}
		s.output = append(s.output, t)
	case "gen_ai.content.prompt":
		s.missing(said{input: turns(e.attrs.any("gen_ai.prompt"), "user")})
	case "gen_ai.content.completion":
		s.missing(said{output: turns(e.attrs.any("gen_ai.completion"), "assistant")})
	default:
		// gen_ai.client.inference.operation.details, and whatever else carries the attributes of a span.
		found := conventions(e.attrs)
		if inner := object(body); inner != nil && found.empty() {
			found = said{input: turns(inner["gen_ai.input.messages"], "user"), output: turns(inner["gen_ai.output.messages"], "assistant")}
			found.system = systemText(inner["gen_ai.system_instructions"])
		}
		s.missing(found)
	}
}

// conventions reads the attributes of the semantic conventions.
func conventions(a attrs) said {
	return said{
		system: systemText(a.any("gen_ai.system_instructions")),
		input:  turns(a.any("gen_ai.input.messages"), "user"),
		output: turns(a.any("gen_ai.output.messages"), "assistant"),
	}
}

// systemText joins system instructions, which are a text or a list of parts.
func systemText(v any) string {
	if v == nil {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	t := turn{}
	t.part(v)
	return t.text()
}

// fromAttributes reads what was said from a span's attributes, by dialect.
func fromAttributes(x *record.Exchange, a attrs) said {
	s := conventions(a)
	if len(s.input) > 0 && len(s.output) > 0 {
		return s
	}
	s.missing(said{input: turns(a.tree("llm.input_messages."), "user"), output: turns(a.tree("llm.output_messages."), "assistant")})
	s.missing(said{input: turns(a.tree("gen_ai.prompt."), "user"), output: turns(a.tree("gen_ai.completion."), "assistant")})
	s.missing(said{input: turns(a.any("gen_ai.prompt"), "user"), output: turns(a.any("gen_ai.completion"), "assistant")})
	if in := a.any("ai.prompt.messages", "ai.prompt", "ai.values", "ai.value"); in != nil {
		s.missing(said{input: turns(in, "user")})
	}
	if len(s.output) == 0 {
		t := turn{role: "assistant"}
		t.say(a.str("ai.response.text", "ai.response.object"))
		for _, c := range list(a.any("ai.response.toolCalls")) {
			if c := object(c); c != nil {
				t.calls = append(t.calls, toolCall(c))
			}
		}
		if len(t.parts)+len(t.calls) > 0 {
			s.output = []turn{t}
		}
	}
	s.missing(said{input: turns(a.any("langfuse.observation.input"), "user"), output: turns(a.any("langfuse.observation.output"), "assistant")})
	if embedded := a.tree("embedding.embeddings."); embedded != nil && len(s.input) == 0 {
		for _, e := range list(embedded) {
			if in := text(object(object(e)["embedding"])["embedding.text"]); in != "" {
				s.input = append(s.input, turn{role: "user", parts: []record.Part{{Text: in}}})
			} else if in := text(object(object(e)["embedding"])["text"]); in != "" {
				s.input = append(s.input, turn{role: "user", parts: []record.Part{{Text: in}}})
			}
		}
	}
	if in := a.any("input.value"); in != nil {
		s.missing(said{input: turns(in, "user")})
	}
	if out := a.any("output.value"); out != nil {
		rawAnswer(x, object(out))
		s.missing(said{output: turns(out, "assistant")})
	}
	if x.API == record.APIEmbeddings {
		s.output = nil
	}
	return s
}

// rawAnswer takes from an answer's own JSON what the dialect has no attribute for.
func rawAnswer(x *record.Exchange, m map[string]any) {
	if m == nil {
		return
	}
	if x.Fingerprint == "" {
		x.Fingerprint = clip(text(m["system_fingerprint"]), maxName)
	}
	if x.Served == "" {
		x.Served = clip(text(m["model"]), maxName)
	}
	if choices := list(m["choices"]); len(choices) > 0 {
		c := object(choices[0])
		if x.FinishReason == "" {
			x.FinishReason = clip(text(c["finish_reason"]), maxName)
		}
		if lp := object(c["logprobs"]); lp != nil && x.Logprobs == nil {
			x.Logprobs = logprobSummary(list(lp["content"]))
		}
	}
}

// logprobs takes log-probabilities from an event.
func (c *call) logprobs(a attrs) {
	for _, name := range slices.Sorted(keys(a)) {
		v := a.any(name)
		l := list(v)
		if m := object(v); m != nil {
			l = list(m["content"])
		}
		if len(l) > 0 && c.x.Logprobs == nil {
			c.x.Logprobs = logprobSummary(l)
		}
	}
}

func keys(a attrs) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range a {
			if !yield(k) {
				return
			}
		}
	}
}

// logprobSummary sums up tokens in the shape of OpenAI's chat API.
func logprobSummary(tokens []any) *record.LogprobSummary {
	var meter record.LogprobMeter
	for _, t := range tokens {
		m := object(t)
		lp, ok := number(m["logprob"])
		if !ok {
			continue
		}
		var alts []float64
		for _, alt := range list(m["top_logprobs"]) {
			if v, ok := number(object(alt)["logprob"]); ok && len(alts) < 32 {
				alts = append(alts, v)
			}
		}
		meter.Add(lp, alts)
	}
	return meter.Summary()
}

// scoreOf reads an evaluation's result.
func scoreOf(a attrs) record.OnlineScore {
	s := record.OnlineScore{
		Name: clip(a.str("gen_ai.evaluation.name"), maxName), Label: clip(a.str("gen_ai.evaluation.score.label"), maxName),
		Reason: clip(a.str("gen_ai.evaluation.explanation"), 2000), Error: clip(a.str("error.type"), maxName), Inclusion: 1,
	}
	if s.Name == "" {
		s.Name = "evaluation"
	}
	if v, ok := a.float("gen_ai.evaluation.score.value"); ok {
		s.Value = &v
	}
	switch strings.ToLower(s.Label) {
	case "pass", "passed":
		pass := true
		s.Pass = &pass
	case "fail", "failed":
		pass := false
		s.Pass = &pass
	}
	return s
}

// logSize estimates the bytes that an event takes while it waits.
func logSize(e *event) int {
	n := 200
	b, err := json.Marshal(e.body)
	if err == nil {
		n += len(b)
	}
	for k, v := range e.attrs {
		n += len(k) + len(v.AsString())
	}
	return n
}
