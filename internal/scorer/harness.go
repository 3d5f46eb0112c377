package scorer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/logprob"
	"github.com/telltale-llm/telltale/internal/scorer/textmetric"
)

// harnessKinds compute what lm-evaluation-harness computes from an answer or from likelihoods.
func harnessKinds() []Kind {
	return []Kind{{
		Name: "lm-eval", Version: "1", Continuous: false, Build: buildHarness,
		Summary: "a metric of lm-evaluation-harness behind a pipeline of its filters, as its task files ask for it (docs/lm-eval.md)",
	}, {
		Name: "fuzzy-match", Version: "1", Value: Required, ValueIsReference: true, Build: withoutConfig(buildFuzzy),
		Summary: "after SQuAD normalization the output contains a reference or a reference the output, as FuzzyMatch of OpenAI's evals",
	}}
}

// buildFuzzy compares as evals.elsuite.utils.fuzzy_match does: texts that become empty equal only one another.
func buildFuzzy(s Spec) (Scorer, error) {
	refs, err := references(s)
	if err != nil {
		return nil, err
	}
	normal := make([]string, len(refs))
	for i, r := range refs {
		normal[i] = textmetric.NormalizeAnswer(r)
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		out := textmetric.NormalizeAnswer(in.Response.Output)
		for i, r := range normal {
			if (out == "" || r == "") && out == r || out != "" && r != "" && (strings.Contains(out, r) || strings.Contains(r, out)) {
				return judged(true, "%s and the reference %s contain one another", quote(out), quote(refs[i])), nil
			}
		}
		return judged(false, "%s neither contains a reference nor is contained in one, such as %s", quote(out), quote(refs[0])), nil
	}), nil
}

// The metrics by what they are computed from.
var harnessMetrics = map[string][]string{
	"generate_until":        {"exact_match", "bleu", "chrf", "chrf++", "ter"},
	"multiple_choice":       {"acc", "acc_norm", "acc_bytes", "exact_match", "f1", "mcc", "brier_score"},
	"loglikelihood":         {"acc", "perplexity"},
	"loglikelihood_rolling": {"word_perplexity", "byte_perplexity", "bits_per_byte"},
}

// rollingUnits are what the likelihood of a whole text is divided by.
var rollingUnits = map[string]logprob.Unit{"word_perplexity": logprob.Word, "byte_perplexity": logprob.Byte, "bits_per_byte": logprob.BitsPerByte}

// harness is one metric of one task.
type harness struct {
	output, metric string
	// target, choices and gold name the variables that hold the reference answers, the choices, and
	// which of them is right.
	target, choices, gold string
	delimiter             string
	filters               []harnessStep
	// answers is how many answers of a document are judged together; 1 is the usual case.
	answers int
	// groups are metrics over several tasks that a document's value enters as well.
	groups []string
	exact  exactMatch
	recipe string
}

