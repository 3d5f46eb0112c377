package scorer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/vector"
)

// bertScorer compares texts token by token.
type bertScorer struct {
	embedder TokenEmbedder
	name     string
	pick     func(vector.Score) float64
	weight   func(string) float64 // nil counts all tokens alike
	baseline *vector.Score
	recipe   string
	spec     Spec
	refs     []string

	mu     sync.Mutex
	tokens []vector.Tokens // of refs, once they are known
}

// parts are what BERTScore gives, by their names in a suite.
var bertParts = map[string]func(vector.Score) float64{
	"f1":        func(s vector.Score) float64 { return s.F1 },
	"precision": func(s vector.Score) float64 { return s.Precision },
	"recall":    func(s vector.Score) float64 { return s.Recall },
}

func buildBERTScore(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	of := r.String("of", "f1")
	pick, ok := bertParts[of]
	if !ok {
		r.Fail("of", "BERTScore has no such part", "f1, precision or recall")
	}
	baseline := readBaseline(r)
	path := strings.TrimPrefix(r.String("idf", ""), "file://")
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	if t := s.Threshold; t != nil && !(*t > -1 && *t <= 1) {
		errs = append(errs, &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(*t), Problem: "scores go up to 1", Want: "a threshold above -1, at most 1"})
	}
	refs, err := wordedReferences(s)
	errs.Append(s.ValuePos, err)
	e, err := embedderOf(s)
	errs.Append(s.Pos, err)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	tokens, ok := e.(TokenEmbedder)
	if !ok {
		return nil, &config.Error{Pos: s.Pos.At("provider"), Value: e.Name(), Problem: "this embedder gives texts a vector, not their tokens", Want: "onnx:DIR, or lexical"}
	}
	b := &bertScorer{embedder: tokens, name: "BERTScore " + of, pick: pick, baseline: baseline, spec: s, refs: refs}
	b.recipe = e.Name() + "|layer:last|of:" + of
	if baseline != nil {
		b.recipe += fmt.Sprintf("|baseline:%g,%g,%g", baseline.Precision, baseline.Recall, baseline.F1)
	}
	if path == "" {
		return b, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.Dir, path)
	}
	table, err := s.Services.idf.of(path, tokens)
	if err != nil {
		return nil, &config.Error{Pos: s.Config.At("idf"), Value: path, Problem: "cannot read the texts that say how rare a token is", Err: err, Want: "a file with one reference text a line"}
	}
	b.weight = table.weight
	b.recipe += "|idf:" + table.hash
	return b, nil
}

// readBaseline reads one number, or one for each part.
func readBaseline(r *config.Reader) *vector.Score {
	const want = "a number from 0 to below 1, or precision, recall and f1 with one each"
	number := func(v any) (float64, bool) {
		f, ok := config.Number(v)
		return f, ok && f >= 0 && f < 1
	}
	switch v := r.Any("baseline").(type) {
	case nil:
		return nil
	case map[string]any:
		var s vector.Score
		for key, to := range map[string]*float64{"precision": &s.Precision, "recall": &s.Recall, "f1": &s.F1} {
			f, ok := number(v[key])
			if !ok || len(v) != 3 {
				r.Fail("baseline", "not a baseline", want)
				return nil
			}
			*to = f
		}
		return &s
	default:
		f, ok := number(v)
		if !ok {
			r.Fail("baseline", "not a baseline", want)
			return nil
		}
		return &vector.Score{Precision: f, Recall: f, F1: f}
	}
}

func (b *bertScorer) convention() string { return b.recipe }
func (b *bertScorer) caution() string    { return lexicalCaution(b.embedder) }

func (b *bertScorer) shape() shape {
	return shape{continuous: true, graded: true, judges: b.spec.Threshold != nil}
}

// Score compares the output with the nearest reference.
func (b *bertScorer) Score(ctx context.Context, in *Input) (Result, error) {
	ask := []string{in.Response.Output}
	b.mu.Lock()
	refs := b.tokens
	b.mu.Unlock()
	if refs == nil {
		ask = append(ask, b.refs...)
	}
	texts, vectors, err := b.embedder.EmbedTokens(ctx, ask)
	if err != nil {
		return Result{}, fmt.Errorf("no embedding from %s: %w", b.embedder.Name(), err)
	}
	if len(texts) != len(ask) || len(vectors) != len(ask) {
		return Result{}, fmt.Errorf("%s gave the tokens of %d texts for %d", b.embedder.Name(), len(texts), len(ask))
	}
	all := make([]vector.Tokens, len(ask))
	for i := range all {
		all[i] = vector.Tokens{Texts: texts[i], Vectors: vectors[i]}
	}
	if refs == nil {
		refs = all[1:]
		b.mu.Lock()
		b.tokens = refs
		b.mu.Unlock()
	}
	var best vector.Score
	for i := range refs {
		got, err := vector.BERTScore(all[0], refs[i], b.weight)
		if err != nil {
			return Result{}, err
		}
		if b.baseline != nil {
			got = got.Rescale(*b.baseline)
		}
		if i == 0 || b.pick(got) > b.pick(best) {
			best = got
		}
	}
	v := b.pick(best)
	name := shownAs(b.embedder, b.name)
	res := limited(b.spec, v, func(least float64) bool { return v >= least }, "%s is %.4f; the least is %v", name, v, deref(b.spec.Threshold))
	res.Value = max(0, min(1, v)) // a share; the metric keeps what was measured
	res.Detail = best
	res.Measures = []record.Measure{{Metric: ".", Kind: "mean", Value: v}}
	return res, nil
}

// idfTables keeps what was read of each file of texts, for the cases of a suite share it.
type idfTables struct {
	mu     sync.Mutex
	tables map[string]*idfTable
}

// idfTable is the weight of tokens by a file, with the hash of its content.
type idfTable struct {
	weight func(string) float64
	hash   string
}

// maxIDFFile bounds the file, which is held in memory.
const maxIDFFile = 64 << 20

func (t *idfTables) of(path string, e TokenEmbedder) (*idfTable, error) {
	key := e.Name() + "\n" + path
	t.mu.Lock()
	defer t.mu.Unlock()
	if got, ok := t.tables[key]; ok {
		return got, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIDFFile {
		return nil, fmt.Errorf("%d bytes are more than %d", info.Size(), maxIDFFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var documents [][]string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			documents = append(documents, e.Tokens(line))
		}
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("the file holds no text")
	}
	table := &idfTable{weight: vector.IDF(documents), hash: record.HashBytes(data)[:12]}
	if t.tables == nil {
		t.tables = map[string]*idfTable{}
	}
	t.tables[key] = table
	return table, nil
}
