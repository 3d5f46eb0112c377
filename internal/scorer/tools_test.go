package scorer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// called is an answer that asks for calls, given as name and arguments in turn.
func called(pairs ...string) record.Response {
	var r record.Response
	for i := 0; i < len(pairs); i += 2 {
		r.ToolCalls = append(r.ToolCalls, record.ToolCall{Name: pairs[i], Arguments: pairs[i+1]})
	}
	return r
}

// weather defines one function in OpenAI's form.
func weather() []any {
	return []any{map[string]any{"type": "function", "function": map[string]any{"name": "weather", "parameters": map[string]any{
		"type": "object", "required": []any{"city"}, "additionalProperties": false,
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer", "maximum": int64(7)}},
	}}}}
}

func TestValidCalls(t *testing.T) {
	c := compile(t, config.Assertion{Type: "is-valid-openai-tools-call", Value: weather()})
	f := func(r record.Response, want string) {
		t.Helper()
		if got := outcome(t, c, r); !strings.HasPrefix(got, want) {
			t.Errorf("%+v: %s, want %s", r, got, want)
		}
	}
	f(called("weather", `{"city":"Oslo"}`), "pass")
	f(called("weather", `{"city":"Oslo"}`, "weather", `{"city":"Bergen","days":3}`), "pass")
	f(called("weather", `{"city":"Oslo"}`, "weather", `{"days":3}`), "fail: call 2 of 2: the arguments of weather do not conform to its schema: at the root: missing property 'city'")
	f(called("weather", `{"city":"Oslo","days":9}`), "fail: call 1 of 1: the arguments of weather do not conform to its schema: at /days")
	f(called("weather", `{"city":"Oslo","unit":"C"}`), "fail")
	f(called("weather", `{"city":`), "fail: call 1 of 1: the arguments of weather are not JSON")
	f(called("weather", `["Oslo"]`), "fail: call 1 of 1: the arguments of weather are not a JSON object")
	f(called("weather", ``), "fail")
	f(called("wether", `{"city":"Oslo"}`), `fail: call 1 of 1: there is no function "wether"`)
	f(says("It rains in Oslo."), "fail: the model calls no function")
	f(says(`[{"id":"1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Oslo\"}"}}]`), "pass")
	f(says(`{"name":"weather","arguments":"{\"city\":1}"}`), "fail")
}

func TestFormsOfCalls(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		calls, err := callsInText(text)
		var got []string
		for _, c := range calls {
			got = append(got, c.Name+c.Arguments)
		}
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	f(`[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"type":"function","function":{"name":"g","arguments":""}}]`, `f{"a":1}`, `g`)
	f(`{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}`, `f{}`)
	f(`{"function_call":{"name":"f","arguments":"{}"}}`, `f{}`)
	f(`{"name":"f","arguments":{"a":[1]}}`, `f{"a":[1]}`)
	f(`{"type":"function_call","call_id":"x","name":"f","arguments":"{}"}`, `f{}`)
	f(`[{"type":"text","text":"Let me look."},{"type":"tool_use","id":"t","name":"f","input":{"a":1}}]`, `f{"a":1}`)
	f(`{"role":"assistant","content":[{"type":"tool_use","name":"f","input":{}}]}`, `f{}`)
	f("Let me look.\n\n{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1}}", `f{"a":1}`)
	f(`{"type":"tool_use","name":"f"}`, `f`)
	f(`[{"functionCall":{"name":"f","args":{"a":1}}}]`, `f{"a":1}`)
	f(`{"toolCall":{"functionCalls":[{"name":"f","args":{}},{"name":"g","args":{}}]}}`, `f{}`, `g{}`)
	f(`[{"type":"custom","custom":{"name":"run","input":"print(1)"}}]`, `runprint(1)`)
	f(`{"name":"Bob","age":3}`)
	f(`The answer is 42.`)
	f(`"f"`)
	f(`null`)
	f(``)
	f(strings.Repeat("[", 9) + `{"name":"f","arguments":"{}"}` + strings.Repeat("]", 9)) // deeper than any form
}

