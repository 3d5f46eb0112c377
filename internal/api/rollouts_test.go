package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// fakeRollouts has one rollout, r, and remembers what it was asked for.
type fakeRollouts struct {
	one  Rollout
	fail error

	document, by, why, name string
	command                 rollout.Command
}

func (f *fakeRollouts) get(name string) (Rollout, error) {
	switch {
	case f.fail != nil:
		return Rollout{}, f.fail
	case name != f.one.Name:
		return Rollout{}, &RolloutError{http.StatusNotFound, errors.New("no such rollout: " + name)}
	}
	return f.one, nil
}

func (f *fakeRollouts) List(context.Context) ([]Rollout, error) {
	if f.fail != nil || f.one.Name == "" {
		return nil, f.fail
	}
	return []Rollout{f.one}, nil
}

func (f *fakeRollouts) Get(_ context.Context, name string) (Rollout, error) { return f.get(name) }

func (f *fakeRollouts) Start(_ context.Context, document []byte, by, why string) (Rollout, error) {
	f.document, f.by, f.why = string(document), by, why
	return f.one, f.fail
}

func (f *fakeRollouts) Command(_ context.Context, name string, c rollout.Command) (Rollout, error) {
	f.name, f.command = name, c
	return f.get(name)
}

func (f *fakeRollouts) History(_ context.Context, name string) ([]rollout.Transition, error) {
	_, err := f.get(name)
	return nil, err
}

func judged(v verdict.Verdict, taken int64) Rollout {
	return Rollout{Name: "r", Kind: config.KindRollout, Route: "main", Phase: "running", Taken: taken, Decision: &rollout.Judgement{Decision: verdict.Decision{Verdict: v, Reason: "why"}}}
}

func rolloutsOf(t *testing.T, f *fakeRollouts) http.Handler {
	t.Helper()
	return serve(t, two(), func(o *Options) { o.Rollouts = func() (Rollouts, error) { return f, nil } })
}

func TestRollouts(t *testing.T) {
	f := &fakeRollouts{one: judged(verdict.Undecided, 0)}
	h := rolloutsOf(t, f)
	g := func(method, path, body string, want int, parts ...string) {
		t.Helper()
		code, got := ask(t, h, method, path, body)
		if code != want {
			t.Errorf("%s %s: %d, want %d: %s", method, path, code, want, got)
		}
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s %s: no %q in %s", method, path, part, got)
			}
		}
	}
	g("GET", "/v1/rollouts", "", 200, `"rollouts":[{`, `"name":"r"`)
	g("GET", "/v1/rollouts/r", "", 200, `"phase":"running"`)
	g("GET", "/v1/rollouts/r/history", "", 200, `"transitions":[]`)
	g("GET", "/v1/rollouts/r/verdict", "", 200, `"verdict":"undecided"`, `"reason":"why"`)
	for _, path := range []string{"", "/history", "/verdict"} {
		g("GET", "/v1/rollouts/nope"+path, "", 404, "no such rollout: nope")
	}
	g("GET", "/v1/rollouts/"+strings.Repeat("x", 65), "", 422)

	g("POST", "/v1/rollouts?by=anna&why=cheaper", "name: r", 201, `"name":"r"`)
	if f.document != "name: r" || f.by != "anna" || f.why != "cheaper" {
		t.Errorf("%+v", f)
	}
	for _, kind := range []rollout.CommandKind{rollout.Pause, rollout.Resume, rollout.Promote, rollout.Abort} {
		g("POST", "/v1/rollouts/r/"+string(kind), `{"by": "ben", "why": "lunch"}`, 200)
		if f.name != "r" || f.command != (rollout.Command{Kind: kind, By: "ben", Why: "lunch"}) {
			t.Errorf("%+v", f)
		}
	}
	f.command = rollout.Command{}
	g("POST", "/v1/rollouts/r/explode", `{"by": "ben"}`, 422, "path.command")
	g("POST", "/v1/rollouts/r/pause", `{"why": "nobody asks"}`, 422)
	g("POST", "/v1/rollouts/r/pause", `{"by": "ben", "because": "x"}`, 422)
	if f.command.Kind != "" {
		t.Errorf("a bad request has become %+v", f.command)
	}
	g("POST", "/v1/rollouts/nope/abort", `{"by": "ben"}`, 404)

	f.one = Rollout{}
	g("GET", "/v1/rollouts", "", 200, `"rollouts":[]`)
}

