package actuator

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func change(rev uint64, weight float64) Change {
	return Change{Revision: rev, Rollout: "swap", Route: "main", Baseline: "baseline", Candidate: "canary", Weight: weight, Phase: "running", Stage: 1, Reason: "next stage", Time: time.Unix(1e9, 0).UTC()}
}

// flaky fails a number of times, and remembers what it was brought to.
type flaky struct {
	mu    sync.Mutex
	fails int
	took  []uint64
}

func (f *flaky) Name() string { return "flaky" }

func (f *flaky) Apply(_ context.Context, c Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails > 0 {
		f.fails--
		if f.fails%2 == 0 {
			panic("oh")
		}
		return errors.New("not now")
	}
	f.took = append(f.took, c.Revision)
	return nil
}

// TestDriver: what failed is tried again until it works, an older change never follows a newer one, and a newer one does not
// wait for the end of a long pause.
func TestDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, steady := &flaky{fails: 9}, &flaky{}
		d := NewDriver([]Target{f, steady}, slog.New(slog.DiscardHandler))
		defer d.Close()
		d.Want(change(2, .05))
		d.Want(change(1, .01))
		synctest.Wait()
		if s := d.States(); s[0].Applied != 0 || s[0].Error != "panic: oh" || s[1].Applied != 2 || s[0].Wanted != 2 {
			t.Errorf("%+v", s)
		}
		time.Sleep(3 * time.Minute)
		if err := d.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.fails = 1000
		f.mu.Unlock()
		d.Want(change(3, .25))
		time.Sleep(10 * time.Minute)
		f.mu.Lock()
		f.fails = 0
		f.mu.Unlock()
		d.Want(change(4, 0))
		start := time.Now()
		if err := d.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("a rollback waited %v", took)
		}
		if fmt.Sprint(f.took) != "[2 4]" || fmt.Sprint(steady.took) != "[2 3 4]" {
			t.Errorf("%v %v", f.took, steady.took)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.mu.Lock()
		f.fails = 1000
		f.mu.Unlock()
		d.Want(change(5, .1))
		if err := d.Settle(short); err == nil || !strings.Contains(err.Error(), "flaky: ") {
			t.Errorf("%v", err)
		}
	})
}

