package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// tenLines is what docs/rollouts.md shows first.
const tenLines = `name: summer
route: support
candidate: new-prompt
stages: [shadow, 5%, 25%, 100%]
signals:
  - {kind: error_rate, margin: 1%}
  - {kind: latency_p95, margin: 5%}
  - {kind: refusal, margin: 2%, role: supporting}
  - {score: helpfulness, margin: 0.05}
`

const trial = `kind: experiment
name: tone
route: support
unit: user
variants: [{name: baseline, weight: 50%}, {name: short, weight: 0.3}, {name: long, weight: 20%}]
metric: {score: feedback}
stop: {max_duration: 7d, min_samples: 200, futility: 1%}
`

func loadRollout(text string) (*Rollout, error) {
	return LoadRollout("conf/rollout.yaml", []byte(text), Options{Env: func(string) (string, bool) { return "", false }})
}

func TestRolloutDefaults(t *testing.T) {
	r, err := loadRollout("name: r\nroute: main\ncandidate: new\n")
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != KindRollout || r.Baseline != Baseline || r.Unit != UnitRequest || r.Alpha != 0.01 || r.Undecided != UndecidedHold || r.Bake != time.Hour ||
		r.Promotion != PromoteEither || r.PromotionAlpha != 0.05 || r.Supporting != 2 || !r.Override {
		t.Errorf("%+v", r)
	}
	if len(r.Stages) != 5 || r.Stages[0].Weight != 0.01 || r.Stages[0].MinDuration != 10*time.Minute || r.Stages[0].MaxDuration != 24*time.Hour || r.Stages[0].MinSamples != 500 || r.Stages[4].Weight != 1 || r.Stages[4].MinSamples != 0 {
		t.Errorf("%+v", r.Stages)
	}
	if len(r.Signals) != len(DefaultSignals()) {
		t.Errorf("%+v", r.Signals)
	}
}

func TestRolloutReadsAll(t *testing.T) {
	_, err := loadRollout(`name: r-1
route: main
baseline: 0123456789abcdef
candidate: new
unit: session
stages:
  - {weight: shadow, min_duration: 0, max_duration: 1h, min_samples: 50}
  - {weight: 0.5%, min_duration: 5m, max_duration: 2h, min_samples: 10}
  - {weight: 0.25, max_duration: 5m}
  - 100%
signals:
  - {name: errors, kind: error_rate, margin: 50%, relative: true, alpha_share: 3}
  - {kind: ttft_p99, margin: 0.01, threshold: 800ms, role: supporting}
  - {kind: output_length, worse: lower, threshold: 20, role: observe}
  - {score: feedback, margin: 0.1, delay: 2h, min_samples: 20}
  - {kind: refusal, score: is-refusal, margin: 1%, role: supporting}
  - cost
alpha: 5%
supporting: 2
supporting_share: 0.5
undecided: extend
bake: 1d
promotion: non_inferiority
promotion_alpha: 0.1
shadow: {share: 10%, parallel: 2, timeout: 30s, cost: 5, tokens: 1000}
sentinels: {suite: critical.yaml, every: 5m}
override: false
`)
	if err == nil {
		t.Fatal("cost without a margin was taken")
	}
	text := strings.Join([]string{"name: r-1", "route: main", "candidate: new", "unit: session", `stages:
  - {weight: shadow, min_duration: 0, max_duration: 1h, min_samples: 50}
  - {weight: 0.5%, min_duration: 5m, max_duration: 2h, min_samples: 10}
  - {weight: 0.25, max_duration: 5m}
  - 100%`, `signals:
  - {name: errors, kind: error_rate, margin: 50%, relative: true, alpha_share: 3}
  - {kind: ttft_p99, margin: 0.01, threshold: 800ms, role: supporting}
  - {kind: output_length, worse: lower, threshold: 20, role: observe}
  - {score: feedback, margin: 0.1, delay: 2h, min_samples: 20}
  - {kind: refusal, score: is-refusal, margin: 1%, role: supporting}`,
		"alpha: 5%", "supporting: 2", "supporting_share: 0.5", "undecided: extend", "bake: 1d", "promotion: non_inferiority", "promotion_alpha: 0.1",
		"shadow: {share: 10%, parallel: 2, timeout: 30s, cost: 5, tokens: 1000}", "sentinels: {suite: critical.yaml, every: 5m}", "override: false"}, "\n")
	r, err := loadRollout(text)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Stages
	if !s[0].Shadow || s[0].MinDuration != 0 || s[0].MinSamples != 50 || s[1].Weight != 0.005 || s[2].MinDuration != 5*time.Minute || s[2].MaxDuration != 5*time.Minute || s[2].MinSamples != 500 || s[3].Weight != 1 {
		t.Errorf("%+v", s)
	}
	g := r.Signals
	if g[0].Name != "errors" || !g[0].Relative || g[0].Margin != 0.5 || g[0].AlphaShare != 3 || g[1].Threshold != 0.8 || g[2].Worse != "lower" || g[2].Role != RoleObserve || g[3].Kind != SignalScore || g[3].Worse != "lower" || g[3].Delay != 2*time.Hour || g[4].Score != "is-refusal" {
		t.Errorf("%+v", g)
	}
	if r.Alpha != 0.05 || r.Bake != 24*time.Hour || r.Shadow.Share != 0.1 || r.Shadow.Tokens != 1000 || r.Sentinels.Every != 5*time.Minute || r.Override {
		t.Errorf("%+v", r)
	}
}

