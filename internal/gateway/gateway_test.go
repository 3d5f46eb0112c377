package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/config"
)

// named is an upstream that answers with its name and what it was sent.
func echoAs(t testing.TB, name string) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", name, r.URL.Path, b)
	})
}

func TestRouting(t *testing.T) {
	a, b, c := echoAs(t, "a"), echoAs(t, "b"), echoAs(t, "c")
	up := func(url, format, model string) []config.Upstream {
		return []config.Upstream{{Name: "u", URL: url, Format: format, Model: model}}
	}
	cfg := &config.Server{Routes: []config.Route{
		{Name: "support", Path: "/support", Models: []string{"gpt-4o", "gpt-5*"}, Upstreams: up(a, "", "")},
		{Name: "support-rest", Path: "/support", Upstreams: up(b, "", "")},
		{Name: "claude", Models: []string{"claude-*-latest", "*opus*"}, Upstreams: up(c, "anthropic", "")},
		{Name: "small", Models: []string{"gpt-4o-mini"}, Upstreams: up(b, "openai", "local-model")},
		{Name: "limited", Path: "/limited", Upstreams: up(a, "", ""), Caps: map[string]float64{"max_tokens": 100}, Set: map[string]any{"temperature": 0, "store": nil}},
	}}
	s := start(t, cfg, Options{})
	f := func(path, body string, status int, want string) {
		t.Helper()
		resp, got := post(t, s, path, body)
		if resp.StatusCode != status || !strings.Contains(got, want) {
			t.Errorf("%s %s: %d %q, want %d %q", path, body, resp.StatusCode, got, status, want)
		}
		if status == 200 {
			s.tapped(t)
		}
	}
	f("/support/v1/chat/completions", `{"model":"gpt-4o"}`, 200, "a /v1/chat/completions ")
	f("/support/v1/chat/completions", `{"model":"gpt-5-nano"}`, 200, "a ")
	f("/support/v1/chat/completions", `{"model":"gpt-4"}`, 200, "b ")
	f("/support/v1/files", ``, 200, "a /v1/files")
	f("/supportive/v1/files", ``, 404, "unknown_url")
	f("/v1/messages", `{"model":"claude-sonnet-latest"}`, 200, "c ")
	f("/v1/messages", `{"model":"my/opus/3"}`, 200, "c ")
	f("/v1/messages", `{"model":"claude-sonnet"}`, 404, `"type":"not_found_error"`)
	f("/v1/chat/completions", `{"model":"claude-sonnet-latest"}`, 404, "speaks this API")
	f("/v1/chat/completions", `{"model":"nothing"}`, 404, `"code":"model_not_found"`)
	f("/v1/chat/completions", `{ "x":1, "model":"gpt-4o-mini" }`, 200, `b /v1/chat/completions { "x":1, "model":"local-model" }`)
	f("/v1/embeddings", `{"model":"gpt-4o-mini","input":"x"}`, 200, `{"model":"local-model","input":"x"}`)
	f("/limited/v1/chat/completions", `{"model":"x","max_tokens":500,"store":true}`, 200, `{"model":"x","max_tokens":100,"temperature":0}`)
	f("/limited/v1/new-thing", `{"model":"x","max_tokens":500}`, 200, `{"model":"x","max_tokens":500}`)
	f("/limited/v1/embeddings", `{"model":"x","max_tokens":500}`, 200, `{"model":"x","max_tokens":500}`)
	if st := s.Stats(); st.Refused[NoRoute] != 3 || st.Routes["limited"].Requests != 3 || st.Routes["support"].Status["2xx"] != 3 {
		t.Errorf("%+v", st)
	}
	post(t, s, "/v1/chat/completions", `{"model":"gpt-4o-mini"}`)
	if x := s.tapped(t); x.Model != "gpt-4o-mini" || x.Override != "local-model" || string(x.SentBody) != `{"model":"local-model"}` || string(x.Body) != `{"model":"gpt-4o-mini"}` {
		t.Errorf("captured %+v", x)
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	_ = os.WriteFile(empty, []byte("x"), 0o600)
	f := func(want string, change func(*config.Server)) {
		t.Helper()
		cfg := one("http://127.0.0.1:1")
		cfg.Routes[0].Pos = config.Pos{File: "server.yaml", Line: 7}
		change(cfg)
		_, err := New(cfg, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, ok := errors.AsType[config.Errors](err); !ok {
			t.Errorf("%T is no mistake of a configuration", err)
		}
	}
	up := func(f func(*config.Upstream)) func(*config.Server) {
		return func(c *config.Server) { f(&c.Routes[0].Upstreams[0]) }
	}
	f("no upstream", func(c *config.Server) { c.Routes[0].Upstreams = nil })
	f("another route", func(c *config.Server) { c.Routes = append(c.Routes, c.Routes[0]) })
	f("not an HTTP URL", up(func(u *config.Upstream) { u.URL = "ftp://x" }))
	f("not a URL", up(func(u *config.Upstream) { u.URL = "http://a b" }))
	f("credentials", up(func(u *config.Upstream) { u.URL = "http://me:secret@host" }))
	f("control characters", up(func(u *config.Upstream) { u.Key = "secret\r\nX-Evil: 1" }))
	f("control characters", up(func(u *config.Upstream) { u.Headers = map[string]string{"X-A": "secret\n"} }))
	f("cannot be read", up(func(u *config.Upstream) { u.URL, u.CACert = "https://x", filepath.Join(dir, "none") }))
	f("no certificate", up(func(u *config.Upstream) { u.URL, u.CACert = "https://x", empty }))
	f("set twice", func(c *config.Server) { c.Routes[0].Set = map[string]any{"a": 1, "a.b": 2} })
	f("certificate and key", func(c *config.Server) { c.Listen.TLSCert, c.Listen.TLSKey = empty, empty })
}

// A reload changes where new requests go; one under way ends where it began; a mistake changes nothing.
func TestReload(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{}, 1)
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "slow")
	})
	quick := echoAs(t, "quick")
	s := start(t, one(slow), Options{})
	first := make(chan string, 1)
	go func() {
		_, got := post(t, s, "/v1/chat/completions", chatBody)
		first <- got
	}()
	<-begun
	if err := s.Reload(one("nonsense://")); err == nil {
		t.Fatal("a bad configuration was taken")
	}
	if got := s.state.Load().routes[0].tiers[0][0].members[0].host; !strings.Contains(slow, got) {
		t.Errorf("a bad reload changed the upstream to %s", got)
	}
	if err := s.Reload(one(quick)); err != nil {
		t.Fatal(err)
	}
	if _, got := post(t, s, "/v1/chat/completions", chatBody); !strings.HasPrefix(got, "quick") {
		t.Errorf("after the reload %q", got)
	}
	close(release)
	if got := <-first; got != "slow" {
		t.Errorf("the request under way got %q", got)
	}
	// The same upstream keeps its connections.
	before := s.state.Load().routes[0].tiers[0][0].members[0].upstream
	if err := s.Reload(one(quick, func(r *config.Route) { r.Retries = 2 })); err != nil {
		t.Fatal(err)
	}
	if s.state.Load().routes[0].tiers[0][0].members[0].upstream != before {
		t.Error("an unchanged upstream was made anew")
	}
}

