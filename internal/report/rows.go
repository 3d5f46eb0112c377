package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// What is kept of the samples in memory, for the formats that show a few: so many, so many bytes of
// text in all, and so many of each verdict before a worse one may push them out.
const (
	keepRows    = 200
	keepBytes   = 4 << 20
	keepReserve = 20
)

// What is shown of one sample.
const (
	keepName   = 300 // bytes of a name
	keepScores = 30  // scores, the parts of composite ones included
	keepTurns  = 20  // earlier turns of a conversation, and tool calls
)

// textLimits is how much is shown of each of a sample's texts, in bytes.
type textLimits struct{ text, vars, reason, detail int }

// keptTexts are the limits of the rows kept in memory.
var keptTexts = textLimits{text: 4000, vars: 2000, reason: 1000, detail: 2000}

// row is a sample as reports show it: clipped, and free of references to the sample.
type row struct {
	index    int // place in plan order, from 1
	id       string
	repeat   int
	combo    combo
	tags     []string
	group    string
	about    string // the case's description
	critical bool
	held     bool // in quarantine
	verdict  verdict.Verdict
	score    *float64
	why      []string

	input, vars, output, refusal, finish, model, fault string
	turns, calls, raw                                  string
	expected                                           []expected

	latency, ttft, cost *float64
	judging             float64 // what the scorers paid for
	usage               *record.Usage
	cached              bool
	retries             int
	scores              []rowScore
	moreScores          int
}

// rowScore is a score as reports show it. Its verdict is Undecided when it was measured, not judged.
type rowScore struct {
	name, kind   string
	verdict      verdict.Verdict
	value        *float64
	reason       string
	detail       string
	instructions []instruction
	ignored      bool // weight 0: it cannot fail the sample
	depth        int  // of a part of a composite score
}

// label is the name a reader knows the score by.
func (s *rowScore) label() string {
	if s.name != "" {
		return s.name
	}
	return s.kind
}

// instruction is one entry of an ifeval score's detail.
type instruction struct {
	ID     string `json:"id"`
	Strict bool   `json:"strict"`
	Loose  bool   `json:"loose"`
}

// order is the order of interest: what a reader of a report looks for first.
var order = [...]verdict.Verdict{verdict.Fail, verdict.Error, verdict.Undecided, verdict.Pass}

// keep holds the rows chosen so far, by verdict, each in plan order.
type keep struct {
	rows  [len(order)][]*row
	n     int
	bytes int
	full  bool // a row had no room since the last one was dropped
}

// rank is the place of v in order.
func rank(v verdict.Verdict) int {
	for i, o := range order {
		if v == o {
			return i
		}
	}
	return rank(verdict.Undecided)
}

// takes says whether a row of rank v has a chance.
func (k *keep) takes(v int) bool { return k.n < keepRows && !k.full || k.victim(v) >= 0 }

// offer keeps s, the index-th sample, if there is room or if something less interesting can go.
func (k *keep) offer(s *record.Sample, index int, held bool) {
	v := rank(s.Verdict)
	if !k.takes(v) {
		return
	}
	r := newRow(s, index, keptTexts)
	r.held = held
	size := r.size()
	for k.n >= keepRows || k.bytes+size > keepBytes {
		out := k.victim(v)
		if out < 0 {
			k.full = true
			return
		}
		k.drop(out)
	}
	k.rows[v] = append(k.rows[v], r)
	k.n++
	k.bytes += size
}

// victim returns the rank from which a row may go in favour of one of rank v, or -1.
func (k *keep) victim(v int) int {
	for w := len(order) - 1; w >= 0; w-- {
		if w != v && len(k.rows[w]) > keepReserve && (w > v || len(k.rows[v]) < keepReserve) {
			return w
		}
	}
	return -1
}

// drop forgets the latest row of rank w.
func (k *keep) drop(w int) {
	last := len(k.rows[w]) - 1
	k.bytes -= k.rows[w][last].size()
	k.n--
	k.full = false
	k.rows[w][last] = nil
	k.rows[w] = k.rows[w][:last]
}

