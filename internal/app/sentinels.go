package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/provider/anthropic"
	"github.com/telltale-llm/telltale/internal/provider/openai"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

const (
	// mostSentinels is how many cases a rollout remembers.
	mostSentinels = 256
	// sentinelParallel requests of a suite are made at a time; one takes sentinelTimeout at most, all together sentinelTime.
	sentinelParallel = 4
	sentinelTimeout  = time.Minute
	sentinelTime     = 15 * time.Minute
	sentinelRetries  = 2
)

// sentinels is a suite of critical cases that is asked of both variants of a rollout. Requests go through a gateway of its own,
// which nobody else knows the address of: what the variants do to requests and answers is done to these too, and they are
// neither captured nor counted as users'.
type sentinels struct {
	doc    *config.Rollout
	server *config.Server
	env    func(string) (string, bool)
	prices string
}

// path is the suite's file. It lies in the folder of server.yaml or below, for a document comes over the API.
func (q *sentinels) path() (string, error) {
	name := q.doc.Sentinels.Suite
	if !filepath.IsLocal(name) {
		return "", q.wrong("not a file below the folder of server.yaml", "a path relative to that folder, such as critical.yaml")
	}
	return filepath.Join(filepath.Dir(q.server.File), name), nil
}

func (q *sentinels) wrong(problem, want string) error {
	return config.Errors{{Pos: q.doc.Place("sentinels.suite"), Value: q.doc.Sentinels.Suite, Problem: problem, Want: want}}
}

// check reads the suite and everything that it refers to, without asking anybody.
func (q *sentinels) check(ctx context.Context) error {
	path, err := q.path()
	if err != nil {
		return err
	}
	o := q.options(path, "http://127.0.0.1:9", [2]string{"baseline", "candidate"})
	o.planning = true
	_, err = q.narrow(ctx, &o)
	return err
}

// narrow leaves only critical cases in, if the suite has any, and says how many there are.
func (q *sentinels) narrow(ctx context.Context, o *RunOptions) (cases int, err error) {
	for range 2 {
		s, err := open(ctx, o)
		if err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			// Who starts a rollout need not know where the server has its files.
			why := strings.ReplaceAll(err.Error(), filepath.Dir(q.server.File)+string(filepath.Separator), "")
			return 0, q.wrong("the server cannot use this suite: "+why, "a suite in the folder of server.yaml that telltale run could run")
		}
		cases = s.ref.Cases * len(s.suite.Prompts)
		critical := s.critical > 0
		if err := s.Close(); err != nil {
			return 0, err
		}
		if o.onlyCritical || !critical {
			break
		}
		o.onlyCritical = true
	}
	if cases == 0 || cases > mostSentinels {
		return cases, q.wrong(fmt.Sprintf("it has %d cases to replay", cases), fmt.Sprintf("1 to %d; those marked critical are replayed, or all when none is", mostSentinels))
	}
	return cases, nil
}

// options run the suite against two routes at an address.
func (q *sentinels) options(path, address string, routes [2]string) RunOptions {
	return RunOptions{
		Suite: path, LoadOptions: LoadOptions{Env: q.env}, Prices: q.prices, NoCache: true, Concurrency: sentinelParallel, Timeout: sentinelTimeout, Retries: sentinelRetries,
		Notice: func(string) {},
		alter:  func(s *config.Suite) error { return q.alter(s, address, routes) },
	}
}

// alter asks both variants instead of the suite's provider, with its model and parameters, and leaves out what a run is judged by as a
// whole: each case counts by itself.
func (q *sentinels) alter(s *config.Suite, address string, routes [2]string) error {
	i := slices.IndexFunc(s.Providers, func(p config.Provider) bool {
		return anthropic.Recognises(p.ID) || openai.Recognises(p.ID) && !openai.Embeds(p.ID) && !openai.Moderates(p.ID) && !strings.HasPrefix(p.ID, "azure")
	})
	if i < 0 {
		return &config.Error{Pos: config.Pos{File: s.Path, Key: "providers"}, Problem: "no provider of the suite speaks an API that a route serves", Want: "openai:chat:MODEL, openai:responses:MODEL or anthropic:messages:MODEL; its model and parameters are what the variants are asked with"}
	}
	from := s.Providers[i]
	s.Providers = nil
	for n, name := range []string{config.Baseline, "candidate"} {
		p := from
		p.Label = name
		p.Config.Map = maps.Clone(from.Config.Map)
		if p.Config.Map == nil {
			p.Config.Map = map[string]any{}
		}
		for _, key := range []string{"apiBaseUrl", "api_base_url", "baseUrl", "apiHost", "api_host"} {
			delete(p.Config.Map, key)
		}
		base := address + "/" + routes[n]
		if !anthropic.Recognises(p.ID) {
			base += "/v1"
		}
		// The route has keys of its own, unless it passes the client's.
		p.Config.Map["base_url"], p.Config.Map["apiKeyRequired"] = base, false
		s.Providers = append(s.Providers, p)
	}
	s.Gate, s.Regression.Margins, s.Regression.Baseline = nil, nil, ""
	return nil
}

