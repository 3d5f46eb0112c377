package dataset

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// site serves files, counts what is asked of it, and sends /away and /round elsewhere.
func site(t *testing.T, files map[string]string) (base string, hits *int) {
	t.Helper()
	hits = new(int)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*hits++
		switch text, ok := files[r.URL.Path]; {
		case r.URL.Path == "/away.jsonl":
			http.Redirect(w, r, "http://example.invalid/x.jsonl?token=s3cret", http.StatusFound)
		case r.URL.Path == "/round.jsonl":
			http.Redirect(w, r, "/round.jsonl", http.StatusFound)
		case r.URL.Path == "/moved.jsonl":
			http.Redirect(w, r, "/a.jsonl", http.StatusFound)
		case !ok:
			http.NotFound(w, r)
		default:
			w.Write([]byte(text))
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, hits
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func TestRemote(t *testing.T) {
	rows := `{"id": "a"}` + "\n" + `{"id": "b"}` + "\n"
	base, hits := site(t, map[string]string{"/a.jsonl": rows, "/b.csv": "id\nc\n", "/c.jsonl.gz": zip(rows)})
	opts := testOptions()
	opts.CacheDir = t.TempDir()
	f := func(path, content, want string, wantHits int) {
		t.Helper()
		*hits = 0
		got, _ := ids(t, open(t, opts, config.Tests{Path: base + path, SHA256: sum(content)}))
		if s := strings.Join(got, " "); s != want || *hits != wantHits {
			t.Errorf("%s: %s with %d requests, want %s with %d", path, s, *hits, want, wantHits)
		}
	}
	f("/a.jsonl", rows, "a b", 1)
	f("/a.jsonl", rows, "a b", 0)
	f("/b.csv?token=s3cret", "id\nc\n", "c", 1)
	f("/c.jsonl.gz", zip(rows), "a b", 1)
	f("/moved.jsonl", rows, "a b", 0) // the content is known by its checksum, wherever it came from
	kept := filepath.Join(opts.CacheDir, "datasets", sum(rows))
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm()&0o111 != 0 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(kept, []byte(`{"id": "forged"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f("/moved.jsonl", rows, "a b", 2)
}

func TestRemoteMistakes(t *testing.T) {
	base, _ := site(t, map[string]string{"/a.jsonl": `{"id": "a"}`, "/bad.jsonl": "{\n"})
	ok := sum(`{"id": "a"}`)
	cache := t.TempDir()
	f := func(path, checksum string, change func(*Options), want ...string) {
		t.Helper()
		opts := testOptions()
		opts.CacheDir = cache
		if change != nil {
			change(&opts)
		}
		got := scanError(t, opts, config.Tests{Pos: config.Pos{File: "suite.yaml", Line: 4, Key: "tests"}, Path: path, SHA256: checksum})
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q, want %q", path, got, w)
			}
		}
		if strings.Contains(got, "s3cret") {
			t.Errorf("%s: a secret in the message: %s", path, got)
		}
		if left, _ := filepath.Glob(filepath.Join(cache, "datasets", "fetch-*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", path, left)
		}
	}
	f(base+"/a.jsonl", "", nil, "suite.yaml:4: tests.sha256", "needs its checksum; want sha256:")
	f(base+"/a.jsonl", "abc", nil, "suite.yaml:4: tests.sha256", "not a SHA-256 checksum; want 64 hex digits")
	f(base+"/a.jsonl?token=s3cret", sum("x"), nil, "suite.yaml:4: tests.sha256", "another file: its checksum is "+ok)
	f(base+"/nope.jsonl?token=s3cret", ok, nil, "suite.yaml:4: tests", "cannot be fetched: the server answers 404 Not Found")
	f(base+"/away.jsonl", ok, nil, "the server sends on to http://example.invalid/x.jsonl: an address without encryption")
	f(base+"/round.jsonl", ok, nil, "the server sends on more than 5 times")
	f(base+"/a.jsonl", ok, func(o *Options) { o.MaxDownload = 5 }, "it has 11 bytes, and at most 5 are fetched")
	f(base+"/a.jsonl", ok, func(o *Options) { o.CacheDir = "" }, "addresses cannot be read here")
	f(base+"/bad.jsonl", sum("{\n"), nil, base+"/bad.jsonl:1:")
	f("http://127.0.0.1:1/a.jsonl?token=s3cret", ok, nil, "cannot be fetched", "refused")
	f("http://example.org/a.jsonl", ok, nil, "an address without encryption; want an https address")
	f("https://user:s3cret@example.org/a.jsonl", ok, nil, "an address with a user name or password")
	f("ftp://example.org/a.jsonl", ok, nil, `addresses of kind "ftp" are not supported`)
	f("https:///a.jsonl", ok, nil, "an address without a server")
	f("https://example.org/a", ok, nil, "the format cannot be told from the extension")
	f("a.jsonl", ok, nil, "a checksum is for a file at an https address")
}
