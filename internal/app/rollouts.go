package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/rollout"
)

const (
	rolloutBucket = "rollouts"
	// historyBucket has every transition under a key of its own, which is written once.
	historyBucket  = "rollout-history"
	evidenceStream = "evidence"
	rolloutDurable = "rollouts"
	stepEvery      = time.Second
	evidenceWait   = 200 * time.Millisecond
	leastEvidence  = 64 << 20 // bytes that the stream may take at least
	// mostSeen is how many records of evidence a rollout remembers, so that those that a worker told twice count once. What a worker
	// was at when it was killed comes again after 30 s; at 4,000 exchanges a second there are 16 records a second until then.
	mostSeen    = 1024
	mostChanges = 50 // attempts to save a state that others keep changing
)

// Errors of rollouts that a caller can do something about.
var (
	ErrNoRollout     = errors.New("no such rollout")
	ErrRolloutExists = errors.New("a rollout of this name is there already: give this one another name")
	ErrRouteTaken    = errors.New("another rollout is under way on this route")
)

// rollouts are the rollouts of a server. Their states live on the bus, where every process finds them; whoever changes one
// does so by compare-and-set, so that none of two changes at a time is lost. All methods may be called concurrently.
type rollouts struct {
	log     *slog.Logger
	now     func() time.Time
	server  func() *config.Server
	codec   *pipeline.Codec
	states  *bus.Bucket
	history *bus.Bucket
	plans   *bus.Bucket
	// evidence takes what sentinels tell. env and prices are what their suites are read with.
	evidence *bus.Publisher
	env      func(string) (string, bool)
	prices   string
	// past returns the store, nil where it is another process'.
	past func() past
	// drivers follow what is told, while this process leads.
	drivers drivers
	// ended are the names of those that have ended and were told.
	ended sync.Map
}

// keptRollout is a rollout or an experiment as it is kept: one of S and X is set.
type keptRollout struct {
	Salt []byte   `json:"salt"`
	Seen []string `json:"seen,omitempty"` // records of evidence that were taken lately, the newest last
	Told int64    `json:"told"`           // sequence of the last transition that is in the history
	Rev  uint64   `json:"-"`

	S *rollout.State      `json:"state,omitempty"`
	X *rollout.Experiment `json:"experiment,omitempty"`
}

func (k *keptRollout) doc() *config.Rollout {
	if k.X != nil {
		return k.X.Doc
	}
	return k.S.Doc
}

func (k *keptRollout) phase() rollout.Phase {
	if k.X != nil {
		return k.X.Phase
	}
	return k.S.Phase
}

func (k *keptRollout) created() time.Time {
	if k.X != nil {
		return k.X.Created
	}
	return k.S.Created
}

func (k *keptRollout) plan() rollout.Plan {
	if k.X != nil {
		return k.X.Plan()
	}
	return k.S.Plan()
}

// transitions are the latest, oldest first.
func (k *keptRollout) transitions() []rollout.Transition {
	if k.X != nil {
		return k.X.History
	}
	return k.S.History
}

// frame is where the last frame of the bus is kept whose evidence has been taken.
func (k *keptRollout) frame() *uint64 {
	if k.X != nil {
		return &k.X.Frame
	}
	return &k.S.Frame
}

// last is the sequence of the last transition.
func (k *keptRollout) last() int64 {
	all := k.transitions()
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].Sequence
}

func (k *keptRollout) observe(e record.Evidence) {
	if k.X != nil {
		k.X.Observe(e)
		return
	}
	k.S.Observe(e)
}

func (k *keptRollout) step(now time.Time) []rollout.Action {
	if k.X != nil {
		return k.X.Step(now)
	}
	return rollout.Step(k.S, now)
}

func (k *keptRollout) command(c rollout.Command, now time.Time) ([]rollout.Action, error) {
	if k.X != nil {
		return k.X.Command(c, now)
	}
	return k.S.Command(c, now)
}

