package guard

import (
	"bytes"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

// Nothing is held back of a text that begins nothing, and never more than the documented bound.
func TestHeldBack(t *testing.T) {
	f := func(section, text string, most int) {
		t.Helper()
		g := build(t, section)
		fl := newFilter(&g.rules, &finding{}, false)
		held := 0
		for i := range len(text) {
			fl.take([]byte{text[i]})
			held = max(held, fl.pos-fl.decided())
		}
		if held > most {
			t.Errorf("%.60s: %d bytes of %.40q were held back, want at most %d", section, held, text, most)
		}
	}
	const words, pattern, pii = "filters: [{name: w, phrases: [zebra crossing], action: replace}]", `filters: [{name: w, patterns: ['zq\d+x', 'k[a-z ]*!!'], action: replace}]`, "filters: [{name: w, pii: [all], secrets: true, action: replace}]"
	f(words, prose, 1)
	f(words, strings.Repeat("zebra crossin zebra ", 50), len("zebra crossing"))
	f(words, "zebra "+strings.Repeat("\u200b", 300)+"crossing", 8*14+256+4)
	f(words, "zebra"+strings.Repeat(" ", 3000)+"crossing", 6+mostSpaces)
	f(pattern, strings.ReplaceAll(prose, "k", "c"), 1)
	f(pattern, "zq"+strings.Repeat("1", 5000), 256)
	f(pattern, "k"+strings.Repeat("a", 5000), 256)
	f(pii, prose+strings.Repeat("and so on it goes. ", 20), 64) // a word, and a short one before it
	f(pii, strings.Repeat("1234 5678 9012 ", 500), 256+1)
	f(pii, strings.Repeat("abcdefgh12", 2000), 256+1)
	f(pii, strings.Repeat("漢字かな", 500), 3)
}

// A pattern that matches more and more holds back nothing of what it has matched.
func TestLongMatch(t *testing.T) {
	g := build(t, `filters: [{name: w, patterns: ['tok_[a-z0-9]{8,}'], action: replace}]`)
	for _, n := range []int{8, 300, 5000} {
		if got, _ := g.Text("a tok_" + strings.Repeat("x", n) + " b"); got != "a [REMOVED] b" {
			t.Errorf("%d: %.100q", n, got)
		}
	}
	// What is longer than the window without having matched is not found, and what begins within it is.
	g = build(t, `filters: [{name: w, window: 64, patterns: ['a+!'], action: replace}]`)
	if got, _ := g.Text(strings.Repeat("a", 100) + "!"); got != strings.Repeat("a", 64)+"[REMOVED]" {
		t.Errorf("%q", got)
	}
}

func TestCannotRead(t *testing.T) {
	block := "filters: [{name: w, phrases: [bomb maker], action: block}]\nmax_answer: 2KiB\n"
	pass := block + "on_error: pass\n"
	big := []byte(`{"choices":[{"message":{"content":"` + strings.Repeat("a", 4096) + `"}}]}`)
	f := func(section string, o Options, in []byte, whole bool, failure Failure, status int, want string) {
		t.Helper()
		if o.API == "" {
			o.API = record.APIChat
		}
		g := build(t, section)
		a := g.Answer(o)
		var out []byte
		for part := range bytes.Lines(in) {
			out = append(out, a.Push(part)...)
		}
		rest, v := a.End(whole)
		out = append(out, rest...)
		if v.Outcome != Failed || v.Report.Failure != failure || v.Status != status || a.Status() != status {
			t.Errorf("%v %+v, want %s and status %d", v.Outcome, v, failure, status)
		}
		if want == "" {
			want = string(in)
		}
		if !strings.Contains(string(out), want) {
			t.Errorf("%.200s, want %s", out, want)
		}
	}
	f(block, Options{}, big, true, FailTooLarge, 502, `"guard_too_large"`)
	f(pass, Options{}, big, true, FailTooLarge, 0, "")
	f(block, Options{Encoding: "gzip"}, []byte("\x1f\x8bzzz\nz"), true, FailEncoding, 502, `"guard_encoding"`)
	f(pass, Options{Encoding: "gzip"}, []byte("\x1f\x8bzzz\nz"), true, FailEncoding, 0, "")
	f(pass, Options{Encoding: "gzip", Stream: true}, []byte("\x1f\x8bzzz\nz"), true, FailEncoding, 0, "")
	f(block, Options{Encoding: "br", Stream: true}, nil, true, FailEncoding, 502, `"guard_encoding"`)
	f(block, Options{}, []byte(`{"choices":[`), false, FailCut, 502, `"guard_cut"`)
	f(block, Options{API: record.APIMessages}, []byte(`[]`), true, FailMalformed, 502, `"type":"api_error"`)
	f(block, Options{Stream: true}, []byte("data: {\"choices\":[{\"delta\":{}}]\n\n"), true, FailMalformed, 502, `"guard_malformed"`)
	f(block, Options{Stream: true}, []byte("data: {}\r\r\n\n"), true, FailMalformed, 502, `"guard_malformed"`)
	held := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi \"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"bomb\"}}]}\n\n"
	f(pass, Options{Stream: true}, []byte(held+"data: <html>\n\ndata: more\n\n"), true, FailMalformed, 0, "")
	f(block, Options{Stream: true}, []byte(held+"data: <html>\n\n"), true, FailMalformed, 0, "\"finish_reason\":\"content_filter\"}]}\n\ndata: [DONE]\n\n")
	flood := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"bomb" + strings.Repeat("\u200b", 400) + " maker\"}}]}\n\n"
	f(block, Options{Stream: true}, []byte(flood), true, FailBound, 502, `"guard_bound"`)
}

// A stream that breaks off passes what is decided then; what was found is masked all the same.
func TestStreamBreaksOff(t *testing.T) {
	g := build(t, "filters: [{name: w, phrases: [bomb], action: replace}]")
	stream := chatStream([][]byte{[]byte("a "), []byte("bo"), []byte("mb")})
	cut := bytes.Index(stream, []byte(`"mb"`)) + 20
	a := g.Answer(Options{API: record.APIChat, Stream: true})
	out := bytes.Clone(a.Push(stream[:cut]))
	rest, v := a.End(false)
	if text, _ := read(t, append(out, rest...)); text != "a bo" || v.Outcome != Passed {
		t.Errorf("%q %v", text, v.Outcome)
	}
}

func TestServersQuirks(t *testing.T) {
	g := build(t, "filters: [{name: w, phrases: [bomb], action: replace}]")
	f := func(in, want string) {
		t.Helper()
		for _, parts := range [][][]byte{{[]byte(in)}, bytes.SplitAfter([]byte(in), nil)} {
			if out, _, _ := run(g, Options{API: record.APIChat, Stream: true}, parts); string(out) != want {
				t.Errorf("%q became\n%q, want\n%q", in, out, want)
			}
		}
	}
	event := func(s string) string { return `{"choices":[{"index":0,"delta":{"content":"` + s + `"}}]}` }
	f("data:"+event("a bomb")+"\r\n\r\n:comment\r\n\r\nid: 7\r\nevent: x\r\nretry: 9\r\ndata: [DONE]\r\n\r\n", "data:"+event("a [REMOVED]")+"\r\n\r\n:comment\r\n\r\nid: 7\r\nevent: x\r\nretry: 9\r\ndata: [DONE]\r\n\r\n")
	f("\xef\xbb\xbfdata: "+event("bomb "), "\xef\xbb\xbfdata: "+event("[REMOVED] ")) // no blank line at the end
	f("id: 1\ndata: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"bomb\"}}]}\n\ndata\n\n", "id: 1\ndata: {\"choices\":[{\"index\":0, \"delta\":{\"content\":\"[REMOVED]\"}}]}\n\ndata\n\n")
	f("data: {\"error\":{\"message\":\"bomb\"}}\n\n", "data: {\"error\":{\"message\":\"bomb\"}}\n\n")
	f("data: {\"choices\":[]}\n\ndata: {\"choices\":null}\n\ndata: {\"x\":[1]}\n\n", "data: {\"choices\":[]}\n\ndata: {\"choices\":null}\n\ndata: {\"x\":[1]}\n\n")
	f("data: "+event(`\ud83d`)+"\n\ndata: "+event(`\ude00 bomb`)+"\n\n", "data: "+event(`\ud83d`)+"\n\ndata: "+event(`\ude00 [REMOVED]`)+"\n\n")
	f(`data: {"choices":[{"delta":{"content":[{"type":"text","text":"a bomb"}]},"index":0}]}`+"\n\n", `data: {"choices":[{"delta":{"content":[{"type":"text","text":"a [REMOVED]"}]},"index":0}]}`+"\n\n")
}

func TestPassesWhatItDoesNotKnow(t *testing.T) {
	g := build(t, "filters: [{name: w, phrases: [bomb], action: block}]\ntool_calls: pass\nreasoning: pass\n")
	f := func(o Options, in string) {
		t.Helper()
		if out, v, _ := run(g, o, [][]byte{[]byte(in)}); string(out) != in || v.Outcome != Passed {
			t.Errorf("%s: %v\n%s", in, v.Outcome, out)
		}
	}
	f(Options{API: record.APIOther}, "a bomb")
	f(Options{API: record.APIChat}, `{"choices":[{"message":{"reasoning_content":"bomb","tool_calls":[{"function":{"arguments":"bomb"}}]}}]}`)
	if g := build(t, "caps: {n: 1}"); g.Reads() || g.Whole() {
		t.Error("a guard of requests reads answers")
	} else if a := g.Answer(Options{API: record.APIChat, Encoding: "gzip"}); string(a.Push([]byte("x"))) != "x" {
		t.Error("it changes them")
	}
}
