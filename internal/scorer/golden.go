package scorer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/golden"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer/vector"
)

// The ways in which a golden assertion compares.
const (
	matchExact      = "exact"
	matchNormalized = "normalized"
	matchSemantic   = "semantic"
	matchJudged     = "judged"
)

// defaultGoldenThreshold is the least cosine of a semantic match when none is given.
const defaultGoldenThreshold = 0.9

// goldenKinds compare the output with those that a person has accepted of the case.
func goldenKinds() []Kind {
	return []Kind{{
		Name: "golden", Version: "1", Threshold: Optional, Build: buildGolden,
		Summary: "the output matches one that was accepted of the case with telltale golden accept: exact, normalized, semantic or judged, by config match",
	}}
}

// GoldenUse says what a golden assertion compares with.
type GoldenUse struct {
	// File is the path, against the suite's folder as the suite's own path is.
	File string
	// Hash is that of the file's content.
	Hash  string
	Match string
	// PerSnapshot says that outputs are accepted of one provider and prompt, not of the case alone.
	PerSnapshot bool
}

// Golden says what the assertion compares with; ok is false for assertions of other kinds.
func (a *Assertion) Golden() (use GoldenUse, ok bool) {
	g, ok := a.scorer.(interface{ use() GoldenUse })
	if !ok {
		return GoldenUse{}, false
	}
	return g.use(), true
}

// AsksJudge says that the assertion itself asks a judge model, apart from its parts.
func (a *Assertion) AsksJudge() bool {
	use, ok := a.Golden()
	return a.kind.Judged || ok && use.Match == matchJudged
}

// goldenFiles keeps what was read of each file, for the cases of a suite share it, and so that all of a run is
// compared with the same content.
type goldenFiles struct {
	mu    sync.Mutex
	files map[string]*goldenFile
}

type goldenFile struct {
	*golden.File
	hash string
	err  error
}

func (f *goldenFiles) of(path string) (*goldenFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got, ok := f.files[path]
	if !ok {
		got = &goldenFile{}
		if got.File, got.err = golden.Load(path); got.err == nil {
			got.hash = got.Hash()
		}
		if f.files == nil {
			f.files = map[string]*goldenFile{}
		}
		f.files[path] = got
	}
	return got, got.err
}

// goldenMatch compares an output with the accepted ones.
type goldenMatch func(ctx context.Context, in *Input, accepted []string) (Result, error)

// goldenScorer judges by the accepted outputs of the case.
type goldenScorer struct {
	file   *goldenFile
	is     GoldenUse
	match  goldenMatch
	form   shape
	recipe string
	warn   string
}

func (s *goldenScorer) use() GoldenUse     { return s.is }
func (s *goldenScorer) shape() shape       { return s.form }
func (s *goldenScorer) convention() string { return s.recipe }
func (s *goldenScorer) caution() string    { return s.warn }

// errNoGolden says that nothing was accepted yet. It is no failure: nobody knows whether the output is good.
var errNoGolden = errors.New("no output of this case is accepted yet; telltale golden accept RUN_DIR shows this one and accepts it")

// Score compares the output with each accepted one; one match is enough.
func (s *goldenScorer) Score(ctx context.Context, in *Input) (Result, error) {
	accepted := s.file.Accepted(golden.Key{Case: in.Case, Provider: in.Provider, Prompt: in.PromptLabel})
	if len(accepted) == 0 {
		return Result{}, errNoGolden
	}
	return s.match(ctx, in, accepted)
}

func buildGolden(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	oneOf := func(key string, all ...string) string {
		v := r.String(key, all[0])
		if !slices.Contains(all, v) {
			r.Fail(key, "there is no such choice", "one of "+strings.Join(all, ", "))
		}
		return v
	}
	match := oneOf("match", matchExact, matchNormalized, matchSemantic, matchJudged)
	per := oneOf("per", "case", "snapshot")
	path := r.String("file", "")
	if s.Transformed {
		return nil, &config.Error{Pos: s.Pos, Problem: "golden compares the answer as it is kept in the results, not what an assertion's transform makes of it",
			Hint: "put the transform under options of the test or of defaultTest"}
	}
	if s.Threshold != nil {
		switch t := *s.Threshold; {
		case match != matchSemantic:
			return nil, &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(t), Problem: "a " + match + " match has no threshold", Want: "match: semantic, or no threshold"}
		case !(t > 0 && t <= 1):
			return nil, &config.Error{Pos: s.Pos.At("threshold"), Value: shortest(t), Problem: "out of range", Want: "a threshold above 0, at most 1"}
		}
	}
	sc := &goldenScorer{recipe: "match=" + match, form: shape{graded: true, judges: true}}
	if err := sc.build(s, r, match); err != nil {
		return nil, err
	}
	var err error
	if sc.file, path, err = goldenFileOf(s, path); err != nil {
		return nil, err
	}
	sc.recipe += ";file=" + sc.file.hash
	sc.is = GoldenUse{File: path, Hash: sc.file.hash, Match: match, PerSnapshot: per == "snapshot"}
	return sc, nil
}

