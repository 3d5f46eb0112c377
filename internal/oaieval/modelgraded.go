package oaieval

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// Kind is the assertion that a model-graded spec becomes.
const Kind = "model-graded-spec"

// maxCompletions bounds multicomp_n.
const maxCompletions = 1000

// The settings of evals' ModelBasedClassify where a file gives none.
func modelSettings(given any) map[string]any {
	out := map[string]any{"temperature": 0.0, "max_tokens": int64(1024)}
	if m, ok := given.(map[string]any); ok {
		maps.Copy(out, m)
	}
	return out
}

// closing tells the grader what its answer looks like, by eval_type; {choices} stands for the choices. The
// words are telltale's.
var closing = map[string]string{
	"classify":     "Answer with exactly one of {choices} and nothing else: no quotation marks, no punctuation.",
	"classify_cot": "Begin with a line that is exactly one of {choices}, without quotation marks or punctuation. Below it, explain step by step how you came to that.",
	"cot_classify": "Reason in writing, step by step, before you decide, and do not begin with the answer. Then write exactly one of {choices} on a line of its own, without quotation marks or punctuation, " +
		"and once more as the last line.\n\nReasons:",
	"cot_classify_jp": "答えから書き始めずに、まず判断の理由を順を追って書いてください。次に、{choices} のうち一つだけを引用符も句読点もつけずに独立した行に書き、最後の行にもう一度同じものを書いてください。\n\n理由：",
}

// matchings are the ways in which a line of the grader's answer is compared with a choice.
var matchings = []string{"include", "exact", "endswith", "starts_or_endswith"}

// pair is an input of a spec with the name under which its prompt has the answer.
type pair struct{ input, output string }

// spec is a model-graded spec of the registry.
type spec struct {
	pos     config.Pos
	file    config.Object
	vals    map[string]any
	prompt  []any // chat messages
	choices any
	pairs   []pair
}

func (s *spec) at(key string) config.Pos { return s.pos.At(key) }

// grade reads the arguments of ModelBasedClassify. It is false when the eval cannot be run.
func (l *loader) grade(ev *Eval, args map[string]any, at func(string) config.Pos) bool {
	name, ok := args["modelgraded_spec"].(string)
	if !ok || name == "" {
		l.fail(at("modelgraded_spec"), args["modelgraded_spec"], "no model-graded spec", "the name of a spec")
		return false
	}
	ev.Generation = modelSettings(args["sample_kwargs"])
	for _, k := range []string{"sample_kwargs", "eval_kwargs", "modelgraded_spec_args"} {
		if _, isMap := args[k].(map[string]any); args[k] != nil && !isMap {
			l.fail(at(k), args[k], "not a mapping", "a mapping of settings")
		}
	}
	ev.args, _ = args["modelgraded_spec_args"].(map[string]any)
	var judge any
	if l.opts.Judge != nil {
		judge = l.opts.Judge(modelSettings(args["eval_kwargs"]))
	}
	s, found := l.spec(name, at("modelgraded_spec"))
	if !found {
		return false
	}
	if s == nil { // not in the registry, and telltale has one of its own
		a := config.Assertion{Type: "factuality", Value: "{{ideal}}", Metric: name, Provider: judge}
		if name == "closedqa" {
			a.Type, a.Value = "model-graded-closedqa", "{{criteria}}"
		}
		ev.assert(a)
		return true
	}
	conf, ok := l.grading(ev, s, args, at)
	if !ok {
		return false
	}
	metric := "score"
	if s.vals["choice_scores"] == nil {
		metric = "choice"
	}
	ev.assert(config.Assertion{Type: Kind, Metric: metric, Provider: judge, Config: config.Object{Map: conf, Keys: map[string]config.Pos{}}})
	return true
}

