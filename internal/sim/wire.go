package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

// The request bodies of the APIs: what the model looks at. Fields not named here are accepted and
// have no effect, as with a server that is older than its client.

// wireMessage is one message of any of the APIs.
type wireMessage struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is a string, null, or a list of parts, of which texts and images count.
type content struct {
	text  string
	parts []record.Part
}

type wirePart struct {
	Type     string          `json:"type"`
	Text     string          `json:"text"`
	ImageURL json.RawMessage `json:"image_url"` // {url} in chat, a string in responses
	Source   json.RawMessage `json:"source"`    // of an Anthropic image
	Content  *content        `json:"content"`   // of a tool's result
}

// UnmarshalJSON reads any of the three.
func (c *content) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		return nil
	case '"':
		// The literal has been checked; most hold nothing to decode.
		if bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) {
			c.text = string(b[1 : len(b)-1])
			return nil
		}
		return json.Unmarshal(b, &c.text)
	case '[':
	default:
		return fmt.Errorf("content: want a string or a list of parts")
	}
	var parts []wirePart
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		switch {
		case p.Type == "":
			return fmt.Errorf("content: a part without a type")
		case len(p.ImageURL) > 0:
			c.parts = append(c.parts, record.Part{ImageURL: string(imageURL(p.ImageURL))})
		case len(p.Source) > 0:
			c.parts = append(c.parts, record.Part{ImageURL: string(p.Source)})
		case p.Content != nil:
			c.parts = append(c.parts, record.Part{Text: p.Content.text})
			c.parts = append(c.parts, p.Content.parts...)
		default:
			c.parts = append(c.parts, record.Part{Text: p.Text})
		}
	}
	return nil
}

// imageURL returns the URL of {"url": …} or "…".
func imageURL(b json.RawMessage) []byte {
	var o struct {
		URL string `json:"url"`
	}
	var s string
	if json.Unmarshal(b, &o) == nil && o.URL != "" {
		return []byte(o.URL)
	}
	if json.Unmarshal(b, &s) == nil {
		return []byte(s)
	}
	return b
}

func (m *wireMessage) record() record.Message {
	return record.Message{Role: m.Role, Content: m.Content.text, Parts: m.Content.parts}
}

// stringList is a string, a list of strings, or null.
type stringList []string

// UnmarshalJSON reads any of the three.
func (l *stringList) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		return nil
	case '"':
		*l = make(stringList, 1)
		return json.Unmarshal(b, &(*l)[0])
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// inputs is a string, a list of strings, a list of token numbers, or a list of such lists. Token
// numbers are text as far as the model is concerned.
type inputs []string

// UnmarshalJSON reads any of the four.
func (l *inputs) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		return nil
	case '"':
		*l = make(inputs, 1)
		return json.Unmarshal(b, &(*l)[0])
	}
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	for _, e := range list {
		switch e[0] {
		case '"':
			var s string
			if err := json.Unmarshal(e, &s); err != nil {
				return err
			}
			*l = append(*l, s)
		case '[':
			var tokens []int
			if err := json.Unmarshal(e, &tokens); err != nil {
				return err
			}
			*l = append(*l, fmt.Sprint(tokens))
		case '{': // a moderation part
			var p wirePart
			if err := json.Unmarshal(e, &p); err != nil {
				return err
			}
			*l = append(*l, p.Text)
		default: // one list of tokens
			var tokens []int
			if err := json.Unmarshal(b, &tokens); err != nil {
				return err
			}
			*l = inputs{fmt.Sprint(tokens)}
			return nil
		}
	}
	return nil
}

// responseFormat is OpenAI's response_format, and text.format of the Responses API.
type responseFormat struct {
	Type       string          `json:"type"`
	Schema     json.RawMessage `json:"schema"`
	JSONSchema *struct {
		Schema json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

// format checks f, which may be nil.
func (f *responseFormat) format(param string) (Format, *apiError) {
	if f == nil {
		return Format{}, nil
	}
	switch f.Type {
	case "", "text":
		return Format{}, nil
	case "json_object":
		return Format{Kind: JSONObject}, nil
	case "json_schema":
		s := f.Schema
		if f.JSONSchema != nil {
			s = f.JSONSchema.Schema
		}
		if _, err := parseSchema(s); err != nil {
			return Format{}, badRequest(param, "invalid schema: %v", err)
		}
		return Format{Kind: JSONSchema, Schema: s}, nil
	}
	return Format{}, badRequest(param, "unknown type %q; want text, json_object or json_schema", f.Type)
}

// sampling holds the parameters that the OpenAI APIs share.
type sampling struct {
	Model       string     `json:"model"`
	Stream      bool       `json:"stream"`
	Seed        *int64     `json:"seed"`
	Temperature *float64   `json:"temperature"`
	Stop        stringList `json:"stop"`
}

const (
	maxChoices  = 128
	maxMessages = 10_000
	maxInputs   = 2048
	maxStops    = 16
)

func (s *sampling) check() *apiError {
	if s.Temperature != nil && !(*s.Temperature >= 0 && *s.Temperature <= 2) {
		return badRequest("temperature", "%g is out of range; want 0 to 2", *s.Temperature)
	}
	if len(s.Stop) > maxStops {
		return badRequest("stop", "%d sequences; want at most %d", len(s.Stop), maxStops)
	}
	return nil
}

// limit reads the first of several token limits that is set; none means no limit.
func limit(param string, values ...*int) (int, *apiError) {
	for _, v := range values {
		if v == nil {
			continue
		}
		if *v < 1 {
			return 0, badRequest(param, "%d is too low; want at least 1", *v)
		}
		return *v, nil
	}
	return 0, nil
}

// messages checks and converts a list of messages.
func messages(in []wireMessage, lead ...record.Message) ([]record.Message, *apiError) {
	if len(in) == 0 {
		return nil, badRequest("messages", "want at least one message")
	}
	if len(in) > maxMessages {
		return nil, badRequest("messages", "%d messages; want at most %d", len(in), maxMessages)
	}
	out := make([]record.Message, 0, len(lead)+len(in))
	out = append(out, lead...)
	for i := range in {
		switch in[i].Role {
		case "system", "developer", "user", "assistant", "tool", "function":
		default:
			return nil, badRequest(fmt.Sprintf("messages[%d].role", i), "unknown role %q", in[i].Role)
		}
		out = append(out, in[i].record())
	}
	return out, nil
}

// decodeBody reads a request body, which must be one JSON object.
func decodeBody(body []byte, v any) *apiError {
	if b := bytes.TrimLeft(body, " \t\r\n"); len(b) == 0 || b[0] != '{' {
		return badRequest("", "We could not parse the JSON body of your request: want a JSON object.")
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badRequest("", "We could not parse the JSON body of your request: %v", err)
	}
	return nil
}
