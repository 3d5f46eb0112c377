package scorer

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestCompileRefuses(t *testing.T) {
	at := config.Pos{File: "s.yaml", Line: 7, Key: "assert[0]"}
	value := config.Pos{File: "s.yaml", Line: 8, Key: "assert[0].value"}
	f := func(a config.Assertion, want ...string) {
		t.Helper()
		a.Pos, a.ValuePos = at, value
		_, err := Compile(a, "", nil)
		if err == nil {
			t.Errorf("%+v was accepted", a)
			return
		}
		if _, one := errors.AsType[*config.Error](err); !one {
			t.Errorf("%T is not a config error", err)
		}
		for _, w := range append(want, "s.yaml:") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s %v: the error is %q, want %q in it", a.Type, a.Value, err, w)
			}
		}
	}
	typ := func(typ string, v any) config.Assertion { return config.Assertion{Type: typ, Value: v} }
	f(typ("", nil), "no type")
	f(typ("contain", "x"), `assert[0].type`, `did you mean "contains"?`)
	f(typ("quux-quux-quux", "x"), "no such assertion type", "docs/scorers.md")
	f(typ("llm-rubric", "x"), "judge")
	f(config.Assertion{Type: "similar", Not: true}, "not-similar", "needs a value")
	f(typ("contains", nil), "contains needs a value")
	f(config.Assertion{Type: "contains", Not: true}, "not-contains needs a value")
	f(typ("latency", nil), "latency needs a threshold")
	f(config.Assertion{Type: "latency", Value: "x", Threshold: new(1.0)}, "latency takes no value")
	f(config.Assertion{Type: "contains", Value: "x", Threshold: new(1.0)}, "contains takes no threshold")
	f(config.Assertion{Type: "cost", Threshold: new(math.NaN())}, "NaN is not a threshold")
	f(config.Assertion{Type: "contains", Value: "x", Weight: new(-1.0)}, "-1 is not a weight")
	f(config.Assertion{Type: "contains", Value: "x", Config: config.Object{Map: map[string]any{"y": 1.0}}}, `unknown key "y"`)
	f(config.Assertion{Type: "tokens", Not: true}, "only measures")
	f(config.Assertion{Type: "cel", Value: "2.0", Not: true}, "only measures")
	f(config.Assertion{Type: "latency", Threshold: new(0.0)}, "above 0")
	f(config.Assertion{Type: "tokens", Threshold: new(0.0)}, "at least 1")
	f(config.Assertion{Type: "levenshtein", Value: "x", Threshold: new(-1.0)}, "nothing can meet")

	f(typ("contains", ""), "contained in everything", "s.yaml:8")
	f(typ("contains", []any{"a"}), "not a text")
	f(typ("contains-any", []any{}), "list is empty")
	f(typ("contains-any", " , "), "list is empty")
	f(typ("contains-all", []any{"a", ""}), "[1]", "empty text")
	f(typ("contains-any", []any{[]any{"a"}}), "[0]", "not a text")
	f(typ("contains-any", `"a`), "not closed")
	f(typ("contains-any", `"a" b`), "no comma")
	f(typ("regex", "a(b"), `"a(b"`, "missing closing )")
	f(typ("regex", `(?=a)\y`), "invalid regular expression")
	f(typ("regex", `\p{Foo}`), "invalid character class range")
	f(typ("regex", ""), "non-empty")
	f(typ("word-count", "many"), `"many"`, "number of words")
	f(typ("word-count", 1.5), "number of words")
	f(typ("word-count", map[string]any{"min": int64(3), "max": int64(2)}), "above max")
	f(typ("word-count", map[string]any{}), "every output")
	f(typ("word-count", map[string]any{"min": int64(0)}), "every output")
	f(typ("word-count", map[string]any{"mim": int64(1)}), `did you mean "min"?`)
	f(typ("finish-reason", ""), "finish reason")
	f(typ("is-json", ""), "schema is empty")
	f(typ("is-json", []any{}), "cannot be a list")
	f(typ("is-json", "{{"), "neither JSON nor YAML")
	f(typ("is-json", map[string]any{"type": "objekt"}), "not a valid JSON Schema", "/type")
	f(typ("is-json", map[string]any{"$ref": "https://example.com/s.json"}), "not followed")
	f(typ("is-json", map[string]any{"$ref": "file:///etc/passwd"}), "not followed")
	f(typ("is-json", map[string]any{"$ref": "other.json"}), `"other.json" is not followed`)
	f(typ("is-json", map[string]any{"pattern": "(a"}), "not a valid JSON Schema")
	f(typ("is-xml", int64(3)), "names no elements")
	f(typ("is-xml", map[string]any{"required": []any{"a"}}), `unknown key "required"`)
	f(typ("is-xml", map[string]any{"requiredElements": []any{"a..b"}}), `"a..b" is not a path`)
	f(typ("forbidden", []any{}), "cannot fail")
	f(typ("forbidden", "\n"), "cannot fail")
	f(typ("forbidden", []any{"ok", "\u200b"}), "phrase 2 is empty")
	f(config.Assertion{Type: "forbidden", Value: "x", Config: config.Object{Map: map[string]any{"case": "upper"}}}, "sensitive or insensitive")
	f(typ("language", "Klingon"), `"Klingon"`, "English name")
	f(typ("cel", "output.size( > 3"), "Syntax error", "line 1, column")
	f(typ("cel", "outptu == ''"), "undeclared reference to 'outptu'")
	f(typ("cel", "output"), "gives string")
	f(config.Assertion{Type: "cel", Value: "output == ''", Threshold: new(1.0)}, "cannot be compared")
}

