package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/provider/anthropic"
	"github.com/telltale-llm/telltale/internal/provider/google"
	"github.com/telltale-llm/telltale/internal/provider/openai"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// services opens what scorers use besides the answer: judges, embedders and moderators. Each distinct
// reference is opened once and closed with the session. What is asked of them is repeated and limited
// as a run's own requests are.
type services struct {
	o     *RunOptions
	suite *config.Suite
	// dir is the suite's folder.
	dir  string
	most int // concurrency

	prices func() (*provider.Prices, error)
	cache  atomic.Pointer[runner.Cache]

	mu     sync.Mutex
	opened map[string]service
}

// service is something opened for a reference.
type service struct {
	spec config.Provider
	any  // scorer.Model, scorer.Embedder or scorer.Moderator
	// check asks whether it is there, and close gives it back; either may be nil.
	check func(context.Context) error
	close func() error
	// cacheable says that its answers may be kept.
	cacheable bool
}

func newServices(suite *config.Suite, dir string, o *RunOptions, most int) *services {
	return &services{
		o: o, suite: suite, dir: dir, most: most, opened: map[string]service{},
		prices: sync.OnceValues(func() (*provider.Prices, error) { return provider.LoadPrices(o.Prices) }),
	}
}

// forScorers is the side that scorers see.
func (v *services) forScorers() *scorer.Services {
	return &scorer.Services{Model: v.model, Embedder: v.embedder, Moderator: v.moderator, AllowCode: v.o.AllowCode, Golden: goldenFile(v.o.Suite)}
}

// The roles, by which promptfoo's mappings name a provider for each purpose.
const (
	judging    = "text"
	embedding  = "embedding"
	moderating = "moderation"
)

// open finds or opens the service for a reference.
func (v *services) open(role string, spec config.Provider, make func(config.Provider) (service, error)) (any, error) {
	key, err := json.Marshal([]any{role, spec.ID, spec.Label, spec.Config.Map})
	if err != nil {
		return nil, &config.Error{Pos: spec.Pos, Value: spec.ID, Err: err}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if s, ok := v.opened[string(key)]; ok {
		return s.any, nil
	}
	s, err := make(spec)
	if err != nil {
		return nil, err
	}
	s.spec = spec
	v.opened[string(key)] = s
	return s.any, nil
}

// options are those with which a service's provider is opened.
func (v *services) options() *RunOptions {
	own := *v.o
	own.Env = withEnv(v.o.Env, v.suite.Env, nil)
	own.planning = own.planning && !own.asksJudges
	return &own
}

func (v *services) retry(most int) *runner.Retry {
	limit := v.most
	if most > 0 {
		limit = min(limit, most)
	}
	r := &runner.Retry{Times: v.o.Retries, Timeout: v.o.Timeout, Limit: runner.NewLimiter(limit)}
	if r.Times < 0 {
		r.Times = DefaultRetries
	}
	if r.Timeout == 0 {
		r.Timeout = time.Duration(v.suite.Evaluate.TimeoutMS) * time.Millisecond
	}
	return r
}

// find reads a reference; without one, the suite's default for the role.
func (v *services) find(ref any, role string, pos config.Pos) (config.Provider, bool, error) {
	spec, ok, err := config.ProviderOf(ref, role, pos)
	if err != nil || ok {
		return spec, ok, err
	}
	return config.ProviderOf(v.suite.Default.Provider, role, config.Pos{File: v.suite.Path, Key: "defaultTest.options.provider"})
}

// model returns the judge for a reference; nil stands for the suite's default.
func (v *services) model(ref any, pos config.Pos) (scorer.Model, error) {
	spec, ok, err := v.find(ref, judging, pos)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &config.Error{Pos: pos, Problem: "which model judges?", Want: "provider: such as openai:chat:gpt-4.1, here or for all under defaultTest.options"}
	}
	s, err := v.open(judging, spec, v.openJudge)
	if err != nil {
		return nil, err
	}
	return s.(scorer.Model), nil
}

// judges lists the ids of the judges that were opened. A label is not told: anything can be written in it.
func (v *services) judges() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	for _, s := range v.opened {
		if _, ok := s.any.(scorer.Model); ok {
			out = append(out, s.spec.ID)
		}
	}
	slices.Sort(out)
	return out
}

