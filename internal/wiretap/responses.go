package wiretap

import "github.com/telltale-llm/telltale/internal/record"

// response reads the response object of the responses API. Texts of several messages are joined as they are.
func (r *reading) response(c *cursor) {
	var reason string
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "model":
			r.setServed(c)
		case "status":
			r.status = clip(c.str(), maxName)
		case "system_fingerprint":
			r.fingerprint = clip(c.str(), maxName)
		case "error":
			r.failure(c)
		case "incomplete_details":
			for c.open('{'); c.more('}'); {
				if string(c.key()) == "reason" {
					reason = clip(c.str(), maxName)
				} else {
					c.skip()
				}
			}
		case "output":
			if c.space() != '[' {
				c.skip()
				continue
			}
			r.any = true
			n := 0
			for c.open('['); c.more(']'); n++ {
				r.outputItem(c, n)
			}
		case "usage":
			if c.space() == '{' {
				r.usage.read(c)
			} else {
				c.skip()
			}
		default:
			c.skip()
		}
	}
	r.finish = reason
	if reason == "" {
		r.finish = r.status
	}
	if r.status == "failed" && r.errKind == "" {
		r.fail(record.Server, "the response failed")
	}
}

// outputItem reads one item of a response's output: a message or a call. Reasoning and the provider's own tools are left out.
func (r *reading) outputItem(c *cursor, n int) {
	kind := lookAhead(*c, "type")
	switch kind {
	case "message":
		for c.open('{'); c.more('}'); {
			if string(c.key()) != "content" {
				c.skip()
				continue
			}
			for c.open('['); c.more(']'); {
				r.outputPart(c)
			}
		}
	case "function_call", "custom_tool_call":
		r.outputCall(c, r.called(n))
	default:
		c.skip()
	}
}

func (r *reading) outputCall(c *cursor, k *call) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "call_id":
			k.id = c.appendStr(k.id[:0])
		case "name":
			k.name = r.say(c, k.name[:0])
		case "arguments", "input":
			k.args = r.say(c, k.args[:0])
		default:
			c.skip()
		}
	}
}

func (r *reading) outputPart(c *cursor) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "text":
			r.out = r.say(c, r.out)
		case "refusal":
			r.refusal = r.say(c, r.refusal)
			r.refused = r.refused || len(r.refusal) > 0
		case "logprobs":
			if c.space() == '[' {
				r.tokens(c)
			} else {
				c.skip()
			}
		default:
			c.skip()
		}
	}
}

// lookAhead returns a string member of the object at a copy of the cursor.
func lookAhead(c cursor, name string) string {
	for c.open('{'); c.more('}'); {
		if string(c.key()) == name {
			return c.str()
		}
		c.skip()
	}
	return ""
}

// responseEvent reads one event of a streamed response. It says whether the event carried a piece of the answer, and
// whether it was the last one.
func (s *Stream) responseEvent(name string, data []byte) (token, last bool) {
	r := &s.reading
	c := &cursor{b: data}
	if name == "" {
		name = lookAhead(*c, "type")
	}
	switch name {
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
		s.finalResponse(c)
		return false, true
	case "response.created", "response.in_progress", "response.queued":
		s.member(c, "response", r.response)
		r.finish = "" // it has only begun
		r.any = false
	case "error":
		s.streamError(c)
		return false, true
	case "response.output_text.delta":
		r.any = true
		return s.pieces(c, &r.out), false
	case "response.refusal.delta":
		r.any, r.refused = true, true
		return s.pieces(c, &r.refusal), false
	case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta":
		index := 0
		s.member(&cursor{b: data}, "output_index", func(c *cursor) { index = c.count() })
		return s.pieces(c, &r.called(index).args), false
	case "response.output_item.added":
		s.itemAdded(c)
	case "response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.audio.delta", "response.audio.transcript.delta":
		return true, false
	}
	return false, false
}

// pieces reads a delta with its log-probabilities.
func (s *Stream) pieces(c *cursor, dst *[]byte) (token bool) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "delta":
			token = c.space() == '"' && !emptyString(c)
			*dst = s.reading.say(c, *dst)
		case "logprobs":
			if c.space() == '[' {
				s.reading.tokens(c)
			} else {
				c.skip()
			}
		default:
			c.skip()
		}
	}
	return token
}

func emptyString(c *cursor) bool {
	return c.i+1 < len(c.b) && c.b[c.i+1] == '"'
}

// itemAdded notes a call's name and id; its arguments follow.
func (s *Stream) itemAdded(c *cursor) {
	r := &s.reading
	index := 0
	s.member(&cursor{b: c.b}, "output_index", func(c *cursor) { index = c.count() })
	s.member(c, "item", func(c *cursor) {
		switch lookAhead(*c, "type") {
		case "function_call", "custom_tool_call":
			r.any = true
			r.outputCall(c, r.called(index))
		case "":
			c.skip()
		default:
			r.any = true
			c.skip()
		}
	})
}

// finalResponse takes the last event, which repeats the whole response: what it says wins over what the pieces said,
// unless it holds no output.
func (s *Stream) finalResponse(c *cursor) {
	var whole reading
	o := s.opts
	whole.reset(s.reading.api, &o)
	s.member(c, "response", whole.response)
	r := &s.reading
	r.any = r.any || whole.any
	r.status, r.finish = whole.status, whole.finish
	if whole.served != "" {
		r.served = whole.served
	}
	if whole.fingerprint != "" {
		r.fingerprint = whole.fingerprint
	}
	if whole.usage.seen {
		r.usage = whole.usage
	}
	if whole.errKind != "" {
		r.fail(whole.errKind, whole.errText)
	}
	if whole.heard == 0 {
		return
	}
	r.out, r.refusal, r.calls, r.refused, r.heard = whole.out, whole.refusal, whole.calls, whole.refused, whole.heard
	r.cut = whole.cut
	if whole.logprobs.Summary() != nil {
		r.logprobs, r.topK = whole.logprobs, whole.topK
	}
}

// member calls f at a member of the object at c.
func (s *Stream) member(c *cursor, name string, f func(c *cursor)) {
	for c.open('{'); c.more('}'); {
		if string(c.key()) == name {
			f(c)
		} else {
			c.skip()
		}
	}
	s.bad = s.bad || c.bad
}
