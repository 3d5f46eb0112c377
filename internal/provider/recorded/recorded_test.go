package recorded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func provide(t testing.TB, opts Options) *Provider {
	t.Helper()
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestFormats(t *testing.T) {
	f := func(name, content string) {
		t.Helper()
		p := provide(t, Options{Path: write(t, name, content)})
		if p.Rows() != 3 {
			t.Errorf("%s: %d rows, want 3", name, p.Rows())
		}
		for prompt, want := range map[string]string{"one": "1", "two\nlines, \"quoted\"": "zwei\n", "ü": ""} {
			got, err := p.Complete(t.Context(), record.Request{Prompt: prompt})
			if err != nil || got.Output != want {
				t.Errorf("%s: %q answered %q, %v; want %q", name, prompt, got.Output, err, want)
			}
		}
	}
	lines := `{"prompt":"one","response":"1"}
{"id":7,"prompt":"two\nlines, \"quoted\"","response":"zwei\n"}

  {"prompt":"ü","response":""}`
	f("a.jsonl", lines)
	f("a.jsonl", "\ufeff"+lines+"\n")
	f("a.ndjson", strings.ReplaceAll(lines, "\n", "\r\n"))
	f("noextension", lines)
	array := "[" + strings.ReplaceAll(strings.ReplaceAll(lines, "}\n", "},\n"), ",\n\n", ",\n") + "]\n"
	f("a.json", array)
	f("a.json", "\ufeff"+array)
	f("a.csv", "prompt,response\none,1\n\"two\nlines, \"\"quoted\"\"\",\"zwei\n\"\n\nü,\n")
	f("a.csv", "\ufeffprompt,x,response\none,,1\n\"two\nlines, \"\"quoted\"\"\",,\"zwei\n\"\nü,,\"\"\n")
	f("a.tsv", "prompt\tresponse\none\t1\n\"two\nlines, \"\"quoted\"\"\"\t\"zwei\n\"\nü\t")
}

func TestFields(t *testing.T) {
	path := write(t, "a.jsonl", `{"q":{"text":"why"},"model_a":{"solution":{"steps":[1, 2]}},"meta.x":"dotted","fr":"length","lp":[{"token":"a","logprob":-0.5,"top":{"b":-1}}],"u":{"prompt_tokens":3,"completion_tokens":4},"s":1.5,"usd":0.25,"m":"gpt-x","err":null}
{"q":{"text":"bad"},"model_a":{"solution":null},"err":"rate limited"}
{"q":{"text":"null"},"model_a":{"solution":null}}
`)
	p := provide(t, Options{
		Path: path, Key: "q.text", Output: "model_a.solution", FinishReason: "fr", Logprobs: "lp",
		Usage: "u", Latency: "s", Cost: "usd", Error: "err", Model: "m",
	})
	got, err := p.Complete(t.Context(), record.Request{Prompt: "why"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Output != `{"steps":[1,2]}` || got.FinishReason != "length" || got.Model != "gpt-x" || got.Latency != 1500*time.Millisecond || got.Cost == nil || *got.Cost != 0.25 {
		t.Errorf("got %+v", got)
	}
	if got.Usage != (record.Usage{Prompt: 3, Completion: 4, Total: 7}) {
		t.Errorf("usage %+v", got.Usage)
	}
	if len(got.Logprobs) != 1 || got.Logprobs[0].Logprob != -0.5 || got.Logprobs[0].Top["b"] != -1 {
		t.Errorf("logprobs %+v", got.Logprobs)
	}
	fails := func(prompt string, kind record.FailureKind, part string) {
		t.Helper()
		_, err := p.Complete(t.Context(), record.Request{Prompt: prompt})
		f, ok := errors.AsType[*record.Failure](err)
		if !ok || f.Kind != kind || !strings.Contains(f.Error(), part) || f.Retryable() {
			t.Errorf("%s: got %v, want %s with %q, not retryable", prompt, err, kind, part)
		}
	}
	fails("bad", record.Server, "rate limited")
	fails("null", record.Empty, "null")
	fails("unheard of", record.Missing, `q.text is "unheard of"`)
}

func TestKeyIsVariableThenPrompt(t *testing.T) {
	p := provide(t, Options{Path: write(t, "a.jsonl", `{"id":"7","output":"by text"}
{"id":8,"output":"by number"}
{"id":"Say 7","output":"by prompt"}`), Key: "id"})
	f := func(vars map[string]any, prompt, want string) {
		t.Helper()
		got, err := p.Complete(t.Context(), record.Request{Prompt: prompt, Vars: vars})
		if err != nil || got.Output != want {
			t.Errorf("%v, %q: got %q, %v; want %q", vars, prompt, got.Output, err, want)
		}
	}
	f(map[string]any{"id": "7"}, "Say 7", "by text")
	f(map[string]any{"id": int64(8)}, "Say 7", "by number")
	f(map[string]any{"id": "99"}, "Say 7", "by prompt")
	f(nil, "Say 7", "by prompt")
}

func TestRepeats(t *testing.T) {
	p := provide(t, Options{Path: write(t, "a.jsonl", `{"prompt":"a","response":"first"}
{"prompt":"b","response":"other"}
{"prompt":"a","response":"second"}`)})
	for i, want := range []string{"first", "second"} {
		got, err := p.Complete(t.Context(), record.Request{Prompt: "a", Repeat: i})
		if err != nil || got.Output != want {
			t.Errorf("repeat %d: %q, %v", i, got.Output, err)
		}
	}
	if got, err := p.Complete(t.Context(), record.Request{Prompt: "b", Repeat: 7}); err != nil || got.Output != "other" {
		t.Errorf("the only row: %q, %v", got.Output, err)
	}
	_, err := p.Complete(t.Context(), record.Request{Prompt: "a", Repeat: 2})
	f, ok := errors.AsType[*record.Failure](err)
	if !ok || f.Kind != record.Missing || !strings.Contains(f.Message, "only 2 rows") || !strings.Contains(f.Message, "a.jsonl") {
		t.Errorf("got %v", err)
	}
}

// Two keys with one hash must not be taken for each other.
func TestHashCollision(t *testing.T) {
	p := provide(t, Options{Path: write(t, "a.jsonl", `{"prompt":"a","response":"A"}
{"prompt":"b","response":"B"}`)})
	for i := range p.index.entries {
		p.index.entries[i].hash = 0
	}
	// Find them all under the hash of what is asked for.
	for _, prompt := range []string{"a", "b", "c"} {
		hash := hashOf(p, prompt)
		for i := range p.index.entries {
			p.index.entries[i].hash = hash
		}
		got, err := p.Complete(t.Context(), record.Request{Prompt: prompt})
		if prompt == "c" {
			if f, ok := errors.AsType[*record.Failure](err); !ok || f.Kind != record.Missing {
				t.Errorf("c: got %q, %v", got.Output, err)
			}
			continue
		}
		if err != nil || got.Output != strings.ToUpper(prompt) {
			t.Errorf("%s: got %q, %v", prompt, got.Output, err)
		}
	}
}

func TestBadFiles(t *testing.T) {
	f := func(name, content string, line int, part string) {
		t.Helper()
		_, err := New(Options{Path: write(t, name, content)})
		if err == nil {
			t.Errorf("%s: no error, want one with %q", content, part)
			return
		}
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v is not a config error", content, err)
			return
		}
		if e.Line != line || !strings.Contains(err.Error(), part) || !strings.Contains(e.File, name) {
			t.Errorf("%q: got line %d, %q; want line %d with %q", content, e.Line, err, line, part)
		}
	}
	good := `{"prompt":"a","response":"b"}` + "\n"
	f("a.jsonl", "", 0, "no rows")
	f("a.jsonl", "\n\n", 0, "no rows")
	f("a.jsonl", good+"\n{\"prompt\":", 3, "not a JSON object")
	f("a.jsonl", good+"[1]\n", 2, "not a JSON object")
	f("a.jsonl", good+`{"response":"b"}`, 2, "no prompt")
	f("a.jsonl", good+`{"prompt":null,"response":"b"}`, 2, "no prompt")
	f("a.jsonl", good+`{"prompt":"a","answer":"b"}`, 2, "no response or output")
	f("a.json", "{}", 1, "does not start with [")
	f("a.json", "[]", 0, "no rows")
	f("a.json", "[{\"prompt\":\"a\",\"response\":\"b\"},\n 7]", 2, "not an object")
	f("a.json", "[{\"prompt\":\"a\",\"response\":\"b\"},\n {\"prompt\":\"c\"}]", 2, "no response or output")
	f("a.json", "[{\"prompt\":\"a\",\"response\":\"b\"}\n", 2, "unexpected EOF")
	f("a.json", "[{\"prompt\":\"a\",\"response\":\"b\"}] x", 1, "invalid")
	f("a.csv", "prompt,response\n", 0, "no rows")
	f("a.csv", "prompt,response\na,b\nc\n", 3, "wrong number of fields")
	f("a.csv", "prompt,prompt,response\na,b,c\n", 1, "two columns")
	f("a.csv", "prompt,answer\na,b\n", 2, "no response or output")
	f("a.jsonl", good+`{"prompt":"a","prompt":"c","response":"b"}`, 2, "prompt: this key is already set")
	f("a.jsonl", good+`{"prompt":"a","response":{"x":[{"y":1,"\u0079":2}]}}`, 2, "y: this key is already set")
	f("a.json", "[{\"prompt\":\"a\",\"response\":\"b\"},\n{\"prompt\":\"a\",\"response\":\"b\",\"response\":\"c\"}]", 2, "response: this key is already set")
	f("a.jsonl", good+"{\"prompt\":\"a\",\"response\":\"\xff\"}", 2, "not UTF-8")
	f("a.jsonl", "\x1f\x8b\x08", 1, "not UTF-8")
	f("a.csv", "prompt,response\na,\xff\n", 2, "the value of response has bytes that are not UTF-8")
}

// What the settings name is read when the file is opened, so that a bad value is found before anything is asked.
func TestBadFields(t *testing.T) {
	f := func(fields, part string) {
		t.Helper()
		content := `{"prompt":"a","response":"b"}` + "\n" + `{"prompt":"c","response":"d",` + fields + `}`
		_, err := New(Options{
			Path: write(t, "a.jsonl", content), Logprobs: "lp", PromptLogprobs: "plp", Likelihoods: "lik", Usage: "u", Latency: "s", Cost: "usd", ToolCalls: "tc",
		})
		var e *config.Error
		switch ok := errors.As(err, &e); {
		case part == "" && err != nil:
			t.Errorf("%s: %v", fields, err)
		case part != "" && (!ok || e.Line != 2 || !strings.Contains(err.Error(), part)):
			t.Errorf("%s: got %v; want line 2 with %q", fields, err, part)
		}
	}
	f(`"lp":[{"token":"a","logprob":-1}],"plp":null,"s":0,"usd":0`, "")
	f(`"lp":"zz"`, "lp: a string, want a list")
	f(`"lp":[{"token":"a","logprob":1}]`, "lp: ")
	f(`"plp":[{"token":5,"logprob":-1}]`, "plp: a number, want a string")
	f(`"lik":[{"text":"a","logprob":"x"}]`, "lik: a string, want a number")
	f(`"lik":[{"text":"a","logprob":0.5}]`, "lik: ")
	f(`"u":"zz"`, "u: a string, want a")
	f(`"u":{"prompt":-1}`, "u: ")
	f(`"s":-1`, "s: -1 is below 0")
	f(`"usd":"free"`, "usd: a string, want a number")
	f(`"tc":[5]`, "tc: a number, want a mapping")
}

func TestManyMistakesAreBounded(t *testing.T) {
	_, err := New(Options{Path: write(t, "a.jsonl", strings.Repeat("{}\n", 1000))})
	list, ok := errors.AsType[config.Errors](err)
	if !ok || len(list) != maxMistakes {
		t.Errorf("got %d mistakes, want %d", len(list), maxMistakes)
	}
}

func TestFromConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "answers.jsonl"), []byte(`{"p":"a","o":"b"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	suite := config.Pos{File: filepath.Join(dir, "telltale.yaml"), Line: 3}
	from := func(m map[string]any) (*Provider, error) {
		return FromConfig(config.Provider{ID: "recorded", Pos: suite, Config: config.Object{Pos: suite, Map: m}})
	}
	p, err := from(map[string]any{"path": "file://answers.jsonl", "key": "p", "output": "o"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	info := p.Describe()
	if info.ID != "recorded" || !info.Deterministic || info.Params["key"] != "p" || len(info.Params["sha256"].(string)) != 16 {
		t.Errorf("info %+v", info)
	}
	if strings.Contains(fmt.Sprint(info.Params), dir) {
		t.Errorf("the params hold the path: %v", info.Params)
	}
	bad := func(m map[string]any, part string) {
		t.Helper()
		_, err := from(m)
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: got %v, want a config error with %q", m, err, part)
		}
	}
	bad(map[string]any{}, "no file is named")
	bad(map[string]any{"path": "nowhere.jsonl"}, "no such file")
	bad(map[string]any{"path": "answers.jsonl", "outptu": "o"}, "outptu")
	bad(map[string]any{"path": "answers.xlsx"}, "format")
	bad(map[string]any{"path": "answers.jsonl", "format": "xml"}, "format")
	bad(map[string]any{"path": "answers.jsonl", "usage": "a", "tokens": "b"}, "one of them")
	bad(map[string]any{"path": "answers.jsonl"}, "no prompt")
}

func TestSnapshotFollowsContent(t *testing.T) {
	a := provide(t, Options{Path: write(t, "a.jsonl", `{"prompt":"a","response":"b"}`)})
	same := provide(t, Options{Path: write(t, "elsewhere.jsonl", `{"prompt":"a","response":"b"}`)})
	other := provide(t, Options{Path: write(t, "a.jsonl", `{"prompt":"a","response":"c"}`)})
	if a.Describe().Params["sha256"] != same.Describe().Params["sha256"] {
		t.Error("the same content has two hashes")
	}
	if a.Describe().Params["sha256"] == other.Describe().Params["sha256"] {
		t.Error("different content has one hash")
	}
}

func TestFileChangedUnderneath(t *testing.T) {
	path := write(t, "a.jsonl", `{"prompt":"a","response":"b"}`)
	p := provide(t, Options{Path: path})
	if err := os.WriteFile(path, []byte(`{"prompt":"a"`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := p.Complete(t.Context(), record.Request{Prompt: "a"})
	if f, ok := errors.AsType[*record.Failure](err); !ok || f.Kind != record.Malformed || !strings.Contains(f.Message, "changed") {
		t.Errorf("got %v", err)
	}
}

func TestCanceled(t *testing.T) {
	p := provide(t, Options{Path: write(t, "a.jsonl", `{"prompt":"a","response":"b"}`)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Complete(ctx, record.Request{Prompt: "a"})
	if f, ok := errors.AsType[*record.Failure](err); !ok || f.Kind != record.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestConcurrentReads(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, `{"prompt":"p%d","response":%q}`+"\n", i, strings.Repeat(strconv.Itoa(i), i%50))
	}
	p := provide(t, Options{Path: write(t, "a.jsonl", b.String())})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				i := rand.IntN(500)
				got, err := p.Complete(t.Context(), record.Request{Prompt: fmt.Sprintf("p%d", i)})
				if err != nil || got.Output != strings.Repeat(strconv.Itoa(i), i%50) {
					t.Errorf("p%d: %q, %v", i, got.Output, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestIFEval reads GPT-4's published answers back, every one of them.
func TestIFEval(t *testing.T) {
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA is not set")
	}
	matches, err := filepath.Glob(filepath.Join(dir, "ifeval", "*gpt4*.jsonl"))
	if err != nil || len(matches) == 0 {
		t.Skip("no recorded IFEval answers in", dir)
	}
	p := provide(t, Options{Path: matches[0]})
	f, err := os.Open(matches[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 16<<20)
	n := 0
	for ; in.Scan(); n++ {
		var row struct{ Prompt, Response string }
		if err := json.Unmarshal(in.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		got, err := p.Complete(t.Context(), record.Request{Prompt: row.Prompt})
		if err != nil || got.Output != row.Response {
			t.Fatalf("row %d: %v", n+1, err)
		}
	}
	if n != 541 || p.Rows() != 541 {
		t.Errorf("%d rows read, %d indexed, want 541", n, p.Rows())
	}
}

func BenchmarkIndex(b *testing.B) {
	path := big(b, 20_000)
	info, _ := os.Stat(path)
	b.SetBytes(info.Size())
	for b.Loop() {
		p, err := New(Options{Path: path})
		if err != nil {
			b.Fatal(err)
		}
		_ = p.Close()
	}
}

func BenchmarkComplete(b *testing.B) {
	p := provide(b, Options{Path: big(b, 20_000)})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		if _, err := p.Complete(b.Context(), record.Request{Prompt: "prompt number " + strconv.Itoa(i%20_000)}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestMemory holds the index to a few tens of bytes a row.
func TestMemory(t *testing.T) {
	const rows = 20_000
	path := big(t, rows)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	p := provide(t, Options{Path: path})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if per := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / rows; per > 64 {
		t.Errorf("%d bytes of memory a row", per)
	}
	runtime.KeepAlive(p)
}

func big(t testing.TB, rows int) string {
	path := filepath.Join(t.TempDir(), "big.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	text := strings.Repeat("The quick brown fox, as they say, jumps over the lazy dog.\\n", 20)
	for i := range rows {
		fmt.Fprintf(w, `{"prompt":"prompt number %d","response":"%s"}`+"\n", i, text)
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}
