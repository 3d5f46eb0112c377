package sequence

import (
	"context"
	"sync"

	"github.com/telltale-llm/telltale/internal/record"
)

// maxAnswers bounds how often one sample is asked.
const maxAnswers = 1000

// maxUnfinished bounds the samples whose first answers are kept for another attempt.
const maxUnfinished = 1000

// several asks one provider the same n times, one after the other. The output is the first answer;
// all of them are the response's Answers. It is safe for concurrent use.
//
// The runner tries a sample that failed again as a whole. The answers it had by then are kept for
// that, or else a sample of a hundred requests would hardly ever be finished.
type several struct {
	n          int
	mu         sync.Mutex
	unfinished map[started]record.Response
}

// started names a sample that is not finished.
type started struct {
	sample, prompt string
	repeat         int
}

func newSeveral(n int) *several { return &several{n: n, unfinished: map[started]record.Response{}} }

func (s *several) complete(ctx context.Context, inner Inner, req record.Request) (record.Response, error) {
	name := started{req.Case, req.Prompt, req.Repeat}
	out := s.take(name)
	for i := len(out.Answers); i < s.n; i++ {
		step := req
		step.Repeat = req.Repeat*s.n + i
		step.Seed = req.Seed + int64(i)
		resp, err := inner.Complete(ctx, step)
		if err != nil {
			s.keep(name, out)
			return record.Response{}, err
		}
		if i == 0 {
			resp.Answers = []string{resp.Output}
			out = resp
			continue
		}
		cost := sum(out.Cost, resp.Cost)
		used := merge(out, resp)
		out.Answers = append(out.Answers, resp.Output)
		out.Usage, out.Latency, out.Cost = used.Usage, used.Latency, cost
	}
	return out, nil
}

// sum adds what two answers cost; what one cost that is not known makes the sum unknown.
func sum(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	c := *a + *b
	return &c
}

func (s *several) take(name started) record.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.unfinished[name]
	delete(s.unfinished, name)
	return out
}

func (s *several) keep(name started, out record.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(out.Answers) > 0 && len(s.unfinished) < maxUnfinished {
		s.unfinished[name] = out
	}
}
