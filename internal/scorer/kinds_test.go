package scorer

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// example shows that a kind can pass and can fail: with one set of parameters, an answer each.
type example struct {
	value      any
	threshold  *float64
	config     map[string]any
	pass, fail record.Response
	assert     []config.Assertion // of a composite
	program    string             // what must be on the PATH
	provider   any                // of a judge
	context    string             // contextTransform
}

func says(s string) record.Response { return record.Response{Output: s} }

// examples has one for every kind.
func examples() map[string]example {
	took := func(d time.Duration) record.Response {
		return record.Response{Output: "x", Latency: d, TTFT: d}
	}
	contains := func(value any) example { return example{value: value, pass: says("Hello, World"), fail: says("bye")} }
	all := map[string]example{
		"equals":        {value: "yes", pass: says("yes"), fail: says("Yes")},
		"contains":      contains("World"),
		"icontains":     contains("wORLD"),
		"contains-any":  contains([]any{"Mars", "World"}),
		"icontains-any": contains([]any{"mars", "world"}),
		"contains-all":  contains([]any{"Hello", "World"}),
		"icontains-all": contains("hello,world"),
		"starts-with":   contains("Hello"),
		"istarts-with":  contains("hello"),
		"ends-with":     contains("World"),
		"iends-with":    contains("world"),
		"regex":         contains(`W\w+d$`),
		"levenshtein":   {value: "kitten", threshold: new(2.0), pass: says("mitten"), fail: says("sitting")},
		"word-count":    {value: map[string]any{"min": int64(2), "max": int64(3)}, pass: says("two words"), fail: says("one")},
		"finish-reason": {value: "stop", pass: record.Response{FinishReason: "Stop"}, fail: record.Response{FinishReason: "length"}},
		"is-refusal":    {pass: says("I'm sorry, but I can't assist with that."), fail: says("Paris.")},

		"is-json":       {value: map[string]any{"type": "object"}, pass: says(`{"a":1}`), fail: says(`[1]`)},
		"json-schema":   {value: map[string]any{"type": "object"}, pass: says(`{"a":1}`), fail: says(`{"a"}`)},
		"contains-json": {value: map[string]any{"required": []any{"a"}}, pass: says("here: {\"a\":1}."), fail: says(`here: {"b":1}`)},
		"is-xml":        {value: map[string]any{"requiredElements": []any{"r.a"}}, pass: says("<r><a/></r>"), fail: says("<r><b/></r>")},
		"contains-xml":  {pass: says("so: <r>1</r>"), fail: says("1 < 2")},

		"forbidden": {value: []any{"bomb"}, pass: says("a tomb"), fail: says("a BОMB")},
		"language": {value: "French", pass: says("Bonjour tout le monde, comment allez-vous aujourd'hui ?"),
			fail: says("Good morning everybody, how are you doing today?")},

		"toxicity":   {pass: says("Paris is the capital of France."), fail: says("You stupid fucking idiot.")},
		"moderation": {value: []any{"violence"}, pass: says("a quiet day"), fail: says("a violent day")},
		"pii":        {pass: says("Ask the help desk."), fail: says("Ask jane.doe@acme.org.")},
		"secrets":    {pass: says("The token is secret."), fail: says("The token is " + "ghp" + "_9fK2mX7qLs4Tz8VbN1cR6yWd3HgJ5pEa0uQi.")},
		"canary":     {value: "Canary-7f3K9q", pass: says("I keep canaries."), fail: says("q9k3f7 yranac")},

		"latency": {threshold: new(1000.0), pass: took(time.Second), fail: took(time.Second + time.Millisecond)},
		"ttft":    {threshold: new(1000.0), pass: took(time.Second), fail: took(time.Second + time.Millisecond)},
		"cost":    {threshold: new(0.01), pass: record.Response{Cost: new(0.01)}, fail: record.Response{Cost: new(0.011)}},
		"tokens": {threshold: new(100.0), pass: record.Response{Usage: record.Usage{Prompt: 50, Completion: 50}},
			fail: record.Response{Usage: record.Usage{Total: 101}}},

		"cel": {value: `output.size() > 3 && json == null`, pass: says("long"), fail: says("no")},
	}
	const ref = "the cat sat on the mat"
	for name, threshold := range map[string]*float64{"f1": new(0.7), "bleu": nil, "chrf": new(0.6), "chrf++": new(0.6), "gleu": nil, "rouge-n": nil,
		"rouge-1": new(0.9), "rouge-2": new(0.9), "rouge-l": new(0.9), "rouge-lsum": new(0.9), "meteor": nil} {
		all[name] = example{value: ref, threshold: threshold, pass: says(ref), fail: says("a dog ran away")}
	}
	all["exact-match"] = example{value: "Eiffel Tower", pass: says("The Eiffel tower!"), fail: says("Eiffel Tower, Paris")}
	all["numeric-answer"] = example{value: int64(18), pass: says("So it is $18.00."), fail: says("18 or 19")}
	all["ifeval"] = example{value: map[string]any{"instruction_id_list": []any{"punctuation:no_comma"}, "kwargs": []any{map[string]any{}}},
		pass: says("no comma here"), fail: says("one, two")}
	all["fuzzy-match"] = example{value: []any{"the Eiffel Tower"}, pass: says("Eiffel tower, Paris!"), fail: says("Big Ben")}
	all["lm-eval"] = example{config: map[string]any{"target": "want", "ignore_case": true, "filters": []any{map[string]any{"function": "remove_whitespace"}}},
		pass: says(" Blue\n"), fail: says("red")}
	all["is-sql"] = example{value: map[string]any{"databaseType": "postgresql", "allowedTables": []any{"users"}}, pass: says("SELECT id::text FROM users"), fail: says("SELECT id FROM orders")}
	all["contains-sql"] = example{pass: says("Try this:\n```sql\nSELECT 1\n```"), fail: says("SELECT what you like")}
	all["is-html"] = example{value: map[string]any{"closed": true}, pass: says("<p>Hello</p>"), fail: says("<div><p>Hello</p>")}
	all["contains-html"] = example{pass: says("Write <b>bold</b> text"), fail: says("if a < b then c > d")}
	call := func(name, arguments string) record.Response {
		return record.Response{ToolCalls: []record.ToolCall{{Name: name, Arguments: arguments}}}
	}
	all["is-valid-function-call"] = example{value: []any{map[string]any{"type": "function", "function": map[string]any{"name": "search",
		"parameters": map[string]any{"type": "object", "required": []any{"query"}}}}}, pass: call("search", `{"query":"cats"}`), fail: call("search", `{}`)}
	all["tool-calls"] = example{value: []any{map[string]any{"name": "search", "arguments": map[string]any{"query": "cats"}}}, config: map[string]any{"order": "subset"},
		pass: call("search", `{"query":"cats","limit":3}`), fail: call("search", `{"query":"dogs"}`)}
	all["forbidden-tools"] = example{value: []any{"delete_*"}, pass: call("search", `{}`), fail: call("delete_all", `{}`)}
	all["tool-call-f1"] = example{value: "search, send", threshold: new(0.6), pass: call("search", `{}`), fail: call("delete", `{}`)}
	all["assert-set"] = example{assert: []config.Assertion{{Type: "contains", Value: "a"}, {Type: "equals", Value: "b", Weight: new(3.0)}}, threshold: new(0.7),
		pass: says("b"), fail: says("a")}
	all["calibration"] = example{config: map[string]any{"confidence": map[string]any{"regex": `([0-9]+)%`}, "scale": int64(100)},
		assert: []config.Assertion{{Type: "contains", Value: "blue"}}, pass: says("blue (90%)"), fail: says("red (80%)")}
	all["javascript"] = example{value: "output.length > context.vars.want.length", pass: says("long enough"), fail: says("no"), program: "node"}
	all["python"] = example{value: "len(output) > len(context['vars']['want'])", pass: says("long enough"), fail: says("no"), program: "python3"}
	all["golden"] = example{config: map[string]any{"file": goldenExample()}, pass: says("Another good answer."), fail: says("a good answer")}
	maps.Copy(all, judgeExamples())
	maps.Copy(all, likelihoodExamples())
	maps.Copy(all, semanticExamples())
	// The test binary itself is the program: it looks for vars.want.
	all["exec"] = example{value: []any{os.Args[0], "-test.run=^TestExecChild$"}, config: map[string]any{"env": map[string]any{"TELLTALE_JUDGE": "pass", "GORACE": "atexit_sleep_ms=0"}},
		pass: says("a blue sky"), fail: says("a red one")}
	return all
}

