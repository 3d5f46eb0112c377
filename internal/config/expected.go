package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An assertion in one line, as promptfoo has it in the __expected columns of its CSV files:
//
//	expected  = code | rubric | check | TEXT            TEXT alone stands for equals
//	code      = ("javascript:" | "fn:" | "eval:" | "python:") BODY | "file://" PATH.js | "file://" PATH.py
//	rubric    = ("grade:" | "llm-rubric:") TEXT
//	check     = ["not-"] KIND ["(" NUMBER ")"] [":" VALUE]
//
// NUMBER is the threshold. A KIND that the grammar does not have makes the whole line a TEXT.
var expectedCheck = regexp.MustCompile(`^(not-)?([a-z][a-z0-9-]*(?::[a-z]+)?)(?:\(\s*(\d+(?:\.\d+)?)\s*\))?\s*(?::([\s\S]*))?$`)

// expectedKinds are the kinds of the grammar: promptfoo's, and of telltale's own those that only
// read the answer. A data file must not be able to start a program, so exec is not among them.
var expectedKinds = []string{
	"answer-relevance", "bleu", "cel", "classifier", "contains", "contains-all", "contains-any", "contains-html", "contains-json", "contains-sql",
	"contains-xml", "context-faithfulness", "context-recall", "context-relevance", "conversation-relevance", "cost", "equals", "exact-match",
	"f-score", "factuality", "finish-reason", "g-eval", "gleu", "guardrails", "icontains", "icontains-all", "icontains-any", "is-html", "is-json",
	"is-refusal", "is-sql", "is-valid-function-call", "is-valid-openai-function-call", "is-valid-openai-tools-call", "is-xml", "javascript",
	"latency", "levenshtein", "llm-rubric", "meteor", "model-graded-closedqa", "model-graded-factuality", "moderation", "perplexity",
	"perplexity-score", "pi", "python", "regex", "rouge-n", "ruby", "search-rubric", "similar", "starts-with", "tool-call-f1", "webhook", "word-count",
}

// expectedThreshold are the kinds that have a threshold even when the line gives none.
var expectedThreshold = map[string]float64{
	"similar": 0.8, "answer-relevance": 0.75, "classifier": 0.75, "context-faithfulness": 0.75, "context-recall": 0.75, "context-relevance": 0.75,
	"cost": 0.75, "latency": 0.75, "levenshtein": 0.75, "perplexity-score": 0.75, "perplexity": 0.75, "rouge-n": 0.75,
}

var expectedLists = []string{"contains-all", "contains-any", "icontains-all", "icontains-any"}

// ParseExpected reads an assertion written in one line, such as "similar(0.8): a friendly greeting".
// pos is the line's place. What promptfoo could run and telltale cannot is returned as unsupported,
// with no assertion. A value that is a file:// reference is read through opts.Read, relative to
// the folder of pos.File.
func ParseExpected(pos Pos, text string, opts Options) (a Assertion, unsupported Errors, err error) {
	w := splitExpected(strings.TrimSpace(text))
	w.Pos, w.Type.Pos, w.Value.Pos = pos, pos, pos
	l := &loader{opts: opts, dir: filepath.Dir(pos.File), params: &params{}}
	if strings.TrimSpace(text) == "" {
		return Assertion{}, nil, &Error{Pos: pos, Problem: "an empty assertion", Want: "such as equals: 4 or contains-any: yes, no"}
	}
	a, _ = l.assertion(&w)
	return a, l.params.unsupported, l.errs.Err()
}

// splitExpected takes the line apart.
func splitExpected(s string) wireAssertion {
	make := func(kind string, value any) wireAssertion {
		return wireAssertion{Type: wireType{Name: kind}, Value: wireAny{Any: value}}
	}
	for _, p := range [...]struct{ prefix, kind string }{
		{"javascript:", "javascript"}, {"fn:", "javascript"}, {"eval:", "javascript"}, {"python:", "python"}, {"grade:", "llm-rubric"}, {"llm-rubric:", "llm-rubric"},
	} {
		if rest, ok := strings.CutPrefix(s, p.prefix); ok {
			return make(p.kind, strings.TrimSpace(rest))
		}
	}
	if path, ok := strings.CutPrefix(s, "file://"); ok {
		if kind := codeFile(path); kind != "" {
			return make(kind, s)
		}
	}
	m := expectedCheck.FindStringSubmatch(s)
	if m == nil {
		return make("equals", s)
	}
	kind, rest := m[2], strings.TrimSpace(m[4])
	// similar:dot:text is the kind similar:dot, contains:b:c the kind contains.
	if !slices.Contains(expectedKinds, kind) {
		base, metric, two := strings.Cut(kind, ":")
		switch {
		case two && base == "similar" && slices.Contains([]string{"cosine", "dot", "euclidean"}, metric):
		case two && slices.Contains(expectedKinds, base) && m[3] == "":
			_, rest, _ = strings.Cut(s, ":")
			kind, rest = base, strings.TrimSpace(rest)
		default:
			return make("equals", s)
		}
	}
	w := make(m[1]+kind, nil)
	if rest != "" {
		w.Value.Any = rest
	}
	if slices.Contains(expectedLists, kind) && rest != "" {
		items := []any{}
		for _, item := range strings.Split(rest, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		w.Value.Any = items
	}
	base, _, _ := strings.Cut(kind, ":")
	threshold, has := expectedThreshold[base]
	if m[3] != "" {
		f, err := strconv.ParseFloat(m[3], 64)
		// promptfoo gives starts-with a threshold and never looks at it.
		threshold, has = f, err == nil && kind != "starts-with"
	}
	if has {
		w.Threshold = &threshold
	}
	return w
}

// codeFile says which kind runs a file that an assertion names alone.
func codeFile(path string) string {
	base, _, _ := strings.Cut(filepath.Base(path), ":") // file://check.js:name is one function of the file
	switch strings.ToLower(filepath.Ext(base)) {
	case ".js", ".ts", ".mjs", ".cjs", ".mts", ".cts":
		return "javascript"
	case ".py":
		return "python"
	}
	return ""
}
