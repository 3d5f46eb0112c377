package sim

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestLoad(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load("full.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	steps := c.Script
	want := []Step{
		{From: time.Minute, To: 2 * time.Minute, Regression: LatencyRamp, Factor: 4, Over: 30 * time.Second},
		{FromRequest: 1000, ToRequest: 2000, Regression: ErrorSpike, Fault: Fault{Kind: Status, Status: 503, Rate: 0.5}},
		{Regression: Toxic, Rate: 0.1},
	}
	if !reflect.DeepEqual(steps, want) {
		t.Errorf("script:\n got %+v\nwant %+v", steps, want)
	}
	if len(c.Answers) != 4 || c.Answers[3].Answers[0] != `{"n":1,"ok":true}` {
		t.Errorf("answers: %+v", c.Answers)
	}
	if len(c.Faults) != 3 || c.Faults[0].RetryAfter != time.Second || *c.Faults[0].Retry || c.Faults[1].Kind != Cut || c.Faults[2].After != 30*time.Second {
		t.Errorf("errors: %+v", c.Faults)
	}
	v2 := c.Versions["v2"]
	if v2.Mode != Echo || len(v2.Script) != 1 || v2.Latency != c.Latency || len(v2.Answers) != 4 {
		t.Errorf("v2: %+v", v2)
	}
	if c.Seed != 7 || c.Model != "bot" || *c.Defaults.Temperature != 0.5 || !c.Defaults.JSON || c.Latency.TTFT.kind != lognormal || *c.Accuracy != 0.9 {
		t.Errorf("%+v", c)
	}
	newModel(t, c)
	newModel(t, load(t, ""))
	newModel(t, load(t, "# nothing\n"))
}

// TestLoadErrors: every mistake names file, line and key, and what was expected.
func TestLoadErrors(t *testing.T) {
	f := func(text string, line int, parts ...string) {
		t.Helper()
		_, err := Load("sim.yaml", []byte(text))
		if err == nil {
			t.Errorf("%q: no error", text)
			return
		}
		first := mistakes(t, err)[0]
		if first.Line != line || first.File != "sim.yaml" {
			t.Errorf("%q: at %s, want line %d", text, first.Pos, line)
		}
		for _, p := range parts {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("%q: %q does not contain %q", text, err, p)
			}
		}
	}
	f("mode: [", 1, "invalid YAML")
	f("- a", 1, "mapping")
	f("a: 1\n---\nb: 2", 3, "second document")
	f("seed: 1\nseed: 2", 2, "seed", "twice")
	f("seed: 1\nmoed: echo", 2, "moed", `did you mean "mode"`)
	f("\nmode: ecko", 2, "mode", "ecko", "assistant, echo, generated or answers")
	f("seed: soon", 1, "seed", "soon", "whole number")
	f("a: &x [*x]", 1, "more than")
	f("a: *x", 1, "anchor")
	f("a: {<<: {b: 1}}", 1, "merge")
	f("a: !!binary x", 1, "tag")
	f("answers: refund", 1, "answers", "list")
	f("answers: [refund]", 1, "answers[0]", "mapping")
	f("answers:\n- {match: \"(\", answer: x}", 2, "answers[0].match", "regular expression")
	f("answers:\n- {match: a, equals: b, answer: x}", 2, "answers[0].match", "2 of match")
	f("answers:\n- answer: x", 2, "0 of match")
	f("answers:\n- match: x", 2, "answers[0].answer", "0 of answer")
	f("answers:\n- match: x\n  answers: []", 3, "answers[0]")
	f("answers:\n- match: x\n  anser: y", 2, "0 of answer", "sim.yaml:3:3: answers[0].anser", `did you mean "answer"`)
	f("latency:\n  ttft: pareto(1)", 2, "latency.ttft", "pareto", "lognormal")
	f("latency:\n  first: 1s", 2, "latency.first")
	f("latency: slow", 1, "latency", "slow")
	f("length: 20ms", 1, "length", "tokens")
	f("arithmetic: 1.5", 1, "arithmetic", "0 to 1")
	f("errors:\n- rate: 0.1", 2, "errors[0].status", "400 to 599")
	f("errors:\n- status: 200", 2, "errors[0].status", "200")
	f("errors:\n- kind: boom", 2, "errors[0].kind", "boom")
	f("errors:\n- kind: cut\n  status: 500", 3, "errors[0].status", "not both")
	f("errors:\n- {status: 500, rate: 0.6}\n- {status: 503, rate: 0.6}", 1, "errors", "1.2")
	f("errors:\n- {status: 500, rate: -1}", 2, "errors[0].rate")
	f("errors:\n- {status: 500, retry_after: soon}", 2, "errors[0].retry_after")
	f("script:\n- {regression: rot}", 2, "script[0].regression", "rot", "token_shift")
	f("script:\n- {from: 2m, to: 1m, regression: toxic}", 2, "script[0].to")
	f("script:\n- {from_request: 20, to_request: 10, regression: toxic}", 2, "script[0].to_request")
	f("script:\n- {from: 2m, to_request: 10, regression: toxic}", 2, "not both")
	f("script:\n- {regression: latency_ramp}", 2, "adds nothing")
	f("script:\n- {regression: latency_ramp, factor: 3}", 2, "no latency to multiply")
	f("script:\n- {regression: latency_ramp, add: 1s, rate: 0}", 2, "no answer gets slower")
	f("script:\n- {regression: toxic, factor: 3}", 2, "factor")
	f("versions:\n  v2:\n    moed: echo", 3, "versions.v2.moed")
	f("versions:\n  v2: {model: x}", 2, "versions.v2.model")
	f("version: v2", 1, "version", "v2")
	f("temperature: 3", 1, "temperature")
	f("max_tokens: -1", 1, "max_tokens")
	f("response_format: xml", 1, "response_format", "xml")
	f("top_logprobs: 50", 1, "top_logprobs")
	if _, err := Load("sim.yaml", []byte("moed: x\nseed: y\nmode: z")); err == nil || strings.Count(err.Error(), "sim.yaml:") != 3 {
		t.Errorf("not every mistake is reported: %v", err)
	}
}