// Reloads while requests come in lose none of them.
func TestReloadUnderLoad(t *testing.T) {
	a, b := echoAs(t, "a"), echoAs(t, "b")
	s := start(t, one(a), Options{Sink: func(x *Tapped) { x.Release() }})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var n, failed atomic.Int32
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := s.client.Post(s.url+"/v1/chat/completions", "application/json", strings.NewReader(chatBody))
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				n.Add(1)
			}
		})
	}
	for i := range 50 {
		if err := s.Reload(one([]string{a, b}[i%2])); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if failed.Load() > 0 || n.Load() == 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), n.Load())
	}
}

// Whatever the sink does, requests are answered, and what it was not given is counted.
func TestSink(t *testing.T) {
	up := echoAs(t, "up")
	t.Run("panics", func(t *testing.T) {
		var n atomic.Int32
		s := start(t, one(up), Options{Sink: func(x *Tapped) { n.Add(1); panic(string(x.Body)) }})
		for range 3 {
			post(t, s, "/v1/chat/completions", chatBody)
		}
		waitFor(t, "three panics", func() bool { return s.Stats().Dropped[DropPanic] == 3 })
		if n.Load() != 3 || strings.Contains(s.log.String(), "12 + 7") || !strings.Contains(s.log.String(), "panicked") {
			t.Errorf("%d panics; log %s", n.Load(), s.log)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		release := make(chan struct{})
		s := start(t, one(up), Options{Queue: 4, Sink: func(x *Tapped) { <-release; x.Release() }})
		begin := time.Now()
		for range 20 {
			post(t, s, "/v1/chat/completions", chatBody)
		}
		if d := time.Since(begin); d > soon {
			t.Errorf("twenty requests took %v", d)
		}
		st := s.Stats()
		if st.Routed != 20 || st.Dropped[DropQueue] < 15 || st.Waiting > 5 {
			t.Errorf("routed %d, dropped %v, waiting %d", st.Routed, st.Dropped, st.Waiting)
		}
		close(release)
		s.stop()
		st = s.Stats()
		if st.Handed+st.Dropped[DropQueue] != 20 || st.TapBytes != 0 {
			t.Errorf("handed %d, dropped %v, %d bytes held", st.Handed, st.Dropped, st.TapBytes)
		}
	})
	t.Run("keeps everything", func(t *testing.T) {
		s := start(t, one(up), Options{TapMemory: 64 << 10, Sink: func(*Tapped) {}})
		body := `{"x":"` + strings.Repeat("y", 20<<10) + `"}`
		for range 10 {
			if _, got := post(t, s, "/v1/chat/completions", body); !strings.HasSuffix(got, body) {
				t.Fatal("the answer changed")
			}
		}
		waitFor(t, "all exchanges", func() bool { return s.Stats().Handed == 10 })
		if st := s.Stats(); st.TapBytes > 64<<10 || st.Dropped[DropMemory] == 0 {
			t.Errorf("%d bytes held, dropped %v", st.TapBytes, st.Dropped)
		}
	})
	t.Run("none", func(t *testing.T) {
		g, err := New(one(up), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Too many bytes of requests in memory refuse new ones.
func TestBodyMemory(t *testing.T) {
	s := start(t, one(echoAs(t, "up")), Options{BodyMemory: 1 << 20})
	if resp, got := post(t, s, "/v1/messages", `{"x":"`+strings.Repeat("y", 2<<20)+`"}`); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got, "overloaded_error") {
		t.Errorf("%d %.100s", resp.StatusCode, got)
	}
	if resp, _ := post(t, s, "/v1/chat/completions", chatBody); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	s.tapped(t)
	if st := s.Stats(); st.BodyBytes != 0 {
		t.Errorf("%d bytes held", st.BodyBytes)
	}
}

func TestHealth(t *testing.T) {
	h := &health{eject: 3, cooldown: 10 * time.Second}
	now := time.Unix(1000, 0)
	f := func(at time.Duration, ok, probe bool) {
		t.Helper()
		if gotOK, gotProbe := h.admit(now.Add(at)); gotOK != ok || gotProbe != probe {
			t.Errorf("at %v: admitted %v, probe %v; want %v, %v", at, gotOK, gotProbe, ok, probe)
		}
	}
	f(0, true, false)
	h.failure(false, now)
	h.failure(false, now)
	h.success(false) // a success in between begins anew
	h.failure(false, now)
	h.failure(false, now)
	f(0, true, false)
	h.failure(false, now)
	f(time.Second, false, false)
	f(10*time.Second, true, true)
	f(10*time.Second, false, false) // one probe at a time
	h.failure(true, now.Add(11*time.Second))
	f(20*time.Second, false, false)
	f(21*time.Second, true, true)
	h.neither(true) // the client went away: the next one probes
	f(21*time.Second, true, true)
	h.success(true)
	f(21*time.Second, true, false)
	if h.ejected.Load() != 2 {
		t.Errorf("ejected %d times", h.ejected.Load())
	}
}

func TestChoose(t *testing.T) {
	now := time.Unix(1000, 0)
	list := func(weights ...float64) []member {
		var out []member
		for i, w := range weights {
			out = append(out, member{index: i, weight: w, upstream: &upstream{health: &health{eject: 1, cooldown: time.Minute}}})
		}
		return out
	}
	m := list(3, 1, 0, 0)
	tiers := tiersFor(anyAPI, m, []config.Upstream{{}, {}, {}, {Backup: true}})
	count := map[int]int{}
	for range 4000 {
		x, _ := choose(tiers, 0, now)
		count[x.index]++
	}
	if count[0] < 2800 || count[0] > 3200 || count[0]+count[1] != 4000 {
		t.Errorf("weights 3 to 1 gave %v", count)
	}
	pick := func(tried uint64) int {
		x, _ := choose(tiers, tried, now)
		if x == nil {
			return -1
		}
		return x.index
	}
	if got := pick(0b01); got != 1 {
		t.Errorf("after 0 came %d", got)
	}
	if got := pick(0b11); got != 2 {
		t.Errorf("after 0 and 1 came %d", got)
	}
	if got := pick(0b111); got != 3 {
		t.Errorf("after all others came %d, want the backup", got)
	}
	m[1].health.failure(false, now)
	for range 100 {
		if got := pick(0); got != 0 {
			t.Fatalf("%d was chosen while 1 rests", got)
		}
	}
	m[0].health.failure(false, now)
	if got := pick(0); got != 2 {
		t.Errorf("with the shared ones resting came %d", got)
	}
	m[2].health.failure(false, now)
	m[3].health.failure(false, now)
	if got := pick(0); got != 0 && got != 1 {
		t.Errorf("with all resting came %d, want one of the first", got)
	}
	if got := pick(1); got != -1 {
		t.Errorf("a second attempt went to %d, which rests", got)
	}
}

// An upstream that fails is left out, and comes back after a probe.
func TestEjection(t *testing.T) {
	var bad atomic.Bool
	var asked atomic.Int32
	bad.Store(true)
	first := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if bad.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, "first")
	})
	cfg := one(first, func(r *config.Route) {
		r.Upstreams[0].Eject, r.Upstreams[0].Cooldown = 2, 200*time.Millisecond
		r.Upstreams = append(r.Upstreams, config.Upstream{Name: "second", URL: echoAs(t, "second")})
	})
	s := start(t, cfg, Options{})
	for range 5 {
		if _, got := post(t, s, "/v1/chat/completions", chatBody); !strings.HasPrefix(got, "second") {
			t.Fatalf("%q", got)
		}
	}
	st := s.Stats().Routes["main"]
	if asked.Load() != 2 || !st.Upstreams["up"].Resting || st.Upstreams["up"].Failures != 2 || st.Fallbacks != 2 {
		t.Errorf("asked %d times; %+v", asked.Load(), st)
	}
	bad.Store(false)
	waitFor(t, "the return of the first", func() bool {
		_, got := post(t, s, "/v1/chat/completions", chatBody)
		return got == "first"
	})
	if st := s.Stats().Routes["main"]; st.Upstreams["up"].Resting {
		t.Error("still out")
	}
}

func TestMaxConns(t *testing.T) {
	var now, most atomic.Int32
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		_, _ = io.WriteString(w, "{}")
	})
	s := start(t, one(up, func(r *config.Route) { r.Upstreams[0].MaxConns = 2 }), Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if resp, _ := post(t, s, "/v1/chat/completions", chatBody); resp.StatusCode != http.StatusOK {
				t.Error(resp.Status)
			}
		})
	}
	wg.Wait()
	if most.Load() > 2 {
		t.Errorf("%d connections at a time", most.Load())
	}
}

