package record

import (
	"encoding/json"
	"time"
)

// Where exchanges come from: values of Exchange.Source.
const (
	SourceGateway  = "gateway"
	SourceOTLP     = "otlp"
	SourceLangfuse = "langfuse"
	SourceJSON     = "json"
	SourceFile     = "file"
)

// Assignment is how an exchange came to its variant.
type Assignment struct {
	Rollout string `json:"rollout"`
	Stage   int    `json:"stage"`
	// Unit is the keyed hash of what was assigned as one: request, session or user. It is not stored.
	Unit string `json:"unit,omitempty"`
	// Pairs is the exchange of which this one, a shadow's, is a copy.
	Pairs string `json:"pairs,omitempty"`
	// Alone says that there was a shadow, and that no copy went to it. It is not stored.
	Alone bool `json:"alone,omitempty"`
	// Picked says that the content was kept because of the variant or the outcome, so that scores of it are no evidence. It is
	// not stored.
	Picked bool `json:"picked,omitempty"`
	// Elsewhere says that the exchange did not come over this gateway, so that it is no evidence here. It is not stored, and
	// nobody can say it but the server.
	Elsewhere bool `json:"-" cbor:"elsewhere,omitempty"`
}

// Guarded is what a guard did to an answer. It holds nothing of the text.
type Guarded struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	ID      string `json:"id"`
	Outcome string `json:"outcome"` // passed, changed, blocked, again or failed
	// Hits counts what was found, by filter or, where it is personal data or a secret, filter/kind.
	Hits     map[string]int `json:"hits,omitempty"`
	Failure  string         `json:"failure,omitempty"`
	Repaired bool           `json:"repaired,omitempty"`
	Asked    string         `json:"asked,omitempty"` // why the model was asked again
	Model    string         `json:"model,omitempty"` // the fallback that was asked
	Held     int            `json:"held,omitempty"`  // most bytes of a stream's text that were held back at a time
}

// VariantShadow is the variant of copies whose answers nobody gets.
const VariantShadow = "shadow"

// Exchange is one request and answer seen online, through the gateway, from OpenTelemetry or from a file. It is what
// travels on the bus, is scored, rolled up and stored. Times are seconds; nil means not known.
type Exchange struct {
	// ID is unique and makes storing idempotent: a UUID of version 7 for the gateway's, one made of trace and span
	// for OpenTelemetry's.
	ID     string    `json:"id"`
	Source string    `json:"source"` // gateway, otlp, langfuse, json, file
	Time   time.Time `json:"time"`   // when the request arrived, UTC, in microseconds
	Route  string    `json:"route"`
	// Variant is the part of the route that answered: baseline, canary, shadow, or a name of the route's.
	Variant string `json:"variant"`
	// Snapshot is the id of what decided the behaviour; see Snapshot.
	Snapshot string `json:"snapshot"`
	// Propensity is the probability with which the exchange was given to its variant: 1 without a choice.
	Propensity float64 `json:"propensity"`
	// Assigned says what chose the variant; nil where nothing did, or a tester.
	Assigned *Assignment `json:"assigned,omitempty"`

	// API is the wire format: openai.chat, openai.responses, openai.completions, openai.embeddings, openai.models,
	// openai.moderations, anthropic.messages, anthropic.count_tokens, or other.
	API      string `json:"api"`
	Stream   bool   `json:"stream,omitempty"`
	Provider string `json:"provider,omitempty"` // gen_ai.provider.name, or the upstream's name
	Upstream string `json:"upstream,omitempty"` // which of the route's upstreams answered
	Model    string `json:"model,omitempty"`    // as asked
	// Served and Fingerprint are what the provider says it served.
	Served      string `json:"served,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Endpoint    string `json:"endpoint,omitempty"` // path of the request, without query

	Status       int         `json:"status,omitempty"`
	ErrorKind    FailureKind `json:"error_kind,omitempty"` // empty when the request was answered
	Error        string      `json:"error,omitempty"`      // the error's text, redacted and clipped
	FinishReason string      `json:"finish_reason,omitempty"`
	Refused      bool        `json:"refused,omitempty"` // the provider's own refusal field

	Latency *float64 `json:"latency,omitempty"`
	// TTFT is the time to the first token of a stream, Gaps what lay between the events after it.
	TTFT  *float64 `json:"ttft,omitempty"`
	Gaps  *Gaps    `json:"gaps,omitempty"`
	Usage *Usage   `json:"usage,omitempty"`
	Cost  *float64 `json:"cost,omitempty"` // US dollars

	// Params are the request's parameters that decide behaviour, without messages; Seed is apart.
	Params   map[string]any  `json:"params,omitempty"`
	Seed     *int64          `json:"seed,omitempty"`
	Logprobs *LogprobSummary `json:"logprobs,omitempty"`
	// TopK are all tokens with their alternatives, when the route captures them.
	TopK []TokenLogprob `json:"top_k,omitempty"`

	User    string            `json:"user,omitempty"` // as redaction left it
	Session string            `json:"session,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Client  string            `json:"client,omitempty"` // name of the client's key; never the key
	// Retries is how many times the client had sent this request before; Attempts how many upstream calls it took.
	Retries  int `json:"retries,omitempty"`
	Attempts int `json:"attempts,omitempty"`

	TraceID  string `json:"trace_id,omitempty"`
	SpanID   string `json:"span_id,omitempty"`
	ParentID string `json:"parent_id,omitempty"`

	// InputHash tells equal inputs from others: HashBytes of the messages' JSON, keyed where the server has a key.
	InputHash string `json:"input_hash,omitempty"`
	// Sizes in bytes as they were on the wire, also where the content is not kept.
	InputBytes  int64 `json:"input_bytes,omitempty"`
	OutputBytes int64 `json:"output_bytes,omitempty"`
	// Content is what was said; nil when sampling or the route leaves it out. Inclusion is the probability with
	// which it was kept.
	Content   *Content `json:"content,omitempty"`
	Inclusion float64  `json:"inclusion"`
	// Redaction is the version of the rules that the record went through; empty means that it has not been redacted,
	// and such a record is never written anywhere.
	Redaction string `json:"redaction,omitempty"`
	// Found counts what redaction found, by kind.
	Found map[string]int `json:"found,omitempty"`

	// Guard says what the route's guard did; nil where none read the answer.
	Guard *Guarded `json:"guard,omitempty"`

	Embedding []float32     `json:"embedding,omitempty"`
	Scores    []OnlineScore `json:"scores,omitempty"`
	// Cut names the fields that were shortened to stay within the size limits.
	Cut []string `json:"cut,omitempty"`
}

