package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

// argumentsOf are the arguments that a client puts together from a stream.
func argumentsOf(t *testing.T, out []byte) string {
	t.Helper()
	var all string
	for line := range bytes.Lines(out) {
		data, ok := bytes.CutPrefix(line, []byte("data: {"))
		if !ok {
			continue
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					ToolCalls []struct{ Function struct{ Arguments string } } `json:"tool_calls"`
				}
			}
		}
		if err := json.Unmarshal(append([]byte{'{'}, data...), &chunk); err != nil {
			t.Fatal(err)
		}
		for _, c := range chunk.Choices {
			for _, call := range c.Delta.ToolCalls {
				all += call.Function.Arguments
			}
		}
	}
	return all
}

// Arguments stay JSON, whatever is masked in them and however they are cut and escaped; what cannot be masked without
// breaking them blocks the answer.
func TestToolArguments(t *testing.T) {
	g := build(t, everything)
	r := rand.New(rand.NewPCG(9, 10))
	blocked := 0
	for range 150 {
		args := []byte(`{"a": ` + string(escapes(r, sample(r))) + `, "b":[` + string(escapes(r, sample(r))) + `,41111],"c":` + string(escapes(r, "x")) + `}`)
		if !json.Valid(args) {
			t.Fatalf("%s", args)
		}
		var stream bytes.Buffer
		for i := 0; i < len(args); {
			n := min(len(args)-i, 1+r.IntN(12))
			fmt.Fprintf(&stream, "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":%s}}]}}]}\n\n", quoteRaw(args[i:i+n]))
			i += n
		}
		stream.WriteString("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n")
		out, v, _ := run(g, Options{API: record.APIChat, Stream: true}, pieces(r, stream.Bytes()))
		body := []byte(`{"choices":[{"index":0,"message":{"tool_calls":[{"function":{"arguments":` + string(quoteRaw(args)) + `}}]},"finish_reason":"tool_calls"}]}`)
		doc, whole, _ := run(g, Options{API: record.APIChat}, [][]byte{body})
		if v.Outcome != whole.Outcome {
			t.Fatalf("%s: %v in a stream, %v whole", args, v.Outcome, whole.Outcome)
		}
		if v.Outcome == Blocked {
			blocked++
			continue
		}
		var got struct {
			Choices []struct {
				Message struct {
					ToolCalls []struct{ Function struct{ Arguments string } } `json:"tool_calls"`
				}
			}
		}
		if err := json.Unmarshal(doc, &got); err != nil {
			t.Fatal(err)
		}
		want := got.Choices[0].Message.ToolCalls[0].Function.Arguments
		if !json.Valid([]byte(want)) {
			t.Fatalf("%s became %s", args, want)
		}
		if bytes.ContainsFunc(args, func(r rune) bool { return r >= 0x80 }) {
			continue // cut within a rune, which the client's decoder does not put together
		}
		if s := argumentsOf(t, out); s != want {
			t.Fatalf("%s became\n%s, whole\n%s", args, s, want)
		}
	}
	if blocked == 0 || blocked == 150 {
		t.Error(blocked, "blocked")
	}
}

// escapes writes a string literal with some of its letters as escapes.
func escapes(r *rand.Rand, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	out := []byte{'"'}
	escaped := false
	for _, c := range b[1 : len(b)-1] {
		switch {
		case escaped:
			out, escaped = append(out, c), false
		case c == '\\':
			out, escaped = append(out, c), true
		case c < 0x80 && c != 'u' && r.IntN(6) == 0 && !bytes.HasSuffix(out, []byte(`\u00`)) && !inUnicode(out):
			out = fmt.Appendf(out, `\u%04x`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

// inUnicode says whether the last bytes are the beginning of an escape.
func inUnicode(b []byte) bool {
	i := bytes.LastIndex(b, []byte(`\u`))
	return i >= 0 && len(b)-i < 6
}

// TestExampleAddresses: what is written for an example is masked as any address is, for a guard cannot know that it is one.
func TestExampleAddresses(t *testing.T) {
	g := build(t, "filters: [{name: p, pii: [email], action: replace}]")
	if got, _ := g.Text("Write to jane.doe@example.com, or to a@b.test."); got != "Write to [EMAIL], or to [EMAIL]." {
		t.Errorf("%q", got)
	}
}