func TestToolset(t *testing.T) {
	pos := config.Pos{File: "s.yaml", Line: 3, Key: "value"}
	object := map[string]any{"type": "object", "required": []any{"a"}}
	f := func(definitions any, call, want string) {
		t.Helper()
		tools, err := NewToolset(definitions, pos)
		if err != nil {
			if !strings.Contains(err.Error(), want) || want == "" || !strings.Contains(err.Error(), "s.yaml:3") {
				t.Errorf("%v: %v, want %s", definitions, err, want)
			}
			return
		}
		name, arguments, _ := strings.Cut(call, " ")
		got, err := tools.problem(&record.ToolCall{Name: name, Arguments: arguments})
		if err != nil || (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%v: %q, %v, want %q", definitions, got, err, want)
		}
	}
	for _, forms := range []any{
		map[string]any{"type": "function", "function": map[string]any{"name": "f", "parameters": object}},
		[]any{map[string]any{"name": "f", "parameters": object}},
		[]any{map[string]any{"type": "function", "name": "f", "parameters": object}, map[string]any{"type": "web_search"}},
		[]any{map[string]any{"name": "f", "input_schema": object}},
		[]any{map[string]any{"name": "f", "inputSchema": object}},
		[]any{map[string]any{"functionDeclarations": []any{map[string]any{"name": "f", "parameters": map[string]any{"type": "OBJECT", "required": []any{"a"}}}}}},
	} {
		f(forms, `f {"a":1}`, "")
		f(forms, `f {}`, "missing property 'a'")
		f(forms, `g {"a":1}`, "no function")
	}
	f([]any{map[string]any{"name": "f"}}, `f {"x":1}`, "")
	f([]any{map[string]any{"name": "f"}}, `f `, "")
	f([]any{map[string]any{"name": "f"}}, `f 1`, "not a JSON object")
	f([]any{map[string]any{"type": "custom", "custom": map[string]any{"name": "f"}}}, `f any text`, "")

	f([]any{}, "", "no function is defined")
	f([]any{map[string]any{"type": "web_search"}}, "", "no function is defined")
	f("weather", "", "not the definition of a tool")
	f([]any{map[string]any{"function": map[string]any{}}}, "", "without a name")
	f([]any{map[string]any{"name": "f"}, map[string]any{"name": "f"}}, "", "defined twice")
	f([]any{map[string]any{"name": "f", "parameters": "x"}}, "", "not a JSON Schema")
	f([]any{map[string]any{"name": "f", "parameters": map[string]any{"type": "objekt"}}}, "", "not a valid JSON Schema")
}

func TestProviderTools(t *testing.T) {
	c := compile(t, config.Assertion{Type: "is-valid-function-call"})
	if !c.NeedsTools() {
		t.Error("a check without tools of its own does not ask for the provider's")
	}
	r := called("weather", `{"city":"Oslo"}`)
	if s := c.Score(t.Context(), &Input{Response: &r}); s.Error == "" || s.Pass != nil {
		t.Errorf("without tools: %+v", s)
	}
	tools, err := ProviderTools(map[string]any{"tools": weather(), "functions": []any{map[string]any{"name": "old"}}}, config.Pos{})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Score(t.Context(), &Input{Response: &r, Tools: tools}); s.Pass == nil || !*s.Pass {
		t.Errorf("with tools: %+v", s)
	}
	if none, err := ProviderTools(map[string]any{"temperature": 0}, config.Pos{}); none != nil || err != nil {
		t.Errorf("no tools: %v, %v", none, err)
	}
	if _, err := ProviderTools(map[string]any{"tools": "file://x"}, config.Pos{}); err == nil {
		t.Error("a text is tools")
	}
	set := compile(t, config.Assertion{Type: SetType, Assert: []config.Assertion{{Type: "is-valid-function-call"}}})
	if !set.NeedsTools() || compile(t, config.Assertion{Type: "contains", Value: "a"}).NeedsTools() {
		t.Error("NeedsTools does not see the parts of a set, or sees needs where there are none")
	}
}

func TestToolsFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tools.yaml", "- {type: function, function: {name: a, parameters: {type: object}}}\n- {name: b}\n")
	write("one.json", `{"name":"c"}`)
	write("bad.json", `{"name":`)
	f := func(tools any, want string) {
		t.Helper()
		a := config.Assertion{Type: "is-valid-function-call", Config: config.Object{Map: map[string]any{"tools": tools}}}
		c, err := Compile(a, dir, nil)
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v, want %q", tools, err, want)
			}
			return
		}
		if want != "" {
			t.Errorf("%v: no error, want %q", tools, want)
		}
		for _, name := range []string{"a", "b", "c"} {
			if got := outcome(t, c, called(name, "{}")); got != "pass" {
				t.Errorf("%v: %s: %s", tools, name, got)
			}
		}
	}
	f([]any{"file://tools.yaml", "file://one.json"}, "")
	f([]any{"file://tools.yaml", map[string]any{"name": "c"}}, "")
	f("file://nothere.json", "nothere.json")
	f("file://bad.json", "neither JSON nor YAML")
	f("file://.", "not a file")
	f("weather", "not the definition of a tool")
}

