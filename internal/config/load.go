package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Options is what loading a suite needs from outside.
type Options struct {
	Vars map[string]string              // --var NAME=value
	Env  func(string) (string, bool)    // the environment; nil means none
	Read func(string) ([]byte, error)   // reads a referenced file
	Glob func(string) ([]string, error) // expands a pattern, sorted
	// Here finds what a path on the command line names from the working directory: its absolute
	// path, and whether there is such a file. Nil finds nothing.
	Here func(string) (string, bool)
	// Assertion tells what is known of an assertion type (without not-). Nil accepts every type.
	Assertion func(name string) Known
	// Transform says why a transform cannot be run, "" when it can. Nil takes every transform.
	Transform func(source string) string
	// TransformVars is Transform for what makes variables.
	TransformVars func(source string) string
	// Default is what every case has besides its own, for the cases of a file that is read on its own.
	Default *Test
	// Judge says why what names a judge cannot be used here, "" when it can. Nil takes everything.
	Judge func(ref any) string
	// WithoutKeys leaves the keys that a server's configuration refers to where they are: for those who need its names and
	// places only, and may not have them.
	WithoutKeys bool
	// Placement is said instead of what a server's file says; nil leaves all as it is.
	Placement *Placement
	// SkipUnsupported leaves out what cannot be run instead of failing; it is still listed.
	SkipUnsupported bool
	// Providers stand in the place of the suite's own, which are then not read; nil leaves them.
	Providers []Provider
}

// Known is what the loader must know of an assertion type.
type Known struct {
	OK bool
	// Unsupported says why a type that promptfoo has cannot be used; empty when it can.
	Unsupported string
	// Hint for a type nobody knows, such as the nearest name.
	Hint string
	// Lines says that a text file given as the value holds one item a line.
	Lines bool
	// Code says that the value may be a file of code, with the name of a function after a colon.
	Code bool
}

// Loaded is a suite and what was left out of it.
type Loaded struct {
	*Suite
	// Unsupported lists what promptfoo could run and telltale cannot, with file, line and key.
	Unsupported Errors
	// Ignored lists keys of promptfoo's that decide nothing about what is run or judged.
	Ignored Errors
}

// loader is the state of loading one suite.
type loader struct {
	opts   Options
	params *params
	dir    string
	errs   Errors
	// inline says that what is read is the suite's own text, not a dataset's.
	inline bool
	// entries counts those of scenarios' config.
	entries int
	// def is the suite's defaultTest, once it has been read.
	def Test
}

// Load reads a suite file. The error is Errors, sorted by place.
func Load(path string, data []byte, opts Options) (*Loaded, error) {
	l := &loader{opts: opts, dir: filepath.Dir(path), params: &params{vars: opts.Vars, env: opts.Env}, inline: true}
	d := l.decoder(path)
	body, ok := d.parseYAML(data)
	if !ok {
		return nil, d.errs.Err()
	}
	if _, isMap := d.fields(body, Pos{}); !isMap {
		d.errs = append(d.errs, &Error{Pos: d.pos(body, Pos{}), Value: d.show(body), Problem: "not a suite", Want: "a mapping with the keys prompts, providers and tests"})
		return nil, d.errs.Err()
	}
	d.errs = nil
	d.root = body
	l.params.own = l.ownEnv(d, body, Pos{File: path})
	var w wireSuite
	d.into(body, Pos{File: path}, reflect.ValueOf(&w).Elem())
	s := l.suite(path, d, &w)
	found := l.errs
	if !opts.SkipUnsupported {
		for _, u := range l.params.unsupported {
			u.Hint = "leave it out with --skip-unsupported"
			found = append(found, u)
		}
	}
	if err := l.mistakes(d, body, found); err != nil {
		return nil, err
	}
	return &Loaded{Suite: s, Unsupported: l.params.unsupported, Ignored: l.params.ignored}, nil
}