func openRollouts(ctx context.Context, b *bus.Bus, codec *pipeline.Codec, server func() *config.Server, log *slog.Logger) (*rollouts, error) {
	r := &rollouts{log: log, now: time.Now, server: server, codec: codec, evidence: b.Publisher(evidenceStream, bus.PublisherOptions{}), past: func() past { return nil }, drivers: drivers{log: log}}
	for _, o := range []struct {
		to   **bus.Bucket
		name string
	}{{&r.states, rolloutBucket}, {&r.history, historyBucket}, {&r.plans, planBucket}} {
		var err error
		if *o.to, err = b.Bucket(ctx, o.name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func stateKey(name string) string  { return "rollout/" + name }
func routeKey(route string) string { return "route/" + keyOf(route) }

// keyOf makes a key of a name, which may have more characters.
func keyOf(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// Get returns a rollout, or ErrNoRollout.
func (r *rollouts) Get(ctx context.Context, name string) (*keptRollout, error) {
	e, err := r.states.Get(ctx, stateKey(name))
	if errors.Is(err, bus.ErrNotFound) || errors.Is(err, bus.ErrKey) {
		return nil, fmt.Errorf("%w: %s", ErrNoRollout, config.Clip(name, 100))
	}
	if err != nil {
		return nil, err
	}
	k := &keptRollout{Rev: e.Revision}
	if err := json.Unmarshal(e.Value, k); err != nil {
		return nil, fmt.Errorf("rollout %s cannot be read: %w", name, err)
	}
	if (k.S == nil) == (k.X == nil) {
		return nil, fmt.Errorf("rollout %s cannot be read: it is neither rollout nor experiment", name)
	}
	return k, nil
}

// names are those of all rollouts.
func (r *rollouts) names(ctx context.Context) ([]string, error) {
	keys, err := r.states.Keys(ctx)
	var out []string
	for _, key := range keys {
		if name, ok := strings.CutPrefix(key, "rollout/"); ok {
			out = append(out, name)
		}
	}
	return out, err
}

// List returns all rollouts, the newest first. One that cannot be read is an error beside the others.
func (r *rollouts) List(ctx context.Context) ([]*keptRollout, error) {
	names, err := r.names(ctx)
	if err != nil {
		return nil, err
	}
	var out []*keptRollout
	var errs []error
	for _, name := range names {
		k, err := r.Get(ctx, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b *keptRollout) int { return b.created().Compare(a.created()) })
	return out, errors.Join(errs...)
}

// Start begins a rollout on a route that has none under way.
func (r *rollouts) Start(ctx context.Context, doc *config.Rollout, by, why string) (*keptRollout, error) {
	find, err := r.variants(doc)
	if err != nil {
		return nil, err
	}
	k := &keptRollout{Salt: make([]byte, 16)}
	if _, err := rand.Read(k.Salt); err != nil {
		return nil, err
	}
	start := rollout.Start{By: by, Why: why}
	first := doc.Baseline
	if doc.Kind == config.KindExperiment {
		first = doc.Arms[0].Variant
	}
	baseline := find(first).Name
	if doc.Outside() {
		// The store cannot tell the arms apart.
		start.Note = rollout.Guarantee
	} else {
		frozen := freeze(ctx, r.past(), doc, baseline, r.now())
		start.Frozen, start.Note = frozen.of, frozen.note
	}
	now := r.now()
	if doc.Kind == config.KindExperiment {
		ids := make([]string, len(doc.Arms))
		named := *doc
		named.Arms = slices.Clone(doc.Arms)
		for i, a := range doc.Arms {
			v := find(a.Variant)
			named.Arms[i].Variant, ids[i] = v.Name, v.ID // it may be named by its id, which a gateway does not know
		}
		doc = &named
		k.X, err = rollout.NewExperiment(doc, ids, start, now)
	} else {
		start.Baseline, start.Candidate = find(doc.Baseline), find(doc.Candidate)
		k.S, err = rollout.New(doc, start, now)
	}
	if err == nil {
		err = r.checkSentinels(ctx, k)
	}
	if err != nil {
		return nil, err
	}
	// The route's key is taken before the rollout is there: one that names none is what an interrupted start left, and free.
	revision, before, err := r.free(ctx, doc.Route)
	if err != nil {
		return nil, err
	}
	if err := r.checkServed(ctx, k, before); err != nil {
		return nil, err
	}
	if _, err := r.states.Get(ctx, stateKey(doc.Name)); err == nil {
		return nil, fmt.Errorf("%w: %s", ErrRolloutExists, doc.Name)
	} else if !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	if _, err := r.states.CompareAndSet(ctx, routeKey(doc.Route), []byte(doc.Name), revision); errors.Is(err, bus.ErrConflict) {
		return nil, fmt.Errorf("%w: %s", ErrRouteTaken, doc.Route)
	} else if err != nil {
		return nil, err
	}
	// Another start may have taken the key before, and have saved its rollout meanwhile; or take it from now on, and find this one.
	if before != "" && before != doc.Name {
		if other, err := r.Get(ctx, before); err == nil && !other.phase().Final() {
			return nil, fmt.Errorf("%w: %s has %s", ErrRouteTaken, doc.Route, before)
		}
	}
	r.report(k, k.step(now))
	if err := r.save(ctx, k); errors.Is(err, bus.ErrConflict) {
		return nil, fmt.Errorf("%w: %s", ErrRolloutExists, doc.Name)
	} else if err != nil {
		return nil, err
	}
	if e, err := r.states.Get(ctx, routeKey(doc.Route)); err == nil && string(e.Value) != doc.Name {
		_, err := r.Command(ctx, doc.Name, rollout.Command{Kind: rollout.Abort, By: rollout.Self, Why: string(e.Value) + " was started on the route at the same time"})
		return nil, errors.Join(fmt.Errorf("%w: %s has %s", ErrRouteTaken, doc.Route, e.Value), err)
	}
	return k, nil
}

// variants checks a document against the server, and returns what finds the variants that it names.
func (r *rollouts) variants(doc *config.Rollout) (func(name string) rollout.Variant, error) {
	server := r.server()
	if err := doc.Check(server); err != nil {
		return nil, err
	}
	if doc.Outside() {
		return func(name string) rollout.Variant { return rollout.Variant{Name: name} }, nil
	}
	i := slices.IndexFunc(server.Routes, func(o config.Route) bool { return o.Name == doc.Route })
	route := &server.Routes[i]
	return func(name string) rollout.Variant {
		if name == config.Baseline || name == route.Behaviour() {
			return rollout.Variant{Name: config.Baseline, ID: route.Behaviour()}
		}
		v, _ := route.Variant(name) // Check has found it
		with := route.With(v)
		return rollout.Variant{Name: v.Name, ID: with.Behaviour()}
	}, nil
}

// checkServed refuses a rollout that would not begin with what users get now: after one that was promoted that is its candidate, and to
// go back to another behaviour at once is no rollout.
func (r *rollouts) checkServed(ctx context.Context, k *keptRollout, before string) error {
	doc := k.doc()
	if before == "" || doc.Outside() {
		return nil
	}
	last, err := r.Get(ctx, before)
	if errors.Is(err, ErrNoRollout) {
		return nil
	}
	if err != nil {
		return err
	}
	served := ""
	for _, a := range last.plan().Arms {
		if a.Weight >= 1 {
			served = a.Variant
		}
	}
	server := r.server()
	route := &server.Routes[slices.IndexFunc(server.Routes, func(o config.Route) bool { return o.Name == doc.Route })]
	v, there := route.Variant(served)
	if !there {
		return nil // the route's own
	}
	with := route.With(v)
	id := with.Behaviour()
	if k.X != nil {
		if slices.ContainsFunc(k.X.Arms, func(a rollout.Arm) bool { return a.ID == id }) {
			return nil
		}
		return config.Errors{{Pos: doc.Place("variants[0]"), Value: k.X.Arms[0].Name, Problem: fmt.Sprintf("route %s serves %s since rollout %s", doc.Route, served, before),
			Want: fmt.Sprintf("%s among the variants, or what it does as the route's own in server.yaml", served)}}
	}
	if k.S.Baseline.ID == id {
		return nil
	}
	return config.Errors{{Pos: doc.Place("baseline"), Value: k.S.Baseline.Name, Problem: fmt.Sprintf("route %s serves %s since rollout %s", doc.Route, served, before),
		Want: fmt.Sprintf("baseline: %s, or what it does as the route's own in server.yaml", served)}}
}

// free returns the revision of a route's key and the rollout that it names, which is not under way.
func (r *rollouts) free(ctx context.Context, route string) (revision uint64, name string, err error) {
	e, err := r.states.Get(ctx, routeKey(route))
	if errors.Is(err, bus.ErrNotFound) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	k, err := r.Get(ctx, string(e.Value))
	switch {
	case errors.Is(err, ErrNoRollout):
	case err != nil:
		return 0, "", err
	case !k.phase().Final():
		return 0, "", fmt.Errorf("%w: %s has %s, which is %s", ErrRouteTaken, route, k.doc().Name, k.phase())
	}
	return e.Revision, string(e.Value), nil
}

// Command carries out what a person asks for.
func (r *rollouts) Command(ctx context.Context, name string, c rollout.Command) (*keptRollout, error) {
	return r.change(ctx, name, func(k *keptRollout) (bool, error) {
		actions, err := k.command(c, r.now())
		if err != nil {
			return false, fmt.Errorf("%w: %w", errCommand, err)
		}
		r.report(k, actions)
		return true, nil
	})
}

// change reads a rollout, changes it and saves it, again if somebody else was faster. f says whether there is something to save.
func (r *rollouts) change(ctx context.Context, name string, f func(*keptRollout) (bool, error)) (*keptRollout, error) {
	for range mostChanges {
		k, err := r.Get(ctx, name)
		if err != nil {
			return nil, err
		}
		changed, err := f(k)
		if err != nil || !changed {
			return k, err
		}
		if err = r.save(ctx, k); !errors.Is(err, bus.ErrConflict) {
			return k, err
		}
	}
	return nil, fmt.Errorf("rollout %s keeps changing", name)
}

// save writes a state if nobody else has since it was read, and then does what follows from it. What follows is done again
// after the next start when this process ends in between: see catchUp.
func (r *rollouts) save(ctx context.Context, k *keptRollout) error {
	value, err := json.Marshal(k)
	if err != nil {
		return err
	}
	revision, err := r.states.CompareAndSet(ctx, stateKey(k.doc().Name), value, k.Rev)
	if err != nil {
		return err
	}
	k.Rev = revision
	return r.follow(ctx, k)
}

// follow puts a state's plan in force and its transitions into the history.
func (r *rollouts) follow(ctx context.Context, k *keptRollout) error {
	if err := putPlan(ctx, r.plans, r.planOf(k)); err != nil {
		return err
	}
	r.tell(k)
	for _, t := range k.transitions() {
		if t.Sequence <= k.Told {
			continue
		}
		value, err := json.Marshal(t)
		if err != nil {
			return err
		}
		_, err = r.history.CompareAndSet(ctx, fmt.Sprintf("%s/%09d", k.doc().Name, t.Sequence), value, 0)
		if err != nil && !errors.Is(err, bus.ErrConflict) {
			return err
		}
		k.Told = t.Sequence // saved with the next change
	}
	return nil
}

// planOf is what the gateways are to do.
func (r *rollouts) planOf(k *keptRollout) *routePlan {
	p := k.plan()
	out := &routePlan{Revision: k.Rev, Route: p.Route, Rollout: p.Rollout, Stage: p.Stage, Unit: p.Unit, Salt: k.Salt, Override: p.Override}
	for _, a := range p.Arms {
		out.Arms = append(out.Arms, arm{a.Variant, a.Weight})
	}
	if p.Shadow != "" {
		s := &k.doc().Shadow
		out.Shadow = &shadowPlan{Variant: p.Shadow, Share: s.Share, Parallel: s.Parallel, Timeout: s.Timeout, MaxCost: s.Cost, MaxTokens: s.Tokens}
	}
	return out
}

// History returns all transitions of a rollout, oldest first.
func (r *rollouts) History(ctx context.Context, name string) ([]rollout.Transition, error) {
	k, err := r.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	keys, err := r.history.Keys(ctx)
	if err != nil {
		return nil, err
	}
	var out []rollout.Transition
	for _, key := range keys {
		if !strings.HasPrefix(key, name+"/") {
			continue
		}
		e, err := r.history.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		var t rollout.Transition
		if err := json.Unmarshal(e.Value, &t); err != nil {
			return nil, fmt.Errorf("history of rollout %s: %w", name, err)
		}
		out = append(out, t)
	}
	for _, t := range k.transitions() { // those that are not told yet
		if len(out) == 0 || t.Sequence > out[len(out)-1].Sequence {
			out = append(out, t)
		}
	}
	return out, nil
}

// take counts a batch of the evidence stream. It is called in the order of the stream by one process at a time; what has
// been counted is left out.
func (r *rollouts) take(ctx context.Context, b bus.Batch) error {
	type told struct {
		frame uint64
		id    string
		of    []record.Evidence
	}
	by := map[string][]told{}
	for _, rec := range b.Records {
		batch, err := r.codec.DecodeEvidence(rec.Data)
		if err != nil {
			r.log.Error("a record of evidence is left out", "frame", rec.Frame, "index", rec.Index, "error", err)
			continue
		}
		parts := map[string][]record.Evidence{}
		for _, e := range batch.Evidence {
			parts[e.Rollout] = append(parts[e.Rollout], e)
		}
		for name, of := range parts {
			// The hash is all of the batch's name that tells it from others.
			by[name] = append(by[name], told{rec.Frame, batch.ID[strings.LastIndexByte(batch.ID, '-')+1:], of})
		}
	}
	var errs []error
	for name, all := range by {
		_, err := r.change(ctx, name, func(k *keptRollout) (bool, error) {
			frame := k.frame()
			if k.phase().Final() || *frame >= b.Last {
				return false, nil
			}
			for _, t := range all {
				if t.frame <= *frame || slices.Contains(k.Seen, t.id) {
					continue
				}
				k.Seen = append(k.Seen, t.id)
				for i := range t.of {
					k.observe(t.of[i])
				}
			}
			if over := len(k.Seen) - mostSeen; over > 0 {
				k.Seen = slices.Clone(k.Seen[over:])
			}
			*frame = b.Last
			r.report(k, r.proceed(k))
			return true, nil
		})
		if err != nil && !errors.Is(err, ErrNoRollout) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *rollouts) tell(k *keptRollout) {
	r.drivers.want(r.server(), k)
}

// proceed gives a rollout the time, or ends one whose variants are not those any more that it began with: its evidence is about others.
func (r *rollouts) proceed(k *keptRollout) []rollout.Action {
	if why := r.changed(k); why != "" && !k.phase().Final() {
		if actions, err := k.command(rollout.Command{Kind: rollout.Abort, By: rollout.Self, Why: why}, r.now()); err == nil {
			return actions
		}
	}
	return k.step(r.now())
}

// changed says what has become of a rollout's route and variants since it began, "" where they are the same.
func (r *rollouts) changed(k *keptRollout) string {
	doc := k.doc()
	if doc.Outside() {
		return ""
	}
	var arms []rollout.Variant
	if k.X != nil {
		for _, a := range k.X.Arms {
			arms = append(arms, a.Variant)
		}
	} else {
		arms = []rollout.Variant{k.S.Baseline, k.S.Candidate}
	}
	server := r.server()
	i := slices.IndexFunc(server.Routes, func(o config.Route) bool { return o.Name == doc.Route })
	if i < 0 {
		return fmt.Sprintf("route %s is not in the configuration any more", doc.Route)
	}
	route := &server.Routes[i]
	for _, a := range arms {
		id := route.Behaviour()
		if a.Name != config.Baseline {
			v, ok := route.Variant(a.Name)
			if !ok {
				return fmt.Sprintf("variant %s of route %s is not in the configuration any more", a.Name, doc.Route)
			}
			with := route.With(v)
			id = with.Behaviour()
		}
		if id != a.ID {
			return fmt.Sprintf("the configuration of %s was changed: it was %s when the rollout began and is %s", a.Name, a.ID, id)
		}
	}
	return ""
}

// step gives every rollout under way the time.
func (r *rollouts) step(ctx context.Context) error {
	names, err := r.names(ctx)
	errs := []error{err}
	for _, name := range names {
		if _, ended := r.ended.Load(name); ended {
			continue
		}
		k, err := r.change(ctx, name, func(k *keptRollout) (bool, error) {
			before := k.last()
			r.report(k, r.proceed(k))
			// The passing of time alone is not worth a write.
			return k.last() != before, nil
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.tell(k) // somebody else may have changed it
		if k.phase().Final() {
			r.ended.Store(name, true)
		}
	}
	return errors.Join(errs...)
}

// catchUp does again what followed from the states as they are.
func (r *rollouts) catchUp(ctx context.Context) error {
	all, err := r.List(ctx)
	errs := []error{err}
	newest := map[string]*keptRollout{} // by route
	for _, k := range all {
		if was := newest[k.doc().Route]; was == nil || k.Rev > was.Rev {
			newest[k.doc().Route] = k
		}
	}
	for _, k := range newest {
		errs = append(errs, r.follow(ctx, k))
	}
	return errors.Join(errs...)
}

// report logs the notices among actions.
func (r *rollouts) report(k *keptRollout, actions []rollout.Action) {
	for _, a := range actions {
		if a.Notice == nil {
			continue
		}
		level := slog.LevelInfo
		if a.Notice.Urgent {
			level = slog.LevelWarn
		}
		r.log.Log(context.Background(), level, a.Notice.Text, "rollout", k.doc().Name, "route", k.doc().Route)
	}
}

// control decides about rollouts for as long as the context lasts and this process is the one that does.
func (s *Service) control(ctx context.Context) {
	if !s.state.Load().server.Has(config.RoleControl) {
		return
	}
	b, ok := await(ctx, &s.bus)
	if !ok {
		return
	}
	for wait := time.Duration(0); ctx.Err() == nil; wait = firstRetry {
		waitFor(ctx, wait)
		r, err := s.rolloutsOn(ctx, b)
		if err == nil {
			err = s.lead(ctx, r, b)
		}
		if ctx.Err() != nil || s.ending.Load() {
			return
		}
		if err != nil {
			s.o.Log.Error("rollouts are not decided on", "error", err)
		}
	}
}

// rolloutsOn opens the rollouts once.
func (s *Service) rolloutsOn(ctx context.Context, b *bus.Bus) (*rollouts, error) {
	s.rolloutsMu.Lock()
	defer s.rolloutsMu.Unlock()
	if s.rollouts != nil {
		return s.rollouts, nil
	}
	r, err := openRollouts(ctx, b, s.codec, func() *config.Server { return s.state.Load().server }, s.o.Log)
	if err != nil {
		return nil, err
	}
	r.env, r.prices = s.o.Env, s.o.Prices
	r.past = func() past {
		if st, err := s.store.get(); err == nil {
			return st
		}
		return nil
	}
	s.rollouts = r
	return r, nil
}

// lead decides while this process holds the lease.
func (s *Service) lead(ctx context.Context, r *rollouts, b *bus.Bus) error {
	held, release, err := s.leads(ctx, r.states)
	if err != nil {
		return err
	}
	defer release()
	r.drivers.open()
	defer r.drivers.close()
	if err := r.catchUp(held); err != nil {
		return err
	}
	held, stop := context.WithCancel(held)
	var steps sync.WaitGroup
	defer steps.Wait()
	defer stop() // also where the consumer ends before the lease
	steps.Go(func() { r.watchSentinels(held) })
	steps.Go(func() {
		for held.Err() == nil {
			if err := r.step(held); err != nil && held.Err() == nil && !s.ending.Load() {
				s.o.Log.Error("a rollout cannot be stepped", "error", err)
			}
			waitFor(held, stepEvery)
		}
	})
	return b.Consume(held, evidenceStream, rolloutDurable, bus.ConsumeOptions{MaxWait: evidenceWait, Ordered: true}, r.take)
}

// wantsEvery is how long an answer holds which rollouts wait for outcomes.
const wantsEvery = 2 * time.Second

// waiting are the rollouts under way that wait for scores that come apart from their exchange, with what each assigns as one. It is
// used by one goroutine.
type waiting struct {
	list  func() ([]*keptRollout, error)
	asked time.Time
	// units are by name. failed says that they are not known: to look up what nobody waits for costs time, and nothing else.
	units  map[string]string
	failed bool
	// routed are those whose requests another router shares out, by route; as they were when the rollouts could last be read.
	routed map[string]outsideRollout
}

// any says whether anybody waits.
func (w *waiting) any() bool {
	w.ask()
	return w.failed || len(w.units) > 0
}

// ask looks at the rollouts now and then.
func (w *waiting) ask() {
	if time.Since(w.asked) < wantsEvery {
		return
	}
	all, err := w.list()
	w.asked, w.failed, w.units = time.Now(), err != nil, map[string]string{}
	routed := map[string]outsideRollout{}
	for _, k := range all {
		doc := k.doc()
		if k.phase().Final() {
			continue
		}
		if doc.Waits() {
			w.units[doc.Name] = doc.Unit
		}
		if doc.Outside() {
			routed[doc.Route] = outsideRollout{doc.Name, doc.Baseline, doc.Candidate, doc.Unit, doc.Match}
		}
	}
	if err == nil || len(all) > 0 {
		w.routed = routed
	}
}

func (w *waiting) unit(rollout string) string { return w.units[rollout] }

// outcomesWanted says which rollouts wait.
func (s *Service) outcomesWanted(ctx context.Context, b *bus.Bus) *waiting {
	return &waiting{list: func() ([]*keptRollout, error) {
		r, err := s.rolloutsOn(ctx, b)
		if err != nil {
			return nil, err
		}
		return r.List(ctx)
	}}
}