func TestExpectedCalls(t *testing.T) {
	f := func(want string, order string, value []any, r record.Response) {
		t.Helper()
		cfg := map[string]any{}
		if order != "" {
			cfg["order"] = order
		}
		c := compile(t, config.Assertion{Type: "tool-calls", Value: value, Config: config.Object{Map: cfg}})
		if got := outcome(t, c, r); !strings.HasPrefix(got, want) {
			t.Errorf("%s %v of %v: %s, want %s", order, value, r.ToolCalls, got, want)
		}
	}
	expect := func(name string, more ...any) map[string]any {
		m := map[string]any{"name": name}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	args := func(pairs ...any) map[string]any { return expect("", pairs...) }
	arguments := func(pairs ...any) map[string]any { m := args(pairs...); delete(m, "name"); return m }

	f("pass", "", []any{"a", "b"}, called("a", "{}", "b", "{}"))
	f("fail: call 1: it is of \"b\", not \"a\"", "", []any{"a", "b"}, called("b", "{}", "a", "{}"))
	f("fail: there are 1 call instead of 2", "strict", []any{"a", "b"}, called("a", "{}"))
	f("fail: there are 0 calls instead of 1: none", "", []any{"a"}, says("no"))
	f("pass", "", []any{}, says("just words"))
	f("fail", "", []any{}, called("a", "{}"))
	f("pass", "any", []any{"a", "b"}, called("b", "{}", "a", "{}"))
	f("fail", "any", []any{"a", "b"}, called("b", "{}", "a", "{}", "a", "{}"))
	f("fail: expected call 2 of \"a\" is missing", "any", []any{"a", "a"}, called("b", "{}", "a", "{}"))
	f("pass", "subset", []any{"a"}, called("b", "{}", "a", "{}"))
	f("fail", "subset", []any{"a", "a"}, called("b", "{}", "a", "{}"))

	oslo := expect("w", "arguments", arguments("city", "Oslo"))
	f("pass", "", []any{oslo}, called("w", `{"city":"Oslo","days":3}`))
	f("fail: call 1: the arguments of w are not as expected at $.city", "", []any{oslo}, called("w", `{"city":"Rome"}`))
	f("fail: call 1: the arguments of w are not JSON", "", []any{oslo}, called("w", `{"city"`))
	f("pass", "", []any{expect("w", "arguments", arguments("at", arguments("lat", 1.0)))}, called("w", `{"at":{"lat":1,"lon":2}}`))
	f("fail: call 1: the arguments of w are not as expected at $.at.lat", "", []any{expect("w", "arguments", arguments("at", arguments("lat", 1.0)))}, called("w", `{"at":{"lon":2}}`))
	f("fail", "", []any{expect("w", "arguments", arguments("list", []any{"a"}))}, called("w", `{"list":["a","b"]}`))
	f("pass", "", []any{expect("w", "exact", arguments("city", "Oslo"))}, called("w", `{ "city": "Oslo" }`))
	f("fail: call 1: the arguments of w differ at $.days", "", []any{expect("w", "exact", arguments("city", "Oslo"))}, called("w", `{"city":"Oslo","days":3}`))
	f("pass", "", []any{expect("w", "exact", arguments())}, called("w", ``))
	f("pass", "", []any{expect("w", "schema", arguments("required", []any{"city"}))}, called("w", `{"city":1}`))
	f("fail: call 1: the arguments of w do not conform to the schema", "", []any{expect("w", "schema", arguments("required", []any{"city"}))}, called("w", `{}`))

	// The first call fits both, the second only one: each must get its own.
	both := called("w", `{"city":"Oslo","days":3}`, "w", `{"days":5}`)
	f("pass", "any", []any{"w", oslo}, both)
	f("pass", "subset", []any{"w", oslo}, both)
	f("fail: expected call 2 of \"w\" is missing: the arguments of w are not as expected at $.city", "any", []any{oslo, oslo}, both)
}

func TestCallCounts(t *testing.T) {
	c := compile(t, config.Assertion{Type: "tool-calls", Value: []any{}, Config: config.Object{Map: map[string]any{"order": "subset", "min": int64(1), "max": int64(2)}}})
	for r, want := range map[int]string{0: "fail: there are 0 calls, fewer than 1", 1: "pass", 2: "pass", 3: "fail: there are 3 calls, more than 2"} {
		var pairs []string
		for range r {
			pairs = append(pairs, "a", "{}")
		}
		if got := outcome(t, c, called(pairs...)); got != want {
			t.Errorf("%d calls: %s, want %s", r, got, want)
		}
	}
	many := make([]string, 2*(maxCalls+1))
	for i := range many {
		many[i] = "a"
	}
	c = compile(t, config.Assertion{Type: "tool-calls", Value: []any{"a"}, Config: config.Object{Map: map[string]any{"order": "subset"}}})
	if got := outcome(t, c, called(many...)); !strings.HasPrefix(got, "error") {
		t.Errorf("%d calls: %s", len(many)/2, got)
	}
}

func TestToolMistakes(t *testing.T) {
	f := func(typ string, value any, cfg map[string]any, want string) {
		t.Helper()
		_, err := Compile(config.Assertion{Type: typ, Value: value, Config: config.Object{Map: cfg}}, t.TempDir(), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %v %v: %v, want %s", typ, value, cfg, err, want)
		}
	}
	m := func(k string, v any) map[string]any { return map[string]any{k: v} }
	f("tool-calls", nil, nil, "needs a value")
	f("tool-calls", "a", nil, "not a list of calls")
	f("tool-calls", []any{1.0}, nil, "not a call")
	f("tool-calls", []any{m("arguments", m("a", 1.0))}, nil, "without a name")
	f("tool-calls", []any{map[string]any{"name": "a", "args": m("a", 1.0)}}, nil, "unknown key")
	f("tool-calls", []any{map[string]any{"name": "a", "arguments": m("a", 1.0), "exact": m("a", 1.0)}}, nil, "described twice")
	f("tool-calls", []any{map[string]any{"name": "a", "arguments": "x"}}, nil, "not a mapping")
	f("tool-calls", []any{map[string]any{"name": "a", "schema": "x"}}, nil, "not a JSON Schema")
	f("tool-calls", []any{"a"}, m("order", "loose"), "not an order")
	f("tool-calls", []any{"a"}, m("min", int64(2)), "already says")
	f("tool-calls", []any{"a"}, map[string]any{"order": "subset", "min": int64(3), "max": int64(2)}, "below min")
	f("tool-calls", []any{}, m("order", "subset"), "any answer has these calls")
	f("forbidden-tools", []any{}, nil, "no function is named")
	f("forbidden-tools", 3.0, nil, "not a list of names")
	f("tool-call-f1", []any{m("name", "a")}, nil, "is not a name")
	f("is-valid-function-call", weather(), m("tools", weather()), "given here and as the value")
	f("is-valid-function-call", nil, m("tool", weather()), "unknown key")
}

func TestToolNamesAndF1(t *testing.T) {
	f1 := compile(t, config.Assertion{Type: "tool-call-f1", Value: "a, b", Threshold: new(0.8)})
	f := func(r record.Response, want float64, pass bool) {
		t.Helper()
		s := f1.Score(t.Context(), &Input{Response: &r})
		if s.Error != "" || *s.Value != want || *s.Pass != pass {
			t.Errorf("%v: %+v, want %v, %v", r.ToolCalls, s, want, pass)
		}
	}
	f(called("a", "", "b", ""), 1, true)
	f(called("b", "", "a", "", "a", ""), 1, true)
	f(called("a", ""), 2.0/3, false)
	f(called("a", "", "b", "", "c", ""), 0.8, true)
	f(called("c", ""), 0, false)
	f(says("nothing"), 0, false)

	forbidden := compile(t, config.Assertion{Type: "forbidden-tools", Value: []any{"drop", "delete_*", "*admin*"}})
	g := func(name, want string) {
		t.Helper()
		if got := outcome(t, forbidden, called(name, "{}")); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	g("search", "pass")
	g("drop", `fail: call 1 of 1 is of "drop", which is forbidden`)
	g("dropped", "pass")
	g("delete_user", `fail: call 1 of 1 is of "delete_user", which is forbidden as "delete_*"`)
	g("undelete_user", "pass")
	g("get_admin_rights", "fail")
	if got := outcome(t, forbidden, says(`Sure: {"type":"tool_use","name":"drop","input":{}}`)); !strings.HasPrefix(got, "fail") {
		t.Errorf("a call within text: %s", got)
	}
}

// Whatever a model writes, reading its calls neither panics nor gives a call without a name.
func FuzzCalls(f *testing.F) {
	for _, s := range []string{`[{"function":{"name":"f","arguments":"{}"}}]`, `{"type":"tool_use","name":"f","input":{}}`, `text {"name":"f","args":[`, `{"tool_calls":{"tool_calls":{}}}`} {
		f.Add(s)
	}
	tools, err := NewToolset(weather(), config.Pos{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		calls, err := callsInText(s)
		if err != nil {
			return
		}
		for i := range calls {
			if calls[i].Name == "" {
				t.Fatalf("a call without a name in %q", s)
			}
			if _, err := tools.problem(&calls[i]); err != nil {
				t.Fatal(err)
			}
		}
	})
}
