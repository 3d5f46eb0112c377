// Package access knows the clients' keys: it issues and revokes them, tells who asks, and holds each to its rate and
// budget.
//
// Keys live in a YAML file that `telltale keys` writes. It holds the SHA-256 of each key and never a key; 256 random
// bits cannot be guessed from their hash, so that no slower one is needed. A request's key is hashed and looked up,
// which takes the same time whatever is wrong with it. The file is read again when it changes. Rates and budgets are
// counted in memory, by this process: the gateway asks Admit before, and whoever knows what an exchange cost says so
// with AddUse afterwards.
//
// It is not for the providers' keys, which are part of the configuration, nor for users of the console.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// Prefix begins every key, so that it is told from a provider's.
const Prefix = "tt_"

// Header may carry the key where the request's own credentials are for the provider.
const Header = "Telltale-Key"

// keyBytes is how many random bytes a key has.
const keyBytes = 32

// Why a key is refused. The texts may be shown to clients.
var (
	ErrUnknown = errors.New("the key is not known")
	ErrRevoked = errors.New("the key has been revoked")
	ErrExpired = errors.New("the key has expired")
	ErrRate    = errors.New("too many requests")
	ErrTokens  = errors.New("too many tokens")
	ErrBudget  = errors.New("the day's budget is spent")
)

// Entry is a key as the file has it.
type Entry struct {
	Name    string
	Hash    [sha256.Size]byte
	Routes  []string // that it may use; empty allows all
	Created time.Time
	Expires time.Time // zero for never
	Revoked bool
	// Limits; 0 for none. A limit a minute may be used up at once, and fills up evenly again.
	Requests float64 // a minute
	Tokens   float64 // a minute
	Budget   float64 // US dollars a day, by UTC
}

// Options is what Keys work with.
type Options struct {
	// File is read when it is opened, where it exists, and again when it changes.
	File string
	Now  func() time.Time
	Log  *slog.Logger
}

// Keys are the keys of a file. All methods may be called concurrently.
type Keys struct {
	o    Options
	list atomic.Pointer[list]
	mu   sync.Mutex // one change of the file at a time
	seen stamp
}

// list is the content of a file made ready.
type list struct {
	byHash map[[sha256.Size]byte]*Client
	byName map[string]*Client
	order  []*Client
}

// stamp tells whether a file has changed.
type stamp struct {
	size int64
	time time.Time
}

// Open reads the keys. A file that does not exist has none; one with mistakes is config.Errors.
func Open(o Options) (*Keys, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keys{o: o}
	k.list.Store(&list{})
	if _, err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Authenticate tells whose key a request carries: in telltale-key, as a bearer token, as the password of Basic
// authentication (Langfuse's SDKs send their secret key so) or in x-api-key. It returns nil without an error when there is no key of telltale's among them. The error is ErrUnknown, ErrRevoked or ErrExpired.
func (k *Keys) Authenticate(h http.Header) (*Client, error) {
	key := presented(h)
	if key == "" {
		return nil, nil
	}
	c := k.list.Load().byHash[sha256.Sum256([]byte(key))]
	switch {
	case c == nil:
		return nil, ErrUnknown
	case c.entry.Revoked:
		return nil, ErrRevoked
	case !c.entry.Expires.IsZero() && !k.o.Now().Before(c.entry.Expires):
		return nil, ErrExpired
	}
	return c, nil
}

func presented(h http.Header) string {
	if v := h[Header]; len(v) > 0 {
		return strings.TrimSpace(v[0])
	}
	for _, v := range h["Authorization"] {
		if len(v) > 7 && strings.EqualFold(v[:7], "bearer ") {
			if v = strings.TrimSpace(v[7:]); strings.HasPrefix(v, Prefix) {
				return v
			}
		}
		if v = BasicKey(v); v != "" {
			return v
		}
	}
	for _, v := range h["X-Api-Key"] {
		if v = strings.TrimSpace(v); strings.HasPrefix(v, Prefix) {
			return v
		}
	}
	return ""
}

// BasicKey is telltale's key in an Authorization header of the scheme Basic, as its password or its user; "" where there
// is none.
func BasicKey(authorization string) string {
	if len(authorization) <= 6 || !strings.EqualFold(authorization[:6], "basic ") {
		return ""
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(authorization[6:]))
	if err != nil {
		return ""
	}
	user, password, _ := strings.Cut(string(b), ":")
	for _, v := range []string{password, user} {
		if strings.HasPrefix(v, Prefix) {
			return v
		}
	}
	return ""
}

// Issue makes a new key for what e says and writes the file. The key itself is returned only here. A name that is
// taken, by a revoked key too, is an error: exchanges tell clients by name.
func (k *Keys) Issue(e Entry) (key string, made Entry, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return "", Entry{}, err
	}
	if err := e.check(); err != nil {
		return "", Entry{}, err
	}
	if k.list.Load().byName[e.Name] != nil {
		return "", Entry{}, &config.Error{Pos: config.Pos{File: k.o.File, Key: "name"}, Value: e.Name, Problem: "another key has this name", Want: "a new name"}
	}
	var b [keyBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", Entry{}, err
	}
	key = Prefix + hex.EncodeToString(b[:])
	e.Hash, e.Revoked = sha256.Sum256([]byte(key)), false
	e.Created = k.o.Now().UTC().Truncate(time.Second)
	if err := k.write(append(k.entries(), e)); err != nil {
		return "", Entry{}, err
	}
	return key, e, nil
}

