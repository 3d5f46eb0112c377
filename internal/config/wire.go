package config

import (
	"encoding/json"
	"reflect"
	"strings"

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
	Gate        wireGate      `json:"gate,omitempty" jsonschema:"description=Metric to bound such as pass_rate: '>= 0.95' or to a margin such as {margin: 0.02}. All must hold. And how a run is compared with a baseline"`
	Quarantine  []wireHeld    `json:"quarantine,omitempty" jsonschema:"description=Cases that are run and do not count until a date"`
	Budget      *wireBudget   `json:"budget,omitempty" jsonschema:"description=Where a run stops cleanly"`
	Evaluate    *wireEvaluate `json:"evaluateOptions,omitempty" jsonschema:"description=promptfoo's run options"`
	Derived     wireDerived   `json:"derived,omitempty" jsonschema:"description=Metrics computed from others: a name and a CEL expression over their means"`
	DerivedSums wireSums      `json:"derivedMetrics,omitempty" jsonschema:"description=promptfoo's derived metrics: name and an arithmetic value over sums of scores"`
	Scenarios   wireScenarios `json:"scenarios,omitempty" jsonschema:"description=Groups of cases: every entry of config with every one of tests"`
	Templates   any           `json:"assertionTemplates,omitempty" jsonschema:"description=Assertions by name for $ref: #/assertionTemplates/NAME"`
	Env         wireEnv       `json:"env,omitempty" jsonschema:"description=Variables for templates and providers; they come before the environment's"`
	CommandLine *wireCommand  `json:"commandLineOptions,omitempty" jsonschema:"description=promptfoo's flags; those for a run are used"`
}

// wireCommand holds those of promptfoo's command line options that decide what is run.
type wireCommand struct {
	Pos            Pos   `json:"-"`
	MaxConcurrency *int  `json:"maxConcurrency,omitempty" jsonschema:"minimum=1"`
	Repeat         *int  `json:"repeat,omitempty" jsonschema:"minimum=1"`
	Delay          *int  `json:"delay,omitempty" jsonschema:"minimum=0"`
	Cache          *bool `json:"cache,omitempty"`
}

type wireScenario struct {
	Pos         Pos       `json:"-"`
	Description string    `json:"description,omitempty"`
	Config      nodeAt    `json:"config" jsonschema:"description=Cases whose variables and assertions each test gets"`
	Tests       wireTests `json:"tests,omitempty"`
}

type wireTurn struct {
	Pos    Pos             `json:"-"`
	User   string          `json:"user" jsonschema:"description=What the user says; a template"`
	Assert []wireAssertion `json:"assert,omitempty" jsonschema:"description=Checks on the answer to this turn"`
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
	MaxTimeMS      *int  `json:"maxEvalTimeMs,omitempty" jsonschema:"minimum=0,description=Milliseconds the run may take; as budget.time"`
	Cache          *bool `json:"cache,omitempty"`
}

type wireTestFile struct {
	Path    string     `json:"path" jsonschema:"description=A file; a glob; an https address; a folder of Hugging Face's datasets; or - for standard input"`
	Format  string     `json:"format,omitempty" jsonschema:"enum=auto,enum=yaml,enum=json,enum=jsonl,enum=csv,enum=tsv,enum=parquet,enum=arrow,enum=hf,enum=ifeval,enum=gsm8k"`
	SHA256  string     `json:"sha256,omitempty" jsonschema:"pattern=^[0-9a-fA-F]{64}$,description=Checksum of a file at an https address; required there"`
	Split   string     `json:"split,omitempty" jsonschema:"description=Split of an exported folder to read such as test"`
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
	Turns       []wireTurn      `json:"turns,omitempty" jsonschema:"description=Turns of a conversation before the prompt"`
	Provider    wireAny         `json:"provider,omitempty" jsonschema:"description=What answers this test in the place of the suite's providers: an id or a mapping"`
	Providers   wireRefs        `json:"providers,omitempty" jsonschema:"description=Labels or ids of the suite's providers that are asked; NAME* and NAME: stand for groups"`
	Prompts     wireRefs        `json:"prompts,omitempty" jsonschema:"description=Labels or ids of the suite's prompts that are sent; NAME* and NAME: stand for groups"`
	Output      wireAny         `json:"providerOutput,omitempty" jsonschema:"description=The answer; the provider is not asked"`
}

