package scorer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/logprob"
	"github.com/telltale-llm/telltale/internal/scorer/textmetric"
)

// OverlapCaution goes with every kind that measures how much wording an answer shares with its
// references.
const OverlapCaution = "shared wording is weak evidence about open-ended text, where a right answer may use other words: " +
	"gate on it only where the references leave little choice of words"

// referenceKinds compare the output with reference texts, to the conventions of published figures.
// The value is one reference or a list of them. Graded kinds give 0 to 1, also those whose corpus
// figures go to 100; without a threshold they measure and do not judge.
func referenceKinds() []Kind {
	kinds := []Kind{
		{Name: "exact-match", Summary: "the output is one of the references after SQuAD normalization (case, punctuation, articles, spaces)",
			Build: buildExactMatch},
		{Name: "numeric-answer", Summary: "the final number of the output equals that of the reference, as in GSM8K, strict or flexible",
			Build: buildNumericAnswer},
	}
	for _, k := range []Kind{
		{Name: "f1", Aliases: []string{"token-f1"}, Summary: "SQuAD F1: overlap of the normalized words with the best reference",
			Build: buildTokenF1},
		{Name: "bleu", Summary: "sentence BLEU as sacreBLEU computes it, over 100; .corpus is the corpus BLEU, 0 to 100",
			Default: new(0.5), Caution: OverlapCaution, Build: buildBLEU},
		{Name: "chrf", Summary: "sentence chrF as sacreBLEU computes it, over 100; .corpus is the corpus chrF, 0 to 100",
			Caution: OverlapCaution, Build: chrfBuilder(0)},
		{Name: "chrf++", Summary: "chrF with words: word order 2",
			Caution: OverlapCaution, Build: chrfBuilder(2)},
		{Name: "gleu", Summary: "Google's sentence GLEU as NLTK computes it; .corpus is the corpus GLEU, 0 to 1",
			Default: new(0.5), Caution: OverlapCaution, Build: buildGLEU},
		{Name: "rouge-n", Summary: "F of ROUGE-1, or ROUGE-n by config n, with the threshold of promptfoo's rouge-n",
			Default: new(0.75), Caution: OverlapCaution, Build: rougeBuilder(textmetric.RougeN, 0)},
		{Name: "rouge-1", Summary: "F of ROUGE-1 as Google's rouge-score computes it",
			Caution: OverlapCaution, Build: rougeBuilder(textmetric.RougeN, 1)},
		{Name: "rouge-2", Summary: "F of ROUGE-2 as Google's rouge-score computes it",
			Caution: OverlapCaution, Build: rougeBuilder(textmetric.RougeN, 2)},
		{Name: "rouge-l", Summary: "F of ROUGE-L as Google's rouge-score computes it",
			Caution: OverlapCaution, Build: rougeBuilder(textmetric.RougeL, 0)},
		{Name: "rouge-lsum", Summary: "F of ROUGE-Lsum as Google's rouge-score computes it, sentences split at new lines",
			Caution: OverlapCaution, Build: rougeBuilder(textmetric.RougeLsum, 0)},
		{Name: "meteor", Summary: "METEOR as NLTK computes it, without the synonym stage",
			Default: new(0.5), Caution: OverlapCaution, Build: buildMETEOR},
	} {
		k.Threshold, k.Continuous = Optional, true
		kinds = append(kinds, k)
	}
	for i := range kinds {
		kinds[i].Version, kinds[i].Value, kinds[i].ValueIsReference = "1", Required, true
	}
	return kinds
}

// referenceScorer judges by the text of the output alone. recipe is its part of the signature.
type referenceScorer struct {
	recipe string
	judge  func(output string) (Result, error)
}

func (r referenceScorer) Score(_ context.Context, in *Input) (Result, error) {
	return r.judge(in.Response.Output)
}

func (r referenceScorer) convention() string { return r.recipe }

