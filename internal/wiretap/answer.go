package wiretap

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// readings keeps the room of readings between exchanges.
var readings = sync.Pool{New: func() any { return new(reading) }}

func readAnswer(x *record.Exchange, req *Request, ans *Answer, o *Options) {
	x.Status = ans.Status
	x.OutputBytes = size(ans.Size, ans.Body)
	encoding := first(ans.Headers, "Content-Encoding")
	streamed := ans.Stream != nil || strings.HasPrefix(first(ans.Headers, "Content-Type"), "text/event-stream")
	x.Stream = x.Stream || streamed
	if x.Latency == nil && len(ans.Marks) > 0 {
		seconds := ans.Marks[len(ans.Marks)-1].At.Seconds()
		x.Latency = &seconds
	}
	failed := ans.Status >= 300 || ans.Status == 0
	if streamed && !failed {
		s := ans.Stream
		if s == nil {
			s = replay(x.API, encoding, ans, o)
		}
		s.finish(x, ans)
		s.reading.fill(x, o)
		return
	}
	r, _ := readings.Get().(*reading)
	defer readings.Put(r)
	r.reset(x.API, o)
	body, cut := ans.Body, ans.Cut
	if encoding != "" {
		body, cut = decode(encoding, body, cut, o.MaxDecoded)
	}
	switch {
	case failed:
		r.errorBody(body)
		if ans.Status != 0 {
			r.errKind = errorKind(ans.Status, r.errKind)
		}
	case x.API == record.APIOther:
	case r.document(body) || cut:
		if cut {
			r.cut = addCut(r.cut, "output")
		} else {
			r.judge()
		}
	case ans.Failure == "":
		r.fail(record.Malformed, "the answer is not of the API's format: "+strings.ToValidUTF8(string(body[:min(len(body), 100)]), "\ufffd"))
	}
	r.settle(ans)
	r.fill(x, o)
}

// errorKind is the reason by status. What the body says of it is not needed but for a proxy's 5xx that stands for a
// limit or a time-out further up.
func errorKind(status int, body record.FailureKind) record.FailureKind {
	kind := statusKind(status)
	if kind == record.Server && (body == record.RateLimited || body == record.Timeout) {
		return body
	}
	return kind
}

// settle lets what happened on the connection win over what the bytes say.
func (r *reading) settle(ans *Answer) {
	if ans.Failure != "" {
		r.errKind = ans.Failure
		if ans.Error != "" || r.errText == "" {
			r.errText = clip(strings.ToValidUTF8(ans.Error, "\ufffd"), maxError)
		}
		return
	}
	if ans.Status == 0 {
		r.errKind = record.Connection
	}
}

// judge says of a well-formed answer whether it is one.
func (r *reading) judge() {
	if r.errKind != "" {
		return
	}
	switch r.api {
	case record.APIChat, record.APICompletions, record.APIMessages, record.APIResponses:
	default:
		if !r.any {
			r.fail(record.Malformed, "the answer is not of the API's format")
		}
		return
	}
	if r.api == record.APIResponses && (r.status == "queued" || r.status == "in_progress") {
		return // fetched later by its id
	}
	if !r.any {
		r.fail(record.Empty, "the answer has no choice and no output")
		return
	}
	if class := record.FinishClass(r.finish); r.heard == 0 && !r.refused && (class == "stop" || class == "") {
		r.fail(record.Empty, "the answer has no text, call or refusal")
	}
}

// fill writes what was read into an exchange.
func (r *reading) fill(x *record.Exchange, o *Options) {
	x.Served, x.Fingerprint, x.FinishReason = r.served, r.fingerprint, r.finish
	x.Refused = r.refused
	x.ErrorKind, x.Error = r.errKind, r.errText
	x.Usage = r.usage.record()
	x.Logprobs = r.logprobs.Summary()
	x.TopK = r.topK
	if x.Usage != nil && o.Price != nil {
		model := r.served
		if model == "" {
			model = x.Model
		}
		x.Cost = o.Price(model, *x.Usage)
	}
	for _, name := range r.cut {
		x.Cut = addCut(x.Cut, name)
	}
	if x.Content == nil {
		x.Content = &record.Content{}
	}
	x.Content.Output = valid(r.out)
	x.Content.Refusal = valid(r.refusal)
	for i := range r.calls {
		k := &r.calls[i]
		x.Content.ToolCalls = append(x.Content.ToolCalls, record.ToolCall{
			ID: clip(valid(k.id), maxName), Name: clip(valid(k.name), maxName), Arguments: valid(k.args),
		})
	}
}

// valid makes a string of kept text. A cut may have gone through a character.
func valid(b []byte) string {
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// replay reads a stream that was kept as bytes.
func replay(api, encoding string, ans *Answer, o *Options) *Stream {
	s := NewStream(api, *o)
	in := &markedBytes{Reader: *bytes.NewReader(ans.Body), marks: ans.Marks, size: len(ans.Body)}
	out, ok := decoder(encoding, in)
	switch {
	case !ok:
		s.bad = true
	case out == nil:
		from := 0
		for _, m := range ans.Marks {
			if end := min(m.End, len(ans.Body)); end > from {
				s.Write(ans.Body[from:end], m.At)
				from = end
			}
		}
		s.Write(ans.Body[from:], in.at())
	default:
		s.decoded(out, in, o.MaxDecoded)
	}
	if ans.Cut && len(ans.Tail) > 0 {
		s.skipped()
		s.Write(ans.Tail, in.at())
	}
	return s
}

// decoded reads an encoded stream. A piece has the time of the last encoded byte that it took.
func (s *Stream) decoded(out io.Reader, in *markedBytes, limit int) {
	buf := make([]byte, 4<<10)
	for limit > 0 {
		n, err := out.Read(buf[:min(len(buf), limit)])
		s.Write(buf[:n], in.at())
		limit -= n
		if err != nil {
			return
		}
	}
	s.cutShort = true
}

// markedBytes knows when the bytes that have been read from it arrived.
type markedBytes struct {
	bytes.Reader
	marks []Mark
	size  int
}

func (m *markedBytes) at() time.Duration {
	done := m.size - m.Len()
	for len(m.marks) > 1 && m.marks[0].End < done {
		m.marks = m.marks[1:]
	}
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[0].At
}

// finish judges a stream at its end.
func (s *Stream) finish(x *record.Exchange, ans *Answer) {
	r := &s.reading
	s.close(s.last)
	cut := s.cutShort || ans.Cut && ans.Stream == nil
	switch {
	case r.api == record.APIOther:
	case r.errKind != "":
	case cut || s.dropped:
		r.cut = addCut(r.cut, "output")
	case s.events == 0 && s.bad, s.bad && !s.ended && !r.any:
		r.fail(record.Malformed, "the stream is not of the API's format")
	case s.ended, r.finish != "" && r.api != record.APIResponses && r.api != record.APIMessages:
		// Some servers close the connection behind the finish reason without [DONE].
		r.judge()
	default:
		r.fail(record.Cut, "the stream ended without its last event")
	}
	r.settle(ans)
	if s.tokens > 0 && s.first > 0 {
		seconds := s.first.Seconds()
		x.TTFT = &seconds
		x.Gaps = s.gapSummary()
	}
}
