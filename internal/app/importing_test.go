package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/wiretap"
)

// TestThereAndBack exports from a server, imports into another, twice and in both formats, and exports again: the same.
func TestThereAndBack(t *testing.T) {
	up := echoing(t)
	from, to := serveIt(t, up.URL, "capture: {content: 0.5}"), serveIt(t, up.URL, "")
	const n = 40 // of which half keep their content, from which the snapshot is made again: with 12, one run in 4,096 kept none
	for i := range n {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, from.gateway+"/v1/chat/completions",
			strings.NewReader(`{"model":"m","temperature":0.5,"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hello"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("telltale-user", "anna")
		req.Header.Set("telltale-tag-n", strconv.Itoa(i))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	from.stored(t, n)
	export := func(api, format string) []byte {
		t.Helper()
		r, err := NewRemote(api, "")
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := r.Export(t.Context(), url.Values{"format": {format}, "content": {"true"}}, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	r, err := NewRemote(to.api, "")
	if err != nil {
		t.Fatal(err)
	}
	want := export(from.api, "ndjson")
	if !bytes.Contains(want, []byte("be brief")) {
		t.Fatalf("no exchange kept its content:\n%s", want)
	}
	for _, format := range []string{"parquet", "ndjson", "parquet"} {
		file := filepath.Join(t.TempDir(), "x."+format)
		if err := os.WriteFile(file, export(from.api, format), 0o600); err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		sent, err := ImportExchanges(t.Context(), r, file, func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		})
		if err != nil || sent != n {
			t.Fatalf("%d, %v", sent, err)
		}
		deadline := time.Now().Add(20 * time.Second)
		for got := export(to.api, "ndjson"); !bytes.Equal(got, want); got = export(to.api, "ndjson") {
			if time.Now().After(deadline) {
				t.Fatalf("%s\nwant\n%s", got, want)
			}
			time.Sleep(20 * time.Millisecond) // what was sent is on the bus
		}
	}
	var x record.Exchange
	if err := json.NewDecoder(bytes.NewReader(want)).Decode(&x); err != nil {
		t.Fatal(err)
	}
	if snap, err := r.Snapshot(t.Context(), x.Snapshot); err != nil || snap.ID != x.Snapshot || snap.Template != "be brief" {
		t.Errorf("the snapshot did not travel: %+v, %v", snap, err)
	}
}

func TestImportMistakes(t *testing.T) {
	type row struct {
		ID     string `parquet:"id"`
		Time   int64  `parquet:"time,timestamp(microsecond)"`
		Status int32  `parquet:"status"`
	}
	f := func(rows any, write func(*bytes.Buffer), key string, line int, text string) {
		t.Helper()
		var b bytes.Buffer
		write(&b)
		file := filepath.Join(t.TempDir(), "x.parquet")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := NewRemote("http://127.0.0.1:1", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = ImportExchanges(t.Context(), r, file, nil)
		var first *config.Error
		if errs, ok := errors.AsType[config.Errors](err); ok {
			first = errs[0]
		} else if !errors.As(err, &first) {
			t.Fatalf("%+v: %v", rows, err)
		}
		if first.File != file || first.Key != key || first.Line != line || !strings.Contains(err.Error(), text) {
			t.Errorf("%v\nwant key %s, line %d, %q", err, key, line, text)
		}
	}
	second := int64(1_760_000_000_000_000)
	bad := []row{{"a", 1, 200}, {"b", second, 200}}
	f(bad, func(b *bytes.Buffer) { _ = parquet.Write(b, bad) }, "time", 1, "a time between 2000 and 2200")
	type mood struct {
		row
		Mood   string `parquet:"mood"`
		Served int64  `parquet:"served"`
	}
	moods := []mood{{row{"a", second, 200}, "glad", 1}}
	f(moods, func(b *bytes.Buffer) { _ = parquet.Write(b, moods) }, "mood", 0, "a newer telltale has written the file")
	f(moods, func(b *bytes.Buffer) { _ = parquet.Write(b, moods) }, "mood", 0, "served: \"int64\": the column is of another type; want byte_array")
	type tree struct {
		row
		Params string `parquet:"params"`
	}
	trees := []tree{{row{"", second, 200}, "[1]"}}
	f(trees, func(b *bytes.Buffer) { _ = parquet.Write(b, trees) }, "params", 1, "row 1 cannot be read")
}

// TestImportedIsNoEvidence: whoever sends exchanges cannot decide a rollout by them.
func TestImportedIsNoEvidence(t *testing.T) {
	x := record.Exchange{ID: "a", Variant: "canary", Assigned: &record.Assignment{Rollout: "tone"}}
	if _, ok := record.NewEvidence(&x); !ok {
		t.Error("an assigned exchange is no evidence")
	}
	s := serveIt(t, echoing(t).URL, "")
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.jsonl")
	if err := os.WriteFile(file, []byte(`{"id":"a","time":"2026-01-31T12:00:00Z","variant":"canary","assigned":{"rollout":"tone","stage":1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ImportExchanges(t.Context(), r, file, nil); err != nil {
		t.Fatal(err)
	}
	var got record.Exchange
	for range 400 {
		if got, err = r.Exchange(t.Context(), "a"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || got.Assigned == nil || got.Assigned.Rollout != "tone" || got.Assigned.Elsewhere {
		t.Errorf("%+v, %v", got.Assigned, err)
	}
	x.Assigned.Elsewhere = true
	codec := pipeline.NewCodec()
	data, err := codec.Exchange(&x)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := codec.Decode(data); err != nil || !m.Exchange.Assigned.Elsewhere {
		t.Errorf("lost on the bus: %+v, %v", m.Exchange, err)
	}
	if e, ok := record.NewEvidence(&x); ok {
		t.Errorf("evidence of an exchange that was imported: %+v", e)
	}
}

// TestTakenSnapshot: an id that is carried is kept, and its snapshot stored only where it is proven.
func TestTakenSnapshot(t *testing.T) {
	f := func(given string, want func(x *record.Exchange) (id string, stored bool)) {
		t.Helper()
		x := record.Exchange{Snapshot: given, Provider: "api.example.com", Upstream: "first", Model: "m", Served: "m-1", API: record.APIChat, Params: map[string]any{"temperature": .5}, Content: &record.Content{System: "be brief"}}
		id, stored := want(&x)
		s := takenSnapshot(&x)
		if stored && s.ID != id || !stored && s.ID != "" {
			t.Errorf("%q: %+v, want %s %v", given, s, id, stored)
		}
	}
	made := func(host, model string) string {
		x := record.Exchange{Model: "m", API: record.APIChat, Params: map[string]any{"temperature": .5}, Content: &record.Content{System: "be brief"}}
		return wiretap.Snapshot(&x, host, model, "").ID
	}
	own := func(*record.Exchange) (string, bool) { return made("first", ""), true }
	f("", own)
	f("mine", own)
	f(strings.Repeat("G", 16), own)
	f(made("api.example.com", ""), func(x *record.Exchange) (string, bool) { return x.Snapshot, true })
	f(made("api.example.com", "m-1"), func(x *record.Exchange) (string, bool) { return x.Snapshot, true })
	guarded := record.Exchange{Provider: "api.example.com", Model: "m", API: record.APIChat, Guard: &record.Guarded{ID: "g1"}}
	guarded.Snapshot = wiretap.Snapshot(&guarded, "api.example.com", "", "g1").ID
	if s := takenSnapshot(&guarded); s.ID != guarded.Snapshot {
		t.Errorf("of an answer that a guard read: %+v", s)
	}
	f("0123456789abcdef", func(x *record.Exchange) (string, bool) { return x.Snapshot, false })
}
