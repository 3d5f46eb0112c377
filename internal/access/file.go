package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

const hashPrefix = "sha256:"

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Parse reads a file of keys strictly. Mistakes are config.Errors.
func Parse(path string, data []byte) ([]Entry, error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, nil
	}
	o, err := config.ParseObject(path, data)
	if err != nil {
		return nil, err
	}
	r := o.Reader()
	raw := r.Any("keys")
	items, ok := raw.([]any)
	if raw != nil && !ok {
		r.Fail("keys", "not a list", "a list of keys")
	}
	var errs config.Errors
	errs.Append(o.Pos, r.Finish())
	names, hashes := map[string]bool{}, map[[sha256.Size]byte]bool{}
	var out []Entry
	for i, item := range items {
		p := o.At("keys").At("[" + strconv.Itoa(i) + "]")
		m, ok := item.(map[string]any)
		if !ok {
			errs = append(errs, &config.Error{Pos: p, Problem: "not a mapping", Want: "name and hash of a key"})
			continue
		}
		e, err := parseEntry(config.Object{Pos: p, Map: m})
		if err != nil {
			errs.Append(p, err)
			continue
		}
		if names[e.Name] {
			errs = append(errs, &config.Error{Pos: p.At("name"), Value: e.Name, Problem: "another key has this name"})
		}
		if hashes[e.Hash] {
			errs = append(errs, &config.Error{Pos: p.At("hash"), Problem: "the same key is given twice"})
		}
		names[e.Name], hashes[e.Hash] = true, true
		out = append(out, e)
	}
	if err := errs.Err(); err != nil {
		config.Locate(err, func(string) ([]byte, error) { return data, nil })
		return nil, err
	}
	return out, nil
}

func parseEntry(o config.Object) (Entry, error) {
	r := o.Reader()
	e := Entry{
		Name: r.String("name", ""), Routes: r.Strings("routes"), Revoked: r.Bool("revoked", false),
		Created: moment(r, "created"), Expires: moment(r, "expires"),
		Requests: amount(r, "requests_per_minute"), Tokens: amount(r, "tokens_per_minute"), Budget: amount(r, "usd_per_day"),
	}
	text, ok := strings.CutPrefix(r.String("hash", ""), hashPrefix)
	b, err := hex.DecodeString(text)
	if !ok || err != nil || len(b) != sha256.Size {
		// The value is not shown: somebody may have put the key itself here.
		at := o.Pos
		if o.Map["hash"] != nil {
			at = at.At("hash")
		}
		return Entry{}, &config.Error{Pos: at, Problem: "not a hash", Want: "sha256: and 64 hexadecimal digits, as telltale keys writes it"}
	}
	copy(e.Hash[:], b)
	if err := r.Finish(); err != nil {
		return Entry{}, err
	}
	return e, e.checkAt(o.Pos)
}

func moment(r *config.Reader, key string) time.Time {
	s := r.String(key, "")
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, s); err != nil {
			r.Fail(key, "not a time", "a time such as 2027-01-31 or 2027-01-31T12:00:00Z")
		}
	}
	return t
}

func amount(r *config.Reader, key string) float64 {
	f := r.Float(key)
	if f == nil {
		return 0
	}
	if !(*f > 0) {
		r.Fail(key, "not above 0", "a number above 0; leave it out for no limit")
		return 0
	}
	return *f
}

func (e *Entry) check() error { return e.checkAt(config.Pos{}) }

func (e *Entry) checkAt(p config.Pos) error {
	if e.Name == "" {
		return &config.Error{Pos: p, Problem: "a key without a name", Want: "name"}
	}
	if !nameForm.MatchString(e.Name) {
		return &config.Error{Pos: p.At("name"), Value: e.Name, Problem: "not a name", Want: "letters, digits, dots, dashes and underscores, at most 64"}
	}
	for key, f := range map[string]float64{"requests_per_minute": e.Requests, "tokens_per_minute": e.Tokens, "usd_per_day": e.Budget} {
		if !(f >= 0) || f > 1e15 {
			return &config.Error{Pos: p.At(key), Value: fmt.Sprint(f), Problem: "out of range", Want: "a number above 0"}
		}
	}
	return nil
}

// write puts the file in place in one step, so that a reader sees the old one or the new one, and takes the entries
// into use.
func (k *Keys) write(all []Entry) error {
	var b strings.Builder
	b.WriteString("# Keys of the gateway's clients, written by `telltale keys`. It holds hashes, from which no key can be made.\nkeys:\n")
	for _, e := range all {
		e.print(&b)
	}
	if len(all) == 0 {
		b.WriteString("  []\n")
	}
	dir := filepath.Dir(k.o.File)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	f, err := os.CreateTemp(dir, ".keys-*")
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(b.String())
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), k.o.File)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	k.install(all)
	if info, err := os.Stat(k.o.File); err == nil {
		k.seen = stamp{info.Size(), info.ModTime()}
	}
	return nil
}

func (e *Entry) print(b *strings.Builder) {
	fmt.Fprintf(b, "  - name: %q\n    hash: %s%s\n", e.Name, hashPrefix, hex.EncodeToString(e.Hash[:]))
	if !e.Created.IsZero() {
		fmt.Fprintf(b, "    created: %q\n", e.Created.UTC().Format(time.RFC3339))
	}
	if len(e.Routes) > 0 {
		b.WriteString("    routes:\n")
		for _, r := range e.Routes {
			fmt.Fprintf(b, "      - %q\n", r)
		}
	}
	if !e.Expires.IsZero() {
		fmt.Fprintf(b, "    expires: %q\n", e.Expires.UTC().Format(time.RFC3339))
	}
	for _, l := range []struct {
		key string
		f   float64
	}{{"requests_per_minute", e.Requests}, {"tokens_per_minute", e.Tokens}, {"usd_per_day", e.Budget}} {
		if l.f > 0 {
			fmt.Fprintf(b, "    %s: %s\n", l.key, strconv.FormatFloat(l.f, 'f', -1, 64))
		}
	}
	if e.Revoked {
		b.WriteString("    revoked: true\n")
	}
}