func (v *services) openJudge(spec config.Provider) (service, error) {
	prices, err := v.prices()
	if err != nil {
		return service{}, err
	}
	if openai.Embeds(spec.ID) || openai.Moderates(spec.ID) {
		return service{}, &config.Error{Pos: spec.Pos, Value: spec.ID, Problem: "this model answers no questions", Want: "one that judges, such as openai:chat:gpt-4.1"}
	}
	c, err := openProvider(atTemperature0(spec), prices, v.options())
	if err != nil {
		return service{}, err
	}
	info := c.Describe()
	for _, w := range info.Warnings {
		v.o.Notice(w)
	}
	j := &judge{client: c, cacheable: info.Cacheable, snapshot: info.Snapshot(), retry: v.retry(info.MaxConcurrency), cache: &v.cache}
	j.snapshot.Provider = spec.ID
	j.snapshot.Identify()
	return service{any: j, check: c.Check, close: c.Close, cacheable: info.Cacheable}, nil
}

// refusesTemperature finds models that answer at one temperature only and refuse to be given one.
var refusesTemperature = regexp.MustCompile(`[:/](o[1-9]|gpt-5)`)

// atTemperature0 sets the temperature of a judge that may be given one and has none; null keeps the
// server's own.
func atTemperature0(spec config.Provider) config.Provider {
	if !openai.Recognises(spec.ID) && !anthropic.Recognises(spec.ID) && !google.Recognises(spec.ID) || refusesTemperature.MatchString(spec.ID) {
		return spec
	}
	for _, key := range []string{"temperature", "thinking", "reasoning_effort", "reasoning"} {
		if _, given := spec.Config.Map[key]; given {
			return spec
		}
	}
	m := map[string]any{"temperature": int64(0)}
	for k, v := range spec.Config.Map {
		m[k] = v
	}
	spec.Config.Map = m
	return spec
}

// judge is a provider that scorers ask. It repeats what fails and keeps answers like a run does.
type judge struct {
	client    client
	cacheable bool
	snapshot  record.Snapshot
	retry     *runner.Retry
	cache     *atomic.Pointer[runner.Cache]
}

// Snapshot identifies the model for signatures.
func (j *judge) Snapshot() record.Snapshot { return j.snapshot }

// Complete asks the model. An answer from the cache costs nothing.
func (j *judge) Complete(ctx context.Context, req record.Request) (resp record.Response, err error) {
	if req.Prompt == "" {
		req.Prompt = record.PromptText(req.Messages)
	}
	cache, key := j.cache.Load(), ""
	if cache != nil && j.cacheable {
		key = runner.Key(&j.snapshot, &req)
		if resp, ok := cache.Get(key); ok {
			free := 0.0
			resp.Cached, resp.Cost, resp.Usage = true, &free, record.Usage{}
			return resp, nil
		}
	}
	_, err = j.retry.Do(ctx, fmt.Sprintf("judge/%s/%d", req.Case, req.Repeat), func(ctx context.Context, attempt int) (err error) {
		req.Attempt = attempt
		resp, err = j.client.Complete(ctx, req)
		return err
	})
	if err != nil {
		return resp, err // with what it used
	}
	if key != "" {
		cache.Put(key, &resp)
	}
	return resp, nil
}

// embedder returns what turns texts into vectors; nil stands for the suite's default, or else for the
// built-in lexical one.
func (v *services) embedder(ref any, pos config.Pos) (scorer.Embedder, error) {
	spec, ok, err := v.find(ref, embedding, pos)
	if err != nil {
		return nil, err
	}
	if ok && !v.embeds(spec.ID) {
		// The judge that a test names for all its assertions is no embedder; what an assertion names
		// for itself has to be one.
		if strings.HasSuffix(pos.Key, "provider") {
			return nil, &config.Error{Pos: spec.Pos, Value: spec.ID, Problem: "this is no model that turns texts into vectors",
				Want: "openai:embedding:MODEL (any server of that API by base_url), onnx:DIR or lexical"}
		}
		ok = false
	}
	if !ok {
		spec = config.Provider{Pos: pos, ID: lexical, Config: config.Object{Pos: pos}}
	}
	s, err := v.open(embedding, spec, v.openEmbedder)
	if err != nil {
		return nil, err
	}
	return s.(scorer.Embedder), nil
}

func (v *services) embeds(id string) bool {
	kind, _, _ := strings.Cut(id, ":")
	return kind == lexical || kind == onnx || openai.Embeds(id)
}

func (v *services) openEmbedder(spec config.Provider) (service, error) {
	if !openai.Embeds(spec.ID) {
		return openLocalEmbedder(spec, v.dir)
	}
	prices, err := v.prices()
	if err != nil {
		return service{}, err
	}
	e, err := openai.EmbedderFromConfig(spec, openai.Env{Lookup: v.options().Env, Prices: prices})
	if err != nil {
		return service{}, err
	}
	return service{any: &remoteEmbedder{e, v.retry(0)}, check: e.Check, close: e.Close}, nil
}