func TestAsked(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := func(h http.Header, want time.Duration, ok bool) {
		t.Helper()
		if got, gotOK := asked(h, now); got != want || gotOK != ok {
			t.Errorf("%v: %v %v", h, got, gotOK)
		}
	}
	f(http.Header{}, 0, false)
	f(http.Header{"Retry-After": {"2"}}, 2*time.Second, true)
	f(http.Header{"Retry-After": {"0.5"}}, 500*time.Millisecond, true)
	f(http.Header{"Retry-After": {"Thu, 01 Jan 2026 00:00:03 GMT"}}, 3*time.Second, true)
	f(http.Header{"Retry-After": {"Thu, 01 Jan 2025 00:00:03 GMT"}}, 0, true)
	f(http.Header{"Retry-After": {"9"}, "Retry-After-Ms": {"40"}}, 40*time.Millisecond, true)
	f(http.Header{"Retry-After": {"1e300"}}, 1e6*time.Second, true)
	f(http.Header{"Retry-After": {"-1"}}, 0, false)
	f(http.Header{"Retry-After": {"NaN"}}, 0, false)
	f(http.Header{"Retry-After": {"soon"}}, 0, false)
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if !pause(t.Context(), time.Second) || time.Since(begin) != time.Second {
			t.Error("did not wait a second")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if pause(ctx, time.Hour) || time.Since(begin) != 2*time.Second {
			t.Error("did not end with the context")
		}
	})
}

