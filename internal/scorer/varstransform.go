package scorer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// VarsTransform makes variables from a case's variables before anything else is done with them. It is
// safe for concurrent use.
//
// Its source is an object such as {...vars, loud: vars.topic.toUpperCase()}, in which each value is an
// expression as a Transform has them; or CEL that gives a map; or, where code is allowed, code.
type VarsTransform struct {
	source string
	// parts are the entries of an object; whole is everything else.
	parts []varsPart
	whole *Transform
}

type varsPart struct {
	name  string
	value *Transform
}

// NewVarsTransform compiles what makes variables. The error is a *config.Error at pos.
func NewVarsTransform(source string, pos config.Pos, dir string, services *Services) (*VarsTransform, error) {
	t := &VarsTransform{source: source}
	parts, isObject := splitObject(source)
	problem := ""
	for _, p := range parts {
		program, why := compileTransform(p.value)
		if why != "" {
			problem = why
			break
		}
		t.parts = append(t.parts, varsPart{p.name, &Transform{source: p.value, program: program}})
	}
	if isObject && problem == "" {
		return t, nil
	}
	t.parts = nil
	program, why := compileTransform(source)
	if !isObject {
		problem = why
	}
	if why == "" {
		t.whole = &Transform{source: source, program: program}
		return t, nil
	}
	if services == nil || !services.AllowCode {
		return nil, &config.Error{Pos: pos, Value: source, Problem: problem}
	}
	code, err := newCodeCall(services, pos, dir, "transformVars", source)
	t.whole = &Transform{source: source, code: code}
	return t, err
}

// VarsTransformProblem says why what makes variables cannot be run, "" when it can.
func VarsTransformProblem(source string, code CodePolicy) string {
	if code == CodeAllowed {
		return ""
	}
	_, err := NewVarsTransform(source, config.Pos{}, "", nil)
	if e, ok := errors.AsType[*config.Error](err); ok {
		return e.Problem
	}
	return ""
}

// Vars returns what the transform adds to the variables. id tells cases apart: context.uuid is made of it,
// and therefore the same whenever the case is.
func (t *VarsTransform) Vars(ctx context.Context, vars map[string]any, id string) (map[string]any, error) {
	// Code finds the variables where other code finds the output.
	in := &Input{Vars: vars, Response: &record.Response{Value: vars}, UUID: uuidOf(id)}
	if t.whole != nil {
		v, err := t.whole.Value(ctx, in)
		if err != nil {
			return nil, err
		}
		out, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("transformVars %s gives %s, not variables by name", quote(t.source), jsType(v))
		}
		return out, nil
	}
	out := make(map[string]any, len(t.parts))
	for _, p := range t.parts {
		v, err := p.value.Value(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("transformVars, variable %s: %w", p.name, err)
		}
		out[p.name] = v
	}
	return out, nil
}

// uuidOf is a UUID of the kind that RFC 9562 leaves to applications (version 8), from a SHA-256.
func uuidOf(id string) string {
	h := sha256.Sum256([]byte(id))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	x := hex.EncodeToString(h[:16])
	return strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
}

// objectPart is an entry of an object as it is written.
type objectPart struct{ name, value string }

var (
	objectKey = regexp.MustCompile(`^\s*(?:([A-Za-z_$][A-Za-z0-9_$]*)|"([^"\\]*)"|'([^'\\]*)')\s*:`)
	spread    = regexp.MustCompile(`^\s*\.\.\.\s*(?:context\.)?vars\s*$`)
)

// splitObject takes a JavaScript object apart. The variables themselves, spread into it, are left out:
// they are there anyway.
func splitObject(source string) ([]objectPart, bool) {
	s := strings.TrimSpace(source)
	if rest, ok := strings.CutPrefix(s, "return"); ok && rest != "" && strings.ContainsAny(rest[:1], " \t\n({") {
		s = strings.TrimSpace(rest)
	}
	s = strings.TrimSpace(strings.TrimRight(s, "; \n\t"))
	for strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")") {
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") {
		return nil, false
	}
	var out []objectPart
	for _, entry := range splitTop(s[1 : len(s)-1]) {
		if strings.TrimSpace(entry) == "" || spread.MatchString(entry) {
			continue
		}
		m := objectKey.FindStringSubmatchIndex(entry)
		if m == nil {
			return nil, false
		}
		name := ""
		for i := 2; i < len(m); i += 2 {
			if m[i] >= 0 {
				name = entry[m[i]:m[i+1]]
			}
		}
		out = append(out, objectPart{name, strings.TrimSpace(entry[m[1]:])})
	}
	return out, len(out) > 0
}

// splitTop splits at the commas that stand in no bracket and no text.
func splitTop(s string) []string {
	var out []string
	depth, from, quoted := 0, 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quoted != 0 && c == '\\':
			i++
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quoted = c
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case c == ',' && depth == 0:
			out, from = append(out, s[from:i]), i+1
		}
	}
	return append(out, s[from:])
}