// references reads the value: a text or a list of texts.
func references(s Spec) ([]string, error) {
	if s.Value == nil {
		return nil, &config.Error{Pos: s.Pos, Problem: "there is no value to compare with", Want: "a reference text, or a list of them"}
	}
	list, isList := s.Value.([]any)
	if !isList {
		list = []any{s.Value}
	}
	if len(list) == 0 {
		return nil, &config.Error{Pos: s.ValuePos, Problem: "the list of references is empty", Want: "at least one reference text"}
	}
	out := make([]string, len(list))
	for i, v := range list {
		t, ok := text(v)
		if !ok {
			p := s.ValuePos
			if isList {
				p = p.At(fmt.Sprintf("[%d]", i))
			}
			return nil, &config.Error{Pos: p, Value: fmt.Sprint(v), Problem: "not a text", Want: "a reference text, or a list of them"}
		}
		out[i] = t
	}
	return out, nil
}

// wordedReferences reads references of which at least one is not blank: the overlap with blank ones
// is 0 whatever the answer.
func wordedReferences(s Spec) ([]string, error) {
	refs, err := references(s)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(refs, func(r string) bool { return strings.TrimSpace(r) != "" }) {
		return nil, &config.Error{Pos: s.ValuePos, Value: refs[0], Problem: "the reference is blank: every answer would score 0", Want: "a reference text"}
	}
	return refs, nil
}

// gradedReferences is what graded kinds have in common: the config was read with r, the value holds
// references, and the threshold lies within the scores.
func gradedReferences(s Spec, r *config.Reader) ([]string, error) {
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	if t := s.Threshold; t != nil && !(*t > 0 && *t <= 1) {
		e := &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(*t), Problem: "scores go from 0 to 1", Want: "a threshold above 0, at most 1"}
		if *t == 0 {
			e.Problem = "every answer reaches 0"
			e.Hint = "leave the threshold out to measure without judging"
		}
		errs = append(errs, e)
	}
	refs, err := wordedReferences(s)
	errs.Append(s.ValuePos, err)
	return refs, errs.Err()
}

// graded is the result of a score from 0 to 1. value is clipped, for the last digit of a perfect
// score may lie above 1.
func graded(s Spec, name string, value float64) Result {
	value = min(value, 1)
	r := Result{Value: value}
	shown := strconv.FormatFloat(value, 'f', 4, 64)
	if s.Threshold == nil {
		r.Reason = name + " is " + shown
		return r
	}
	pass := value >= *s.Threshold
	r.Pass = &pass
	compared := " is at least "
	if !pass {
		compared = " is below "
		// What is just below must not look equal.
		if f, err := strconv.ParseFloat(shown, 64); err != nil || f >= *s.Threshold {
			shown = shortest(value)
		}
	}
	r.Reason = name + " " + shown + compared + shortest(*s.Threshold)
	return r
}

