package scorer

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/vector"
)

// LexicalCaution goes with every number that the built-in embedding gives.
const LexicalCaution = "lexical similarity compares letters and words and knows no meaning: name an embedding model under provider before gating on it"

// lexicalPrefix begins the name of an embedder that knows no meaning.
const lexicalPrefix = "lexical"

// TokenEmbedder is an Embedder that also gives each token of a text a vector of its own. In both
// methods a mark that stands for no text, such as [CLS], is the empty token.
type TokenEmbedder interface {
	Embedder
	// EmbedTokens returns the tokens of each text and their vectors, all of one length.
	EmbedTokens(ctx context.Context, texts []string) (tokens [][]string, vectors [][][]float32, err error)
	// Tokens returns the tokens of a text.
	Tokens(text string) []string
}

// semanticKinds compare the output with reference texts by embeddings. The value is one reference or
// a list of them, of which the nearest counts.
func semanticKinds() []Kind {
	kinds := []Kind{
		{Name: "similar", Aliases: []string{"similar:cosine"}, Default: new(0.75), Build: similarBuilder(vector.Cosine),
			Summary: "cosine similarity of the embeddings of the output and of the nearest reference is at least threshold"},
		{Name: "similar:dot", Unit: "dot", Default: new(0.75), Build: similarBuilder(vector.Dot),
			Summary: "dot product of the embeddings of the output and of the nearest reference is at least threshold"},
		{Name: "similar:euclidean", Default: new(0.75), Build: similarBuilder(vector.Distance),
			Summary: "euclidean distance of the embeddings of the output and of the nearest reference is at most threshold; the value is 1/(1+distance)"},
		{Name: "bertscore", Build: buildBERTScore,
			Summary: "BERTScore F1 of the output and the nearest reference is at least threshold"},
	}
	for i := range kinds {
		k := &kinds[i]
		k.Version, k.Value, k.ValueIsReference, k.Threshold, k.Continuous = "1", Required, true, Optional, true
	}
	return kinds
}

// embedderOf opens what the assertion names under provider.
func embedderOf(s Spec) (Embedder, error) {
	if s.Services == nil || s.Services.Embedder == nil {
		return nil, &config.Error{Pos: s.Pos, Problem: "there is no embedding model here"}
	}
	pos := s.ProviderPos
	if pos == (config.Pos{}) {
		pos = s.Pos
	}
	return s.Services.Embedder(s.Provider, pos)
}

// lexicalCaution is the caution that an embedder calls for.
func lexicalCaution(e Embedder) string {
	if strings.HasPrefix(e.Name(), lexicalPrefix) {
		return LexicalCaution
	}
	return ""
}

// shownAs is how numbers of the embedder are called: lexical ones always by that name.
func shownAs(e Embedder, what string) string {
	if strings.HasPrefix(e.Name(), lexicalPrefix) {
		return lexicalPrefix + " " + what
	}
	return what
}

// similarScorer compares whole texts.
type similarScorer struct {
	by       vector.Measure
	embedder Embedder
	limit    float64
	refs     []string

	mu sync.Mutex
	// vectors are those of refs, once they are known.
	vectors [][]float32
}

func similarBuilder(by vector.Measure) func(Spec) (Scorer, error) {
	return func(s Spec) (Scorer, error) {
		var errs config.Errors
		errs.Append(s.Pos, s.Config.Reader().Finish())
		sc := &similarScorer{by: by, limit: 0.75}
		var err error
		sc.refs, err = wordedReferences(s)
		errs.Append(s.ValuePos, err)
		if t := s.Threshold; t != nil {
			sc.limit = *t
			switch {
			case by == vector.Cosine && (*t < -1 || *t > 1):
				errs = append(errs, &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(*t), Problem: "similarities go from -1 to 1", Want: "a threshold within that"})
			case by == vector.Distance && *t < 0:
				errs = append(errs, thresholdBelow(s, "0"))
			}
		}
		sc.embedder, err = embedderOf(s)
		errs.Append(s.Pos, err)
		if err := errs.Err(); err != nil {
			return nil, err
		}
		return sc, nil
	}
}

func (s *similarScorer) convention() string { return s.embedder.Name() }
func (s *similarScorer) caution() string    { return lexicalCaution(s.embedder) }

func (s *similarScorer) shape() shape {
	if s.by == vector.Dot {
		return shape{continuous: true, unit: "dot", judges: true}
	}
	return shape{continuous: true, graded: true, judges: true}
}

// epsilon is the allowance that promptfoo makes for rounding.
const epsilon = 0x1p-52

// Score compares the output with the references. A blank output is like nothing.
func (s *similarScorer) Score(ctx context.Context, in *Input) (Result, error) {
	out := in.Response.Output
	if strings.TrimSpace(out) == "" && s.by == vector.Cosine {
		return s.result(0, 0), nil
	}
	ask := []string{out}
	s.mu.Lock()
	refs := s.vectors
	s.mu.Unlock()
	if refs == nil {
		ask = append(ask, s.refs...)
	}
	vectors, usage, err := s.embedder.Embed(ctx, ask)
	if err != nil {
		return Result{Usage: usage}, fmt.Errorf("no embedding from %s: %w", s.embedder.Name(), err)
	}
	if len(vectors) != len(ask) {
		return Result{Usage: usage}, fmt.Errorf("%s gave %d vectors for %d texts", s.embedder.Name(), len(vectors), len(ask))
	}
	if refs == nil {
		refs = vectors[1:]
		s.mu.Lock()
		s.vectors = refs
		s.mu.Unlock()
	}
	best, at := 0.0, -1
	for i, r := range refs {
		v, err := s.by.Of(vectors[0], r)
		if err != nil {
			return Result{Usage: usage}, err
		}
		if at < 0 || s.by == vector.Distance && v < best || s.by != vector.Distance && v > best {
			best, at = v, i
		}
	}
	res := s.result(best, at)
	res.Usage = usage
	return res, nil
}

// result judges the likeness to the nearest reference, the at-th.
func (s *similarScorer) result(v float64, at int) Result {
	name := shownAs(s.embedder, s.by.String())
	var res Result
	switch s.by {
	case vector.Distance:
		res = measured(1/(1+v), v <= s.limit+epsilon, "%s to %s is %.4f; the most is %v", name, quote(s.refs[at]), v, s.limit)
		res.Measures = []record.Measure{{Metric: ".", Kind: "mean", Value: res.Value}, {Metric: ".distance", Kind: "mean", Value: v, Unit: "distance"}}
	default:
		res = measured(v, v >= s.limit-epsilon, "%s to %s is %.4f; the least is %v", name, quote(s.refs[at]), v, s.limit)
		unit := s.shape().unit
		if s.by == vector.Cosine {
			res.Value = max(0, v) // a share; the metric keeps the sign
		}
		res.Measures = []record.Measure{{Metric: ".", Kind: "mean", Value: v, Unit: unit}}
	}
	if len(s.refs) > 1 {
		res.Detail = map[string]any{"nearest": at}
	}
	return res
}
