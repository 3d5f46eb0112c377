package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// maxExpected bounds the expected texts shown for one sample.
const maxExpected = 4

// expected is a text that the output was meant to be or to contain, and where it was found.
type expected struct{ name, text string }

// detailKeys are the keys under which scorers say in a detail what they compared with.
var detailKeys = []string{"want", "expected", "reference", "references", "best"}

// expectedVars are names, in lower case and without separators, under which data sets hold the
// right answer. The list is of use for display only: nothing is judged by it.
var expectedVars = map[string]bool{
	"expected": true, "expectedoutput": true, "expectedanswer": true, "expectedresponse": true,
	"reference": true, "references": true, "referenceanswer": true, "referenceoutput": true,
	"answer": true, "answers": true, "correctanswer": true, "bestanswer": true, "gold": true, "goldanswer": true, "golden": true,
	"groundtruth": true, "ideal": true, "target": true, "targets": true, "solution": true, "canonicalsolution": true,
	"label": true, "correct": true, "completion": true,
}

// expectations finds the texts that s was compared with: first what its scores name, then the
// variables that hold a right answer by their name.
func expectations(s *record.Sample, limit int) []expected {
	var out []expected
	add := func(name, text string) {
		if strings.TrimSpace(text) == "" || len(out) == maxExpected {
			return
		}
		text = clip(text, limit)
		for _, e := range out {
			if e.text == text {
				return
			}
		}
		out = append(out, expected{short(name), text})
	}
	for i := range s.Scores {
		detail := fields(s.Scores[i].Detail)
		for _, k := range detailKeys {
			for _, text := range texts(detail[k]) {
				add(label(&s.Scores[i]), text)
			}
		}
	}
	for _, k := range sortedKeys(s.Vars) {
		if expectedVars[plainName(k)] {
			for _, text := range texts(s.Vars[k]) {
				add(k, text)
			}
		}
	}
	return out
}

// fields reads a detail that is an object, whether it comes from a scorer or from a file.
func fields(detail any) map[string]any {
	switch d := detail.(type) {
	case nil:
		return nil
	case map[string]any:
		return d
	case map[string]string:
		out := make(map[string]any, len(d))
		for k, v := range d {
			out[k] = v
		}
		return out
	}
	b, err := json.Marshal(detail)
	if err != nil || len(b) == 0 || b[0] != '{' {
		return nil
	}
	var out map[string]any
	if json.Unmarshal(b, &out) != nil {
		return nil
	}
	return out
}

// texts returns a text, a number, or those of a list.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case float64, int, int64, uint64, bool, json.Number:
		return []string{fmt.Sprint(v)}
	case []string:
		return v[:min(len(v), maxExpected)]
	case []any:
		var out []string
		for _, e := range v[:min(len(v), maxExpected)] {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

var separators = strings.NewReplacer("_", "", "-", "", " ", "", ".", "")

// plainName is a variable's name without case and separators.
func plainName(s string) string { return separators.Replace(strings.ToLower(s)) }
