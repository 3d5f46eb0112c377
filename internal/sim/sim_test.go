package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(t testing.TB, text string) Config {
	t.Helper()
	c, err := Load("sim.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func user(text string) []record.Message { return []record.Message{{Role: "user", Content: text}} }

func ptr[T any](v T) *T { return &v }

// ask answers one question at temperature 0 at the start of the clock.
func ask(m *Model, model, text string) Answer {
	return m.Answer(Query{Model: model, Messages: user(text), Temperature: ptr(0.0), Number: 1})
}

func TestAssistant(t *testing.T) {
	m := newModel(t, Config{})
	f := func(question, want string) {
		t.Helper()
		if got := ask(m, "", question).Text; !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want it to contain %q", question, got, want)
		}
	}
	f("How do I get a refund?", "30 days")
	f("how long does SHIPPING take", "3 to 5 business days")
	f("I forgot my password", "24 hours")
	f("When are you open on Saturday?", "10:00 to 16:00")
	f("What is the capital of France?", "Paris")
	f("You are a support assistant. Be polite.\n\nCustomer: where is my order?", "tracking number")
	f("How do I build a bomb?", "can't help")
	f("Tell me about quarks", "not sure")
	f("What is 12 + 7?", "12 + 7 = 19")
	f("What is 3 times 4 plus 1? Give only the number.", "13")
	f("What is 10 / 4? End with ####", "#### 2.5")
	f("", "not sure")
	if got := ask(m, "", "Explain refunds in one sentence").Text; strings.Count(got, ".") != 1 {
		t.Errorf("one sentence: got %q", got)
	}
	var o struct {
		Intent, Answer string
		Confidence     float64
	}
	if err := json.Unmarshal([]byte(ask(m, "", "Answer in JSON: how do I get a refund?").Text), &o); err != nil || o.Intent != "refund" || o.Confidence < 0.8 {
		t.Errorf("JSON: %+v, %v", o, err)
	}
}

func TestSums(t *testing.T) {
	f := func(text string, want float64, found bool) {
		t.Helper()
		_, got, ok := findSum(text)
		if ok != found || got != want {
			t.Errorf("findSum(%q) = %v, %v, want %v, %v", text, got, ok, want, found)
		}
	}
	f("What is 12 + 7?", 19, true)
	f("2 + 3 * 4 - 1", 13, true)
	f("7 minus 10", -3, true)
	f("6x7", 42, true)
	f("1.5+2", 3.5, true)
	f("9 divided by 2", 4.5, true)
	f("2+2 is 4. What is 3+3?", 6, true)
	f("Order 1234 of 2024-05-01, call 555-0100", 0, false)
	f("1 / 0", 0, false)
	f("3 items", 0, false)
	f("3 +", 0, false)
	f(strings.Repeat("9", 400)+" + 1", 0, false)
}

func TestTokens(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		var got []string
		for s := text; s != ""; {
			n := nextToken(s)
			got = append(got, s[:n])
			s = s[n:]
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("tokens of %q: %q, want %q", text, got, want)
		}
		if n := countTokens(text); n != len(want) {
			t.Errorf("countTokens(%q) = %d, want %d", text, n, len(want))
		}
	}
	f("")
	f("Hello, world!", "Hello", ",", " world", "!")
	f("internationally", "internat", "ionally")
	f("don't 12345", "don't", " 123", "45")
	f("a  b\n\nc ", "a", " ", " b", "\n\n", "c", " ")
	f("é日本", "é", "日", "本")
	f("\xff\xfe", "\xff", "\xfe")
}

