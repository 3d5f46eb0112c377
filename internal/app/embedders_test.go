package app

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// BERTScore over an encoder in a directory, against what numpy makes of the same weights.
func TestBERTScoreOverAnEncoder(t *testing.T) {
	data, err := os.ReadFile("../embed/testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		BERTScore struct {
			Candidate, Reference string
			PRF                  []float64
		}
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	v := testServices(t, nil)
	for i, of := range []string{"precision", "recall", "f1"} {
		a := config.Assertion{Type: "bertscore", Value: want.BERTScore.Reference, Provider: "onnx:../embed/testdata/tiny", Config: config.Object{Map: map[string]any{"of": of}}}
		c, err := scorer.Compile(a, ".", v.forScorers())
		if err != nil {
			t.Fatal(err)
		}
		s := c.Score(t.Context(), &scorer.Input{Response: &record.Response{Output: want.BERTScore.Candidate}})
		if s.Error != "" || math.Abs(s.Measures[0].Value-want.BERTScore.PRF[i]) > 1e-5 {
			t.Errorf("%s: %+v, want %v", of, s, want.BERTScore.PRF[i])
		}
		if !strings.Contains(c.Signature(), "|onnx:tiny@") || !strings.Contains(c.Signature(), "|layer:last|of:"+of) || c.Caution() != "" {
			t.Errorf("signature %s, caution %q", c.Signature(), c.Caution())
		}
	}
}

func TestLocalEmbedders(t *testing.T) {
	v := testServices(t, nil)
	e, err := v.embedder(nil, atProvider)
	if err != nil || e.Name() != "lexical/1" {
		t.Errorf("without a provider: %v, %v", e, err)
	}
	c, err := scorer.Compile(config.Assertion{Type: "similar", Value: "x"}, ".", v.forScorers())
	if err != nil || c.Caution() != scorer.LexicalCaution {
		t.Errorf("%v", err)
	}
	for _, bad := range []any{"lexical:2", "onnx:", "onnx:nowhere", map[string]any{"id": "lexical", "config": map[string]any{"dims": int64(3)}}} {
		var e *config.Error
		if _, err := v.embedder(bad, atProvider); !errors.As(err, &e) || e.File != "s.yaml" {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
