package runner

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// ConversationVar is the variable that holds what the cases before asked and were answered.
const ConversationVar = "_conversation"

// threads puts samples in order where one goes on from others: for each cell and repeat those of one
// conversation, or all when cases store their answers for those after them. What was said before is read
// from the journal; in memory are its places. It is used by the goroutine that feeds alone.
type threads struct {
	stores bool
	byKey  map[threadKey]*thread
}

type threadKey struct {
	cell, repeat int
	conversation string
}

type thread struct {
	last chan struct{} // closed when the sample handed out last is finished; nil for none
	said map[string][]int
	kept map[string]int // variable → the sample that stored it last
}

// link is a sample's place in its thread.
type link struct {
	after <-chan struct{} // may be nil
	done  chan struct{}
	said  []int
	kept  map[string]int
}

func newThreads(p *Plan) *threads { return &threads{stores: p.Stores, byKey: map[threadKey]*thread{}} }

// next takes a sample into its thread and returns its place in it; nil when it goes on from nothing, or
// need not be made.
func (t *threads) next(j *job, cell int, wanted bool) *link {
	if !t.stores && !j.cell.Remembers {
		return nil
	}
	key := threadKey{cell: cell, repeat: j.repeat}
	if !t.stores {
		key.conversation = j.c.Conversation
	}
	th := t.byKey[key]
	if th == nil {
		th = &thread{said: map[string][]int{}, kept: map[string]int{}}
		t.byKey[key] = th
	}
	var l *link
	if wanted {
		before := th.said[j.c.Conversation]
		l = &link{after: th.last, done: make(chan struct{}), said: before[:len(before):len(before)], kept: maps.Clone(th.kept)}
		th.last = l.done
	}
	if j.cell.Remembers {
		th.said[j.c.Conversation] = append(th.said[j.c.Conversation], j.index)
	}
	if j.c.StoreAs != "" {
		th.kept[j.c.StoreAs] = j.index
	}
	return l
}

// follow waits for the samples before, and completes the case with what they were answered. ok is false
// when one of them has no answer, and why says which.
func (r *run) follow(ctx context.Context, j *job) (why string, ok bool) {
	if j.link.after != nil {
		select {
		case <-j.link.after:
		case <-ctx.Done():
			return "", false
		}
	}
	vars := map[string]any{}
	for name, index := range j.link.kept {
		s, why := r.answerBefore(index)
		if why != "" {
			return why, false
		}
		vars[name] = s.Output
	}
	if j.cell.Remembers {
		said := []any{}
		for _, index := range j.link.said {
			if j.c.Forgets {
				break
			}
			s, why := r.answerBefore(index)
			if why != "" {
				return why, false
			}
			said = append(said, exchangeOf(s))
		}
		vars[ConversationVar] = said
	}
	if j.c.Complete == nil {
		return "prompt: the case cannot be completed", false
	}
	c, err := j.c.Complete(vars)
	if err != nil {
		return "prompt: " + err.Error(), false
	}
	j.c = &c
	return "", true
}

// answerBefore reads an earlier sample. Without its answer the thread cannot go on; the reason begins with
// the kind of its failure, so that what may pass is tried again with it.
func (r *run) answerBefore(index int) (*record.Sample, string) {
	s, err := r.journal.Sample(index)
	switch {
	case err != nil:
		r.cancel(&journalError{err})
		return nil, err.Error()
	case s == nil:
		return nil, "the case before it in the conversation has not been answered"
	case s.Error != "":
		kind, _, _ := strings.Cut(s.Error, ":")
		return nil, fmt.Sprintf("%s: case %s, from which this one goes on, has no answer", kind, s.Case)
	}
	return s, ""
}

// exchangeOf is an earlier sample as an entry of the conversation, in promptfoo's shape.
func exchangeOf(s *record.Sample) map[string]any {
	output := s.Output
	if s.Raw != "" {
		output = s.Raw
	}
	var prompt, input any = "", ""
	if n := len(s.Input); n == 1 && s.Input[0].Role == "user" {
		prompt, input = s.Input[0].Text(), s.Input[0].Text()
	} else if n > 0 {
		list := make([]any, n)
		for i := range s.Input {
			list[i] = map[string]any{"role": s.Input[i].Role, "content": s.Input[i].Text()}
		}
		prompt, input = list, s.Input[n-1].Text()
	}
	return map[string]any{"prompt": prompt, "input": input, "output": output, "metadata": map[string]any{}}
}

// withoutConversation leaves the conversation out of the variables that are kept: it stands in the samples before.
func withoutConversation(vars map[string]any) map[string]any {
	if _, has := vars[ConversationVar]; !has {
		return vars
	}
	out := maps.Clone(vars)
	delete(out, ConversationVar)
	return out
}
