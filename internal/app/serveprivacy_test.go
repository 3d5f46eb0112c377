package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
)

// serving is a telltale serve in this process.
type serving struct {
	gateway, api string
	dir, config  string
	stop         func() error
}

// serveIt starts a server with a route to upstream; more is added to its configuration.
func serveIt(t *testing.T, upstream, more string) *serving {
	t.Helper()
	return serveYAML(t, fmt.Sprintf("listen: {gateway: '127.0.0.1:0', api: '127.0.0.1:0', otlp_grpc: off}\nroutes: [{name: main, pass_key: true, upstreams: [{url: %q}]}]\n%s", upstream, more))
}

// serveYAML serves a configuration.
func serveYAML(t *testing.T, text string) *serving {
	t.Helper()
	s := &serving{dir: t.TempDir()}
	s.config = filepath.Join(s.dir, "server.yaml")
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Serve(ctx, ServeOptions{Config: s.config, Env: os.LookupEnv, Log: slog.New(slog.DiscardHandler), Grace: time.Second, Ready: func(_, gateway, api, _ string) {
			s.gateway, s.api = "http://"+gateway, "http://"+api
			close(ready)
		}})
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// stored waits until n exchanges of the gateway are stored.
func (s *serving) stored(t *testing.T, n int64) {
	t.Helper()
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		st, err := r.Status(t.Context())
		if err == nil && st.Capture.Seen >= n && st.Capture.Seen == st.Capture.Stored {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	st, err := r.Status(t.Context())
	t.Fatalf("not stored: %+v, bus %+v, store %+v, %v", st.Capture, st.Bus, st.Store, err)
}

// echoing answers with what it was sent, streamed when asked for.
func echoing(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var q struct {
			Stream   bool
			Messages []struct{ Content string }
		}
		if json.Unmarshal(body, &q) != nil || len(q.Messages) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":{"message":%q,"type":"invalid_request_error"}}`, "cannot read "+string(body))
			return
		}
		said, _ := json.Marshal("You wrote: " + q.Messages[len(q.Messages)-1].Content)
		if !q.Stream {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id":"x","object":"chat.completion","model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}`, said)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		text := "You wrote: " + q.Messages[len(q.Messages)-1].Content
		for text != "" { // pieces that cut values apart
			n := min(5, len(text))
			piece, _ := json.Marshal(strings.ToValidUTF8(text[:n], ""))
			fmt.Fprintf(w, "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"model\":\"echo\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%s},\"finish_reason\":null}]}\n\n", piece)
			text = text[n:]
		}
		fmt.Fprint(w, "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"model\":\"echo\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s
}

// planted are values of each kind that must not be written anywhere, in ways in which people write them.
func planted() []string {
	var out []string
	for i := range 20 {
		out = append(out, fmt.Sprintf("kari.nordmann%d@firma%d.example.org", i, i), fmt.Sprintf("10.%d.33.%d", 20+i, 200+i))
	}
	return append(out, "4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009", "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "NO9386011117947",
		"078-05-1121", "219-09-9999", "+1 415 555 2671", "+44 20 7946 0958", "+49 30 901820", "2001:db8:85a3::8a2e:370:7334")
}

// Personal data goes through the gateway to the model and back, and is in no file afterwards.
func TestPlantedValuesAreNotWritten(t *testing.T) {
	up := echoing(t)
	s := serveIt(t, up.URL, "capture: {top_k: true}\n")
	values := planted()
	n := int64(0)
	send := func(body string, header ...string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.gateway+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer sk-planted-key-0123456789abcdef")
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		n++
		return string(b)
	}
	for i, v := range values {
		context := []string{"My card is ", "Write to ", "The account is ", "Call ", "My social security number is ", "It comes from "}
		text, _ := json.Marshal(context[i%len(context)] + v + ", please. ssn card iban phone ip: " + v)
		if got := send(fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}]}`, text)); !strings.Contains(got, v) {
			t.Fatalf("the user's answer was changed: %s", got)
		}
		send(fmt.Sprintf(`{"model":"m","stream":true,"messages":[{"role":"user","content":%s}]}`, text))
		send(fmt.Sprintf(`{"model":"m","user":%s,"stop":[%[1]s],"metadata":{"note":%[1]s},"messages":[]}`, text), "telltale-user", v, "telltale-session", v, "telltale-tag-note", v)
		if strings.Contains(v, "@") {
			send(fmt.Sprintf(`{"model":"m","messages":[{"role":"user","content":%s}], broken %s`, text, v))
		}
	}
	s.stored(t, n)
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	var exported bytes.Buffer
	if err := r.Export(t.Context(), map[string][]string{"content": {"true"}}, &exported); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if lines := int64(bytes.Count(exported.Bytes(), []byte{'\n'})); lines != n || !bytes.Contains(exported.Bytes(), []byte("You wrote")) {
		t.Fatalf("%d of %d exchanges exported", lines, n)
	}
	values = append(values, "sk-planted-key-0123456789abcdef")
	search := func(where string, b []byte) {
		t.Helper()
		for _, v := range values {
			escaped, _ := json.Marshal(v)
			if bytes.Contains(b, []byte(v)) || bytes.Contains(b, escaped[1:len(escaped)-1]) {
				t.Errorf("%q is in %s", v, where)
			}
		}
	}
	search("the export", exported.Bytes())
	files := 0
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		search(path, b)
		return err
	})
	if err != nil || files < 4 {
		t.Fatalf("%d files, %v", files, err)
	}
	search("the bus", onBus(t, filepath.Join(s.dir, config.DefaultData)))
}

// onBus is everything that is still on the bus, decompressed: what its files hold cannot be seen in them.
func onBus(t *testing.T, dir string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, config.BusConfig{MaxBytes: 1 << 30, MaxAge: time.Hour, Replicas: 1, Full: "drop-oldest"}, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	err = b.Consume(ctx, exchangeStream, "search", bus.ConsumeOptions{}, func(_ context.Context, batch bus.Batch) error {
		for _, r := range batch.Records {
			all.Write(r.Data)
		}
		if batch.Pending == 0 {
			cancel()
		}
		return nil
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if all.Len() == 0 {
		t.Fatalf("the bus is empty: %v", err)
	}
	return all.Bytes()
}
