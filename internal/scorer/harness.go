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
	"generate_until":  {"exact_match", "bleu", "chrf"},
	"multiple_choice": {"acc", "acc_norm", "acc_bytes", "exact_match", "f1", "mcc"},
	"loglikelihood":   {"acc", "perplexity"},
}

// harness is one metric of one task.
type harness struct {
	output, metric string
	// target, choices and gold name the variables that hold the reference answers, the choices, and
	// which of them is right.
	target, choices, gold string
	delimiter             string
	filters               []harnessFilter
	exact                 exactMatch
	recipe                string
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
		r.Fail("output_type", "no such output type", "generate_until, multiple_choice or loglikelihood")
	case !slices.Contains(metrics, h.metric):
		r.Fail("metric", "not a metric of "+h.output, strings.Join(metrics, ", "))
	}
	h.exact.read(r)
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
		f, err := newHarnessFilter(step, s.Config.At("filters").At(fmt.Sprintf("[%d]", i)))
		errs.Append(s.Pos, err)
		h.filters = append(h.filters, f)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	params := map[string]any{}
	for k, v := range s.Config.Map {
		if k != "target" && k != "choices" && k != "gold" {
			params[k] = v
		}
	}
	h.recipe = "lm-eval|" + record.HashJSON(params)
	return h, nil
}

func (h *harness) convention() string { return h.recipe }

func (h *harness) shape() shape {
	switch h.metric {
	case "bleu", "chrf", "f1", "mcc":
		return shape{continuous: true}
	case "perplexity":
		return shape{continuous: true, unit: "ppl"}
	}
	return shape{judges: true, graded: true}
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
	case "loglikelihood":
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
	switch h.output {
	case "multiple_choice":
		return h.choose(in)
	case "loglikelihood":
		return h.likely(in)
	}
	answer := in.Response.Output
	for _, f := range h.filters {
		var err error
		if answer, err = f(answer, in.Vars); err != nil {
			return Result{}, err
		}
	}
	var targets []string
	several := false
	switch v := in.Vars[h.target].(type) {
	case string:
		targets = []string{v}
	case []any:
		several = true
		if len(v) > 0 {
			var err error
			if targets, err = textListOf(v, h.target); err != nil {
				return Result{}, err
			}
		}
	default:
		return Result{}, fmt.Errorf("variable %q holds no target: want a text or a list of texts", h.target)
	}
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

// overlap is BLEU or chrF with sacreBLEU's defaults; the metric is the corpus score.
func (h *harness) overlap(answer string, targets []string) Result {
	if h.metric == "chrf" {
		c := textmetric.CHRF{CharOrder: 6, Beta: 2}
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
