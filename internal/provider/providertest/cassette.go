package providertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/telltale-llm/telltale/internal/record"
)

// Cassettes says how to replay the recorded exchanges of a provider.
type Cassettes struct {
	// Glob finds them, such as testdata/cassettes/*.txtar.
	Glob string
	// New returns the provider of a cassette, pointed at the server that replays it.
	New func(t *testing.T, id string, settings map[string]any, server string) Provider
	// Key is the API key that all use. It must not show.
	Key string
	// Headers are those of a request that a cassette holds.
	Headers []string
	// Update rewrites what the cassettes expect.
	Update bool
}

// cassette is a recorded exchange: how the provider is set up, what is asked, what the server
// replies, and what must have been sent and read.
type cassette struct {
	archive *txtar.Archive
	files   map[string]*txtar.File
}

func loadCassette(t *testing.T, path string) cassette {
	t.Helper()
	a, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := cassette{a, map[string]*txtar.File{}}
	for i := range a.Files {
		c.files[a.Files[i].Name] = &a.Files[i]
	}
	for _, name := range []string{"provider.json", "request.json", "reply.http", "sent.http", "response.json"} {
		if c.files[name] == nil {
			t.Fatalf("%s has no %s", path, name)
		}
	}
	return c
}

// expect compares with what the cassette holds, or rewrites it.
func (cs *Cassettes) expect(t *testing.T, c cassette, name, got string) {
	t.Helper()
	if cs.Update {
		c.files[name].Data = []byte(got)
		return
	}
	if want := string(c.files[name].Data); got != want {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}

// decodeSettings reads JSON as the suite's loader would: whole numbers are int64.
func decodeSettings(t *testing.T, data []byte) (id string, settings map[string]any) {
	t.Helper()
	var w struct {
		ID     string         `json:"id"`
		Config map[string]any `json:"config"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&w); err != nil {
		t.Fatal(err)
	}
	for k, v := range w.Config {
		if n, ok := v.(json.Number); ok {
			if i, err := n.Int64(); err == nil {
				w.Config[k] = i
			} else {
				w.Config[k], _ = n.Float64()
			}
		}
	}
	return w.ID, w.Config
}

func (cs *Cassettes) sent(r *http.Request, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL.RequestURI())
	for _, h := range cs.Headers {
		if v := r.Header.Get(h); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", h, strings.ReplaceAll(v, cs.Key, "KEY"))
		}
	}
	return b.String() + "\n" + string(body) + "\n"
}

// replay answers with a reply as the cassette has it: a status line, headers, an empty line, a body.
func replay(t *testing.T, w http.ResponseWriter, reply []byte) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(reply)))
	status, err := r.ReadLine()
	if err != nil {
		t.Error(err)
		return
	}
	code, err := strconv.Atoi(strings.Fields(status)[1])
	if err != nil {
		t.Error(err)
		return
	}
	headers, err := r.ReadMIMEHeader()
	if err != nil {
		t.Error(err)
		return
	}
	for k, vs := range headers {
		w.Header()[k] = vs
	}
	w.WriteHeader(code)
	body, err := io.ReadAll(r.R)
	if err != nil {
		t.Error(err)
		return
	}
	// In pieces that respect no boundary, as a network delivers them.
	for len(body) > 0 {
		n := min(len(body), 13)
		if _, err := w.Write(body[:n]); err != nil {
			return // the client has seen enough
		}
		w.(http.Flusher).Flush()
		body = body[n:]
	}
}

// outcome is an answer or a failure as the cassette has it.
type outcome struct {
	Response *record.Response   `json:"response,omitempty"`
	Kind     record.FailureKind `json:"kind,omitempty"`
	Message  string             `json:"message,omitempty"`
	Retry    bool               `json:"retry,omitempty"`
	After    string             `json:"after,omitempty"`
}

// absent are fields without content, which cassettes leave out.
var absent = regexp.MustCompile(`(?m)^ *"(?:Logprobs|PromptLogprobs|Likelihoods|ToolCalls|Turns)": null,\n`)

func (cs *Cassettes) outcome(t *testing.T, resp record.Response, err error, server string) string {
	t.Helper()
	var o outcome
	if err == nil {
		if resp.Latency <= 0 {
			t.Errorf("latency %v", resp.Latency)
		}
		resp.Latency = 0
		if resp.TTFT > 0 {
			resp.TTFT = 1 // it was measured; how long it took is not part of the cassette
		}
		o.Response = &resp
	} else {
		f, ok := errors.AsType[*record.Failure](err)
		if !ok {
			t.Fatalf("%v is not a failure", err)
		}
		o = outcome{Kind: f.Kind, Message: f.Error(), Retry: f.Retryable()}
		if f.RetryAfter > 0 {
			o.After = f.RetryAfter.String()
		}
		if strings.Contains(o.Message, cs.Key) {
			t.Errorf("the key shows in %q", o.Message)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(o); err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(server)
	text := absent.ReplaceAllString(b.String(), "")
	return strings.ReplaceAll(text, u.Host, "HOST")
}

// ReplayCassettes replays each cassette: the provider is made as it says, asked what it says, and must
// send and understand what it says.
func ReplayCassettes(t *testing.T, cs Cassettes) {
	paths, err := filepath.Glob(cs.Glob)
	if err != nil || len(paths) == 0 {
		t.Fatal("no cassettes", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { cs.replay(t, path) })
	}
}

func (cs *Cassettes) replay(t *testing.T, path string) {
	c := loadCassette(t, path)
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = cs.sent(r, body)
		replay(t, w, c.files["reply.http"].Data)
	}))
	defer server.Close()
	id, settings := decodeSettings(t, c.files["provider.json"].Data)
	p := cs.New(t, id, settings, server.URL)
	defer func() { _ = p.Close() }()
	var req record.Request
	if err := json.Unmarshal(c.files["request.json"].Data, &req); err != nil {
		t.Fatal(err)
	}
	resp, err := p.Complete(t.Context(), req)
	cs.expect(t, c, "sent.http", got)
	cs.expect(t, c, "response.json", cs.outcome(t, resp, err, server.URL))
	if cs.Update {
		if err := os.WriteFile(path, txtar.Format(c.archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
