package lmeval

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/lmeval/pyjinja"
)

// turn reads the question of a document.
func (t *Task) question(f field, doc map[string]any) (string, error) {
	v, rendered, err := f.read(doc)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return "", &config.Error{Pos: f.pos, Value: f.source, Problem: "the field is " + kindOf(v), Want: "a text"}
	case rendered && digits(s) && t.choice.set:
		return "", &config.Error{Pos: f.pos, Value: s, Problem: "doc_to_text gives the number of a choice: tasks whose choices are part of the prompt are not supported", Want: "a text"}
	}
	return s, nil
}

// answer reads the target of a document: a text, a whole number or a list.
func (t *Task) answer(f field, doc map[string]any) (any, error) {
	v, rendered, err := f.read(doc)
	if err != nil || !rendered {
		return plain(v), err
	}
	s := v.(string)
	switch {
	case digits(s) && t.choice.set:
		n, err := pyjinja.Literal(s)
		if err != nil {
			return nil, &config.Error{Pos: f.pos, Value: s, Problem: "not a number to Python", Err: err}
		}
		return n, nil
	case len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']':
		if v, err := pyjinja.Literal(s); err == nil {
			return plain(v), nil
		}
	}
	return s, nil
}

// plain makes a list of a tuple.
func plain(v any) any {
	if t, ok := v.(pyjinja.Tuple); ok {
		return []any(t)
	}
	return v
}

// choices reads the choices of a document.
func (t *Task) choices(f field, doc map[string]any) ([]any, error) {
	v, rendered, err := f.read(doc)
	if err != nil {
		return nil, err
	}
	if rendered {
		text := v.(string)
		if v, err = pyjinja.Literal(text); err != nil {
			return nil, &config.Error{Pos: f.pos, Value: config.Clip(text, 80), Problem: "doc_to_choice gives no Python list", Err: err}
		}
	}
	list, ok := plain(v).([]any)
	if !ok || len(list) == 0 {
		return nil, &config.Error{Pos: f.pos, Value: f.source, Problem: "the choices are " + kindOf(v), Want: "a list of texts"}
	}
	for _, c := range list {
		if s, ok := c.(string); !ok || s == "" {
			return nil, &config.Error{Pos: f.pos, Value: f.source, Problem: "a choice is " + kindOf(c), Want: "a text that is not empty"}
		}
	}
	return list, nil
}

// Row makes the case of a document, the nth of the split from 0.
func (t *Task) Row(p config.Pos, n int, doc map[string]any) (config.Test, error) {
	c := config.Test{Pos: p, ID: fmt.Sprintf("%s/%d", t.Name, n)}
	fail := func(err error) (config.Test, error) {
		if e, ok := errors.AsType[*config.Error](err); ok {
			return c, &config.Error{Pos: p, Problem: e.Error()}
		}
		return c, &config.Error{Pos: p, Err: err}
	}
	prompt, err := t.start, error(nil)
	if t.Output != "loglikelihood_rolling" {
		prompt, err = t.context(n, doc)
	}
	if err != nil {
		return fail(err)
	}
	target, err := t.answer(t.target, doc)
	if err != nil {
		return fail(err)
	}
	c.Vars = maps.Clone(doc)
	c.Vars[PromptVar] = prompt
	switch t.Output {
	case "multiple_choice":
		choices, err := t.choices(t.choice, doc)
		if err != nil {
			return fail(err)
		}
		c.Vars[ChoiceVar] = choices
		c.Vars[GoldVar] = gold(target, choices)
	case "loglikelihood", "loglikelihood_rolling":
		text, ok := target.(string)
		if !ok || text == "" {
			return fail(&config.Error{Pos: t.target.pos, Problem: "the target is " + kindOf(target), Want: "a text that is not empty"})
		}
		c.Vars[TargetVar] = text
	default:
		if c.Vars[TargetVar], err = t.reference(target, doc); err != nil {
			return fail(err)
		}
	}
	return c, nil
}

