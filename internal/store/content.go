package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// ContentRow is everything in an exchange that was made from its texts, in a table of its own: it is deleted earlier than the
// rest. All columns are plain texts or bytes.
type ContentRow struct {
	Time time.Time
	ID   string
	Key  int64
	// Said tells a row that holds a record.Content from one that holds only what was made of a text.
	Said      bool
	System    string
	Input     string // JSON of the messages
	Output    string
	ToolCalls string // JSON
	Refusal   string
	Body      string // JSON
	TopK      string // JSON
	Embedding string // float32, little endian
	Reasons   string // JSON: the scores' reasons, in their order
}

// ContentColumns are the columns of table content in the order of ContentRow.Targets.
const ContentColumns = `time, id, key, said, system, input, output, tool_calls, refusal, body, top_k, embedding, reasons`

// Targets are what a row of ContentColumns is scanned into.
func (c *ContentRow) Targets() []any {
	return []any{&c.Time, &c.ID, &c.Key, &c.Said, &c.System, &c.Input, &c.Output, &c.ToolCalls, &c.Refusal, &c.Body, &c.TopK,
		&c.Embedding, &c.Reasons}
}

func flattenContent(r *Row, x *record.Exchange, reasons []string) (*ContentRow, error) {
	if x.Content == nil && x.TopK == nil && x.Embedding == nil && reasons == nil {
		return nil, nil
	}
	c := &ContentRow{Time: r.Time, ID: r.ID, Key: r.Key}
	var err error
	set := func(to *string, name string, n int, v any) {
		if n == 0 || err != nil {
			return
		}
		var s string
		if s, err = encode(v); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		*to = s
	}
	if t := x.Content; t != nil {
		c.Said, c.System, c.Output, c.Refusal = true, clean(t.System), clean(t.Output), clean(t.Refusal)
		if c.Input = plainMessages(t.Input); c.Input == "" {
			set(&c.Input, "input", len(t.Input), t.Input)
		}
		set(&c.ToolCalls, "tool calls", len(t.ToolCalls), t.ToolCalls)
		c.Body = clean(string(t.Body))
	}
	set(&c.TopK, "top_k", len(x.TopK), x.TopK)
	set(&c.Reasons, "reasons", len(reasons), reasons)
	if len(x.Embedding) > 0 {
		b := make([]byte, 0, 4*len(x.Embedding))
		for _, v := range x.Embedding {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		c.Embedding = string(b)
	}
	return c, err
}

// plainMessages is the JSON of messages that are a role and a text without anything to escape, which most are, or empty: the
// same as encoding/json's, in a fifth of its time.
func plainMessages(ms []record.Message) string {
	n := 0
	for i := range ms {
		if m := &ms[i]; m.Parts != nil || !plainText(m.Role) || !plainText(m.Content) {
			return ""
		}
		n += len(ms[i].Role) + len(ms[i].Content) + len(`{"role":"","content":""},`)
	}
	if n == 0 {
		return ""
	}
	b := append(make([]byte, 0, n+2), '[')
	for i := range ms {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"role":"`...), ms[i].Role...)
		b = append(append(b, `","content":"`...), ms[i].Content...)
		b = append(b, `"}`...)
	}
	return string(append(b, ']'))
}

// plainText says whether a text is written in JSON as it is.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// fill puts the content into x.
func (c *ContentRow) fill(x *record.Exchange) error {
	if c.Said {
		t := &record.Content{System: c.System, Output: c.Output, Refusal: c.Refusal}
		if err := decode(c.Input, &t.Input); err != nil {
			return fmt.Errorf("input: %w", err)
		}
		if err := decode(c.ToolCalls, &t.ToolCalls); err != nil {
			return fmt.Errorf("tool calls: %w", err)
		}
		if c.Body != "" {
			t.Body = json.RawMessage(c.Body)
		}
		x.Content = t
	}
	if err := decode(c.TopK, &x.TopK); err != nil {
		return fmt.Errorf("top_k: %w", err)
	}
	var reasons []string
	if err := decode(c.Reasons, &reasons); err != nil {
		return fmt.Errorf("reasons: %w", err)
	}
	for i := range reasons {
		if i < len(x.Scores) {
			x.Scores[i].Reason = reasons[i]
		}
	}
	if n := len(c.Embedding); n >= 4 {
		x.Embedding = make([]float32, n/4)
		for i := range x.Embedding {
			x.Embedding[i] = math.Float32frombits(binary.LittleEndian.Uint32([]byte(c.Embedding[4*i : 4*i+4])))
		}
	}
	return nil
}

func decode(s string, to any) error {
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), to)
}
