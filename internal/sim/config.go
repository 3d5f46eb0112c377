package sim

import "time"

// Config says how a simulated model behaves. The zero value is a support assistant that answers at
// once and never fails.
type Config struct {
	// Seed moves every decision.
	Seed int64
	// Model is the model's name; empty means "sim". Versions are asked for as NAME-VERSION or NAME@VERSION.
	Model string
	// StrictModels refuses every other model name with 404. Otherwise other names get the base behaviour.
	StrictModels bool
	// ClockPerRequest makes time virtual for scripts: each request moves it on by that much.
	ClockPerRequest time.Duration
	Behaviour
	// Versions are complete behaviours, each the base with its overrides applied.
	Versions map[string]Behaviour
	Defaults Defaults
}

// Defaults holds for requests that do not say otherwise; requests made in process never do.
type Defaults struct {
	Version     string
	Temperature *float64 // nil means 1
	MaxTokens   int      // 0 means no limit
	Stop        []string
	JSON        bool // as response_format json_object
	// Logprobs and TopLogprobs are of Complete only; over HTTP they are asked for.
	Logprobs    bool
	TopLogprobs int
}

// Mode is where an answer comes from when no rule matches.
type Mode string

// The modes.
const (
	Assistant Mode = "assistant" // the built-in support assistant; the default
	Echo      Mode = "echo"      // the last user message
	Generated Mode = "generated" // words from a small built-in model
	Rules     Mode = "answers"   // nothing but the rules, then Default
)

// Behaviour is one version of the model.
type Behaviour struct {
	// Seed moves this version's decisions; 0 leaves them equal to the base's, so that two versions
	// differ only where their configuration does.
	Seed    int64
	Mode    Mode
	Answers []Rule
	Default string // the answer in mode answers when no rule matches
	// Accuracy is the share of sums such as "12 + 7" that are answered correctly; nil means all.
	Accuracy *float64
	Length   Dist // of generated text, in tokens; zero means uniform(20, 60)
	Latency  Latency
	Faults   []Fault // at most one is drawn per attempt; rates add up to at most 1
	Script   []Step
}

// Rule answers the last user message that it matches: Match (a regular expression), Contains
// (whatever the case) or Equals, of which one is set.
type Rule struct {
	Match, Contains, Equals string
	// Answers holds the alternatives; temperature 0 gives the first.
	Answers []string
}

// Latency is how long an answer takes: TTFT until its first token, PerToken for each token after
// that. Both are drawn once an answer.
type Latency struct{ TTFT, PerToken Dist }

// FaultKind is how a request fails.
type FaultKind string

// The kinds of faults.
const (
	Status      FaultKind = "status"       // an HTTP error
	Hang        FaultKind = "hang"         // no answer, until the client gives up or After has passed
	Reset       FaultKind = "reset"        // the connection is closed before the first byte
	Cut         FaultKind = "cut"          // the connection is closed half way through the answer
	StreamError FaultKind = "stream_error" // an error event half way through a stream; 500 without one
	Malformed   FaultKind = "malformed"    // an answer that is not valid JSON
	Empty       FaultKind = "empty"        // a well-formed answer without text
)

// Fault is an injected failure.
type Fault struct {
	Kind       FaultKind
	Status     int // of kind status
	Rate       float64
	RetryAfter time.Duration // sent as retry-after; 0 sends none
	Retry      *bool         // sent as x-should-retry; nil sends none
	After      time.Duration // how long a hang lasts; 0 means until the client gives up
	Message    string
}

// Regression is one way in which a scripted model gets worse.
type Regression string

// The regressions.
const (
	LatencyRamp Regression = "latency_ramp" // latency times Factor plus Add, growing linearly over Over; of Rate of the answers, 0 for all
	ErrorSpike  Regression = "error_spike"  // Rate of the requests fail as Fault says
	Toxic       Regression = "toxic"        // Rate of the answers carry a mild insult
	BrokenJSON  Regression = "broken_json"  // Rate of the JSON answers do not parse
	Refusals    Regression = "refusals"     // Rate of the answers are refusals
	Longer      Regression = "longer"       // Rate of the answers are Factor times as long
	TokenShift  Regression = "token_shift"  // Rate of the words of every answer are exchanged
)

// Step is one window of a script. It holds from From to To by the model's clock, or from request
// number FromRequest (the first is 1) to ToRequest, ends not included; 0 leaves an end open.
type Step struct {
	From, To               time.Duration
	FromRequest, ToRequest int64
	Regression             Regression
	Rate                   float64
	Factor                 float64
	Add                    time.Duration // of a latency ramp
	// Over is how long a latency ramp grows before it holds; 0 means the whole window, or not at
	// all when the window has no end.
	Over  time.Duration
	Fault Fault // of an error spike
}

// active says whether the step's window holds a request.
func (s *Step) active(elapsed time.Duration, number int64) bool {
	if s.FromRequest > 0 || s.ToRequest > 0 {
		return number >= s.FromRequest && (s.ToRequest == 0 || number < s.ToRequest)
	}
	return elapsed >= s.From && (s.To == 0 || elapsed < s.To)
}

// grown says how far a ramp has come, 0 to 1.
func (s *Step) grown(elapsed time.Duration, number int64) float64 {
	if s.FromRequest > 0 || s.ToRequest > 0 {
		if s.ToRequest == 0 {
			return 1
		}
		first := max(s.FromRequest, 1)
		return float64(number-first+1) / float64(s.ToRequest-first)
	}
	over := s.Over
	if over == 0 && s.To > 0 {
		over = s.To - s.From
	}
	if over == 0 {
		return 1
	}
	return min(1, float64(elapsed-s.From)/float64(over))
}

// defaultLength is the length of generated text.
var defaultLength = Dist{kind: uniform, a: 20, b: 60}

// rateSum is the probability that an attempt fails.
func (b *Behaviour) rateSum() float64 {
	total := 0.0
	for _, f := range b.Faults {
		total += f.Rate
	}
	return total
}
