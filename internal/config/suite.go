// Package config reads the files a user writes: suites now, server, rollout and monitor files later.
//
// It holds plain types and a strict parser: unknown and duplicate keys, wrong types and unfilled
// parameters are errors with file, line, column and key, all found in one go. It opens no file by
// itself; what a file:// reference holds is read through a function the caller passes in. It
// knows nothing about what a provider or a scorer does with its own configuration.
package config

// Suite is a regression suite: prompts × providers × tests, and what to ask of the result.
type Suite struct {
	Path        string
	Description string
	Tags        map[string]string
	Prompts     []Prompt
	Providers   []Provider
	Tests       []Tests
	// Default is what every case has besides its own: variables, assertions, threshold, metadata,
	// tags. Merge adds it to a case.
	Default Test
	// Samples is the number of answers per case (repeats), at least 1.
	Samples int
	Seed    int64
	// Groups names the variable or metadata key by which cases are clustered; empty means that
	// only a case's own group counts.
	Groups string
	Gate   []Check
	// Regression is what the gate asks of the difference from a baseline.
	Regression Regression
	Quarantine []Quarantine
	Derived    []Derived
	Budget     Budget
	Evaluate   Evaluate
	// Env holds variables that the suite sets for templates and providers, before those of the
	// environment. Values may be secrets: they are not part of the hash or of any result.
	Env map[string]string
	// Hash identifies the resolved content: the suite with parameters filled and references read.
	Hash string
}

// Prompt is a prompt template: Text, or a list of chat messages when Messages is set.
type Prompt struct {
	Pos      Pos
	Label    string
	Text     string
	Messages []PromptMessage
	// Examples are few-shot examples: the template variable "examples", and what a message with
	// Each is repeated for.
	Examples []any
	// ID is another name for the prompt, by which tests and providers may refer to it.
	ID string
}

// Remembers says whether the prompt uses the conversation of the cases before.
func (p *Prompt) Remembers() bool { return p.remembers() }

// PromptMessage is one templated chat message. When Each is set it stands for a pair of messages per
// example instead: User and Assistant are rendered with the example's own keys as variables.
type PromptMessage struct {
	Role  string
	Text  string
	Parts []PromptPart
	Each  *ExamplePair
}

// ExamplePair is how an example becomes a question and an answer.
type ExamplePair struct {
	User, Assistant string
}

// PromptPart is a templated text or image URL.
type PromptPart struct {
	Text, ImageURL, Detail string
}

// Provider names a provider and its configuration; only the provider itself can read the latter.
type Provider struct {
	Pos    Pos
	ID     string // such as openai:chat:gpt-4.1-mini, exec:./bot, recorded, echo, sim
	Label  string
	Config Object
	// Prompts restricts the provider to the prompts that these refer to; nil means all. See Refers.
	Prompts []string
	// Transform makes the output from the model's, before the test's own transform; see Test.Transform.
	Transform    string
	TransformPos Pos
	// Env holds variables for this provider alone; as Suite.Env.
	Env map[string]string
	// DelayMS is the least time between the starts of two requests to this provider, in place of
	// Evaluate.DelayMS; nil leaves it to that.
	DelayMS *int
}

// Tests is a source of cases: either Inline or a file.
type Tests struct {
	Pos    Pos
	Inline []Test
	// Path is a file, a glob, an https address, a folder that Hugging Face's datasets exported, or "-"
	// for standard input; paths are relative to the suite's folder.
	Path string
	// Files are further files of the same source, read after Path.
	Files []string
	// Format is auto (by extension), yaml, json, jsonl, csv, tsv, parquet, arrow, hf, ifeval or gsm8k.
	Format string
	// SHA256 is the checksum, in hex, of a file at an https address.
	SHA256 string
	// Split names the part of an exported folder that is read.
	Split string
	// Row, when set, makes the case of a row from its fields. n is the row's number in the source,
	// from 0. It is called in every pass, not always for every row, and must depend on nothing else.
	Row func(p Pos, n int, fields map[string]any) (Test, error) `json:"-"`
	// Sample keeps that many cases, chosen by hash; 0 keeps all.
	Sample int
	// Tags keeps cases that carry all of these; a leading "!" excludes a tag.
	Tags []string
	// ID, Group and TagField name the row's fields for these; empty means "id" when present, none, none.
	ID, Group, TagField string
}