// A mistake names the file, the line, the key, the value and what was expected.
func TestRolloutMistakes(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, err := loadRollout(text)
		if err == nil {
			t.Errorf("taken:\n%s", text)
			return
		}
		if _, ok := errors.AsType[Errors](err); !ok {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%T: %v", err, err)
			}
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q is not in %v\n%s", w, err, text)
			}
		}
	}
	const head = "name: r\nroute: main\ncandidate: new\n"
	// What cannot be read is one mistake, not two.
	for _, text := range []string{
		"alpha: .nan\n", "promotion_alpha: [1]\n", "signals: [{kind: error_rate, margin: many}]\n", "shadow: {share: all}\n",
	} {
		_, err := loadRollout(head + text)
		if all, ok := errors.AsType[Errors](err); !ok || len(all) != 1 || all[0].Problem != "not a share" {
			t.Errorf("%q: %v", text, err)
		}
	}
	f("", "the file is empty")
	f("[]", "not a rollout")
	f("- a", "not a rollout", "conf/rollout.yaml:1")
	f(head+"stagess: []\n", "conf/rollout.yaml:4", `unknown key "stagess"`, `did you mean "stages"?`)
	f(head+"name: s\n", "duplicate key")
	f("route: main\ncandidate: new\n", "name", "not a name for a rollout")
	f("name: R 1\nroute: main\ncandidate: new\n", `"R 1"`)
	f("name: r\ncandidate: new\n", "route", "not the name of a route")
	f("name: r\nroute: main\n", "candidate", "no variant is named")
	f("name: r\nroute: main\ncandidate: baseline\n", "the candidate is the baseline")
	f("name: r\nroute: main\ncandidate: New\n", `"New"`, "not the name or id of a variant")
	f(head+"unit: person\n", "conf/rollout.yaml:4:7", "unit", "request, session, user")
	f(head+"alpha: 0\n", "conf/rollout.yaml:4:8", "alpha", `"0"`, "strictly between 0 and 1")
	f(head+"alpha: 1\n", "strictly between 0 and 1")
	f(head+"alpha: 150%\n", "strictly between 0 and 1")
	f(head+"alpha: -0.1\n", "strictly between 0 and 1")
	f(head+"alpha: .nan\n", "not a share")
	f(head+"alpha: small\n", "not a share")
	f(head+"promotion_alpha: 2\n", "promotion_alpha")
	f(head+"undecided: wait\n", "hold, extend, abort, promote")
	f(head+"promotion: hope\n", "either, non_inferiority, planned_sample")
	f(head+"bake: -1h\n", "bake", "not a duration")
	f(head+"stages: []\n", "stages")
	f(head+"stages: [5%, 1%, 100%]\n", "conf/rollout.yaml:4:14", "stages[1]", "out of order", "5%")
	f(head+"stages: [5%, 5%, 100%]\n", "out of order")
	f(head+"stages: [5%, shadow, 100%]\n", "stages[1]", "shadow comes after another stage")
	f(head+"stages: [shadow]\n", "100% at the end")
	f(head+"stages: [5%, 50%]\n", "stages[1]", "100% at the end")
	f(head+"stages: [100%, 50%]\n", "out of order")
	f(head+"stages: [0%, 100%]\n", "not a weight")
	f(head+"stages: [5, 100%]\n", `"5"`, "not a weight")
	f(head+"stages: [{weight: 5%, min_duration: 2h, max_duration: 1h}, 100%]\n", "max_duration", "shorter than min_duration")
	f(head+"stages: [{weight: 5%, min_samples: -1}, 100%]\n", "min_samples", "below 0")
	f(head+"stages: [{weight: 5%, weights: 3}, 100%]\n", "unknown key")
	f(head+"stages: [5%, {weight: 100%, min_duration: 1h}]\n", "bake instead")
	f(head+"unit: user\nstages: [{weight: 5%, min_samples: 10000}, 100%]\n", "more users than are remembered")
	f(head+"signals: []\n", "signals")
	f(head+"signals: [error_rate]\n", "conf/rollout.yaml:4:11", "signals[0].margin", "signal error_rate has no margin", "such as 1%")
	f(head+"signals: [{kind: error_rate, margin: 0}]\n", "not a margin")
	f(head+"signals: [{kind: error_rate, margin: 100%}]\n", "not a margin")
	f(head+"signals: [{kind: error_rat, margin: 1%}]\n", "no signal is of this kind", `did you mean "error_rate"?`)
	f(head+"signals: [{margin: 1%}]\n", "a signal without a kind")
	f(head+"signals: [{kind: score, margin: 1%}]\n", "no scorer is named")
	f(head+"signals: [{kind: error_rate, score: x, margin: 1%}]\n", "has no score")
	f(head+"signals: [{kind: error_rate, margin: 1%}, {kind: error_rate, margin: 2%}]\n", "two signals have this name")
	f(head+"signals: [{kind: error_rate, margin: 1%, role: vital}]\n", "critical, supporting, observe")
	f(head+"signals: [{kind: error_rate, margin: 1%, role: supporting}]\n", "no signal is critical")
	f(head+"signals: [{kind: error_rate, margin: 1%, alpha_share: 0}]\n", "alpha_share", "not above 0")
	f(head+"signals: [{kind: error_rate, margin: 1%}, {kind: cost, role: observe, alpha_share: 1}]\n", "only critical signals")
	f(head+"signals: [{kind: error_rate, margin: 1%, worse: lower}]\n", "more of this is always worse")
	f(head+"signals: [{kind: error_rate, margin: 1%, threshold: 3}]\n", "has no threshold")
	f(head+"signals: [{kind: latency_p95, margin: 1%, threshold: fast}]\n", "not a time")
	f(head+"signals: [{kind: cost, margin: 1%, threshold: -3}]\n", "not a threshold")
	f(head+"signals: [{score: q, margin: 10%, relative: true}]\n", "difference of means")
	f(head+"signals: [{kind: retries, margin: 1%}]\n", "a retry is assigned anew")
	f(head+"signals: [{kind: error_rate, margin: 1%, delay: 1h}]\n", "comes with the answer")
	f(head+"signals: [{score: feedback, margin: 1%, delay: 0}]\n", "feedback comes after the answer")
	f(head+"supporting: 9\n", "there are 4 supporting signals")
	f(head+"supporting: 0\n", "supporting")
	f(head+"shadow: {share: 0}\n", "shadow.share")
	f(head+"shadow: {timeout: 0}\n", "no time at all")
	f(head+"sentinels: {every: 1m}\n", "no suite is named")
	f(head+"metric: {score: q}\n", "belongs to an experiment")

	f(strings.Replace(trial, "50%", "60%", 1), "do not add up", "110%")
	f(strings.Replace(trial, "name: baseline", "name: other", 1), "the baseline is not among the variants")
	f(strings.Replace(trial, "name: long", "name: short", 1), "two arms have this variant")
	f(strings.Replace(trial, "metric:", "metrics:", 1), "no metric")
	f(trial+"candidate: new\n", "belongs to a rollout")
	f(trial+"signals: [error_rate]\n", "belongs to a rollout")
	f(strings.Replace(trial, "7d", "1h, min_duration: 2h", 1), "shorter than min_duration")
}