func buildHarness(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	h := &harness{
		output: r.String("output_type", "generate_until"), metric: r.String("metric", "exact_match"),
		target: r.String("target", "lmeval_target"), choices: r.String("choices", "choices"), gold: r.String("gold", "gold"), delimiter: r.String("delimiter", " "),
	}
	metrics, ok := harnessMetrics[h.output]
	switch {
	case !ok:
		r.Fail("output_type", "no such output type", "generate_until, multiple_choice, loglikelihood or loglikelihood_rolling")
	case !slices.Contains(metrics, h.metric):
		r.Fail("metric", "not a metric of "+h.output, strings.Join(metrics, ", "))
	}
	h.exact.read(r)
	h.groups = r.Strings("groups")
	if h.answers = r.Int("answers", 1); h.answers < 1 {
		r.Fail("answers", "too few", "a number from 1")
	}
	steps := r.Any("filters")
	if h.output != "generate_until" && steps != nil {
		r.Fail("filters", "likelihoods are not filtered", "filters only with generate_until")
	}
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	list, isList := steps.([]any)
	if steps != nil && !isList {
		errs = append(errs, &config.Error{Pos: s.Config.At("filters"), Problem: "not a list", Want: "a list of mappings with function"})
	}
	for i, step := range list {
		f, err := newHarnessStep(step, s.Config.At("filters").At(fmt.Sprintf("[%d]", i)))
		errs.Append(s.Pos, err)
		h.filters = append(h.filters, f)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	params := map[string]any{}
	for k, v := range s.Config.Map {
		if k != "target" && k != "choices" && k != "gold" && k != "groups" {
			params[k] = v
		}
	}
	h.recipe = "lm-eval|" + record.HashJSON(params)
	return h, nil
}

func (h *harness) convention() string { return h.recipe }

func (h *harness) shape() shape {
	switch h.metric {
	case "bleu", "chrf", "chrf++", "ter", "f1", "mcc", "brier_score":
		return shape{continuous: true}
	case "perplexity":
		return shape{continuous: true, unit: "ppl"}
	case "word_perplexity", "byte_perplexity", "bits_per_byte":
		return shape{continuous: true, unit: unitOf(rollingUnits[h.metric])}
	}
	return shape{judges: true, graded: true, continuous: h.answers > 1}
}

// readsAnswer says whether an answer is judged, rather than likelihoods.
func (h *harness) readsAnswer() bool { return h.output == "generate_until" }

// demand asks for the likelihood of the choices, or of the target.
func (h *harness) demand(vars map[string]any) (Demand, error) {
	texts, err := h.continuations(vars)
	return Demand{Continuations: texts}, err
}

func (h *harness) continuations(vars map[string]any) ([]string, error) {
	switch h.output {
	case "multiple_choice":
		choices, err := textList(vars, h.choices)
		out := make([]string, len(choices))
		for i, c := range choices {
			out[i] = h.delimiter + c
		}
		return out, err
	case "loglikelihood", "loglikelihood_rolling":
		t, ok := vars[h.target].(string)
		if !ok || t == "" {
			return nil, fmt.Errorf("variable %q holds no target: want a text", h.target)
		}
		return []string{t}, nil
	}
	return nil, nil
}

// textList reads a variable that holds a list of texts.
func textList(vars map[string]any, name string) ([]string, error) {
	list, ok := vars[name].([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("variable %q holds no list of texts", name)
	}
	out := make([]string, len(list))
	for i, e := range list {
		s, ok := e.(string)
		if !ok || s == "" {
			return nil, fmt.Errorf("item %d of variable %q is not a text", i, name)
		}
		out[i] = s
	}
	return out, nil
}

// Score computes the metric of one document.
func (h *harness) Score(_ context.Context, in *Input) (Result, error) {
	res, err := h.score(in)
	if err != nil || len(h.groups) == 0 {
		return res, err
	}
	if len(res.Measures) == 0 {
		res.Measures = []record.Measure{{Metric: ".", Kind: "rate", Value: res.Value}}
	}
	own := res.Measures[0]
	for _, g := range h.groups {
		own.Metric = g
		res.Measures = append(res.Measures, own)
	}
	return res, nil
}

func (h *harness) score(in *Input) (Result, error) {
	switch h.output {
	case "multiple_choice":
		return h.choose(in)
	case "loglikelihood", "loglikelihood_rolling":
		return h.likely(in)
	}
	answers := []string{in.Response.Output}
	if h.answers > 1 {
		if answers = in.Response.Answers; len(answers) < h.answers {
			return Result{}, fmt.Errorf("the provider gave %d answers of %d; a provider sequence with mode: repeat gives them", max(1, len(answers)), h.answers)
		}
	}
	for _, f := range h.filters {
		var err error
		if answers, err = f.apply(answers, in.Vars); err != nil {
			return Result{}, err
		}
	}
	targets, several, err := h.targets(in.Vars)
	switch {
	case err != nil:
		return Result{}, err
	case several && len(answers) > 1:
		return Result{}, errors.New("several answers against several targets are not defined in the harness")
	case len(answers) > 1:
		return h.share(answers, targets)
	}
	answer := answers[0]
	if h.metric != "exact_match" {
		if several {
			return Result{}, fmt.Errorf("%s with several targets is not defined in the harness", h.metric)
		}
		return h.overlap(answer, targets), nil
	}
	ok, err := h.exact.any(answer, targets)
	if err != nil {
		return Result{}, err
	}
	res := judged(ok, "the answer, filtered, is %s", quote(answer))
	switch {
	case !ok && len(targets) == 1:
		res.Reason += ", not " + quote(targets[0])
	case !ok:
		res.Reason += fmt.Sprintf(", none of the %d targets", len(targets))
	}
	res.Detail = map[string]any{"filtered": answer}
	return res, nil
}

// targets reads the reference answers of a case, and whether it is a list that holds them.
func (h *harness) targets(vars map[string]any) (targets []string, several bool, err error) {
	switch v := vars[h.target].(type) {
	case string:
		return []string{v}, false, nil
	case []any:
		if len(v) > 0 {
			targets, err = textListOf(v, h.target)
		}
		return targets, true, err
	}
	return nil, false, fmt.Errorf("variable %q holds no target: want a text or a list of texts", h.target)
}

// share is the share of the answers that equal the target, which is what the harness makes of a pipeline
// that leaves several. The document is right when all of them are.
func (h *harness) share(answers, targets []string) (Result, error) {
	hits := 0
	for _, a := range answers {
		ok, err := h.exact.any(a, targets)
		if err != nil {
			return Result{}, err
		}
		if ok {
			hits++
		}
	}
	res := measured(float64(hits)/float64(len(answers)), hits == len(answers), "%d of %d answers, filtered, are %s", hits, len(answers), quote(targets[0]))
	res.Measures = []record.Measure{{Metric: ".", Kind: "mean", Value: res.Value}}
	res.Detail = map[string]any{"filtered": answers}
	return res, nil
}

// textListOf reads a list whose texts may be empty.
func textListOf(list []any, name string) ([]string, error) {
	out := make([]string, len(list))
	for i, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, fmt.Errorf("item %d of variable %q is not a text", i, name)
		}
		out[i] = s
	}
	return out, nil
}