// mistakes returns the parts of an error that is the user's.
func mistakes(t *testing.T, err error) config.Errors {
	t.Helper()
	if one, ok := errors.AsType[*config.Error](err); ok {
		if many, ok := errors.AsType[config.Errors](err); ok {
			return many
		}
		return config.Errors{one}
	}
	t.Fatalf("not a mistake of the user's: %T: %v", err, err)
	return nil
}

func TestFromObject(t *testing.T) {
	o := config.Object{
		Pos:  config.Pos{File: "suite.yaml", Line: 4, Key: "providers[0].config"},
		Map:  map[string]any{"mode": "echo", "errors": []any{map[string]any{"status": uint64(500), "rate": 2.5}}},
		Keys: map[string]config.Pos{"errors": {File: "suite.yaml", Line: 6, Key: "providers[0].config.errors"}},
	}
	_, err := FromObject(o)
	if err == nil || !strings.Contains(err.Error(), "suite.yaml:6: providers[0].config.errors[0].rate") {
		t.Errorf("%v", err)
	}
	delete(o.Map, "errors")
	if c, err := FromObject(o); err != nil || c.Mode != Echo {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestParseFaults(t *testing.T) {
	f := func(text string, want ...Fault) {
		t.Helper()
		got, err := ParseFaults(text)
		if (err != nil) != (want == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("ParseFaults(%q) = %+v, %v", text, got, err)
		}
	}
	f("0.05", Fault{Kind: Status, Status: 500, Rate: 0.05})
	f("429=0.02, cut=0.01", Fault{Kind: Status, Status: 429, Rate: 0.02}, Fault{Kind: Cut, Rate: 0.01})
	f("")
	f("2")
	f("NaN")
	f("-0.1")
	f("200=0.1")
	f("boom=0.1")
	f("status=0.1")
	f("429")
	f("429=x")
	f("429=0.6,500=0.6")
}
