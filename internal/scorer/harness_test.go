package scorer

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// The vectors were computed by lm_eval 0.4.13: its filters, and exact_match_hf_evaluate.
func TestHarnessFiltersAsTheHarness(t *testing.T) {
	stopClock(t)
	data, err := os.ReadFile("testdata/lmeval_filters.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Choices []any
		Filters []struct {
			Filter map[string]any
			Answer string
			Want   any
		}
		Exact []struct {
			Options map[string]any
			Answer  string
			Targets []any
			Want    float64
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	vars := map[string]any{"choices": file.Choices}
	for _, v := range file.Filters {
		f, err := newHarnessFilter(v.Filter, config.Pos{File: "task.yaml"})
		if err != nil {
			t.Errorf("%v: %v", v.Filter, err)
			continue
		}
		got, err := f(v.Answer, vars)
		switch want := v.Want.(type) {
		case string:
			if err != nil || got != want {
				t.Errorf("%v of %q: %q %v, want %q", v.Filter, v.Answer, got, err, want)
			}
		case nil:
			if got != nothing {
				t.Errorf("%v of %q: %q, want nothing", v.Filter, v.Answer, got)
			}
		default:
			if err == nil {
				t.Errorf("%v of %q: %q, want an error", v.Filter, v.Answer, got)
			}
		}
	}
	for _, v := range file.Exact {
		conf := map[string]any{"metric": "exact_match"}
		for k, o := range v.Options {
			conf[k] = o
		}
		c := compile(t, config.Assertion{Type: "lm-eval", Config: config.Object{Map: conf}})
		var target any = v.Targets
		if len(v.Targets) == 1 {
			target = v.Targets[0]
		}
		s := c.Score(t.Context(), &Input{Response: &record.Response{Output: v.Answer}, Vars: map[string]any{"lmeval_target": target}})
		if s.Error != "" || *s.Value != v.Want {
			t.Errorf("%v of %q against %v: %+v, want %v", v.Options, v.Answer, v.Targets, s, v.Want)
		}
	}
	if len(file.Filters) < 500 || len(file.Exact) < 1500 {
		t.Errorf("only %d and %d vectors", len(file.Filters), len(file.Exact))
	}
}

func TestHarnessLikelihoods(t *testing.T) {
	f := func(metric string, conf map[string]any, gold any, want float64) {
		t.Helper()
		conf["metric"] = metric
		if conf["output_type"] == nil {
			conf["output_type"] = "multiple_choice"
		}
		c := compile(t, config.Assertion{Type: "lm-eval", Config: config.Object{Map: conf}})
		vars := map[string]any{"choices": []any{"no", "absolutely", "é"}, "gold": gold, "lmeval_target": " no"}
		d, err := c.Demand(vars)
		if err != nil {
			t.Fatal(err)
		}
		// by acc the first, by acc_norm (-4/2, -5/10, -4.5/1) the second, by acc_bytes too
		r := &record.Response{}
		for i, text := range d.Continuations {
			r.Likelihoods = append(r.Likelihoods, record.Likelihood{Text: text, Logprob: []float64{-4, -5, -4.5}[i], Tokens: 1, Greedy: i == 0})
		}
		s := c.Score(t.Context(), &Input{Response: r, Vars: vars})
		if s.Error != "" || math.Abs(*s.Value-want) > 1e-9 {
			t.Errorf("%s gold %v: %+v, want %v", metric, gold, s, want)
		}
	}
	f("acc", map[string]any{}, int64(0), 1)
	f("acc", map[string]any{}, int64(1), 0)
	f("acc", map[string]any{"delimiter": ""}, int64(0), 1)
	f("acc_norm", map[string]any{}, int64(1), 1)
	f("acc_bytes", map[string]any{}, int64(1), 1)
	f("acc", map[string]any{}, []any{int64(2), int64(0)}, 1)
	f("acc", map[string]any{}, int64(-1), 0)
	f("exact_match", map[string]any{}, int64(0), 1)
	f("exact_match", map[string]any{}, int64(2), 0)
	f("exact_match", map[string]any{}, []any{int64(-1), int64(0)}, 1)
	f("acc", map[string]any{"output_type": "loglikelihood"}, nil, 1)
	f("perplexity", map[string]any{"output_type": "loglikelihood"}, nil, math.Exp(4))
}

func TestHarnessMistakes(t *testing.T) {
	stopClock(t)
	f := func(conf map[string]any, want string) {
		t.Helper()
		_, err := Compile(config.Assertion{Type: "lm-eval", Config: config.Object{Map: conf}, Pos: config.Pos{File: "task.yaml", Line: 7}}, "", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", conf, err, want)
		}
	}
	filter := func(m map[string]any) map[string]any { return map[string]any{"filters": []any{m}} }
	f(map[string]any{"metric": "f1"}, `"f1": not a metric of generate_until; want exact_match, bleu, chrf`)
	f(map[string]any{"output_type": "x"}, "no such output type")
	f(map[string]any{"output_type": "multiple_choice", "metric": "acc", "filters": []any{}}, "likelihoods are not filtered")
	f(map[string]any{"filters": "regex"}, "not a list")
	f(filter(map[string]any{"function": "custom"}), "no such filter")
	f(filter(map[string]any{"function": "regex", "regex_pattern": "("}), "invalid regular expression")
	f(filter(map[string]any{"function": "regex", "regex_pattern": "(?P<a>x"}), "invalid regular expression")
	f(filter(map[string]any{"function": "regex", "regex_pattern": `(?P=b)`}), "refers to a group that there is not")
	f(filter(map[string]any{"function": "regex", "regex_pattern": `(?>a)`}), "of a kind that is not supported")
	f(filter(map[string]any{"function": "regex", "group": int64(1)}), "group")
	f(filter(map[string]any{"function": "map", "mapping_dict": "x"}), "not a mapping")
	f(map[string]any{"regexes_to_ignore": []any{"["}}, "invalid regular expression")

	bad := func(vars map[string]any, conf map[string]any, want string) {
		t.Helper()
		c := compile(t, config.Assertion{Type: "lm-eval", Config: config.Object{Map: conf}})
		s := c.Score(t.Context(), &Input{Response: &record.Response{Output: "x", Likelihoods: []record.Likelihood{{Text: " z"}}}, Vars: vars})
		if !strings.Contains(s.Error, want) {
			t.Errorf("%v: %+v, want %s", vars, s, want)
		}
	}
	bad(nil, map[string]any{}, "holds no target")
	bad(map[string]any{"lmeval_target": []any{int64(1)}}, map[string]any{}, "is not a text")
	bad(map[string]any{"lmeval_target": []any{"a", "b"}}, map[string]any{"metric": "bleu"}, "several targets")
	mc := map[string]any{"output_type": "multiple_choice", "metric": "acc"}
	bad(map[string]any{"choices": []any{"a"}, "gold": int64(0)}, mc, "no likelihood was given of")
	bad(map[string]any{"choices": []any{"z"}}, mc, "holds no number of a choice")
	bad(map[string]any{"gold": int64(0)}, mc, "holds no list of texts")
}

func FuzzPythonExpression(f *testing.F) {
	stopClock(f)
	for _, s := range []string{`#### (\-?[0-9\.\,]+)`, `(?P<a>x)(?P=a)`, `[]a[]`, `\Z`, `{,3}`, `(?i)a|b`} {
		f.Add(s, "#### 12 xx")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 200 || len(text) > 200 {
			return
		}
		re, err := pythonExpression(pattern)
		if err == nil {
			_, err = findAll(re, text)
		}
		_ = fmt.Sprint(err)
	})
}

// The numbers are scikit-learn's 1.9.1, through lm-eval 0.4.13: 25 documents with 4 true and 5 false positives.
func TestBinaryScores(t *testing.T) {
	f := func(kind string, stats []float64, want float64) {
		t.Helper()
		finish, ok := CorpusFinisher("corpus/" + kind)
		if got := finish(stats); !ok || math.Abs(got-want) > 1e-15 {
			t.Errorf("%s of %v: %v, want %v", kind, stats, got, want)
		}
	}
	f("f1:binary", []float64{4, 5, 9, 7}, 0.36363636363636365)
	f("mcc:binary", []float64{4, 5, 9, 7}, -0.11342410894527007)
	f("f1:binary", []float64{0, 0, 0, 7}, 0)
	f("mcc:binary", []float64{0, 0, 3, 7}, 0)
}