// overlap is BLEU, chrF, chrF++ or TER with sacreBLEU's defaults; the metric is the corpus score.
func (h *harness) overlap(answer string, targets []string) Result {
	switch h.metric {
	case "ter":
		stats := textmetric.TER{}.References(targets).Stats(answer)
		return Result{Value: textmetric.TER{}.Score(stats), Measures: []record.Measure{{Metric: ".", Kind: "corpus/" + terFinisher, Stats: stats}}}
	case "chrf", "chrf++":
		c := textmetric.CHRF{CharOrder: 6, Beta: 2}
		if h.metric == "chrf++" {
			c.WordOrder = 2
		}
		stats := c.References(targets).Stats(answer)
		return Result{Value: c.Score(stats), Measures: []record.Measure{{Metric: ".", Kind: "corpus/" + chrfFinisher(c), Stats: stats}}}
	}
	tokenizer, _ := textmetric.ParseTokenizer("13a")
	smoothing, _ := textmetric.ParseSmoothing("exp")
	b := textmetric.BLEU{Tokenizer: tokenizer, Smoothing: smoothing, MaxOrder: 4}
	stats := b.References(targets).Stats(answer)
	return Result{Value: b.Score(textmetric.Sentence, stats), Measures: []record.Measure{{Metric: ".", Kind: "corpus/" + bleuFinisher(b), Stats: stats}}}
}

// likelihoodsOf finds each text among the likelihoods of a response.
func likelihoodsOf(given []record.Likelihood, texts []string) ([]record.Likelihood, error) {
	if len(given) == 0 {
		return nil, errors.New("the provider gave no likelihoods; openai:completion:MODEL asks for them by echo, and recorded reads them with likelihoods: FIELD")
	}
	out := make([]record.Likelihood, len(texts))
	for i, t := range texts {
		at := slices.IndexFunc(given, func(l record.Likelihood) bool { return l.Text == t })
		if at < 0 {
			return nil, fmt.Errorf("no likelihood was given of %s", quote(t))
		}
		out[i] = given[at]
		if math.IsNaN(out[i].Logprob) || math.IsInf(out[i].Logprob, 0) {
			return nil, fmt.Errorf("the log-likelihood of %s is %v", quote(t), out[i].Logprob)
		}
	}
	return out, nil
}

// likely is the likelihood of the target after the prompt.
func (h *harness) likely(in *Input) (Result, error) {
	texts, err := h.continuations(in.Vars)
	if err != nil {
		return Result{}, err
	}
	given, err := likelihoodsOf(in.Response.Likelihoods, texts)
	if err != nil {
		return Result{}, err
	}
	l := given[0]
	if unit, rolling := rollingUnits[h.metric]; rolling {
		sums := unit.Stats(logprob.Text{LL: l.Logprob, Words: logprob.Words(texts[0]), Bytes: len(texts[0])})
		v := unit.Value(sums)
		if math.IsInf(v, 0) {
			return Result{}, fmt.Errorf("%s is no number: log-likelihood %g over %v units", h.metric, sums[0], sums[1])
		}
		return Result{
			Value: v, Detail: map[string]any{"log_likelihood": l.Logprob, "units": sums[1]},
			Measures: []record.Measure{{Metric: ".", Kind: "corpus/" + perplexityFinisher(unit), Stats: sums, Unit: unitOf(unit)}},
		}, nil
	}
	if h.metric == "perplexity" { // exp of the mean over documents of -log-likelihood
		return Result{
			Value: math.Exp(-l.Logprob), Detail: map[string]any{"log_likelihood": l.Logprob},
			Measures: []record.Measure{{Metric: ".", Kind: "corpus/" + perplexityFinisher(logprob.Token), Stats: []float64{l.Logprob, 1}, Unit: "ppl"}},
		}, nil
	}
	if l.Greedy {
		return judged(true, "%s is what the model would say", quote(l.Text)), nil
	}
	return judged(false, "%s is not what the model would say", quote(l.Text)), nil
}