// ask replays the suite against both variants of the route, and says which cases each passed.
func (q *sentinels) ask(ctx context.Context, baseline, candidate string) (results []sentinelResult, err error) {
	path, err := q.path()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sentinelTime)
	defer cancel()
	routes := [2]string{rand.Text(), rand.Text()}
	address, closeGateway, err := q.serve(ctx, routes, [2]string{baseline, candidate})
	if err != nil {
		return nil, err
	}
	defer joinClose(&err, closeGateway)
	o := q.options(path, address, routes)
	if _, err := q.narrow(ctx, &o); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "telltale-sentinels-")
	if err != nil {
		return nil, err
	}
	defer joinClose(&err, func() error { return os.RemoveAll(dir) })
	o.Out = filepath.Join(dir, "run")
	f, err := Run(ctx, o)
	if err != nil {
		return nil, err
	}
	if f.Run.Summary.Stopped != "" {
		return nil, errors.New(f.Run.Summary.Stopped)
	}
	return q.results(f)
}

// serve starts the gateway.
func (q *sentinels) serve(ctx context.Context, paths, variants [2]string) (address string, stop func() error, err error) {
	i := slices.IndexFunc(q.server.Routes, func(r config.Route) bool { return r.Name == q.doc.Route })
	if i < 0 {
		return "", nil, fmt.Errorf("the server has no route %s any more", q.doc.Route)
	}
	cfg := &config.Server{File: q.server.File, Guards: q.server.Guards, Listen: config.Listen{Gateway: "127.0.0.1:0"}} // refuses pages of browsers
	for n, name := range variants {
		route := q.server.Routes[i]
		if name != config.Baseline {
			v, ok := route.Variant(name)
			if !ok {
				return "", nil, fmt.Errorf("route %s has no variant %s any more", q.doc.Route, name)
			}
			route = route.With(v)
		}
		route.Name, route.Path, route.Models, route.Keys, route.Variants = paths[n], "/"+paths[n], nil, nil, nil
		cfg.Routes = append(cfg.Routes, route)
	}
	g, err := gateway.New(cfg, gateway.Options{})
	if err != nil {
		return "", nil, err
	}
	closing := func() error {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return g.Close(end)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, errors.Join(err, closing())
	}
	srv := &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	return "http://" + ln.Addr().String(), func() error {
		err := srv.Close()
		if e := <-done; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return errors.Join(err, closing())
	}, nil
}

// sentinelResult says whether each variant passed a case; nil where that could not be told.
type sentinelResult struct {
	name                string
	baseline, candidate *bool
	why                 string // why one could not be told
}

// results counts a case by most of its answers. Answers that could not be had or judged are no answers.
func (q *sentinels) results(f *Finished) ([]sentinelResult, error) {
	type count struct {
		passed, judged int
		why            string
	}
	by := map[string]*[2]count{}
	var names []string
	for s, err := range readOutcomes(f.Dir) {
		if err != nil {
			return nil, err
		}
		name := s.Case
		if prompts := f.prompts(); prompts > 1 {
			name += " " + s.Prompt
		}
		c := by[name]
		if c == nil {
			c = new([2]count)
			by[name] = c
			names = append(names, name)
		}
		arm := &c[0]
		if s.Provider == "candidate" {
			arm = &c[1]
		}
		switch s.Verdict {
		case verdict.Pass:
			arm.passed++
			arm.judged++
		case verdict.Fail:
			arm.judged++
		default:
			if arm.why = s.Error; arm.why == "" {
				arm.why = "it could not be judged"
			}
		}
	}
	told := func(c count) *bool {
		if c.judged == 0 {
			return nil
		}
		return new(2*c.passed > c.judged)
	}
	out := make([]sentinelResult, 0, len(names))
	for _, name := range names {
		one := sentinelResult{name: name, baseline: told(by[name][0]), candidate: told(by[name][1])}
		if one.candidate == nil {
			one.why = "candidate: " + by[name][1].why
		} else if one.baseline == nil {
			one.why = "baseline: " + by[name][0].why
		}
		out = append(out, one)
	}
	return out, nil
}

// prompts is how many prompts the run had.
func (f *Finished) prompts() int {
	seen := map[string]bool{}
	for i := range f.Run.Snapshots {
		seen[f.Run.Snapshots[i].Prompt] = true
	}
	return len(seen)
}

// evidence is what results tell a rollout. Both variants' results of a case stand side by side.
func (q *sentinels) evidence(results []sentinelResult, k *keptRollout, at time.Time) []record.Evidence {
	var out []record.Evidence
	for _, r := range results {
		for _, arm := range []struct {
			variant string
			passed  *bool
		}{{k.S.Baseline.Name, r.baseline}, {k.S.Candidate.Name, r.candidate}} {
			out = append(out, record.Evidence{
				ID: fmt.Sprintf("sentinel/%d/%s/%s", at.UnixMicro(), arm.variant, r.name), Kind: record.EvidenceSentinel, Time: at, Route: q.doc.Route, Rollout: q.doc.Name,
				Stage: k.S.Stage, Variant: arm.variant, Case: r.name, Passed: arm.passed,
			})
		}
	}
	return out
}