// Keys of clients.
func TestKeys(t *testing.T) {
	keys, err := access.Open(access.Options{File: filepath.Join(t.TempDir(), "keys.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	issue := func(e access.Entry) string {
		k, _, err := keys.Issue(e)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	all, limited := issue(access.Entry{Name: "all"}), issue(access.Entry{Name: "limited", Routes: []string{"main"}, Requests: 2})
	cfg := one(echoAs(t, "up"))
	cfg.Routes = append(cfg.Routes, config.Route{Name: "private", Path: "/private", Keys: []string{"all"}, Upstreams: cfg.Routes[0].Upstreams})
	cfg.Access.Require = true
	s := start(t, cfg, Options{Access: keys})
	f := func(path, key string, status int, want string) {
		t.Helper()
		resp, got := post(t, s, path, chatBody, "Authorization", "Bearer "+key)
		if resp.StatusCode != status || !strings.Contains(got, want) || strings.Contains(got, "tt_0") {
			t.Errorf("%d %s, want %d %s", resp.StatusCode, got, status, want)
		}
		if status == 429 && resp.Header.Get("Retry-After") == "" {
			t.Error("no retry-after")
		}
	}
	chat := "/v1/chat/completions"
	f(chat, all, 200, "up")
	if x := s.tapped(t); x.Client != "all" {
		t.Errorf("client %q", x.Client)
	}
	f(chat, "sk-own", 401, "is needed")
	f(chat, "tt_0123", 401, "not known")
	f("/v1/messages", "tt_0123", 401, "authentication_error")
	f("/private"+chat, all, 200, "up")
	f("/private"+chat, limited, 403, "forbidden")
	f(chat, limited, 200, "up")
	f(chat, limited, 429, "rate_limit_exceeded")
	if err := keys.Revoke("all"); err != nil {
		t.Fatal(err)
	}
	f(chat, all, 401, "revoked")
	st := s.Stats()
	if st.Refused[NoKey] != 1 || st.Refused[BadKey] != 3 || st.Refused[Forbidden] != 1 || st.Refused[RateLimited] != 1 {
		t.Errorf("%v", st.Refused)
	}
}

// A gateway without keys is for its own machine's programs, not for pages in its browser.
func TestGuard(t *testing.T) {
	cfg := one(echoAs(t, "up"))
	cfg.Listen.Gateway = "127.0.0.1:4000"
	s := start(t, cfg, Options{})
	f := func(host, site string, status string) {
		t.Helper()
		got := raw(t, s.addr, "POST /v1/chat/completions HTTP/1.1\r\nHost: "+host+"\r\nSec-Fetch-Site: "+site+"\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
		if !strings.HasPrefix(got, "HTTP/1.1 "+status) {
			t.Errorf("%s from %s: %.100q", host, site, got)
		}
	}
	f("localhost:4000", "same-origin", "200")
	f("127.0.0.1", "none", "200")
	f("evil.example", "same-origin", "403")
	f("localhost:4000", "cross-site", "403")
	f("localhost:4000", "none\r\nOrigin: https://evil.example", "403")
	f("localhost:4000", "none\r\nOrigin: http://localhost:3000", "200")
	f("localhost:4000", "none\r\nOrigin: app://editor", "200")
}

func TestCheckListen(t *testing.T) {
	f := func(addr string, require, insecure, ok bool) {
		t.Helper()
		cfg := &config.Server{Listen: config.Listen{Gateway: addr, Insecure: insecure}, Access: config.Access{Require: require}}
		if err := CheckListen(cfg); (err == nil) != ok {
			t.Errorf("%s, require %v, insecure %v: %v", addr, require, insecure, err)
		}
	}
	f("", false, false, true)
	f("off", false, false, true)
	f("127.0.0.1:4000", false, false, true)
	f("[::1]:4000", false, false, true)
	f("localhost:4000", false, false, true)
	f(":4000", false, false, false)
	f("0.0.0.0:4000", false, false, false)
	f("10.0.0.1:4000", false, false, false)
	f("gateway.example:4000", false, false, false)
	f("0.0.0.0:4000", true, false, true)
	f("0.0.0.0:4000", false, true, true)
}

// A shutdown lets requests finish.
func TestDrain(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "late")
	})
	s := start(t, one(up), Options{})
	got := make(chan string, 1)
	go func() {
		_, b := post(t, s, "/v1/chat/completions", chatBody)
		got <- b
	}()
	<-begun
	resp, err := s.client.Get(s.url + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	ended := make(chan struct{})
	go func() { s.stop(); close(ended) }()
	waitFor(t, "the end of new connections", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil && s.draining.Load()
	})
	close(release)
	if b := <-got; b != "late" {
		t.Errorf("%q", b)
	}
	within(t, "the end", ended)
}

func TestNewID(t *testing.T) {
	at := time.UnixMilli(0x0123456789ab)
	seen := map[string]bool{}
	for range 1000 {
		id := newID(at)
		if len(id) != 36 || id[:13] != "01234567-89ab" || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) || seen[id] {
			t.Fatal(id)
		}
		seen[id] = true
	}
	if newID(at) > newID(at.Add(time.Microsecond)) {
		t.Error("not in the order of time")
	}
}