// TestDriverSaysItOnce: revisions that say what was said before, as those that only take up evidence, are not carried out again.
func TestDriverSaysItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steady := &flaky{}
		d := NewDriver([]Target{steady}, slog.New(slog.DiscardHandler))
		defer d.Close()
		for _, c := range []Change{change(1, .05), change(2, .05), change(3, .05), change(4, .25), change(5, .25), change(6, .05)} {
			c.Time = c.Time.Add(time.Duration(c.Revision) * time.Second)
			d.Want(c)
			synctest.Wait()
		}
		if fmt.Sprint(steady.took) != "[1 4 6]" {
			t.Errorf("%v", steady.took)
		}
		if err := d.Settle(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestWebhook(t *testing.T) {
	status := http.StatusOK
	var got Change
	var header http.Header
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header
		_ = json.Unmarshal(body, &got)
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer srv.Close()
	w, err := NewWebhook(srv.URL+"/hook?token=planted", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(t.Context(), change(7, .05)); err != nil || got != change(7, .05) {
		t.Fatalf("%v: %+v", err, got)
	}
	now := time.Now()
	sig := header.Get(SignatureHeader)
	f := func(secret, header string, body []byte, at time.Time, want bool) {
		t.Helper()
		if verify([]byte(secret), header, body, at, 5*time.Minute) != want {
			t.Errorf("%s of %s at %v: not %v", header, body, at, want)
		}
	}
	f("secret", sig, body, now, true)
	f("other", sig, body, now, false)
	f("secret", sig, append([]byte(" "), body...), now, false)
	f("secret", sig, body, now.Add(6*time.Minute), false)
	f("secret", strings.Replace(sig, "v1=", "v1=00", 1), body, now, false)
	f("secret", "", body, now, false)
	if header.Get("Idempotency-Key") != "swap-7" {
		t.Errorf("%v", header)
	}
	for _, status = range []int{http.StatusFound, http.StatusBadRequest, http.StatusInternalServerError} {
		if err := w.Apply(t.Context(), change(8, .1)); err == nil || !strings.Contains(err.Error(), http.StatusText(status)) {
			t.Errorf("%d: %v", status, err)
		}
	}
	srv.Close()
	if err := w.Apply(t.Context(), change(9, .1)); err == nil || strings.Contains(err.Error()+w.Name(), "planted") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "ftp://x", "http://", "::"} {
		if _, err := NewWebhook(bad, nil); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	t.Setenv("PLANTED", "secret")
	t.Setenv("PASSED", "on")
	dir := t.TempDir()
	c, err := NewCommand([]string{"sh", "-c", `cat > "$0/in"; env > "$0/env"`, dir}, []string{"PASSED"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), change(3, .25)); err != nil {
		t.Fatal(err)
	}
	in, _ := os.ReadFile(filepath.Join(dir, "in"))
	env, _ := os.ReadFile(filepath.Join(dir, "env"))
	var got Change
	if err := json.Unmarshal(in, &got); err != nil || got != change(3, .25) {
		t.Errorf("%v: %s", err, in)
	}
	for _, want := range []string{"TELLTALE_WEIGHT=0.25\n", "TELLTALE_CANDIDATE=canary\n", "TELLTALE_REASON=next stage\n", "PASSED=on\n"} {
		if !strings.Contains(string(env), want) {
			t.Errorf("without %s:\n%s", want, env)
		}
	}
	if strings.Contains(string(env), "PLANTED") {
		t.Error("it was given a variable that is not listed")
	}
	f := func(want string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, err := NewCommand(args, nil)
		if err == nil {
			err = c.Apply(ctx, change(1, 0))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	f("exit status 3: no", "sh", "-c", "echo no >&2; exit 3")
	f("not found", "telltale-no-such-program")
	f("want a program")
	f("signal", "sleep", "60")
}

func TestFlagFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flags.json")
	f, err := NewFlagFile(path, "model")
	if err != nil {
		t.Fatal(err)
	}
	apply := func(weight float64) string {
		t.Helper()
		if err := f.Apply(t.Context(), change(1, weight)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := apply(.05); !strings.Contains(got, flagSchema) || !strings.Contains(strings.Join(strings.Fields(got), ""), `"targeting":{"fractional":[["baseline",9500],["canary",500]]}`) {
		t.Errorf("%s", got)
	}
	if got := apply(0); strings.Contains(got, "targeting") || !strings.Contains(got, `"defaultVariant": "baseline"`) {
		t.Errorf("%s", got)
	}
	if got := apply(1); strings.Contains(got, "targeting") || !strings.Contains(got, `"defaultVariant": "canary"`) {
		t.Errorf("%s", got)
	}
	if err := os.WriteFile(path, []byte(`{"flags":{"other":{"state":"DISABLED","x":1e3}},"$evaluators":{"a":1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	got := apply(.5)
	if flat := strings.Join(strings.Fields(got), ""); !strings.Contains(flat, `"other":{"state":"DISABLED","x":1e3}`) || !strings.Contains(flat, `"$evaluators":{"a":1}`) {
		t.Errorf("%s", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte(`flags: {}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Apply(t.Context(), change(1, .5)); err == nil || !strings.Contains(err.Error(), "not a flag file") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "flags: {}" {
		t.Errorf("it was overwritten: %s", b)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// cluster is an API server with one HTTPRoute, which refuses updates of an older version.
type cluster struct {
	mu        sync.Mutex
	version   int
	conflicts int
	refs      []map[string]any
	paths     []string
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths = append(c.paths, r.Method+" "+r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path != "/apis/gateway.networking.k8s.io/v1/namespaces/prod/httproutes/chat" {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","message":"httproutes not found","code":404}`)
		return
	}
	if r.Method == http.MethodPut {
		var got struct {
			Metadata struct{ ResourceVersion string }
			Spec     struct {
				Hostnames []string
				Rules     []struct{ BackendRefs []map[string]any }
			}
		}
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &got); err != nil || len(got.Spec.Rules) != 2 || got.Spec.Hostnames[0] != "chat.example" {
			http.Error(w, string(b), http.StatusBadRequest)
			return
		}
		if c.conflicts > 0 {
			c.conflicts--
			c.version++
		}
		if got.Metadata.ResourceVersion != fmt.Sprint(c.version) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","message":"changed","code":409}`)
			return
		}
		c.version++
		c.refs = got.Spec.Rules[0].BackendRefs
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": map[string]any{"name": "chat", "namespace": "prod", "resourceVersion": fmt.Sprint(c.version)},
		"spec": map[string]any{"hostnames": []string{"chat.example"}, "rules": []any{map[string]any{"backendRefs": c.refs}, map[string]any{"backendRefs": []any{map[string]any{"name": "static", "port": 80}}}}},
	})
}

func (c *cluster) weights() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, r := range c.refs {
		out = append(out, fmt.Sprint(r["name"], "=", r["weight"]))
	}
	return strings.Join(out, " ")
}

func TestHTTPRoute(t *testing.T) {
	c := &cluster{version: 1, refs: []map[string]any{{"name": "old", "port": 80}, {"name": "new", "port": 80, "weight": 0}}}
	srv := httptest.NewServer(c)
	defer srv.Close()
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: k, cluster: {server: "` + srv.URL + `"}}], users: [{name: u, user: {token: planted}}], contexts: [{name: c, context: {cluster: k, user: u}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := NewHTTPRoute(HTTPRouteOptions{Namespace: "prod", Name: "chat", Baseline: "old", Candidate: "new", Kubeconfig: kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	f := func(weight float64, want string) {
		t.Helper()
		if err := h.Apply(t.Context(), change(1, weight)); err != nil {
			t.Fatal(err)
		}
		if got := c.weights(); got != want {
			t.Errorf("weight %v: %s, want %s", weight, got, want)
		}
	}
	f(.05, "old=950 new=50")
	c.conflicts = 2
	f(.0001, "old=999 new=1")
	f(1, "old=0 new=1000")
	f(0, "old=1000 new=0")
	n := len(c.paths)
	f(0, "old=1000 new=0")
	if got := c.paths[n:]; len(got) != 1 || !strings.HasPrefix(got[0], "GET") {
		t.Errorf("what is there was written again: %v", got)
	}
	fails := func(o HTTPRouteOptions, want string) {
		t.Helper()
		o.Kubeconfig = kubeconfig
		h, err := NewHTTPRoute(o)
		if err == nil {
			err = h.Apply(t.Context(), change(1, .5))
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	fails(HTTPRouteOptions{Namespace: "prod", Name: "chat", Baseline: "old", Candidate: "newer"}, "no rule of httproute prod/chat has the backends old and newer")
	fails(HTTPRouteOptions{Name: "chat", Baseline: "old", Candidate: "new"}, "not found")
	fails(HTTPRouteOptions{Name: "chat", Baseline: "old", Candidate: "old"}, "two backends")
	c.refs = append(c.refs[:2:2], map[string]any{"name": "third", "weight": 2})
	c.refs[0]["weight"], c.refs[1]["weight"] = 1, 1
	fails(HTTPRouteOptions{Namespace: "prod", Name: "chat", Baseline: "old", Candidate: "new"}, "want at least 1000")
}

// verify says whether a signature is right and at most tolerance old.
func verify(secret []byte, header string, body []byte, now time.Time, tolerance time.Duration) bool {
	var t, v string
	for part := range strings.SplitSeq(header, ",") {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "t":
			t = value
		case "v1":
			v = value
		}
	}
	unix, err := strconv.ParseInt(t, 10, 64)
	if err != nil || now.Sub(time.Unix(unix, 0)).Abs() > tolerance {
		return false
	}
	got, err := hex.DecodeString(v)
	return err == nil && hmac.Equal(got, mac(secret, t, body))
}