// exampleVars are the variables with which the examples hold.
func exampleVars() map[string]any {
	return map[string]any{"want": "blue", "query": "What colour is the sky?", "context": "The sky is blue.\nGrass is green."}
}

func (e example) assertion(typ string) config.Assertion {
	return config.Assertion{Type: typ, Value: e.value, Threshold: e.threshold, Config: config.Object{Map: e.config}, Assert: e.assert,
		Provider: e.provider, ContextTransform: e.context}
}

func compile(t testing.TB, a config.Assertion) *Assertion {
	t.Helper()
	services := &Services{AllowCode: true, Moderator: moderates, Model: openScripted, Embedder: openOneHot}
	t.Cleanup(func() {
		if err := services.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := Compile(a, t.TempDir(), services)
	if err != nil {
		t.Fatalf("%s: %v", a.Type, err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", a.Type, err)
		}
	})
	return c
}

// Every kind must be able to pass and to fail, and its not- form must do the opposite; so must its aliases.
func TestEveryKindPassesAndFails(t *testing.T) {
	all := examples()
	for _, k := range Kinds() {
		if k.Name == "select-best" || k.Name == "max-score" {
			continue // they judge several answers; see TestSelectBest and TestMaxScore
		}
		e, ok := all[k.Name]
		if !ok {
			t.Errorf("%s has no example that it passes and fails", k.Name)
			continue
		}
		delete(all, k.Name)
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			t.Run(name, func(t *testing.T) {
				if e.program != "" {
					if _, err := exec.LookPath(e.program); err != nil {
						t.Skip(err)
					}
				}
				for _, not := range []bool{false, true} {
					a := e.assertion(name)
					a.Not = not
					c := compile(t, a)
					for want, r := range map[bool]record.Response{true: e.pass, false: e.fail} {
						s := c.Score(t.Context(), &Input{Response: &r, Vars: exampleVars(), Case: "example"})
						want = want != not
						if s.Error != "" || s.Pass == nil || *s.Pass != want {
							t.Errorf("not %v: %+v, want pass %v", not, s, want)
							continue
						}
						if (s.Reason == "") != want {
							t.Errorf("not %v, pass %v: the reason is %q", not, want, s.Reason)
						}
					}
				}
			})
		}
	}
	for name := range all {
		t.Errorf("there is an example of %s, which is no kind", name)
	}
}

