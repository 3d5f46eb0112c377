package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
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
			if err != io.EOF || len(line) == 0 {
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

// Progress is how far a streamed answer is.
type Progress uint8

// The three states. The zero value is that of an answer that may not end yet.
const (
	More     Progress = iota // the answer is not complete
	Complete                 // the stream may end here, or tell more
	Last                     // nothing of interest follows
)

// Sink takes in a streamed answer.
type Sink interface {
	// Event takes one event; its data is valid during the call only. start is when the request was sent.
	Event(name string, data []byte, start time.Time) (Progress, *record.Failure)
	// Finish is called once, when the stream is complete.
	Finish() *record.Failure
}

// ReadStream reads a streamed answer into sink. start is when the request was sent; cancel breaks
// the call off. A stream is complete when an event was Last, when it says [DONE], or when it ends
// after an event that was Complete.
func (c *Client) ReadStream(ctx context.Context, cancel context.CancelFunc, body io.Reader, start time.Time, sink Sink) (time.Duration, *record.Failure) {
	in := readers.Get().(*bufio.Reader)
	in.Reset(body)
	defer func() { in.Reset(nil); readers.Put(in) }()
	ev := events{in: in, limit: c.maxBytes}
	state := More
	for {
		name, data, err := ev.next()
		switch {
		case err == nil:
		case errors.Is(err, errTooLarge):
			return 0, tooLarge(c.maxBytes)
		case state != More && ctx.Err() == nil:
			return time.Since(start), sink.Finish()
		case errors.Is(err, io.EOF):
			return 0, &record.Failure{Kind: record.Cut, Message: c.HostPort() + " ended the stream without a finish reason", Err: io.ErrUnexpectedEOF}
		default:
			return 0, c.TransportFailure(ctx, err, record.Cut)
		}
		last := string(bytes.TrimSpace(data)) == "[DONE]"
		if !last {
			var f *record.Failure
			if state, f = sink.Event(name, data, start); f != nil {
				return 0, f
			}
			last = state == Last
		}
		if last {
			latency := time.Since(start)
			f := sink.Finish()
			drain(in, cancel)
			return latency, f
		}
	}
}

// patience is how long the end of the connection's chunk is waited for.
const patience = 50 * time.Millisecond

// drain reads what follows the last event, which is nothing but the end of the last chunk: without it
// the connection could not be used again. A server that does not end there loses the connection.
func drain(in io.Reader, cancel context.CancelFunc) {
	t := time.AfterFunc(patience, cancel)
	defer t.Stop()
	_, _ = io.CopyN(io.Discard, in, 4<<10) // whatever happens, the answer is complete
}