// grading makes the configuration of the assertion.
func (l *loader) grading(ev *Eval, s *spec, args map[string]any, at func(string) config.Pos) (map[string]any, bool) {
	before := len(l.errs)
	n := int64(1)
	switch v := args["multicomp_n"].(type) {
	case nil:
	case int64:
		if n = v; n < 1 || n > maxCompletions {
			l.fail(at("multicomp_n"), v, "not a number of completions", fmt.Sprintf("1 to %d", maxCompletions))
		}
	default:
		l.unsupported(at("multicomp_n"), v, "completions of several models in one prompt are not supported; the kinds pairwise and select-best compare models")
		return nil, false
	}
	template, _ := s.vals["output_template"].(string)
	if n > 1 && template == "" {
		l.fail(s.at("output_template"), nil, "several completions without a template of how they are listed", `output_template: such as "{i}. {output}\n"`)
	}
	ev.answers, ev.pairs = int(n), s.pairs
	choices := l.choices(s, n)
	asked, _ := args["eval_type"].(string)
	read := asked
	if own, ok := s.vals["eval_type"].(string); ok {
		read = own
	}
	if asked != "" && closing[asked] == "" {
		l.fail(at("eval_type"), asked, "not a type of evaluation", strings.Join(slices.Sorted(maps.Keys(closing)), ", "))
	}
	if read == "" {
		l.fail(at("eval_type"), nil, "neither the eval nor its spec says how the grader answers", "eval_type: "+strings.Join(slices.Sorted(maps.Keys(closing)), ", "))
	}
	match := "starts_or_endswith"
	if m, ok := args["match_fn"]; ok {
		if match, ok = m.(string); !ok || !slices.Contains(matchings, match) {
			l.fail(at("match_fn"), m, "not a way to compare", strings.Join(matchings, ", "))
		}
	}
	end := ""
	if asked != "" {
		quoted := make([]string, len(choices))
		for i, c := range choices {
			quoted[i] = strconv.Quote(c.(string))
		}
		end = "\n\n" + strings.ReplaceAll(closing[asked], "{choices}", strings.Join(quoted, " or "))
	}
	conf := map[string]any{
		"prompt": s.prompt, "closing": end, "choices": choices, "match": match, "from_end": strings.HasPrefix(read, "cot_classify"), "n": n,
	}
	if scores := l.scores(s, choices); scores != nil {
		conf["scores"] = scores
	}
	outputs := map[string]any{}
	for _, p := range s.pairs {
		outputs[p.input] = p.output
	}
	conf["outputs"] = outputs
	if n > 1 {
		conf["each"] = template
	}
	if len(ev.args) > 0 {
		conf["args"] = ev.args
	}
	if args["metaeval"] == true {
		conf["metaeval"] = true
	}
	return conf, len(l.errs) == before
}

// spec finds a model-graded spec in the registry. It is nil, and found, for one that telltale has itself.
func (l *loader) spec(name string, at config.Pos) (s *spec, found bool) {
	var looked []string
	for _, dir := range l.registry("modelgraded") {
		looked = append(looked, dir)
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			files, err := l.opts.Glob(filepath.Join(dir, pattern))
			if err != nil {
				l.errs.Append(at, err)
				return nil, false
			}
			for _, f := range files {
				if s, ok := l.specIn(f, name); ok {
					return s, s != nil
				}
			}
		}
	}
	if name == "fact" || name == "closedqa" {
		return nil, true
	}
	l.out.Unsupported = append(l.out.Unsupported, &config.Error{Pos: at, Value: name, Problem: "no file in " + strings.Join(looked, " or ") + " has this model-graded spec",
		Hint: "a registry elsewhere is found with --var registry=FOLDER, which has the folders modelgraded and data in it"})
	return nil, false
}

// specIn reads a spec from a file that has one of that name. It is nil when it has mistakes.
func (l *loader) specIn(file, name string) (*spec, bool) {
	data, err := l.opts.Read(file)
	if err != nil || !strings.Contains(string(data), name) {
		return nil, false
	}
	o, repeated, err := config.ParseObjectLast(file, data)
	m, ok := o.Map[name].(map[string]any)
	if !ok {
		return nil, false
	}
	if err != nil {
		l.errs.Append(config.Pos{File: file}, err)
		return nil, true
	}
	l.out.content = append(l.out.content, data...)
	for _, e := range repeated {
		if strings.HasPrefix(e.Pos.Key, name+".") {
			l.out.Ignored = append(l.out.Ignored, e)
		}
	}
	before := len(l.errs) + len(l.out.Unsupported)
	s := &spec{pos: o.At(name), file: o, vals: m, choices: m["choice_strings"]}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch {
		case slices.Contains([]string{"prompt", "choice_strings", "input_outputs", "eval_type", "choice_scores", "output_template", "key", "group"}, k):
		case k == "format_type":
			l.unsupported(s.at(k), m[k], "a grader that goes on with the model's own conversation is not supported")
		default:
			l.fail(s.at(k), m[k], "unknown key of a model-graded spec", "prompt, choice_strings, input_outputs, eval_type, choice_scores or output_template")
		}
	}
	s.prompt = l.prompt(s)
	io, ok := m["input_outputs"].(map[string]any)
	if !ok || len(io) == 0 {
		l.fail(s.at("input_outputs"), m["input_outputs"], "no inputs and outputs", "a mapping such as input: completion")
	}
	for _, in := range slices.Sorted(maps.Keys(io)) {
		out, ok := io[in].(string)
		if !ok {
			l.fail(s.at("input_outputs").At(in), io[in], "not a name", "the name under which the prompt has the answer")
		}
		s.pairs = append(s.pairs, pair{in, out})
	}
	if len(l.errs)+len(l.out.Unsupported) > before {
		return nil, true
	}
	return s, true
}

