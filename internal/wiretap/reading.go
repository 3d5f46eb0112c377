package wiretap

import (
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

const (
	maxCalls = 128
	maxAlts  = 32  // alternatives of one token
	maxError = 500 // bytes of an error's text
)

// reading is what an answer says, gathered from one document or from the events of a stream.
type reading struct {
	api         string
	served      string
	fingerprint string
	finish      string
	status      string // of the responses API
	out         []byte
	refusal     []byte
	calls       []call
	room        int // bytes of text that may still be kept
	usage       usage
	logprobs    record.LogprobMeter
	topK        []record.TokenLogprob
	maxTopK     int
	cut         []string
	// any says that there was something of the wire format: a choice, a message, a result.
	any     bool
	refused bool // the provider declined
	// heard counts pieces of text, calls and refusals, kept or not, thought those of reasoning, which is not kept.
	heard, thought int
	errKind        record.FailureKind
	errText        string

	alts    []float64
	key     []byte
	scratch []byte
}

// call is a tool call, in pieces where it is streamed.
type call struct {
	index          int
	id, name, args []byte
}

// usage counts tokens as the APIs do. The counts of a stream only grow, so the largest one of each holds.
type usage struct {
	seen                              bool
	in, out, total, cached, reasoning int
	cacheCreated, cacheRead           int // Anthropic's, which are not part of in
}

func (r *reading) reset(api string, o *Options) {
	*r = reading{
		api: api, room: o.MaxContent / 2,
		out: r.out[:0], refusal: r.refusal[:0], calls: r.calls[:0], alts: r.alts[:0], key: r.key[:0], scratch: r.scratch[:0],
	}
	if o.TopK {
		r.maxTopK = o.MaxTokens
	}
}

// say appends a string of the document to some text, within the room that is left.
func (r *reading) say(c *cursor, dst []byte) []byte {
	if c.space() != '"' {
		c.skip()
		return dst
	}
	raw, escaped := c.rawString()
	if len(raw) == 0 {
		return dst
	}
	r.heard++
	return r.keep(dst, raw, escaped)
}

func (r *reading) keep(dst, raw []byte, escaped bool) []byte {
	before := len(dst)
	if r.room <= 0 {
		r.cut = addCut(r.cut, "output")
		return dst
	}
	if escaped {
		dst = unescape(dst, raw)
	} else {
		dst = append(dst, raw...)
	}
	if r.room -= len(dst) - before; r.room < 0 {
		dst = dst[:len(dst)+r.room]
		r.room = 0
		r.cut = addCut(r.cut, "output")
	}
	return dst
}

// called returns the call with an index, a new one when there is none.
func (r *reading) called(index int) *call {
	r.heard++
	for i := len(r.calls) - 1; i >= 0; i-- {
		if r.calls[i].index == index {
			return &r.calls[i]
		}
	}
	if len(r.calls) >= maxCalls {
		r.cut = addCut(r.cut, "tool_calls")
		return &call{}
	}
	if len(r.calls) < cap(r.calls) {
		r.calls = r.calls[:len(r.calls)+1]
		k := &r.calls[len(r.calls)-1]
		*k = call{index: index, id: k.id[:0], name: k.name[:0], args: k.args[:0]}
		return k
	}
	r.calls = append(r.calls, call{index: index})
	return &r.calls[len(r.calls)-1]
}

// readUsage reads the usage object of any of the APIs.
func (u *usage) read(c *cursor) {
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "prompt_tokens", "input_tokens":
			u.in = max(u.in, c.count())
		case "completion_tokens", "output_tokens":
			u.out = max(u.out, c.count())
		case "total_tokens":
			u.total = max(u.total, c.count())
		case "prompt_cache_hit_tokens": // DeepSeek's
			u.cached = max(u.cached, c.count())
		case "cache_creation_input_tokens":
			u.cacheCreated = max(u.cacheCreated, c.count())
		case "cache_read_input_tokens":
			u.cacheRead = max(u.cacheRead, c.count())
		case "prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "output_tokens_details":
			for c.open('{'); c.more('}'); {
				switch string(c.key()) {
				case "cached_tokens":
					u.cached = max(u.cached, c.count())
				case "reasoning_tokens", "thinking_tokens":
					u.reasoning = max(u.reasoning, c.count())
				default:
					c.skip()
				}
			}
		default:
			c.skip()
			continue
		}
		u.seen = true
	}
}