// What was read and is written as JSON is read again as the same.
func TestRolloutRoundTrip(t *testing.T) {
	f := func(text string) {
		t.Helper()
		r, err := loadRollout(text)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, r)
	}
	f("name: r\nroute: main\ncandidate: new\n")
	f(tenLines)
	f(trial)
	f(tenLines + "sentinels: {suite: s.yaml}\nshadow: {share: 0.1, cost: 3}\noverride: false\nundecided: abort\n")
}

func roundTrip(t *testing.T, r *Rollout) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Rollout
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	c, err := json.Marshal(&again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, c) {
		t.Errorf("%s\n%s", b, c)
	}
}

func TestIsRollout(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if got := IsRollout("x.yaml", []byte(text)); got != want {
			t.Errorf("%v for\n%s", got, text)
		}
	}
	f(tenLines, true)
	f(trial, true)
	f("name: x\ncandidate: y\n", true)
	f("providers: [echo]\ntests: c.csv\n", false)
	f("routes: [{name: a, upstreams: [{url: 'http://x'}]}]\n", false)
	f("a: [", false)
	f("[]", false)
}

// Server and rollout must fit.
func TestRolloutCheck(t *testing.T) {
	s, err := loadServer(t, `routes:
  - {name: support, upstreams: [{url: "http://u"}], variants: [{name: new-prompt, set: {temperature: 0}}, {name: twin, set: {temperature: 0}}]}
  - {name: other, upstreams: [{url: "http://v"}], path: /other}
scorers: [{name: helpfulness, assert: {type: toxicity}}, {name: elsewhere, assert: {type: toxicity}, routes: [other]}]
`)
	if err != nil {
		t.Fatal(err)
	}
	f := func(change string, want string) {
		t.Helper()
		from, to, _ := strings.Cut(change, " -> ")
		r, err := loadRollout(strings.Replace(tenLines, from, to, 1))
		if err != nil {
			t.Fatal(err)
		}
		err = r.Check(s)
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "conf/rollout.yaml:") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(" -> ", "")
	f("route: support -> route: suport", "no such route")
	f("candidate: new-prompt -> candidate: old-prompt", "no such variant")
	f("candidate: new-prompt -> candidate: ffffffffffffffff", "no such variant")
	f("candidate: new-prompt -> baseline: twin\ncandidate: new-prompt", "the same behaviour as twin")
	with := s.Routes[0].With(&s.Routes[0].Variants[0])
	f("candidate: new-prompt -> candidate: "+with.Behaviour(), "")
	f("score: helpfulness -> score: elsewhere", "no scorer of the server has this name on route support")
	f("score: helpfulness -> score: feedback", "")
}