// build makes the comparison. r must have been asked for everything else.
func (g *goldenScorer) build(s Spec, r *config.Reader, match string) error {
	if match == matchJudged {
		prompts, err := promptsOf(s, step{file: "golden"})
		if err != nil {
			return err
		}
		j, err := newJudge(s, r, prompts)
		if err != nil {
			return err
		}
		g.recipe += ";" + j.recipe
		g.match = judgedMatch(j, prompts[0])
		return nil
	}
	if err := r.Finish(); err != nil {
		return err
	}
	switch match {
	case matchSemantic:
		e, err := embedderOf(s)
		if err != nil {
			return err
		}
		least := defaultGoldenThreshold
		if s.Threshold != nil {
			least = *s.Threshold
		}
		g.form.continuous, g.warn = true, lexicalCaution(e)
		g.recipe += ";" + e.Name() + ";least=" + shortest(least)
		g.match = semanticMatch(e, least)
	case matchNormalized:
		g.match = textMatch("after normalization ", golden.Normalize)
	default:
		g.match = textMatch("", func(s string) string { return s })
	}
	return nil
}

// goldenFileOf reads the file that the assertion names, or else the suite's own.
func goldenFileOf(s Spec, path string) (*goldenFile, string, error) {
	if path == "" {
		if s.Services == nil || s.Services.Golden == "" {
			return nil, "", &config.Error{Pos: s.Pos, Problem: "golden needs a file of accepted outputs", Want: "config.file"}
		}
		path = s.Services.Golden
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.Dir, path)
	}
	f, err := s.Services.golden.of(path)
	return f, path, err
}

// textMatch compares texts that form has been applied to.
func textMatch(how string, form func(string) string) goldenMatch {
	return func(_ context.Context, in *Input, accepted []string) (Result, error) {
		out := form(in.Response.Output)
		if slices.ContainsFunc(accepted, func(a string) bool { return form(a) == out }) {
			return judged(true, "%sthe output is one of the %d accepted", how, len(accepted)), nil
		}
		if len(accepted) > 1 {
			return judged(false, "%sthe output is none of the %d accepted, of which one is %s", how, len(accepted), quote(accepted[0])), nil
		}
		return judged(false, "%sthe output is not the accepted %s", how, quote(accepted[0])), nil
	}
}

// semanticMatch compares by the cosine of embeddings. Equal texts need none.
func semanticMatch(e Embedder, least float64) goldenMatch {
	var mu sync.Mutex
	known := map[string][]float32{} // of accepted outputs
	embed := func(ctx context.Context, out string, accepted []string) (of []float32, refs [][]float32, res Result, err error) {
		ask := []string{out}
		mu.Lock()
		for _, a := range accepted {
			if known[a] == nil {
				ask = append(ask, a)
			}
		}
		mu.Unlock()
		vectors, usage, err := e.Embed(ctx, ask)
		res.Usage = usage
		if err != nil {
			return nil, nil, res, fmt.Errorf("no embedding from %s: %w", e.Name(), err)
		}
		if len(vectors) != len(ask) {
			return nil, nil, res, fmt.Errorf("%s gave %d vectors for %d texts", e.Name(), len(vectors), len(ask))
		}
		mu.Lock()
		defer mu.Unlock()
		for i, a := range ask[1:] {
			known[a] = vectors[1+i]
		}
		for _, a := range accepted {
			refs = append(refs, known[a])
		}
		return vectors[0], refs, res, nil
	}
	return func(ctx context.Context, in *Input, accepted []string) (Result, error) {
		out := in.Response.Output
		if slices.Contains(accepted, out) {
			return measured(1, true, "the output is one of the %d accepted", len(accepted)), nil
		}
		// A blank text is like nothing.
		worded := slices.DeleteFunc(slices.Clone(accepted), func(a string) bool { return strings.TrimSpace(a) == "" })
		if strings.TrimSpace(out) == "" || len(worded) == 0 {
			return measured(0, false, "one of the output and what is accepted is blank, the other not"), nil
		}
		of, refs, res, err := embed(ctx, out, worded)
		if err != nil {
			return res, err
		}
		best, at := 0.0, 0
		for i, ref := range refs {
			v, err := vector.Cosine.Of(of, ref)
			if err != nil {
				return res, err
			}
			if i == 0 || v > best {
				best, at = v, i
			}
		}
		got := measured(min(max(best, 0), 1), best >= least-epsilon, "%s to the accepted %s is %.4f; the least is %v", shownAs(e, vector.Cosine.String()), quote(worded[at]), best, least)
		got.Usage = res.Usage
		return got, nil
	}
}

// judgedMatch asks a judge whether the output is equivalent to an accepted one, for one after another until it is.
// What is equal after normalization is not asked about.
func judgedMatch(judge *judge, prompt *judgePrompt) goldenMatch {
	return func(ctx context.Context, in *Input, accepted []string) (Result, error) {
		out := golden.Normalize(in.Response.Output)
		if slices.ContainsFunc(accepted, func(a string) bool { return golden.Normalize(a) == out }) {
			return judged(true, "the output is one of the %d accepted", len(accepted)), nil
		}
		j := &judgement{judge: judge, in: in}
		for i, a := range accepted {
			pass, reason := false, ""
			answer := material{"answer", in.Response.Output}
			vars := map[string]any{"input": material{"question", questionOf(in)}, "accepted": material{"accepted", a}, "output": answer, "completion": answer}
			if err := j.ask(ctx, prompt, vars, func(resp *record.Response) (err error) {
				pass, reason, err = readClosedQA(resp.Output, prompt.own)
				return err
			}); err != nil {
				return j.res, err
			}
			if pass {
				j.outcome(1, true, "the judge finds the output equivalent to an accepted one", reason)
				return j.res, nil
			}
			if i == len(accepted)-1 {
				j.outcome(0, false, fmt.Sprintf("the judge finds the output not equivalent to the accepted %s", quote(a)), reason)
			}
		}
		return j.res, nil
	}
}
