package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/rollout"
	"github.com/telltale-llm/telltale/internal/sim"
)

// candidate is a variant of a route of its own, with the model that answers it and the rollout that it has.
type candidate struct {
	name string // of the route and the rollout
	// sim is how its model behaves, beside what every model does.
	sim string
	// signals watch it, in YAML.
	signals string
	// asks is what users want.
	asks string
	// why must be in the reason of its rollback; empty for one that is promoted.
	why string
	// stages, 5% and then all when it is empty.
	stages string
}

const (
	plainAsk = "How do I get a refund for order %d?"
	jsonAsk  = "How do I get a refund for order %d? Answer in JSON."

	// simLatency is that of every model.
	simLatency = "latency: uniform(1ms, 3ms)\n"

	watchAll = "{kind: error_rate, margin: 5%}, {kind: latency_p99, margin: 5%}, {kind: toxicity, margin: 5%}, {kind: refusal, score: is-refusal, margin: 5%}"
)

var errorSpike = candidate{name: "errors", sim: "script: [{regression: error_spike, rate: 0.5}]", why: "error_rate is worse"}

// rollouts is a telltale serve with a route for each candidate, users who ask all of them, and a model for each variant.
type rollouts struct {
	*mortal
	of   []candidate
	sims map[string]string // address of a model, by route; that of the baseline's is baseline
	// mayDie says that the server is killed: users ask again when nobody answers them.
	mayDie bool

	stop  context.CancelFunc
	users sync.WaitGroup
	asked map[string]*tally // by route
}

// tally counts what users of a route got.
type tally struct {
	answered, failed atomic.Int64
	// strange are outcomes that no model's error explains.
	mu      sync.Mutex
	strange []string
}

func (c *tally) odd(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.strange) < 5 {
		c.strange = append(c.strange, fmt.Sprintf(format, args...))
	}
}

func newRollouts(t *testing.T, of ...candidate) *rollouts {
	t.Helper()
	r := &rollouts{mortal: newMortal(t, "http://127.0.0.1:9"), of: of, sims: map[string]string{}, asked: map[string]*tally{}}
	r.sims["baseline"] = r.model(t, "baseline", "")
	server := fmt.Sprintf("listen: {gateway: %q, api: %q, otlp_grpc: \"off\"}\nroutes:\n", r.gateway, r.api)
	for _, c := range of {
		r.sims[c.name], r.asked[c.name] = r.model(t, c.name, c.sim), new(tally)
		server += fmt.Sprintf("  - {name: %s, path: /%s, pass_key: true, retries: 0, upstreams: [{url: %q}], variants: [{name: next, upstreams: [{url: %q}]}]}\n",
			c.name, c.name, r.sims["baseline"], r.sims[c.name])
		stages := c.stages
		if stages == "" {
			stages = "[{weight: 5%, min_duration: 2s, max_duration: 4m, min_samples: 40}, 100%]"
		}
		signals := c.signals
		if signals == "" {
			signals = "{kind: error_rate, margin: 5%}"
		}
		r.write(t, c.name+".yaml", fmt.Sprintf("name: %s\nroute: %s\ncandidate: next\nbake: 3s\nstages: %s\nsignals: [%s]\n", c.name, c.name, stages, signals))
	}
	server += "scorers:\n  - {name: toxicity, assert: {type: toxicity}}\n  - {name: is-refusal, assert: {type: is-refusal}}\n  - {name: format, assert: {type: is-json}}\n"
	r.write(t, "server.yaml", server)
	r.start(t)
	r.ready(t)
	return r
}

func (r *rollouts) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// model starts a telltale sim and returns its address.
func (r *rollouts) model(t *testing.T, name, behaves string) string {
	t.Helper()
	r.write(t, name+".sim.yaml", simLatency+behaves+"\n")
	cmd := exec.Command("telltale", "sim", "--config", name+".sim.yaml", "--port-file", name+".port")
	cmd.Dir = r.dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if port, err := os.ReadFile(filepath.Join(r.dir, name+".port")); err == nil && len(port) > 0 {
			return "http://127.0.0.1:" + strings.TrimSpace(string(port))
		}
	}
	t.Fatal("the model of " + name + " does not listen")
	return ""
}

