// Package wiretap reads the bytes of requests and answers as they went over the wire, of OpenAI's and Anthropic's
// APIs, into a record.Exchange.
//
// It is pure: it opens nothing, waits for nothing, keeps no state between exchanges, and it never fails. What cannot
// be read is left out and named in Exchange.Cut, or, in an answer, makes it malformed. It translates nothing, and it
// does not redact: what it returns must pass through package privacy before it is written anywhere.
//
// The whole of it:
//
//	api := wiretap.Classify(method, path)        // record.APIChat, …, record.APIOther
//	wiretap.Read(&x, req, ans, opts)             // fills every field of x that the bytes tell
//	snap := wiretap.Snapshot(&x, host, model, guard) // what decided the behaviour; its ID goes into x.Snapshot
//	s := wiretap.NewStream(api, opts)            // a stream read as it passes: s.Write(p, at) …; Answer.Stream = s
//
// A request's bytes are read in one pass by a cursor that checks JSON's grammar as it goes. Answers, whole or as server-sent
// events, are read into the same accumulator, so that a stream and its whole answer give the same exchange. Text is
// kept up to Options.MaxContent and then cut; usage, finish reason and log-probabilities are read to the end.
package wiretap

import (
	"net/http"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Request is what a client sent. Nothing in it is changed or kept.
type Request struct {
	Method  string // POST when empty
	Path    string // of the request, with or without query
	Headers http.Header
	Body    []byte // as received, still encoded
	Cut     bool   // Body is only the beginning of what was sent
	Size    int64  // bytes of the whole body; 0 means len(Body)
}

// Answer is what the upstream answered.
type Answer struct {
	Status  int // 0 when there was no answer
	Headers http.Header
	Body    []byte // as received, still encoded: a document, or server-sent events
	Cut     bool   // Body is only the beginning of what was received
	// Tail are the last bytes of a stream whose middle was not kept, not encoded: its usage and finish reason are there.
	Tail []byte
	Size int64 // bytes of the whole body; 0 means len(Body)
	// Marks say when the bytes of Body arrived; needed for TTFT and gaps only.
	Marks []Mark
	// Failure is what went wrong on the connection itself: canceled, timeout, connection, cut; empty when nothing did.
	// It wins over what the bytes say.
	Failure record.FailureKind
	Error   string // its text
	// Stream is the answer when it was read as it passed; Body, Tail and Marks are then not looked at.
	Stream *Stream
}

// Mark says that the first End bytes of a body had arrived At this time after the request.
type Mark struct {
	End int
	At  time.Duration
}

// Options say what is kept. The zero value takes the defaults.
type Options struct {
	// MaxContent bounds, in bytes, the text of the request and that of the answer to half of it each, and the body that
	// is kept for replay to all of it; 64 KiB.
	MaxContent int
	// MaxDecoded bounds a body after decompression; 8 MiB.
	MaxDecoded int
	// TopK keeps tokens with their alternatives, up to MaxTokens of them; 4096.
	TopK      bool
	MaxTokens int
	// HashKey keys Exchange.InputHash (HMAC-SHA-256); nil leaves it a plain hash.
	HashKey []byte
	// Price returns the price of a call in US dollars, nil when it is not known. The model is the served one, or the
	// asked one when the answer names none.
	Price func(model string, u record.Usage) *float64
}

func (o Options) withDefaults() Options {
	if o.MaxContent <= 0 {
		o.MaxContent = 64 << 10
	}
	if o.MaxDecoded <= 0 {
		o.MaxDecoded = 8 << 20
	}
	if o.MaxTokens <= 0 {
		o.MaxTokens = 4096
	}
	return o
}

// Read fills x from a request and its answer. It sets API, Endpoint, Stream, Model, Served, Fingerprint, Params, Seed, User,
// Session, Tags, Retries, TraceID, ParentID, Content, InputHash, InputBytes, OutputBytes, Status, ErrorKind, Error,
// FinishReason, Refused, Usage, Cost, Logprobs, TopK, TTFT, Gaps and Cut; Latency only where it is nil and the answer has
// marks. It leaves the others alone. A nil answer leaves x without one. It is safe for concurrent use.
func Read(x *record.Exchange, req *Request, ans *Answer, o Options) {
	o = o.withDefaults()
	readRequest(x, req, &o)
	if ans != nil {
		readAnswer(x, req, ans, &o)
	}
}