// Revoke ends a key: requests with it are refused from now on. The entry stays, so that its name is not given again.
func (k *Keys) Revoke(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refresh(); err != nil {
		return err
	}
	all := k.entries()
	at := slices.IndexFunc(all, func(e Entry) bool { return e.Name == name })
	if at < 0 {
		return &config.Error{Pos: config.Pos{File: k.o.File, Key: "name"}, Value: name, Problem: "no key has this name"}
	}
	all[at].Revoked = true
	return k.write(all)
}

// Entries returns the keys in the order of the file.
func (k *Keys) Entries() []Entry { return k.entries() }

func (k *Keys) entries() []Entry {
	l := k.list.Load()
	out := make([]Entry, len(l.order))
	for i, c := range l.order {
		out[i] = c.entry
	}
	return out
}

// Client returns the client of a name, or nil.
func (k *Keys) Client(name string) *Client { return k.list.Load().byName[name] }

// AddUse counts what an exchange of a client's took: tokens, and US dollars. Unknown names are passed over.
func (k *Keys) AddUse(name string, tokens int, usd float64) {
	if c := k.Client(name); c != nil {
		c.use(k.o.Now(), float64(tokens), usd)
	}
}

// Reload reads the file again when it has changed, and says whether it had. With a mistake in it, or without it, the
// present keys stay.
func (k *Keys) Reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.list.Load()
	err = k.refresh()
	return k.list.Load() != before, err
}

// refresh reads the file when its size or time differs from what was read last.
func (k *Keys) refresh() error {
	info, err := os.Stat(k.o.File)
	if errors.Is(err, fs.ErrNotExist) && k.seen == (stamp{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	now := stamp{info.Size(), info.ModTime()}
	if now == k.seen {
		return nil
	}
	data, err := os.ReadFile(k.o.File)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	all, err := Parse(k.o.File, data)
	if err != nil {
		return err
	}
	k.install(all)
	k.seen = now
	return nil
}

// install puts entries in the place of the present ones. What a client has used so far stays with its name.
func (k *Keys) install(all []Entry) {
	old := k.list.Load()
	l := &list{byHash: make(map[[sha256.Size]byte]*Client, len(all)), byName: make(map[string]*Client, len(all))}
	for _, e := range all {
		c := &Client{entry: e, meter: &meter{}}
		if before := old.byName[e.Name]; before != nil {
			c.meter = before.meter
		}
		l.byHash[e.Hash], l.byName[e.Name] = c, c
		l.order = append(l.order, c)
	}
	k.list.Store(l)
}

// Watch looks at the file every interval until ctx ends, and reports mistakes to the log once each.
func (k *Keys) Watch(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		changed, err := k.Reload()
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			k.o.Log.Error("the file of keys cannot be used; the keys read before stay in force", "error", said)
		case err == nil:
			said = ""
			if changed {
				k.o.Log.Info("keys read", "file", k.o.File, "keys", len(k.list.Load().order))
			}
		}
	}
}
