// Package scorer judges answers: each kind of assertion a suite can ask for is a Kind that builds
// a Scorer from its parameters.
//
// A Scorer sees one answer and says how good it is, or that it could not tell. It is not for
// combining judgements over samples; that is package metric's work. An error is neither a pass nor
// a failure, and no kind may be built without the parameters it needs.
package scorer

import (
	"context"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Input is one answer with what it answers.
type Input struct {
	Vars     map[string]any
	Prompt   string
	Messages []record.Message
	Metadata map[string]any
	Response *record.Response
	// Case, Repeat and Seed are the sample's own, for what is asked of a judge.
	Case   string
	Repeat int
	Seed   int64
	// Provider and PromptLabel name the snapshot that answered.
	Provider, PromptLabel string
	// Given is the answer before the test's own transform; nil when there was none.
	Given *record.Response
	// Tools are the functions that the provider offers its model; nil when it has none.
	Tools *Toolset
	// UUID is what a transform of variables gets as context.uuid; empty elsewhere.
	UUID string
}

// Result is a judgement or a measurement.
type Result struct {
	// Value is the score: 1 or 0 for a yes-or-no kind, 0 to 1 for a graded one, or the measured
	// quantity in its unit. NaN is turned into an error.
	Value float64
	// Pass is nil when there is nothing to judge by (a metric without a threshold).
	Pass *bool
	// Reason explains the outcome either way in one sentence with the deciding value, for it is
	// also shown when a not- prefix turns a pass into a failure.
	Reason string
	Detail any
	// Measures are what the sample adds to the run's metrics; empty means Value under the
	// assertion's own metric name. A Metric that starts with "." is appended to that name.
	Measures []record.Measure
	// Cost and Usage are what the judging took; nil cost is unknown or none.
	Cost  *float64
	Usage record.Usage
	// Judge counts the calls of a judge model.
	Judge record.Judging
	// Scores are the parts of a composite.
	Scores []record.Score
}

// Scorer judges one answer. It is safe for concurrent use. An error means that it could not judge.
type Scorer interface {
	Score(ctx context.Context, in *Input) (Result, error)
}

// Func is a Scorer made of a function.
type Func func(ctx context.Context, in *Input) (Result, error)

// Score calls f.
func (f Func) Score(ctx context.Context, in *Input) (Result, error) { return f(ctx, in) }

// Need says whether a parameter must be given.
type Need uint8

// The three answers. The zero value refuses the parameter.
const (
	Forbidden Need = iota
	Optional
	Required
)

// Spec is what a Kind is built from. All templates in it have been rendered.
type Spec struct {
	Pos       config.Pos
	Value     any
	ValuePos  config.Pos
	Threshold *float64
	Config    config.Object
	// Dir is the suite's folder, against which paths are resolved.
	Dir string
	// Provider, RubricPrompt and Assert are the assertion's own; see config.Assertion.
	Provider     any
	ProviderPos  config.Pos
	RubricPrompt any
	Assert       []config.Assertion
	// Transformed says that the assertion has a transform of its own, which makes what is judged.
	Transformed bool
	// Services gives access to models; never nil.
	Services *Services
	// part builds an assertion of a composite.
	part func(config.Assertion) (*Assertion, error)
}

// Services is what a Scorer may use besides the answer. The fields may be nil: then a kind that needs
// one is a *config.Error. Refs are what the suite has under provider: an id, a mapping, or nil
// for the default.
type Services struct {
	Model     func(ref any, pos config.Pos) (Model, error)
	Embedder  func(ref any, pos config.Pos) (Embedder, error)
	Moderator func(ref any, pos config.Pos) (Moderator, error)
	// AllowCode lets a suite run its own JavaScript and Python.
	AllowCode bool
	// Golden is the file of accepted outputs of golden assertions that name none, against the suite's folder; empty
	// when there is no suite.
	Golden string
	// Compile builds the parts of a composite, which its owner then closes. Nil stands for Compile
	// with these services.
	Compile func(config.Assertion) (*Assertion, error)

	code codeHosts
	// codeTimeout bounds one call of a suite's code; 0 stands for the constant of that name.
	codeTimeout time.Duration
	idf         idfTables
	golden      goldenFiles
}

// Model is a judge. Retries are its own affair; failures are *record.Failure.
type Model interface {
	Complete(ctx context.Context, req record.Request) (record.Response, error)
	// Snapshot identifies the model for signatures: provider, model and parameters.
	Snapshot() record.Snapshot
}

// Embedder turns texts into vectors of one length.
type Embedder interface {
	Embed(ctx context.Context, texts []string) ([][]float32, record.Usage, error)
	// Name identifies model and version for signatures, such as lexical/1 or openai:text-embedding-3-small.
	Name() string
}

// Moderator gives each category of harm a score from 0 to 1.
type Moderator interface {
	Moderate(ctx context.Context, text string) (scores map[string]float64, flagged []string, err error)
	Name() string
}

// Kind is one type of assertion.
type Kind struct {
	Name    string
	Aliases []string
	Summary string // one line for docs and --help
	// Version changes whenever the same input may get another number. It is part of the signature.
	Version string
	// Convention is the rest of the recipe, such as a sacreBLEU signature; may be empty.
	Convention string
	Value      Need
	// ValueIsReference says that Value is the case's expected answer and therefore data, not
	// recipe: it stays out of the signature.
	ValueIsReference bool
	Threshold        Need
	// Default is the threshold that stands when none is given; nil means unjudged.
	Default *float64
	// Continuous says that Value is a graded or measured quantity, not 0 or 1: its metric is a
	// mean, not a rate.
	Continuous bool
	// Unit of a measured quantity: s, usd, tokens, words…; empty for scores.
	Unit string
	// Timed says that the judgement depends on when the answer was made, so that a cached answer will not do.
	Timed bool
	// Caution is what a suite that gates on this kind must be warned of, in one sentence; empty if nothing.
	Caution string
	// Judged says that it asks a judge model.
	Judged bool
	// Vars are variables that the case must have.
	Vars []string
	// FreeConfig says that the config is the user's own, handed on to the user's code.
	FreeConfig bool
	// Build makes the Scorer. It reads Config with a strict config.Reader and calls Finish, and
	// returns *config.Error or config.Errors for a user's mistake.
	Build func(Spec) (Scorer, error)
}
