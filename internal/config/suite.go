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
	Groups   string
	Gate     []Check
	Budget   Budget
	Evaluate Evaluate
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
}

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
	// Prompts restricts the provider to the prompts of these labels; empty means all.
	Prompts []string
}

// Tests is a source of cases: either Inline or a file.
type Tests struct {
	Pos    Pos
	Inline []Test
	// Path is a file, a glob, or "-" for standard input, relative to the suite's folder.
	Path string
	// Format is auto (by extension), yaml, json, jsonl, csv, ifeval or gsm8k.
	Format string
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
	// NoDefaults leaves the default assertions out.
	NoDefaults bool
	keepLists  bool
}

// Merge returns t with the defaults it does not override: own variables and metadata win key by
// key, assertions and tags are added to, the default assertions first.
func (t Test) Merge(def *Test) Test {
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
	return t
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
}

// Check is one line of the gate: a metric and what is asked of it.
type Check struct {
	Pos    Pos
	Metric string // such as pass_rate or ifeval.prompt_strict
	Expr   string // such as ">= 0.95", "low >= 0.9", "p95 <= 2s"
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
	Cache          *bool
}
