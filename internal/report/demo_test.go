package report

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// demo makes plausible runs: a set of writing tasks judged by an ifeval scorer and a few others. It is
// deterministic by its fields.
type demo struct {
	cases, repeats int
	providers      []string
	prompts        []string
	seed           uint64
	passShare      float64
	errorShare     float64
	undecidedShare float64
	caseMajor      bool // plan order: all combinations of a case before the next case
	expects        bool // cases have an expected text and a group
	byTag          bool // the run has metrics of each tag
	words          int  // further words of each output, hard to compress
}

func newDemo() demo {
	return demo{cases: 541, repeats: 1, providers: []string{"openai:chat:gpt-4.1-mini"}, prompts: []string{"plain"}, seed: 7,
		passShare: 0.77, errorShare: 0.012, undecidedShare: 0.006}
}

var demoInstructions = []string{"punctuation:no_comma", "detectable_format:number_highlighted_sections", "length_constraints:number_words",
	"keywords:existence", "keywords:forbidden_words", "change_case:english_lowercase", "startend:quotation", "detectable_format:json_format",
	"length_constraints:number_sentences", "combination:repeat_prompt"}

var demoSentences = []string{
	"The harbour was quiet when the first boats came back, low in the water and late.",
	"A good summary says what changed, who it concerns, and what to do next.",
	"*Highlights* of the week include a new bridge, an old quarrel settled, and rain.",
	"Please find below a plan for three days, with mornings left free on purpose.",
	"My cat insists that the moon is a saucer; so far nobody has proved her wrong.",
	"1. Warm the pan. 2. Add the onions. 3. Wait longer than you think.",
	"In short: the pump failed because the seal was fitted the wrong way round.",
	"Dear Ms Okafor, thank you for your patience while we looked into the invoice.",
}

var demoTasks = []string{
	"Write a letter to a neighbour about a borrowed ladder. Do not use any commas.",
	"Summarise the minutes of the meeting in exactly four sentences.",
	"Draft a product description of at least 120 words and highlight three sections.",
	"Answer in lower case only: why do sails flutter?",
	"Return a JSON object that lists two risks of the plan and their owners.",
}

func (d demo) plan() int { return d.cases * d.repeats * len(d.providers) * len(d.prompts) }

// sample makes the i-th sample of the plan.
func (d demo) sample(i int) record.Sample {
	combos := len(d.providers) * len(d.prompts)
	per := d.cases * d.repeats
	c, rest := i/per, i%per
	if d.caseMajor {
		rest, c = i/combos, i%combos
	}
	at, repeat := rest/d.repeats, rest%d.repeats
	r := rand.New(rand.NewPCG(d.seed+uint64(c), uint64(rest)))
	s := record.Sample{Case: fmt.Sprint(1000 + at), Repeat: repeat, Provider: d.providers[c/len(d.prompts)], Prompt: d.prompts[c%len(d.prompts)],
		Seed: int64(r.Uint32()), Critical: at%97 == 11, Tags: []string{[]string{"letters", "summaries", "structured", "style"}[at%4]}}
	if at%5 == 0 {
		s.Tags = append(s.Tags, "long")
	}
	task := demoTasks[at%len(demoTasks)]
	s.Vars = map[string]any{"prompt": task, "key": 1000 + at}
	s.Input = []record.Message{{Role: "system", Content: "You are a careful assistant."}, {Role: "user", Content: task}}
	latency := math.Round(1e6*math.Exp(r.NormFloat64()*0.55-0.3)) / 1e6
	draw := r.Float64()
	if draw < d.errorShare {
		s.Verdict, s.Error = verdict.Error, []string{"timeout: no answer within 30s", "rate_limited (HTTP 429): too many requests", "server (HTTP 503): overloaded"}[r.IntN(3)]
		s.Retries = 3
		s.Scores = []record.Score{}
		return s
	}
	var out []string
	for range 2 + r.IntN(9) {
		out = append(out, demoSentences[r.IntN(len(demoSentences))])
	}
	for i := range d.words {
		if i%12 == 0 {
			out = append(out, "")
		}
		out[len(out)-1] += strconv.FormatUint(r.Uint64N(1<<28), 36) + " "
	}
	s.Output = strings.Join(out, "\n\n")
	s.FinishReason, s.Model, s.Fingerprint = "stop", "gpt-4.1-mini-2025-04-14", "fp_44709d6fcb"
	if d.expects {
		s.Vars["expected"] = strings.Join(out[:len(out)-1], "\n\n") + "\n\nAnd this was expected as well, " + out[len(out)-1][:20]
		s.Group = "document " + fmt.Sprint(at/8)
	}
	u := record.Usage{Prompt: 20 + len(task)/4, Completion: len(s.Output) / 4}
	u.Total = u.Prompt + u.Completion
	price := math.Round(1e9*(float64(u.Prompt)*0.4e-6+float64(u.Completion)*1.6e-6)) / 1e9
	ttft := math.Round(1e6*latency*0.3) / 1e6
	s.Usage, s.Cost, s.Latency, s.TTFT = &u, &price, &latency, &ttft
	if draw < d.errorShare+d.undecidedShare {
		s.Verdict = verdict.Undecided
		s.Scores = []record.Score{{Name: "bleu", Type: "bleu", Value: new(31.5)}}
		return s
	}
	d.judge(&s, r)
	return s
}

