package record

import (
	"fmt"
	"time"
)

// Request is one call to a model: a rendered prompt and what belongs to this sample alone. What is
// the same for all samples of a snapshot (model, temperature…) is the provider's own configuration.
type Request struct {
	Messages []Message
	// Prompt is PromptText(Messages): what a recorded answer is looked up by.
	Prompt string
	Vars   map[string]any
	Case   string
	Repeat int // from 0
	// Attempt counts the tries of this request, from 0; a server is told, so that it can tell a retry
	// from a new request.
	Attempt int
	Seed    int64
	// Continuations asks for the log-likelihood of each of these texts after the prompt, instead of
	// an answer. A provider that cannot give it answers with a BadRequest failure that says so.
	Continuations []string
	// ScorePrompt asks for the log-probabilities of the prompt's own tokens (completions with echo).
	ScorePrompt bool
	// JSON asks for an answer that is one JSON object, of a provider that can be told so.
	JSON bool
	// Stream asks for a streamed answer, so that the time to first token is measured.
	Stream bool
}

// FailureKind is the bounded set of reasons for which a call has no answer. It is used as a label.
type FailureKind string

// The reasons.
const (
	Canceled    FailureKind = "canceled"
	Timeout     FailureKind = "timeout"
	Connection  FailureKind = "connection" // refused, reset, no such host
	RateLimited FailureKind = "rate_limited"
	Server      FailureKind = "server"      // 5xx
	Auth        FailureKind = "auth"        // 401, 403
	NotFound    FailureKind = "not_found"   // 404: no such model or path
	BadRequest  FailureKind = "bad_request" // other 4xx
	Malformed   FailureKind = "malformed"   // an answer that is not of the wire format
	Empty       FailureKind = "empty"       // a well-formed answer without any choice or text
	Cut         FailureKind = "cut"         // the connection ended in mid-answer
	Missing     FailureKind = "missing"     // nothing was recorded for this request
	Exited      FailureKind = "exited"      // a worker process ended
	TooLarge    FailureKind = "too_large"   // an answer above the size limit
)

// Failure is why a call has no answer. Its message never holds a key.
type Failure struct {
	Kind   FailureKind
	Status int // HTTP status, 0 when there was none
	// RetryAfter is how long the server asked to wait; 0 when it did not say.
	RetryAfter time.Duration
	// Retry is the server's own word on whether to try again (x-should-retry); nil when it gave none.
	Retry   *bool
	Message string
	Err     error // the cause, may be nil
}

// Error names kind, status and message.
func (f *Failure) Error() string {
	s := string(f.Kind)
	if f.Status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", f.Status)
	}
	if f.Message != "" {
		s += ": " + f.Message
	} else if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Retryable says whether the same request may succeed if it is sent again.
func (f *Failure) Retryable() bool {
	if f.Retry != nil {
		return *f.Retry
	}
	switch f.Kind {
	case Timeout, Connection, RateLimited, Server, Cut, Exited:
		return true
	}
	return false
}
