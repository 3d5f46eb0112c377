package scorer

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/worker"
)

// codeTimeout bounds one call of a suite's code.
const codeTimeout = 30 * time.Second

// The languages of code in suites.
const (
	langJavaScript = "javascript"
	langPython     = "python"
)

//go:embed driver/driver.js
var driverJS string

//go:embed driver/driver.py
var driverPython string

// codeKinds are promptfoo's assertions written in JavaScript and Python.
func codeKinds() []Kind {
	var out []Kind
	for _, k := range []struct{ name, summary string }{
		{langJavaScript, "an expression, function body or file of JavaScript accepts the output; runs in one node process when code is allowed"},
		{langPython, "an expression, function body or file of Python accepts the output; runs in one python3 process when code is allowed"},
	} {
		out = append(out, Kind{
			Name: k.name, Summary: k.summary, Version: "1", Value: Required, Threshold: Optional, Continuous: true, FreeConfig: true,
			Build: func(s Spec) (Scorer, error) { return buildCode(s, k.name) },
		})
	}
	return out
}

// NeedsCode says whether an assertion type runs code of the suite's.
func NeedsCode(name string) bool { return name == langJavaScript || name == langPython }

// codeHosts are the processes that run a suite's code, one a language, started when first needed.
type codeHosts struct {
	mu    sync.Mutex
	pools map[string]*worker.Pool
}

// Close ends the processes that ran the suite's code.
func (s *Services) Close() error {
	s.code.mu.Lock()
	defer s.code.mu.Unlock()
	var errs []error
	for _, p := range s.code.pools {
		errs = append(errs, p.Close())
	}
	s.code.pools = nil
	return errors.Join(errs...)
}

// host returns the process of a language, working in dir. It gets no credential of telltale's environment.
func (s *Services) host(lang, dir string) (*worker.Pool, error) {
	s.code.mu.Lock()
	defer s.code.mu.Unlock()
	if p := s.code.pools[lang]; p != nil {
		return p, nil
	}
	command := []string{"node", "-e", driverJS}
	if lang == langPython {
		command = []string{"python3", "-c", driverPython}
	}
	env, _ := worker.Environment{}.Build(os.Environ())
	p, err := worker.New(worker.Options{Command: command, Dir: dir, Env: env, Timeout: cmp.Or(s.codeTimeout, codeTimeout)})
	if err != nil {
		return nil, fmt.Errorf("%s runs %s, which is not there: %w", command[0], lang, err)
	}
	if s.code.pools == nil {
		s.code.pools = map[string]*worker.Pool{}
	}
	s.code.pools[lang] = p
	return p, nil
}

// codeCall is one piece of a suite's code, ready to be called.
type codeCall struct {
	host *worker.Pool
	// op is check or transform: it decides how the code is called.
	op string
	// source, or file and function, is what runs.
	source, file, function string
	hash                   string // of what runs
	config                 map[string]any
}

// newCodeCall finds what runs: inline source, or file://PATH with :FUNCTION.
func newCodeCall(services *Services, pos config.Pos, dir, op, source string) (*codeCall, error) {
	c := &codeCall{op: op, source: source, hash: shortHash(source)}
	lang := langJavaScript
	if op == langPython {
		lang = langPython
	}
	if op == langPython || op == langJavaScript {
		c.op = "check"
	}
	if ref, isFile := strings.CutPrefix(source, "file://"); isFile {
		if err := c.find(ref, dir); err != nil {
			return nil, &config.Error{Pos: pos, Value: source, Problem: "cannot read the file", Err: err, Hint: "paths are relative to the folder of the suite file"}
		}
		if filepath.Ext(c.file) == ".py" {
			lang = langPython
		}
	}
	host, err := services.host(lang, dir)
	if err != nil {
		return nil, &config.Error{Pos: pos, Err: err}
	}
	c.host = host
	return c, nil
}