// prompt reads the grader's prompt: a text, which is one user message, or chat messages.
func (l *loader) prompt(s *spec) []any {
	const want = "a text, or a list of chat messages with role and content"
	switch v := s.vals["prompt"].(type) {
	case string:
		l.checkFormat(s.at("prompt"), v)
		return []any{map[string]any{"role": "user", "content": v}}
	case []any:
		for i, e := range v {
			m, _ := e.(map[string]any)
			_, isRole := m["role"].(string)
			content, isText := m["content"].(string)
			if !isRole || !isText {
				l.fail(s.at("prompt").At(fmt.Sprintf("[%d]", i)), nil, "not a chat message", "role and content, both texts")
			}
			l.checkFormat(s.at("prompt").At(fmt.Sprintf("[%d].content", i)), content)
		}
		if len(v) > 0 {
			return v
		}
	}
	l.fail(s.at("prompt"), nil, "no prompt", want)
	return nil
}

// checkFormat says what of a text Python's format would not fill in with a plain name.
func (l *loader) checkFormat(at config.Pos, text string) {
	if _, err := ParseFormat(text); err != nil {
		l.errs = append(l.errs, &config.Error{Pos: at, Value: config.Clip(text, 60), Err: err})
	}
}

// choices reads choice_strings: a list, a text whose characters are the choices, or one for each completion.
func (l *loader) choices(s *spec, n int64) []any {
	var out []any
	switch v := s.choices.(type) {
	case string:
		first := map[string]rune{"from_n_abc": 'a', "from_n_ABC": 'A'}[v]
		for i := range int(n) {
			switch {
			case v == "from_n":
				out = append(out, strconv.Itoa(i+1))
			case first != 0:
				out = append(out, string(first+rune(i%26)))
			}
		}
		if v != "from_n" && first == 0 {
			for _, r := range v {
				out = append(out, string(r))
			}
		}
	case []any:
		out = v
	}
	for i, c := range out {
		text, ok := c.(string)
		if !ok || strings.TrimSpace(text) == "" || strings.ContainsFunc(text, isPunctuation) {
			l.fail(s.at("choice_strings").At(fmt.Sprintf("[%d]", i)), c, "not a choice", "a text without punctuation")
			out[i] = ""
		}
	}
	if len(out) == 0 {
		l.fail(s.at("choice_strings"), s.choices, "no choices", "a list of texts, from_n, from_n_abc or from_n_ABC")
	}
	return out
}

// isPunctuation is Python's string.punctuation.
func isPunctuation(r rune) bool {
	return '!' <= r && r <= '/' || ':' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
}

// scores reads choice_scores: a number for each choice, or the choices as numbers.
func (l *loader) scores(s *spec, choices []any) map[string]any {
	at := s.at("choice_scores")
	out := map[string]any{}
	given, isMap := s.vals["choice_scores"].(map[string]any)
	switch v := s.vals["choice_scores"]; {
	case v == nil:
		return nil
	case !isMap && v != "from_strings":
		l.fail(at, v, "no scores", "a mapping of choices to numbers, or from_strings")
	}
	for _, c := range choices {
		text, _ := c.(string)
		if !isMap {
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				l.fail(at, text, "the choice is no number", "scores for the choices, or choices that are numbers")
			}
			out[text] = f
			continue
		}
		f, ok := config.Number(given[text])
		if !ok {
			l.fail(at.At(text), given[text], "no score for this choice", "a number")
		}
		out[text] = f
	}
	return out
}
