package dataset

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// ifevalRow reads a row of IFEval's input_data.jsonl: key, prompt, instruction_id_list and kwargs, one
// entry of kwargs for each instruction. Its tags are the groups of its instructions. Arguments that
// are null, as in the copies on data hubs, are the same as absent ones and are left out.
func ifevalRow(obj map[string]any, it *item) error {
	pos := it.test.Pos
	switch v := obj["key"].(type) {
	case int64:
	case string:
		if strings.TrimSpace(v) == "" {
			return fieldError(pos, "key", nil, "the key is empty", "a whole number or a string")
		}
	default:
		return wrongField(pos, obj, "key", "a whole number or a string")
	}
	if s, ok := obj["prompt"].(string); !ok || s == "" {
		return wrongField(pos, obj, "prompt", "a string that is not empty")
	}
	ids, ok := obj["instruction_id_list"].([]any)
	if !ok || len(ids) == 0 {
		return wrongField(pos, obj, "instruction_id_list", "a list of at least one instruction id")
	}
	kwargs, ok := obj["kwargs"].([]any)
	if !ok {
		return wrongField(pos, obj, "kwargs", "a list of objects, one for each instruction")
	}
	if len(kwargs) != len(ids) {
		return fieldError(pos, "kwargs", nil, fmt.Sprintf("%d entries for %d instructions", len(kwargs), len(ids)), "one for each instruction")
	}
	var tags []string
	for i, v := range ids {
		id, _ := v.(string)
		group, ok := instructionGroup(id)
		if !ok {
			return fieldError(pos, fmt.Sprintf("instruction_id_list[%d]", i), v, "not an instruction id", "group:name, such as keywords:existence")
		}
		if !slices.Contains(tags, group) {
			tags = append(tags, group)
		}
	}
	for i, v := range kwargs {
		switch v := v.(type) {
		case nil:
			kwargs[i] = map[string]any{}
		case map[string]any:
			for k, arg := range v {
				if arg == nil {
					delete(v, k)
				}
			}
		default:
			return fieldError(pos, fmt.Sprintf("kwargs[%d]", i), v, "not an object", "the instruction's arguments by name, or {}")
		}
	}
	slices.Sort(tags)
	it.test.Vars, it.test.Tags = obj, tags
	it.idField = "key"
	return nil
}

// instructionGroup returns the group of an instruction id: keywords of keywords:existence and of
// en:keywords:existence.
func instructionGroup(id string) (string, bool) {
	parts := strings.Split(id, ":")
	if len(parts) < 2 || slices.Contains(parts, "") {
		return "", false
	}
	if len(parts) > 2 { // a language comes first
		return parts[1], true
	}
	return parts[0], true
}

var (
	// hashAnswer is the end of the reference answers in test.jsonl and train.jsonl, by the
	// expression that the data's authors extract it with.
	hashAnswer = regexp.MustCompile(`#### (-?[0-9.,]+)`)
	// letterAnswer is the end of those in the files of model solutions.
	letterAnswer = regexp.MustCompile(`(?m)^A: (-?[0-9.,]+)\s*\z`)
)

// gsm8kRow reads a row of GSM8K: {question, answer} of test.jsonl and train.jsonl, or {question,
// ground_truth, …} of the files of model solutions. The variable answer is the whole reference
// answer in either case, and final its last number without thousands separators. A row is
// identified by its question, so that a case has the same id in both.
func gsm8kRow(obj map[string]any, it *item) error {
	pos := it.test.Pos
	question, ok := obj["question"].(string)
	if !ok || question == "" {
		return wrongField(pos, obj, "question", "a string that is not empty")
	}
	key := "answer"
	if _, ok := obj[key]; !ok {
		if _, ok := obj["ground_truth"]; ok {
			key = "ground_truth"
		}
	}
	answer, ok := obj[key].(string)
	if !ok {
		return wrongField(pos, obj, key, "the reference answer as a string")
	}
	if _, ok := obj["final"]; ok {
		return fieldError(pos, "final", obj["final"], "the row already has this field", "a published file of GSM8K, in which it is computed")
	}
	m := hashAnswer.FindStringSubmatch(answer)
	if m == nil {
		m = letterAnswer.FindStringSubmatch(answer)
	}
	if m == nil {
		return fieldError(pos, key, tail(answer, 60), "no final answer", `"#### N" or a last line "A: N"`)
	}
	final := strings.TrimRight(strings.ReplaceAll(m[1], ",", ""), ".")
	if _, err := strconv.ParseFloat(final, 64); err != nil {
		return fieldError(pos, key, m[0], "the final answer is not a number", "a number")
	}
	obj["answer"] = answer
	obj["final"] = final
	it.test.Vars = obj
	it.idField = "id"
	it.identity = map[string]any{"question": question}
	return nil
}

// wrongField reports a field that is absent or not of the type that its format has.
func wrongField(pos config.Pos, obj map[string]any, key, want string) *config.Error {
	v, ok := obj[key]
	switch {
	case !ok:
		return fieldError(pos, key, nil, "the field is missing", want)
	case v == nil:
		return fieldError(pos, key, "null", "not a value of this field", want)
	}
	return fieldError(pos, key, v, "not a value of this field", want)
}

// parseShare reads a number from 0 to 1.
func parseShare(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err == nil && !(f >= 0 && f <= 1) {
		err = strconv.ErrRange
	}
	return f, err
}

// tail returns at most the last n bytes of s, cut at a space where there is one.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if i := strings.IndexByte(s, ' '); i >= 0 {
		s = s[i:]
	}
	return "…" + strings.ToValidUTF8(s, "")
}
