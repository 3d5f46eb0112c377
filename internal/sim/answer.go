package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// FormatKind is the form of answer that a request asks for.
type FormatKind uint8

// The forms.
const (
	PlainText FormatKind = iota
	JSONObject
	JSONSchema
)

// Format is the form of answer that a request asks for. Schema is a JSON Schema, of kind JSONSchema.
type Format struct {
	Kind   FormatKind
	Schema []byte
}

// Query is everything that decides an answer.
type Query struct {
	Model       string // as requested; empty means the base
	Messages    []record.Message
	Seed        *int64   // nil: drawn by Occurrence
	Temperature *float64 // nil means 1; 0 always gives the first of several answers
	MaxTokens   int      // 0 means no limit, below 0 means no answer at all
	Stop        []string
	Format      Format
	Choice      int // which of n answers
	Attempt     int // from 0
	Occurrence  int // how often a request without a seed has been made before
	// Elapsed and Number place the request in a script.
	Elapsed time.Duration
	Number  int64
}

// Answer is what the model makes of a Query.
type Answer struct {
	Text         string
	Tokens       int
	PromptTokens int
	FinishReason string // stop or length
	StopSequence string // the stop sequence that ended the answer
	Refused      bool
	Model        string
	Fingerprint  string
	TTFT         time.Duration
	PerToken     time.Duration
	// Fault is set when the request fails; the answer is then what would have been said.
	Fault *Fault

	variant *variant
	key     uint64
	shift   float64 // share of exchanged words, which lowers the log-probabilities
}

// Total is the time until the last token: the first one at TTFT, each further one PerToken later.
func (a *Answer) Total() time.Duration {
	return a.TTFT + time.Duration(max(a.Tokens-1, 0))*a.PerToken
}

// Answer is pure: the same Query always has the same Answer.
func (m *Model) Answer(q Query) Answer {
	v := m.variant(q.Model)
	if v == nil {
		return Answer{Fault: m.unknownModel(q.Model)}
	}
	return m.answer(v, &q, hashMessages(v.seed, q.Messages))
}

func (m *Model) answer(v *variant, q *Query, content uint64) Answer {
	key := content
	if q.Seed != nil {
		key = mix(mix(key, 1), uint64(*q.Seed))
	} else {
		key = mix(mix(key, 2), uint64(q.Occurrence))
	}
	textKey, first := key, false
	if q.Temperature != nil && *q.Temperature == 0 {
		textKey, first = content, true
	}
	textKey = mix(textKey, uint64(q.Choice))
	callKey := mix(key, uint64(q.Attempt))

	a := Answer{FinishReason: "stop", Model: q.Model, Fingerprint: v.fingerprint, variant: v, key: mix(key, uint64(q.Number)), PromptTokens: promptTokens(q.Messages)}
	if a.Model == "" {
		a.Model = v.name
	}
	if q.MaxTokens >= 0 {
		w := writer{m: m, v: v, q: q, key: textKey, first: first}
		a.Text = w.write()
		a.Refused, a.shift = w.refused, w.shift
		a.end(q)
	}
	a.time(v, q, callKey)
	a.Fault = v.fault(q, callKey)
	return a
}

// end cuts the text at the first stop sequence and at the limit, and counts its tokens.
func (a *Answer) end(q *Query) {
	cut := len(a.Text)
	for _, s := range q.Stop {
		if s == "" {
			continue
		}
		if i := strings.Index(a.Text[:cut], s); i >= 0 {
			cut, a.StopSequence = i, s
		}
	}
	a.Text = a.Text[:cut]
	if q.MaxTokens == 0 {
		a.Tokens = countTokens(a.Text)
		return
	}
	text, n := truncate(a.Text, q.MaxTokens)
	if len(text) < len(a.Text) {
		a.FinishReason, a.StopSequence = "length", ""
	}
	a.Text, a.Tokens = text, n
}

func (a *Answer) time(v *variant, q *Query, key uint64) {
	a.TTFT = v.Latency.TTFT.duration(draw(key, forTTFT, 0))
	a.PerToken = v.Latency.PerToken.duration(draw(key, forPerToken, 0))
	for i := range v.Script {
		s := &v.Script[i]
		if s.Regression != LatencyRamp || !s.active(q.Elapsed, q.Number) || s.Rate > 0 && draw(key, forSlow, i) >= s.Rate {
			continue
		}
		share := s.grown(q.Elapsed, q.Number)
		times := 1 + (s.Factor-1)*share
		a.TTFT = time.Duration(float64(a.TTFT)*times) + time.Duration(float64(s.Add)*share)
		a.PerToken = time.Duration(float64(a.PerToken) * times)
	}
}

// fault draws the fault of one attempt, nil when there is none.
func (v *variant) fault(q *Query, key uint64) *Fault {
	for i := range v.Script {
		s := &v.Script[i]
		if s.Regression == ErrorSpike && s.active(q.Elapsed, q.Number) && draw(key, forSpike, i) < s.Fault.Rate {
			return &s.Fault
		}
	}
	if len(v.Faults) == 0 {
		return nil
	}
	u := draw(key, forFault, 0)
	for i := range v.Faults {
		if u -= v.Faults[i].Rate; u < 0 {
			return &v.Faults[i]
		}
	}
	return nil
}

// unknownModel is the fault of a request for a model that is not there.
func (m *Model) unknownModel(name string) *Fault {
	return &Fault{Kind: Status, Status: 404, Message: fmt.Sprintf("The model `%s` does not exist; there are: %s", name, strings.Join(m.models(), ", "))}
}

// message is what the body of a fault says.
func (f *Fault) message() string {
	if f.Message != "" {
		return f.Message
	}
	if f.Kind != Status {
		return "simulated fault: " + string(f.Kind)
	}
	switch {
	case f.Status == 429:
		return "Rate limit reached (simulated)."
	case f.Status == 503, f.Status == 529:
		return "The model is overloaded (simulated)."
	case f.Status >= 500:
		return "The server had an error while processing the request (simulated)."
	}
	return "The request was refused (simulated)."
}

// promptTokens counts the tokens of a prompt, with four for the frame of each message and three
// that open the answer.
func promptTokens(ms []record.Message) int {
	n := 3
	for i := range ms {
		n += 4 + countTokens(ms[i].Text())
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
