package openai

import (
	"strings"
	"testing"
)

// What llama-cpp-python 0.3.36 answered for SmolLM2-135M-Instruct, a model without a mark for the start
// of a text: the numbers stand with the wrong tokens, and the token it made up has none. With
// tokenizer.ggml.add_bos_token=true it answered as in the second case.
func TestShiftedEchoIsRefused(t *testing.T) {
	const text = "The capital of France is Paris"
	tokens := []string{"The", " capital", " of", " France", " is", " Paris"}
	values := func(list ...float64) []*float64 {
		out := []*float64{nil}
		for i := range list {
			out = append(out, &list[i])
		}
		return out
	}
	shifted := &textChoice{Text: text + ".", Logprobs: &textLogprobs{Tokens: tokens, Values: values(-9.599956, -10.462464, -11.225584, -11.794838, -8.452632)}}
	if _, f := newEcho("x", text, shifted); f == nil || !strings.Contains(f.Message, "other tokens") {
		t.Errorf("%v", f)
	}
	right := &textChoice{Text: text + ".", Logprobs: &textLogprobs{Tokens: append(tokens, "."), Values: values(-15.742517, -0.750776, -4.164986, -1.552391, -0.267834, -0.546411)}}
	e, f := newEcho("x", text, right)
	if f != nil {
		t.Fatal(f)
	}
	if l, f := e.likelihood(len("The capital of France is"), " Paris"); f != nil || l.Logprob != -0.267834 || l.Tokens != 1 {
		t.Errorf("%+v, %v", l, f)
	}
	// Nothing was made up, or the last token goes on into it.
	for _, ch := range []*textChoice{
		{Text: text, Logprobs: &textLogprobs{Tokens: tokens, Values: values(-1, -1, -1, -1, -1)}},
		{Text: text + "ian", Logprobs: &textLogprobs{Tokens: []string{"The capital of France is", " Parisian"}, Values: values(-1)}},
	} {
		if _, f := newEcho("x", text, ch); f != nil {
			t.Errorf("%q: %v", ch.Text, f)
		}
	}
}