// remoteEmbedder asks an embeddings endpoint in batches.
type remoteEmbedder struct {
	*openai.Embedder
	retry *runner.Retry
}

// Embed returns a vector for each text.
func (e *remoteEmbedder) Embed(ctx context.Context, texts []string) (vectors [][]float32, usage record.Usage, err error) {
	for at := 0; at < len(texts); at += e.Batch() {
		part := texts[at:min(at+e.Batch(), len(texts))]
		_, err = e.retry.Do(ctx, "embed/"+part[0], func(ctx context.Context, attempt int) error {
			got, resp, err := e.Embedder.Embed(ctx, part, attempt)
			if err != nil {
				return err
			}
			if len(vectors) > 0 && len(got[0]) != len(vectors[0]) {
				return &record.Failure{Kind: record.Malformed, Message: fmt.Sprintf("vectors of %d and of %d numbers", len(vectors[0]), len(got[0]))}
			}
			vectors = append(vectors, got...)
			usage.Prompt += resp.Usage.Prompt
			usage.Total += resp.Usage.Total
			return nil
		})
		if err != nil {
			return nil, record.Usage{}, err
		}
	}
	return vectors, usage, nil
}

// moderator returns a moderation model; nil stands for the suite's default.
func (v *services) moderator(ref any, pos config.Pos) (scorer.Moderator, error) {
	spec, ok, err := v.find(ref, moderating, pos)
	if err != nil {
		return nil, err
	}
	if !ok || !openai.Moderates(spec.ID) {
		// A judge that a test names for all its assertions is no moderator; what an assertion names for
		// itself has to be one.
		if ok && strings.HasSuffix(pos.Key, "provider") {
			return nil, &config.Error{Pos: pos, Value: spec.ID, Problem: "this is no moderation model", Want: "openai:moderation:MODEL (any server of that API by base_url)"}
		}
		if key, given := v.env("OPENAI_API_KEY"); !given || key == "" {
			return nil, &config.Error{Pos: pos, Problem: "which moderation model? Without OPENAI_API_KEY there is no default", Want: "provider: openai:moderation:MODEL (any server of that API by base_url), or OPENAI_API_KEY for " + defaultModerator}
		}
		spec = config.Provider{Pos: pos, ID: defaultModerator, Config: config.Object{Pos: pos}}
	}
	s, err := v.open(moderating, spec, v.openModerator)
	if err != nil {
		return nil, err
	}
	return s.(scorer.Moderator), nil
}

// defaultModerator is asked where a suite names none, as in promptfoo.
const defaultModerator = "openai:moderation:omni-moderation-latest"

// env looks a variable up among those of the suite and of the environment.
func (v *services) env(name string) (string, bool) {
	lookup := v.options().Env
	if lookup == nil {
		return "", false
	}
	return lookup(name)
}

func (v *services) openModerator(spec config.Provider) (service, error) {
	m, err := openai.ModeratorFromConfig(spec, openai.Env{Lookup: v.options().Env})
	if err != nil {
		return service{}, err
	}
	return service{any: &remoteModerator{m, v.retry(0), spec.Name()}, check: m.Check, close: m.Close}, nil
}

// remoteModerator asks a moderation endpoint.
type remoteModerator struct {
	*openai.Moderator
	retry *runner.Retry
	title string
}

// Title is what messages call it: its label, or its id.
func (m *remoteModerator) Title() string { return m.title }

// Moderate returns the score of each category and the categories that are flagged.
func (m *remoteModerator) Moderate(ctx context.Context, text string) (scores map[string]float64, flagged []string, err error) {
	_, err = m.retry.Do(ctx, "moderate/"+text, func(ctx context.Context, attempt int) (err error) {
		scores, flagged, err = m.Moderator.Moderate(ctx, text, attempt)
		return err
	})
	return scores, flagged, err
}

// cacheable says whether any answer may be kept.
func (v *services) cacheable() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.opened {
		if s.cacheable {
			return true
		}
	}
	return false
}

// preflight asks whether all that was opened is there.
func (v *services) preflight(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.opened {
		if s.check == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := s.check(ctx)
		cancel()
		if err == nil {
			continue
		}
		if isMistake(err) {
			return err
		}
		return &CouldNotRun{&config.Error{Pos: s.spec.Pos, Value: s.spec.ID, Problem: "what scores with it cannot reach it", Err: err}}
	}
	return nil
}

// Close closes everything that was opened.
func (v *services) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, s := range v.opened {
		if s.close != nil {
			errs = append(errs, s.close())
		}
	}
	clear(v.opened)
	return errors.Join(errs...)
}
