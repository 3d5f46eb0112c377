package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const secretKey = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3hJ5"

// build compiles a guard from the section of a server.yaml that is one item of guards.
func build(t testing.TB, section string) *Guard {
	t.Helper()
	g, err := try(section)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func try(section string) (*Guard, error) {
	text := "guards:\n  - name: g\n"
	for line := range strings.Lines(strings.Trim(section, "\n")) {
		text += "    " + line
	}
	s, err := config.LoadServer("server.yaml", []byte(text+"\n"), config.Options{Read: func(string) ([]byte, error) { return nil, errors.New("no files") }})
	if err != nil {
		return nil, err
	}
	return New(s.Guards[0])
}

func TestText(t *testing.T) {
	g := build(t, `
filters:
  - {name: words, phrases: [bomb maker, "naïve", Straße, 爆弾, "c++"], action: replace}
  - {name: inner, phrases: [xyzzy], words: false, action: replace, replacement: "(gone)"}
  - {name: codes, patterns: ['(?i)project\s+(alpha|beta)\b', 'EMP-\d{4,}'], action: replace}
  - {name: person, pii: [email, card, phone, iban, national-id], action: replace}
  - {name: keys, secrets: true, action: replace}
`)
	f := func(in, want string) {
		t.Helper()
		got, r := g.Text(in)
		if got != want {
			t.Errorf("%q\n became %q\n   want %q (%v)", in, got, want, r)
		}
	}
	f("nothing to see, 12 or 13 of 20", "nothing to see, 12 or 13 of 20")
	f("a bomb maker.", "a [REMOVED].")
	f("a Bomb  \n MAKER", "a [REMOVED]")
	f("bombmaker, bomb makers, a bomb", "bombmaker, bomb makers, a bomb")
	f("ｂｏｍｂ　ｍａｋｅｒ!", "[REMOVED]!")
	f("bo\u200bmb\u00ad mak\u2060er!", "[REMOVED]!")
	f("bömb makér", "[REMOVED]")
	f("b\u0336o\u0336m\u0336b\u0336 m\u0336aker", "[REMOVED]")
	f("𝐛𝐨𝐦𝐛 𝗺𝗮𝗸𝗲𝗿", "[REMOVED]")
	f("вомв maker", "[REMOVED]") // Cyrillic
	f("naive NAÏVE", "[REMOVED] [REMOVED]")
	f("der Straßenname, die straße", "der Straßenname, die [REMOVED]")
	f("これは爆弾です", "これは[REMOVED]です")
	f("I use C++ and c++.", "I use [REMOVED] and [REMOVED].")
	f("abcxyzzydef xyzzy", "abc(gone)def (gone)")
	f("project  Alpha and project alphabet", "[REMOVED] and project alphabet")
	f("ＥＭＰ-１２３４５ is one", "[REMOVED] is one")
	f("EMP-123 is none, EMP-"+strings.Repeat("1", 2000)+".", "EMP-123 is none, [REMOVED].")
	f("write to jane.doe@acme.org, please", "write to [EMAIL], please")
	f("card 4111 1111 1111 1111 works", "card [CARD] works")
	f("call +1 212 736 5000 now", "call [PHONE] now")
	f("IBAN DE89 3704 0044 0532 0130 00 is", "IBAN [IBAN] is")
	f("the key "+secretKey+" is", "the key [SECRET] is")
	f("-----BEGIN RSA PRIVATE KEY-----\n"+strings.Repeat("MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy5AH\n", 30)+"-----END RSA PRIVATE KEY-----\nafter", "[SECRET]\nafter")
	f("ends with a bomb maker", "ends with a [REMOVED]")
	f(`quotes " and \ and xyzzy "`, `quotes " and \ and (gone) "`)
}

// pieces cuts b at random places.
func pieces(r *rand.Rand, b []byte) [][]byte {
	var out [][]byte
	most := 1 + r.IntN(40)
	for len(b) > 0 {
		n := min(len(b), 1+r.IntN(most))
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

const everything = `
filters:
  - {name: words, phrases: [bomb maker, xy, "a b c"], action: replace}
  - {name: inner, phrases: [oo, ofo], words: false, action: replace, replacement: "(gone)"}
  - {name: codes, patterns: ['EMP-\d{4,}', 'x.*y', '\bz+\b', '^start', 'end$'], window: 64, action: replace}
  - {name: person, pii: [all], window: 64, action: replace}
  - {name: keys, secrets: true, window: 64, action: replace}
`

// sample is a text full of findings and of what almost is one.
func sample(r *rand.Rand) string {
	parts := []string{"bomb", " maker", "bomb maker", "foo", "ofo", "o", " ", "  ", "\n", "x", "y", "xy", "a b", " c", "EMP-", "1234", "EMP-99999", "zz", "start", "end", "jane@acme.org", "4111 1111 ", "1111 1111", "+1 212 736 5000",
		"DE89 3704 0044 0532 0130 00", "é", "ｏ", "\u200b", "爆", "ё", "👍", "\"", "\\", "the ", "quick ", "word. ", "password: ", secretKey, "12345678901234567890123456789012345678901234567890", "-----BEGIN PRIVATE KEY-----", "----"}
	var b strings.Builder
	for range r.IntN(40) {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

// masked is a text as a filter lets it through, given in pieces.
func maskedText(g *Guard, parts [][]byte) string {
	f := newFilter(&g.rules, &finding{}, false)
	var all []byte
	for _, p := range parts {
		f.take(p)
		all = append(all, p...)
		f.decided()
	}
	f.flush()
	return string(spliceJSON(nil, all, 0, f.spans, g.stand))
}

func TestPiecesDoNotMatter(t *testing.T) {
	g := build(t, everything)
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		s := []byte(sample(r))
		want := maskedText(g, [][]byte{s})
		for range 3 {
			parts := pieces(r, s)
			if got := maskedText(g, parts); got != want {
				t.Fatalf("%q in pieces %q became\n%q, whole\n%q", s, parts, got, want)
			}
		}
	}
}

// What decided says once holds: nothing before it changes any more.
func TestDecidedIsFinal(t *testing.T) {
	g := build(t, everything)
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		s := []byte(sample(r))
		f := newFilter(&g.rules, &finding{}, false)
		var out []byte
		done := 0
		emit := func(to int) {
			if to < done {
				t.Fatalf("decided went from %d back to %d in %q", done, to, s)
			}
			part := spliceJSON(nil, s[done:to], done, f.spans, g.stand)
			out = append(out, part...)
			done = to
			f.forget(done)
		}
		for _, p := range pieces(r, s) {
			f.take(p)
			emit(f.decided())
		}
		f.flush()
		emit(len(s))
		if want := maskedText(g, [][]byte{s}); string(out) != want {
			t.Fatalf("%q\nbecame %q\n  want %q", s, out, want)
		}
	}
}

// chatStream is a stream of the chat API with a text in pieces.
func chatStream(parts [][]byte) []byte {
	var b bytes.Buffer
	chunk := func(delta, finish string) {
		fmt.Fprintf(&b, "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":%s,\"logprobs\":null,\"finish_reason\":%s}]}\n\n", delta, finish)
	}
	chunk(`{"role":"assistant","content":""}`, "null")
	for _, p := range parts {
		chunk(`{"content":`+string(quoteRaw(p))+`}`, "null")
	}
	chunk("{}", `"stop"`)
	b.WriteString("data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n")
	return b.Bytes()
}

// quoteRaw writes a string literal without caring for UTF-8 that is cut.
func quoteRaw(p []byte) []byte {
	out := []byte{'"'}
	for _, c := range p {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ':
			out = fmt.Appendf(out, "\\u%04x", c)
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

func messageStream(parts [][]byte) []byte {
	var b bytes.Buffer
	ev := func(name, data string) { fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, data) }
	ev("message_start", `{"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","content":[],"model":"c","stop_reason":null,"usage":{"input_tokens":9,"output_tokens":1}}}`)
	ev("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
	ev("ping", `{"type": "ping"}`)
	for _, p := range parts {
		ev("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":`+string(quoteRaw(p))+`}}`)
	}
	ev("content_block_stop", `{"type":"content_block_stop","index":0}`)
	ev("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}`)
	ev("message_stop", `{"type":"message_stop"}`)
	return b.Bytes()
}

func responseStream(parts [][]byte) []byte {
	var b bytes.Buffer
	n := 0
	ev := func(name, rest string) {
		fmt.Fprintf(&b, "event: response.%s\ndata: {\"type\":\"response.%s\",\"sequence_number\":%d%s}\n\n", name, name, n, rest)
		n++
	}
	all := string(quoteRaw(bytes.Join(parts, nil)))
	body := func(status, output string) string {
		return `,"response":{"id":"r1","object":"response","status":"` + status + `","incomplete_details":null,"instructions":"xy","output":[` + output + `]}`
	}
	where := `,"item_id":"i1","output_index":0,"content_index":0`
	item := func(status, content string) string {
		return `{"id":"i1","type":"message","status":"` + status + `","role":"assistant","content":[` + content + `]}`
	}
	part := func(t string) string { return `{"type":"output_text","annotations":[],"logprobs":[],"text":` + t + `}` }
	ev("created", body("in_progress", ""))
	ev("output_item.added", `,"output_index":0,"item":`+item("in_progress", ""))
	ev("content_part.added", where+`,"part":`+part(`""`))
	for _, p := range parts {
		ev("output_text.delta", where+`,"delta":`+string(quoteRaw(p))+`,"logprobs":[]`)
	}
	ev("output_text.done", where+`,"text":`+all+`,"logprobs":[]`)
	ev("content_part.done", where+`,"part":`+part(all))
	ev("output_item.done", `,"output_index":0,"item":`+item("completed", part(all)))
	ev("completed", body("completed", item("completed", part(all))))
	return b.Bytes()
}

// read is what a client makes of a stream: the text of its deltas.
func read(t testing.TB, out []byte) (text string, events int) {
	t.Helper()
	var b strings.Builder
	for ev := range bytes.SplitSeq(out, []byte("\n\n")) {
		for line := range bytes.Lines(ev) {
			data, ok := bytes.CutPrefix(line, []byte("data: "))
			if !ok {
				continue
			}
			events++
			data = bytes.TrimSpace(data)
			if string(data) == "[DONE]" {
				continue
			}
			if !whole(data) {
				t.Fatalf("not JSON: %s", data)
			}
			b.WriteString(deltaText(data))
		}
	}
	return b.String(), events
}

// deltaText is the text of an event. It does not go through encoding/json, which would mend cut UTF-8.
func deltaText(b []byte) string {
	var out string
	m := open(b, 0)
	for m.next() {
		switch name := string(m.name()); {
		case name == "choices":
			list := open(b, m.val.start)
			for list.next() {
				out += deltaText(list.val.of(b))
			}
		case name == "delta" && b[m.val.start] == '{':
			out += deltaText(m.val.of(b))
		case name == "delta", name == "content" && b[m.val.start] == '"', name == "text" && b[m.val.start] == '"' && bytes.Contains(b, []byte("text_delta")):
			out += text(b, m.val)
		}
	}
	return out
}

func run(g *Guard, o Options, parts [][]byte) ([]byte, Verdict, *Answer) {
	a := g.Answer(o)
	var out []byte
	for _, p := range parts {
		out = append(out, a.Push(p)...)
		if a.Done() {
			break
		}
	}
	rest, v := a.End(true)
	return append(out, rest...), v, a
}

var streams = []struct {
	api  string
	make func([][]byte) []byte
}{{record.APIChat, chatStream}, {record.APIMessages, messageStream}, {record.APIResponses, responseStream}}

// The text of a stream is that of the whole answer, however the events and the bytes are cut.
func TestStreamsAreFilteredAsWholes(t *testing.T) {
	g := build(t, everything)
	r := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		s := []byte(sample(r))
		if len(s) == 0 {
			continue
		}
		want := maskedText(g, [][]byte{s})
		for _, api := range streams {
			stream := api.make(pieces(r, s))
			out, v, _ := run(g, Options{API: api.api, Stream: true}, pieces(r, stream))
			got, events := read(t, out)
			if got != want {
				t.Fatalf("%s: %q\nbecame %q\n  want %q\n%s", api.api, s, got, want, out)
			}
			if _, n := read(t, stream); n != events {
				t.Fatalf("%s: %d events became %d", api.api, n, events)
			}
			if want == string(s) && (!bytes.Equal(out, stream) || v.Outcome != Passed) {
				t.Fatalf("%s: nothing was found, and the bytes differ", api.api)
			}
			if want != string(s) && v.Outcome != Changed {
				t.Fatalf("%s: outcome %v", api.api, v.Outcome)
			}
			if api.api == record.APIResponses && bytes.Count(out, quoteRaw([]byte(want))) < 4 && strings.ToValidUTF8(want, "") == want && !bytes.Contains(s, []byte("\n")) {
				t.Fatalf("the whole text is not repeated as it was filtered:\n%s", out)
			}
		}
	}
}

// Blocked answers too do not depend on how the bytes of a stream are cut.
func TestBlockedStreams(t *testing.T) {
	section := strings.ReplaceAll(everything, `, replacement: "(gone)"`, "")
	g := build(t, strings.ReplaceAll(section, "action: replace", "action: block")+"refusal: No.\n")
	r := rand.New(rand.NewPCG(7, 8))
	for range 100 {
		s := []byte(sample(r))
		for _, api := range streams {
			stream := api.make(pieces(r, s))
			want, v, _ := run(g, Options{API: api.api, Stream: true}, [][]byte{stream})
			out, _, a := run(g, Options{API: api.api, Stream: true}, pieces(r, stream))
			if !bytes.Equal(out, want) {
				t.Fatalf("%s: %q became\n%s\nwhole\n%s", api.api, s, out, want)
			}
			if rule, _ := g.search(string(s)); (rule >= 0) != (v.Outcome == Blocked) {
				t.Fatalf("%s: %q was %v", api.api, s, v.Outcome)
			}
			if v.Outcome == Blocked {
				text, _ := read(t, out)
				if !a.Done() || !strings.HasSuffix(text, "No.") {
					t.Fatalf("%s: %q", api.api, text)
				}
				said := strings.TrimSuffix(text, "No.")
				if !strings.HasPrefix(string(s), strings.TrimSuffix(said, "\n\n")) {
					t.Fatalf("%q is not what came before", said)
				}
			}
		}
	}
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { golden(t, file) })
	}
}

// golden runs one file: a guard, the API, what comes, and what is to go out.
func golden(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.SplitN(string(data), "=====\n", 4)
	if len(sections) < 3 {
		t.Fatal("want guard, API, input and output, parted by =====")
	}
	api, asked, _ := strings.Cut(strings.TrimSpace(sections[1]), "\n")
	name, mode, _ := strings.Cut(api, " ")
	g := build(t, sections[0])
	out, v, _ := run(g, Options{API: name, Stream: mode == "stream", Request: []byte(asked)}, [][]byte{[]byte(strings.TrimSuffix(sections[2], "\n"))})
	report, err := json.Marshal(v.Report)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("status %d %s\n%s\n%s\n", v.Status, report, strings.TrimSpace(v.Next.Text+" "+v.Next.Model), out)
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(sections[:3], "=====\n")+"=====\n"+got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(sections) < 4 || sections[3] != got {
		t.Errorf("%s: got\n%s", file, got)
	}
}
