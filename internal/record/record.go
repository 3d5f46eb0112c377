// Package record holds what telltale remembers: cases, messages, answers, scored samples,
// snapshots and runs, with the JSON shapes that result files have.
//
// It is plain data. It reads no files, calls no models and judges nothing; every other package
// passes these types along.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/verdict"
)

// Case is one test input as it was read, before any prompt is rendered.
type Case struct {
	// ID names the case in results: the row's own id, or else a hash of its variables.
	ID string `json:"id"`
	// ExplicitID says that the ID came from the row and must therefore be unique.
	ExplicitID  bool           `json:"-"`
	Description string         `json:"description,omitempty"`
	Vars        map[string]any `json:"vars,omitempty"`
	Tags        []string       `json:"tags,omitempty"`
	// Group clusters cases whose outcomes are not independent; empty means a cluster of its own.
	Group    string         `json:"group,omitempty"`
	Critical bool           `json:"critical,omitempty"`
	Metadata map[string]any `json:"metadata,omitempty"`
	// Source is file:line, for messages to the user.
	Source string `json:"-"`
}

// Usage counts tokens. Zero means not reported.
type Usage struct {
	Prompt     int `json:"prompt,omitempty"`
	Completion int `json:"completion,omitempty"`
	Total      int `json:"total,omitempty"`
	// Cached is the part of Prompt that the provider served from its own prompt cache.
	Cached int `json:"cached,omitempty"`
	// Reasoning is the part of Completion that was not shown.
	Reasoning int `json:"reasoning,omitempty"`
}

// TokenLogprob is one generated token with its natural-log probability.
type TokenLogprob struct {
	Token   string             `json:"token"`
	Logprob float64            `json:"logprob"`
	Top     map[string]float64 `json:"top,omitempty"`
}

// ToolCall is a call of a function that a model asks for.
type ToolCall struct {
	ID        string `json:"id,omitempty"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"` // as the model wrote them: meant to be a JSON object
}

// Likelihood is the log-likelihood of one text after a prompt.
type Likelihood struct {
	Text    string  `json:"text"`
	Logprob float64 `json:"logprob"` // natural logarithm, summed over the text's tokens
	Tokens  int     `json:"tokens"`
	// Greedy says that each token of the text was the most likely one.
	Greedy bool `json:"greedy,omitempty"`
}

// Turn is an earlier exchange of a conversation: what was said and what was answered. How the answer
// was judged is in the sample's scores with that turn's number.
type Turn struct {
	User      string     `json:"user"`
	Output    string     `json:"output"`
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
}

// Response is a provider's answer to one request.
type Response struct {
	Output string
	// Value is what a transform made of the output when that is not a text; Output is then its JSON.
	Value        any    `json:"-"`
	FinishReason string // the provider's word: stop, length, content_filter, tool_calls…
	Refusal      string // the provider's own refusal field, if any
	Model        string // the model that served, as reported
	Fingerprint  string // the served system fingerprint, as reported
	Logprobs     []TokenLogprob
	// PromptLogprobs are those of the prompt's tokens, when Request.ScorePrompt asked for them. The
	// first token has no log-probability and is left out.
	PromptLogprobs []TokenLogprob
	// Likelihoods answer Request.Continuations, in their order.
	Likelihoods []Likelihood
	// Answers are all answers of a provider that was asked several times for one sample, the first of
	// which is Output; nil when it was asked once.
	Answers   []string `json:",omitempty"`
	ToolCalls []ToolCall
	// Turns are the earlier turns of a conversation, of which Output is the last answer.
	Turns []Turn
	Usage Usage
	// Cost in US dollars; nil when the price is not known.
	Cost *float64
	// Latency from the first byte sent to the last byte received; 0 when not measured.
	Latency time.Duration
	// TTFT is the time to the first token of a streamed answer; 0 when not measured.
	TTFT time.Duration
	// Cached says that the answer comes from telltale's own cache; its times are of the first call.
	Cached bool
}

// Measure is one number that a score contributes to a metric of the run.
type Measure struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	// Weight is the denominator of a ratio metric (Σvalue/Σweight); 0 means 1.
	Weight float64 `json:"weight,omitempty"`
	// Stats are the additive sufficient statistics of a corpus metric such as BLEU.
	Stats []float64 `json:"stats,omitempty"`
	// Kind says how samples combine: "rate" (Value is 0 or 1), "mean" (also when empty), "ratio"
	// (Σvalue/Σweight), or "corpus/NAME": Stats are summed and the finisher NAME makes the number.
	Kind string `json:"kind,omitempty"`
	// Unit is the measure's unit: s, usd, tokens…; empty for shares and scores.
	Unit string `json:"unit,omitempty"`
}

// W returns the weight, 1 when unset.
func (m Measure) W() float64 {
	if m.Weight == 0 {
		return 1
	}
	return m.Weight
}

