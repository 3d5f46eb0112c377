package sim

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// window asks n seeded questions at a time and returns the answers.
func window(m *Model, model, text string, at time.Duration, n int) []Answer {
	out := make([]Answer, n)
	for i := range n {
		out[i] = m.Answer(Query{Model: model, Messages: user(text), Seed: ptr(int64(i)), Elapsed: at, Number: 1})
	}
	return out
}

func share(as []Answer, hit func(*Answer) bool) float64 {
	n := 0
	for i := range as {
		if hit(&as[i]) {
			n++
		}
	}
	return float64(n) / float64(len(as))
}

// TestRegressions sees every kind inside its window from one to two minutes, at its rate, and
// nothing of it outside.
func TestRegressions(t *testing.T) {
	const n = 4000
	f := func(step, question string, want float64, hit func(*Answer) bool) {
		t.Helper()
		m := newModel(t, load(t, "latency: 100ms\nscript: [{from: 1m, to: 2m, regression: "+step+"}]"))
		for _, at := range []time.Duration{0, time.Minute - 1, 2 * time.Minute, time.Hour} {
			if s := share(window(m, "", question, at, 500), hit); s != 0 {
				t.Errorf("%s: %g at %v, want none", step, s, at)
			}
		}
		near(t, step, share(window(m, "", question, 90*time.Second, n), hit), want, n)
	}
	plain := "How do I get a refund?"
	f("toxic, rate: 0.2", plain, 0.2, func(a *Answer) bool {
		for _, s := range insults {
			if strings.Contains(a.Text, s) {
				return true
			}
		}
		return false
	})
	f("refusals, rate: 0.4", plain, 0.4, func(a *Answer) bool { return a.Refused && len(a.Text) < 50 })
	f("broken_json, rate: 0.3", plain+" Answer in JSON.", 0.3, func(a *Answer) bool { return !json.Valid([]byte(a.Text)) })
	f("error_spike, rate: 0.25, status: 503", plain, 0.25, func(a *Answer) bool { return a.Fault != nil && a.Fault.Status == 503 })
	f("error_spike, rate: 0.25", plain, 0.25, func(a *Answer) bool { return a.Fault != nil && a.Fault.Status == 500 })
	f("error_spike, rate: 0.25, kind: hang", plain, 0.25, func(a *Answer) bool { return a.Fault != nil && a.Fault.Kind == Hang })
	f("longer, rate: 0.5, factor: 3", plain, 0.5, func(a *Answer) bool { return a.Tokens > 60 })
	f("latency_ramp, factor: 5", plain, 1, func(a *Answer) bool { return a.TTFT > 250*time.Millisecond })
	f("latency_ramp, add: 1s, rate: 0.04", plain, 0.04, func(a *Answer) bool { return a.TTFT > 400*time.Millisecond })
	f("token_shift, rate: 0.3", plain, 1, func(a *Answer) bool { return a.shift == 0.3 })
}

func TestBrokenJSONLeavesPlainText(t *testing.T) {
	broken := newModel(t, load(t, "script: [{regression: broken_json}]"))
	if a := ask(broken, "", "refund"); a.Text != ask(newModel(t, Config{}), "", "refund").Text {
		t.Errorf("plain text has changed: %q", a.Text)
	}
	for way := range 3 {
		for _, s := range []string{`{"a":1}`, `[]`, `{}`, `[1,2]`} {
			if got := breakJSON(s, way); json.Valid([]byte(got)) {
				t.Errorf("breakJSON(%s, %d) = %s, which is valid", s, way, got)
			}
		}
	}
}

func TestLonger(t *testing.T) {
	base, long := newModel(t, Config{}), newModel(t, load(t, "script: [{regression: longer, factor: 2.5}]"))
	a, b := 0, 0
	for i := range 200 {
		q := Query{Messages: user("refund"), Seed: ptr(int64(i))}
		a += base.Answer(q).Tokens
		b += long.Answer(q).Tokens
	}
	if r := float64(b) / float64(a); math.Abs(r-2.5) > 0.4 {
		t.Errorf("answers are %g times as long, want about 2.5", r)
	}
}

