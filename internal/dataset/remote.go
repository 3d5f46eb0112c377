package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// Times after which a server that says nothing is given up.
const (
	headerTimeout = 30 * time.Second
	stallTimeout  = time.Minute
	maxRedirects  = 5
)

var checksum = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// isAddress says whether a path is an address, of a kind that is fetched or of another.
func isAddress(path string) bool {
	return strings.Contains(path, "://")
}

// newRemote checks the address of a file and what the suite says about it; nothing is fetched yet.
func newRemote(t config.Tests, address string, opts Options) (file, error) {
	u, err := url.Parse(address)
	if err != nil {
		return file{}, &config.Error{Pos: t.Pos, Problem: "not an address", Want: "such as https://example.org/cases.jsonl"}
	}
	shown := shownAddress(u)
	fail := func(key, problem, want string) (file, error) {
		at := t.Pos
		if key != "" {
			at = at.At(key)
		}
		return file{}, &config.Error{Pos: at, Value: shown, Problem: problem, Want: want}
	}
	if why := refused(u); why != "" {
		return fail("", why, "an https address")
	}
	if u.User != nil {
		return fail("", "an address with a user name or password", "one without: credentials do not belong into a suite")
	}
	sum := strings.ToLower(strings.TrimPrefix(strings.TrimSpace(t.SHA256), "sha256:"))
	switch {
	case sum == "":
		return fail("sha256", "a file from elsewhere needs its checksum", "sha256: followed by the 64 hex digits that sha256sum prints")
	case !checksum.MatchString(sum):
		return file{}, &config.Error{Pos: t.Pos.At("sha256"), Value: t.SHA256, Problem: "not a SHA-256 checksum", Want: "64 hex digits"}
	case opts.CacheDir == "":
		return fail("", "addresses cannot be read here: there is no cache directory to keep the file in", "a local file")
	case t.Split != "" || t.Format == "hf":
		return fail("", "a folder cannot be fetched", "the address of one file")
	}
	f := file{path: filepath.Join(opts.CacheDir, "datasets", sum), name: shown, format: t.Format, remote: u.String()}
	return f, f.guess(t)
}

// shownAddress is an address without what may be secret in it.
func shownAddress(u *url.URL) string {
	c := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return c.String()
}

// refused says why nothing is fetched from an address, "" when it may be.
func refused(u *url.URL) string {
	switch {
	case u.Host == "":
		return "an address without a server"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return ""
	case u.Scheme == "http":
		return "an address without encryption"
	}
	return fmt.Sprintf("addresses of kind %q are not supported", u.Scheme)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetched says whether the content has been found to be what the checksum says.
func (f *file) fetched() bool { return !f.mtime.IsZero() }

// fetch makes sure that the cache holds f, and that it is what the suite asked for. The file is
// never anything but read: it is made without permission to run.
func (d *Dataset) fetch(ctx context.Context, s *source, f *file) error {
	want := filepath.Base(f.path)
	pos := s.tests.Pos
	if got, err := hashFile(ctx, f.path); err == nil && got == want {
		return f.stat()
	} else if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return fmt.Errorf("dataset: cache: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.path), "fetch-*") // mode 0600
	if err != nil {
		return fmt.Errorf("dataset: cache: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // fails once the file has its name
	got, err := d.download(ctx, f, tmp)
	if err = errors.Join(err, tmp.Close()); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &config.Error{Pos: pos, Value: f.name, Problem: "cannot be fetched", Err: err}
	}
	if got != want {
		return &config.Error{Pos: pos.At("sha256"), Value: want, Problem: fmt.Sprintf("%s is another file: its checksum is %s", f.name, got),
			Want: "the file that the suite was written for", Hint: "if the new file is right, take its checksum into the suite"}
	}
	if err := os.Rename(tmp.Name(), f.path); err != nil {
		return fmt.Errorf("dataset: cache: %w", err)
	}
	return f.stat()
}

func (f *file) stat() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("dataset: cache: %w", err)
	}
	f.size, f.mtime = info.Size(), info.ModTime()
	return nil
}

func hashFile(ctx context.Context, path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &contextReader{ctx, in}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// download copies the file at f's address to w and returns its checksum.
func (d *Dataset) download(ctx context.Context, f *file, w io.Writer) (sum string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(headerTimeout, func() { cancel(fmt.Errorf("the server said nothing for %v", headerTimeout)) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.remote, nil)
	if err != nil {
		return "", errors.New("not an address")
	}
	req.Header.Set("User-Agent", "telltale")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if why := refused(next.URL); why != "" {
			return fmt.Errorf("the server sends on to %s: %s", shownAddress(next.URL), why)
		}
		if len(via) > maxRedirects {
			return fmt.Errorf("the server sends on more than %d times", maxRedirects)
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		// The library's message holds the whole address, with what may be secret in its query.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answers %s", resp.Status)
	}
	limit := d.opts.MaxDownload
	if resp.ContentLength > limit {
		return "", fmt.Errorf("it has %d bytes, and at most %d are fetched", resp.ContentLength, limit)
	}
	h := sha256.New()
	body := &watched{r: io.LimitReader(resp.Body, limit+1), timer: stall}
	n, err := io.Copy(io.MultiWriter(w, h), body)
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil:
		return "", err
	case n > limit:
		return "", fmt.Errorf("it has more than the %d bytes that are fetched at most", limit)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// watched puts off a timer whenever there is something to read.
type watched struct {
	r     io.Reader
	timer *time.Timer
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.timer.Reset(stallTimeout)
	return n, err
}
