package sim

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// variant is a Behaviour made ready to answer.
type variant struct {
	Behaviour
	name        string // under which it is asked for
	seed        uint64
	fingerprint string
	accuracy    float64
	rules       []matcher
	lower       bool // whether a rule needs the message in lower case
}

// matcher is a Rule made ready.
type matcher struct {
	Rule
	re       *regexp.Regexp
	contains string // in lower case
}

func (r *matcher) matches(text, lower string) bool {
	switch {
	case r.re != nil:
		return r.re.MatchString(text)
	case r.contains != "":
		return strings.Contains(lower, r.contains)
	}
	return r.Equals == text
}

func newVariant(c Config, version string, b Behaviour) (*variant, error) {
	if sum := b.rateSum(); sum > 1+1e-9 {
		return nil, fmt.Errorf("the rates of errors add up to %g; want at most 1", sum)
	}
	v := &variant{Behaviour: b, name: c.name(version), accuracy: 1, seed: mix(uint64(c.Seed), uint64(b.Seed))}
	if v.Mode == "" {
		v.Mode = Assistant
	}
	if v.Length == (Dist{}) {
		v.Length = defaultLength
	}
	if b.Accuracy != nil {
		v.accuracy = *b.Accuracy
	}
	v.fingerprint = "fp_" + record.HashJSON(struct {
		Seed      int64
		Version   string
		Behaviour Behaviour
	}{c.Seed, version, b})[:10]
	for i, rule := range b.Answers {
		r := matcher{Rule: rule, contains: strings.ToLower(rule.Contains)}
		if len(rule.Answers) == 0 {
			return nil, fmt.Errorf("answers[%d] has no answer", i)
		}
		if rule.Match != "" {
			re, err := regexp.Compile(rule.Match)
			if err != nil {
				return nil, fmt.Errorf("answers[%d]: match: %w", i, err)
			}
			r.re = re
		}
		v.lower = v.lower || r.contains != ""
		v.rules = append(v.rules, r)
	}
	return v, nil
}

// name is what the model is called in a version; the base's is empty.
func (c *Config) name(version string) string {
	name := c.Model
	if name == "" {
		name = "sim"
	}
	if version != "" {
		name += "-" + version
	}
	return name
}

// fails says whether requests may meet a fault.
func (v *variant) fails() bool {
	if len(v.Faults) > 0 {
		return true
	}
	for i := range v.Script {
		if v.Script[i].Regression == ErrorSpike {
			return true
		}
	}
	return false
}

// variant returns the behaviour that a requested model name stands for, or nil when there is none:
// NAME, NAME-VERSION, NAME@VERSION, and any other name unless StrictModels is set. A version that
// does not exist is never taken for the base.
func (m *Model) variant(name string) *variant {
	if name == "" || name == m.name {
		return m.base
	}
	rest, own := strings.CutPrefix(name, m.name)
	if own && rest[0] == '-' {
		return m.versions[rest[1:]]
	}
	if model, version, ok := strings.Cut(name, "@"); ok {
		if model != m.name && m.o.StrictModels {
			return nil
		}
		return m.versions[version]
	}
	if m.o.StrictModels {
		return nil
	}
	return m.base
}

// models lists the names of the base and the versions.
func (m *Model) models() []string {
	names := []string{m.name}
	for _, v := range sortedKeys(m.versions) {
		names = append(names, m.versions[v].name)
	}
	return names
}