func TestKindsAreFitToBeShown(t *testing.T) {
	for _, k := range Kinds() {
		switch {
		case k.Summary == "" || strings.ContainsAny(k.Summary, "\n|"):
			t.Errorf("%s: summary %q", k.Name, k.Summary)
		case k.Version == "" || strings.Contains(k.Version, "|"):
			t.Errorf("%s: version %q", k.Name, k.Version)
		case strings.HasPrefix(k.Name, "not-") || k.Name != strings.ToLower(k.Name):
			t.Errorf("%s: name", k.Name)
		case k.Build == nil:
			t.Errorf("%s cannot be built", k.Name)
		case k.Default != nil && k.Threshold == Forbidden:
			t.Errorf("%s has a default for a threshold that it does not take", k.Name)
		}
	}
}

// checkScore holds a score against the three forms that record.Score allows.
func checkScore(t *testing.T, c *Assertion, s record.Score) {
	t.Helper()
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	if s.Name != c.Name() || s.Type != c.Type() || s.Weight != c.Weight() {
		t.Errorf("%s: %+v", c.Type(), s)
	}
	if s.Error != "" {
		if s.Value != nil || s.Pass != nil || s.Detail != nil || len(s.Measures) != 0 {
			t.Errorf("%s: an error with a judgement: %+v", c.Type(), s)
		}
		return
	}
	switch {
	case s.Value == nil || !finite(*s.Value):
		t.Errorf("%s: no value and no error: %+v", c.Type(), s)
	case !c.Continuous() && *s.Value != 0 && *s.Value != 1:
		t.Errorf("%s: value %v of a rate", c.Type(), *s.Value)
	case c.Judges() != (s.Pass != nil):
		t.Errorf("%s: judges %v, but pass is %v", c.Type(), c.Judges(), s.Pass)
	case !c.Continuous() && *s.Pass != (*s.Value == 1):
		t.Errorf("%s: value %v, pass %v", c.Type(), *s.Value, *s.Pass)
	case s.Pass != nil && !*s.Pass && s.Reason == "":
		t.Errorf("%s failed without a reason", c.Type())
	case len(s.Measures) == 0:
		t.Errorf("%s adds nothing to a metric", c.Type())
	}
	for _, m := range s.Measures {
		if m.Metric == "" || strings.HasPrefix(m.Metric, ".") || !finite(m.Value) || !finite(m.Weight) {
			t.Errorf("%s: measure %+v", c.Type(), m)
		}
	}
	if _, err := json.Marshal(s); err != nil {
		t.Errorf("%s: %v", c.Type(), err)
	}
}