// mistakes gathers what is wrong with a file of one document: what its decoder found and what was found in what it read, each
// at its place. The error is Errors, nil where there are none.
func (l *loader) mistakes(d *decoder, body ast.Node, found Errors) error {
	errs := append(d.errs, found...)
	if len(errs) == 0 {
		errs = append(errs, l.params.unusedVars()...)
	}
	finder := &decoder{file: d.file, anchors: d.anchors}
	for _, e := range errs {
		if e.File == d.file {
			finder.place(body, e)
		}
	}
	return errs.Err()
}

// ownEnv reads the suite's env before everything else, for everything else may use it.
func (l *loader) ownEnv(d *decoder, body ast.Node, p Pos) map[string]string {
	var env wireEnv
	for _, v := range mappingValues(d.resolve(body)) {
		if v.Key.GetToken().Value == "env" {
			probe := &decoder{file: d.file, params: l.params, anchors: d.anchors}
			env.decodeNode(probe, v.Value, p.At("env")) // its mistakes are found again with all others
		}
	}
	return env
}

func (l *loader) decoder(file string) *decoder { return &decoder{file: file, params: l.params} }

func (l *loader) suite(path string, d *decoder, w *wireSuite) *Suite {
	s := &Suite{
		Path: path, Description: w.Description, Tags: w.Tags, Samples: 1, Groups: w.Groups, Gate: w.Gate.checks, Regression: w.Gate.regression,
		Derived: l.derived(w), Env: w.Env,
	}
	root := Pos{File: path}
	if e := l.options(w); e != nil {
		s.Evaluate = evaluate(l, e)
		if e.Repeat != nil {
			s.Samples = *e.Repeat
		}
	}
	if w.Samples != nil {
		s.Samples = *w.Samples
	}
	if s.Samples < 1 || s.Samples > maxRepeat {
		l.errs = append(l.errs, &Error{Pos: root.At("samples"), Value: strconv.Itoa(s.Samples), Problem: "out of range", Want: fmt.Sprintf("a whole number from 1 to %d", maxRepeat)})
	}
	if w.Seed != nil {
		s.Seed = *w.Seed
	}
	if b := w.Budget; b != nil {
		s.Budget = l.budget(b)
	}
	if s.Budget.Time == 0 {
		s.Budget.Time = float64(s.Evaluate.MaxTimeMS) / 1000
	}
	providers := w.Providers
	if w.Targets.set {
		if providers.set {
			l.errs = append(l.errs, Errorf(w.Targets.pos, "targets is another name for providers: give one of them"))
		}
		providers = w.Targets
	}
	if l.opts.Providers != nil {
		s.Providers = l.opts.Providers
	} else if !providers.set {
		l.errs = append(l.errs, &Error{Pos: root.At("providers"), Problem: "no providers", Want: "at least one, such as openai:chat:gpt-4.1-mini, exec:./bot, recorded, echo or sim"})
	} else {
		s.Providers = l.providers(d, providers.node, providers.pos)
	}
	if w.Prompts.set {
		s.Prompts = l.prompts(d, w.Prompts.node, w.Prompts.pos)
	} else {
		s.Prompts = []Prompt{{Pos: root, Label: "{{prompt}}", Text: "{{prompt}}"}}
	}
	def := &wireTest{}
	if w.DefaultTest != nil && w.DefaultTest.set {
		def = l.defaultTest(d, w.DefaultTest)
	}
	s.Default = l.defaults(def)
	l.def = s.Default
	if w.Tests.set {
		s.Tests = l.tests(d, w.Tests.node, w.Tests.pos)
	}
	if w.Scenarios.set {
		s.Tests = append(s.Tests, l.scenarios(d, w.Scenarios.node, w.Scenarios.pos)...)
	}
	if !w.Tests.set && !w.Scenarios.set {
		l.errs = append(l.errs, &Error{Pos: root.At("tests"), Problem: "no tests", Want: "a list of cases, a file:// reference, or {path: FILE}"})
	}
	s.Quarantine = l.quarantine(w.Quarantine)
	l.checkPromptNames(s)
	s.Hash = l.hash(s)
	return s
}