// of returns the kept rows of one verdict.
func (k *keep) of(v verdict.Verdict) []*row { return k.rows[rank(v)] }

// titled is the case's id with its description.
func titled(s *record.Sample) string {
	if s.Description == "" {
		return s.Case
	}
	return s.Case + " " + s.Description
}

func newRow(s *record.Sample, index int, lim textLimits) *row {
	r := &row{
		index: index, id: short(titled(s)), repeat: s.Repeat,
		combo: combo{short(s.Provider), short(s.Prompt)}, group: short(s.Group), about: clip(s.Description, lim.reason),
		critical: s.Critical, verdict: s.Verdict, score: number64(s.Score),
		output: clip(s.Output, lim.text), refusal: clip(s.Refusal, lim.reason), finish: short(s.FinishReason),
		model: short(s.Model), fault: clip(s.Error, lim.reason),
		latency: number64(s.Latency), ttft: number64(s.TTFT), cost: number64(s.Cost),
		cached: s.Cached, retries: s.Retries,
	}
	for _, t := range s.Tags[:min(len(s.Tags), 20)] {
		r.tags = append(r.tags, short(t))
	}
	for _, w := range reasons(s) {
		r.why = append(r.why, clip(w, lim.reason))
	}
	if len(s.Input) > 0 {
		r.input = clip(record.PromptText(s.Input), lim.text)
	}
	if len(s.Vars) > 0 {
		r.vars = clip(pretty(s.Vars), lim.vars)
	}
	r.turns, r.calls = clip(turnsText(s.Turns), lim.text), clip(callsText(s.ToolCalls), lim.vars)
	r.raw, r.expected = clip(s.Raw, lim.text), expectations(s, lim.text/2)
	if s.Usage != nil {
		u := *s.Usage
		r.usage = &u
	}
	for i := range s.Scores {
		if c := s.Scores[i].Cost; finite(c) {
			r.judging += *c
		}
		r.addScore(&s.Scores[i], 0, lim)
	}
	return r
}

// addScore appends a score and its parts as far as there is room for them.
func (r *row) addScore(s *record.Score, depth int, lim textLimits) {
	if len(r.scores) >= keepScores || depth > 5 {
		r.moreScores++
		return
	}
	sc := newRowScore(s, lim)
	sc.depth = depth
	r.scores = append(r.scores, sc)
	for i := range s.Scores {
		r.addScore(&s.Scores[i], depth+1, lim)
	}
}