// Test is one case, with what it adds to the suite's defaults.
type Test struct {
	Pos         Pos
	ID          string
	Description string
	Vars        map[string]any
	Assert      []Assertion
	Threshold   *float64 // least weighted score to pass; nil means that every assertion must pass
	Metadata    map[string]any
	Tags        []string
	Group       string
	Critical    bool
	// Prefix and Suffix are put around the prompt.
	Prefix, Suffix string
	// Turns are the user's turns of a conversation before the prompt's own, each with its own checks.
	Turns []Turn
	// Provider and RubricPrompt are the judge's, for assertions that name none.
	Provider     any
	RubricPrompt any
	// Transform is an expression that makes the output to judge from the model's: CEL, or what
	// scorer.NewTransform reads of JavaScript.
	Transform    string
	TransformPos Pos
	// Output stands for the model's answer, which is then not asked for.
	Output *string
	// NoDefaults leaves the default assertions out.
	NoDefaults bool
	// Templates names the variables of the suite's own text that hold templates over other variables.
	// What comes from a dataset is never taken for a template.
	Templates []string
	// Own answers in the place of the suite's providers; nil leaves it to them.
	Own *Provider
	// Providers and Prompts keep the case to those of the suite that they refer to; nil means all. See Refers.
	Providers, Prompts []string
	// Repeat is the number of answers to this case; 0 leaves it to the suite.
	Repeat int
	// StoreAs names the variable that holds this case's answer in every case after it.
	StoreAs string
	// Forgets says that the prompt does not see the conversation of the cases before.
	Forgets bool
	// TransformVars is an expression whose value, a mapping, is added to the variables; as Transform.
	TransformVars    string
	TransformVarsPos Pos
	// Conversation tells the conversation that the case is a part of from others, where its metadata does
	// not say it by conversationId.
	Conversation string
	// keepLists is nil when the test does not say whether a list is one value.
	keepLists *bool
}

// Turn is one turn of a conversation.
type Turn struct {
	Pos    Pos
	User   string // a template
	Assert []Assertion
}

// Merge returns t with the defaults it does not override: own variables and metadata win key by
// key, assertions and tags are added to, the default assertions first.
func (t Test) Merge(def *Test) Test {
	for _, name := range def.Templates {
		if _, own := t.Vars[name]; !own {
			t.Templates = append(t.Templates[:len(t.Templates):len(t.Templates)], name)
		}
	}
	t.Vars = mergeMaps(def.Vars, t.Vars)
	t.Metadata = mergeMaps(def.Metadata, t.Metadata)
	if !t.NoDefaults && len(def.Assert) > 0 {
		t.Assert = append(append(make([]Assertion, 0, len(def.Assert)+len(t.Assert)), def.Assert...), t.Assert...)
	}
	if len(def.Tags) > 0 {
		t.Tags = append(append([]string(nil), def.Tags...), t.Tags...)
	}
	if t.Threshold == nil {
		t.Threshold = def.Threshold
	}
	if t.Description == "" {
		t.Description = def.Description
	}
	if t.Group == "" {
		t.Group = def.Group
	}
	if t.Prefix == "" {
		t.Prefix = def.Prefix
	}
	if t.Suffix == "" {
		t.Suffix = def.Suffix
	}
	t.Critical = t.Critical || def.Critical
	if t.Provider == nil {
		t.Provider = def.Provider
	}
	if t.RubricPrompt == nil {
		t.RubricPrompt = def.RubricPrompt
	}
	if t.Transform == "" {
		t.Transform, t.TransformPos = def.Transform, def.TransformPos
	}
	if len(t.Turns) == 0 {
		t.Turns = def.Turns
	}
	if t.Output == nil {
		t.Output = def.Output
	}
	t.mergeAsked(def)
	return t
}

