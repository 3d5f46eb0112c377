package app

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/plan"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/runner"
)

// What is supposed of an answer when nothing is known of it.
const (
	DefaultCompletion = 256
	DefaultLatency    = 2.0
)

// bytesPerToken is the usual rule of thumb for English text.
const bytesPerToken = 4

// took adds up what the answers of one snapshot of a run took.
type took struct {
	samples, counted, timed, priced int // counted have tokens
	unpriced                        bool
	prompt, completion              float64
	seconds, cost                   float64
}

func (u *took) add(s *record.Sample) {
	u.samples++
	tokens := s.Usage
	if tokens != nil && (tokens.Prompt > 0 || tokens.Completion > 0) {
		u.counted++
		u.prompt += float64(tokens.Prompt)
		u.completion += float64(tokens.Completion)
	}
	// An answer from the cache has the time of its first call.
	if s.Latency != nil && *s.Latency > 0 {
		u.timed++
		u.seconds += *s.Latency
	}
	switch {
	case s.Cost != nil:
		u.priced++
		u.cost += *s.Cost
	case s.Error == "" || tokens != nil && tokens.Total > 0:
		u.unpriced = true
	}
}

func (u *took) plus(o *took) {
	u.samples += o.samples
	u.counted += o.counted
	u.timed += o.timed
	u.priced += o.priced
	u.unpriced = u.unpriced || o.unpriced
	u.prompt += o.prompt
	u.completion += o.completion
	u.seconds += o.seconds
	u.cost += o.cost
}

// mean is a sum over those that have it.
func mean(sum float64, n int) float64 { return sum / float64(max(1, n)) }

// usage is what the samples of each cell take: of the last run in --from, else supposed.
func (s *session) usage(ctx context.Context, m *measured, o PlanOptions, p *plan.Suite) ([]plan.Usage, error) {
	cells := s.lanes()
	if len(m.runs) > 0 {
		if s.measuredUsage(cells, m, p) {
			return cells, nil
		}
		p.Notes = append(p.Notes, m.names[len(m.names)-1]+" has no counts of tokens")
	}
	if err := s.supposedUsage(ctx, cells, o); err != nil {
		return nil, err
	}
	p.Usage = fmt.Sprintf("supposed: a token for %d bytes of the prompts, %d tokens and %g s an answer", bytesPerToken, o.Completion, o.Latency)
	if s.services.cacheable() {
		p.Notes = append(p.Notes, "what judges and embedders take is not in it; --from DIR measures it")
	}
	return cells, nil
}

// lanes are the cells with what is asked in them and how fast it may be.
func (s *session) lanes() []plan.Usage {
	var out []plan.Usage
	for i, c := range s.cells.list {
		if s.cells.index[i] < 0 {
			continue
		}
		u := plan.Usage{Cases: c.cases, Own: c.samples - c.cases*s.suite.Samples, Requests: 1, Provider: c.provider.spec.Name(), Most: c.provider.info.MaxConcurrency, JudgeCost: new(float64)}
		delay := s.suite.Evaluate.DelayMS
		if own := c.provider.spec.DelayMS; own != nil {
			delay, u.Pace = *own, u.Provider
		}
		u.Delay = float64(delay) / 1000
		out = append(out, u)
	}
	return out
}

// measuredUsage fills in what the last run took; false when it counted no tokens and measured no time.
func (s *session) measuredUsage(cells []plan.Usage, m *measured, p *plan.Suite) bool {
	run, name := m.runs[len(m.runs)-1], m.names[len(m.names)-1]
	var all took
	for _, u := range m.used {
		all.plus(u)
	}
	if all.counted == 0 && all.timed == 0 {
		return false
	}
	p.Usage = "measured on " + name
	var strangers []string
	for i := range cells {
		cell := &s.plan.Cells[i]
		of := m.used[snapshotKey(cell.ProviderName, cell.PromptName)]
		same := of != nil && slices.ContainsFunc(run.Snapshots, func(x record.Snapshot) bool {
			return x.Provider == cell.ProviderName && x.Prompt == cell.PromptName && x.Model == cell.Snapshot.Model
		})
		if of == nil {
			of = &all
			strangers = append(strangers, fmt.Sprintf("%q", cell.ProviderName+" · "+cell.PromptName))
		}
		u := &cells[i]
		u.Prompt, u.Completion, u.Seconds = mean(of.prompt, of.counted), mean(of.completion, of.counted), mean(of.seconds, of.timed)
		switch {
		case !same:
			u.Cost = s.quote(i, u)
		case !of.unpriced && of.priced > 0:
			u.Cost = new(of.cost / float64(of.priced))
		}
	}
	if len(strangers) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s has no answers of %s: tokens and time are supposed to be those of its others", name, strings.Join(strangers, ", ")))
	}
	s.judging(cells, run, &all, name, p)
	return true
}

