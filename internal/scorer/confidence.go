package scorer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// confidence is where the probability comes from that an answer is right.
type confidence struct {
	kind string
	// arg is the pattern, path or field of a kind that has one.
	arg   string
	re    *regexp.Regexp
	scale float64
}

// The sources of a confidence. The first two take nothing; the others are written as a mapping.
const (
	fromTokens   = "logprob"
	fromSequence = "sequence"
	fromRegex    = "regex"
	fromJSON     = "json"
	fromVar      = "var"
	fromMetadata = "metadata"
)

const wantConfidence = "logprob, sequence, {regex: PATTERN}, {json: PATH}, {var: NAME} or {metadata: NAME}"

// readConfidence reads config of confidence and scale.
func readConfidence(r *config.Reader) confidence {
	c := confidence{scale: 1}
	scale := r.Float("scale")
	switch v := r.Any("confidence").(type) {
	case nil:
		r.Fail("confidence", "calibration needs to know where the confidence comes from", wantConfidence)
	case string:
		c.kind = v
		if v != fromTokens && v != fromSequence {
			r.Fail("confidence", "no such source of a confidence", wantConfidence)
		}
	case map[string]any:
		keys := slices.Collect(maps.Keys(v))
		if len(keys) == 1 {
			c.kind = keys[0]
			c.arg, _ = v[c.kind].(string)
		}
		if c.arg == "" || !slices.Contains([]string{fromRegex, fromJSON, fromVar, fromMetadata}, c.kind) {
			r.Fail("confidence", "no such source of a confidence", wantConfidence)
			break
		}
		if c.kind == fromRegex {
			var err error
			if c.re, err = regexp.Compile(c.arg); err != nil {
				r.Fail("confidence", err.Error(), "a regular expression of RE2; its first group, or the whole, is the number")
			}
		}
	default:
		r.Fail("confidence", "no such source of a confidence", wantConfidence)
	}
	if scale != nil {
		c.scale = *scale
		switch {
		case !(*scale > 0) || math.IsInf(*scale, 0):
			r.Fail("scale", "confidences are divided by it", "a number above 0, such as 100 for percentages")
		case c.kind == fromTokens || c.kind == fromSequence:
			r.Fail("scale", "token probabilities are from 0 to 1 as they are", "no scale")
		}
	}
	return c
}

// name identifies the source in signatures and in kinds of measures. It has no comma and no colon.
func (c confidence) name() string {
	if c.arg == "" {
		return c.kind
	}
	name := c.kind + "-" + shortHash(c.arg)
	if c.scale != 1 {
		name += "/" + shortest(c.scale)
	}
	return name
}

// words says the same for readers.
func (c confidence) words() string {
	var out string
	switch c.kind {
	case fromTokens:
		return "mean probability of the output's tokens"
	case fromSequence:
		return "probability of the whole output"
	case fromRegex:
		out = "stated in the output, as the pattern " + c.arg + " finds it"
	case fromJSON:
		out = "stated in the output's JSON at " + c.arg
	case fromVar:
		out = "the case's variable " + c.arg
	default:
		out = "the case's metadata field " + c.arg
	}
	if c.scale != 1 {
		out += ", divided by " + shortest(c.scale)
	}
	return out
}

// of returns the confidence in an answer, which may lie outside 0 to 1 only by an error.
func (c confidence) of(in *Input) (float64, error) {
	switch c.kind {
	case fromTokens, fromSequence:
		return c.ofTokens(in)
	case fromRegex:
		found := c.re.FindAllStringSubmatch(in.Response.Output, -1)
		if len(found) == 0 {
			return 0, errors.New("the output states no confidence: nothing in it matches the pattern")
		}
		last := found[len(found)-1]
		return c.number(last[min(1, len(last)-1)])
	case fromJSON:
		v, err := firstJSON(in.Response.Output)
		if err != nil {
			return 0, fmt.Errorf("the output states no confidence: %w", err)
		}
		for key := range strings.SplitSeq(c.arg, ".") {
			if v, err = stepInto(v, key); err != nil {
				return 0, fmt.Errorf("the output states no confidence at %s: %w", c.arg, err)
			}
		}
		return c.number(v)
	}
	fields := in.Vars
	if c.kind == fromMetadata {
		fields = in.Metadata
	}
	v, ok := fields[c.arg]
	if !ok {
		return 0, fmt.Errorf("the case has no confidence: there is no %s %q", c.kind, c.arg)
	}
	return c.number(v)
}

// ofTokens is the mean probability of the output's tokens, or that of the whole.
func (c confidence) ofTokens(in *Input) (float64, error) {
	tokens, _, err := source{}.tokens(in)
	if err != nil {
		return 0, err
	}
	t, err := source{}.measure(in)
	if err != nil {
		return 0, err
	}
	if c.kind == fromSequence {
		return math.Min(1, math.Exp(t.LL)), nil
	}
	sum := 0.0
	for i := range tokens {
		sum += math.Exp(tokens[i].Logprob)
	}
	return math.Min(1, sum/float64(len(tokens))), nil
}

// number reads a confidence as it was stated.
func (c confidence) number(v any) (float64, error) {
	var x float64
	switch n := v.(type) {
	case string:
		s := strings.TrimSpace(n)
		if c.scale == 100 {
			s = strings.TrimSpace(strings.TrimSuffix(s, "%"))
		}
		var err error
		if x, err = strconv.ParseFloat(s, 64); err != nil {
			return 0, fmt.Errorf("the confidence %s is no number", strconv.Quote(config.Clip(n, 40)))
		}
	default:
		b, err := json.Marshal(v)
		if err == nil {
			x, err = strconv.ParseFloat(string(b), 64)
		}
		if err != nil {
			return 0, fmt.Errorf("the confidence is no number: %s", config.Clip(fmt.Sprint(v), 40))
		}
	}
	p := x / c.scale
	if !(p >= 0 && p <= 1) {
		hint := ""
		if c.scale == 1 && x > 1 && x <= 100 {
			hint = "; for percentages say scale: 100"
		}
		return 0, fmt.Errorf("the confidence %v is not from 0 to %v%s", x, c.scale, hint)
	}
	return p, nil
}

// firstJSON is the first object or list in a text.
func firstJSON(s string) (v any, err error) {
	found := ""
	if err := eachJSON(s, func(start, end int) bool {
		found = s[start:end]
		return false
	}); err != nil {
		return nil, err
	}
	if found == "" {
		return nil, errors.New("there is no JSON in it")
	}
	return decodeJSON(found)
}

// stepInto goes to a key of an object or an index of a list.
func stepInto(v any, key string) (any, error) {
	switch at := v.(type) {
	case map[string]any:
		if next, ok := at[key]; ok {
			return next, nil
		}
	case []any:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(at) {
			return at[i], nil
		}
	}
	return nil, fmt.Errorf("there is no %q", key)
}
