package runner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// Turn is one of the user's turns of a conversation before the prompt's own, ready to be sent.
type Turn struct {
	User   string
	Checks []Check
}

// talk is one sample being made: its conversation as far as it has come. A case without turns is a
// conversation of one exchange.
type talk struct {
	j job
	s *record.Sample
	// head are the messages before the conversation (system and examples), tail the prompt's last
	// message of the user and what follows it.
	head, tail []record.Message
	said       []record.Message // the turns and their answers
	turns      []record.Turn
	paid       paid
	total      record.Response // sums of usage, cost and time over the answers
	answers    int
}

// paid is what the answers of a sample took, those from the cache left out.
type paid struct {
	cost   float64
	tokens int64
}

// newTalk splits a rendered prompt where the conversation is to stand.
func newTalk(j job, s *record.Sample, messages []record.Message) (*talk, error) {
	t := &talk{j: j, s: s, tail: messages}
	if len(j.c.Turns) == 0 {
		return t, nil
	}
	last := lastOfUser(messages)
	if last < 0 {
		return nil, errNoUser
	}
	t.head, t.tail = messages[:last], messages[last:]
	return t, nil
}

var errNoUser = errors.New("the prompt has no message of the user, before which the turns of the conversation would stand")

// lastOfUser is the place of the user's last message, or -1.
func lastOfUser(messages []record.Message) int {
	for i, m := range slices.Backward(messages) {
		if m.Role == "user" {
			return i
		}
	}
	return -1
}

// step is one exchange of a conversation: an earlier turn, or the prompt's own as the last.
type step struct {
	turn   int // from 1; 0 is the last
	user   string
	checks []Check
}

// steps are the exchanges in order.
func (t *talk) steps() []step {
	out := make([]step, 0, len(t.j.c.Turns)+1)
	for i := range t.j.c.Turns {
		turn := &t.j.c.Turns[i]
		out = append(out, step{turn: i + 1, user: turn.User, checks: turn.Checks})
	}
	return append(out, step{checks: t.j.c.Checks})
}

// where names a step in messages; empty in a case without turns.
func (t *talk) where(st step) string {
	n := len(t.j.c.Turns)
	if n == 0 {
		return ""
	}
	turn := st.turn
	if turn == 0 {
		turn = n + 1
	}
	return fmt.Sprintf("turn %d of %d: ", turn, n+1)
}

// request is what a step sends: the whole conversation so far.
func (t *talk) request(st step) record.Request {
	j := &t.j
	req := record.Request{Vars: j.c.Vars, Case: j.c.ID, Repeat: j.repeat, Seed: t.s.Seed, Stream: j.cell.Stream}
	switch {
	case st.turn > 0:
		req.Seed = Seed(t.s.Seed, "turn", st.turn)
		req.Messages = slices.Concat(t.head, t.said, []record.Message{{Role: "user", Content: st.user}})
	case len(j.c.Turns) == 0:
		req.Messages = t.tail
	default:
		req.Messages = slices.Concat(t.head, t.said, t.tail)
	}
	if st.turn == 0 {
		req.Continuations, req.ScorePrompt = j.c.Continuations, j.c.ScorePrompt
	}
	req.Prompt = record.PromptText(req.Messages)
	return req
}

// exchange makes one step: it asks, and judges the answer. done is false when there is none, and why
// says what for.
func (r *run) exchange(ctx context.Context, t *talk, st step) (why string, done bool) {
	j := t.j
	req := t.request(st)
	t.s.Input = req.Messages
	resp, retries, err := r.given(ctx, j, req)
	t.s.Retries += retries
	if err != nil {
		return err.Error(), false
	}
	t.add(&resp)
	if st.turn == 0 {
		fill(t.s, &resp)
	}
	judged := resp
	judged.Turns = slices.Concat(t.turns, resp.Turns)
	in := &scorer.Input{
		Vars: j.c.Vars, Prompt: req.Prompt, Messages: req.Messages, Metadata: j.c.Metadata, Response: &judged, Tools: j.cell.Tools,
		Case: j.c.ID, Repeat: j.repeat, Seed: req.Seed, Provider: j.cell.ProviderName, PromptLabel: j.cell.PromptName,
	}
	raw, err := transform(ctx, j, in)
	if err != nil {
		return err.Error(), false
	}
	if st.turn == 0 && raw {
		t.s.Raw, t.s.Output = t.s.Output, in.Response.Output
	}
	for _, check := range st.checks {
		score := uncompared(check)
		if score.Error == "" {
			score = check.Score(ctx, in)
		}
		score.Turn = st.turn
		t.s.Scores = append(t.s.Scores, score)
	}
	if st.turn > 0 {
		t.said = append(t.said, record.Message{Role: "user", Content: st.user}, record.Message{Role: "assistant", Content: resp.Output})
		t.turns = append(t.turns, record.Turn{User: st.user, Output: resp.Output, ToolCalls: resp.ToolCalls})
	} else {
		t.turns = judged.Turns
	}
	return "", true
}

// add counts what an answer took.
func (t *talk) add(resp *record.Response) {
	u := resp.Usage
	if u.Total == 0 {
		u.Total = u.Prompt + u.Completion
	}
	if !resp.Cached {
		t.paid.tokens += int64(u.Total)
		if resp.Cost != nil {
			t.paid.cost += *resp.Cost
		}
	}
	sum := &t.total
	sum.Usage.Prompt += u.Prompt
	sum.Usage.Completion += u.Completion
	sum.Usage.Total += u.Total
	sum.Usage.Cached += u.Cached
	sum.Usage.Reasoning += u.Reasoning
	// A sum of which a part is not known is not known.
	switch {
	case resp.Cost == nil || t.answers > 0 && sum.Cost == nil:
		sum.Cost = nil
	case sum.Cost == nil:
		sum.Cost = new(*resp.Cost)
	default:
		sum.Cost = new(*sum.Cost + *resp.Cost)
	}
	if t.answers == 0 || sum.Latency > 0 {
		sum.Latency += resp.Latency
		if resp.Latency == 0 {
			sum.Latency = 0
		}
	}
	// One answer from the cache is enough for the time not to be the conversation's own.
	sum.Cached = sum.Cached || resp.Cached
	t.answers++
}

// totals writes the sums into the sample, and the turns.
func (t *talk) totals() {
	s := t.s
	s.Turns = t.turns
	if t.answers == 0 {
		return
	}
	s.Cost, s.Cached, s.Usage, s.Latency = t.total.Cost, t.total.Cached, nil, nil
	if u := t.total.Usage; u != (record.Usage{}) {
		s.Usage = &u
	}
	// Half a conversation has no time to be compared with.
	if t.total.Latency > 0 && s.Error == "" {
		s.Latency = new(t.total.Latency.Seconds())
	}
}

// unanswered marks the sample as one whose answer to st is missing. The scores of that and of every
// later step are errors too, so that no metric loses an observation without a trace.
func (t *talk) unanswered(st step, why string) {
	steps := t.steps()
	from := st.turn - 1
	if st.turn == 0 {
		from = len(steps) - 1
	}
	// The answers so far were given and judged; those scores stand.
	for _, later := range steps[from:] {
		unjudged(t.s, later, noAnswer)
	}
	failed(t.s, t.where(st)+why)
}
