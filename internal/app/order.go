package app

import (
	"fmt"
	"maps"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/dataset"
	"github.com/telltale-llm/telltale/internal/runner"
)

// conversationKey is the metadata key that tells conversations apart, as promptfoo has it.
const conversationKey = "conversationId"

// inOrder makes a case ready to go on from those before it: it names its conversation and what it
// stores, and can be completed once they have been answered. Until then, what they will give is stood in for.
func (s *session) inOrder(c *runner.Case, t *config.Test, row dataset.Row) {
	if t.StoreAs != "" {
		s.mu.Lock()
		if s.stored == nil {
			s.stored = map[string]any{}
		}
		if _, ok := s.stored[t.StoreAs]; !ok {
			more := maps.Clone(s.stored)
			more[t.StoreAs] = "(the output that is stored as " + t.StoreAs + ")"
			s.stored = more
		}
		s.mu.Unlock()
	}
	c.StoreAs, c.Forgets = t.StoreAs, t.Forgets
	c.Conversation = t.Conversation
	if id, ok := t.Metadata[conversationKey]; ok {
		c.Conversation = fmt.Sprint(id)
	}
	c.Complete = func(vars map[string]any) (runner.Case, error) { return s.caseWith(row, vars) }
}

// later are the variables that only the cases before a case will give, with what stands for them.
func (s *session) later() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.remembers {
		return s.stored
	}
	out := maps.Clone(s.stored)
	if out == nil {
		out = map[string]any{}
	}
	out[runner.ConversationVar] = []any{}
	return out
}