type wireOptions struct {
	Pos                    Pos     `json:"-"`
	Prefix                 string  `json:"prefix,omitempty" jsonschema:"description=Text before the prompt"`
	Suffix                 string  `json:"suffix,omitempty" jsonschema:"description=Text after the prompt"`
	DisableVarExpansion    *bool   `json:"disableVarExpansion,omitempty" jsonschema:"description=A list is one value rather than one case per item"`
	DisableDefaultAsserts  bool    `json:"disableDefaultAsserts,omitempty"`
	Transform              atText  `json:"transform,omitempty" jsonschema:"description=Expression that makes the output to judge from the model's"`
	Postprocess            atText  `json:"postprocess,omitempty" jsonschema:"description=Old name of transform"`
	Provider               wireAny `json:"provider,omitempty" jsonschema:"description=Judge or embedder for assertions that name none: an id or a mapping"`
	RubricPrompt           wireAny `json:"rubricPrompt,omitempty" jsonschema:"description=Prompt of the judge: text or chat messages or a file:// reference"`
	TransformVars          atText  `json:"transformVars,omitempty" jsonschema:"description=Expression over vars whose value: a mapping: is added to the variables"`
	StoreOutputAs          string  `json:"storeOutputAs,omitempty" jsonschema:"description=Variable that holds the answer in the tests after this one"`
	DisableConversationVar bool    `json:"disableConversationVar,omitempty" jsonschema:"description=The prompt does not see the conversation of the tests before"`
	Repeat                 *int    `json:"repeat,omitempty" jsonschema:"minimum=1,description=Answers drawn for this test"`
}

type wireAssertion struct {
	Pos       Pos      `json:"-"`
	Type      wireType `json:"type" jsonschema:"description=Kind of check; a leading not- negates it"`
	Value     wireAny  `json:"value,omitempty" jsonschema:"description=What the check needs; file:// reads it from a file"`
	Threshold *float64 `json:"threshold,omitempty"`
	Weight    *float64 `json:"weight,omitempty" jsonschema:"minimum=0,description=Weight in the case's score; 0 only measures"`
	Metric    string   `json:"metric,omitempty" jsonschema:"description=Metric to which the check contributes; its type by default"`
	Config    Object   `json:"config,omitempty" jsonschema:"type=object,description=Parameters of this kind of check"`

	Provider         wireAny   `json:"provider,omitempty" jsonschema:"description=Judge or embedder: an id or a mapping with id and config"`
	RubricPrompt     wireAny   `json:"rubricPrompt,omitempty" jsonschema:"description=Prompt of the judge"`
	Transform        atText    `json:"transform,omitempty" jsonschema:"description=Expression whose value is judged in the place of the output"`
	ContextTransform atText    `json:"contextTransform,omitempty" jsonschema:"description=Expression whose value takes the place of the variable context"`
	Assert           wireParts `json:"assert,omitempty" jsonschema:"description=Parts of an assert-set or a calibration"`
}

// codeTypes are the assertions whose value is code.
var codeTypes = map[string]bool{"javascript": true, "python": true}

// decodeNode reads an assertion. What ${NAME} means in code is the code's business.
func (v *wireAssertion) decodeNode(d *decoder, n ast.Node, p Pos) {
	v.Pos = d.pos(n, p) // also of what is no mapping, so that every message has a place
	before := d.literal
	defer func() { d.literal = before }()
	for _, entry := range mappingValues(d.resolve(n)) {
		name, isText := entry.Value.(*ast.StringNode)
		if isText && entry.Key.GetToken().Value == "type" && codeTypes[strings.TrimPrefix(name.Value, "not-")] {
			d.literal = true
		}
	}
	if _, null := d.resolve(n).(*ast.NullNode); !null {
		d.structInto(n, p, reflect.ValueOf((*plainAssertion)(v)).Elem())
	}
}

