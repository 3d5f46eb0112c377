package record

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Message is one turn of a chat. Content is plain text unless Parts is set.
type Message struct {
	Role    string
	Content string
	Parts   []Part
}

// Part is a piece of a multi-modal message: Text, or ImageURL (an http(s) URL or a data URI).
type Part struct {
	Text     string
	ImageURL string
	Detail   string // image detail: low, high, auto; empty leaves it to the provider
}

type wirePart struct {
	Type     string     `json:"type"`
	Text     *string    `json:"text,omitempty"`
	ImageURL *wireImage `json:"image_url,omitempty"`
}

type wireImage struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

// MarshalJSON writes the shape of OpenAI's chat API: content is a string, or a list of parts.
func (m Message) MarshalJSON() ([]byte, error) {
	type wire struct {
		Role    string `json:"role"`
		Content any    `json:"content"`
	}
	if len(m.Parts) == 0 {
		return json.Marshal(wire{m.Role, m.Content})
	}
	parts := make([]wirePart, len(m.Parts))
	for i, p := range m.Parts {
		if p.ImageURL != "" {
			parts[i] = wirePart{Type: "image_url", ImageURL: &wireImage{p.ImageURL, p.Detail}}
			continue
		}
		parts[i] = wirePart{Type: "text", Text: &p.Text}
	}
	return json.Marshal(wire{m.Role, parts})
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses other part types by name.
func (m *Message) UnmarshalJSON(b []byte) error {
	var w struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*m = Message{Role: w.Role}
	if len(w.Content) == 0 || string(w.Content) == "null" {
		return nil
	}
	if w.Content[0] == '"' {
		return json.Unmarshal(w.Content, &m.Content)
	}
	var parts []wirePart
	if err := json.Unmarshal(w.Content, &parts); err != nil {
		return fmt.Errorf("message content: want a string or a list of parts: %w", err)
	}
	for i, p := range parts {
		switch {
		case p.Type == "text" && p.Text != nil:
			m.Parts = append(m.Parts, Part{Text: *p.Text})
		case p.Type == "image_url" && p.ImageURL != nil && p.ImageURL.URL != "":
			m.Parts = append(m.Parts, Part{ImageURL: p.ImageURL.URL, Detail: p.ImageURL.Detail})
		default:
			return fmt.Errorf("message part %d: type %q: want text with text, or image_url with url", i, p.Type)
		}
	}
	return nil
}

// Text returns the message's text, parts joined by newlines, images left out.
func (m Message) Text() string {
	if len(m.Parts) == 0 {
		return m.Content
	}
	var texts []string
	for _, p := range m.Parts {
		if p.ImageURL == "" {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// PromptText returns what a reader would call the prompt: the text of a single message, or all
// messages as "role: text" lines.
func PromptText(ms []Message) string {
	if len(ms) == 1 {
		return ms[0].Text()
	}
	var b strings.Builder
	for i, m := range ms {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(m.Role)
		b.WriteString(": ")
		b.WriteString(m.Text())
	}
	return b.String()
}
