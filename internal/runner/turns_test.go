package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// says is a check that the answer contains a text.
type says struct {
	name, want string
}

func (c says) Name() string { return c.name }
func (c says) Type() string { return "contains" }
func (c says) Score(_ context.Context, in *scorer.Input) record.Score {
	pass := strings.Contains(in.Response.Output, c.want)
	value := 0.0
	if pass {
		value = 1
	}
	return record.Score{Name: c.name, Type: "contains", Value: &value, Pass: &pass, Reason: "it is " + in.Response.Output, Detail: fmt.Sprint(len(in.Response.Turns))}
}

// talkPlan is one case with two turns before the prompt's own.
func talkPlan(t *testing.T, p Provider, checks ...string) *Plan {
	t.Helper()
	prompt, err := CompilePrompt(config.Prompt{Messages: []config.PromptMessage{
		{Role: "system", Text: "Be brief."}, {Role: "user", Text: "ex"}, {Role: "assistant", Text: "ample"}, {Role: "user", Text: "last {{x}}"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for len(checks) < 3 {
		checks = append(checks, "")
	}
	c := Case{
		Case:   record.Case{ID: "c", Vars: map[string]any{"x": "words"}},
		Turns:  []Turn{{User: "one", Checks: []Check{says{"m", checks[0]}}}, {User: "two", Checks: []Check{says{"m", checks[1]}}}},
		Checks: []Check{says{"m", checks[2]}},
	}
	return &Plan{
		ID: "p", Count: 1, Repeats: 1, Seed: 1,
		Cells: []Cell{{Provider: p, Prompt: prompt, Limit: NewLimiter(8), Snapshot: record.Snapshot{ID: "s"}, Cacheable: true}},
		Cases: func(context.Context) iter.Seq2[Case, error] {
			return func(yield func(Case, error) bool) { yield(c, nil) }
		},
	}
}

func talkSample(t *testing.T, plan *Plan, o Options) (record.Sample, Progress) {
	t.Helper()
	j := journalFor(t, plan)
	defer j.Close()
	var last Progress
	o.Concurrency, o.Progress = 1, func(p Progress) { last = p }
	if _, err := Run(t.Context(), plan, j, o); err != nil {
		t.Fatal(err)
	}
	var s record.Sample
	if err := json.Unmarshal([]byte(samplesOf(t, j)[0]), &s); err != nil {
		t.Fatal(err)
	}
	return s, last
}

// teller answers with the last message in capitals and remembers what it was sent.
type teller struct {
	sent []record.Request
	fail func(n int, req record.Request) error
}

func (p *teller) Complete(_ context.Context, req record.Request) (record.Response, error) {
	p.sent = append(p.sent, req)
	if p.fail != nil {
		if err := p.fail(len(p.sent), req); err != nil {
			return record.Response{}, err
		}
	}
	n := len(req.Messages)
	cost := 0.5
	return record.Response{
		Output: strings.ToUpper(req.Messages[n-1].Content), Usage: record.Usage{Prompt: n, Completion: 1}, Cost: &cost, Latency: time.Second, TTFT: time.Millisecond,
		Fingerprint: fmt.Sprint("f", n),
	}, nil
}

func TestConversation(t *testing.T) {
	p := &teller{}
	s, progress := talkSample(t, talkPlan(t, p, "ONE", "TWO", "LAST WORDS"), Options{})
	if s.Verdict != verdict.Pass || s.Error != "" || s.Output != "LAST WORDS" || *s.Score != 1 {
		t.Errorf("%+v", s)
	}
	want := []string{
		"system: Be brief.\nuser: ex\nassistant: ample\nuser: one",
		"system: Be brief.\nuser: ex\nassistant: ample\nuser: one\nassistant: ONE\nuser: two",
		"system: Be brief.\nuser: ex\nassistant: ample\nuser: one\nassistant: ONE\nuser: two\nassistant: TWO\nuser: last words",
	}
	seeds := map[int64]bool{}
	for i, req := range p.sent {
		if record.PromptText(req.Messages) != want[i] || req.Prompt != want[i] {
			t.Errorf("request %d: %q, want %q", i, req.Prompt, want[i])
		}
		seeds[req.Seed] = true
	}
	if len(seeds) != 3 || p.sent[2].Seed != s.Seed {
		t.Errorf("the seeds are not the turns' own: %v, sample %d", seeds, s.Seed)
	}
	if record.PromptText(s.Input) != want[2] {
		t.Errorf("input %q", record.PromptText(s.Input))
	}
	if len(s.Turns) != 2 || s.Turns[0].User != "one" || s.Turns[0].Output != "ONE" || s.Turns[1].Output != "TWO" {
		t.Errorf("turns %+v", s.Turns)
	}
	var turns []string
	for _, score := range s.Scores {
		turns = append(turns, fmt.Sprintf("%s/%d/%v", score.Name, score.Turn, score.Detail))
	}
	if got := strings.Join(turns, " "); got != "m/1/0 m/2/1 m/0/2" { // each judgement sees the turns before it
		t.Errorf("scores %s", got)
	}
	if *s.Cost != 1.5 || s.Usage.Prompt != 4+6+8 || s.Usage.Completion != 3 || s.Usage.Total != 21 || *s.Latency != 3 || s.Fingerprint != "f8" {
		t.Errorf("cost %v, usage %+v, latency %v, fingerprint %s", *s.Cost, s.Usage, *s.Latency, s.Fingerprint)
	}
	if progress.Cost != 1.5 || progress.Tokens != 21 || progress.Passed != 1 {
		t.Errorf("progress %+v", progress)
	}
}

// A turn that fails its check fails the sample, and the conversation goes on.
func TestConversationCountsEveryTurn(t *testing.T) {
	p := &teller{}
	s, _ := talkSample(t, talkPlan(t, p, "ONE", "nothing like it", "LAST"), Options{})
	if s.Verdict != verdict.Fail || len(p.sent) != 3 || s.Scores[1].Reason != "it is TWO" || s.Scores[1].Turn != 2 {
		t.Errorf("%+v", s)
	}
}

func TestConversationBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &teller{fail: func(n int, _ record.Request) error {
			switch {
			case n == 1:
				return &record.Failure{Kind: record.Server, Status: 500}
			case n > 2:
				return &record.Failure{Kind: record.BadRequest, Status: 400, Message: "no"}
			}
			return nil
		}}
		s, progress := talkSample(t, talkPlan(t, p, "ONE", "TWO", "LAST"), Options{Retries: 2})
		if s.Error != "turn 2 of 3: bad_request (HTTP 400): no" || s.Verdict != verdict.Error {
			t.Errorf("%q, %v", s.Error, s.Verdict)
		}
		if len(p.sent) != 3 || s.Retries != 1 {
			t.Errorf("%d requests, %d retries", len(p.sent), s.Retries)
		}
		if len(s.Turns) != 1 || len(s.Scores) != 3 || s.Scores[0].Pass == nil || s.Scores[1].Error != noAnswer || s.Scores[1].Turn != 2 || s.Scores[2].Error != noAnswer {
			t.Errorf("turns %+v, scores %+v", s.Turns, s.Scores)
		}
		// What was answered was paid for, but half a conversation is no time to compare.
		if *s.Cost != 0.5 || s.Latency != nil || progress.Cost != 0.5 {
			t.Errorf("cost %v, latency %v, progress %+v", *s.Cost, s.Latency, progress)
		}
	})
}

// Each turn is kept and found again by itself.
func TestConversationFromCache(t *testing.T) {
	cache, err := OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	once := &teller{fail: func(n int, _ record.Request) error {
		if n == 3 {
			return &record.Failure{Kind: record.BadRequest, Status: 400}
		}
		return nil
	}}
	if s, _ := talkSample(t, talkPlan(t, once), Options{Cache: cache}); s.Error == "" {
		t.Fatal("no error")
	}
	again := &teller{}
	s, progress := talkSample(t, talkPlan(t, again), Options{Cache: cache})
	if len(again.sent) != 1 || s.Verdict != verdict.Pass || !s.Cached {
		t.Errorf("%d requests, %+v", len(again.sent), s)
	}
	if *s.Cost != 1.5 || progress.Cost != 0.5 {
		t.Errorf("the conversation cost %v, this run paid %v", *s.Cost, progress.Cost)
	}
	third := &teller{}
	if s, progress := talkSample(t, talkPlan(t, third), Options{Cache: cache}); len(third.sent) != 0 || progress.Cost != 0 || !s.Cached {
		t.Errorf("%d requests, %+v", len(third.sent), progress)
	}
}

// A sum of which a part is not known is not known.
func TestConversationOfUnknownCost(t *testing.T) {
	n := 0
	p := providerFunc(func(_ context.Context, req record.Request) (record.Response, error) {
		r := record.Response{Output: "x"}
		if n++; n != 2 {
			r.Cost, r.Latency = new(1.0), time.Second
		}
		return r, nil
	})
	s, _ := talkSample(t, talkPlan(t, p), Options{})
	if s.Cost != nil || s.Latency != nil || s.Usage != nil {
		t.Errorf("cost %v, latency %v, usage %v", s.Cost, s.Latency, s.Usage)
	}
}

func TestInterruptedConversationLeavesNoTrace(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := &teller{fail: func(n int, _ record.Request) error {
		if n == 2 {
			cancel()
			return ctx.Err()
		}
		return nil
	}}
	plan := talkPlan(t, p)
	j := journalFor(t, plan)
	defer j.Close()
	out, err := Run(ctx, plan, j, Options{Concurrency: 1})
	if err != nil || !out.Interrupted || out.Done != 0 {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestTurnsNeedAMessageOfTheUser(t *testing.T) {
	prompt, err := CompilePrompt(config.Prompt{Pos: config.Pos{File: "p.yaml", Line: 2}, Messages: []config.PromptMessage{{Role: "system", Text: "only this"}}})
	if err != nil {
		t.Fatal(err)
	}
	c := &Case{Turns: []Turn{{User: "one"}}}
	err = CheckPrompt(prompt, c, config.Pos{File: "t.yaml", Line: 7})
	if err == nil || !strings.Contains(err.Error(), "t.yaml:7: turns: the prompt at p.yaml:2 has no message of the user") {
		t.Error(err)
	}
	if err := CheckPrompt(prompt, &Case{}, config.Pos{}); err != nil {
		t.Error(err)
	}
}