// Two mistakes are reported together.
func TestCompileReportsAllNeeds(t *testing.T) {
	_, err := Compile(config.Assertion{Type: "contains", Threshold: new(1.0)}, "", nil)
	if all, ok := errors.AsType[config.Errors](err); !ok || len(all) != 2 {
		t.Errorf("got %v, want the missing value and the threshold that is not wanted", err)
	}
}

// assertionOf is an assertion around a scorer of the test's own.
func assertionOf(k Kind, not bool, threshold *float64, score Func) *Assertion {
	typ := "probe"
	if not {
		typ = "not-probe"
	}
	return &Assertion{kind: k, scorer: score, name: typ, typ: typ, not: not, spec: Spec{Threshold: threshold},
		shape: shape{continuous: k.Continuous, graded: k.Unit == "", unit: k.Unit, judges: true}}
}

func TestScoreTurnsTroubleIntoErrors(t *testing.T) {
	f := func(k Kind, not bool, want string, score Func) {
		t.Helper()
		k.Name = "probe"
		c := assertionOf(k, not, new(0.5), score)
		s := c.Score(t.Context(), &Input{Response: &record.Response{}})
		checkScore(t, c, s)
		if !strings.Contains(s.Error, want) || s.Error == "" {
			t.Errorf("the error is %q, want %q", s.Error, want)
		}
	}
	gives := func(r Result, err error) Func {
		return func(context.Context, *Input) (Result, error) { return r, err }
	}
	pass := new(true)
	f(Kind{}, false, "probe failed: boom", func(context.Context, *Input) (Result, error) { panic("boom") })
	f(Kind{}, false, "cannot say", gives(judged(true, ""), errors.New("cannot say")))
	f(Kind{}, false, "could not judge", gives(Result{}, errors.New("")))
	f(Kind{}, false, "want 0 or 1", gives(Result{Value: 0.5, Pass: pass}, nil))
	f(Kind{Continuous: true}, false, "not a number", gives(Result{Value: math.NaN(), Pass: pass}, nil))
	f(Kind{Continuous: true}, true, "not a number", gives(Result{Value: math.Inf(1), Pass: pass}, nil))
	f(Kind{Continuous: true}, false, "for probe.x", gives(Result{Pass: pass, Measures: []record.Measure{{Metric: ".x", Value: math.NaN()}}}, nil))
	f(Kind{Continuous: true}, false, "not a number", gives(Result{Pass: pass, Measures: []record.Measure{{Stats: []float64{1, math.Inf(-1)}}}}, nil))
	f(Kind{Continuous: true}, true, "no outcome", gives(Result{Value: 1}, nil))
	f(Kind{}, false, "no answer", gives(Result{}, nil).onNoAnswer)
}

