package scorer

import (
	"encoding/json"

	"github.com/telltale-llm/telltale/internal/record"
)

// callsIn returns the calls of an answer: those that the provider lists, or else those that the output
// holds as JSON. The error is about an output that cannot be searched.
func callsIn(r *record.Response) ([]record.ToolCall, error) {
	if len(r.ToolCalls) > 0 {
		return r.ToolCalls, nil
	}
	return callsInText(r.Output)
}

// callsInText finds calls written as JSON in one of the forms of OpenAI (tool_calls, a list of calls,
// function_call, the items of responses), Anthropic (tool_use), Google (functionCall, toolCall) or
// {name, arguments}: as the whole text, or between other text, as providers join words and calls.
func callsInText(text string) ([]record.ToolCall, error) {
	if v, err := decodeJSON(text); err == nil {
		return appendCalls(nil, v, 0), nil
	}
	var out []record.ToolCall
	err := eachJSON(text, func(start, end int) bool {
		if v, err := decodeJSON(text[start:end]); err == nil {
			out = appendCalls(out, v, 0)
		}
		return true
	})
	return out, err
}

// callDepth is how deeply the forms are nested: {toolCall: {functionCalls: [{name}]}} and a list of
// messages with content blocks.
const callDepth = 4

// appendCalls adds the calls in a decoded value.
func appendCalls(out []record.ToolCall, v any, depth int) []record.ToolCall {
	if depth > callDepth {
		return out
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			out = appendCalls(out, e, depth+1)
		}
	case map[string]any:
		if c, ok := oneCall(v); ok {
			return append(out, c)
		}
		for _, key := range []string{"tool_calls", "function_call", "functionCall", "functionCalls", "toolCall", "content"} {
			if inner, ok := v[key]; ok {
				out = appendCalls(out, inner, depth+1)
			}
		}
	}
	return out
}

// oneCall reads a single call.
func oneCall(m map[string]any) (record.ToolCall, bool) {
	id, _ := m["id"].(string)
	if inner, ok := m["function"].(map[string]any); ok {
		m = inner
	} else if inner, ok := m["custom"].(map[string]any); ok {
		m = inner
	}
	name, _ := m["name"].(string)
	if name == "" {
		return record.ToolCall{}, false
	}
	for _, key := range []string{"arguments", "input", "args"} {
		if v, ok := m[key]; ok {
			return record.ToolCall{ID: id, Name: name, Arguments: argumentText(v)}, true
		}
	}
	// A call without arguments is told from any other thing with a name by its type.
	typ, _ := m["type"].(string)
	return record.ToolCall{ID: id, Name: name}, typ == "tool_use" || typ == "function_call"
}

// argumentText is what a model wrote as arguments: the text of a JSON string, or the JSON of the value.
func argumentText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "" // decoded JSON always encodes
	}
	return string(b)
}
