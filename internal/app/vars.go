package app

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/template"
)

// fillVars renders the variables of the suite's own text that hold templates over other variables, as
// promptfoo does. A text that names a variable nobody gave, or that needs itself, is left as it is.
func fillVars(t *config.Test) error {
	if len(t.Templates) == 0 {
		return nil
	}
	f := &varFiller{t: t, vars: maps.Clone(t.Vars), state: map[string]fillState{}}
	for _, name := range t.Templates {
		if err := f.fill(name); err != nil {
			return err
		}
	}
	t.Vars = f.vars
	return nil
}

// transformVars adds what the test's transformVars makes of its variables.
func (s *session) transformVars(t *config.Test) error {
	if t.TransformVars == "" {
		return nil
	}
	at := func(err error) error {
		return &config.Error{Pos: t.Pos.At("options.transformVars"), Value: t.TransformVars, Err: err}
	}
	s.mu.Lock()
	f, ok := s.varsTransforms[t.TransformVars]
	if !ok {
		var err error
		if f, err = scorer.NewVarsTransform(t.TransformVars, t.TransformVarsPos, s.check.dir, s.check.services); err != nil {
			s.mu.Unlock()
			return err
		}
		if s.varsTransforms == nil {
			s.varsTransforms = map[string]*scorer.VarsTransform{}
		}
		if len(s.varsTransforms) < maxTransforms {
			s.varsTransforms[t.TransformVars] = f
		}
	}
	s.mu.Unlock()
	more, err := f.Vars(context.Background(), t.Vars, t.ID)
	if err != nil {
		return at(err)
	}
	addVars(t, more)
	return nil
}

// addVars puts variables over those of the test.
func addVars(t *config.Test, more map[string]any) {
	if len(more) == 0 {
		return
	}
	vars := make(map[string]any, len(t.Vars)+len(more))
	maps.Copy(vars, t.Vars)
	maps.Copy(vars, more)
	t.Vars = vars
	t.Templates = slices.DeleteFunc(slices.Clone(t.Templates), func(name string) bool { _, over := more[name]; return over })
}

// fillState is how far a variable is.
type fillState uint8

const (
	filling fillState = iota + 1
	filled
)

type varFiller struct {
	t     *config.Test
	vars  map[string]any
	state map[string]fillState
}

// used finds the names that a template may use.
var used = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

func (f *varFiller) fill(name string) error {
	source, isText := f.vars[name].(string)
	if f.state[name] != 0 || !isText || !slices.Contains(f.t.Templates, name) {
		return nil
	}
	f.state[name] = filling
	defer func() { f.state[name] = filled }()
	for _, other := range used.FindAllString(source, -1) {
		if _, given := f.vars[other]; !given {
			continue
		}
		if f.state[other] == filling {
			return nil
		}
		if err := f.fill(other); err != nil {
			return err
		}
	}
	tpl, err := template.Parse(source)
	if err != nil {
		return nil // a text about templates
	}
	text, err := tpl.Render(f.vars)
	if _, missing := errors.AsType[*template.MissingError](err); missing {
		return nil
	}
	if err != nil {
		return &config.Error{Pos: f.t.Pos.At("vars." + name), Value: source, Err: err}
	}
	f.vars[name] = text
	return nil
}