// Content is the text of an exchange, redacted.
type Content struct {
	System string    `json:"system,omitempty"`
	Input  []Message `json:"input,omitempty"`
	Output string    `json:"output,omitempty"`
	// ToolCalls of the answer, and Refusal, the provider's own words.
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
	Refusal   string     `json:"refusal,omitempty"`
	// Body is the request as it was sent, redacted as JSON values: what a replay sends again. Nil when it was cut.
	Body json.RawMessage `json:"body,omitempty"`
}

// Gaps summarises the times between the events of a stream, in seconds.
type Gaps struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	Max   float64 `json:"max"`
}

// LogprobSummary says how sure the model was of its tokens.
type LogprobSummary struct {
	Tokens int     `json:"tokens"`
	Mean   float64 `json:"mean"` // of the chosen tokens' natural log-probabilities
	Min    float64 `json:"min"`
	// Entropy is the mean entropy in nats over the listed alternatives, the rest counted as one outcome; Top1 the
	// mean probability of the most likely token. Nil when no alternatives were given.
	Entropy *float64 `json:"entropy,omitempty"`
	Top1    *float64 `json:"top1,omitempty"`
	// Histogram counts the chosen tokens' log-probabilities in the bins of LogprobBounds.
	Histogram []int `json:"histogram,omitempty"`
}

// LogprobBounds are the upper ends of all bins of LogprobSummary.Histogram but the last, which is open; ascending.
var LogprobBounds = [...]float64{-10, -7, -5, -3.5, -2.5, -1.75, -1.25, -.9, -.6, -.4, -.25, -.15, -.08, -.03, -.01}

// OnlineScore is a score of an exchange, with the recipe that made it.
type OnlineScore struct {
	Name      string   `json:"name"`
	Value     *float64 `json:"value"`
	Pass      *bool    `json:"pass,omitempty"`
	Label     string   `json:"label,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	Error     string   `json:"error,omitempty"`
	Signature string   `json:"signature,omitempty"`
	// Inclusion is the probability with which the exchange was scored.
	Inclusion float64 `json:"inclusion,omitempty"`
}

// Failed says whether the exchange has no proper answer. Requests that the client itself gave up are not failures of
// the model's.
func (e *Exchange) Failed() bool { return e.ErrorKind != "" && e.ErrorKind != Canceled }