// plainAssertion is a wireAssertion that does not read itself.
type plainAssertion wireAssertion

// wireParts are the assertions of an assert-set.
type wireParts struct {
	list []wireAssertion
	pos  Pos
}

func (v *wireParts) decodeNode(d *decoder, n ast.Node, p Pos) {
	v.pos = d.pos(n, p)
	d.into(n, p, reflect.ValueOf(&v.list).Elem())
}

// atText is an expression with its place.
type atText struct {
	Text string
	Pos  Pos
}

func (v *atText) decodeNode(d *decoder, n ast.Node, p Pos) {
	if _, null := d.resolve(n).(*ast.NullNode); null {
		return
	}
	v.Pos = d.pos(n, p)
	before := d.literal
	d.literal = true
	s, _, _, ok := d.text(n, v.Pos)
	d.literal = before
	if !ok || strings.TrimSpace(s) == "" {
		d.fail(v.Pos, d.show(n), "not an expression", "a text such as output.trim()")
		return
	}
	v.Text = s
}

// wireEnv is a mapping of names to plain values.
type wireEnv map[string]string

func (v *wireEnv) decodeNode(d *decoder, n ast.Node, p Pos) {
	fs, ok := d.fields(n, p)
	if _, null := d.resolve(n).(*ast.NullNode); null {
		return
	}
	if !ok {
		d.fail(d.pos(n, p), "", "not a mapping", "variables by name")
		return
	}
	*v = wireEnv{}
	for _, f := range fs {
		s, _, _, ok := d.text(f.value, d.pos(f.value, f.pos))
		if !ok {
			d.fail(d.pos(f.value, f.pos), "", "not a text", "the value of a variable")
			continue
		}
		(*v)[f.key] = s
	}
}

// wireDerived is a mapping of names to expressions, in the order written.
type wireDerived []Derived

func (v *wireDerived) decodeNode(d *decoder, n ast.Node, p Pos) {
	fs, ok := d.fields(n, p)
	if !ok {
		d.fail(d.pos(n, p), d.show(n), "not a mapping", "metrics by name, such as quality: (accuracy + fluency) / 2")
		return
	}
	for _, f := range fs {
		at := d.pos(f.value, f.pos)
		s, _, _, ok := d.text(f.value, at)
		if !ok {
			d.fail(at, d.show(f.value), "not an expression", "a CEL expression over metrics")
			continue
		}
		*v = append(*v, Derived{Pos: at, Name: f.key, Expr: s})
	}
}

// wireSums is promptfoo's list of derived metrics.
type wireSums []Derived

