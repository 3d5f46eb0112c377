package sim

import (
	"fmt"
	"math"
	"sort"

	"github.com/telltale-llm/telltale/internal/record"
)

// maxTopLogprobs is how many alternatives a request may ask for.
const maxTopLogprobs = 20

// alternative is a token that might have been said, with its natural-log probability.
type alternative struct {
	token   string
	logprob float64
}

// vocabulary is what alternatives are taken from. Its length is prime, so that any step through it
// meets every word once.
var vocabulary = [...]string{
	" the", " a", " to", " of", " and", " you", " your", " in", " is", " for", " it", " we", " can",
	" on", " with", " order", " please", " our", " will", " be", " I", " this", ".", ",", " that",
	" are", " have", " or", " not", " at", " from",
}

// logprob is the log-probability of token after prev, the same wherever the two meet: mostly close
// to 0, with a tail to about -3. A shift of the token distribution lowers it.
func (v *variant) logprob(prev, token string, shift float64) float64 {
	key := mix(hashString(hashString(v.seed, prev), token), uint64(forLogprob))
	u := unit(key)
	lp := -0.01 - 3*u*u*u*u*u
	if shift > 0 {
		lp -= 1.5 * shift * draw(key, forLogprob, 1)
	}
	return math.Round(lp*1e6) / 1e6
}

// alternatives appends the n most likely tokens after prev in descending order; token itself may or
// may not be one of them. What token leaves of the probability is shared out by halves.
func (v *variant) alternatives(dst []alternative, prev, token string, lp float64, n int) []alternative {
	if n == 0 {
		return dst
	}
	first := len(dst)
	dst = append(dst, alternative{token, lp})
	key := mix(hashString(v.seed, prev), uint64(forAlternative))
	rest := math.Log(max(1-math.Exp(lp), 1e-9))
	at, step := pick(key, forAlternative, 0, len(vocabulary)), 1+pick(key, forAlternative, 1, len(vocabulary)-1)
	for range len(vocabulary) {
		if len(dst)-first > n {
			break
		}
		at = (at + step) % len(vocabulary)
		if vocabulary[at] == token {
			continue
		}
		rest -= math.Ln2
		dst = append(dst, alternative{vocabulary[at], math.Round(rest*1e6) / 1e6})
	}
	list := dst[first:]
	sort.SliceStable(list, func(i, j int) bool { return list[i].logprob > list[j].logprob })
	return dst[:first+min(n, len(list))]
}

// scored returns the tokens of text from the first one that ends behind the byte from, each with its
// log-probability and the likeliest tokens at its place. The first token of a text follows nothing and
// has none.
func (v *variant) scored(text string, from, top int) []record.TokenLogprob {
	var out []record.TokenLogprob
	var alts []alternative
	prev := ""
	for at := 0; at < len(text); {
		token := text[at : at+nextToken(text[at:])]
		at += len(token)
		if prev != "" && at > from {
			t := record.TokenLogprob{Token: token, Logprob: v.logprob(prev, token, 0), Top: make(map[string]float64, top)}
			alts = v.alternatives(alts[:0], prev, token, t.Logprob, top)
			for _, alt := range alts {
				t.Top[alt.token] = alt.logprob
			}
			out = append(out, t)
		}
		prev = token
	}
	return out
}

// likelihoods answers a request for the likelihood of given texts, as a client of /v1/completions
// with echo would get it.
func (a *Answer) likelihoods(req *record.Request, top int) (r record.Response, f *record.Failure) {
	prompt := req.Prompt
	if prompt == "" {
		prompt = record.PromptText(req.Messages)
	}
	if req.ScorePrompt {
		r.PromptLogprobs = a.variant.scored(prompt, 0, top)
		r.Usage.Prompt = countTokens(prompt)
	}
	for i, text := range req.Continuations {
		tokens := a.variant.scored(prompt+text, len(prompt), 1)
		if text == "" || len(tokens) == 0 {
			return r, &record.Failure{Kind: record.BadRequest, Message: fmt.Sprintf("continuation %d has no likelihood: it or the prompt is empty", i+1)}
		}
		l := record.Likelihood{Text: text, Tokens: len(tokens), Greedy: true}
		for _, t := range tokens {
			l.Logprob += t.Logprob
			for _, p := range t.Top {
				l.Greedy = l.Greedy && p <= t.Logprob
			}
		}
		r.Likelihoods = append(r.Likelihoods, l)
		r.Usage.Prompt += countTokens(prompt + text)
	}
	return r, nil
}

// logprobs returns every token of the answer with its log-probability and the top most likely ones.
func (a *Answer) logprobs(top int) []record.TokenLogprob {
	out := make([]record.TokenLogprob, 0, a.Tokens)
	prev := ""
	var alts []alternative
	for s := a.Text; len(s) > 0; {
		token := s[:nextToken(s)]
		s = s[len(token):]
		t := record.TokenLogprob{Token: token, Logprob: a.variant.logprob(prev, token, a.shift)}
		if top > 0 {
			alts = a.variant.alternatives(alts[:0], prev, token, t.Logprob, top)
			t.Top = make(map[string]float64, top)
			for _, alt := range alts {
				t.Top[alt.token] = alt.logprob
			}
		}
		out = append(out, t)
		prev = token
	}
	return out
}