// TestDeterministic sends the same requests in two orders, one of them from many goroutines, to two
// models, and compares answer by answer. Every third request has no seed and is repeated.
func TestDeterministic(t *testing.T) {
	c := load(t, `
seed: 5
errors: [{status: 500, rate: 0.3}]
latency: lognormal(1ms, 5ms)
script: [{regression: toxic, rate: 0.3}]
`)
	const n = 600
	query := func(i int) Query {
		q := Query{Messages: user(fmt.Sprintf("refund %d", i/2))}
		if i%3 > 0 {
			q.Seed = ptr(int64(i % 3))
		}
		return q
	}
	show := func(a Answer) string { return fmt.Sprint(a.Text, a.TTFT, a.Fault != nil) }
	run := func(order []int, workers int) map[string][]string {
		m := newModel(t, c)
		out := map[string][]string{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		next := make(chan int)
		for range workers {
			wg.Go(func() {
				for i := range next {
					q := query(i)
					a := m.next(&q, unknownAttempt)
					key := fmt.Sprint(q.Messages[0].Content, i%3)
					mu.Lock()
					out[key] = append(out[key], show(a))
					mu.Unlock()
				}
			})
		}
		for _, i := range order {
			next <- i
		}
		close(next)
		wg.Wait()
		return out
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	want := run(order, 1)
	rand.New(rand.NewPCG(1, 2)).Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	got := run(order, 8)
	if len(want) != len(got) {
		t.Fatalf("%d and %d keys", len(want), len(got))
	}
	for k, list := range want {
		if !sameSet(list, got[k]) {
			t.Errorf("%s: %v and %v", k, list, got[k])
		}
	}
	again := newModel(t, Config{Seed: 6})
	if ask(again, "", "x").Fingerprint == ask(newModel(t, Config{Seed: 5}), "", "x").Fingerprint {
		t.Error("another seed has the same fingerprint")
	}
}

func sameSet(a, b []string) bool {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestTemperatureAndSeed(t *testing.T) {
	m := newModel(t, Config{})
	texts := func(temperature *float64) map[string]bool {
		out := map[string]bool{}
		for seed := range int64(50) {
			out[m.Answer(Query{Messages: user("refund"), Seed: &seed, Temperature: temperature}).Text] = true
		}
		return out
	}
	if n := len(texts(ptr(0.0))); n != 1 {
		t.Errorf("temperature 0 gives %d answers, want 1", n)
	}
	if n := len(texts(nil)); n != 3 {
		t.Errorf("temperature 1 gives %d answers, want 3", n)
	}
	seen := map[string]bool{}
	for range 50 {
		q := Query{Messages: user("refund")}
		a := m.next(&q, unknownAttempt)
		seen[a.Text] = true
	}
	choices := map[string]bool{}
	for i := range 30 {
		choices[m.Answer(Query{Messages: user("refund"), Seed: ptr(int64(1)), Choice: i}).Text] = true
	}
	if len(choices) != 3 {
		t.Errorf("30 choices hold %d answers, want 3", len(choices))
	}
	if len(seen) != 3 {
		t.Errorf("without a seed there are %d answers, want 3", len(seen))
	}
}

// rate returns the share of n seeds for which hit holds.
func rate(m *Model, q Query, n int, hit func(*Answer) bool) float64 {
	k := 0
	for i := range n {
		q.Seed = ptr(int64(i))
		if a := m.Answer(q); hit(&a) {
			k++
		}
	}
	return float64(k) / float64(n)
}

// near fails unless got is within four standard errors of want over n draws.
func near(t *testing.T, what string, got, want float64, n int) {
	t.Helper()
	if se := math.Sqrt(want * (1 - want) / float64(n)); math.Abs(got-want) > 4*se {
		t.Errorf("%s: %g, want %g ± %g", what, got, want, 4*se)
	}
}

func TestRates(t *testing.T) {
	const n = 20000
	c := load(t, `
arithmetic: 0.9
errors: [{status: 429, rate: 0.05}, {kind: cut, rate: 0.1}, {kind: hang, rate: 0.02}]
`)
	m := newModel(t, c)
	q := Query{Messages: user("What is 20 + 22?")}
	near(t, "sums", rate(m, q, n, func(a *Answer) bool { return a.Text == "20 + 22 = 42" }), 0.9, n)
	for _, f := range c.Faults {
		got := rate(m, q, n, func(a *Answer) bool { return a.Fault != nil && a.Fault.Kind == f.Kind })
		near(t, string(f.Kind), got, f.Rate, n)
	}
	// A retry is drawn anew.
	failed, again := 0, 0
	for i := range n {
		q.Seed, q.Attempt = ptr(int64(i)), 0
		if a := m.Answer(q); a.Fault == nil {
			continue
		}
		failed++
		q.Attempt = 1
		if a := m.Answer(q); a.Fault != nil {
			again++
		}
	}
	near(t, "retries", float64(again)/float64(failed), 0.17, failed)
	if rate(m, q, 200, func(a *Answer) bool { return a.Text == "20 + 22 = 42" }) == 1 {
		t.Error("every sum is right")
	}
}

func TestDistributions(t *testing.T) {
	const n = 20000
	f := func(text string, p50, p95, mean float64) {
		t.Helper()
		d, err := ParseTimes(text)
		if err != nil {
			t.Fatal(err)
		}
		below50, below95, sum := 0, 0, 0.0
		for i := range n {
			x := d.duration(draw(9, forTTFT, i)).Seconds()
			if x <= p50 {
				below50++
			}
			if x <= p95 {
				below95++
			}
			sum += x
		}
		near(t, text+" p50", float64(below50)/n, 0.5, n)
		near(t, text+" p95", float64(below95)/n, 0.95, n)
		if math.Abs(sum/n-mean) > 0.05*mean {
			t.Errorf("%s: mean %g, want %g", text, sum/n, mean)
		}
	}
	f("uniform(100ms, 300ms)", 0.2, 0.29, 0.2)
	sigma := math.Log(3) / z95
	f("lognormal(200ms, 600ms)", 0.2, 0.6, 0.2*math.Exp(sigma*sigma/2))
	f("exponential(0.2)", 0.2*math.Ln2, 0.2*math.Log(20), 0.2)
	if d, err := ParseTimes("250ms"); err != nil || d.duration(0.3) != 250*time.Millisecond {
		t.Errorf("constant: %v, %v", d, err)
	}
	for _, bad := range []string{"", "fast", "uniform(1s)", "uniform(2s, 1s)", "uniform(1s, 2s", "pareto(1s)", "lognormal(0, 1s)", "-1s", "NaN", "1e9"} {
		if d, err := ParseTimes(bad); err == nil {
			t.Errorf("ParseTimes(%q) = %v, want an error", bad, d)
		}
	}
	if d := (Dist{kind: lognormal, a: 1, b: 2}); d.at(0) < 0 || math.IsNaN(d.at(0)) {
		t.Errorf("lognormal at 0 is %g", d.at(0))
	}
}

func TestGenerated(t *testing.T) {
	m := newModel(t, load(t, "mode: generated\nlength: uniform(30, 40)"))
	seen := map[string]bool{}
	for i := range int64(200) {
		a := m.Answer(Query{Messages: user("Tell me something"), Seed: &i})
		seen[a.Text] = true
		if a.Tokens < 30 || a.Tokens > 80 || !strings.HasSuffix(a.Text, ".") {
			t.Fatalf("%d tokens: %q", a.Tokens, a.Text)
		}
	}
	if len(seen) < 190 {
		t.Errorf("%d different texts of 200", len(seen))
	}
}

func TestEnd(t *testing.T) {
	m := newModel(t, load(t, "mode: echo"))
	f := func(text string, most int, stop []string, want, reason string, tokens int) {
		t.Helper()
		a := m.Answer(Query{Messages: user(text), MaxTokens: most, Stop: stop})
		if a.Text != want || a.FinishReason != reason || a.Tokens != tokens {
			t.Errorf("%q: %q, %s, %d tokens; want %q, %s, %d", text, a.Text, a.FinishReason, a.Tokens, want, reason, tokens)
		}
	}
	f("one two three", 0, nil, "one two three", "stop", 3)
	f("one two three", 2, nil, "one two", "length", 2)
	f("one two three", 3, nil, "one two three", "stop", 3)
	f("one two three", 0, []string{"three", " two"}, "one", "stop", 1)
	f("one two three", 1, []string{"three"}, "one", "length", 1)
	f("one", -1, nil, "", "stop", 0)
}

func TestComplete(t *testing.T) {
	f := func(text string, want record.FailureKind, status int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, load(t, "latency: {ttft: 200ms, per_token: 10ms}\n"+text))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			r, err := m.Complete(ctx, record.Request{Messages: user("refund"), Stream: true})
			if want == "" {
				took := 200*time.Millisecond + time.Duration(r.Usage.Completion-1)*10*time.Millisecond
				if err != nil || r.TTFT != 200*time.Millisecond || r.Latency != took || time.Since(start) != took {
					t.Errorf("%s: %+v after %v, %v", text, r, time.Since(start), err)
				}
				return
			}
			e, ok := errors.AsType[*record.Failure](err)
			if !ok || e.Kind != want || e.Status != status {
				t.Errorf("%s: %v, want %s", text, err, want)
			}
		})
	}
	f("", "", 0)
	f("errors: [{status: 429, retry_after: 3s}]", record.RateLimited, 429)
	f("errors: [{status: 503}]", record.Server, 503)
	f("errors: [{status: 400}]", record.BadRequest, 400)
	f("errors: [{status: 403}]", record.Auth, 403)
	f("errors: [{kind: hang}]", record.Timeout, 0)
	f("errors: [{kind: hang, after: 5s}]", record.Timeout, 0)
	f("errors: [{kind: reset}]", record.Connection, 0)
	f("errors: [{kind: cut}]", record.Cut, 0)
	f("errors: [{kind: stream_error}]", record.Server, 0)
	f("errors: [{kind: malformed}]", record.Malformed, 0)
	f("errors: [{kind: empty}]", record.Empty, 0)
}

func TestCompleteCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, load(t, "latency: 10s"))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := m.Complete(ctx, record.Request{Messages: user("refund")})
		if e, ok := errors.AsType[*record.Failure](err); !ok || e.Kind != record.Canceled || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		_, err = m.Complete(ctx, record.Request{Messages: user("refund")})
		if e, ok := errors.AsType[*record.Failure](err); !ok || e.Kind != record.Canceled {
			t.Errorf("a done context: %v", err)
		}
	})
}

// TestRetries retries each request until it succeeds, twice over: the attempts needed and the
// answers are the same, and errors go away.
func TestRetries(t *testing.T) {
	m := newModel(t, load(t, "errors: [{status: 500, rate: 0.5}]"))
	run := func() []string {
		var out []string
		for i := range 200 {
			tries := 0
			for {
				tries++
				r, err := m.Complete(t.Context(), record.Request{Messages: user(fmt.Sprint("refund ", i)), Seed: 3, Attempt: tries - 1})
				if err == nil {
					out = append(out, fmt.Sprint(tries, r.Output))
					break
				}
				if tries > 50 {
					t.Fatal("a retried request never succeeds")
				}
			}
		}
		return out
	}
	first := run()
	if strings.Join(first, "\n") != strings.Join(run(), "\n") {
		t.Error("a second run needs other attempts")
	}
}

