package wiretap

// message reads a message of Anthropic's API: the whole answer, or what message_start holds of it.
func (r *reading) message(c *cursor) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "model":
			r.setServed(c)
		case "stop_reason":
			r.stopReason(c)
		case "usage":
			r.usage.read(c)
		case "error":
			r.failure(c)
		case "content":
			if c.space() != '[' {
				c.skip()
				continue
			}
			r.any = true
			n := 0
			for c.open('['); c.more(']'); n++ {
				r.block(c, n)
			}
		default:
			c.skip()
		}
	}
}

func (r *reading) stopReason(c *cursor) {
	if s := c.str(); s != "" {
		r.finish = clip(s, maxName)
		r.refused = r.refused || s == "refusal"
	}
}

// block reads a content block: text, or a call of one of the client's tools. Thinking and what the provider's own tools
// do are left out.
func (r *reading) block(c *cursor, n int) {
	kind := lookAhead(*c, "type")
	var k *call
	if kind == "tool_use" {
		k = r.called(n)
	}
	for c.open('{'); c.more('}'); {
		switch key := string(c.key()); {
		case key == "text" && kind == "text":
			r.out = r.say(c, r.out)
		case key == "id" && k != nil:
			k.id = c.appendStr(k.id)
		case key == "name" && k != nil:
			k.name = r.say(c, k.name)
		case key == "input" && k != nil:
			// The start of a streamed block holds an empty object, which the pieces replace.
			if raw := c.raw(); len(raw) > 2 {
				k.args = r.keep(k.args, raw, false)
			} else if k.args == nil {
				k.args = append(k.args, raw...)
			}
		default:
			c.skip()
		}
	}
}

// messageEvent reads one event of a streamed message. It says whether the event carried a piece of the answer, and
// whether it was the last one.
func (s *Stream) messageEvent(name string, data []byte) (token, last bool) {
	r := &s.reading
	c := &cursor{b: data}
	if name == "" {
		name = lookAhead(*c, "type")
	}
	switch name {
	case "message_start":
		s.member(c, "message", r.message)
	case "content_block_start":
		index := 0
		s.member(&cursor{b: data}, "index", func(c *cursor) { index = c.count() })
		s.member(c, "content_block", func(c *cursor) { r.block(c, index) })
	case "content_block_delta":
		return s.blockDelta(c), false
	case "message_delta":
		for c.open('{'); c.more('}'); {
			switch string(c.key()) {
			case "delta":
				s.stopDelta(c)
			case "usage":
				r.usage.read(c)
			default:
				c.skip()
			}
		}
	case "message_stop":
		return false, true
	case "error":
		s.streamError(c)
		return false, true
	}
	s.bad = s.bad || c.bad
	return false, false
}

func (s *Stream) stopDelta(c *cursor) {
	for c.open('{'); c.more('}'); {
		if string(c.key()) == "stop_reason" {
			s.reading.stopReason(c)
		} else {
			c.skip()
		}
	}
}

// blockDelta reads a piece of a content block.
func (s *Stream) blockDelta(c *cursor) (token bool) {
	r := &s.reading
	index := 0
	s.member(&cursor{b: c.b}, "index", func(c *cursor) { index = c.count() })
	s.member(c, "delta", func(c *cursor) {
		for c.open('{'); c.more('}'); {
			switch string(c.key()) {
			case "text":
				token = c.space() == '"' && !emptyString(c)
				r.out = r.say(c, r.out)
			case "partial_json":
				token = true
				if k := r.known(index); k != nil {
					if string(k.args) == "{}" && c.space() == '"' && !emptyString(c) {
						k.args = k.args[:0]
					}
					k.args = r.say(c, k.args)
				} else {
					c.skip() // a tool of the provider's own
				}
			case "thinking":
				token = true
				c.skip()
			default:
				c.skip()
			}
		}
	})
	return token
}

// known returns the call with an index, nil when there is none.
func (r *reading) known(index int) *call {
	for i := len(r.calls) - 1; i >= 0; i-- {
		if r.calls[i].index == index {
			return &r.calls[i]
		}
	}
	return nil
}