// cli runs telltale against the server.
func (r *rollouts) cli(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "telltale", args...)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), "TELLTALE_SERVER=http://"+r.api)
	out, err := cmd.CombinedOutput()
	if got := exitOf(t, err); got != code {
		t.Fatalf("telltale %s: exit %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

// begin starts all rollouts and, for each route, so many users who ask one question after another at a pause.
func (r *rollouts) begin(t *testing.T, users int, pause time.Duration) {
	t.Helper()
	for _, c := range r.of {
		r.cli(t, 0, "rollout", "start", c.name+".yaml", "--by", "anna", "--why", "a test")
	}
	r.use(t, users, pause)
}

func (r *rollouts) use(t *testing.T, users int, pause time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	t.Cleanup(r.rest)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	var number atomic.Int64
	number.Store(time.Now().UnixNano() % 1e9)
	for i := range r.of {
		c := &r.of[i]
		for range users {
			r.users.Go(func() {
				for ctx.Err() == nil {
					r.ask(client, c, number.Add(1))
					select {
					case <-ctx.Done():
					case <-time.After(pause/2 + rand.N(pause)):
					}
				}
			})
		}
	}
}

// rest sends the users home.
func (r *rollouts) rest() {
	r.stop()
	r.users.Wait()
}

// ask asks one question. A 500 is the model's; everything else that is no answer is not to be.
func (r *rollouts) ask(client *http.Client, c *candidate, number int64) {
	text := c.asks
	if text == "" {
		text = plainAsk
	}
	body, _ := json.Marshal(map[string]any{"model": "sim", "messages": []map[string]string{{"role": "user", "content": fmt.Sprintf(text, number)}}})
	n := r.asked[c.name]
	resp, err := client.Post("http://"+r.gateway+"/"+c.name+"/v1/chat/completions", "application/json", bytes.NewReader(body))
	if err == nil {
		var got []byte
		got, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err != nil:
		case resp.StatusCode == http.StatusOK && json.Valid(got):
			n.answered.Add(1)
		case resp.StatusCode == http.StatusInternalServerError:
			n.failed.Add(1)
		default:
			n.odd("status %d: %s", resp.StatusCode, got)
		}
	}
	if err != nil && !r.mayDie {
		n.odd("%v", err)
	}
}

func (r *rollouts) get(path string, into any) error {
	resp, err := http.Get("http://" + r.api + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// ends waits until a rollout has ended, or the time is up.
func (r *rollouts) ends(name string, patience time.Duration) (got api.Rollout, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
		if err = r.get("/v1/rollouts/"+name, &got); err == nil && rollout.Phase(got.Phase).Final() {
			return got, nil
		}
	}
	return got, errors.Join(err, fmt.Errorf("%s is %s after %v: %s", name, got.Phase, patience, shown(&got)))
}

func shown(got *api.Rollout) string {
	out := fmt.Sprintf("stage %d, taken %d, refused %v", got.Stage, got.Taken, got.Refused)
	if got.Decision != nil {
		out += ", " + got.Decision.Reason
	}
	for _, s := range got.Signals {
		b, _ := json.Marshal(s)
		out += "\n" + string(b)
	}
	return out
}

// served is how many requests a model has had, and how many of them it answered with an error.
func (r *rollouts) served(name string) (requests, errors int64, err error) {
	resp, err := http.Get(r.sims[name] + "/sim/stats")
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	var s sim.Stats
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return 0, 0, err
	}
	return s.Requests, s.Errors[http.StatusInternalServerError], nil
}

// withdrawn checks a rollback: at 5%, for the right reason, and within a second of the status that tells of it the model is not
// asked again.
func (r *rollouts) withdrawn(c *candidate, patience time.Duration) error {
	got, err := r.ends(c.name, patience)
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	before, _, err1 := r.served(c.name)
	answered := r.asked[c.name].answered.Load()
	time.Sleep(2 * time.Second)
	after, _, err2 := r.served(c.name)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	switch {
	case got.Phase != string(rollout.RolledBack) || got.Stage != 0 || got.Decision == nil || !strings.Contains(got.Decision.Reason, c.why):
		return fmt.Errorf("%s is %s: %s", c.name, got.Phase, shown(&got))
	case got.Weight != 0:
		return fmt.Errorf("%s is withdrawn and has a weight of %g", c.name, got.Weight)
	case after != before:
		return fmt.Errorf("%s: %d requests reached the candidate more than a second after its rollback", c.name, after-before)
	case r.asked[c.name].answered.Load() == answered:
		return fmt.Errorf("%s: nobody was answered after the rollback", c.name)
	}
	return nil
}

// unharmed checks that no user got an error but those that the candidate's own model made.
func (r *rollouts) unharmed(t *testing.T) {
	t.Helper()
	for name, n := range r.asked {
		_, wrong, err := r.served(name)
		if err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		strange := n.strange
		n.mu.Unlock()
		if len(strange) > 0 || n.failed.Load() > wrong || n.answered.Load() == 0 {
			t.Errorf("%s: %d answered, %d failed, of which the candidate's model explains %d; and %q", name, n.answered.Load(), n.failed.Load(), wrong, strange)
		}
	}
}

// histories checks that of each rollout: from the start by a person to the end by telltale.
func (r *rollouts) histories(t *testing.T, name string, want ...rollout.Phase) {
	t.Helper()
	var got struct{ Transitions []rollout.Transition }
	if err := r.get("/v1/rollouts/"+name+"/history", &got); err != nil {
		t.Fatal(err)
	}
	var phases []rollout.Phase
	for i, h := range got.Transitions {
		if h.Sequence != int64(i+1) || h.Why == "" || h.By == "" || h.At.IsZero() || len(h.Signals) == 0 {
			t.Errorf("%s: transition %d: %+v", name, i, h)
		}
		if h.From != h.To {
			phases = append(phases, h.To)
		} else if h.Basis != "" {
			phases = append(phases, h.To)
		}
	}
	if fmt.Sprint(phases) != fmt.Sprint(want) || got.Transitions[0].By != "anna" {
		t.Errorf("%s went through %v, want %v", name, phases, want)
	}
}

// TestRolloutRollback withdraws a candidate whose model fails, with processes and sockets as in production.
func TestRolloutRollback(t *testing.T) {
	t.Parallel()
	r := newRollouts(t, errorSpike)
	r.begin(t, 4, 10*time.Millisecond)
	if err := r.withdrawn(&r.of[0], 2*time.Minute); err != nil {
		t.Error(err)
	}
	r.rest()
	r.unharmed(t)
	r.histories(t, "errors", rollout.Pending, rollout.Running, rollout.RolledBack)
}

// TestRolloutsLong brings a good candidate to everybody and withdraws five bad ones, all at once on one server.
func TestRolloutsLong(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("takes a minute or more: set TELLTALE_LONG=1, or run make test-long")
	}
	good := candidate{name: "good", signals: watchAll, stages: "[{weight: 5%, min_duration: 5s, max_duration: 40s, min_samples: 60}, {weight: 50%, min_duration: 5s, max_duration: 20s, min_samples: 60}, 100%]"}
	spike := errorSpike
	spike.signals = watchAll
	r := newRollouts(t, good, spike,
		// One answer in twelve is slow: the 90th percentile is what it was, the 99th is not.
		candidate{name: "slow", sim: "script: [{regression: latency_ramp, add: 3s, rate: 0.08}]", signals: watchAll, why: "latency_p99 is worse"},
		candidate{name: "toxic", sim: "script: [{regression: toxic, rate: 0.5}]", signals: watchAll, why: "toxicity is worse"},
		candidate{name: "json", sim: "script: [{regression: broken_json, rate: 0.4}]", asks: jsonAsk, signals: "{kind: error_rate, margin: 5%}, {kind: format, margin: 5%}", why: "format is worse"},
		candidate{name: "refusals", sim: "script: [{regression: refusals, rate: 0.4}]", signals: watchAll, why: "refusal is worse"},
	)
	began := time.Now()
	r.begin(t, 3, 20*time.Millisecond)
	results := make(chan error, len(r.of))
	for i := range r.of[1:] {
		c := &r.of[1+i]
		go func() {
			err := r.withdrawn(c, 4*time.Minute)
			t.Logf("%s: %v after %.1f s", c.name, err, time.Since(began).Seconds())
			results <- err
		}()
	}
	go func() {
		got, err := r.ends("good", 4*time.Minute)
		t.Logf("good: %v after %.1f s", err, time.Since(began).Seconds())
		if err == nil && (got.Phase != string(rollout.Done) || got.Weight != 1) {
			err = fmt.Errorf("good is %s: %s", got.Phase, shown(&got))
		}
		results <- err
	}()
	for range r.of {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	r.rest()
	r.unharmed(t)
	r.histories(t, "good", rollout.Pending, rollout.Running, rollout.Running, rollout.Baking, rollout.Done)
	for _, c := range r.of[1:] {
		r.histories(t, c.name, rollout.Pending, rollout.Running, rollout.RolledBack)
	}
}

// TestRolloutKilledLong kills the server ten times while two rollouts are in their first stage: the good candidate is promoted in
// the end and the one that turns bad is withdrawn, as without the kills, and each exchange that the bus had acknowledged counts once.
func TestRolloutKilledLong(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("takes a minute or more: set TELLTALE_LONG=1, or run make test-long")
	}
	const kills = 10
	r := newRollouts(t,
		candidate{name: "good", stages: "[{weight: 20%, min_duration: 100s, max_duration: 110s, min_samples: 60}, {weight: 50%, min_duration: 3s, max_duration: 20s, min_samples: 60}, 100%]"},
		candidate{name: "turns", sim: "script: [{regression: error_spike, rate: 0.5, from_request: 150}]", why: "error_rate is worse", stages: "[{weight: 5%, min_duration: 3m, max_duration: 4m, min_samples: 40}, 100%]"})
	r.mayDie = true
	r.begin(t, 6, 20*time.Millisecond)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range kills {
		time.Sleep(200*time.Millisecond + time.Duration(random.Int64N(int64(4*time.Second))))
		var got api.Rollout
		if err := r.get("/v1/rollouts/good", &got); err != nil {
			t.Logf("kill %d: %v", i, err)
		} else if t.Logf("kill %d: stage %d, taken %d", i, got.Stage, got.Taken); got.Stage != 0 {
			t.Fatalf("the stage was over after %d kills: %s", i, shown(&got))
		}
		r.restart(t)
	}
	r.rest()
	r.countedOnce(t, "good")
	r.use(t, 6, 20*time.Millisecond)
	if err := r.withdrawn(&r.of[1], 4*time.Minute); err != nil {
		t.Error(err)
	}
	if got, err := r.ends("good", 4*time.Minute); err != nil || got.Phase != string(rollout.Done) || got.Weight != 1 {
		t.Errorf("good is %s: %s %v", got.Phase, shown(&got), err)
	}
	r.rest()
	r.unharmed(t)
	r.histories(t, "good", rollout.Pending, rollout.Running, rollout.Running, rollout.Baking, rollout.Done)
	r.histories(t, "turns", rollout.Pending, rollout.Running, rollout.RolledBack)
	// A rollout that has ended stays so.
	before, _, _ := r.served("turns")
	r.restart(t)
	r.use(t, 6, 20*time.Millisecond)
	time.Sleep(time.Second)
	r.rest()
	if after, _, err := r.served("turns"); err != nil || after != before {
		t.Errorf("%d requests reached a candidate after a restart that had been withdrawn (%v)", after-before, err)
	}
}

