package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/rollout"
)

const outsideText = `name: v2
route: shop
baseline: v1
candidate: v2
assigned_by: outside
match: {baseline: {tags: {version: v1}}, candidate: {tags: {version: v2}}}
stages: [{weight: open, min_duration: 0, min_samples: 50, max_duration: 1h}]
signals: [{kind: error_rate, margin: 20%}]
`

// post sends a body and returns the status and the answer.
func (s *serving) post(t *testing.T, path, contentType string, body []byte) (int, string) {
	t.Helper()
	resp, err := http.Post(s.api+path, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// ndjson are exchanges of both versions; every failing-th of the second fails.
func ndjson(from, n, failing int) []byte {
	var b bytes.Buffer
	for i := from; i < from+n; i++ {
		version, more := "v1", `"status":200`
		if i%2 == 1 {
			version = "v2"
			if failing > 0 && i/2%failing == 0 {
				more = `"status":500,"error_kind":"server"`
			}
		}
		fmt.Fprintf(&b, "{\"id\":\"n%d\",\"time\":%q,\"route\":\"shop\",\"model\":\"m\",\"tags\":{\"version\":%q},%s}\n", i, time.Now().UTC().Format(time.RFC3339Nano), version, more)
	}
	return b.Bytes()
}

// spans are the same as OTLP, with the version as an attribute of each process.
func spans(from, n int) []byte {
	type object = map[string]any
	text := func(k, v string) object { return object{"key": k, "value": object{"stringValue": v}} }
	now := time.Now().UnixNano()
	var all []object
	for i := from; i < from+n; i++ {
		all = append(all, object{
			"resource": object{"attributes": []object{text("telltale.route", "shop"), text("telltale.tag.version", fmt.Sprintf("v%d", 1+i%2))}},
			"scopeSpans": []object{{"spans": []object{{
				"traceId": fmt.Sprintf("%032x", i+1), "spanId": fmt.Sprintf("%016x", i+1), "name": "chat m", "kind": 3,
				"startTimeUnixNano": fmt.Sprint(now - 1e8), "endTimeUnixNano": fmt.Sprint(now),
				"attributes": []object{text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai"), text("gen_ai.request.model", "m")},
			}}}},
		})
	}
	b, _ := json.Marshal(object{"resourceSpans": all})
	return b
}

// TestOutsideRollout: another router shares out the requests; exchanges that come as NDJSON and OTLP decide, and the verdict is what Argo Rollouts
// and Flagger are told.
func TestOutsideRollout(t *testing.T) {
	s := serveIt(t, echoing(t).URL, "")
	verdictOf := func(name string) (got struct{ Verdict, Reason, Guarantee string }) {
		t.Helper()
		resp, err := http.Get(s.api + "/v1/rollouts/" + name + "/verdict")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	hook := func(name, hook string, want int) {
		t.Helper()
		if status, body := s.post(t, "/v1/rollouts/"+name+"/flagger/"+hook, "application/json", []byte(`{"name":"shop"}`)); status != want {
			t.Errorf("%s: %d %s, want %d", hook, status, body, want)
		}
	}
	// feed sends until the verdict is there.
	n := 0
	feed := func(name, want string, send func() (path, kind string, body []byte)) {
		t.Helper()
		var got struct{ Verdict, Reason, Guarantee string }
		for range 200 {
			path, kind, body := send()
			if status, answer := s.post(t, path, kind, body); status != 200 && status != 202 {
				t.Fatalf("%d %s", status, answer)
			}
			if got = verdictOf(name); got.Verdict == want {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got.Verdict != want || !strings.Contains(got.Guarantee, "two samples are compared") {
			t.Fatalf("%+v, want %s", got, want)
		}
	}
	first := s.begin(t, outsideText)
	if first.AssignedBy != config.AssignedByOutside || first.Stages[0] != "open" || first.Guarantee != rollout.Guarantee {
		t.Errorf("%+v", first)
	}
	if got := verdictOf("v2"); got.Verdict != "undecided" {
		t.Errorf("%+v", got)
	}
	hook("v2", "rollout", http.StatusConflict) // nothing was seen
	hook("v2", "rollback", http.StatusConflict)
	feed("v2", "pass", func() (string, string, []byte) { n += 40; return "/v1/traces", "application/json", spans(n, 40) })
	hook("v2", "rollout", http.StatusOK)
	hook("v2", "confirm-promotion", http.StatusOK)
	hook("v2", "rollback", http.StatusConflict)
	if status, body := s.post(t, "/v1/rollouts/v2/promote", "application/json", []byte(`{"by":"argo"}`)); status != 200 || !strings.Contains(body, `"done"`) {
		t.Errorf("%d %s", status, body)
	}
	s.begin(t, strings.Replace(outsideText, "name: v2", "name: v2-again", 1))
	feed("v2-again", "fail", func() (string, string, []byte) {
		n += 40
		return "/v1/exchanges", "application/x-ndjson", ndjson(n, 40, 2)
	})
	hook("v2-again", "rollout", http.StatusConflict)
	hook("v2-again", "rollback", http.StatusOK)
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		got, err := r.Rollout(t.Context(), "v2-again")
		if err != nil {
			t.Fatal(err)
		}
		if got.Phase == string(rollout.RolledBack) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("it was not rolled back")
}

// TestWaitingOutside: an exchange is of the rollout on its route, on the arm that it matches alone.
func TestWaitingOutside(t *testing.T) {
	w := &waiting{asked: time.Now(), routed: map[string]outsideRollout{"shop": {name: "v2", baseline: "v1", candidate: "v2", unit: "request", match: config.Match{
		Baseline: config.ArmMatch{Model: "m"}, Candidate: config.ArmMatch{Tags: map[string]string{"version": "v2"}},
	}}}}
	f := func(route, model, version, want string) {
		t.Helper()
		o, ok := w.outside(&record.Exchange{Route: route, Model: model, Tags: map[string]string{"version": version}})
		if got := fmt.Sprint(o.Variant, ok); ok && got != want+"true" || !ok && want != "" {
			t.Errorf("%s %s %s: %+v %v, want %q", route, model, version, o, ok, want)
		}
	}
	f("shop", "m", "v1", "v1")
	f("shop", "n", "v2", "v2")
	f("shop", "m", "v2", "") // both
	f("shop", "n", "v1", "")
	f("main", "m", "v1", "")
}

// No target follows such a rollout, for its shares are not known, and no gateway has a plan; two at a time on a route cannot be.
func TestOutsideDrivesNothing(t *testing.T) {
	r, _ := atRollouts(t, t.TempDir())
	r.drivers.open()
	defer r.drivers.close()
	doc, err := config.LoadRollout("r.yaml", []byte(outsideText), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := r.Start(t.Context(), doc, "anna", "")
	if err != nil {
		t.Fatal(err)
	}
	if p := r.planOf(k); len(p.Arms) > 0 || p.Shadow != nil || p.Override || len(r.drivers.byRoute) > 0 {
		t.Errorf("%+v, %d drivers", p, len(r.drivers.byRoute))
	}
	if got := k.transitions()[0].Note; got != rollout.Guarantee {
		t.Errorf("note %q", got)
	}
	again := *doc
	again.Name = "again"
	if _, err := r.Start(t.Context(), &again, "anna", ""); !errors.Is(err, ErrRouteTaken) {
		t.Errorf("%v", err)
	}
}

// The example is one that the server takes.
func TestOutsideExample(t *testing.T) {
	doc, err := LoadRollout("../../examples/serve/outside.yaml", func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Check(&config.Server{}); err != nil || !doc.Outside() {
		t.Errorf("%+v, %v", doc, err)
	}
	for _, name := range []string{"argo.yaml", "flagger.yaml"} {
		b, err := os.ReadFile("../../examples/serve/" + name)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for d := yaml.NewDecoder(bytes.NewReader(b)); ; n++ {
			var v struct{ Kind string }
			if err := d.Decode(&v); errors.Is(err, io.EOF) {
				break
			} else if err != nil || v.Kind == "" {
				t.Fatalf("%s: %+v, %v", name, v, err)
			}
		}
		if n == 0 || !bytes.Contains(b, []byte("/v1/rollouts/")) {
			t.Errorf("%s has %d documents", name, n)
		}
	}
}