// judge adds scores so that about passShare of the samples pass.
func (d demo) judge(s *record.Sample, r *rand.Rand) {
	n := 1 + r.IntN(3)
	list := make([]any, n)
	strict, loose := 0, 0
	pass := r.Float64() < d.passShare
	var missed []string
	for i := range list {
		ok := pass || i > 0 && r.Float64() < 0.5
		lenient := ok || r.Float64() < 0.12
		id := demoInstructions[r.IntN(len(demoInstructions))]
		list[i] = map[string]any{"id": id, "strict": ok, "loose": lenient}
		if ok {
			strict++
		} else {
			missed = append(missed, id)
		}
		if lenient {
			loose++
		}
	}
	share := float64(strict) / float64(n)
	reason := fmt.Sprintf("%d of %d instructions followed", strict, n)
	if len(missed) > 0 {
		reason += ", not " + strings.Join(missed, ", ")
	}
	words := len(strings.Fields(s.Output))
	s.Verdict = verdict.Fail
	if pass {
		s.Verdict = verdict.Pass
	}
	s.Score = new((share + 1) / 2)
	s.Scores = []record.Score{
		{Name: "ifeval", Type: "ifeval", Value: new(share), Pass: &pass, Reason: reason, Detail: map[string]any{"instructions": list}},
		{Name: "no promises", Type: "forbidden", Value: new(1.0), Pass: new(true), Reason: "none of 14 phrases occurs"},
		{Name: "words", Type: "word-count", Value: new(float64(words)), Reason: fmt.Sprintf("%d words", words), Weight: new(0.0)},
	}
}

// samples streams the plan.
func (d demo) samples() iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		for i := range d.plan() {
			if !yield(d.sample(i), nil) {
				return
			}
		}
	}
}

func rate(k, n int) record.Metric {
	m := record.Metric{Kind: "rate", N: n, Clusters: n, Signature: "rate|v:1"}
	if n > 0 {
		p := float64(k) / float64(n)
		i, _ := stats.Wilson(float64(k), float64(n), stats.Level)
		m.Mean, m.Count, m.Low, m.High, m.Stderr = &p, new(float64(k)), &i.Low, &i.High, new(math.Sqrt(p*(1-p)/float64(n)))
	}
	return m
}

func mean(x, se float64, n int, unit string) record.Metric {
	return record.Metric{Kind: "mean", Mean: &x, Stderr: &se, Low: new(x - 1.96*se), High: new(x + 1.96*se), N: n, Clusters: n, Unit: unit, Signature: "mean|v:1"}
}

