package access

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) *Keys {
	t.Helper()
	if o.File == "" {
		o.File = filepath.Join(t.TempDir(), "keys.yaml")
	}
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func bearer(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }

func TestIssueAndAuthenticate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k := open(t, Options{Now: func() time.Time { return now }})
	key, e, err := k.Issue(Entry{Name: "team-a", Routes: []string{"support"}, Expires: now.Add(time.Hour), Requests: 1e6, Tokens: 1.5e6, Budget: .25})
	if err != nil || !strings.HasPrefix(key, Prefix) || len(key) != len(Prefix)+64 || e.Hash != sha256.Sum256([]byte(key)) {
		t.Fatalf("%q %+v %v", key, e, err)
	}
	data, err := os.ReadFile(k.o.File)
	if err != nil || strings.Contains(string(data), key[len(Prefix):]) {
		t.Fatalf("the file holds the key: %v", err)
	}
	if info, _ := os.Stat(k.o.File); info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v", info.Mode())
	}
	again := open(t, Options{File: k.o.File, Now: k.o.Now})
	if got := again.Entries(); !reflect.DeepEqual(got, []Entry{e}) {
		t.Errorf("read back %+v\nwritten %+v", got, e)
	}
	f := func(h http.Header, want string, wantErr error) {
		t.Helper()
		for _, k := range []*Keys{k, again} {
			c, err := k.Authenticate(h)
			if !errors.Is(err, wantErr) || (c == nil) != (want == "") || c != nil && c.Name() != want {
				t.Errorf("%v: %v %v", h, c, err)
			}
		}
	}
	f(bearer(key), "team-a", nil)
	f(http.Header{"Authorization": {"bearer  " + key}}, "team-a", nil)
	f(http.Header{"X-Api-Key": {key}}, "team-a", nil)
	f(http.Header{Header: {key}, "Authorization": {"Bearer sk-own"}}, "team-a", nil)
	basic := func(user, password string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
	}
	f(basic("pk-lf", key), "team-a", nil)
	f(basic(key, ""), "team-a", nil)
	f(basic("pk-lf", "sk-lf"), "", nil)
	f(basic("pk-lf", Prefix+"none"), "", ErrUnknown)
	f(http.Header{"Authorization": {"Basic ?"}}, "", nil)
	f(http.Header{}, "", nil)
	f(bearer("sk-own"), "", nil)
	f(http.Header{"Authorization": {key}}, "", nil)
	f(bearer(key[:len(key)-1]), "", ErrUnknown)
	f(bearer(Prefix), "", ErrUnknown)
	f(http.Header{Header: {"x"}}, "", ErrUnknown)
	now = now.Add(time.Hour)
	f(bearer(key), "", ErrExpired)

	if c := k.Client("team-a"); !c.Allows("support") || c.Allows("other") {
		t.Error("routes are not kept")
	}
	if _, _, err := k.Issue(Entry{Name: "team-a"}); err == nil {
		t.Error("a name was given twice")
	}
	for _, bad := range []Entry{{}, {Name: "a b"}, {Name: "a", Requests: -1}} {
		if _, _, err := k.Issue(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// A revoked key is refused at once where it was revoked, and by others once they have looked at the file.
func TestRevoke(t *testing.T) {
	k := open(t, Options{})
	a, _, _ := k.Issue(Entry{Name: "a"})
	b, _, _ := k.Issue(Entry{Name: "b"})
	other := open(t, Options{File: k.o.File})
	if err := k.Revoke("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Authenticate(bearer(a)); !errors.Is(err, ErrRevoked) {
		t.Error(err)
	}
	if changed, err := other.Reload(); !changed || err != nil {
		t.Errorf("%v %v", changed, err)
	}
	if changed, _ := other.Reload(); changed {
		t.Error("read again without a change")
	}
	if _, err := other.Authenticate(bearer(a)); !errors.Is(err, ErrRevoked) {
		t.Error(err)
	}
	if c, err := other.Authenticate(bearer(b)); err != nil || c.Name() != "b" {
		t.Error(err)
	}
	if k.Revoke("none") == nil {
		t.Error("revoked what there is not")
	}
}

// A mistake in the file, or its loss, leaves the keys that were.
func TestReloadMistake(t *testing.T) {
	k := open(t, Options{})
	key, _, _ := k.Issue(Entry{Name: "a"})
	for _, text := range []string{"keys: [", "keys:\n  - name: a\n"} {
		if err := os.WriteFile(k.o.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := k.Reload(); changed || err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	_ = os.Remove(k.o.File)
	if _, err := k.Reload(); err == nil {
		t.Error("no error for a file that is gone")
	}
	if c, err := k.Authenticate(bearer(key)); c == nil || err != nil {
		t.Error("the key no longer counts")
	}
}

func TestParse(t *testing.T) {
	hash := "sha256:" + strings.Repeat("ab", 32)
	all, err := Parse("keys.yaml", []byte("# mine\nkeys:\n  - name: a\n    hash: "+hash+"\n    routes: support\n    expires: 2027-01-31\n    requests_per_minute: 60\n  - {name: b, hash: \"sha256:"+strings.Repeat("cd", 32)+"\", revoked: true}\n"))
	if err != nil || len(all) != 2 || all[0].Expires.Year() != 2027 || all[0].Routes[0] != "support" || all[0].Requests != 60 || !all[1].Revoked {
		t.Errorf("%+v %v", all, err)
	}
	f := func(text, want string, line int) {
		t.Helper()
		_, err := Parse("keys.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %v", text, want, err)
			return
		}
		list, ok := errors.AsType[config.Errors](err)
		if !ok || list[0].File != "keys.yaml" || list[0].Line != line {
			t.Errorf("%q: %v is not placed in line %d", text, err, line)
		}
	}
	f("key: []", "unknown key", 1)
	f("keys: 7", "not a list", 1)
	f("keys: []\nkeys: []", "duplicate", 2)
	f("keys:\n  - 7", "not a mapping", 2)
	f("keys:\n  - name: a", "not a hash", 2)
	f("keys:\n  - hash: "+hash, "without a name", 2)
	f("keys:\n  - name: a\n    hash: tt_0123", "not a hash", 3)
	f("keys:\n  - name: a\n    hash: "+hash+"\n    limit: 7", "unknown key", 4)
	f("keys:\n  - name: a b\n    hash: "+hash, "not a name", 2)
	f("keys:\n  - name: a\n    hash: "+hash+"\n    usd_per_day: 0", "not above 0", 4)
	f("keys:\n  - name: a\n    hash: "+hash+"\n    expires: soon", "not a time", 4)
	f("keys:\n  - name: a\n    hash: "+hash+"\n  - name: a\n    hash: "+hash, "another key", 4)
	if _, err := Parse("k", []byte("keys:\n  - name: a\n    hash: tt_0123abc")); err == nil || strings.Contains(err.Error(), "0123abc") {
		t.Errorf("a key in the place of its hash is shown: %v", err)
	}
	if all, err := Parse("k", []byte("\n")); len(all) != 0 || err != nil {
		t.Errorf("%v %v", all, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("keys:\n  - name: a\n    hash: sha256:" + strings.Repeat("ab", 32) + "\n    expires: 2027-01-31\n"))
	f.Add([]byte("keys: [{}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Parse("k", b)
		if err != nil {
			return
		}
		var w strings.Builder
		w.WriteString("keys:\n")
		for _, e := range all {
			e.print(&w)
		}
		again, err := Parse("k", []byte(w.String()))
		if err != nil || len(again) != len(all) {
			t.Fatalf("%q was written as %q: %v", b, w.String(), err)
		}
		for i := range all {
			if hex.EncodeToString(all[i].Hash[:]) != hex.EncodeToString(again[i].Hash[:]) || all[i].Name != again[i].Name || all[i].Requests != again[i].Requests {
				t.Fatalf("%+v became %+v", all[i], again[i])
			}
		}
	})
}

func TestLimits(t *testing.T) {
	now := time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)
	k := open(t, Options{Now: func() time.Time { return now }})
	client := func(e Entry) *Client {
		if _, _, err := k.Issue(e); err != nil {
			t.Fatal(err)
		}
		return k.Client(e.Name)
	}
	f := func(c *Client, want error, wait time.Duration) {
		t.Helper()
		got, err := c.Admit(now)
		if !errors.Is(err, want) || got.Round(time.Millisecond) != wait {
			t.Errorf("%s: %v after %v, want %v after %v", c.Name(), err, got, want, wait)
		}
	}
	free := client(Entry{Name: "free"})
	for range 1000 {
		f(free, nil, 0)
	}
	r := client(Entry{Name: "requests", Requests: 2})
	f(r, nil, 0)
	f(r, nil, 0)
	f(r, ErrRate, 30*time.Second)
	now = now.Add(30 * time.Second)
	f(r, nil, 0)
	f(r, ErrRate, 30*time.Second)
	now = now.Add(time.Hour - 30*time.Second - time.Minute) // no more than a minute's worth is saved
	f(r, nil, 0)
	f(r, nil, 0)
	f(r, ErrRate, 30*time.Second)
	slow := client(Entry{Name: "slow", Requests: .5})
	f(slow, nil, 0)
	f(slow, ErrRate, 2*time.Minute)

	tok := client(Entry{Name: "tokens", Tokens: 60})
	f(tok, nil, 0)
	k.AddUse("tokens", 119, 0)
	f(tok, ErrTokens, time.Minute)

	b := client(Entry{Name: "budget", Budget: 1})
	k.AddUse("budget", 5, .75)
	f(b, nil, 0)
	k.AddUse("budget", 5, .5)
	f(b, ErrBudget, time.Minute) // it is 23:59
	if s := b.Spent(now); s != 1.25 {
		t.Errorf("spent %v", s)
	}
	// What has been used stays used when the file is read again.
	if err := k.Revoke("free"); err != nil {
		t.Fatal(err)
	}
	f(k.Client("budget"), ErrBudget, time.Minute)
	now = now.Add(time.Minute)
	f(b, nil, 0)
	k.AddUse("nobody", 1, 1)
}

func TestWatch(t *testing.T) {
	k := open(t, Options{})
	editor := open(t, Options{File: k.o.File})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.Watch(ctx, time.Second); close(done) }()
		synctest.Wait()
		key, _, err := editor.Issue(Entry{Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if c, err := k.Authenticate(bearer(key)); c == nil || err != nil {
			t.Errorf("the new key is not known: %v", err)
		}
		cancel()
		<-done
	})
}