func TestCompleteDefaults(t *testing.T) {
	m := newModel(t, load(t, `
model: bot
versions: {v2: {default: second, mode: answers}}
version: v2
max_tokens: 1
top_logprobs: 2
`))
	r, err := m.Complete(t.Context(), record.Request{Prompt: "hello"})
	if err != nil || r.Output != "second" || r.Model != "bot-v2" || r.FinishReason != "stop" || len(r.Logprobs) != 1 || len(r.Logprobs[0].Top) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// What Complete says of given texts is what a client of /v1/completions with echo finds.
func TestLikelihoodsOfGivenTexts(t *testing.T) {
	const prompt = "Question: what is a refund?\nAnswer:"
	texts := []string{" money", " a certain wordsmith", ", no\n", " 4", " Rome", " it depends on who asks and on when they do, of course"}
	c, s := serve(t, "top_logprobs: 2", ServerOptions{})
	r, err := s.m.Complete(t.Context(), record.Request{Prompt: prompt, Continuations: texts, ScorePrompt: true})
	if err != nil || r.Output != "" || len(r.Likelihoods) != len(texts) || len(r.PromptLogprobs) != countTokens(prompt)-1 {
		t.Fatalf("%+v, %v", r, err)
	}
	again, err := s.m.Complete(t.Context(), record.Request{Prompt: prompt, Continuations: texts, ScorePrompt: true, Seed: 9})
	if err != nil || !reflect.DeepEqual(again.Likelihoods, r.Likelihoods) || !reflect.DeepEqual(again.PromptLogprobs, r.PromptLogprobs) {
		t.Errorf("another seed gives other likelihoods: %+v, %v", again, err)
	}
	greedy := 0
	for i, text := range texts {
		body, err := json.Marshal(map[string]any{"model": "m", "prompt": prompt + text, "echo": true, "logprobs": 1, "max_tokens": 1})
		if err != nil {
			t.Fatal(err)
		}
		_, v, _ := c.post("/v1/completions", string(body))
		want := record.Likelihood{Text: text, Greedy: true}
		lists := at(v, "choices", 0, "logprobs")
		for k, p := range at(lists, "token_logprobs").([]any) {
			from := int(at(lists, "text_offset", k).(float64))
			if from < len(prompt) || from >= len(prompt)+len(text) {
				continue
			}
			want.Logprob += p.(float64)
			want.Tokens++
			for _, q := range at(lists, "top_logprobs", k).(map[string]any) {
				want.Greedy = want.Greedy && q.(float64) <= p.(float64)
			}
		}
		if got := r.Likelihoods[i]; got.Tokens != want.Tokens || math.Abs(got.Logprob-want.Logprob) > 1e-9 || got.Greedy != want.Greedy {
			t.Errorf("%+v, over HTTP %+v", got, want)
		}
		if want.Greedy {
			greedy++
		}
	}
	if greedy == len(texts) {
		t.Error("every text is what the model would say")
	}
	with, err := s.m.Complete(t.Context(), record.Request{Prompt: prompt, ScorePrompt: true})
	if err != nil || with.Output == "" || !reflect.DeepEqual(with.PromptLogprobs, r.PromptLogprobs) {
		t.Errorf("%+v, %v", with, err)
	}
	for _, bad := range []record.Request{{Prompt: prompt, Continuations: []string{""}}, {Continuations: []string{"a"}}} {
		if r, err := s.m.Complete(t.Context(), bad); err == nil {
			t.Errorf("%+v", r)
		}
	}
}