// TestTokenShift counts words that have changed and sees the log-probabilities fall.
func TestTokenShift(t *testing.T) {
	base, shifted := newModel(t, Config{}), newModel(t, load(t, "script: [{regression: token_shift, rate: 0.4}]"))
	changed, words := 0, 0
	before, after := 0.0, 0.0
	for i := range 500 {
		q := Query{Messages: user("refund"), Seed: ptr(int64(i))}
		a, b := base.Answer(q), shifted.Answer(q)
		words += len(strings.Fields(a.Text))
		count := map[string]int{}
		for _, w := range strings.Fields(b.Text) {
			count[w]++
		}
		for _, w := range strings.Fields(a.Text) {
			if count[w]--; count[w] < 0 {
				changed++
			}
		}
		for _, digits := range []string{"30", "5"} {
			if !strings.Contains(b.Text, digits) {
				t.Fatalf("a number is lost: %q", b.Text)
			}
		}
		before += mean(a)
		after += mean(b)
	}
	if s := float64(changed) / float64(words); s < 0.1 || s > 0.4 {
		t.Errorf("%g of the words are gone, want 0.1 to 0.4", s)
	}
	if after > before-50 {
		t.Errorf("log-probabilities went from %g to %g, want a clear fall", before/500, after/500)
	}
}

func mean(a Answer) float64 {
	sum := 0.0
	list := a.logprobs(0)
	for _, t := range list {
		sum += t.Logprob
	}
	return sum / float64(len(list))
}

func TestRamp(t *testing.T) {
	f := func(step string, at time.Duration, number int64, want time.Duration) {
		t.Helper()
		m := newModel(t, load(t, "latency: {ttft: 100ms, per_token: 10ms}\nscript: [{regression: latency_ramp, "+step+"}]"))
		a := m.Answer(Query{Messages: user("hi"), Elapsed: at, Number: number})
		if d := a.TTFT - want; d < -time.Microsecond || d > time.Microsecond {
			t.Errorf("%s at %v, %d: %v, want %v", step, at, number, a.TTFT, want)
		}
	}
	f("factor: 3", 0, 1, 300*time.Millisecond)
	f("factor: 3, from: 10s, over: 10s", 15*time.Second, 1, 200*time.Millisecond)
	f("factor: 3, from: 10s, over: 10s", time.Minute, 1, 300*time.Millisecond)
	f("factor: 3, from: 10s, to: 30s", 20*time.Second, 1, 200*time.Millisecond)
	f("factor: 3, from: 10s, to: 30s", 30*time.Second, 1, 100*time.Millisecond)
	f("factor: 3, from_request: 100, to_request: 200", 0, 149, 200*time.Millisecond)
	f("factor: 3, from_request: 100, to_request: 200", 0, 200, 100*time.Millisecond)
	f("add: 50ms", 0, 1, 150*time.Millisecond)
}

// TestVersions: a version differs from the base only where its configuration does.
func TestVersions(t *testing.T) {
	m := newModel(t, load(t, `
model: bot
answers: [{contains: Ping, answer: pong}]
versions:
  v1:
  v2: {script: [{regression: toxic, rate: 0.3}]}
  v3: {seed: 9}
`))
	changed := 0
	for i := range 500 {
		q := Query{Messages: user("refund"), Seed: ptr(int64(i))}
		base := m.Answer(q)
		q.Model = "bot-v1"
		if a := m.Answer(q); a.Text != base.Text || a.Fingerprint == base.Fingerprint {
			t.Fatalf("v1 differs, or has the base's fingerprint: %q", a.Text)
		}
		q.Model = "anything@v2"
		if m.Answer(q).Text != base.Text {
			changed++
		}
	}
	near(t, "v2", float64(changed)/500, 0.3, 500)
	f := func(model string, ok bool) {
		t.Helper()
		a := ask(m, model, "ping")
		if (a.Fault == nil) != ok {
			t.Errorf("%s: fault %v", model, a.Fault)
		}
		if ok && !strings.Contains(a.Text, "pong") {
			t.Errorf("%s: %q", model, a.Text)
		}
	}
	f("", true)
	f("bot", true)
	f("bot-v2", true)
	f("bot@v3", true)
	f("gpt-4.1-mini", true)
	f("bottle", true)
	f("bot-v4", false)
	f("bot@v4", false)
	f("gpt@v4", false)
	m = newModel(t, load(t, "{model: bot, strict_models: true, mode: answers, default: pong, versions: {v1: }}"))
	f("bot-v1", true)
	f("gpt-4.1-mini", false)
	f("gpt@v1", false)
}

// TestRequestWindow places a regression by request number, and time by requests.
func TestRequestWindow(t *testing.T) {
	for _, text := range []string{
		"script: [{from_request: 11, to_request: 21, regression: error_spike}]",
		"clock_per_request: 1s\nscript: [{from: 11s, to: 21s, regression: error_spike}]",
	} {
		m := newModel(t, load(t, text))
		var failed []string
		for i := 1; i <= 30; i++ {
			q := Query{Messages: user("hi")}
			if a := m.next(&q, unknownAttempt); a.Fault != nil {
				failed = append(failed, fmt.Sprint(i))
			}
		}
		if got := strings.Join(failed, " "); got != "11 12 13 14 15 16 17 18 19 20" {
			t.Errorf("%s: failed %s", text, got)
		}
	}
}