// mergeAsked adds what the defaults say of whom and what is asked, and how often.
func (t *Test) mergeAsked(def *Test) {
	if t.Own == nil {
		t.Own = def.Own
	}
	if t.Providers == nil {
		t.Providers = def.Providers
	}
	if t.Prompts == nil {
		t.Prompts = def.Prompts
	}
	if t.Repeat == 0 {
		t.Repeat = def.Repeat
	}
	if t.StoreAs == "" {
		t.StoreAs = def.StoreAs
	}
	t.Forgets = t.Forgets || def.Forgets
	if t.Conversation == "" {
		t.Conversation = def.Conversation
	}
	if t.TransformVars == "" {
		t.TransformVars, t.TransformVarsPos = def.TransformVars, def.TransformVarsPos
	}
	if t.keepLists == nil {
		t.keepLists = def.keepLists
	}
}

// Assertion asks one scorer for a judgement.
type Assertion struct {
	Pos       Pos
	Type      string // without the not- prefix
	Not       bool
	Value     any // string, float64…, []any, map[string]any; strings may be templates
	ValuePos  Pos
	Threshold *float64
	Weight    *float64
	Metric    string
	Config    Object
	// Provider is the model, embedder or moderator that judges, as the suite has it: an id or a
	// mapping with id and config. Nil leaves the choice to the test's options, then to the kind.
	Provider    any
	ProviderPos Pos
	// RubricPrompt is the judge's own prompt: a text, or a list of chat messages.
	RubricPrompt any
	// Transform is an expression whose value is judged in the place of the output; as Test.Transform.
	Transform    string
	TransformPos Pos
	// ContextTransform is an expression whose value, a text or a list of texts, takes the place of
	// the variable context.
	ContextTransform    string
	ContextTransformPos Pos
	// Assert holds the parts of an assert-set.
	Assert []Assertion
	// Judge is what the test's options say of the judge, for an assertion that does not say it itself.
	Judge Judge
}

// Judge is a test's choice of what judges: see Assertion.Provider and Assertion.RubricPrompt.
type Judge struct{ Provider, RubricPrompt any }

// Content is all that the assertion says, without places: what hashes are made of.
func (a *Assertion) Content() map[string]any {
	m := map[string]any{"type": a.Type}
	set := func(key string, v any, given bool) {
		if given {
			m[key] = v
		}
	}
	set("not", true, a.Not)
	set("value", a.Value, a.Value != nil)
	if a.Threshold != nil {
		m["threshold"] = *a.Threshold
	}
	if a.Weight != nil {
		m["weight"] = *a.Weight
	}
	set("metric", a.Metric, a.Metric != "")
	set("config", a.Config.Map, len(a.Config.Map) > 0)
	set("provider", a.Provider, a.Provider != nil)
	set("rubricPrompt", a.RubricPrompt, a.RubricPrompt != nil)
	set("transform", a.Transform, a.Transform != "")
	set("contextTransform", a.ContextTransform, a.ContextTransform != "")
	if len(a.Assert) > 0 {
		m["assert"] = Contents(a.Assert)
	}
	return m
}

// Contents is the Content of each of a list.
func Contents(list []Assertion) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i].Content()
	}
	return out
}

// Extras is what a test says besides variables, assertions and the keys of a row, without places;
// empty for most tests.
func (t *Test) Extras() map[string]any {
	m := map[string]any{}
	set := func(key string, v any, given bool) {
		if given {
			m[key] = v
		}
	}
	set("provider", t.Provider, t.Provider != nil)
	set("rubricPrompt", t.RubricPrompt, t.RubricPrompt != nil)
	set("transform", t.Transform, t.Transform != "")
	if t.Output != nil {
		m["output"] = *t.Output
	}
	if t.Own != nil {
		m["own"] = []any{t.Own.ID, t.Own.Label, t.Own.Config.Map}
	}
	set("providers", t.Providers, t.Providers != nil)
	set("prompts", t.Prompts, t.Prompts != nil)
	set("repeat", t.Repeat, t.Repeat != 0)
	set("storeAs", t.StoreAs, t.StoreAs != "")
	set("forgets", true, t.Forgets)
	set("conversation", t.Conversation, t.Conversation != "")
	set("transformVars", t.TransformVars, t.TransformVars != "")
	if len(t.Turns) > 0 {
		turns := make([]any, len(t.Turns))
		for i := range t.Turns {
			turns[i] = map[string]any{"user": t.Turns[i].User, "assert": Contents(t.Turns[i].Assert)}
		}
		m["turns"] = turns
	}
	return m
}

