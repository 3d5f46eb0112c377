package wiretap

import (
	"fmt"
	"sort"

	"github.com/telltale-llm/telltale/internal/record"
)

// document reads a whole answer, and says whether it was well-formed to its end.
func (r *reading) document(body []byte) bool {
	c := &cursor{b: body}
	if c.space() != '{' {
		return false
	}
	switch r.api {
	case record.APIResponses:
		r.response(c)
	case record.APIMessages:
		r.message(c)
	default:
		r.object(c)
	}
	return c.end()
}

// object reads an answer of the chat, completions, embeddings, moderations, models and count_tokens APIs.
func (r *reading) object(c *cursor) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "model":
			r.setServed(c)
		case "system_fingerprint":
			if s := c.strOr(r.fingerprint); s != "" {
				r.fingerprint = s
			}
		case "choices":
			r.choices(c)
		case "usage":
			r.usage.read(c)
		case "error":
			r.failure(c)
		case "data":
			r.count(c, "embedding")
		case "results":
			r.count(c, "result")
		case "input_tokens":
			if n := c.count(); r.api == record.APICountTokens {
				r.any = true
				r.out = fmt.Appendf(r.out[:0], "[%d tokens]", n)
			}
		default:
			c.skip()
		}
	}
}

func (r *reading) setServed(c *cursor) {
	if s := c.strOr(r.served); s != "" {
		r.served = s
	}
}

// count counts what is not kept.
func (r *reading) count(c *cursor, what string) {
	if c.space() != '[' {
		c.skip()
		return
	}
	n := 0
	for c.open('['); c.more(']'); {
		c.skip()
		n++
	}
	r.any = true
	switch {
	case r.api == record.APIModels:
	case n == 1:
		r.out = fmt.Appendf(r.out[:0], "[1 %s]", what)
	default:
		r.out = fmt.Appendf(r.out[:0], "[%d %ss]", n, what)
	}
}

// choices reads the first choice; that there are others is marked.
func (r *reading) choices(c *cursor) {
	if c.space() != '[' {
		c.skip()
		return
	}
	for c.open('['); c.more(']'); {
		r.any = true
		if choiceIndex(*c) != 0 {
			r.cut = addCut(r.cut, "choices")
			c.skip()
			continue
		}
		r.choice(c)
	}
}

// choiceIndex looks ahead for a choice's index, which nearly always comes first.
func choiceIndex(c cursor) int {
	for c.open('{'); c.more('}'); {
		if string(c.key()) == "index" {
			return c.count()
		}
		c.skip()
	}
	return 0
}

// choice reads one choice of a document or of a chunk.
func (r *reading) choice(c *cursor) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "message", "delta":
			r.chatDelta(c)
		case "text":
			r.out = r.say(c, r.out)
		case "finish_reason":
			if s := c.str(); s != "" {
				r.finish = clip(s, maxName)
			}
		case "logprobs":
			if r.api == record.APICompletions {
				r.legacyLogprobs(c)
				continue
			}
			if c.space() != '{' {
				c.skip()
				continue
			}
			for c.open('{'); c.more('}'); {
				switch string(c.key()) {
				case "content", "refusal":
					if c.space() == '[' {
						r.tokens(c)
					} else {
						c.skip()
					}
				default:
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
}

// chatDelta reads a message of the chat API, or a piece of one.
func (r *reading) chatDelta(c *cursor) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "content":
			if c.space() == '[' {
				r.contentList(c)
			} else {
				r.out = r.say(c, r.out)
			}
		case "refusal":
			r.refusal = r.say(c, r.refusal)
			r.refused = r.refused || len(r.refusal) > 0
		case "tool_calls":
			if c.space() != '[' {
				c.skip()
				continue
			}
			n := 0
			for c.open('['); c.more(']'); n++ {
				r.chatCall(c, n)
			}
		case "function_call":
			if c.space() == '{' {
				r.function(c, r.called(-1))
			} else {
				c.skip()
			}
		case "reasoning_content", "reasoning", "thinking":
			if c.space() == '"' && !emptyString(c) {
				r.thought++
			}
			c.skip()
		case "audio":
			for c.open('{'); c.more('}'); {
				if string(c.key()) == "transcript" {
					r.out = r.say(c, r.out)
				} else {
					c.skip()
				}
			}
		default:
			c.skip()
		}
	}
}

// contentList reads an answer's text where a server gives it in parts.
func (r *reading) contentList(c *cursor) {
	for c.open('['); c.more(']'); {
		for c.open('{'); c.more('}'); {
			switch string(c.key()) {
			case "text":
				r.out = r.say(c, r.out)
			default:
				c.skip()
			}
		}
	}
}

// chatCall reads a tool call or a piece of one; n is its place in the list, which counts when it has no index.
func (r *reading) chatCall(c *cursor, n int) {
	ahead := *c
	index := n
	for ahead.open('{'); ahead.more('}'); {
		if string(ahead.key()) == "index" {
			index = ahead.count()
			break
		}
		ahead.skip()
	}
	k := r.called(index)
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "id":
			if c.space() == '"' && len(k.id) == 0 {
				k.id = c.appendStr(k.id)
			} else {
				c.skip()
			}
		case "function", "custom":
			r.function(c, k)
		default:
			c.skip()
		}
	}
}

func (r *reading) function(c *cursor, k *call) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "name":
			k.name = r.say(c, k.name)
		case "arguments", "input":
			k.args = r.say(c, k.args)
		default:
			c.skip()
		}
	}
}

func sortedValues(m map[string]float64) []float64 {
	out := make([]float64, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	sort.Float64s(out)
	return out
}
