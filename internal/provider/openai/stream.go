package openai

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/provider/wire"
	"github.com/telltale-llm/telltale/internal/record"
)

// answer is a chat completion as far as it has come.
type answer struct {
	p        *Provider
	out      record.Response
	event    completion // of the stream, used again for each
	text     strings.Builder
	refusal  strings.Builder
	calls    []toolCall
	function *function
	seen     bool // a choice has been seen
	done     bool // the server has said that it is complete
}

func (a *answer) response() *record.Response { return &a.out }

// whole reads an answer that is one document.
func (a *answer) whole(body []byte) (f *record.Failure) {
	a.out, f = a.p.decode(body)
	return f
}

// Event takes in one event of a stream.
func (a *answer) Event(name string, data []byte, start time.Time) (wire.Progress, *record.Failure) {
	// encoding/json decodes into what is left of an earlier element.
	choices := a.event.Choices[:cap(a.event.Choices)]
	clear(choices)
	a.event = completion{Choices: choices[:0]}
	c := &a.event
	client := a.p.client
	if err := json.Unmarshal(data, c); err != nil {
		return wire.More, client.BadEvent(name, data, err)
	}
	if c.Error.Says() {
		return wire.More, client.APIFailure(c.Error)
	}
	if name == "error" {
		message, code := client.ErrorText(data)
		return wire.More, client.APIFailure(&wire.APIError{Message: message, Code: code})
	}
	if f := a.p.fill(&a.out, c); f != nil {
		return wire.More, f
	}
	for i := range c.Choices {
		ch := &c.Choices[i]
		if ch.Index != 0 {
			continue
		}
		if ch.Error.Says() {
			return wire.More, client.APIFailure(ch.Error)
		}
		a.add(ch, start)
	}
	if a.done {
		return wire.Complete, nil // usage may follow
	}
	return wire.More, nil
}

func (a *answer) add(ch *choice, start time.Time) {
	a.seen = true
	d := &ch.Delta
	if a.out.TTFT == 0 && (d.Content != "" || d.Refusal != "" || len(d.ToolCalls) > 0 || d.FunctionCall != nil) {
		a.out.TTFT = time.Since(start)
	}
	a.text.WriteString(string(d.Content))
	a.refusal.WriteString(d.Refusal)
	for _, t := range d.ToolCalls {
		a.addCall(t)
	}
	if f := d.FunctionCall; f != nil {
		if a.function == nil {
			a.function = &function{}
		}
		a.function.Name += f.Name
		a.function.Arguments += f.Arguments
	}
	if ch.Logprobs != nil {
		a.out.Logprobs = appendLogprobs(a.out.Logprobs, ch.Logprobs.Content)
	}
	if ch.FinishReason != "" {
		a.out.FinishReason = ch.FinishReason
		a.done = true
	}
}

// maxCalls bounds the tool calls of one answer, whose indexes a server could make up.
const maxCalls = 1024

// addCall joins a piece of a tool call with those before it.
func (a *answer) addCall(t toolCall) {
	at := len(a.calls)
	switch {
	case t.Index != nil:
		at = *t.Index
	case t.ID == "" && at > 0:
		at-- // no index and no id: it goes on with the last one
	}
	if at < 0 || at >= maxCalls {
		return
	}
	for len(a.calls) <= at {
		a.calls = append(a.calls, toolCall{})
	}
	c := &a.calls[at]
	if t.ID != "" {
		c.ID = t.ID
	}
	if t.Type != "" {
		c.Type = t.Type
	}
	if len(t.Custom) > 0 {
		c.Custom = bytes.Clone(t.Custom)
	}
	if t.Function == nil {
		return
	}
	if c.Function == nil {
		c.Function = &function{}
	}
	c.Function.Name += t.Function.Name
	c.Function.Arguments += t.Function.Arguments
}

// Finish makes the answer of what was streamed.
func (a *answer) Finish() *record.Failure {
	if !a.seen {
		return &record.Failure{Kind: record.Empty, Message: "the stream has no choices"}
	}
	a.out.Refusal = a.refusal.String()
	a.out.Output = output(&message{
		Content: content(a.text.String()), Refusal: a.out.Refusal, ToolCalls: a.calls, FunctionCall: a.function,
	})
	a.out.ToolCalls = calls(a.calls, a.function)
	return nil
}
