package lmeval

import (
	"fmt"
	"maps"
	"slices"

	"github.com/telltale-llm/telltale/internal/config"
)

// knownMetrics are the metrics that can be computed, by output type.
var knownMetrics = map[string][]string{
	"generate_until":        {"exact_match", "bleu", "chrf", "chrf++", "ter"},
	"multiple_choice":       {"acc", "acc_norm", "acc_bytes", "exact_match", "f1", "mcc", "brier_score"},
	"loglikelihood":         {"acc", "perplexity"},
	"loglikelihood_rolling": {"word_perplexity", "byte_perplexity", "bits_per_byte"},
}

// defaultMetrics are the harness's when a task names none.
var defaultMetrics = map[string][]string{
	"generate_until": {"exact_match"}, "multiple_choice": {"acc", "acc_norm"}, "loglikelihood": {"perplexity", "acc"},
	"loglikelihood_rolling": {"word_perplexity", "byte_perplexity", "bits_per_byte"},
}

// aggregations are the ones that each metric is reported with here; those that are not listed are means.
var aggregations = map[string]string{
	"bleu": "bleu", "chrf": "chrf", "chrf++": "chrf++", "ter": "ter", "perplexity": "perplexity", "f1": "f1", "mcc": "matthews_corrcoef",
	"word_perplexity": "weighted_perplexity", "byte_perplexity": "weighted_perplexity", "bits_per_byte": "bits_per_byte",
}

// metricOptions are what exact_match can be told.
var metricOptions = []string{"ignore_case", "ignore_punctuation", "ignore_numbers", "regexes_to_ignore"}

// pipeline is a named list of filters.
type pipeline struct {
	name    string
	filters []any
	pos     config.Pos
	// needs is how many answers of a document it looks at, several says that it leaves more than one.
	needs   int
	several bool
}

// knownFilters are the filters that can be run, with the settings that each has.
var knownFilters = map[string][]string{
	"regex":              {"regex_pattern", "group_select", "fallback"},
	"multi_choice_regex": {"regex_pattern", "group_select", "fallback", "ignore_case", "ignore_punctuation", "regexes_to_ignore"},
	"remove_whitespace":  {}, "lowercase": {}, "uppercase": {}, "take_first": {}, "majority_vote": {},
	"take_first_k": {"k"}, "map": {"mapping_dict", "default_value"},
}

// metrics reads metric_list and filter_list.
func (l *loader) metrics(m *merged, t *Task) {
	pipes := l.filters(m, t)
	names := knownMetrics[t.Output]
	var list []any
	switch v := m.vals["metric_list"].(type) {
	case nil:
		for _, n := range defaultMetrics[t.Output] {
			list = append(list, map[string]any{"metric": n})
		}
	case []any:
		list = v
	default:
		l.fail(m.at("metric_list"), nil, "not a list", "a list of mappings with metric")
		return
	}
	seen := map[string]bool{}
	for i, item := range list {
		at := m.at("metric_list").At(fmt.Sprintf("[%d]", i))
		c, ok := item.(map[string]any)
		if !ok {
			l.fail(at, item, "not a metric", "a mapping with the key metric")
			continue
		}
		name, ok := c["metric"].(string)
		switch {
		case !ok && c["metric"] != nil:
			l.unsupported(at.At("metric"), c["metric"], "a metric that is a Python function is not supported")
			continue
		case !ok:
			l.fail(at, nil, "a metric without a name", "the key metric")
			continue
		case name == "bypass":
			continue
		case !slices.Contains(names, name):
			l.unsupported(at.At("metric"), name, fmt.Sprintf("this metric is not supported for %s", t.Output))
			continue
		case seen[name]:
			l.fail(at.At("metric"), name, "the metric is given twice", "each metric once")
			continue
		}
		seen[name] = true
		conf, ok := l.metricOptions(t, at, name, c)
		if !ok {
			continue
		}
		for _, p := range pipes {
			if p.several && (name != "exact_match" || conf["regexes_to_ignore"] != nil) {
				l.unsupported(at, name, "of several answers behind the filter "+p.name+" the harness computes no more than exact_match, and that without regexes_to_ignore; end the filter with take_first")
				continue
			}
			one := maps.Clone(conf)
			if len(p.filters) > 0 {
				one["filters"] = p.filters
			}
			if p.needs > 1 {
				one["answers"] = int64(p.needs)
			}
			t.Answers = max(t.Answers, p.needs)
			t.Metrics = append(t.Metrics, Metric{Pos: at, Name: name, Filter: p.name, config: one})
		}
	}
}