// Mistakes in a document are told with their key, value and what was wanted.
func TestRolloutMistakes(t *testing.T) {
	f := func(fail error, want int, parts ...string) {
		t.Helper()
		code, body := ask(t, rolloutsOf(t, &fakeRollouts{fail: fail}), "POST", "/v1/rollouts", "name: r")
		if code != want {
			t.Errorf("%v: %d, want %d", fail, code, want)
		}
		for _, part := range parts {
			if !strings.Contains(body, part) {
				t.Errorf("%v: no %q in %s", fail, part, body)
			}
		}
	}
	alpha := config.Errors{{Pos: config.Pos{Key: "alpha"}, Value: "2", Problem: "not a probability", Want: "such as 0.01"}}
	f(&RolloutError{422, alpha}, 422, `"location":"body.alpha"`, `"value":"2"`, "not a probability; want such as 0.01")
	f(&RolloutError{409, errors.Join(errors.New("taken"), config.Errors{{Pos: config.Pos{Key: "route"}, Value: "main", Problem: "taken"}})}, 409, `"location":"body.route"`)
	f(&RolloutError{409, errors.New("it has ended")}, 409, "it has ended")
	f(errors.New("the bus at 10.0.0.1 is away"), 500)
}

func TestRolloutsAway(t *testing.T) {
	f := func(change func(*Options)) {
		t.Helper()
		h := serve(t, two(), change)
		for _, path := range []string{"", "/r", "/r/history", "/r/verdict"} {
			if code, body := ask(t, h, "GET", "/v1/rollouts"+path, ""); code != 503 || !strings.Contains(body, "rollouts are not available") {
				t.Errorf("%s: %d %s", path, code, body)
			}
		}
	}
	f(nil)
	f(func(o *Options) { o.Rollouts = func() (Rollouts, error) { return nil, errors.New("no bus yet") } })
}

// Flagger takes 200 for yes and anything else for no. What is not known is never a yes, and harm alone rolls back.
func TestFlagger(t *testing.T) {
	const before, during, gates = "confirm-rollout pre-rollout post-rollout event", "rollout", "confirm-traffic-increase confirm-promotion"
	f := func(name string, r *fakeRollouts, yes string) {
		t.Helper()
		h := rolloutsOf(t, r)
		for _, hook := range strings.Fields(before + " " + during + " " + gates + " rollback") {
			code, body := ask(t, h, "POST", "/v1/rollouts/r/flagger/"+hook, `{"name": "main", "phase": "Progressing"}`)
			want := 409
			if strings.Contains(" "+yes+" ", " "+hook+" ") {
				want = 200
			}
			var got struct{ Verdict, Reason string }
			if err := json.Unmarshal([]byte(body), &got); code != want || err != nil || got.Verdict == "" || got.Reason == "" {
				t.Errorf("%s, %s: %d, want %d: %s", name, hook, code, want, body)
			}
		}
	}
	f("undecided", &fakeRollouts{one: judged(verdict.Undecided, 5)}, before+" "+during)
	f("nothing seen", &fakeRollouts{one: judged(verdict.Undecided, 0)}, before)
	f("pass", &fakeRollouts{one: judged(verdict.Pass, 5)}, before+" "+during+" "+gates)
	f("fail", &fakeRollouts{one: judged(verdict.Fail, 5)}, "rollback")
	experiment := judged(verdict.Pass, 5)
	experiment.Decision = nil
	f("experiment", &fakeRollouts{one: experiment}, "")
	f("unknown", &fakeRollouts{one: Rollout{Name: "another"}}, "")
	f("bus away", &fakeRollouts{fail: errors.New("away")}, "")
	if code, _ := ask(t, rolloutsOf(t, &fakeRollouts{one: judged(verdict.Pass, 5)}), "POST", "/v1/rollouts/r/flagger/nonsense", ""); code != 422 {
		t.Errorf("a hook that Flagger does not have: %d", code)
	}
	if code, _ := ask(t, rolloutsOf(t, &fakeRollouts{one: judged(verdict.Pass, 5)}), "POST", "/v1/rollouts/r/flagger/confirm-promotion", ""); code != 200 {
		t.Errorf("a hook without a body: %d", code)
	}
}
