package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

const canaryBody = `{"model":"m","messages":[{"role":"user","content":"Hello"}]}`

// withCanary is a route whose variant answers elsewhere, asked for another model.
func withCanary(base, canary string) *config.Server {
	return one(base, func(r *config.Route) {
		r.Variants = []config.Variant{
			{Name: "canary", Upstreams: []config.Upstream{{Name: "up", URL: canary, Key: "upstream-secret"}}, Model: "next", Set: map[string]any{"temperature": 0.5}},
			{Name: "other", Model: "third"},
		}
	})
}

func plan(weight float64, change ...func(*Plan)) *Plan {
	p := &Plan{Rollout: "swap", Stage: 1, Unit: "user", Salt: []byte("salt"), Arms: []Arm{{"canary", weight}}}
	for _, f := range change {
		f(p)
	}
	return p
}

// TestAssign gives a share of the users to the canary: about as many as planned, each one always the same way, and none
// leaves while the weight grows.
func TestAssign(t *testing.T) {
	s := start(t, withCanary(echoAs(t, "base"), echoAs(t, "canary")), Options{})
	const users = 400
	ask := func(user int) (canary bool, x Tapped) {
		t.Helper()
		_, got := post(t, s, "/v1/chat/completions", canaryBody, "telltale-user", fmt.Sprint("u", user))
		x = s.tapped(t)
		canary = strings.HasPrefix(got, "canary ")
		if canary != (x.Variant == "canary") || canary && (x.Override != "next" || !strings.Contains(got, `"temperature":0.5`)) {
			t.Fatalf("%q answered, captured %+v", got, x)
		}
		return canary, x
	}
	if c, x := ask(0); c || x.Rollout != "" || x.Propensity != 1 || x.Unit != "" || x.Variant != config.Baseline {
		t.Fatalf("without a plan: %+v", x)
	}
	in := map[int]bool{}
	units := map[string]bool{}
	for _, weight := range []float64{.05, .25, .5, 1} {
		if err := s.SetPlan("main", plan(weight)); err != nil {
			t.Fatal(err)
		}
		n := 0
		for u := range users {
			canary, x := ask(u)
			want := 1 - weight
			if canary {
				n++
				want = weight
			}
			if x.Rollout != "swap" || x.Stage != 1 || x.Propensity != want || len(x.Unit) != 16 {
				t.Fatalf("weight %v: %+v", weight, x)
			}
			if in[u] && !canary {
				t.Fatalf("user %d left the canary as the weight rose to %v", u, weight)
			}
			in[u] = canary
			units[x.Unit] = true
		}
		// Five standard errors.
		if d := math.Abs(float64(n) - users*weight); d > 5*math.Sqrt(users*weight*(1-weight)) {
			t.Errorf("%d of %d users at weight %v", n, users, weight)
		}
	}
	if len(units) != users {
		t.Errorf("%d units of %d users", len(units), users)
	}
	if err := s.SetPlan("main", nil); err != nil {
		t.Fatal(err)
	}
	if c, x := ask(1); c || x.Rollout != "" {
		t.Errorf("after the plan: %+v", x)
	}
}

