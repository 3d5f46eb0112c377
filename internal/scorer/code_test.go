package scorer

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// codeRun compiles and calls one piece of code.
type codeRun struct {
	typ, value string
	not        bool
	threshold  *float64
	config     map[string]any
	output     string
}

// want is what a call must come to.
type codeWant struct {
	pass  bool
	value float64
	text  string // in the reason or the error
	fails bool   // it cannot judge
}

func TestCode(t *testing.T) {
	for _, program := range []string{"node", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	writeFile(t, dir, "check.js", "module.exports = (output, context) => output === context.vars.want;\nmodule.exports.other = async (output) => ({pass: false, score: 0.25, reason: 'no', namedScores: {x: 0.5}});\n")
	writeFile(t, dir, "check.mjs", "export default (output) => output.length / 10;\n")
	writeFile(t, dir, "check.py", "import helper\ndef get_assert(output, context):\n    return {'pass_': helper.yes(), 'score': 0.5, 'reason': output, 'named_scores': {'y': 1}}\nasync def other(output, context):\n    print('hello')\n    return 'True'\n")
	writeFile(t, dir, "helper.py", "def yes():\n    return True\n")
	services := &Services{AllowCode: true}
	defer services.Close()
	f := func(r codeRun, want codeWant) {
		t.Helper()
		c, err := Compile(config.Assertion{Type: r.typ, Value: r.value, Not: r.not, Threshold: r.threshold, Config: config.Object{Map: r.config}}, dir, services)
		if err != nil {
			t.Errorf("%s: %v", r.value, err)
			return
		}
		s := c.Score(t.Context(), &Input{Response: &record.Response{Output: r.output}, Vars: map[string]any{"want": "yes"}, Prompt: "Q"})
		if want.fails {
			if s.Pass != nil || !strings.Contains(s.Error, want.text) || s.Error == "" {
				t.Errorf("%s: %+v, want the error %q", r.value, s, want.text)
			}
			return
		}
		if s.Error != "" {
			t.Errorf("%s: error %q", r.value, s.Error)
			return
		}
		if *s.Pass != want.pass || *s.Value != want.value || !strings.Contains(s.Reason, want.text) {
			t.Errorf("%s: pass %v value %v reason %q, want %+v", r.value, *s.Pass, *s.Value, s.Reason, want)
		}
	}
	js := func(value, output string) codeRun { return codeRun{typ: "javascript", value: value, output: output} }
	py := func(value, output string) codeRun { return codeRun{typ: "python", value: value, output: output} }
	f(js("output === context.vars.want", "yes"), codeWant{pass: true, value: 1})
	f(js("output === 'no';", "yes"), codeWant{text: "gives false"})
	f(js("const n = output.length; n > 2 && ';' !== output", "yes"), codeWant{pass: true, value: 1})
	f(js("const n = output.length;\nreturn n > 5;\n", "yes"), codeWant{})
	f(js("output.length", "yes"), codeWant{pass: true, value: 1})
	f(codeRun{typ: "javascript", value: "0.4", threshold: new(0.5)}, codeWant{value: 0.4, text: "at least 0.5"})
	f(codeRun{typ: "javascript", value: "0.4", not: true, threshold: new(0.5)}, codeWant{pass: true, value: 0.6})
	f(js("({pass: true, score: 0.7, reason: 'fine'})", ""), codeWant{pass: true, value: 0.7})
	f(js("new Promise(r => setTimeout(() => r(true), 1))", ""), codeWant{pass: true, value: 1})
	f(codeRun{typ: "javascript", value: "context.config.limit > 3", config: map[string]any{"limit": int64(4)}}, codeWant{pass: true, value: 1})
	f(js("console.log('noise') || context.prompt === 'Q'", ""), codeWant{pass: true, value: 1})
	f(js("process.mainModule.require('./check.js')(output, context)", "yes"), codeWant{pass: true, value: 1})
	f(js("file://check.js", "yes"), codeWant{pass: true, value: 1})
	f(js("file://check.js:other", "yes"), codeWant{value: 0.25, text: "no"})
	f(js("file://check.mjs", "yes"), codeWant{pass: true, value: 0.3})
	f(js("file://check.js:nope", "yes"), codeWant{fails: true, text: "exports no function nope"})
	f(js("nope.nope", ""), codeWant{fails: true, text: "nope is not defined"})
	f(js("undefined", ""), codeWant{fails: true, text: "no value"})
	f(js("0/0", ""), codeWant{fails: true, text: "NaN"})
	f(js("'text'", ""), codeWant{fails: true, text: "string"})
	f(js("({score: 1})", ""), codeWant{fails: true, text: "no pass"})
	f(js("process.exit(3)", ""), codeWant{fails: true})
	f(js("output === 'again'", "again"), codeWant{pass: true, value: 1}) // in a new process
	f(py("output == context['vars']['want']", "yes"), codeWant{pass: true, value: 1})
	f(py("n = len(output)\nif n > 2:\n    return n / 10\nreturn False", "yes"), codeWant{pass: true, value: 0.3})
	f(py("'false'", ""), codeWant{text: "gives false"})
	f(codeRun{typ: "python", value: "{'pass': True, 'score': 0.2, 'reason': 'r'}", threshold: new(0.5)}, codeWant{value: 0.2, text: "below 0.5"})
	f(py("file://check.py", "yes"), codeWant{pass: true, value: 0.5})
	f(py("file://check.py:other", "yes"), codeWant{pass: true, value: 1})
	f(py("1/0", ""), codeWant{fails: true, text: "ZeroDivisionError"})
	f(py("None", ""), codeWant{fails: true, text: "no value"})
	f(py("float('nan')", ""), codeWant{fails: true, text: "nan"})
	f(py("exit(1)", ""), codeWant{fails: true, text: "SystemExit"})

	c, err := Compile(config.Assertion{Type: "javascript", Value: "file://check.js:other", Metric: "m"}, dir, services)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Score(t.Context(), &Input{Response: &record.Response{}})
	if len(s.Measures) != 2 || s.Measures[0].Metric != "m" || s.Measures[1].Metric != "x" || s.Measures[1].Value != 0.5 {
		t.Errorf("named scores: %+v", s.Measures)
	}
	before := c.Signature()
	writeFile(t, dir, "check.js", "module.exports.other = () => true;\n")
	if c, err = Compile(config.Assertion{Type: "javascript", Value: "file://check.js:other", Metric: "m"}, dir, services); err != nil || c.Signature() == before {
		t.Errorf("the signature is the same for other code: %v", err)
	}
}

// Code that does not come to an end is ended, and what follows has a new process.
func TestCodeTimeout(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(err)
	}
	services := &Services{AllowCode: true, codeTimeout: 2 * time.Second}
	defer services.Close()
	f := func(source, want string) {
		t.Helper()
		c, err := Compile(config.Assertion{Type: "javascript", Value: source}, t.TempDir(), services)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Score(t.Context(), &Input{Response: &record.Response{Output: "x"}})
		if want == "" && (s.Pass == nil || !*s.Pass) || want != "" && (s.Pass != nil || !strings.Contains(s.Error, want)) {
			t.Errorf("%s: %+v, want %q", source, s, want)
		}
	}
	f("(() => { for (;;) {} })()", "timed out")
	f("output === 'x'", "")
}

func TestCodeNeedsLeave(t *testing.T) {
	f := func(typ string, value any, allow bool, want string) {
		t.Helper()
		services := &Services{AllowCode: allow}
		defer services.Close()
		_, err := Compile(config.Assertion{Type: typ, Value: value, Pos: config.Pos{File: "s.yaml", Line: 3}}, t.TempDir(), services)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", value, err, want)
		}
	}
	f("javascript", "true", false, "s.yaml:3: type")
	f("javascript", "true", false, "--allow-code")
	f("python", "True", false, "--allow-code")
	f("javascript", int64(3), true, "not code")
	f("javascript", "file://nope.js", true, "cannot read the file")
}
