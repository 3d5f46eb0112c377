package openai

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// errTooLarge says that a stream went over its limit.
var errTooLarge = errors.New("stream too large")

// events reads server-sent events as the HTML standard defines them: lines end in LF, CR LF or CR,
// an event ends at an empty line, its data lines are joined by LF, and lines that start with a
// colon are comments. Unlike there, an event that the end of the stream cuts off is still handed
// out: servers close right behind their last line.
type events struct {
	in    *bufio.Reader
	limit int64 // bytes left
	name  []byte
	data  []byte
	line  []byte
	any   bool // whether the current event has data
	bom   bool // whether the first line has been looked at
	err   error
	// rest holds lines of the last chunk that ended in a bare CR.
	rest []byte
}

// next returns the next event's name and data, valid until the call after. The error is io.EOF at
// a proper end of the stream.
func (e *events) next() (name string, data []byte, err error) {
	e.name, e.data, e.any = e.name[:0], e.data[:0], false
	for {
		line, err := e.readLine()
		if err != nil && len(line) == 0 {
			if e.any && errors.Is(err, io.EOF) {
				e.err = io.EOF
				return string(e.name), e.data, nil
			}
			return "", nil, err
		}
		if len(line) == 0 {
			if e.any {
				return string(e.name), e.data, nil
			}
			e.name = e.name[:0]
			continue
		}
		e.field(line)
	}
}

// field takes one line into the current event.
func (e *events) field(line []byte) {
	key, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(key) {
	case "data":
		if e.any {
			e.data = append(e.data, '\n')
		}
		e.data = append(e.data, value...)
		e.any = true
	case "event":
		e.name = append(e.name[:0], value...)
	}
}

// readLine returns the next line without its end. An error comes with the last, unfinished line or
// after it.
func (e *events) readLine() ([]byte, error) {
	if e.rest != nil {
		line, rest, found := bytes.Cut(e.rest, []byte{'\r'})
		if e.rest = rest; !found {
			e.rest = nil
		}
		return line, nil
	}
	if e.err != nil {
		return nil, e.err
	}
	e.line = e.line[:0]
	for {
		part, err := e.in.ReadSlice('\n')
		if e.limit -= int64(len(part)); e.limit < 0 {
			e.err = errTooLarge
			return nil, e.err
		}
		e.line = append(e.line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		line := e.line
		if err != nil {
			e.err = err
			if !errors.Is(err, io.EOF) || len(line) == 0 {
				return nil, err
			}
		}
		if !e.bom {
			e.bom = true
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
		if i := bytes.IndexByte(line, '\r'); i >= 0 {
			e.rest = line[i+1:]
			line = line[:i]
		}
		return line, nil
	}
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

// answer is a streamed answer as far as it has come.
type answer struct {
	out      record.Response
	text     strings.Builder
	refusal  strings.Builder
	calls    []toolCall
	function *function
	seen     bool // a choice has been seen
	done     bool // the server has said that it is complete
}

// readStream reads a streamed answer. start is when the request was sent; cancel breaks the call off.
func (p *Provider) readStream(ctx context.Context, cancel context.CancelFunc, body io.Reader, start time.Time) (record.Response, *record.Failure) {
	in := readers.Get().(*bufio.Reader)
	in.Reset(body)
	defer func() { in.Reset(nil); readers.Put(in) }()
	ev := events{in: in, limit: p.opts.MaxBytes}
	var a answer
	var c completion
	for {
		name, data, err := ev.next()
		switch {
		case err == nil:
		case errors.Is(err, errTooLarge):
			return record.Response{}, tooLarge(p.opts.MaxBytes)
		case a.done && ctx.Err() == nil:
			return a.finish(start)
		case errors.Is(err, io.EOF):
			return record.Response{}, &record.Failure{Kind: record.Cut, Message: p.hostPort() + " ended the stream without a finish reason", Err: io.ErrUnexpectedEOF}
		default:
			return record.Response{}, p.transportFailure(ctx, err, record.Cut)
		}
		if string(bytes.TrimSpace(data)) == "[DONE]" {
			out, f := a.finish(start)
			drain(in, cancel)
			return out, f
		}
		// encoding/json decodes into what is left of an earlier element.
		choices := c.Choices[:cap(c.Choices)]
		clear(choices)
		c = completion{Choices: choices[:0]}
		if err := json.Unmarshal(data, &c); err != nil {
			if name == "error" {
				return record.Response{}, &record.Failure{Kind: record.Server, Message: p.excerpt(data)}
			}
			return record.Response{}, &record.Failure{Kind: record.Malformed, Message: "an event of the stream is not JSON: " + p.clean(err.Error(), 100) + ": " + p.excerpt(data)}
		}
		if f := p.event(&a, &c, name, data, start); f != nil {
			return record.Response{}, f
		}
	}
}

// event takes one event into the answer.
func (p *Provider) event(a *answer, c *completion, name string, data []byte, start time.Time) *record.Failure {
	if c.Error.says() {
		return p.apiFailure(c.Error)
	}
	if name == "error" {
		message, code := p.errorText(data)
		return p.apiFailure(&apiError{Message: message, Code: code})
	}
	if f := p.fill(&a.out, c); f != nil {
		return f
	}
	for i := range c.Choices {
		ch := &c.Choices[i]
		if ch.Index != 0 {
			continue
		}
		if ch.Error.says() {
			return p.apiFailure(ch.Error)
		}
		a.add(ch, start)
	}
	return nil
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

// patience is how long the end of the connection's chunk is waited for.
const patience = 50 * time.Millisecond

// drain reads what follows [DONE], which is nothing but the end of the last chunk: without it the
// connection could not be used again. A server that does not end there loses the connection.
func drain(in io.Reader, cancel context.CancelFunc) {
	t := time.AfterFunc(patience, cancel)
	defer t.Stop()
	_, _ = io.CopyN(io.Discard, in, 4<<10) // whatever happens, the answer is complete
}

func (a *answer) finish(start time.Time) (record.Response, *record.Failure) {
	a.out.Latency = time.Since(start)
	if !a.seen {
		return record.Response{}, &record.Failure{Kind: record.Empty, Message: "the stream has no choices"}
	}
	a.out.Refusal = a.refusal.String()
	a.out.Output = output(&message{
		Content: content(a.text.String()), Refusal: a.out.Refusal, ToolCalls: a.calls, FunctionCall: a.function,
	})
	return a.out, nil
}