// onNoAnswer makes the same error as an input without an answer does.
func (f Func) onNoAnswer(ctx context.Context, in *Input) (Result, error) {
	return (&Assertion{scorer: f}).judge(ctx, &Input{})
}

func TestNegation(t *testing.T) {
	f := func(k Kind, in Result, value float64, measures ...record.Measure) {
		t.Helper()
		given := append([]record.Measure(nil), in.Measures...)
		c := assertionOf(k, true, new(0.5), func(context.Context, *Input) (Result, error) { return in, nil })
		s := c.Score(t.Context(), &Input{Response: &record.Response{}})
		if s.Error != "" || *s.Value != value || *s.Pass == *in.Pass || !reflect.DeepEqual(s.Measures, measures) {
			t.Errorf("got %+v, want value %v and %+v", s, value, measures)
		}
		if !reflect.DeepEqual(in.Measures, given) {
			t.Errorf("the scorer's own measures were changed: %+v", in.Measures)
		}
	}
	pass := new(true)
	f(Kind{}, judged(true, ""), 0, record.Measure{Metric: "not-probe", Value: 0, Kind: "rate"})
	f(Kind{Continuous: true}, Result{Value: 0.25, Pass: pass}, 0.75, record.Measure{Metric: "not-probe", Value: 0.75, Kind: "mean"})
	f(Kind{Continuous: true, Unit: "s"}, Result{Value: 3, Pass: pass}, 3, record.Measure{Metric: "not-probe", Value: 3, Kind: "mean", Unit: "s"})
	f(Kind{Continuous: true}, Result{Value: 1, Pass: pass, Measures: []record.Measure{
		{Metric: ".", Value: 1, Kind: "rate"},
		{Metric: ".items", Value: 3, Weight: 4, Kind: "ratio"},
		{Metric: "other", Value: 0.25},
		{Metric: ".bleu", Kind: "corpus/bleu", Stats: []float64{1, 2}},
		{Metric: ".time", Value: 2, Unit: "s"},
	}}, 0,
		record.Measure{Metric: "not-probe", Value: 0, Kind: "rate"},
		record.Measure{Metric: "not-probe.items", Value: 1, Weight: 4, Kind: "ratio"},
		record.Measure{Metric: "other", Value: 0.75},
		record.Measure{Metric: "not-probe.bleu", Kind: "corpus/bleu", Stats: []float64{1, 2}},
		record.Measure{Metric: "not-probe.time", Value: 2, Unit: "s"})
}

func TestScoreOfAMeasurement(t *testing.T) {
	c := compile(t, config.Assertion{Type: "cost", Metric: "price"})
	s := c.Score(t.Context(), &Input{Response: &record.Response{Cost: new(0.25)}})
	want := record.Score{Name: "price", Type: "cost", Value: new(0.25),
		Measures: []record.Measure{{Metric: "price", Value: 0.25, Kind: "mean", Unit: "usd"}}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

// The template as written, not what it was filled with, is the recipe of a case's assertion.
func TestSignatureOfATemplate(t *testing.T) {
	one := compile(t, config.Assertion{Type: "contains", Value: "a"})
	other := compile(t, config.Assertion{Type: "contains", Value: "b"})
	if one.Signature() == other.Signature() || one.SignatureOf("{{x}}") != other.SignatureOf("{{x}}") || one.SignatureOf("a") != one.Signature() {
		t.Errorf("%s and %s; of the template %s", one.Signature(), other.Signature(), one.SignatureOf("{{x}}"))
	}
}

func TestTimedAssertions(t *testing.T) {
	f := func(a config.Assertion, want bool) {
		t.Helper()
		if got := compile(t, a).Timed(); got != want {
			t.Errorf("%s %v: timed %v", a.Type, a.Value, got)
		}
	}
	f(config.Assertion{Type: "latency", Threshold: new(1.0)}, true)
	f(config.Assertion{Type: "cost"}, false)
	f(config.Assertion{Type: "cel", Value: "output == '' || latency < 2.0"}, true)
	f(config.Assertion{Type: "cel", Value: "output == 'latency'"}, false)
}