// turnsText shows the earlier turns of a conversation.
func turnsText(turns []record.Turn) string {
	var b strings.Builder
	for i, t := range turns {
		if i == keepTurns {
			fmt.Fprintf(&b, "… %d more turns are in %s\n", len(turns)-i, samplesFile)
			break
		}
		fmt.Fprintf(&b, "user: %s\nassistant: %s\n", t.User, t.Output)
		if calls := callsText(t.ToolCalls); calls != "" {
			fmt.Fprintf(&b, "%s\n", calls)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// callsText shows tool calls, one a line.
func callsText(calls []record.ToolCall) string {
	var b strings.Builder
	for i, c := range calls {
		if i == keepTurns {
			fmt.Fprintf(&b, "… %d more calls are in %s\n", len(calls)-i, samplesFile)
			break
		}
		fmt.Fprintf(&b, "%s(%s)\n", c.Name, c.Arguments)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func newRowScore(s *record.Score, lim textLimits) rowScore {
	r := rowScore{name: short(s.Name), kind: short(s.Type), value: number64(s.Value), ignored: s.Weight != nil && *s.Weight == 0}
	switch {
	case s.Error != "":
		r.verdict, r.reason = verdict.Error, clip(inTurn(s, s.Error), lim.reason)
		return r
	case s.Pass != nil && *s.Pass:
		r.verdict = verdict.Pass
	case s.Pass != nil:
		r.verdict = verdict.Fail
	}
	r.reason = clip(inTurn(s, s.Reason), lim.reason)
	if s.Detail != nil {
		if s.Type == "ifeval" {
			r.instructions = instructions(s.Detail)
		}
		if r.instructions == nil {
			r.detail = clip(pretty(s.Detail), lim.detail)
		}
	}
	return r
}

// instructions reads the detail of an ifeval score, which is a struct on its way from the scorer
// and a map once it was read from a file. Nil means that it is something else.
func instructions(detail any) []instruction {
	b, err := json.Marshal(detail)
	if err != nil {
		return nil
	}
	var d struct {
		Instructions []instruction `json:"instructions"`
	}
	if json.Unmarshal(b, &d) != nil {
		return nil
	}
	for i := range d.Instructions {
		d.Instructions[i].ID = short(d.Instructions[i].ID)
	}
	return d.Instructions[:min(len(d.Instructions), 50)]
}

// size is the number of bytes of text in r.
func (r *row) size() int {
	n := 400 + len(r.id) + len(r.combo.provider) + len(r.combo.prompt) + len(r.input) + len(r.vars) + len(r.output) + len(r.refusal) +
		len(r.finish) + len(r.model) + len(r.fault) + len(r.group) + len(r.about) + len(r.turns) + len(r.calls) + len(r.raw)
	for _, e := range r.expected {
		n += 20 + len(e.name) + len(e.text)
	}
	for _, t := range r.tags {
		n += len(t)
	}
	for _, w := range r.why {
		n += len(w)
	}
	for i := range r.scores {
		s := &r.scores[i]
		n += 200 + len(s.name) + len(s.kind) + len(s.reason) + len(s.detail)
		for _, in := range s.instructions {
			n += 20 + len(in.ID)
		}
	}
	return n
}

// short clips a name.
func short(s string) string {
	s, left := cut(s, keepName)
	if left > 0 {
		s += "…"
	}
	return s
}

// number64 copies a number, without those that cannot be shown.
func number64(x *float64) *float64 {
	if x == nil || math.IsNaN(*x) || math.IsInf(*x, 0) {
		return nil
	}
	v := *x
	return &v
}

// pretty is v as indented JSON, or the reason why it is not.
func pretty(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// reasons says why s is not a pass, most telling first.
func reasons(s *record.Sample) []string {
	var out, errs []string
	for i := range s.Scores {
		sc := &s.Scores[i]
		switch {
		case sc.Error != "":
			errs = append(errs, label(sc)+": could not judge: "+inTurn(sc, sc.Error))
		case sc.Pass != nil && !*sc.Pass && (sc.Weight == nil || *sc.Weight != 0):
			reason := sc.Reason
			if reason == "" {
				reason = "did not pass"
			}
			out = append(out, label(sc)+": "+inTurn(sc, reason))
		}
	}
	switch s.Verdict {
	case verdict.Pass:
		return nil
	case verdict.Fail:
		if len(out) == 0 && finite(s.Score) {
			out = append(out, "the weighted score "+number(*s.Score)+" is below what the case asks")
		}
		out = append(out, errs...)
	case verdict.Error:
		if s.Error != "" {
			return []string{s.Error}
		}
		out = errs
	default:
		switch {
		case s.Error != "":
			out = []string{s.Error}
		case len(errs)+len(out) > 0:
			out = append(errs, out...)
		default:
			out = []string{"no assertion judged this answer"}
		}
	}
	if len(out) == 0 {
		out = []string{"no reason was recorded"}
	}
	return out[:min(len(out), keepScores)]
}

// inTurn says before a reason which earlier turn of a conversation it is about.
func inTurn(s *record.Score, reason string) string {
	switch {
	case s.Turn == 0:
		return reason
	case reason == "":
		return fmt.Sprintf("turn %d", s.Turn)
	}
	return fmt.Sprintf("turn %d: %s", s.Turn, reason)
}

func label(s *record.Score) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Type
}