// countedOnce waits until nothing is on its way any more, also what comes again after a kill, and holds the exchanges that a
// rollout assigned against the evidence that it took.
func (r *rollouts) countedOnce(t *testing.T, name string) {
	t.Helper()
	const calm = 5 * time.Second
	var got api.Rollout
	var before, since = "", time.Now()
	assigned := 0
	r.until(t, "an end of what is on its way", func() bool {
		time.Sleep(500 * time.Millisecond)
		st, err := r.status()
		if err != nil || !st.Bus.OK || !st.Store.OK {
			return false
		}
		if err := r.get("/v1/rollouts/"+name, &got); err != nil {
			t.Fatal(err)
		}
		assigned = r.assigned(t, name)
		if now := fmt.Sprint(got.Taken, assigned, st.Bus.Numbers["pending_frames"], st.Bus.Numbers["waiting"]); now != before {
			before, since = now, time.Now()
		}
		return time.Since(since) > calm && st.Bus.Numbers["pending_frames"] == 0 && st.Bus.Numbers["waiting"] == 0
	})
	if got.Taken != int64(assigned) || len(got.Refused) > 0 || assigned == 0 {
		t.Errorf("%d exchanges were assigned and stored: %s", assigned, shown(&got))
	}
	t.Logf("%d exchanges were assigned and stored, %d pieces of evidence taken", assigned, got.Taken)
}

// assigned counts the stored exchanges that a rollout assigned.
func (r *rollouts) assigned(t *testing.T, name string) (n int) {
	t.Helper()
	resp, err := http.Get("http://" + r.api + "/v1/exchanges/export?route=" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seen := map[string]bool{}
	for d := json.NewDecoder(resp.Body); ; {
		var x record.Exchange
		if err := d.Decode(&x); errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
		if seen[x.ID] {
			t.Errorf("exchange %s is stored twice", x.ID)
		}
		if seen[x.ID] = true; x.Assigned != nil && x.Assigned.Rollout == name {
			n++
		}
	}
}