func TestTail(t *testing.T) {
	g := &Gateway{o: Options{TapMemory: 1 << 20}}
	x := Tapped{memory: new(atomic.Int64)}
	var all []byte
	for i := range 5000 {
		p := fmt.Appendf(nil, "piece %d ", i)
		if i%700 == 0 {
			p = bytes.Repeat(p, 3000)
		}
		all = append(all, p...)
		g.tail(&x, p)
		if !bytes.HasSuffix(all, x.Tail) || len(x.Tail) > 2*maxTail || len(all) > maxTail && len(x.Tail) < maxTail {
			t.Fatalf("after piece %d: %d bytes kept", i, len(x.Tail))
		}
	}
}

// TestTapHolds: all that an exchange keeps is accounted for, within the bound, and given back.
func TestTapHolds(t *testing.T) {
	const limit = 256 << 10
	g := &Gateway{o: Options{TapMemory: limit, TapAnswer: 4 << 20}, stats: newCounters()}
	x := &Tapped{memory: &g.stats.tap}
	for i := range 100_000 {
		g.tapAnswer(x, []byte("data: {}\n\n"), g.o.TapAnswer, time.Duration(i))
	}
	n := len(x.Arrivals)
	kept := int64(cap(x.Answer) + cap(x.Arrivals)*arrivalSize + cap(x.Tail))
	if x.Held() != kept || g.stats.tap.Load() != kept || kept > limit+limit/4 {
		t.Errorf("%d bytes are kept, %d held, %d counted; the bound is %d", kept, x.Held(), g.stats.tap.Load(), limit)
	}
	if !x.AnswerCut || !x.ArrivalsCut || n == 0 || x.Arrivals[n-1].End != len(x.Answer) || g.stats.dropped[DropMemory].Load() != 1 {
		t.Errorf("answer cut %v, times cut %v, %d times, %d of %d bytes", x.AnswerCut, x.ArrivalsCut, n, len(x.Answer), x.AnswerSize)
	}
	x.Release()
	if held := g.stats.tap.Load(); held != 0 {
		t.Errorf("%d bytes are held after all", held)
	}
}
