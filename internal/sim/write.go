package sim

import (
	"strings"
)

// writer composes the text of one answer: what is said, then how it has regressed.
type writer struct {
	m     *Model
	v     *variant
	q     *Query
	key   uint64
	first bool // temperature 0: the first of several

	intent  string
	number  string // of a sum
	refused bool
	shift   float64
}

func (w *writer) write() string {
	last := w.last()
	text, isJSON := w.compose(last)
	if i, ok := w.hit(Refusals, 0); ok {
		w.refused = true
		return refusals[pick(w.key, forWording, i, len(refusals))]
	}
	if !isJSON {
		text = w.regress(text)
		text, isJSON = w.form(text, last)
	}
	if i, ok := w.hit(BrokenJSON, 0); ok && isJSON {
		text = breakJSON(text, pick(w.key, forWording, i, 3))
	}
	return text
}

// last returns the text of the last message of the user, or of the last message at all.
func (w *writer) last() string {
	ms := w.q.Messages
	for i := len(ms) - 1; i >= 0; i-- {
		if ms[i].Role == "user" {
			return ms[i].Text()
		}
	}
	if len(ms) == 0 {
		return ""
	}
	return ms[len(ms)-1].Text()
}

// compose returns what is said, and whether that is JSON already.
func (w *writer) compose(last string) (string, bool) {
	if len(w.v.rules) > 0 {
		text, lower := strings.TrimSpace(last), ""
		if w.v.lower {
			lower = strings.ToLower(text)
		}
		for i := range w.v.rules {
			if r := &w.v.rules[i]; r.matches(text, lower) {
				w.intent = "rule"
				said := r.Answers[w.choose(len(r.Answers))]
				return said, looksJSON(said)
			}
		}
	}
	switch w.v.Mode {
	case Echo:
		w.intent = "echo"
		return last, looksJSON(last)
	case Rules:
		w.intent = "default"
		return w.v.Default, looksJSON(w.v.Default)
	case Generated:
		w.intent = "generated"
		n := int(w.v.Length.at(draw(w.key, forLength, 0)))
		return w.m.words.generate(w.key, max(n, 1)), false
	}
	return w.assist(last), false
}

// choose returns which of n alternatives is said.
func (w *writer) choose(n int) int {
	if w.first || n == 1 {
		return 0
	}
	return pick(w.key, forVariant, 0, n)
}

// hit returns the index of the first active step of kind r, from step from, that takes this answer.
func (w *writer) hit(r Regression, from int) (int, bool) {
	for i := from; i < len(w.v.Script); i++ {
		s := &w.v.Script[i]
		if s.Regression == r && s.active(w.q.Elapsed, w.q.Number) && draw(w.key, forStep, i) < s.Rate {
			return i, true
		}
	}
	return 0, false
}

// regress applies to plain text what the script says: first longer, then other words, then insults.
func (w *writer) regress(text string) string {
	if len(w.v.Script) == 0 {
		return text
	}
	if i, ok := w.hit(Longer, 0); ok {
		n := float64(countTokens(text)) * (w.v.Script[i].Factor - 1)
		var b strings.Builder
		b.WriteString(text)
		for k := 0; n > 0; k++ {
			s := padding[(pick(w.key, forWording, i, len(padding))+k)%len(padding)]
			b.WriteByte(' ')
			b.WriteString(s)
			n -= float64(countTokens(s) + 1)
		}
		text = b.String()
	}
	for i := range w.v.Script {
		s := &w.v.Script[i]
		if s.Regression == TokenShift && s.active(w.q.Elapsed, w.q.Number) {
			w.shift = max(w.shift, s.Rate)
			text = shiftWords(text, mix(w.key, uint64(i)), s.Rate)
		}
	}
	if i, ok := w.hit(Toxic, 0); ok {
		s := insults[pick(w.key, forWording, i, len(insults))]
		if draw(w.key, forWording, i+1) < 0.5 {
			return s + " " + text
		}
		return text + " " + s
	}
	return text
}

// shiftWords exchanges each word with probability rate for a synonym, or puts a filler before it
// when none is known. Numbers and white space stay as they are.
func shiftWords(text string, key uint64, rate float64) string {
	var b strings.Builder
	for i, n := 0, 0; i < len(text); {
		j := i
		for j < len(text) && isLetter(text[j]) {
			j++
		}
		if j == i {
			b.WriteByte(text[i])
			i++
			continue
		}
		word := text[i:j]
		i = j
		n++
		if draw(key, forWord, n) >= rate {
			b.WriteString(word)
			continue
		}
		if s, ok := synonyms[strings.ToLower(word)]; ok {
			if word[0] < 'a' {
				s = strings.ToUpper(s[:1]) + s[1:]
			}
			b.WriteString(s)
			continue
		}
		b.WriteString(fillers[pick(key, forWording, n, len(fillers))])
		b.WriteByte(' ')
		b.WriteString(word)
	}
	return b.String()
}

// refusals, insults, padding, synonyms and fillers are the vocabulary of the regressions. The
// insults are placeholders that a lexicon finds, and no worse than that.
var (
	refusals = [...]string{
		"I'm sorry, but I can't help with that.",
		"I cannot assist with that request.",
		"I'm unable to answer this question.",
	}
	insults = [...]string{
		"You stupid idiot.",
		"What a dumb question, you moron.",
		"Shut up, you fool.",
	}
	padding = [...]string{
		"Let me add some background that may be useful to you.",
		"There are a number of things that are worth keeping in mind here.",
		"In general it helps to have the details of your account at hand.",
		"Many customers ask about this, and the answer is nearly always the same.",
		"If anything is still unclear after this, please do not hesitate to ask again.",
		"As I said above, the most important point is the first one.",
		"Please also take a moment to read the page that explains this in full.",
	}
	synonyms = map[string]string{
		"you": "one", "your": "one's", "can": "may", "is": "remains", "are": "remain", "help": "assist",
		"get": "obtain", "use": "utilise", "send": "dispatch", "within": "inside", "any": "whichever",
		"full": "complete", "item": "article", "order": "purchase", "please": "kindly", "open": "accessible",
		"the": "this", "a": "one", "and": "plus", "to": "towards", "of": "regarding", "in": "inside",
		"for": "concerning", "from": "since", "with": "alongside", "we": "our team", "it": "that",
	}
	fillers = [...]string{"basically", "essentially", "notably", "indeed", "frankly"}
)