// run aggregates the samples as a runner would, well enough to look at.
func (d demo) run() *record.Run {
	r := &record.Run{ID: "5d0c8e2f41b7a963", Telltale: "0.1.0", Seed: 7, Repeats: d.repeats,
		Suite:   record.SuiteRef{Path: "examples/writing/telltale.yaml", Description: "Writing assistant", Hash: "9f2c44d01be7a850"},
		Dataset: record.DatasetRef{Hash: "77ab01c3de45f612", Rows: d.cases, Cases: d.cases},
		Scorers: map[string]string{"ifeval": "ifeval|v:1|ref:google-research", "no promises": "forbidden|v:1", "words": "word-count|v:1"},
		Metrics: map[string]record.Metric{}, BySnapshot: map[string]map[string]record.Metric{}}
	r.Times = record.Times{Started: time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC), Seconds: 12.34, Throughput: float64(d.plan()) / 12.34}
	r.Times.Finished = r.Times.Started.Add(12340 * time.Millisecond)
	for _, p := range d.providers {
		for _, q := range d.prompts {
			s := record.Snapshot{Provider: p, Model: "gpt-4.1-mini", Prompt: q, Fingerprints: []string{"fp_44709d6fcb"},
				Template: "You are a careful assistant.\n\n{{ prompt }}", Params: map[string]any{"temperature": 0, "max_tokens": 1024}}
			s.Identify()
			r.Snapshots = append(r.Snapshots, s)
		}
	}
	s := &r.Summary
	s.Planned, s.Errors = d.plan(), map[string]int{}
	tallies, tags := map[combo]*Tally{}, map[string]*Tally{}
	instructions, followed := 0, 0
	for x := range d.samples() {
		s.Finished++
		t := Tally{s.Passed, s.Failed, s.Errored, s.Undecided}
		t.add(x.Verdict)
		s.Passed, s.Failed, s.Errored, s.Undecided = t.Passed, t.Failed, t.Errored, t.Undecided
		k := combo{x.Provider, x.Prompt}
		if tallies[k] == nil {
			tallies[k] = &Tally{}
		}
		tallies[k].add(x.Verdict)
		for _, tag := range x.Tags {
			if tags[tag] == nil {
				tags[tag] = &Tally{}
			}
			tags[tag].add(x.Verdict)
		}
		if x.Error != "" {
			s.Errors[strings.SplitN(x.Error, ":", 2)[0]]++
		}
		if x.Critical && x.Verdict != verdict.Pass {
			s.CriticalUnproved++
			s.CriticalFailed = append(s.CriticalFailed, x.Case)
		}
		if x.Usage != nil {
			s.Tokens.Prompt += x.Usage.Prompt
			s.Tokens.Completion += x.Usage.Completion
			s.Tokens.Total += x.Usage.Total
			s.Cost += *x.Cost
		}
		if len(x.Scores) > 0 && x.Scores[0].Type == "ifeval" {
			for _, in := range x.Scores[0].Detail.(map[string]any)["instructions"].([]any) {
				instructions++
				if in.(map[string]any)["strict"].(bool) {
					followed++
				}
			}
		}
	}
	s.Cost = math.Round(s.Cost*1e9) / 1e9
	all := func(t Tally) record.Metric {
		m := rate(t.Passed, t.judged())
		m.Missing = t.missing()
		return m
	}
	judged := s.Passed + s.Failed
	r.Metrics[record.MetricPassRate] = all(Tally{s.Passed, s.Failed, s.Errored, s.Undecided})
	r.Metrics["ifeval.prompt_strict"] = all(Tally{s.Passed, s.Failed, s.Errored, s.Undecided})
	strict := rate(followed, instructions)
	strict.Kind = "ratio"
	r.Metrics["ifeval.instruction_strict"] = strict
	r.Metrics["no promises"] = rate(judged, judged)
	r.Metrics["token f1"] = mean(0.8127, 0.011, judged, "")
	r.Metrics["words"] = mean(91.3, 1.7, judged, "words")
	r.Metrics["bleu"] = record.Metric{Kind: "corpus", Mean: new(48.53), Stderr: new(1.2), Low: new(46.1), High: new(50.9), N: judged, Clusters: judged,
		Signature: "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:1"}
	latency := mean(0.862, 0.021, judged, "s")
	latency.Quantiles = map[string]*float64{"p50": new(0.741), "p95": new(1.83), "p99": new(2.72)}
	r.Metrics["latency"] = latency
	r.Metrics["cost"] = mean(0.000231, 0.000004, judged, "usd")
	r.Metrics["toxicity"] = record.Metric{Kind: "mean", Missing: judged, Signature: "toxicity|v:1"}
	for _, sn := range r.Snapshots {
		if t := tallies[combo{sn.Provider, sn.Prompt}]; t != nil && len(r.Snapshots) > 1 {
			r.BySnapshot[sn.ID] = map[string]record.Metric{record.MetricPassRate: all(*t), "latency": latency}
		}
	}
	if d.byTag {
		r.ByTag = map[string]map[string]record.Metric{}
		for tag, t := range tags {
			r.ByTag[tag] = map[string]record.Metric{record.MetricPassRate: all(*t), "latency": latency}
		}
	}
	d.gate(r)
	return r
}

// gate decides with two checks of rates and one of latency.
func (d demo) gate(r *record.Run) {
	check := func(metric, want string, ok bool, value float64, reason string) {
		v := verdict.Fail
		if ok {
			v = verdict.Pass
		}
		r.Gate.Checks = append(r.Gate.Checks, verdict.Decision{Verdict: v, Metric: metric, Want: want, Value: &value, Reason: reason})
	}
	m := newMetricRow(record.MetricPassRate, r.Metrics[record.MetricPassRate], nil)
	check(record.MetricPassRate, ">= 0.75", *m.Mean >= 0.75, *m.Mean, m.statement())
	m = newMetricRow("", r.Metrics["ifeval.instruction_strict"], nil)
	check("ifeval.instruction_strict", "low >= 0.85", *m.Low >= 0.85, *m.Low, "the interval starts at "+percent(*m.Low))
	check("latency", "p95 <= 2s", true, 1.83, "p95 is 1.83 s")
	r.Gate.Decision = verdict.Combine(r.Gate.Checks)
}

func (d demo) source() Source { return Source{Run: d.run(), Samples: d.samples} }

// list streams given samples.
func list(samples ...record.Sample) func() iter.Seq2[record.Sample, error] {
	return func() iter.Seq2[record.Sample, error] {
		return func(yield func(record.Sample, error) bool) {
			for _, s := range samples {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

var errRead = errors.New("samples.jsonl: line 3: unexpected end")

// broken fails after one sample.
func broken() iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		_ = yield(record.Sample{Case: "a", Verdict: verdict.Pass}, nil) && yield(record.Sample{}, errRead)
	}
}