// Check is one line of the gate: a metric and what is asked of it.
type Check struct {
	Pos    Pos
	Metric string // such as pass_rate or ifeval.prompt_strict
	Expr   string // such as ">= 0.95", "low >= 0.9", "p95 <= 2s"
}

// Regression is how a run is compared with a baseline, and what the comparison must show. The keys stand
// beside the checks under gate.
type Regression struct {
	// Baseline is the name of a stored baseline or a run's directory; empty means none.
	Baseline    string
	BaselinePos Pos
	Margins     []Margin
	// Alpha is the chance of failing an unchanged system; 0 means DefaultAlpha.
	Alpha float64
	// Power is that of the planned effect; 0 means DefaultPower.
	Power float64
	// Correction over the margins: holm (also when empty), bonferroni or none.
	Correction string
	// Exact says that the intervals of the run's rates are to be Clopper-Pearson's; without it they are Wilson's.
	Exact bool
	// OnUndecided is what a verdict of "underpowered" does: empty leaves it undecided (exit code 3), fail
	// makes it a failure, warn lets the run pass with a warning, extend draws more repeats.
	OnUndecided    string
	OnUndecidedPos Pos
	// MaxSamples bounds the repeats of a case that extend may reach; 0 means four times the suite's.
	MaxSamples int
	// Critical names cases that must pass besides those that say so themselves: ids, or tag=NAME.
	Critical []Named
	// Judges asks for a passed audit of each judge that the gate relies on.
	Judges *JudgeAudit
}

// The defaults of Regression.
const (
	DefaultAlpha = 0.05
	DefaultPower = 0.8
)

// Margin is how much worse than the baseline a metric may be.
type Margin struct {
	Pos    Pos
	Metric string // with [tag=NAME] for the cases that have a tag
	// Margin is at least 0, in the metric's own unit, or a share of the baseline's value when Relative.
	Margin   float64
	Relative bool
	// Unit the margin was written in: %, s, usd or empty, as in a check.
	Unit string
	// Better is higher or lower; empty takes what is known of the metric.
	Better string
	Text   string // as written
}

// Named is a text with its place.
type Named struct {
	Pos  Pos
	Name string
}

// JudgeAudit is what the gate asks of its judges' stored audits.
type JudgeAudit struct {
	Pos Pos
	// Files are the audits, one for each recipe that judges; Agreement the least lower bound of the agreement
	// coefficient, Coefficient its name: kappa, ac1, alpha, accuracy, weighted_kappa, ac2 or ordinal_alpha.
	Files       []Named
	Agreement   float64
	Coefficient string
	// ByName takes an audit that knows the judge by its id only, whatever it is asked.
	ByName bool
	// MaxAgeDays is how many days old the audit may be; 0 for any age.
	MaxAgeDays int
}

// Derived is a metric computed from the run's other metrics.
type Derived struct {
	Pos  Pos // of the expression
	Name string
	Expr string
	// Sums says that the expression is promptfoo's: arithmetic in which a metric's name stands for the
	// sum of its scores, and __count for the number of samples. Otherwise it is CEL over the means.
	Sums bool
}

// Budget bounds a run; zero means unbounded.
type Budget struct {
	Cost   float64 // US dollars
	Tokens int64
	Time   float64 // seconds
}

// Evaluate is promptfoo's evaluateOptions.
type Evaluate struct {
	MaxConcurrency int
	Repeat         int
	DelayMS        int
	TimeoutMS      int
	MaxTimeMS      int // of the whole run
	Cache          *bool
}
