package sim

import (
	"strconv"
	"strings"
)

// form puts text into the form that was asked for, and says whether the result is JSON. A prompt
// of the assistant asks for JSON by naming it; rules and echoes are changed by response_format only.
func (w *writer) form(text, last string) (string, bool) {
	if w.refused {
		return text, false
	}
	switch w.q.Format.Kind {
	case JSONSchema:
		if s, err := parseSchema(w.q.Format.Schema); err == nil {
			f := filler{w: w, text: text, root: s}
			return string(f.value(nil, s, "", 0)), true
		}
		return w.object(text), true
	case JSONObject:
		return w.object(text), true
	}
	if w.v.Mode != Assistant || w.intent == "rule" {
		return text, false
	}
	asked := containsFold(last, "json")
	for i := 0; i < len(w.q.Messages) && !asked; i++ {
		if m := &w.q.Messages[i]; m.Role == "system" || m.Role == "developer" {
			asked = containsFold(m.Text(), "json")
		}
	}
	if asked {
		return w.object(text), true
	}
	return text, false
}

// object is the JSON answer to a prompt that does not say which fields it wants.
func (w *writer) object(text string) string {
	b := make([]byte, 0, len(text)+64)
	b = append(b, `{"intent":`...)
	b = appendString(b, w.intent)
	b = append(b, `,"answer":`...)
	if w.number != "" {
		b = append(b, w.number...)
	} else {
		b = appendString(b, text)
	}
	b = append(b, `,"confidence":`...)
	b = w.confidence(b)
	return string(append(b, '}'))
}

// confidence appends a number from 0.80 to 0.99.
func (w *writer) confidence(b []byte) []byte {
	return strconv.AppendFloat(b, float64(80+pick(w.key, forField, 0, 20))/100, 'f', 2, 64)
}

// looksJSON says whether text is meant as JSON: an object or a list.
func looksJSON(text string) bool {
	text = strings.TrimSpace(text)
	return len(text) > 1 && (text[0] == '{' && text[len(text)-1] == '}' || text[0] == '[' && text[len(text)-1] == ']')
}

// breakJSON spoils a JSON object or list in one of three ways; no parser accepts the result.
func breakJSON(text string, way int) string {
	text = strings.TrimSpace(text)
	switch way {
	case 0: // cut off
		return text[:max(1, len(text)*2/3)]
	case 1: // a comma too many
		return text[:len(text)-1] + "," + text[len(text)-1:]
	}
	return "Here is the JSON you asked for: " + text[:len(text)-1]
}