// defaults turns the written defaults into a Test. What they need cannot be left out: every case has it.
func (l *loader) defaults(w *wireTest) Test {
	t, ok := l.test(w)
	if !ok {
		l.needed(t.TransformPos, t.Transform)
	}
	return t
}

// needed reports a transform that every case needs and that cannot be run.
func (l *loader) needed(p Pos, transform string) {
	if l.opts.SkipUnsupported {
		l.errs = append(l.errs, &Error{Pos: p, Value: transform, Problem: "this transform cannot be run, and no case can be judged without it"})
	}
}

// options is evaluateOptions with what only commandLineOptions says.
func (l *loader) options(w *wireSuite) *wireEvaluate {
	c, e := w.CommandLine, w.Evaluate
	if c == nil {
		return e
	}
	if e == nil {
		e = &wireEvaluate{Pos: c.Pos}
	}
	e.MaxConcurrency = cmp.Or(e.MaxConcurrency, c.MaxConcurrency)
	e.Repeat = cmp.Or(e.Repeat, c.Repeat)
	e.Delay = cmp.Or(e.Delay, c.Delay)
	e.Cache = cmp.Or(e.Cache, c.Cache)
	return e
}

// derived joins the two ways to write derived metrics; each name may be given once.
func (l *loader) derived(w *wireSuite) []Derived {
	out := slices.Concat([]Derived(w.Derived), []Derived(w.DerivedSums))
	seen := map[string]Pos{}
	for _, m := range out {
		if first, dup := seen[m.Name]; dup {
			l.errs = append(l.errs, &Error{Pos: m.Pos, Value: m.Name, Problem: fmt.Sprintf("this metric is given twice, first at line %d", first.Line), Want: "each name once"})
		}
		seen[m.Name] = m.Pos
	}
	return out
}

func evaluate(l *loader, e *wireEvaluate) Evaluate {
	var out Evaluate
	set := func(key string, v *int, least int) int {
		if v == nil {
			return 0
		}
		if *v < least {
			l.errs = append(l.errs, &Error{Pos: e.Pos.At(key), Value: strconv.Itoa(*v), Problem: "too small", Want: fmt.Sprintf("at least %d", least)})
		}
		return *v
	}
	out.MaxConcurrency = set("maxConcurrency", e.MaxConcurrency, 1)
	out.Repeat = set("repeat", e.Repeat, 1)
	out.DelayMS = set("delay", e.Delay, 0)
	out.TimeoutMS = set("timeoutMs", e.TimeoutMS, 0)
	out.MaxTimeMS = set("maxEvalTimeMs", e.MaxTimeMS, 0)
	out.Cache = e.Cache
	return out
}

func (l *loader) budget(b *wireBudget) Budget {
	out := Budget{Time: float64(b.Time)}
	if b.Cost != nil {
		out.Cost = *b.Cost
		if *b.Cost <= 0 {
			l.errs = append(l.errs, &Error{Pos: b.Pos.At("cost"), Value: fmt.Sprint(*b.Cost), Problem: "not above 0", Want: "US dollars"})
		}
	}
	if b.Tokens != nil {
		out.Tokens = *b.Tokens
		if *b.Tokens <= 0 {
			l.errs = append(l.errs, &Error{Pos: b.Pos.At("tokens"), Value: fmt.Sprint(*b.Tokens), Problem: "not above 0", Want: "a number of tokens"})
		}
	}
	return out
}

func (l *loader) providers(d *decoder, n ast.Node, p Pos) []Provider {
	var out []Provider
	labels := map[string]int{}
	for _, it := range d.listed(n, p) {
		for _, pr := range l.provider(d, it.node, it.pos) {
			name := pr.Name()
			labels[name]++
			if labels[name] > 1 && pr.Label != "" {
				l.errs = append(l.errs, &Error{Pos: pr.Pos.At("label"), Value: pr.Label, Problem: "two providers have this label", Want: "a label of its own for each"})
			}
			if labels[name] > 1 {
				pr.Label = fmt.Sprintf("%s (%d)", name, labels[name])
			}
			out = append(out, pr)
		}
	}
	if len(out) == 0 && len(l.errs) == 0 && len(d.errs) == 0 {
		l.errs = append(l.errs, &Error{Pos: p, Problem: "the list is empty", Want: "at least one provider"})
	}
	return out
}