// judging shares what judges and embedders took among all samples.
func (s *session) judging(cells []plan.Usage, run *record.Run, all *took, name string, p *plan.Suite) {
	sum, n := &run.Summary, float64(max(1, all.samples))
	seconds := float64(sum.JudgeCalls) / n * mean(all.seconds, all.timed)
	switch t := &run.Times; {
	case t.Concurrency > 0 && t.Seconds > 0 && sum.Cached == 0:
		// A sample keeps a worker from its request to the last of its judgements.
		seconds = max(0, t.Seconds*float64(min(t.Concurrency, all.samples))/n-mean(all.seconds, all.timed))
	case sum.JudgeCalls > 0:
		p.Usage += "; supposed: a judgement takes as long as an answer"
	}
	for i := range cells {
		u := &cells[i]
		u.JudgeTokens, u.JudgeSeconds, u.JudgeCost = float64(sum.JudgeTokens.Total)/n, seconds, new(sum.JudgeCost/n)
		if sum.JudgeUnpriced > 0 {
			u.JudgeCost = nil
		}
	}
	if sum.Cached > 0 && sum.JudgeCalls > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%d of the %d answers of %s came from the cache, and what judges took may be missing with them", sum.Cached, sum.Finished, name))
	}
}

// quote is the price of a sample of a cell; nil where none is known, as for a program of the user's own.
func (s *session) quote(cell int, u *plan.Usage) *float64 {
	for _, p := range s.providers {
		if p.spec.Name() != s.plan.Cells[cell].ProviderName {
			continue
		}
		if p.info.Quote == nil {
			return nil
		}
		prompt, completion := int(math.Round(u.Prompt)), int(math.Round(u.Completion))
		return p.info.Quote(record.Usage{Prompt: prompt, Completion: completion, Total: prompt + completion})
	}
	return nil
}

// supposedUsage fills in what prompts of this length take.
func (s *session) supposedUsage(ctx context.Context, cells []plan.Usage, o PlanOptions) error {
	limits := make([]int, len(cells))
	for i := range cells {
		limits[i] = answerLimit(s.plan.Cells[i].Snapshot.Params, o.Completion)
	}
	samples := make([]float64, len(cells))
	for c, err := range s.cases(ctx) {
		if err != nil {
			return err
		}
		for i := range cells {
			if c.Cells != nil && !slices.Contains(c.Cells, i) {
				continue
			}
			requests, prompt, err := conversation(s.plan.Cells[i].Prompt, &c, limits[i])
			if err != nil {
				return err
			}
			u, n := &cells[i], float64(cmp.Or(c.Repeats, s.suite.Samples))
			samples[i] += n
			u.Prompt += n * prompt
			u.Completion += n * requests * float64(limits[i])
			u.Seconds += n * requests * o.Latency
		}
	}
	for i := range cells {
		u, n := &cells[i], max(1, samples[i])
		u.Requests = 1
		if o.Latency > 0 {
			u.Requests = u.Seconds / n / o.Latency
		}
		u.Prompt, u.Completion, u.Seconds = u.Prompt/n, u.Completion/n, u.Seconds/n
		u.Cost = s.quote(i, u)
	}
	return nil
}

// answerLimit is the number of tokens that is supposed of an answer, or the provider's own limit when that is less.
func answerLimit(params map[string]any, supposed int) int {
	for _, key := range []string{"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"} {
		switch n := params[key].(type) {
		case int:
			supposed = min(supposed, n)
		case int64:
			supposed = min(supposed, int(n))
		case float64:
			supposed = min(supposed, int(n))
		}
	}
	return supposed
}

// conversation is what a case asks with a prompt: how many requests, and the tokens that they send, for each request has all
// that was said before. A case that holds its answer asks nothing.
func conversation(p *runner.Prompt, c *runner.Case, answer int) (requests, tokens float64, err error) {
	if c.Output != nil {
		return 0, 0, nil
	}
	messages, err := p.Render(c)
	if err != nil {
		return 0, 0, err
	}
	// The prompt's last message of the user comes after the turns.
	before, last := 0, 0
	for i, msg := range messages {
		n := len(msg.Content)
		for _, part := range msg.Parts {
			n += len(part.Text)
		}
		if i == len(messages)-1 {
			last = n
		} else {
			before += n
		}
	}
	bytes := 0
	for i := range c.Turns {
		before += len(c.Turns[i].User)
		bytes += before
		tokens += float64(i * answer)
	}
	turns := len(c.Turns)
	return float64(turns + 1), tokens + float64(turns*answer) + float64(bytes+before+last)/bytesPerToken, nil
}