// find takes a reference to a file apart.
func (c *codeCall) find(ref, dir string) error {
	c.source, c.file = "", ref
	if i := strings.LastIndex(ref, ":"); i > 1 && !strings.ContainsAny(ref[i:], `/\`) {
		c.file, c.function = ref[:i], ref[i+1:]
	}
	if !filepath.IsAbs(c.file) {
		abs, err := filepath.Abs(filepath.Join(dir, c.file))
		if err != nil {
			return err
		}
		c.file = abs
	}
	b, err := os.ReadFile(c.file)
	if err != nil {
		return plainError(err)
	}
	c.hash = shortHash([]string{record.HashBytes(b), c.function})
	return nil
}

func plainError(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

type codeRequest struct {
	ID       string      `json:"id"`
	Op       string      `json:"op"`
	Source   string      `json:"source,omitempty"`
	File     string      `json:"file,omitempty"`
	Function string      `json:"function,omitempty"`
	Output   any         `json:"output"`
	Context  codeContext `json:"context"`
}

// codeContext is what promptfoo's code gets beside the output.
type codeContext struct {
	Prompt   string         `json:"prompt"`
	Vars     map[string]any `json:"vars"`
	Config   map[string]any `json:"config,omitempty"`
	Metadata map[string]any `json:"metadata"`
	Test     codeTest       `json:"test"`
	LogProbs []float64      `json:"logProbs,omitempty"`
	Response codeResponse   `json:"providerResponse"`
	UUID     string         `json:"uuid,omitempty"`
}

type codeTest struct {
	Vars     map[string]any `json:"vars"`
	Metadata map[string]any `json:"metadata"`
}

type codeResponse struct {
	Output       any        `json:"output"`
	Cached       bool       `json:"cached"`
	Cost         *float64   `json:"cost,omitempty"`
	FinishReason string     `json:"finishReason,omitempty"`
	LatencyMS    float64    `json:"latencyMs,omitempty"`
	TokenUsage   codeTokens `json:"tokenUsage"`
}

type codeTokens struct {
	Prompt     int `json:"prompt,omitempty"`
	Completion int `json:"completion,omitempty"`
	Total      int `json:"total,omitempty"`
}

func (c *codeCall) context(in *Input) codeContext {
	r := in.Response
	vars, metadata := in.Vars, in.Metadata
	if vars == nil {
		vars = map[string]any{}
	}
	if metadata == nil {
		metadata = map[string]any{}
	}
	out := codeContext{
		Prompt: in.Prompt, Vars: vars, Config: c.config, Metadata: metadata, Test: codeTest{vars, metadata}, UUID: in.UUID,
		Response: codeResponse{
			Output: subject(r), Cached: r.Cached, Cost: r.Cost, FinishReason: r.FinishReason,
			LatencyMS: float64(r.Latency.Microseconds()) / 1000, TokenUsage: codeTokens{r.Usage.Prompt, r.Usage.Completion, r.Usage.Total},
		},
	}
	for _, t := range r.Logprobs {
		out.LogProbs = append(out.LogProbs, t.Logprob)
	}
	return out
}

// value calls the code. The value is as JSON has it; what JSON cannot hold is an error.
func (c *codeCall) value(ctx context.Context, in *Input) (any, error) {
	got, err := c.host.Call(ctx, func(id string) ([]byte, error) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(codeRequest{
			ID: id, Op: c.op, Source: c.source, File: c.file, Function: c.function, Output: subject(in.Response), Context: c.context(in),
		})
		return bytes.TrimRight(b.Bytes(), "\n"), err
	})
	if err != nil {
		return nil, err
	}
	var a struct {
		Value json.RawMessage `json:"value"`
		Error *string         `json:"error"`
	}
	switch err := json.Unmarshal(got.Line, &a); {
	case err != nil:
		return nil, fmt.Errorf("the answer of the code cannot be read: %w", err)
	case a.Error != nil:
		return nil, fmt.Errorf("the code failed: %s", config.Clip(*a.Error, 1000))
	case a.Value == nil:
		return nil, errors.New("the code gave no value")
	}
	return decoded(a.Value)
}

type codeScorer struct {
	call      *codeCall
	lang      string
	threshold *float64
}

func buildCode(s Spec, lang string) (Scorer, error) {
	source, ok := s.Value.(string)
	if !ok || strings.TrimSpace(source) == "" {
		return nil, badValue(s, "not code", "an expression such as output.length < 100, a function body, or file://PATH")
	}
	if s.Services == nil || !s.Services.AllowCode {
		return nil, &config.Error{Pos: s.Pos.At("type"), Value: lang, Problem: "runs code of the suite's", Hint: "--allow-code lets it"}
	}
	call, err := newCodeCall(s.Services, s.ValuePos, s.Dir, lang, source)
	if err != nil {
		return nil, err
	}
	call.config = s.Config.Map
	return &codeScorer{call: call, lang: lang, threshold: s.Threshold}, nil
}

// shape says that code always judges.
func (c *codeScorer) shape() shape { return shape{continuous: true, graded: true, judges: true} }

// convention is the hash of the code that runs, also when it is in a file.
func (c *codeScorer) convention() string { return "code=" + c.call.hash }

// Score calls the code and reads its word: a truth value; a number, which passes from the threshold
// on or else above 0; or an object with pass, score and reason. Code that fails or says anything
// else could not judge.
func (c *codeScorer) Score(ctx context.Context, in *Input) (Result, error) {
	v, err := c.call.value(ctx, in)
	if err != nil {
		return Result{}, err
	}
	if s, ok := v.(string); ok && c.lang == langPython {
		if v, err = pythonText(s); err != nil {
			return Result{}, err
		}
	}
	switch v := v.(type) {
	case bool:
		return judged(v, "the code gives %v", v), nil
	case float64:
		pass := v > 0
		bar := "above 0"
		if c.threshold != nil {
			pass, bar = v >= *c.threshold, fmt.Sprintf("at least %g", *c.threshold)
		}
		return codeResult(v, pass, fmt.Sprintf("the code gives %g; it passes %s", v, bar)), nil
	case map[string]any:
		return c.object(v)
	}
	return Result{}, fmt.Errorf("the code gives %s; want true, false, a number, or an object with pass, score and reason", jsType(v))
}

// codeResult is a result whose score lies between 0 and 1; another number is judged, and shown in the reason only.
func codeResult(score float64, pass bool, reason string) Result {
	if !(score >= 0 && score <= 1) {
		score = map[bool]float64{true: 1}[pass]
	}
	return Result{Value: score, Pass: &pass, Reason: reason}
}

// pythonText reads what a function that prints its verdict gives.
func pythonText(s string) (any, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	v, err := decoded([]byte(s))
	if _, isText := v.(string); err != nil || isText {
		return nil, fmt.Errorf("the code gives the text %s", quote(s))
	}
	return v, nil
}

// object reads promptfoo's grading result.
func (c *codeScorer) object(m map[string]any) (Result, error) {
	get := func(names ...string) any {
		for _, n := range names {
			if v, ok := m[n]; ok {
				return v
			}
		}
		return nil
	}
	pass, ok := get("pass", "pass_").(bool)
	if !ok {
		return Result{}, errors.New("the code's object has no pass that is true or false")
	}
	score, isNumber := get("score").(float64)
	if !isNumber {
		if get("score") != nil {
			return Result{}, errors.New("the code's score is not a number")
		}
		score = map[bool]float64{true: 1}[pass]
	}
	reason, _ := get("reason").(string)
	if reason == "" {
		reason = fmt.Sprintf("the code gives pass %v with a score of %g", pass, score)
	}
	if c.lang == langPython && c.threshold != nil && score < *c.threshold {
		pass, reason = false, fmt.Sprintf("the score %g is below %g: %s", score, *c.threshold, reason)
	}
	res := codeResult(score, pass, reason)
	if parts := get("componentResults", "component_results"); parts != nil {
		res.Detail = map[string]any{"components": parts}
	}
	named, _ := get("namedScores", "named_scores").(map[string]any)
	for name, v := range named {
		f, ok := v.(float64)
		if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
			return Result{}, fmt.Errorf("the code's named score %s is not a number", quote(name))
		}
		res.Measures = append(res.Measures, record.Measure{Metric: name, Value: f, Kind: "mean"})
	}
	if len(res.Measures) > 0 {
		slices.SortFunc(res.Measures, func(a, b record.Measure) int { return strings.Compare(a.Metric, b.Metric) })
		res.Measures = append([]record.Measure{{Metric: ".", Value: res.Value, Kind: "mean"}}, res.Measures...)
	}
	return res, nil
}
