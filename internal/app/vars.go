package app

import (
	"errors"
	"maps"
	"regexp"
	"slices"

	"github.com/telltale-llm/telltale/internal/config"
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
