package guard

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

// Checked is what a guard makes of a text that a model might answer.
type Checked struct {
	// Text is what the user reads; empty when nothing was passed on.
	Text   string `json:"text"`
	Report Report `json:"report"`
}

// Check shows what becomes of a text, for looking at a guard by hand. When the guard has the model asked again, what becomes of the same
// text as its next answer comes after that, and so on: the last one is what the user gets from a model that does not do as it is told. With
// piece above 0 the text comes as a stream of a chat, in pieces of so many characters.
func (g *Guard) Check(text string, piece int) []Checked {
	var out []Checked
	var before *Verdict
	for {
		one, v := g.check(text, piece, before)
		out = append(out, one)
		if v.Outcome != Again {
			return out
		}
		before = &v
	}
}

func (g *Guard) check(s string, piece int, before *Verdict) (Checked, Verdict) {
	if piece <= 0 {
		a := g.Answer(Options{API: textAPI, Before: before})
		out := bytes.Clone(a.Push(append(append([]byte(`{"text":`), quote(s)...), '}')))
		end, v := a.End(true)
		out = append(out, end...)
		w := open(out, 0)
		for w.next() {
			if string(w.name()) == "text" {
				return Checked{text(out, w.val), v.Report}, v
			}
		}
		return Checked{"", v.Report}, v
	}
	a := g.Answer(Options{API: record.APIChat, Stream: true, Before: before})
	var passed []byte
	event := func(delta, finish string) {
		b := append([]byte("data: {\"choices\":[{\"index\":0,\"delta\":"), delta...)
		b = append(append(append(b, ",\"finish_reason\":"...), finish...), "}]}\n\n"...)
		passed = append(passed, a.Push(b)...)
	}
	for rest := s; rest != "" && !a.Done(); {
		n := 0
		for i := 0; i < piece && n < len(rest); i++ {
			_, size := utf8.DecodeRuneInString(rest[n:])
			n += size
		}
		event(`{"content":`+string(quote(rest[:n]))+`}`, "null")
		rest = rest[n:]
	}
	if !a.Done() {
		event("{}", `"stop"`)
	}
	if !a.Done() {
		passed = append(passed, a.Push([]byte("data: [DONE]\n\n"))...)
	}
	end, v := a.End(true)
	return Checked{streamed(append(passed, end...)), v.Report}, v
}

// streamed is the text of a chat's events.
func streamed(b []byte) string {
	var out []byte
	for line := range bytes.Lines(b) {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		var e struct {
			Choices []struct {
				Delta struct {
					Content string `json:"content"`
				} `json:"delta"`
			} `json:"choices"`
		}
		if json.Unmarshal(data, &e) != nil { // [DONE]
			continue
		}
		for _, c := range e.Choices {
			out = append(out, c.Delta.Content...)
		}
	}
	return string(out)
}