// reference turns the target of a generation into a text, or a list of texts any of which is right.
func (t *Task) reference(target any, doc map[string]any) (any, error) {
	if t.choice.set {
		choices, err := t.choices(t.choice, doc)
		if err != nil {
			return nil, err
		}
		n, ok := target.(int64)
		if n < 0 {
			n += int64(len(choices))
		}
		if !ok || n < 0 || n >= int64(len(choices)) {
			return nil, &config.Error{Pos: t.target.pos, Value: fmt.Sprint(target), Problem: "not the number of a choice", Want: fmt.Sprintf("0 to %d", len(choices)-1)}
		}
		return choices[n], nil
	}
	list, ok := target.([]any)
	if !ok {
		s, err := pyjinja.Str(target)
		return s, err
	}
	out := make([]any, len(list))
	for i, e := range list {
		s, err := pyjinja.Str(e)
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// gold finds the right choice by number or by text.
func gold(target any, choices []any) any {
	one := func(v any) int64 {
		switch v := v.(type) {
		case bool:
			if v {
				return within(1, choices)
			}
			return within(0, choices)
		case int64:
			return within(v, choices)
		case float64:
			if v == float64(int64(v)) {
				return within(int64(v), choices)
			}
		case string:
			for i, c := range choices {
				if c == v {
					return int64(i)
				}
			}
		}
		return -1
	}
	if list, ok := target.([]any); ok {
		out := make([]any, len(list))
		for i, v := range list {
			out[i] = one(v)
		}
		return out
	}
	return one(target)
}

func within(n int64, choices []any) int64 {
	if n < 0 || n >= int64(len(choices)) {
		return -1
	}
	return n
}

// context puts the prompt of a document together: description, examples, question.
func (t *Task) context(n int, doc map[string]any) (string, error) {
	var b strings.Builder
	description, err := t.description.textOf(doc)
	if err != nil {
		return "", err
	}
	b.WriteString(description)
	if t.shots > 0 {
		shots, err := t.fewshot.draw(n, doc)
		if err != nil {
			return "", err
		}
		for _, s := range shots {
			text, err := t.example(s)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
		}
	}
	q, err := t.question(t.text, doc)
	if err != nil {
		return "", err
	}
	prefix, err := t.prefix.textOf(doc)
	if err != nil {
		return "", err
	}
	b.WriteString(q)
	if prefix != "" {
		if needsSpace(q, prefix) {
			b.WriteString(t.targetDelimiter)
		}
		b.WriteString(prefix)
	}
	return b.String(), nil
}

// example writes a solved document.
func (t *Task) example(doc map[string]any) (string, error) {
	q, err := t.question(t.shotText, doc)
	if err != nil {
		return "", err
	}
	prefix, err := t.shotPrefix.textOf(doc)
	if err != nil {
		return "", err
	}
	answer, err := t.exampleAnswer(doc)
	if err != nil {
		return "", err
	}
	if answer == "" {
		if prefix != "" && needsSpace(q, prefix) {
			q += t.shotTargetDelimiter
		}
		return q + prefix, nil
	}
	if prefix == "" || needsSpace(q, prefix) {
		q += t.shotTargetDelimiter
	}
	if prefix != "" && !endsInSpace(prefix) && !startsWithSpace(answer) {
		prefix += " "
	}
	return q + prefix + answer + t.shotDelimiter, nil
}

// exampleAnswer is the target as it stands in an example: of several the first, of a number its choice.
func (t *Task) exampleAnswer(doc map[string]any) (string, error) {
	target, err := t.answer(t.shotTarget, doc)
	if err != nil {
		return "", err
	}
	if list, ok := target.([]any); ok {
		if len(list) == 0 {
			return "", &config.Error{Pos: t.shotTarget.pos, Problem: "an example whose list of answers is empty", Want: "at least one"}
		}
		target = list[0]
	}
	if n, ok := target.(int64); ok && t.shotChoice.set {
		choices, err := t.choices(t.shotChoice, doc)
		if err != nil {
			return "", err
		}
		if n < 0 || n >= int64(len(choices)) {
			return "", &config.Error{Pos: t.shotTarget.pos, Value: fmt.Sprint(n), Problem: "not the number of a choice", Want: fmt.Sprintf("0 to %d", len(choices)-1)}
		}
		return choices[n].(string), nil
	}
	if target == nil {
		return "", nil
	}
	s, ok := target.(string)
	if !ok {
		return "", &config.Error{Pos: t.shotTarget.pos, Value: fmt.Sprint(target), Problem: "the answer of an example is " + kindOf(target), Want: "a text"}
	}
	return s, nil
}

// needsSpace says whether a delimiter belongs between two texts.
func needsSpace(before, after string) bool {
	return before != "" && !endsInSpace(before) && !startsWithSpace(after)
}

func endsInSpace(s string) bool {
	r, _ := utf8.DecodeLastRuneInString(s)
	return unicode.IsSpace(r)
}

func startsWithSpace(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsSpace(r)
}