// Score is one scorer's judgement of one sample. Exactly one of three holds: Error is set and
// Value and Pass are nil; or Value is set and Pass is nil (measured, not judged); or both are set.
type Score struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Value  *float64 `json:"value"`
	Pass   *bool    `json:"pass"`
	Reason string   `json:"reason"`
	Detail any      `json:"detail"`
	Error  string   `json:"error,omitempty"`
	// Weight of this score in the case's weighted average; nil means 1. A score of weight 0 never fails a sample.
	Weight   *float64  `json:"weight,omitempty"`
	Measures []Measure `json:"measures,omitempty"`
	// Cost and Usage are what the judging itself took, such as the calls of a judge model.
	Cost  *float64 `json:"cost,omitempty"`
	Usage *Usage   `json:"usage,omitempty"`
	// Judge counts the calls of a judge model; nil when there was none.
	Judge *Judging `json:"judge,omitempty"`
	// Scores are the parts of a composite score.
	Scores []Score `json:"scores,omitempty"`
	// Turn is the earlier turn of a conversation whose answer was judged, from 1; 0 is the last answer.
	Turn int `json:"turn,omitempty"`
}

// Judging counts what a judge model was asked for one score.
type Judging struct {
	Calls int `json:"calls"`
	// Invalid counts answers that were no verdict: not readable, or outside the scale.
	Invalid int `json:"invalid,omitempty"`
	// Unpriced counts calls that used tokens and whose price is not known.
	Unpriced int `json:"unpriced,omitempty"`
}

// Sample is one answer to one case, scored: case × prompt × provider × repeat.
type Sample struct {
	Case string `json:"case"`
	// Description is the case's own, for readers.
	Description string         `json:"description,omitempty"`
	Group       string         `json:"group,omitempty"`
	Tags        []string       `json:"tags,omitempty"`
	Critical    bool           `json:"critical,omitempty"`
	Vars        map[string]any `json:"vars"`
	Repeat      int            `json:"repeat"`
	Provider    string         `json:"provider"`
	Prompt      string         `json:"prompt"`
	Seed        int64          `json:"seed"`
	// Input is what was sent.
	Input  []Message `json:"input,omitempty"`
	Output string    `json:"output"`
	// Raw is the model's own output where a transform made Output from it.
	Raw            string          `json:"raw,omitempty"`
	FinishReason   string          `json:"finish_reason,omitempty"`
	Refusal        string          `json:"refusal,omitempty"`
	Model          string          `json:"model,omitempty"`
	Fingerprint    string          `json:"fingerprint,omitempty"`
	Logprobs       []TokenLogprob  `json:"logprobs,omitempty"`
	PromptLogprobs []TokenLogprob  `json:"prompt_logprobs,omitempty"`
	Likelihoods    []Likelihood    `json:"likelihoods,omitempty"`
	ToolCalls      []ToolCall      `json:"tool_calls,omitempty"`
	Turns          []Turn          `json:"turns,omitempty"`
	Verdict        verdict.Verdict `json:"verdict"`
	// Score is the weighted average of the judged scores, 0 to 1; nil when nothing was judged.
	Score   *float64 `json:"score,omitempty"`
	Scores  []Score  `json:"scores"`
	Usage   *Usage   `json:"usage"`
	Cost    *float64 `json:"cost,omitempty"`
	Latency *float64 `json:"latency"`        // seconds
	TTFT    *float64 `json:"ttft,omitempty"` // seconds
	Cached  bool     `json:"cached,omitempty"`
	Retries int      `json:"retries,omitempty"`
	// Error says why there is no answer; empty when there is one.
	Error string `json:"error"`
}

// Snapshot is everything that decides behaviour. Its ID is the hash of the rest.
type Snapshot struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Model    string `json:"model,omitempty"`
	// Fingerprints are the distinct served fingerprints, sorted; more than one means the served
	// system changed during the run.
	Fingerprints []string       `json:"fingerprints,omitempty"`
	Prompt       string         `json:"prompt"`   // the prompt's label
	Template     string         `json:"template"` // the template itself, stored whole
	Params       map[string]any `json:"params,omitempty"`
}

// Identify sets ID from the content: the first 16 hex digits of a SHA-256.
func (s *Snapshot) Identify() {
	c := *s
	c.ID = ""
	s.ID = HashJSON(c)
}

// IsSnapshotID says whether s is like what Identify makes.
func IsSnapshotID(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}

// HashJSON returns 16 hex digits of the SHA-256 of v's JSON encoding, in which map keys are
// sorted. It panics on values JSON cannot hold; callers pass decoded configuration only.
func HashJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("record: hash of %T: %v", v, err))
	}
	return HashBytes(b)
}

// HashBytes returns 16 hex digits of the SHA-256 of b.
func HashBytes(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// HashVars is the hash by which the input of a case is told from another: HashJSON of its variables. Samples as they
// are read from a run's directory and lines of a baseline agree on it.
func HashVars(vars map[string]any) string {
	if vars == nil {
		vars = map[string]any{}
	}
	return HashJSON(vars)
}