// Whatever the answer, each kind gives an error, a measurement or a judgement, and always the same.
func TestScoresKeepTheirInvariant(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"", " ", "Hello, World", "{\"a\":", "1}", "[", "]", "<r>", "</r>", "<a/>", "bomb", "kіll", "\x00", "\xff\xfe", "é", "e\u0301",
		"I can't help with that", "1e999", "\u200b", "𝐀", "\n", "yes", "#### 42", "\"", "\\u12", "-0", strings.Repeat("(", 300)}
	answer := func() *record.Response {
		r := &record.Response{Cached: rng.IntN(4) == 0}
		for range rng.IntN(6) {
			r.Output += pieces[rng.IntN(len(pieces))]
		}
		if rng.IntN(2) == 0 {
			r.FinishReason = []string{"stop", "length", "content_filter"}[rng.IntN(3)]
			r.Latency = time.Duration(rng.IntN(3_000)) * time.Millisecond
			r.TTFT = r.Latency / 2
			r.Cost = new([]float64{0, 0.005, math.NaN(), math.Inf(1), -1}[rng.IntN(5)])
			r.Usage.Total = rng.IntN(3) * 100
		}
		return r
	}
	for name, e := range examples() {
		for _, not := range []bool{false, true} {
			a := e.assertion(name)
			a.Not, a.Weight = not, new(2.0)
			c := compile(t, a)
			for range 40 {
				in := &Input{Response: answer(), Prompt: "p", Vars: exampleVars(), Case: "example"}
				s := c.Score(t.Context(), in)
				checkScore(t, c, s)
				again := c.Score(t.Context(), in)
				again.Usage = s.Usage // references are embedded once
				if !reflect.DeepEqual(s, again) {
					t.Errorf("%s: first %+v, then %+v", c.Type(), s, again)
				}
			}
			checkScore(t, c, c.Score(t.Context(), nil))
			checkScore(t, c, c.Score(t.Context(), &Input{}))
		}
	}
}

func TestLookup(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		k, ok := Lookup(name)
		if ok != (want != "") || k.Name != want {
			t.Errorf("Lookup(%q) = %q, %v", name, k.Name, ok)
		}
	}
	f("contains", "contains")
	f("time-to-first-token", "ttft")
	f("forbidden-phrases", "forbidden")
	f("not-contains", "")
	f("Contains", "")
	f("", "")
}

func TestNearest(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := Nearest(name); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	f("contain", "contains")
	f("contains_any", "contains-any")
	f("Is-Json", "is-json")
	f("levenstein", "levenshtein")
	f("something-else-entirely", "")
}

func TestUnsupported(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		why, ok := Unsupported(name)
		if ok != (want != "") || !strings.Contains(why, want) {
			t.Errorf("Unsupported(%q) = %q, %v, want %q", name, why, ok, want)
		}
	}
	f("select-best", "")
	f("max-score", "")
	f("pi", "judge")
	f("llm-rubric", "")
	f("model-graded-closedqa", "")
	f("similar:cosine", "")
	f("ruby", "cel")
	f("trajectory:tool-used", "traces")
	f("trajectory:goal-success", "judge")
	f("context-recall", "")
	f("promptfoo:redteam:pii", "red-team")
	f("contains", "")
	f("no-such-thing", "")
	f("similarity", "")
}

// No supported kind may be listed as unsupported, lest the list go stale.
func TestUnsupportedNamesNoKind(t *testing.T) {
	for _, group := range unsupported {
		for _, name := range group.names {
			if k, ok := Lookup(name); ok {
				t.Errorf("%s is a kind, %s, and listed as unsupported", name, k.Name)
			}
		}
	}
}

func TestSignatures(t *testing.T) {
	sign := func(a config.Assertion) string { return compile(t, a).Signature() }
	f := func(a config.Assertion, want string) {
		t.Helper()
		got := sign(a)
		want = strings.ReplaceAll(want, "HASH", shortHash(a.Value))
		if got != want || got != sign(a) {
			t.Errorf("signature %q, want %q", got, want)
		}
	}
	f(config.Assertion{Type: "contains", Value: "a"}, "contains/1|value=HASH")
	f(config.Assertion{Type: "contains", Value: "a", Not: true, Weight: new(3.0), Metric: "m"}, "contains/1|not|value=HASH")
	f(config.Assertion{Type: "equals", Value: "a"}, "equals/1")
	f(config.Assertion{Type: "levenshtein", Value: "a"}, "levenshtein/1|threshold=5")
	f(config.Assertion{Type: "regex", Value: "a+"}, "regex/1|re2|value=HASH")
	f(config.Assertion{Type: "regex", Value: `(?=a)\w`}, "regex/1|ecmascript|value=HASH")
	f(config.Assertion{Type: "time-to-first-token", Threshold: new(0.5)}, "ttft/1|threshold=0.5")
	f(config.Assertion{Type: "forbidden", Value: []any{"a"}, Config: config.Object{Map: map[string]any{"whole_word": true, "case": "sensitive"}}},
		"forbidden/1|case="+shortHash("sensitive")+"|whole_word=true|value=HASH")
	// A mapping's hash must not depend on the order of its keys.
	m := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(map[string]int{"type": 0, "required": 0, "title": 0})) {
		m[k] = map[string]any{"type": "object", "required": []any{"x"}, "title": "t"}[k]
	}
	f(config.Assertion{Type: "is-json", Value: m}, "is-json/1|value=HASH")
}