// The published schema takes what the parser takes and refuses what it refuses, as far as a schema can tell.
func TestRolloutSchema(t *testing.T) {
	b, err := RolloutSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("rollout.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("rollout.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	f := func(text string, ok bool) {
		t.Helper()
		j, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != ok {
			t.Errorf("the schema says %v, want ok %v:\n%s", err, ok, text)
		}
		if _, err := loadRollout(text); (err == nil) != ok {
			t.Errorf("the parser says %v, want ok %v:\n%s", err, ok, text)
		}
	}
	f(tenLines, true)
	f(trial, true)
	f(routedOutside, true)
	f("name: r\nroute: main\n", false)
	f("name: r\nroute: main\ncandidate: new\nstagess: [1%]\n", false)
	f("name: r\nroute: main\ncandidate: new\nsignals: [{kind: nonsense, margin: 1%}]\n", false)
	f("name: r\nroute: main\ncandidate: new\nsignals: [{margin: 1%}]\n", false)
	f("name: r\nroute: main\ncandidate: new\nsignals: [{kind: error_rate, margin: 1%, role: vital}]\n", false)
	f("name: r\nroute: main\ncandidate: new\nstages: [0.05, {weight: 25%, min_samples: 3}, 100%]\nbake: 0\nalpha: 1%\n", true)
	f("kind: experiment\nname: r\nroute: main\nmetric: {score: q}\n", false)
	for _, text := range []string{tenLines, trial, routedOutside} {
		r, err := loadRollout(text)
		if err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		f(string(j), true)
	}
}

func FuzzRollout(f *testing.F) {
	f.Add(tenLines)
	f.Add(trial)
	f.Add(routedOutside)
	f.Add("name: r\nroute: main\ncandidate: new\nstages: [shadow, {weight: 1%, min_duration: 0, max_duration: 1d}, 1]\n")
	f.Add("{\"name\": \"r\", \"route\": \"m\", \"candidate\": \"c\", \"signals\": [{\"kind\": \"cost\", \"role\": \"observe\", \"threshold\": 1e300}]}")
	f.Add("name: r\nstages: [&a [*a]]\nsignals: [{<<: {kind: score}}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := LoadRollout("r.yaml", []byte(text), Options{})
		if err != nil {
			return
		}
		if !(r.Alpha > 0 && r.Alpha < 1) || r.Kind == KindRollout && (len(r.Stages) == 0 || r.Stages[len(r.Stages)-1].Weight != 1 && !r.Outside()) {
			t.Fatalf("%+v", r)
		}
		last := 0.0
		for i, s := range r.Stages {
			if s.Open() && (!r.Outside() || len(r.Stages) > 1) {
				t.Fatalf("stage %d of %+v", i, r.Stages)
			}
			if s.Shadow && i > 0 || !s.Shadow && !s.Open() && !(s.Weight > last && s.Weight <= 1) || s.MinDuration > s.MaxDuration || s.MinSamples < 0 {
				t.Fatalf("stage %d of %+v", i, r.Stages)
			}
			if !s.Shadow {
				last = s.Weight
			}
		}
		for _, g := range r.Signals {
			if g.Role != RoleObserve && !(g.Margin > 0) {
				t.Fatalf("signal %+v", g)
			}
		}
		roundTrip(t, r)
	})
}