func TestAssignEdges(t *testing.T) {
	cfg := withCanary(echoAs(t, "base"), echoAs(t, "canary"))
	s := start(t, cfg, Options{})
	set := func(p *Plan) {
		t.Helper()
		if err := s.SetPlan("main", p); err != nil {
			t.Fatal(err)
		}
	}
	f := func(path, want string, evidence bool, headers ...string) {
		t.Helper()
		_, got := post(t, s, path, canaryBody, headers...)
		if x := s.tapped(t); !strings.HasPrefix(got, want+" ") || (x.Rollout != "") != evidence {
			t.Errorf("%s %v: %q, %+v", path, headers, got, x)
		}
	}
	set(plan(1))
	f("/v1/chat/completions", "canary", true)
	f("/v1/files", "base", false) // not a question to a model
	f("/v1/chat/completions", "canary", true, "telltale-variant", "baseline")
	set(plan(1, func(p *Plan) { p.Override = true }))
	f("/v1/chat/completions", "base", false, "telltale-variant", "baseline")
	f("/v1/chat/completions", "canary", false, "telltale-variant", "canary")
	f("/v1/chat/completions", "canary", true, "telltale-variant", "nonsense")
	set(plan(.5, func(p *Plan) { p.Arms = []Arm{{"canary", .5}, {"other", .5}} }))
	seen := map[string]int{}
	for range 60 {
		post(t, s, "/v1/chat/completions", canaryBody)
		x := s.tapped(t)
		if x.Propensity != .5 {
			t.Fatalf("%+v", x)
		}
		seen[x.Variant]++
	}
	if seen["canary"] < 10 || seen["other"] < 10 || seen[config.Baseline] > 0 {
		t.Errorf("%v", seen)
	}
	// One that does not speak the request's API leaves no evidence on either arm: with its own requests left out, the baseline's
	// failures alone would speak for it.
	silent := *cfg
	silent.Routes = []config.Route{cfg.Routes[0]}
	silent.Routes[0].Variants = slices.Clone(cfg.Routes[0].Variants)
	silent.Routes[0].Variants[0].Upstreams = slices.Clone(cfg.Routes[0].Variants[0].Upstreams)
	silent.Routes[0].Variants[0].Upstreams[0].Format = "anthropic"
	if err := s.Reload(&silent); err != nil {
		t.Fatal(err)
	}
	set(plan(.5))
	for range 20 {
		f("/v1/chat/completions", "base", false)
	}
	// A reload keeps the plan; without the variant the baseline answers, and it is counted.
	set(plan(1))
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	f("/v1/chat/completions", "canary", true)
	before := s.Stats().Unassigned
	gone := *cfg
	gone.Routes = []config.Route{cfg.Routes[0]}
	gone.Routes[0].Variants = nil
	if err := s.Reload(&gone); err != nil {
		t.Fatal(err)
	}
	f("/v1/chat/completions", "base", false)
	if n := s.Stats().Unassigned - before; n != 1 {
		t.Errorf("%d counted", n)
	}

	bad := func(route string, p *Plan, want string) {
		t.Helper()
		if err := s.SetPlan(route, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	bad("nowhere", plan(.1), "no route nowhere")
	bad("main", plan(.1), "no variant canary")
	bad("main", plan(1.5), "want 0 to 1")
	bad("main", plan(math.NaN()), "want 0 to 1")
	bad("main", plan(.5, func(p *Plan) { p.Arms = append(p.Arms, Arm{"other", .6}) }), "more than 1")
	bad("main", plan(.5, func(p *Plan) { p.Salt = nil }), "salt")
	bad("main", plan(.5, func(p *Plan) { p.Unit = "day" }), "unit")
	bad("main", plan(.5, func(p *Plan) { p.Shadow = &Shadow{Variant: "canary", Share: 2} }), "shadow")
}

// TestVariantHealth lets the canary's upstream fail until it is taken out: the baseline on the same machine is not.
func TestVariantHealth(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); strings.Contains(string(b), `"next"`) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	cfg := one(url, func(r *config.Route) { r.Variants = []config.Variant{{Name: "canary", Model: "next"}} })
	s := start(t, cfg, Options{})
	f := func(weight float64, status int) {
		t.Helper()
		if err := s.SetPlan("main", plan(weight)); err != nil {
			t.Fatal(err)
		}
		for range 2 * defaultEject {
			resp, _ := post(t, s, "/v1/chat/completions", canaryBody)
			if x := s.tapped(t); resp.StatusCode != status || x.Status != status {
				t.Fatalf("weight %v: %d, captured %d", weight, resp.StatusCode, x.Status)
			}
		}
	}
	f(1, 500)
	f(0, 200)
}

// TestShadow copies requests to a variant: users get the baseline's answers, and both are captured, as a pair.
func TestShadow(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	shadow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Telltale-User") != "" {
			t.Error("the upstream was told the user")
		}
		b, _ := io.ReadAll(r.Body)
		if strings.Contains(string(b), "wait") {
			<-release
		}
		_, _ = fmt.Fprintf(w, "shadow %s", b)
	})
	s := start(t, withCanary(echoAs(t, "base"), shadow), Options{})
	allowed := true
	set := func(share float64, parallel int) {
		t.Helper()
		err := s.SetPlan("main", plan(0, func(p *Plan) {
			p.Stage, p.Arms, p.Shadow = 0, nil, &Shadow{Variant: "canary", Share: share, Parallel: parallel, Timeout: 5 * time.Second, Allow: func() bool { return allowed }}
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	set(1, 1)
	_, got := post(t, s, "/v1/chat/completions", canaryBody, "telltale-user", "anna")
	if !strings.HasPrefix(got, "base ") {
		t.Fatalf("the user got %q", got)
	}
	a, b := s.tapped(t), s.tapped(t)
	if a.Variant != config.Baseline {
		a, b = b, a
	}
	var sent struct {
		Model       string
		Temperature float64
	}
	if err := json.Unmarshal(b.SentBody, &sent); err != nil || sent.Model != "next" || sent.Temperature != .5 {
		t.Errorf("%v: sent %s", err, b.SentBody)
	}
	if a.Variant != config.Baseline || b.Variant != "shadow" || b.Pairs != a.ID || a.Pairs != "" || b.Behind() != "canary" || !strings.HasPrefix(string(b.Answer), "shadow ") ||
		a.Rollout != "swap" || b.Rollout != "swap" || a.Unit != b.Unit || a.Propensity != 1 || string(b.Body) != canaryBody || b.ID == a.ID {
		t.Errorf("%+v\n%+v", a, b)
	}

	// One at a time: what comes meanwhile is answered, and not copied.
	wait := strings.Replace(canaryBody, "Hello", "wait", 1)
	for range 3 {
		post(t, s, "/v1/chat/completions", wait)
		s.tapped(t)
	}
	if st := s.Stats(); st.Shadowed != 2 || st.ShadowDrops[ShadowBusy] != 2 {
		t.Errorf("%d copied, %v dropped", st.Shadowed, st.ShadowDrops)
	}
	close(release)
	s.tapped(t)
	for s.slotOf("main").shadows.Load() > 0 { // its place is given back after the exchange
		runtime.Gosched()
	}
	allowed = false
	post(t, s, "/v1/chat/completions", canaryBody)
	s.tapped(t)
	allowed = true
	set(0, 1)
	post(t, s, "/v1/chat/completions", canaryBody)
	s.tapped(t)
	if st := s.Stats(); st.Shadowed != 2 || st.ShadowDrops[ShadowBudget] != 1 || asked.Load() != 2 {
		t.Errorf("%d copied, %v dropped, %d asked", st.Shadowed, st.ShadowDrops, asked.Load())
	}
}

// TestShadowOfTheRoutesOwn copies what a variant answers to the route's own behaviour.
func TestShadowOfTheRoutesOwn(t *testing.T) {
	for _, to := range []string{config.Baseline, "other"} {
		s := start(t, withCanary(echoAs(t, "base"), echoAs(t, "canary")), Options{})
		err := s.SetPlan("main", plan(1, func(p *Plan) { p.Shadow = &Shadow{Variant: to, Share: 1, Parallel: 1, Timeout: 5 * time.Second} }))
		if err != nil {
			t.Fatal(err)
		}
		if _, got := post(t, s, "/v1/chat/completions", canaryBody); !strings.HasPrefix(got, "canary ") {
			t.Fatalf("the user got %q", got)
		}
		a, b := s.tapped(t), s.tapped(t)
		if a.Variant == "shadow" {
			a, b = b, a
		}
		if a.Variant != "canary" || b.Variant != "shadow" || b.Pairs != a.ID || b.Behind() != to || !strings.HasPrefix(string(b.Answer), "base ") {
			t.Errorf("%+v\n%+v", a, b)
		}
	}
}

// TestShadowEnd closes the gateway while a copy is under way.
func TestShadowEnd(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	shadow := serve(t, func(http.ResponseWriter, *http.Request) {
		close(began)
		<-release
	})
	s := start(t, withCanary(echoAs(t, "base"), shadow), Options{})
	if err := s.SetPlan("main", plan(0, func(p *Plan) {
		p.Arms, p.Shadow = nil, &Shadow{Variant: "canary", Share: 1, Parallel: 1, Timeout: time.Minute}
	})); err != nil {
		t.Fatal(err)
	}
	post(t, s, "/v1/chat/completions", canaryBody)
	s.tapped(t)
	<-began
	s.stop()
	close(release)
	if x := s.tapped(t); x.Variant != "shadow" || x.ErrorKind != "canceled" {
		t.Errorf("%+v", x)
	}
}

func BenchmarkAssign(b *testing.B) {
	s := start(b, withCanary("http://127.0.0.1:9", "http://127.0.0.1:9"), Options{})
	if err := s.SetPlan("main", plan(.05)); err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/chat/completions", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Telltale-User", "anna")
	state := s.state.Load()
	b.ReportAllocs()
	for b.Loop() {
		c := call{g: s.Gateway, s: state, r: r, route: state.routes[0], api: openAI, endpoint: generate}
		c.assign()
	}
}
