package config

import (
	"encoding/json"
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// The types below have the shape of the file. Their json and jsonschema tags also make the
// published JSON Schema, so that what editors complete is what the parser takes.

type wireSuite struct {
	Schema      string        `json:"$schema,omitempty" jsonschema:"description=Address of this schema; ignored"`
	Description string        `json:"description,omitempty" jsonschema:"description=What this suite is for"`
	Tags        wireLabels    `json:"tags,omitempty" jsonschema:"description=Labels of the suite: a mapping or a list"`
	Prompts     wirePrompts   `json:"prompts,omitempty" jsonschema:"description=Prompt templates (Jinja). Text; file:// references or globs; chat message lists; or mappings. Without prompts each test's variable prompt is sent as it is"`
	Providers   wireProviders `json:"providers,omitempty" jsonschema:"description=What answers: openai:chat:MODEL; exec:COMMAND; recorded; echo; sim"`
	Targets     wireProviders `json:"targets,omitempty" jsonschema:"description=Another name for providers"`
	Tests       wireTests     `json:"tests,omitempty" jsonschema:"description=The cases: a list; a file:// reference or glob; or a mapping with path/format/sample/filter"`
	DefaultTest *wireDefault  `json:"defaultTest,omitempty" jsonschema:"description=What every test has unless it says otherwise"`
	Samples     *int          `json:"samples,omitempty" jsonschema:"minimum=1,description=Answers drawn per case (repeats)"`
	Seed        *int64        `json:"seed,omitempty" jsonschema:"description=Seed from which each sample's own seed is derived"`
	Groups      string        `json:"groups,omitempty" jsonschema:"description=Variable or metadata key by which cases are clustered for standard errors"`
	Gate        wireGate      `json:"gate,omitempty" jsonschema:"description=Metric to bound such as pass_rate: '>= 0.95'. All must hold"`
	Budget      *wireBudget   `json:"budget,omitempty" jsonschema:"description=Where a run stops cleanly"`
	Evaluate    *wireEvaluate `json:"evaluateOptions,omitempty" jsonschema:"description=promptfoo's run options"`
}

type wireBudget struct {
	Pos    Pos      `json:"-"`
	Cost   *float64 `json:"cost,omitempty" jsonschema:"minimum=0,description=US dollars"`
	Tokens *int64   `json:"tokens,omitempty" jsonschema:"minimum=0,description=Prompt and completion tokens together"`
	Time   duration `json:"time,omitempty" jsonschema:"description=Wall time such as 30m"`
}

type wireEvaluate struct {
	Pos            Pos   `json:"-"`
	MaxConcurrency *int  `json:"maxConcurrency,omitempty" jsonschema:"minimum=1"`
	Repeat         *int  `json:"repeat,omitempty" jsonschema:"minimum=1,description=The same as samples"`
	Delay          *int  `json:"delay,omitempty" jsonschema:"minimum=0,description=Milliseconds between the starts of two requests"`
	TimeoutMS      *int  `json:"timeoutMs,omitempty" jsonschema:"minimum=0,description=Milliseconds one request may take"`
	Cache          *bool `json:"cache,omitempty"`
	ShowProgress   *bool `json:"showProgressBar,omitempty"`
}

type wireTestFile struct {
	Path    string     `json:"path" jsonschema:"description=A file; a glob; or - for standard input"`
	Format  string     `json:"format,omitempty" jsonschema:"enum=auto,enum=yaml,enum=json,enum=jsonl,enum=csv,enum=tsv,enum=ifeval,enum=gsm8k"`
	Sample  *int       `json:"sample,omitempty" jsonschema:"minimum=1,description=Keep this many cases; chosen by hash"`
	Filter  wireFilter `json:"filter,omitempty" jsonschema:"description=Keep cases with all of these tags; !tag excludes"`
	IDField string     `json:"id,omitempty" jsonschema:"description=The row's field that names the case"`
	Group   string     `json:"group,omitempty" jsonschema:"description=The row's field that names its group"`
	Tags    string     `json:"tags,omitempty" jsonschema:"description=The row's field that holds its tags"`
}

type wireTest struct {
	Pos         Pos             `json:"-"`
	ID          string          `json:"id,omitempty" jsonschema:"description=Name of the case in results; must be unique"`
	Description string          `json:"description,omitempty"`
	Vars        wireVars        `json:"vars,omitempty" jsonschema:"description=Template variables; a list makes one case per item"`
	Assert      []wireAssertion `json:"assert,omitempty"`
	Threshold   *float64        `json:"threshold,omitempty" jsonschema:"minimum=0,maximum=1,description=Least weighted score to pass; without it every assertion must pass"`
	Metadata    map[string]any  `json:"metadata,omitempty"`
	Options     *wireOptions    `json:"options,omitempty"`
	Tags        wireStrings     `json:"tags,omitempty"`
	Group       string          `json:"group,omitempty" jsonschema:"description=Cases of one group are not independent of one another"`
	Critical    bool            `json:"critical,omitempty" jsonschema:"description=The gate fails unless this case passes"`
}

type wireOptions struct {
	Pos                   Pos    `json:"-"`
	Prefix                string `json:"prefix,omitempty" jsonschema:"description=Text before the prompt"`
	Suffix                string `json:"suffix,omitempty" jsonschema:"description=Text after the prompt"`
	DisableVarExpansion   bool   `json:"disableVarExpansion,omitempty" jsonschema:"description=A list is one value rather than one case per item"`
	DisableDefaultAsserts bool   `json:"disableDefaultAsserts,omitempty"`
}

type wireAssertion struct {
	Pos       Pos      `json:"-"`
	Type      wireType `json:"type" jsonschema:"description=Kind of check; a leading not- negates it"`
	Value     wireAny  `json:"value,omitempty" jsonschema:"description=What the check needs; file:// reads it from a file"`
	Threshold *float64 `json:"threshold,omitempty"`
	Weight    *float64 `json:"weight,omitempty" jsonschema:"minimum=0,description=Weight in the case's score; 0 only measures"`
	Metric    string   `json:"metric,omitempty" jsonschema:"description=Metric to which the check contributes; its type by default"`
	Config    Object   `json:"config,omitempty" jsonschema:"type=object,description=Parameters of this kind of check"`
}

// duration is a number of seconds written as 30s, 5m, 1h or a plain number.
type duration float64

func (v *duration) decodeNode(d *decoder, n ast.Node, p Pos) {
	at := d.pos(n, p)
	s, _, _, ok := d.text(n, at)
	dur, err := ParseDuration(s)
	if !ok || err != nil {
		d.fail(at, d.show(n), "not a duration", "a duration above 0 such as 30s, 5m or 1h")
		return
	}
	*v = duration(dur.Seconds())
}

// wireAny is a value of any shape with its place.
type wireAny struct {
	Any any
	Pos Pos
}

func (v *wireAny) decodeNode(d *decoder, n ast.Node, p Pos) {
	v.Pos = d.pos(n, p)
	v.Any = d.any(n, p)
}

// wireType is an assertion's type with its place.
type wireType struct {
	Name string
	Pos  Pos
}

func (v *wireType) decodeNode(d *decoder, n ast.Node, p Pos) {
	v.Pos = d.pos(n, p)
	s, _, _, ok := d.text(n, v.Pos)
	if !ok {
		d.fail(v.Pos, d.show(n), "not a string", "the name of a kind of check")
		return
	}
	v.Name = s
}

// wireStrings is a string, split at commas, or a list of strings.
type wireStrings []string

func (v *wireStrings) decodeNode(d *decoder, n ast.Node, p Pos) {
	node := d.resolve(n)
	if list, ok := node.(*ast.SequenceNode); ok {
		for i, item := range list.Values {
			at := d.pos(item, p.At(index(i)))
			s, _, _, ok := d.text(item, at)
			if !ok {
				d.fail(at, d.show(item), "not a string", "a string")
				continue
			}
			*v = append(*v, s)
		}
		return
	}
	at := d.pos(n, p)
	s, _, _, ok := d.text(n, at)
	if _, null := node.(*ast.NullNode); null {
		return
	}
	if !ok {
		d.fail(at, d.show(n), "not a list of strings", "a list of strings, or one string with commas")
		return
	}
	*v = splitList(s)
}

// wireLabels is a mapping of strings, or a list of strings that stand for themselves.
type wireLabels map[string]string

func (v *wireLabels) decodeNode(d *decoder, n ast.Node, p Pos) {
	if _, isMap := d.fields(n, p); !isMap {
		var list wireStrings
		list.decodeNode(d, n, p)
		*v = wireLabels{}
		for _, s := range list {
			(*v)[s] = ""
		}
		return
	}
	m := map[string]string{}
	d.into(n, p, reflect.ValueOf(&m).Elem())
	*v = m
}

// wireFilter is a list of tags, or a mapping with the key tags.
type wireFilter struct {
	Tags []string
}

func (v *wireFilter) decodeNode(d *decoder, n ast.Node, p Pos) {
	if _, isMap := d.fields(n, p); isMap {
		var m struct {
			Tags wireStrings `json:"tags"`
		}
		d.into(n, p, reflect.ValueOf(&m).Elem())
		v.Tags = m.Tags
		return
	}
	var list wireStrings
	list.decodeNode(d, n, p)
	v.Tags = list
}

// wireVars is a mapping, or a file:// reference to one.
type wireVars struct {
	Object
	File string
}

func (v *wireVars) decodeNode(d *decoder, n ast.Node, p Pos) {
	if s, _, _, ok := d.text(n, d.pos(n, p)); ok {
		v.File, v.Pos = s, d.pos(n, p)
		return
	}
	v.Object = d.object(n, p)
}

// wireGate keeps the order in which its checks were written.
type wireGate []Check

func (v *wireGate) decodeNode(d *decoder, n ast.Node, p Pos) {
	fs, ok := d.fields(n, p)
	if !ok {
		d.fail(d.pos(n, p), d.show(n), "not a mapping", `a mapping of metrics to bounds, such as pass_rate: ">= 0.95"`)
		return
	}
	for _, f := range fs {
		items := []ast.Node{f.value}
		if list, isList := d.resolve(f.value).(*ast.SequenceNode); isList {
			items = list.Values
		}
		for _, item := range items {
			at := d.pos(item, f.pos)
			s, _, _, ok := d.text(item, at)
			if !ok {
				d.fail(at, d.show(item), "not a bound", `a bound such as ">= 0.95" or "p95 <= 2s"`)
				continue
			}
			*v = append(*v, Check{Pos: at, Metric: f.key, Expr: s})
		}
	}
}

// wirePrompts, wireProviders and wireTests keep the nodes: they are read once references can be.
type wirePrompts struct{ nodeAt }
type wireProviders struct{ nodeAt }
type wireTests struct{ nodeAt }

// wireDefault is a test, or a file:// reference to one.
type wireDefault struct{ nodeAt }

type nodeAt struct {
	node ast.Node
	pos  Pos
	set  bool
}

func (v *nodeAt) decodeNode(d *decoder, n ast.Node, p Pos) {
	if _, null := d.resolve(n).(*ast.NullNode); null {
		return
	}
	v.node, v.pos, v.set = n, d.pos(n, p), true
}

// unsupportedKey says why a key that promptfoo knows cannot be used at this place.
func unsupportedKey(t reflect.Type, key string) (string, bool) {
	for _, u := range unsupportedKeys[t] {
		if u == key {
			return "promptfoo's " + key + " is not supported", true
		}
	}
	return "", false
}

var unsupportedKeys = map[reflect.Type][]string{
	reflect.TypeFor[wireSuite](): {"scenarios", "assertionTemplates", "env", "outputPath", "sharing", "redteam", "extensions", "derivedMetrics",
		"nunjucksFilters", "writeLatestResults", "commandLineOptions", "metadata", "tracing"},
	reflect.TypeFor[wireEvaluate]():  {"maxEvalTimeMs", "generateSuggestions", "filterFailing", "table", "silent", "interactiveProviders"},
	reflect.TypeFor[wireTest]():      {"provider", "providers", "prompts", "providerOutput", "assertScoringFunction"},
	reflect.TypeFor[wireOptions]():   {"transform", "transformVars", "postprocess", "provider", "rubricPrompt", "disableConversationVar", "runSerially", "storeOutputAs", "factuality"},
	reflect.TypeFor[wireAssertion](): {"provider", "rubricPrompt", "transform", "contextTransform", "assert"},
}

// MarshalJSON makes a wireAny appear in the schema tests as its value.
func (v wireAny) MarshalJSON() ([]byte, error) { return json.Marshal(v.Any) }
