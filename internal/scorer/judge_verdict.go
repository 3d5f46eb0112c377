package scorer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// verdictObject is the JSON object in which a judge gives its verdict. It is searched for leniently and
// read strictly: a field of another type, outside its range or given twice is no verdict.
type verdictObject struct {
	raw    string
	at     int // of raw in the judge's answer
	fields map[string]any
}

var errNoVerdict = errors.New("there is no JSON object in its answer")

// judgeVerdict finds the one JSON object in a judge's answer, whatever stands around it. Two are refused:
// one of them may have come from the answer that is judged.
func judgeVerdict(answer string) (*verdictObject, error) {
	from := 0
	if lead := len(answer) - len(strings.TrimLeft(answer, " \t\r\n")); strings.HasPrefix(answer[lead:], "<think>") {
		// What some models print of their thoughts is not their answer.
		if end := strings.Index(answer, "</think>"); end >= 0 {
			from = end + len("</think>")
		}
	}
	var spans [][2]int
	err := eachJSON(answer[from:], func(start, end int) bool {
		if answer[from+start] == '{' {
			spans = append(spans, [2]int{from + start, from + end})
		}
		return len(spans) < 2
	})
	switch {
	case err != nil:
		return nil, errors.New("its answer is too tangled to find a JSON object in it")
	case len(spans) == 0:
		return nil, errNoVerdict
	case len(spans) > 1:
		return nil, errors.New("there is more than one JSON object in its answer")
	}
	v := &verdictObject{raw: answer[spans[0][0]:spans[0][1]], at: spans[0][0]}
	if key, ok := repeatedKey(v.raw); ok {
		return nil, fmt.Errorf("%s is given twice", quote(key))
	}
	value, err := decodeJSON(v.raw)
	if err != nil {
		return nil, fmt.Errorf("its JSON cannot be read: %w", err)
	}
	v.fields, _ = value.(map[string]any)
	return v, nil
}

// repeatedKey finds a key that stands twice in one object, at any depth. raw must be valid JSON.
func repeatedKey(raw string) (string, bool) {
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	var open []map[string]bool // nil for an array
	isKey := false
	for {
		t, err := d.Token()
		if err != nil {
			return "", false
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '{':
				open = append(open, map[string]bool{})
				isKey = true
				continue
			case '[':
				open = append(open, nil)
				isKey = false
				continue
			}
			open = open[:len(open)-1]
		case string:
			if isKey {
				keys := open[len(open)-1]
				if keys[t] {
					return t, true
				}
				keys[t] = true
				isKey = false
				continue
			}
		}
		isKey = len(open) > 0 && open[len(open)-1] != nil
	}
}

func (v *verdictObject) has(key string) bool { return v.fields[key] != nil }

func (v *verdictObject) wrong(key, want string) error {
	got, given := v.fields[key]
	if !given {
		return fmt.Errorf("it does not say %q, which is to be %s", key, want)
	}
	b, err := json.Marshal(got)
	if err != nil {
		return fmt.Errorf("%q is not %s", key, want)
	}
	return fmt.Errorf("%q is %s, not %s", key, clipped(string(b)), want)
}

func clipped(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:80], "") + "…"
}

// boolean reads true or false.
func (v *verdictObject) boolean(key string) (bool, error) {
	b, ok := v.fields[key].(bool)
	if !ok {
		return false, v.wrong(key, "true or false")
	}
	return b, nil
}

// number reads a number from least to most.
func (v *verdictObject) number(key string, least, most float64) (float64, error) {
	n, ok := v.fields[key].(json.Number)
	if !ok {
		return 0, v.wrong(key, fmt.Sprintf("a number from %g to %g", least, most))
	}
	f, err := n.Float64()
	if err != nil || !(f >= least && f <= most) {
		return 0, v.wrong(key, fmt.Sprintf("a number from %g to %g", least, most))
	}
	return f, nil
}

// whole reads a whole number from least to most.
func (v *verdictObject) whole(key string, least, most float64) (float64, error) {
	f, err := v.number(key, least, most)
	if err == nil && f != math.Trunc(f) {
		err = v.wrong(key, fmt.Sprintf("a whole number from %g to %g", least, most))
	}
	return f, err
}

// word reads one of a few words, whatever its case.
func (v *verdictObject) word(key string, words ...string) (string, error) {
	s, _ := v.fields[key].(string)
	for _, w := range words {
		if strings.EqualFold(strings.TrimSpace(s), w) {
			return w, nil
		}
	}
	return "", v.wrong(key, "one of "+strings.Join(words, ", "))
}

// reason reads the judge's reason, which it may leave out.
func (v *verdictObject) reason() (string, error) {
	switch s := v.fields["reason"].(type) {
	case nil:
		return "", nil
	case string:
		return s, nil
	}
	return "", v.wrong("reason", "a text")
}

// texts reads a list of texts that are not blank.
func (v *verdictObject) texts(key string) ([]string, error) {
	list, ok := v.fields[key].([]any)
	if !ok {
		return nil, v.wrong(key, "a list of texts")
	}
	out := make([]string, len(list))
	for i, e := range list {
		s, ok := e.(string)
		if out[i] = strings.TrimSpace(s); !ok || out[i] == "" {
			return nil, v.wrong(key, "a list of texts, none of them empty")
		}
	}
	return out, nil
}

// numbers reads a list of different whole numbers from 1 to most, and sorts them.
func (v *verdictObject) numbers(key string, most int) ([]int, error) {
	want := fmt.Sprintf("a list of different whole numbers from 1 to %d", most)
	list, ok := v.fields[key].([]any)
	if !ok {
		return nil, v.wrong(key, want)
	}
	out := make([]int, 0, len(list))
	for _, e := range list {
		n, isNumber := e.(json.Number)
		i, err := n.Int64()
		if !isNumber || err != nil || i < 1 || i > int64(most) || slices.Contains(out, int(i)) {
			return nil, v.wrong(key, want)
		}
		out = append(out, int(i))
	}
	slices.Sort(out)
	return out, nil
}

// entries reads a list of objects.
func (v *verdictObject) entries(key string) ([]*verdictObject, error) {
	list, ok := v.fields[key].([]any)
	if !ok {
		return nil, v.wrong(key, "a list of objects")
	}
	out := make([]*verdictObject, len(list))
	for i, e := range list {
		fields, ok := e.(map[string]any)
		if !ok {
			return nil, v.wrong(key, "a list of objects")
		}
		out[i] = &verdictObject{fields: fields}
	}
	return out, nil
}

// place returns where in the judge's answer the value of a top-level key with a number begins, and the
// number as it is written.
func (v *verdictObject) place(key string) (at int, digits string, ok bool) {
	d := json.NewDecoder(strings.NewReader(v.raw))
	d.UseNumber()
	depth, isKey, wanted := 0, false, false
	for {
		t, err := d.Token()
		if err != nil {
			return 0, "", false
		}
		switch t := t.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				depth++
				isKey = depth == 1
				wanted = false
				continue
			}
			depth--
			isKey = depth == 1
			continue
		case json.Number:
			if wanted && depth == 1 {
				return v.at + int(d.InputOffset()) - len(t), string(t), true
			}
		case string:
			if depth == 1 && isKey {
				wanted, isKey = t == key, false
				continue
			}
		}
		if depth == 1 {
			isKey, wanted = true, false
		}
	}
}