// shortest writes f with as many digits as it takes to read it back.
func shortest(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// withCorpus adds the statistics of a corpus metric to a result.
func withCorpus(r Result, finisher string, stats []float64) Result {
	r.Measures = []record.Measure{
		{Metric: ".", Value: r.Value, Kind: "mean"},
		{Metric: ".corpus", Kind: "corpus/" + finisher, Stats: stats},
	}
	return r
}

func buildExactMatch(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	how := r.String("normalize", "squad")
	if how != "squad" && how != "none" {
		r.Fail("normalize", "no such normalization", "squad or none")
	}
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	refs, err := references(s)
	errs.Append(s.ValuePos, err)
	if len(errs) > 0 {
		return nil, errs.Err()
	}
	match := func(out string) bool { return slices.Contains(refs, out) }
	recipe := "normalize:none"
	if how == "squad" {
		match, recipe = textmetric.NewGolds(refs).ExactMatch, "normalize:squad-1.1"
	}
	return referenceScorer{recipe, func(out string) (Result, error) {
		if match(out) {
			return judged(true, "the output is the reference %s", enumerate(refs)), nil
		}
		return judged(false, "the output %s is not %s", quote(out), oneOf(refs)), nil
	}}, nil
}

func oneOf(refs []string) string {
	if len(refs) == 1 {
		return "the reference " + quote(refs[0])
	}
	return "one of the references " + enumerate(refs)
}

func buildNumericAnswer(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	mode := r.String("mode", "flexible")
	marker := textmetric.GSM8KMarker
	switch mode {
	case "flexible":
	case "strict":
		marker = r.String("marker", marker)
		if strings.TrimSpace(marker) == "" {
			r.Fail("marker", "the marker is blank", "what stands before the final number, such as ####")
		}
	default:
		r.Fail("mode", "no such mode", "strict or flexible")
	}
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	want, err := expectedNumber(s)
	errs.Append(s.ValuePos, err)
	if len(errs) > 0 {
		return nil, errs.Err()
	}
	find := textmetric.FlexibleNumber
	recipe, missing := "gsm8k:flexible", "the last thing in the output that looks like a number is none"
	if mode == "strict" {
		find = func(out string) (textmetric.Number, bool) { return textmetric.StrictNumber(out, marker) }
		recipe = "gsm8k:strict|marker:" + marker
		missing = fmt.Sprintf("the output has no number after %q", marker+" ")
	}
	return referenceScorer{recipe, func(out string) (Result, error) {
		got, ok := find(out)
		var res Result
		switch {
		case !ok:
			res = judged(false, "%s; %s was expected", missing, want)
		case got != want:
			res = judged(false, "the answer is %s, not %s", config.Clip(string(got), 40), want)
		default:
			res = judged(true, "the answer is %s", want)
		}
		res.Detail = map[string]string{"got": config.Clip(string(got), 200), "want": string(want)}
		return res, nil
	}}, nil
}

// expectedNumber reads the value of numeric-answer: a number, or a text that holds one.
func expectedNumber(s Spec) (textmetric.Number, error) {
	wrong := func(value, problem string) error {
		return &config.Error{Pos: s.ValuePos, Value: value, Problem: problem,
			Want: `a number, or a text that holds one: after "####", after "A:" at the start of a line, or as its only number`}
	}
	var t string
	switch v := s.Value.(type) {
	case nil:
		return "", wrong("", "there is no value to compare with")
	case string:
		t = v
	default:
		f, ok := config.Number(v)
		if !ok {
			return "", wrong(fmt.Sprint(v), "not a number")
		}
		t = strconv.FormatFloat(f, 'f', -1, 64)
		// Whole numbers are taken digit by digit, beyond what a float64 holds.
		switch n := v.(type) {
		case int, int64, uint64:
			t = fmt.Sprint(n)
		}
	}
	n, ok := textmetric.ReferenceNumber(t)
	if !ok {
		return "", wrong(t, "it does not say which number is expected")
	}
	return n, nil
}

func buildTokenF1(s Spec) (Scorer, error) {
	refs, err := gradedReferences(s, s.Config.Reader())
	if err != nil {
		return nil, err
	}
	golds := textmetric.NewGolds(refs)
	return referenceScorer{"squad-1.1", func(out string) (Result, error) {
		f := golds.F1(out)
		res := graded(s, "F1", f.F)
		res.Detail = f
		return res, nil
	}}, nil
}

func buildBLEU(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	b := textmetric.BLEU{Tokenizer: readTokenizer(r), Lowercase: r.Bool("lowercase", false), MaxOrder: readOrder(r, "max_order", 4, 1, 9)}
	name := r.String("smoothing", "exp")
	var ok bool
	if b.Smoothing, ok = textmetric.ParseSmoothing(name); !ok {
		r.Fail("smoothing", "no such smoothing", "exp, floor, add-k or none")
	}
	if v := r.Float("smooth_value"); v != nil {
		b.SmoothValue = *v
		if !(*v > 0) {
			r.Fail("smooth_value", "not above 0", "a number above 0")
		} else if ok && b.Smoothing != textmetric.SmoothFloor && b.Smoothing != textmetric.SmoothAddK {
			r.Fail("smooth_value", "smoothing "+name+" has no value", "no smooth_value, or smoothing floor or add-k")
		}
	}
	refs, err := gradedReferences(s, r)
	if err != nil {
		return nil, err
	}
	prepared, finisher := b.References(refs), bleuFinisher(b)
	recipe := "sentence:" + b.Signature(textmetric.Sentence, 0) + "|corpus:" + b.Signature(textmetric.Corpus, 0)
	return referenceScorer{recipe, func(out string) (Result, error) {
		stats := prepared.Stats(out)
		return withCorpus(graded(s, "sentence BLEU", b.Score(textmetric.Sentence, stats)/100), finisher, stats), nil
	}}, nil
}

func readTokenizer(r *config.Reader) textmetric.Tokenizer {
	tok, ok := textmetric.ParseTokenizer(r.String("tokenizer", "13a"))
	if !ok {
		r.Fail("tokenizer", "no such tokenizer", "13a, intl, char or none")
	}
	return tok
}

func readOrder(r *config.Reader, key string, def, low, high int) int {
	n := r.Int(key, def)
	if n < low || n > high {
		r.Fail(key, "out of range", fmt.Sprintf("a whole number from %d to %d", low, high))
		return def
	}
	return n
}

// chrfBuilder builds chrF; with words above 0 that is the word order, and config cannot change it.
func chrfBuilder(words int) func(Spec) (Scorer, error) {
	return func(s Spec) (Scorer, error) {
		r := s.Config.Reader()
		c := textmetric.CHRF{
			CharOrder: readOrder(r, "char_order", 6, 1, 20), WordOrder: words, Beta: readOrder(r, "beta", 2, 1, 10),
			Lowercase: r.Bool("lowercase", false), Whitespace: r.Bool("whitespace", false),
		}
		if words == 0 {
			c.WordOrder = readOrder(r, "word_order", 0, 0, 9)
		}
		refs, err := gradedReferences(s, r)
		if err != nil {
			return nil, err
		}
		prepared, finisher := c.References(refs), chrfFinisher(c)
		return referenceScorer{c.Name() + "|" + c.Signature(0), func(out string) (Result, error) {
			stats := prepared.Stats(out)
			return withCorpus(graded(s, c.Name(), c.Score(stats)/100), finisher, stats), nil
		}}, nil
	}
}

func buildGLEU(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	g := textmetric.GLEU{Tokenizer: readTokenizer(r), Lowercase: r.Bool("lowercase", false), MaxOrder: readOrder(r, "max_order", 4, 1, 9)}
	refs, err := gradedReferences(s, r)
	if err != nil {
		return nil, err
	}
	prepared, finisher := g.References(refs), gleuFinisher(g)
	recipe := "nltk-3.10.4|" + finisher
	return referenceScorer{recipe, func(out string) (Result, error) {
		stats := prepared.Stats(out)
		return withCorpus(graded(s, "GLEU", g.Score(stats)), finisher, stats), nil
	}}, nil
}

// rougeBuilder builds ROUGE; with RougeN and n 0, config n chooses the order.
func rougeBuilder(variant textmetric.RougeVariant, n int) func(Spec) (Scorer, error) {
	return func(s Spec) (Scorer, error) {
		r := s.Config.Reader()
		m := textmetric.ROUGE{Variant: variant, N: n, Stem: r.Bool("stemmer", false)}
		if variant == textmetric.RougeN && n == 0 {
			m.N = readOrder(r, "n", 1, 1, 9)
		}
		refs, err := gradedReferences(s, r)
		if err != nil {
			return nil, err
		}
		prepared := m.References(refs)
		if !prepared.HasTokens() {
			return nil, &config.Error{Pos: s.ValuePos, Value: refs[0], Problem: "ROUGE sees only the letters a-z and digits, and the reference has none",
				Want: "a reference in Latin script", Hint: "chrf, or bleu with tokenizer: char, work in every script"}
		}
		return referenceScorer{m.Signature(), func(out string) (Result, error) {
			p, err := prepared.Score(out)
			if err != nil {
				return Result{}, err
			}
			res := graded(s, m.Name(), p.F)
			res.Detail = p
			return res, nil
		}}, nil
	}
}

func buildMETEOR(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	m := textmetric.METEOR{Tokenizer: readTokenizer(r)}
	refs, err := gradedReferences(s, r)
	if err != nil {
		return nil, err
	}
	prepared := m.References(refs)
	return referenceScorer{m.Signature(), func(out string) (Result, error) {
		return graded(s, "METEOR (no synonyms)", prepared.Score(out)), nil
	}}, nil
}

// The names of the finishers hold everything that decides the number or what may be summed, so
// that statistics of different recipes never meet under one name.

func bleuFinisher(b textmetric.BLEU) string {
	return fmt.Sprintf("bleu:tok=%s,lc=%t,order=%d,smooth=%s,value=%s", b.Tokenizer, b.Lowercase, b.MaxOrder, b.Smoothing, shortest(b.SmoothValue))
}

func chrfFinisher(c textmetric.CHRF) string {
	return fmt.Sprintf("chrf:nc=%d,nw=%d,beta=%d,lc=%t,space=%t", c.CharOrder, c.WordOrder, c.Beta, c.Lowercase, c.Whitespace)
}

const terFinisher = "ter:tercom"

func gleuFinisher(g textmetric.GLEU) string {
	return fmt.Sprintf("gleu:tok=%s,lc=%t,order=%d", g.Tokenizer, g.Lowercase, g.MaxOrder)
}

// CorpusFinisher returns the function that makes the number of a corpus metric from its summed
// statistics: 0 to 100 for BLEU and chrF, 0 to 1 for GLEU, at least 1 for perplexity (in bits per byte
// at least 0), from 0 up for errors of calibration, NaN for statistics of another length. kind is the Kind of a record.Measure, with or
// without its leading "corpus/".
func CorpusFinisher(kind string) (func(stats []float64) float64, bool) {
	name, params, _ := strings.Cut(strings.TrimPrefix(kind, "corpus/"), ":")
	if name == CalibrationType {
		return calibrationFinisher(params)
	}
	p := map[string]string{}
	for part := range strings.SplitSeq(params, ",") {
		key, value, _ := strings.Cut(part, "=")
		p[key] = value
	}
	whole := func(key string) int {
		n, err := strconv.Atoi(p[key])
		if err != nil || n < 0 || n > 99 {
			return 0
		}
		return n
	}
	var written string // by the parameters that were read: it must be what was asked for
	var finish func(stats []float64) float64
	switch name {
	case "bleu":
		b := textmetric.BLEU{Lowercase: p["lc"] == "true", MaxOrder: whole("order")}
		b.Tokenizer, _ = textmetric.ParseTokenizer(p["tok"])
		b.Smoothing, _ = textmetric.ParseSmoothing(p["smooth"])
		if v, err := strconv.ParseFloat(p["value"], 64); err == nil && v >= 0 && !math.IsInf(v, 0) {
			b.SmoothValue = v
		}
		written = bleuFinisher(b)
		finish = func(stats []float64) float64 { return b.Score(textmetric.Corpus, stats) }
	case "chrf":
		c := textmetric.CHRF{CharOrder: whole("nc"), WordOrder: whole("nw"), Beta: whole("beta"), Lowercase: p["lc"] == "true", Whitespace: p["space"] == "true"}
		written, finish = chrfFinisher(c), c.Score
	case "gleu":
		g := textmetric.GLEU{Lowercase: p["lc"] == "true", MaxOrder: whole("order")}
		g.Tokenizer, _ = textmetric.ParseTokenizer(p["tok"])
		written, finish = gleuFinisher(g), g.Score
	case "ter":
		written, finish = terFinisher, textmetric.TER{}.Score
	case "perplexity":
		if unit, ok := logprob.ParseUnit(params); ok {
			written, finish = perplexityFinisher(unit), unit.Value
		}
	case "f1":
		written, finish = binaryFinisher("f1"), binaryF1
	case "mcc":
		written, finish = binaryFinisher("mcc"), binaryMCC
	}
	if finish == nil || written != name+":"+params {
		return nil, false
	}
	return finish, true
}