// choose takes the likeliest choice. A label that is none of the choices is never right, as in the harness.
func (h *harness) choose(in *Input) (Result, error) {
	texts, err := h.continuations(in.Vars)
	if err != nil {
		return Result{}, err
	}
	given, err := likelihoodsOf(in.Response.Likelihoods, texts)
	if err != nil {
		return Result{}, err
	}
	gold, err := goldNumbers(in.Vars[h.gold])
	if err != nil {
		return Result{}, fmt.Errorf("variable %q %w", h.gold, err)
	}
	choices := make([]string, len(texts))
	lls := make([]float64, len(texts))
	for i, t := range texts {
		choices[i] = strings.TrimPrefix(t, h.delimiter)
		lls[i] = given[i].Logprob
	}
	detail := map[string]any{"log_likelihoods": lls, "gold": gold}
	if h.metric == "exact_match" {
		ok := slices.ContainsFunc(gold, func(g int) bool { return g >= 0 && g < len(given) && given[g].Greedy })
		res := judged(ok, "the right choice is what the model would say")
		if !ok {
			res.Reason = "the right choice is not what the model would say"
		}
		res.Detail = detail
		return res, nil
	}
	if h.metric == "brier_score" {
		return brier(lls, gold, detail)
	}
	if h.metric == "f1" || h.metric == "mcc" {
		return h.binary(logprob.Acc.Pick(lls, choices), gold, detail)
	}
	by := map[string]logprob.Choice{"acc": logprob.Acc, "acc_norm": logprob.AccNorm, "acc_bytes": logprob.AccBytes}[h.metric]
	at := by.Pick(lls, choices)
	if at < 0 {
		return Result{}, errors.New("the likelihoods tell no choice from the others")
	}
	detail["picked"] = at
	ok := slices.Contains(gold, at)
	res := judged(ok, "by %s the likeliest choice is %s", h.metric, quote(choices[at]))
	switch {
	case ok:
	case len(gold) > 0 && gold[0] >= 0 && gold[0] < len(choices):
		res.Reason += ", not " + quote(choices[gold[0]])
	default:
		res.Reason += "; the label is none of the choices"
	}
	res.Detail = detail
	return res, nil
}

// brier is the squared distance between the probabilities that the likelihoods give the choices and the
// right one's 1 (Brier 1950): from 0, which is best, to 2.
func brier(lls []float64, gold []int, detail any) (Result, error) {
	if len(gold) != 1 || gold[0] < 0 || gold[0] >= len(lls) {
		return Result{}, fmt.Errorf("brier_score takes one right choice, not %v", gold)
	}
	highest := slices.Max(lls)
	total, sum := 0.0, 0.0
	for _, l := range lls {
		total += math.Exp(l - highest)
	}
	for i, l := range lls {
		d := math.Exp(l-highest) / total
		if i == gold[0] {
			d--
		}
		sum += d * d
	}
	return Result{Value: sum, Detail: detail, Measures: []record.Measure{{Metric: ".", Kind: "mean", Value: sum}}}, nil
}

// binary counts one document of a choice between 0 and 1 for F1 or Matthews' correlation, which
// scikit-learn computes for the harness with 1 as the positive label.
func (h *harness) binary(at int, gold []int, detail any) (Result, error) {
	if len(gold) != 1 || gold[0] < 0 || gold[0] > 1 || at < 0 || at > 1 {
		return Result{}, fmt.Errorf("%s is for the choices 0 and 1 alone; picked %d, right %v", h.metric, at, gold)
	}
	stats := make([]float64, 4) // true and false positives, false and true negatives
	switch {
	case at == 1 && gold[0] == 1:
		stats[0] = 1
	case at == 1:
		stats[1] = 1
	case gold[0] == 1:
		stats[2] = 1
	default:
		stats[3] = 1
	}
	value := 0.0
	if at == gold[0] {
		value = 1
	}
	return Result{Value: value, Detail: detail, Measures: []record.Measure{{Metric: ".", Kind: "corpus/" + binaryFinisher(h.metric), Stats: stats}}}, nil
}

func binaryFinisher(name string) string { return name + ":binary" }

// binaryF1 is 2TP/(2TP+FP+FN), 0 where nothing is positive, as scikit-learn has it.
func binaryF1(s []float64) float64 {
	if len(s) != 4 {
		return math.NaN()
	}
	if d := 2*s[0] + s[1] + s[2]; d > 0 {
		return 2 * s[0] / d
	}
	return 0
}

// binaryMCC is Matthews' correlation coefficient, 0 where a margin is empty, as scikit-learn has it.
func binaryMCC(s []float64) float64 {
	if len(s) != 4 {
		return math.NaN()
	}
	tp, fp, fn, tn := s[0], s[1], s[2], s[3]
	d := (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
	if d == 0 {
		return 0
	}
	return (tp*tn - fp*fn) / math.Sqrt(d)
}

func goldNumbers(v any) ([]int, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []int
	for _, e := range list {
		f, ok := config.Number(e)
		if !ok || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
			return nil, errors.New("holds no number of a choice")
		}
		out = append(out, int(f))
	}
	return out, nil
}
