// Package template renders prompts and assertion values: Jinja2 through gonja, strict and sandboxed.
//
// A variable that is not given is an error that names it, never an empty string. Templates cannot
// include files, read the environment or draw random numbers, so that the same variables always
// give the same text. Values are inserted as they are: what a variable holds is never itself
// taken for a template.
package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"
	"sync"

	"github.com/nikolalohinski/gonja/v2/builtins"
	gonja "github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct {
	source string
	// parts is set for the common template of plain text and {{ name }} only; rendering it needs no
	// interpreter. Otherwise jinja is set.
	parts []part
	jinja *exec.Template
}

type part struct {
	text string
	name string // a variable's name, or empty for text
}

// MissingError says that a template uses a variable that was not given.
type MissingError struct {
	Name  string
	Given []string
}

// Error names the variable.
func (e *MissingError) Error() string { return fmt.Sprintf("variable %q is not given", e.Name) }

// IsTemplate says whether s holds any template syntax.
func IsTemplate(s string) bool {
	return strings.Contains(s, "{{") || strings.Contains(s, "{%") || strings.Contains(s, "{#")
}

// Parse parses a template. Its errors describe the mistake in the template's own text.
func Parse(source string) (*Template, error) {
	t := &Template{source: source}
	if parts, ok := simple(source); ok {
		t.parts = parts
		return t, nil
	}
	jinja, err := exec.NewTemplate(rootName, settings(), sandbox{source}, environment())
	if err != nil {
		return nil, parseError(err, source)
	}
	t.jinja = jinja
	return t, nil
}

// Source returns the text that was parsed.
func (t *Template) Source() string { return t.source }

// Render fills the template. The error is a *MissingError when a variable is not given.
func (t *Template) Render(vars map[string]any) (string, error) {
	if t.jinja == nil {
		text, ok, err := renderParts(t.parts, vars)
		if ok || err != nil {
			return text, err
		}
		// A value that is not text is printed the way Jinja prints it.
		jinja, err := exec.NewTemplate(rootName, settings(), sandbox{t.source}, environment())
		if err != nil {
			return "", parseError(err, t.source)
		}
		return renderJinja(jinja, vars)
	}
	return renderJinja(t.jinja, vars)
}

// Names returns the variables that a template of text and {{ name }} alone uses; ok is false for
// any other template.
func (t *Template) Names() (names []string, ok bool) {
	if t.jinja != nil {
		return nil, false
	}
	for _, p := range t.parts {
		if p.name != "" {
			names = append(names, p.name)
		}
	}
	return names, true
}

var placeholder = regexp.MustCompile(`\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)

// reserved are the words that mean something else than a variable to Jinja.
var reserved = map[string]bool{"true": true, "false": true, "none": true, "True": true, "False": true, "None": true, "null": true, "self": true, "not": true}

func simple(source string) ([]part, bool) {
	if strings.Contains(source, "{%") || strings.Contains(source, "{#") {
		return nil, false
	}
	var parts []part
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(source, -1) {
		name := source[m[2]:m[3]]
		if reserved[name] {
			return nil, false
		}
		parts = append(parts, part{text: source[at:m[0]]}, part{name: name})
		at = m[1]
	}
	parts = append(parts, part{text: source[at:]})
	for _, p := range parts {
		if strings.Contains(p.text, "{{") || strings.Contains(p.text, "}}") {
			return nil, false
		}
	}
	return parts, true
}

// renderParts returns ok false when a value is not text.
func renderParts(parts []part, vars map[string]any) (text string, ok bool, err error) {
	var b strings.Builder
	for _, p := range parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		v, given := vars[p.name]
		if !given {
			return "", false, missing(p.name, vars)
		}
		s, isText := v.(string)
		if !isText {
			return "", false, nil
		}
		b.WriteString(s)
	}
	return b.String(), true, nil
}

func renderJinja(t *exec.Template, vars map[string]any) (text string, err error) {
	// gonja panics on some type mismatches; that is the template's mistake, not a crash of ours.
	defer func() {
		if p := recover(); p != nil {
			text, err = "", fmt.Errorf("template: %v", p)
		}
	}()
	text, err = t.ExecuteToString(exec.NewContext(maps.Clone(vars)))
	if err == nil {
		return text, nil
	}
	if m := undefinedName.FindStringSubmatch(err.Error()); m != nil {
		if _, given := vars[m[1]]; !given {
			return "", missing(m[1], vars)
		}
	}
	return "", fmt.Errorf("template: %s", lastCause(err))
}

var undefinedName = regexp.MustCompile(`Unable to evaluate name "([^"]+)"`)

