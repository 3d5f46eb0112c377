package record

import (
	"fmt"
	"math"
	"strings"
)

// The wire formats that are known: values of Exchange.API.
const (
	APIChat        = "openai.chat"
	APIResponses   = "openai.responses"
	APICompletions = "openai.completions"
	APIEmbeddings  = "openai.embeddings"
	APIModels      = "openai.models"
	APIModerations = "openai.moderations"
	APIMessages    = "anthropic.messages"
	APICountTokens = "anthropic.count_tokens"
	APIOther       = "other"
)

// FinishClass puts providers' words for the end of an answer into a closed set: stop, length, tool_calls,
// content_filter, refusal, pause, other; empty stays empty. Exchange.FinishReason keeps the provider's own word.
func FinishClass(reason string) string {
	switch strings.ToLower(reason) {
	case "":
		return ""
	case "stop", "end_turn", "stop_sequence", "completed", "complete", "eos", "eos_token", "finished":
		return "stop"
	case "length", "max_tokens", "max_output_tokens", "model_context_window_exceeded", "incomplete":
		return "length"
	case "tool_calls", "tool-calls", "tool_call", "tool_use", "function_call":
		return "tool_calls"
	case "content_filter", "content-filter", "safety":
		return "content_filter"
	case "refusal":
		return "refusal"
	case "pause_turn", "compaction":
		return "pause"
	}
	return "other"
}

// LogprobMeter sums log-probabilities up token by token in constant memory. The zero value is ready.
type LogprobMeter struct {
	n, listed     int
	sum, min      float64
	entropy, top1 float64
	histogram     [len(LogprobBounds) + 1]int
}

// Add counts one token: the natural-log probability of the chosen one and those of the alternatives that were listed,
// the chosen one among them; nil when none were. Values that are no log-probabilities are left out. Servers write
// very small ones as -9999.
func (m *LogprobMeter) Add(chosen float64, alternatives []float64) {
	if math.IsNaN(chosen) || math.IsInf(chosen, 0) {
		return
	}
	chosen = min(chosen, 0)
	if m.n == 0 || chosen < m.min {
		m.min = chosen
	}
	m.n++
	m.sum += chosen
	bin := 0
	for bin < len(LogprobBounds) && chosen > LogprobBounds[bin] {
		bin++
	}
	m.histogram[bin]++
	var h, total, best float64
	for _, lp := range alternatives {
		if math.IsNaN(lp) || math.IsInf(lp, 0) {
			continue
		}
		lp = min(lp, 0)
		p := math.Exp(lp)
		h -= p * lp
		total += p
		best = max(best, p)
	}
	if total == 0 {
		return
	}
	if rest := 1 - total; rest > 0 {
		h -= rest * math.Log(rest)
	}
	m.listed++
	m.entropy += h
	m.top1 += best
}

// Summary returns what was added, nil when it was nothing.
func (m *LogprobMeter) Summary() *LogprobSummary {
	if m.n == 0 {
		return nil
	}
	s := &LogprobSummary{Tokens: m.n, Mean: m.sum / float64(m.n), Min: m.min, Histogram: append([]int(nil), m.histogram[:]...)}
	if m.listed > 0 {
		h, p := m.entropy/float64(m.listed), m.top1/float64(m.listed)
		s.Entropy, s.Top1 = &h, &p
	}
	return s
}

// InlineMark stands for content that came inline, such as an image in base64: it tells equal from different, and how
// much it was. media is its media type, as far as it is known.
func InlineMark(media string, base64 []byte) string {
	if media == "" || len(media) > 100 {
		media = "data"
	}
	return fmt.Sprintf("sha256:%s %s %d bytes", HashBytes(base64), media, len(base64)*3/4)
}
