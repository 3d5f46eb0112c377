package recorded

import (
	"cmp"
	"encoding/json"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// exchanges is the format of requests with their answers, one a line:
//
//	{"request": {"messages": [{"role": "user", "content": "Hi"}]}, "response": {"output": "Hello"}}
//
// A request may have a text "prompt" instead of messages. A response may also have finish_reason,
// refusal, model, tool_calls, logprobs, prompt_logprobs,
// likelihoods, usage, latency (seconds), cost (US dollars) and error. Other
// fields, at any place, are left alone. An answer is found by the messages, all of them and exactly.
const exchanges = "exchanges"

// exchangeOutputs are the fields of which an exchange must have one.
var exchangeOutputs = []string{"response.output", "response.tool_calls", "response.error"}

// exchanges reports settings that the format leaves no room for.
func (o *Options) exchanges(r *config.Reader) {
	for _, key := range []string{"key", "output", "finish_reason", "logprobs", "usage", "tokens", "latency", "cost", "error", "model", "tool_calls", "refusal", "prompt_logprobs", "likelihoods"} {
		if r.Has(key) {
			r.Fail(key, "the format exchanges fixes the names of all fields", "no "+key)
		}
	}
}

// fields names the fields of an exchange.
func (o *Options) fields() {
	o.Key, o.Output = "request.messages", "response.output"
	o.FinishReason, o.Logprobs, o.Usage, o.Latency = "response.finish_reason", "response.logprobs", "response.usage", "response.latency"
	o.PromptLogprobs, o.Likelihoods = "response.prompt_logprobs", "response.likelihoods"
	o.Cost, o.Error, o.Model, o.ToolCalls, o.Refusal = "response.cost", "response.error", "response.model", "response.tool_calls", "response.refusal"
}

// messagesOf is the key of an exchange.
func messagesOf(r row) (field, bool) {
	var ms []record.Message
	if f, ok := r.field("request.messages"); ok && !f.empty() {
		if f.decode(&ms) != nil {
			return field{}, false
		}
	} else if f, ok := r.field("request.prompt"); ok && !f.empty() {
		text, err := f.text()
		if err != nil {
			return field{}, false
		}
		ms = []record.Message{{Role: "user", Content: text}}
	}
	if len(ms) == 0 {
		return field{}, false
	}
	return field{raw: []byte(canonical(ms))}, true
}

// unknownRole returns a role of the exchange's messages that a chat does not have, "" when there is none.
func unknownRole(r row) string {
	var ms []record.Message
	f, ok := r.field("request.messages")
	if !ok || f.empty() || f.decode(&ms) != nil {
		return ""
	}
	for _, m := range ms {
		switch m.Role {
		case "system", "developer", "user", "assistant", "tool":
		default:
			return cmp.Or(m.Role, "an empty text")
		}
	}
	return ""
}

// canonical is the one way in which messages are written as a key.
func canonical(ms []record.Message) string {
	b, err := json.Marshal(ms)
	if err != nil {
		return "" // cannot happen: texts always encode
	}
	return string(b)
}