func missing(name string, vars map[string]any) error {
	e := &MissingError{Name: name}
	for k := range vars {
		e.Given = append(e.Given, k)
	}
	return e
}

// lastCause keeps the innermost of gonja's nested messages: the one about the user's mistake.
func lastCause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return plain(err.Error())
		}
		err = next
	}
}

var (
	innerToken = regexp.MustCompile(`&\{<Token\[\w+\] Val='([^']*)'[^>]*>[^}]*\}`)
	nowhere    = regexp.MustCompile(`\s*\(Line: 0 Col: 0, near "(.*)"\)`)
	place      = regexp.MustCompile(`\(Line: (\d+) Col: (\d+), near "(.*)"\)`)
)

// plain turns gonja's description of its own tokens into the words a template has.
func plain(msg string) string {
	msg = innerToken.ReplaceAllString(msg, "'$1'")
	msg = nowhere.ReplaceAllString(msg, "$1")
	return place.ReplaceAllString(msg, `(line $1, column $2, near "$3")`)
}

// parseError leaves out the copy of the whole template that gonja puts into its message.
func parseError(err error, source string) error {
	msg := strings.TrimPrefix(err.Error(), fmt.Sprintf("failed to parse template '%s': ", source))
	return fmt.Errorf("template: %s", plain(msg))
}

const rootName = "template"

// sandbox is a gonja loader that knows the template itself and nothing else.
type sandbox struct{ source string }

func (s sandbox) Read(path string) (io.Reader, error) {
	if path != rootName {
		return nil, fmt.Errorf("a template cannot include %q: includes are not supported", path)
	}
	return strings.NewReader(s.source), nil
}

func (s sandbox) Resolve(path string) (string, error)         { return path, nil }
func (s sandbox) Inherit(from string) (loaders.Loader, error) { return s, nil }

var settings = sync.OnceValue(func() *gonja.Config {
	c := gonja.New()
	c.StrictUndefined = true
	c.KeepTrailingNewline = true
	return c
})

var environment = sync.OnceValue(func() *exec.Environment {
	refuse := func(name string) exec.FilterFunction {
		return func(*exec.Evaluator, *exec.Value, *exec.VarArgs) *exec.Value {
			return exec.AsValue(fmt.Errorf("filter %q is not allowed: prompts must be the same in every run", name))
		}
	}
	filters := exec.NewFilterSet(map[string]exec.FilterFunction{}).Update(builtins.Filters)
	_ = filters.Replace("random", refuse("random"))
	// Nunjucks, which promptfoo uses, calls Jinja's tojson "dump".
	_ = filters.Register("dump", func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // a prompt is not a web page
		if err := e.Encode(in.Interface()); err != nil {
			return exec.AsValue(err)
		}
		return exec.AsSafeValue(strings.TrimSuffix(b.String(), "\n"))
	})
	globals := exec.EmptyContext().Update(builtins.GlobalFunctions).Update(builtins.GlobalVariables)
	globals.Set("lipsum", func() (string, error) {
		return "", errors.New("lipsum() is not allowed: prompts must be the same in every run")
	})
	return &exec.Environment{
		Context:           globals,
		Filters:           filters,
		Tests:             builtins.Tests,
		ControlStructures: builtins.ControlStructures,
		Methods:           builtins.Methods,
	}
})