// record is the usage as it is kept, nil when none was reported. Anthropic counts what its cache read and stored beside
// the input tokens; here both are part of the prompt, as they are for the others.
func (u *usage) record() *record.Usage {
	if !u.seen || u.in+u.out+u.total+u.cacheCreated+u.cacheRead == 0 {
		return nil
	}
	out := record.Usage{
		Prompt: u.in + u.cacheCreated + u.cacheRead, Completion: u.out, Total: u.total,
		Cached: max(u.cached, u.cacheRead), Reasoning: u.reasoning,
	}
	if out.Total == 0 {
		out.Total = out.Prompt + out.Completion
	}
	return &out
}

// tokens reads a list of tokens with log-probabilities as the chat and responses APIs write it.
func (r *reading) tokens(c *cursor) {
	for c.open('['); c.more(']'); {
		var lp float64
		var has bool
		var top map[string]float64
		keep := len(r.topK) < r.maxTopK
		r.scratch, r.alts = r.scratch[:0], r.alts[:0]
		for c.open('{'); c.more('}'); {
			switch string(c.key()) {
			case "token":
				if keep {
					r.scratch = c.appendStr(r.scratch)
				} else {
					c.skip()
				}
			case "logprob":
				lp, has = c.number()
			case "top_logprobs":
				top = r.alternatives(c, keep)
			default:
				c.skip()
			}
		}
		if has && !c.bad {
			r.token(lp, keep, top)
		}
	}
}

// alternatives reads a token's list of alternatives into alts, and into a map when they are kept.
func (r *reading) alternatives(c *cursor, keep bool) map[string]float64 {
	var top map[string]float64
	for c.open('['); c.more(']'); {
		var token string
		var lp float64
		var has bool
		for c.open('{'); c.more('}'); {
			switch string(c.key()) {
			case "token":
				if keep {
					token = c.str()
				} else {
					c.skip()
				}
			case "logprob":
				lp, has = c.number()
			default:
				c.skip()
			}
		}
		if has && len(r.alts) < maxAlts {
			r.alts = append(r.alts, lp)
			top = keepTop(top, keep, token, lp)
		}
	}
	return top
}

func keepTop(top map[string]float64, keep bool, token string, lp float64) map[string]float64 {
	if !keep {
		return nil
	}
	if top == nil {
		top = make(map[string]float64, 8)
	}
	top[token] = lp
	return top
}

// token counts one token, whose text is in scratch and whose alternatives are in alts.
func (r *reading) token(lp float64, keep bool, top map[string]float64) {
	r.logprobs.Add(lp, r.alts)
	switch {
	case keep:
		r.topK = append(r.topK, record.TokenLogprob{Token: strings.ToValidUTF8(string(r.scratch), "\ufffd"), Logprob: lp, Top: top})
	case r.maxTopK > 0:
		r.cut = addCut(r.cut, "top_k")
	}
}

// legacyLogprobs reads the completions API's parallel lists.
func (r *reading) legacyLogprobs(c *cursor) {
	var texts []string
	var lps []float64
	var has []bool
	var tops []map[string]float64
	if c.space() != '{' {
		c.skip()
		return
	}
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "tokens":
			for c.open('['); c.more(']'); {
				texts = append(texts, c.str())
			}
		case "token_logprobs":
			for c.open('['); c.more(']'); {
				lp, ok := c.number() // null for the first token of an echoed prompt
				lps, has = append(lps, lp), append(has, ok)
			}
		case "top_logprobs":
			for c.open('['); c.more(']'); {
				var top map[string]float64
				for c.open('{'); c.more('}'); {
					token := text(c.key(), false)
					if lp, ok := c.number(); ok && len(top) < maxAlts {
						top = keepTop(top, true, token, lp)
					}
				}
				tops = append(tops, top)
			}
		default:
			c.skip()
		}
	}
	for i, lp := range lps {
		if !has[i] {
			continue
		}
		r.scratch, r.alts = r.scratch[:0], r.alts[:0]
		if i < len(texts) {
			r.scratch = append(r.scratch, texts[i]...)
		}
		var top map[string]float64
		if i < len(tops) {
			top = tops[i]
			r.alts = append(r.alts, sortedValues(top)...)
		}
		if keep := len(r.topK) < r.maxTopK; keep {
			r.token(lp, true, top)
		} else {
			r.token(lp, false, nil)
		}
	}
}
