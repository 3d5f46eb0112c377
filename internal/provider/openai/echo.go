package openai

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

// echo is a text that a server has repeated with the log-probabilities of its tokens.
type echo struct {
	*textLogprobs
	text string
	// ends holds for each token of the text the byte of the text behind it. Tokens that the server
	// made up behind the text have no place in it.
	ends []int
}

// newEcho places the tokens of an answer in the text that was sent.
func newEcho(id, text string, ch *textChoice) (echo, *record.Failure) {
	l := ch.Logprobs
	if l == nil || len(l.Tokens) == 0 {
		return echo{}, &record.Failure{Kind: record.BadRequest, Message: id + " gave no log-probabilities of the echoed text: the server or the model does not support echo with logprobs"}
	}
	if why := l.sound(); why != "" {
		return echo{}, &record.Failure{Kind: record.Malformed, Message: why}
	}
	if !strings.HasPrefix(ch.Text, text) {
		return echo{}, &record.Failure{Kind: record.BadRequest, Message: id + " did not echo the text: the server does not support echo"}
	}
	e := echo{textLogprobs: l, text: text}
	if e.ends = byTokens(text, l.Tokens); e.ends == nil {
		e.ends = byOffsets(text, l.Offsets)
	}
	if e.ends == nil {
		return echo{}, &record.Failure{Kind: record.Malformed, Message: "the tokens of the echoed text do not make up that text"}
	}
	if len(ch.Text) > len(text) && len(e.ends) == len(l.Tokens) && joined(l.Tokens) <= len(text) {
		// llama-cpp-python does so where the model has no mark for the start of a text (its issue 1983),
		// and then the numbers are those of the place behind: wrong, with no other sign of it.
		return echo{}, &record.Failure{Kind: record.Malformed, Message: id + " lists no token for what it made up behind the echoed text, which means that its log-probabilities belong to other tokens than they are listed with; docs/likelihood.md names servers and settings that work"}
	}
	return e, nil
}

// joined is the length of all tokens together.
func joined(tokens []string) int {
	n := 0
	for _, t := range tokens {
		n += len(t)
	}
	return n
}

// byTokens places tokens whose texts join to the text, nil when they do not. The first token may be a
// mark for the start of a text, which is no part of it.
func byTokens(text string, tokens []string) []int {
	for skip := range min(2, len(tokens)) {
		var ends []int
		at := 0
		for i, t := range tokens {
			if i < skip {
				ends = append(ends, 0)
				continue
			}
			rest := text[at:]
			if rest == "" {
				break
			}
			// The last token of the text may go on into what was made up behind it.
			if !strings.HasPrefix(rest, t) && !strings.HasPrefix(t, rest) {
				ends = nil
				break
			}
			at = min(at+len(t), len(text))
			ends = append(ends, at)
		}
		if ends != nil && at == len(text) {
			return ends
		}
	}
	return nil
}

// byOffsets places tokens by where the server says that they start, counted in characters: some
// tokens are parts of a character and have no text of their own.
func byOffsets(text string, offsets []int) []int {
	chars := utf8.RuneCountInString(text)
	var ends []int
	for i, from := range offsets {
		if from >= chars && len(ends) > 0 {
			break
		}
		to := chars
		if i+1 < len(offsets) {
			to = min(offsets[i+1], chars)
		}
		if from < 0 || to < from {
			return nil
		}
		ends = append(ends, byteAt(text, to))
	}
	if len(ends) == 0 || ends[len(ends)-1] != len(text) {
		return nil
	}
	return ends
}

// byteAt returns the byte at which the nth character of s starts.
func byteAt(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// tokens returns those tokens of the text that end behind the given byte.
func (e *echo) tokens(from int) []record.TokenLogprob { return e.record(e.first(from), len(e.ends)) }

// first is the first token that ends behind a byte of the text.
func (e *echo) first(from int) int {
	for i, end := range e.ends {
		if end > from {
			return i
		}
	}
	return len(e.ends)
}

// likelihood sums the tokens of a continuation that starts at a byte of the text. A token across the
// border counts to the continuation: the model has no other probability for it.
func (e *echo) likelihood(from int, continuation string) (record.Likelihood, *record.Failure) {
	out := record.Likelihood{Text: continuation, Greedy: true}
	for i := e.first(from); i < len(e.ends); i++ {
		v := e.Values[i]
		if v == nil {
			return out, &record.Failure{Kind: record.BadRequest, Message: fmt.Sprintf("the token %q has no log-probability: the text before the continuation is empty, and the server puts no start token there (a task of lm-evaluation-harness takes one with --var prefix=TEXT)", e.Tokens[i])}
		}
		out.Logprob += *v
		out.Tokens++
		out.Greedy = out.Greedy && e.greedy(i)
	}
	if out.Tokens == 0 {
		return out, &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("no token of the echoed text belongs to the continuation %q", continuation)}
	}
	return out, nil
}

// greedy says whether no listed alternative of a token was likelier. Without a list it was not shown
// to be the likeliest.
func (e *echo) greedy(i int) bool {
	if i >= len(e.Top) || len(e.Top[i]) == 0 {
		return false
	}
	for _, p := range e.Top[i] {
		if p > *e.Values[i] {
			return false
		}
	}
	return true
}
