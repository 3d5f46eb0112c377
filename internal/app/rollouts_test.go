package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/rollout"
)

const rolloutServer = `
routes:
  - name: main
    upstreams: [{url: "http://127.0.0.1:9"}]
    pass_key: true
    variants: [{name: canary, model: next}, {name: other, model: third}]
targets:
  - {name: flags, flag_file: {path: flags.json, flag: model}}
`

const rolloutDoc = `
name: NAME
route: main
candidate: canary
stages: [{weight: 5%, min_duration: 1m, max_duration: 1h, min_samples: 100}, 100%]
signals: [{kind: error_rate, margin: 1%}]
`

// atRollouts opens rollouts on a bus of its own in a directory.
func atRollouts(t *testing.T, dir string) (*rollouts, *bus.Bus) {
	t.Helper()
	b, err := bus.Open(t.Context(), config.BusConfig{}, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	server, err := config.LoadServer(filepath.Join(dir, "server.yaml"), []byte(rolloutServer), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := openRollouts(t.Context(), b, pipeline.NewCodec(), func() *config.Server { return server }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

func aRollout(t *testing.T, name string) *config.Rollout {
	t.Helper()
	doc, err := config.LoadRollout("r.yaml", []byte(strings.Replace(rolloutDoc, "NAME", name, 1)), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// newestPlan reads the plan that gateways follow.
func newestPlan(t *testing.T, r *rollouts) routePlan {
	t.Helper()
	e, err := r.plans.Get(t.Context(), keyOf("main"))
	if err != nil {
		t.Fatal(err)
	}
	var p routePlan
	if err := json.Unmarshal(e.Value, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// evidenceOf makes a batch of a frame.
func evidenceOf(t *testing.T, r *rollouts, frame uint64, id string, es ...record.Evidence) bus.Batch {
	t.Helper()
	data, err := r.codec.EvidenceBatch(&pipeline.EvidenceBatch{ID: id, Evidence: es})
	if err != nil {
		t.Fatal(err)
	}
	return bus.Batch{First: frame, Last: frame, Records: []bus.Record{{Data: data, Frame: frame}}}
}

// traffic makes n outcomes of which the candidate's fail at a rate.
func traffic(rng *rand.Rand, name string, n int, rate float64) []record.Evidence {
	out := make([]record.Evidence, n)
	for i := range out {
		e := record.Evidence{ID: fmt.Sprint(rng.Uint64()), Time: time.Now().UTC(), Route: "main", Rollout: name, Variant: config.Baseline, Propensity: .05, Status: 200}
		if rng.Float64() < .05 {
			e.Variant = "canary"
			if rng.Float64() < rate {
				e.Status, e.ErrorKind = 500, record.Server
			}
		}
		out[i] = e
	}
	return out
}

// TestRolloutCounts feeds evidence with everything that a crash can do to it: frames again, a worker's batch again in another frame, a
// process that ends between any two steps. The state is that of one that saw everything once.
func TestRolloutCounts(t *testing.T) {
	dir := t.TempDir()
	r, b := atRollouts(t, dir)
	k, err := r.Start(t.Context(), aRollout(t, "swap"), "anna", "cheaper")
	if err != nil {
		t.Fatal(err)
	}
	if p := newestPlan(t, r); len(p.Arms) != 1 || p.Arms[0] != (arm{"canary", .05}) || p.Rollout != "swap" || len(p.Salt) != 16 {
		t.Fatalf("%+v", p)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var all []record.Evidence
	take := func(frame uint64, id string, es ...record.Evidence) {
		t.Helper()
		if err := r.take(t.Context(), evidenceOf(t, r, frame, id, es...)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		es := traffic(rng, "swap", 50, 0)
		all = append(all, es...)
		frame := uint64(3*i + 1)
		take(frame, fmt.Sprint("b", i), es...)
		take(frame, fmt.Sprint("b", i), es...)   // the consumer's acknowledgement was lost
		take(frame+1, fmt.Sprint("b", i), es...) // the worker crashed before its own
		take(frame+2, fmt.Sprint("elsewhere", i), record.Evidence{ID: "x", Rollout: "other", Route: "main", Variant: "canary", Time: time.Now()})
		if i == 5 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			r, b = atRollouts(t, dir)
			if err := r.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := r.Get(t.Context(), "swap")
	if err != nil {
		t.Fatal(err)
	}
	want, err := rollout.New(k.doc(), rollout.Start{Baseline: k.S.Baseline, Candidate: k.S.Candidate}, k.S.Created)
	if err != nil {
		t.Fatal(err)
	}
	rollout.Step(want, k.S.Created)
	for _, e := range all {
		want.Observe(e)
	}
	a, _ := json.Marshal(got.S.Signals)
	w, _ := json.Marshal(want.Signals)
	if string(a) != string(w) || got.S.Taken != int64(len(all)) {
		t.Errorf("%d taken of %d\n%s\n%s", got.S.Taken, len(all), a, w)
	}

	// The candidate fails: it is withdrawn, and stays so.
	take(1000, "bad", traffic(rng, "swap", 2000, .8)...)
	if got, err = r.Get(t.Context(), "swap"); err != nil || got.phase() != rollout.RolledBack {
		t.Fatalf("%v: %s", err, got.phase())
	}
	if p := newestPlan(t, r); len(p.Arms) != 0 || p.Revision != got.Rev {
		t.Errorf("%+v", p)
	}
	if _, err := r.Command(t.Context(), "swap", rollout.Command{Kind: rollout.Promote, By: "anna"}); !errors.Is(err, errCommand) {
		t.Errorf("%v", err)
	}
	history, err := r.History(t.Context(), "swap")
	if err != nil || len(history) != 3 || history[0].By != "anna" || history[0].Why != "cheaper" || history[2].To != rollout.RolledBack || len(history[2].Signals) != 1 {
		t.Errorf("%v: %+v", err, history)
	}
}

// TestRolloutChangedConfiguration edits server.yaml while a rollout is under way: it ends when a behaviour that it compares is another
// one or gone, and goes on when something else was changed.
func TestRolloutChangedConfiguration(t *testing.T) {
	f := func(from, to, why string) {
		t.Helper()
		dir := t.TempDir()
		r, _ := atRollouts(t, dir)
		if _, err := r.Start(t.Context(), aRollout(t, "swap"), "anna", ""); err != nil {
			t.Fatal(err)
		}
		server, err := config.LoadServer(filepath.Join(dir, "server.yaml"), []byte(strings.ReplaceAll(rolloutServer, from, to)), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.server = func() *config.Server { return server }
		if err := r.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		k, err := r.Get(t.Context(), "swap")
		if err != nil {
			t.Fatal(err)
		}
		last := k.transitions()[len(k.transitions())-1]
		if why == "" {
			if k.phase() != rollout.Running {
				t.Errorf("%s to %s: %s: %s", from, to, k.phase(), last.Why)
			}
			return
		}
		if p := newestPlan(t, r); k.phase() != rollout.Aborted || last.By != rollout.Self || !strings.Contains(last.Why, why) || len(p.Arms) != 0 {
			t.Errorf("%s to %s: %s: %s: %+v", from, to, k.phase(), last.Why, p)
		}
	}
	f("third", "fourth", "")
	f("pass_key: true", "pass_key: true\n    timeouts: {idle: 9s}", "")
	f("model: next", "model: worse", "the configuration of canary was changed")
	f("{name: canary, model: next}, ", "", "variant canary of route main is not in the configuration")
	f("127.0.0.1:9", "127.0.0.1:10", "the configuration of baseline was changed")
	f("name: main", "name: second", "route main is not in the configuration")
}

// TestRolloutAfterPromotion starts rollouts on a route that serves a promoted candidate: that is what they replace, as long as server.yaml
// has it.
func TestRolloutAfterPromotion(t *testing.T) {
	dir := t.TempDir()
	r, _ := atRollouts(t, dir)
	if _, err := r.Start(t.Context(), aRollout(t, "swap"), "anna", ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Command(t.Context(), "swap", rollout.Command{Kind: rollout.Promote, By: "anna"}); err != nil {
			t.Fatal(err)
		}
	}
	try := func(name, change string) error {
		doc, err := config.LoadRollout("r.yaml", []byte(strings.Replace(strings.Replace(rolloutDoc, "candidate: canary", change, 1), "NAME", name, 1)), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = r.Start(t.Context(), doc, "anna", ""); err == nil {
			_, err = r.Command(t.Context(), name, rollout.Command{Kind: rollout.Abort, By: "anna"})
			if p := newestPlan(t, r); err == nil && (len(p.Arms) != 1 || p.Arms[0] != (arm{"canary", 1})) {
				t.Errorf("%s: %+v", name, p.Arms)
			}
		}
		return err
	}
	if err := try("third", "candidate: other"); err == nil || !strings.Contains(err.Error(), "baseline") || !strings.Contains(err.Error(), "serves canary since rollout swap") {
		t.Errorf("%v", err)
	}
	if err := try("onward", "baseline: canary\ncandidate: other"); err != nil {
		t.Error(err)
	}
	if err := try("back", "baseline: canary\ncandidate: baseline"); err != nil {
		t.Error(err)
	}
	server, err := config.LoadServer(filepath.Join(dir, "server.yaml"), []byte(strings.Replace(rolloutServer, "{name: canary, model: next}, ", "", 1)), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.server = func() *config.Server { return server }
	if _, err := r.Start(t.Context(), func() *config.Rollout { d := aRollout(t, "fourth"); d.Candidate = "other"; return d }(), "anna", ""); err != nil {
		t.Error(err)
	}
}

// TestExperimentNamedByID starts an experiment that names a variant by the id of its behaviour: gateways get its name.
func TestExperimentNamedByID(t *testing.T) {
	r, _ := atRollouts(t, t.TempDir())
	route := &r.server().Routes[0]
	v, _ := route.Variant("canary")
	with := route.With(v)
	doc, err := config.LoadRollout("e.yaml", []byte(`{kind: experiment, name: tone, route: main, metric: {kind: error_rate},
variants: [{name: baseline, weight: 50%}, {name: "`+with.Behaviour()+`", weight: 50%}]}`), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Start(t.Context(), doc, "anna", ""); err != nil {
		t.Fatal(err)
	}
	if p := newestPlan(t, r); len(p.Arms) != 1 || p.Arms[0] != (arm{"canary", .5}) {
		t.Errorf("%+v", p.Arms)
	}
}

// TestRolloutTogether starts rollouts on one route at the same time, and commands one from many sides: one start wins, each
// command takes effect once.
func TestRolloutTogether(t *testing.T) {
	r, _ := atRollouts(t, t.TempDir())
	for round := range 5 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won, names := 0, []string{}
		for i := range 4 {
			wg.Go(func() {
				k, err := r.Start(t.Context(), aRollout(t, fmt.Sprintf("r%d-%d", round, i)), "anna", "")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
					names = append(names, k.doc().Name)
				} else if !errors.Is(err, ErrRouteTaken) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		all, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		active := 0
		for _, k := range all {
			if !k.phase().Final() {
				active++
			}
		}
		// All may lose where two meet, but never may two win.
		if won > 1 || active != won {
			t.Fatalf("round %d: %d won, %d are under way", round, won, active)
		}
		if won == 0 {
			continue
		}
		if _, err := r.Start(t.Context(), aRollout(t, "late"), "anna", ""); !errors.Is(err, ErrRouteTaken) {
			t.Errorf("%v", err)
		}
		done := make(chan error, 8)
		for range 8 {
			go func() {
				_, err := r.Command(t.Context(), names[0], rollout.Command{Kind: rollout.Abort, By: "ben"})
				done <- err
			}()
		}
		aborted := 0
		for range 8 {
			if err := <-done; err == nil {
				aborted++
			} else if !errors.Is(err, errCommand) {
				t.Error(err)
			}
		}
		if aborted != 1 {
			t.Errorf("aborted %d times", aborted)
		}
		if p := newestPlan(t, r); len(p.Arms) != 0 {
			t.Errorf("%+v", p)
		}
	}
	if _, err := r.Start(t.Context(), aRollout(t, "r0-0"), "anna", ""); err != nil && !errors.Is(err, ErrRolloutExists) {
		t.Error(err)
	}
	if _, err := r.Get(t.Context(), "nothing"); !errors.Is(err, ErrNoRollout) {
		t.Errorf("%v", err)
	}
	bad := aRollout(t, "bad")
	bad.Candidate = "nowhere"
	if _, err := r.Start(t.Context(), bad, "anna", ""); err == nil || !strings.Contains(err.Error(), "r.yaml:4:12: candidate: \"nowhere\"") {
		t.Errorf("%v", err)
	}
}

// TestRolloutLeads runs two servers' control on one set of rollouts: one leads, and the other takes over when it ends. What the
// targets follow is the newest state.
func TestRolloutLeads(t *testing.T) {
	dir := t.TempDir()
	r, b := atRollouts(t, dir)
	follower, err := openRollouts(t.Context(), b, r.codec, r.server, r.log)
	if err != nil {
		t.Fatal(err)
	}
	var servers [2]*Service
	for i := range servers {
		servers[i] = &Service{o: ServeOptions{Log: slog.New(slog.DiscardHandler)}, lease: leaseTimes{20 * time.Millisecond, 200 * time.Millisecond}}
		server := *r.server()
		server.Bus.URL = "nats://shared:4222" // others may hold the lease
		servers[i].state.Store(&serveState{server: &server})
	}
	first, end := context.WithCancel(t.Context())
	led := make(chan error, 2)
	go func() { led <- servers[0].lead(first, r, b) }()
	if _, err := follower.Start(t.Context(), aRollout(t, "swap"), "anna", ""); err != nil {
		t.Fatal(err)
	}
	flags := filepath.Join(dir, "flags.json")
	follows := func(want string) {
		t.Helper()
		late := time.After(10 * time.Second)
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		for {
			got, _ := os.ReadFile(flags)
			if strings.Contains(strings.Join(strings.Fields(string(got)), ""), want) {
				return
			}
			select {
			case <-late:
				t.Fatalf("the flag file is %s, want %s", got, want)
			case <-look.C:
			}
		}
	}
	follows(`["canary",500]`)
	second, endSecond := context.WithCancel(t.Context())
	defer endSecond()
	go func() { led <- servers[1].lead(second, follower, b) }()
	end()
	if err := <-led; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := r.Command(t.Context(), "swap", rollout.Command{Kind: rollout.Abort, By: "ben"}); err != nil {
		t.Fatal(err)
	}
	follows(`"defaultVariant":"baseline"}`) // without a split behind it
	endSecond()
	if err := <-led; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