// Name is the label, or else the id.
func (p Provider) Name() string {
	if p.Label != "" {
		return p.Label
	}
	return p.ID
}

// provider reads one item: an id, a file:// reference, {id, config…}, or {ID: {config…}}.
func (l *loader) provider(d *decoder, n ast.Node, p Pos) []Provider {
	if s, _, _, ok := d.text(n, p); ok {
		if path, isFile := strings.CutPrefix(s, "file://"); isFile {
			sub, node, ok := l.yamlFile(path, p)
			if !ok {
				return nil
			}
			out := l.providers(sub, node, sub.pos(node, Pos{}))
			l.errs = append(l.errs, sub.errs...)
			return out
		}
		if strings.TrimSpace(s) == "" {
			d.fail(p, s, "an empty provider id", "an id such as openai:chat:gpt-4.1-mini")
			return nil
		}
		return []Provider{{Pos: p, ID: s, Config: Object{Pos: p}}}
	}
	fs, ok := d.fields(n, p)
	if !ok {
		d.fail(p, d.show(n), "not a provider", "an id or a mapping with id and config")
		return nil
	}
	if len(fs) == 1 && !slices.Contains(jsonKeys(reflect.TypeFor[wireProvider]()), fs[0].key) {
		n, p = fs[0].value, fs[0].pos
		pr := l.providerFields(d, n, p)
		pr.ID = fs[0].key
		return []Provider{pr}
	}
	pr := l.providerFields(d, n, p)
	if pr.ID == "" {
		d.fail(p, "", "a provider without an id", "id: such as openai:chat:gpt-4.1-mini")
		return nil
	}
	return []Provider{pr}
}

type wireProvider struct {
	Pos       Pos      `json:"-"`
	ID        string   `json:"id"`
	Label     string   `json:"label,omitempty"`
	Config    *Object  `json:"config,omitempty"`
	Prompts   wireRefs `json:"prompts,omitempty" jsonschema:"description=Labels or ids of the prompts it is asked; all by default"`
	Transform atText   `json:"transform,omitempty" jsonschema:"description=Expression that makes the output from the model's"`
	Env       wireEnv  `json:"env,omitempty" jsonschema:"description=Variables for this provider alone"`
	Delay     *int     `json:"delay,omitempty" jsonschema:"minimum=0,description=Milliseconds between the starts of two requests to this provider"`
}

func (l *loader) providerFields(d *decoder, n ast.Node, p Pos) Provider {
	var w wireProvider
	d.into(n, p, reflect.ValueOf(&w).Elem())
	pr := Provider{
		Pos: p, ID: w.ID, Label: w.Label, Prompts: w.Prompts, Config: Object{Pos: p},
		Transform: w.Transform.Text, TransformPos: w.Transform.Pos, Env: w.Env, DelayMS: w.Delay,
	}
	if w.Delay != nil && *w.Delay < 0 {
		l.errs = append(l.errs, &Error{Pos: p.At("delay"), Value: strconv.Itoa(*w.Delay), Problem: "below 0", Want: "milliseconds"})
	}
	if !l.transform(w.Transform) {
		l.needed(w.Transform.Pos, w.Transform.Text)
	}
	if w.Config != nil {
		pr.Config = *w.Config
		if path, ok := pr.Config.Map["path"].(string); ok {
			pr.Config.Map["path"] = l.commandLine(path)
		}
	}
	return pr
}

// yamlFile parses a referenced YAML or JSON file.
func (l *loader) yamlFile(path string, p Pos) (*decoder, ast.Node, bool) {
	full, data, ok := l.read(path, p)
	if !ok {
		return nil, nil, false
	}
	sub := l.decoder(full)
	node, ok := sub.parseYAML(data)
	if !ok {
		l.errs = append(l.errs, sub.errs...)
	}
	return sub, node, ok
}