func (l *loader) metricOptions(t *Task, at config.Pos, name string, c map[string]any) (map[string]any, bool) {
	out := map[string]any{"metric": name, "output_type": t.Output}
	if t.Output == "multiple_choice" {
		out["delimiter"] = t.targetDelimiter
	}
	want := "mean"
	if a, ok := aggregations[name]; ok {
		want = a
	}
	also := ""
	if name == "brier_score" {
		also = "brier_score" // a mean too
	}
	ok := true
	for _, k := range slices.Sorted(maps.Keys(c)) {
		v := c[k]
		switch {
		case k == "metric" || k == "higher_is_better" || k == "hf_evaluate" || v == nil:
		case k == "aggregation":
			if _, isCode := v.(config.Tagged); isCode {
				l.unsupported(at.At(k), v, "an aggregation that is a Python function is not supported")
				ok = false
			} else if v != want && v != also {
				l.unsupported(at.At(k), v, fmt.Sprintf("this aggregation of %s is not supported; its own is %s", name, want))
				ok = false
			}
		case t.Output != "generate_until" || name != "exact_match": // the harness gives them to nobody
		case slices.Contains(metricOptions, k):
			out[k] = v
		default:
			l.unsupported(at.At(k), v, "this setting of a metric is not supported")
			ok = false
		}
	}
	return out, ok
}

// filters reads filter_list; without it there is one pipeline, which does nothing.
func (l *loader) filters(m *merged, t *Task) []pipeline {
	none := []pipeline{{name: "none", pos: m.at("filter_list"), needs: 1}}
	repeats := 1
	if n, ok := l.whole(m, "repeats", 1); ok && t.Output == "generate_until" {
		repeats = max(1, int(n))
	}
	v := m.vals["filter_list"]
	if v == nil {
		return none
	}
	list, ok := v.([]any)
	if !ok {
		l.fail(m.at("filter_list"), nil, "not a list", "a list of mappings with name and filter")
		return none
	}
	var out []pipeline
	for i, item := range list {
		at := m.at("filter_list").At(fmt.Sprintf("[%d]", i))
		c, ok := item.(map[string]any)
		name, named := c["name"].(string)
		steps, listed := c["filter"].([]any)
		if !ok || !named || !listed {
			l.fail(at, nil, "not a filter pipeline", "a mapping with name and a list under filter")
			continue
		}
		p := pipeline{name: name, pos: at, needs: repeats}
		if l.steps(&p, steps) {
			if t.Output != "generate_until" && len(p.filters) > 0 {
				l.unsupported(at, name, "filters on likelihoods are not supported")
				continue
			}
			out = append(out, p)
		}
	}
	return out
}

// steps reads the filters of a pipeline. Those that pick answers are left out where there is only one.
func (l *loader) steps(p *pipeline, steps []any) bool {
	ok := true
	first, voted := false, false // the answers have become one
	left := p.needs
	all := make([]any, 0, len(steps))
	for i, s := range steps {
		at := p.pos.At(fmt.Sprintf("filter[%d]", i))
		c, isMap := s.(map[string]any)
		name, named := c["function"].(string)
		if !isMap || !named {
			if tag, isTag := c["function"].(config.Tagged); isTag {
				l.unsupported(at.At("function"), tag, "a filter that is a Python function is not supported")
			} else {
				l.fail(at, nil, "not a filter", "a mapping with the key function")
			}
			ok = false
			continue
		}
		settings, known := knownFilters[name]
		if !known {
			l.unsupported(at.At("function"), name, "this filter is not supported")
			ok = false
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(c)) {
			if k != "function" && !slices.Contains(settings, k) {
				l.fail(at.At(k), c[k], "the filter "+name+" has no such setting", "")
			}
		}
		if first && name != "take_first" {
			l.unsupported(at.At("function"), name, "a filter behind take_first works on single characters in the harness, which is not supported")
			ok = false
			continue
		}
		switch name {
		case "take_first":
			if !voted {
				p.needs = 1
			}
			first = true
		case "majority_vote":
			voted, left = true, 1
		case "take_first_k":
			k, isWhole := c["k"].(int64)
			switch {
			case !isWhole || k < 1:
				l.fail(at.At("k"), c["k"], "not a number of answers", "a whole number from 1")
				ok = false
			case int(k) > left:
				l.fail(at.At("k"), k, fmt.Sprintf("there are %d answers of each document here", left), fmt.Sprintf("at most %d, or repeats: %d", left, k))
				ok = false
			default:
				left = int(k)
				if !voted {
					p.needs = left
				}
			}
		}
		all = append(all, c)
	}
	p.several = !first && left > 1
	p.filters = pruned(all, p.needs > 1)
	return ok
}

// pruned leaves out what picks answers when there is one answer.
func pruned(steps []any, several bool) []any {
	var out []any
	for _, s := range steps {
		switch s.(map[string]any)["function"] {
		case "take_first", "take_first_k", "majority_vote":
			if !several {
				continue
			}
		}
		out = append(out, s)
	}
	return out
}