func (v *wireSums) decodeNode(d *decoder, n ast.Node, p Pos) {
	var list []struct {
		Pos   Pos     `json:"-"`
		Name  string  `json:"name"`
		Value wireAny `json:"value"`
	}
	d.into(n, p, reflect.ValueOf(&list).Elem())
	for _, m := range list {
		s, ok := m.Value.Any.(string)
		switch {
		case m.Name == "":
			d.fail(m.Pos, "", "a derived metric without a name", "name and value")
		case !ok:
			d.fail(m.Pos.At("value"), "", "not an expression", "arithmetic over metrics, such as accuracy / __count")
		default:
			*v = append(*v, Derived{Pos: m.Value.Pos, Name: m.Name, Expr: s, Sums: true})
		}
	}
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

// wirePrompts, wireProviders and wireTests keep the nodes: they are read once references can be.
type wirePrompts struct{ nodeAt }
type wireProviders struct{ nodeAt }
type wireTests struct{ nodeAt }
type wireScenarios struct{ nodeAt }

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

// extension says that a key is there for the author alone, such as a place for anchors.
func extension(t reflect.Type, key string) bool {
	return t == reflect.TypeFor[wireSuite]() && strings.HasPrefix(key, "x-")
}

// knownKey says what becomes of a key that promptfoo knows and that has no place here: it is ignored
// because it decides nothing about what is run or judged, or else it is unsupported.
func knownKey(t reflect.Type, key string) (why string, ignored, ok bool) {
	if why, ok := unsupportedKeys[t][key]; ok {
		if why == "" {
			why = "promptfoo's " + key + " is not supported"
		}
		return why, false, true
	}
	if why, ok := ignoredKeys[t][key]; ok {
		return why, true, true
	}
	return "", false, false
}

// unsupportedKeys are what telltale cannot do, with the reason where it is not plain.
var unsupportedKeys = map[reflect.Type]map[string]string{
	reflect.TypeFor[wireSuite](): {
		"redteam": "promptfoo's redteam generates attacks with its own service", "extensions": "extensions are code of promptfoo's",
		"passRateThreshold": "promptfoo does nothing with it; here it is gate: {pass_rate: '>= 0.85'}",
		"assert":            "assertions of a whole suite stand under defaultTest; promptfoo looks at none here",
		"nunjucksFilters":   "filters of templates are code in promptfoo; use Jinja's own, or compute the value with options.transformVars", "tracing": "",
	},
	reflect.TypeFor[wireEvaluate](): {"generateSuggestions": "prompts are not made up during a run", "suggestionsCount": "", "filterRange": ""},
	reflect.TypeFor[wireCommand](): {
		"filterPattern": "", "filterProviders": "", "filterTargets": "", "filterSample": "use sample under tests, or --sample", "filterFailing": "", "filterErrorsOnly": "",
		"filterFirstN": "", "filterMetadata": "", "filterRange": "", "grader": "give options.provider under defaultTest", "var": "use defaultTest.vars",
		"promptPrefix": "use defaultTest.options.prefix", "promptSuffix": "use defaultTest.options.suffix", "config": "", "prompts": "", "providers": "",
		"tests": "", "vars": "", "assertions": "", "modelOutputs": "use the provider recorded", "envPath": "set the variables in the environment", "envFile": "set the variables in the environment",
		"extension": "", "generateSuggestions": "", "suggestionsCount": "", "retryErrors": "use --resume",
	},
	reflect.TypeFor[wireTest]():     {"assertScoringFunction": "a scoring function is code", "storeOutputAs": "stands under options"},
	reflect.TypeFor[wireOptions]():  {"factuality": "the weights of factuality's categories are set under the assertion's config"},
	reflect.TypeFor[wirePrompt]():   {"config": "give each configuration a provider of its own", "function": "prompt functions are not supported"},
	reflect.TypeFor[wireProvider](): {"inputs": "several inputs of a target are for promptfoo's red team"},
	reflect.TypeFor[wireTestFile](): {"config": "tests computed by code are not supported"},
}

const describes = "a note for readers: metric gives a check a name in results"

// ignoredKeys decide nothing about what is run or judged.
var ignoredKeys = map[reflect.Type]map[string]string{
	reflect.TypeFor[wireSuite](): {
		"outputPath": "results go to --out", "sharing": "nothing is uploaded", "writeLatestResults": "results go to --out", "metadata": "promptfoo's own bookkeeping",
		"version": "promptfoo does nothing with it either",
	},
	reflect.TypeFor[wireAssertion]():  {"description": describes},
	reflect.TypeFor[plainAssertion](): {"description": describes},
	reflect.TypeFor[wireTest]():       {"name": "promptfoo does nothing with it either: a test has a description"},
	reflect.TypeFor[wireEvaluate]():   {"silent": "use --quiet", "table": "", "interactiveProviders": "", "showProgressBar": "use --no-progress", "isRedteam": ""},
	reflect.TypeFor[wireCommand](): {
		"verbose": "", "table": "", "write": "results go to --out", "share": "nothing is uploaded", "progressBar": "use --no-progress", "output": "results go to --out",
		"tableCellMaxLength": "", "description": "", "watch": "", "noProgressBar": "", "interactiveProviders": "",
	},
	reflect.TypeFor[wireOptions](): {
		"runSerially": "cases that go on from one another are run in order anyway",
		"timeout":     "promptfoo does nothing with it either: evaluateOptions.timeoutMs bounds a request",
	},
}

// MarshalJSON makes a wireAny appear in the schema tests as its value.
func (v wireAny) MarshalJSON() ([]byte, error) { return json.Marshal(v.Any) }
