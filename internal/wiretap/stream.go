package wiretap

import (
	"bytes"
	"slices"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

const (
	// maxEvent bounds one event. The largest are the last ones of the responses API, which repeat the whole answer.
	maxEvent = 4 << 20
	// maxGaps bounds the times that are kept for quantiles. When it is reached every second one is dropped, and from then on
	// only every second one is kept.
	maxGaps = 1024
)

// Stream reads server-sent events as they pass. Its memory is bounded: by Options.MaxContent for text, by the largest event
// for what is not yet complete. It is not safe for concurrent use.
type Stream struct {
	reading reading
	opts    Options

	line     []byte // the beginning of a line that has not ended
	data     []byte // the data lines of the current event
	name     []byte
	hasData  bool
	tooLarge bool // the current event is above maxEvent
	dropped  bool // one of the events was
	gap      bool // bytes are missing before what comes next
	events   int
	bad      bool // one of the events was malformed
	cutShort bool // there was more than is read
	ended    bool // the terminal event was seen

	first, last time.Duration
	tokens      int
	gaps        []float64
	gapCount    int
	gapSum      float64
	gapMax      float64
	stride      int
}

// NewStream returns a reader of a streamed answer of an API.
func NewStream(api string, o Options) *Stream {
	s := &Stream{opts: o.withDefaults(), stride: 1}
	s.reading.reset(api, &s.opts)
	return s
}

// Write takes the next bytes, not encoded, which arrived at a time after the request. It keeps nothing of p.
func (s *Stream) Write(p []byte, at time.Duration) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.hold(p)
			return
		}
		line := p[:i]
		p = p[i+1:]
		if len(s.line) > 0 {
			s.hold(line)
			line = s.line
		}
		if s.gap {
			// The rest of a line whose beginning is missing, and the rest of its event.
			s.gap = len(bytes.TrimSuffix(line, []byte{'\r'})) > 0
		} else {
			s.take(line, at)
		}
		s.line = s.line[:0]
	}
}

// hold keeps the beginning of a line.
func (s *Stream) hold(p []byte) {
	if len(s.line)+len(p) > maxEvent {
		s.tooLarge = true
		return
	}
	s.line = append(s.line, p...)
}

// take reads one line of the stream.
func (s *Stream) take(line []byte, at time.Duration) {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) == 0 {
		s.dispatch(at)
		return
	}
	key, value, _ := bytes.Cut(line, []byte{':'})
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(key) {
	case "data":
		if len(s.data)+len(value) >= maxEvent {
			s.tooLarge = true
			return
		}
		if s.hasData {
			s.data = append(s.data, '\n')
		}
		s.data = append(s.data, value...)
		s.hasData = true
	case "event":
		s.name = append(s.name[:0], value[:min(len(value), maxName)]...)
	}
}

// dispatch reads the event that has been gathered.
func (s *Stream) dispatch(at time.Duration) {
	name := string(s.name)
	data := s.data
	has, tooLarge := s.hasData, s.tooLarge
	s.name, s.data, s.hasData, s.tooLarge = s.name[:0], s.data[:0], false, false
	if tooLarge {
		s.dropped = true
		return
	}
	if !has || s.ended {
		return
	}
	s.events++
	var token, last bool
	switch s.reading.api {
	case record.APIOther:
	case record.APIMessages:
		token, last = s.messageEvent(name, data)
	case record.APIResponses:
		token, last = s.responseEvent(name, data)
	default:
		token, last = s.chunk(name, data)
	}
	s.ended = last
	s.clock(token, at)
}

// clock takes the time of an event: the first token's, and the gaps after it. The end of a stream is no token.
func (s *Stream) clock(token bool, at time.Duration) {
	if s.tokens == 0 {
		if token {
			s.tokens, s.first, s.last = 1, at, at
		}
		return
	}
	if !token {
		return
	}
	s.tokens++
	gap := max(at-s.last, 0).Seconds()
	s.last = at
	s.gapSum += gap
	s.gapMax = max(s.gapMax, gap)
	if s.gapCount%s.stride == 0 {
		if len(s.gaps) == maxGaps {
			for i := range maxGaps / 2 {
				s.gaps[i] = s.gaps[2*i]
			}
			s.gaps = s.gaps[:maxGaps/2]
			s.stride *= 2
		}
		if s.gapCount%s.stride == 0 {
			s.gaps = append(s.gaps, gap)
		}
	}
	s.gapCount++
}

// chunk reads an event of the chat and completions APIs.
func (s *Stream) chunk(name string, data []byte) (token, last bool) {
	r := &s.reading
	if string(bytes.TrimSpace(data)) == "[DONE]" {
		return false, true
	}
	c := &cursor{b: data}
	if name == "error" {
		s.streamError(c)
		return false, true
	}
	before := r.heard + r.thought
	r.object(c)
	s.bad = s.bad || !c.end()
	return r.heard+r.thought > before, false
}

// streamError reads an error event.
func (s *Stream) streamError(c *cursor) {
	r := &s.reading
	outer := *c
	s.member(c, "error", r.failure)
	if r.errKind == "" {
		r.failure(&outer) // the responses API has code and message at the top
	}
	if r.errKind == "" {
		r.fail(record.Server, "the stream ended with an error")
	}
}

// skipped says that bytes are missing here.
func (s *Stream) skipped() {
	s.line, s.data, s.name, s.hasData, s.tooLarge = s.line[:0], s.data[:0], s.name[:0], false, false
	s.gap = true
}

// close takes the end of the bytes. An event that the end cuts off still counts: servers close right behind their last line.
func (s *Stream) close(at time.Duration) {
	if len(s.line) > 0 && !s.gap {
		s.take(s.line, at)
		s.line = s.line[:0]
	}
	if s.hasData {
		s.dispatch(at)
	}
}

// gapSummary returns the gaps, nil when there are none.
func (s *Stream) gapSummary() *record.Gaps {
	if s.gapCount == 0 {
		return nil
	}
	slices.Sort(s.gaps)
	at := func(q float64) float64 { return s.gaps[min(int(q*float64(len(s.gaps))), len(s.gaps)-1)] }
	return &record.Gaps{Count: s.gapCount, Mean: s.gapSum / float64(s.gapCount), P50: at(.5), P95: at(.95), Max: s.gapMax}
}