// read reads a referenced text file, relative to the suite's folder.
func (l *loader) read(path string, p Pos) (full string, data []byte, ok bool) {
	full, data, ok = l.readBytes(path, p)
	if !ok {
		return full, nil, false
	}
	data = bytes.TrimPrefix(data, byteOrderMark)
	if at := notUTF8(data); at > 0 {
		l.errs = append(l.errs, &Error{Pos: p, Value: path, Problem: fmt.Sprintf("line %d of the file has bytes that are not UTF-8", at), Want: "a file in UTF-8"})
		return full, nil, false
	}
	return full, data, true
}

// readBytes reads a referenced file of any kind.
func (l *loader) readBytes(path string, p Pos) (full string, data []byte, ok bool) {
	full = l.resolve(path)
	if l.opts.Read == nil {
		l.errs = append(l.errs, &Error{Pos: p, Value: path, Problem: "file references cannot be read here"})
		return full, nil, false
	}
	data, err := l.opts.Read(full)
	if err != nil {
		l.errs = append(l.errs, &Error{Pos: p, Value: path, Problem: "cannot read the file", Err: plainPathError(err), Hint: "paths are relative to the folder of the suite file"})
		return full, nil, false
	}
	return full, data, true
}

// commandLine makes a path absolute that --var gave whole and that names a file from the working
// directory, where a user expects the paths of a command line to start. Other paths are left as
// they are: relative to the suite's folder.
func (l *loader) commandLine(path string) string {
	if l.params.whole[path] && !filepath.IsAbs(path) && l.opts.Here != nil {
		if abs, ok := l.opts.Here(path); ok {
			return abs
		}
	}
	return path
}

// byteOrderMark is what some editors put before a text; it is not part of it.
var byteOrderMark = []byte("\uFEFF")

// notUTF8 returns the number of the first line that is not UTF-8, 0 when there is none. Text that is
// changed on its way into a prompt, byte by byte, would be another prompt.
func notUTF8(data []byte) int {
	if utf8.Valid(data) {
		return 0
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if !utf8.Valid(line) {
			break
		}
	}
	return n
}

func (l *loader) resolve(path string) string {
	path = l.commandLine(strings.TrimPrefix(path, "file://"))
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.dir, path)
}

// hash identifies what the suite asks: prompts, checks, repeats and gate. What answers is in the
// snapshots' ids and the cases are in the dataset's hash. Places and paths do not count.
func (l *loader) hash(s *Suite) string {
	var providers, gate, prompts []any
	for _, p := range s.Providers {
		providers = append(providers, []any{p.ID, p.Label, p.Prompts, p.Transform})
	}
	for _, c := range s.Gate {
		gate = append(gate, []string{c.Metric, c.Expr})
	}
	for _, p := range s.Prompts {
		content := []any{p.Label, p.Text, p.Messages, p.Examples}
		if p.ID != "" {
			content = append(content, p.ID)
		}
		prompts = append(prompts, content)
	}
	var derived []any
	for _, m := range s.Derived {
		derived = append(derived, []any{m.Name, m.Expr, m.Sums})
	}
	content := []any{prompts, providers, gate, s.Samples, s.Groups, Contents(s.Default.Assert),
		s.Default.Vars, s.Default.Threshold, s.Default.Prefix, s.Default.Suffix, s.Default.Extras(), derived}
	if more := s.regressionContent(); len(more) > 0 {
		content = append(content, more)
	}
	content = append(content, s.quarantineContent()...)
	b, err := json.Marshal(content)
	if err != nil {
		l.errs = append(l.errs, &Error{Pos: Pos{File: s.Path}, Problem: "the suite cannot be hashed", Err: err})
		return ""
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// maxRepeat bounds the answers to one case.
const maxRepeat = 1_000_000

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// splitList splits at commas and trims.
func splitList(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func mergeMaps(base, over map[string]any) map[string]any {
	if len(base) == 0 {
		return over
	}
	out := maps.Clone(base)
	maps.Copy(out, over)
	return out
}
