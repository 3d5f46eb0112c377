package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/clickhouse"
	"github.com/telltale-llm/telltale/internal/store/duckdb"
)

// part tells how the running server says that its bus or store is.
func (d *doctor) part(name string, st *api.PartStatus) {
	if !st.OK {
		d.add(name, CheckFail, "the server tries again by itself; its log says more", "%s of the running server: %s", st.Kind, st.Error)
		return
	}
	d.ok(name, "%s of the running server works", st.Kind)
}

// checkBus looks whether the bus can be used. A running server's is not opened a second time.
func (d *doctor) checkBus(ctx context.Context) {
	cfg := d.server.Bus
	switch {
	case !usesBus(d.server):
		return
	case d.running != nil:
		d.part("bus", &d.running.Bus)
		if n := d.running.Bus.Numbers["lost"]; n > 0 {
			d.add("bus", CheckWarn, "a larger bus.max_bytes, or find out why they were not stored", "about %d records were dropped before they were stored", n)
		}
		return
	}
	dir := d.server.Data
	if cfg.URL == "" {
		if _, err := os.Stat(filepath.Join(dir, "bus")); errors.Is(err, fs.ErrNotExist) {
			d.ok("bus", "embedded, is made at the first start")
			return
		}
	} else {
		temp, err := os.MkdirTemp("", "telltale-doctor-")
		if err != nil {
			d.add("bus", CheckWarn, "", "not examined: %v", err)
			return
		}
		defer func() { _ = os.RemoveAll(temp) }()
		dir = temp
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	b, err := bus.Open(ctx, cfg, dir, slog.New(slog.DiscardHandler))
	if errors.Is(err, bus.ErrInUse) {
		d.add("bus", CheckWarn, "is it a telltale serve with another API address?", "%v", err)
		return
	}
	if err != nil {
		d.add("bus", CheckFail, "docs/bus.md", "%v", err)
		return
	}
	h := b.Health(ctx)
	for end := time.Now().Add(d.o.Timeout / 2); !h.OK && cfg.URL != "" && time.Now().Before(end) && ctx.Err() == nil; h = b.Health(ctx) {
		waitFor(ctx, 100*time.Millisecond) // an external one is connected to in the background
	}
	backlog, berr := uint64(0), error(nil)
	if h.OK {
		backlog, berr = b.Backlog(ctx, exchangeStream, storeConsumer)
	}
	if err := b.Close(); err != nil && h.OK {
		d.add("bus", CheckWarn, "", "%v", err)
	}
	where := "embedded"
	if cfg.URL != "" {
		where = "NATS at " + redacted(cfg.URL)
	}
	switch {
	case !h.OK:
		d.add("bus", CheckFail, "is the server up, with JetStream (nats-server -js), and does it take the credentials of bus.creds?", "%s: %s", where, h.Err)
	case berr != nil:
		d.add("bus", CheckWarn, "", "%s: %v", where, berr)
	default:
		d.ok("bus", "%s works; %d frames wait to be stored", where, backlog)
	}
}

// checkStore looks whether the store can be used, without changing its tables.
func (d *doctor) checkStore(ctx context.Context) {
	switch {
	case !usesStore(d.server):
		return
	case d.running != nil:
		d.part("store", &d.running.Store)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	if address := d.server.Store.URL; address != "" {
		version, err := clickhouse.Ping(ctx, address)
		if err != nil {
			d.add("store", CheckFail, "is the server up, on its native port, and are user and database right?", "ClickHouse at %s: %v", redacted(address), err)
			return
		}
		d.ok("store", "ClickHouse %s at %s", version, redacted(address))
		return
	}
	dir := filepath.Join(d.server.Data, storeFolder)
	fresh := false
	if _, err := os.Stat(filepath.Join(dir, duckdb.File)); errors.Is(err, fs.ErrNotExist) {
		fresh = true
		temp, err := os.MkdirTemp("", "telltale-doctor-")
		if err != nil {
			d.add("store", CheckWarn, "", "not examined: %v", err)
			return
		}
		defer func() { _ = os.RemoveAll(temp) }()
		dir = temp
	}
	st, err := duckdb.Open(ctx, dir, duckdb.Options{Memory: d.server.Store.Memory, Threads: d.server.Store.Threads})
	if err != nil {
		hint := "docs/store.md"
		if _, locked := errors.AsType[*store.LockedError](err); locked {
			hint = "is it a telltale serve with another API address?"
		}
		d.add("store", CheckFail, hint, "%v", err)
		return
	}
	n, err := st.Stats(ctx)
	if err = errors.Join(err, st.Close()); err != nil {
		d.add("store", CheckFail, "docs/store.md", "%v", err)
		return
	}
	if fresh {
		d.ok("store", "%s, is made at the first start", n.Engine)
		return
	}
	d.ok("store", "%s with %d exchanges", n.Engine, n.Exchanges)
}

// Clocks further apart than this make answers and limits hard to put in order, and signed requests fail.
const (
	skewWarn = 5 * time.Second
	skewFail = 5 * time.Minute
)

// upstreams asks every upstream for its list of models, each once.
func (d *doctor) upstreams(ctx context.Context) {
	if !d.server.Has(config.RoleGateway) {
		return
	}
	seen := map[string]bool{}
	for i := range d.server.Routes {
		r := &d.server.Routes[i]
		for variant, ups := range upstreamsOf(r) {
			for j := range ups {
				u := &ups[j]
				id := u.URL + "\x00" + u.Key + "\x00" + u.Model
				if seen[id] {
					continue
				}
				seen[id] = true
				name := "upstream " + r.Name + "/" + u.Name
				if variant != config.Baseline {
					name = "upstream " + r.Name + "/" + variant + "/" + u.Name
				}
				d.upstream(ctx, name, u, r.PassKey)
			}
		}
	}
}

func (d *doctor) upstream(ctx context.Context, name string, u *config.Upstream, pass bool) {
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	p, err := gateway.Probe(ctx, u)
	if err != nil {
		d.add(name, CheckFail, "is the address right, and does this machine reach it (proxy, firewall, certificate: ca_cert)?", "%s: %v", u.URL, err)
		return
	}
	took := p.Took.Round(time.Millisecond)
	switch {
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden:
		if pass {
			d.ok(name, "%s answers in %v and wants a key, which clients send", u.URL, took)
			break
		}
		if u.Key == "" && len(u.Headers) == 0 {
			d.add(name, CheckFail, "key_env or key_file, or pass_key: true on the route", "%s wants a key (status %d), and the configuration has none", u.URL, p.Status)
			break
		}
		d.add(name, CheckFail, "is the key of key_env or key_file the right one, and still valid?", "%s refuses the key (status %d)", u.URL, p.Status)
	case p.Status >= http.StatusInternalServerError:
		d.add(name, CheckWarn, "its operator may know more", "%s answers with status %d", u.URL, p.Status)
	case p.Status == http.StatusTooManyRequests:
		d.add(name, CheckWarn, "a limit of the provider's is reached", "%s answers with status 429", u.URL)
	case p.Status == http.StatusOK && u.Model != "" && len(p.Models) > 0 && !slices.Contains(p.Models, u.Model):
		d.add(name, CheckWarn, "is the name right, and may the key use it?", "%s answers in %v, and its list of %d models does not have %q", u.URL, took, len(p.Models), u.Model)
	case p.Status == http.StatusOK:
		d.ok(name, "%s answers in %v, with %d models", u.URL, took, len(p.Models))
	default:
		d.ok(name, "%s answers in %v; it lists no models (status %d), so the key was not tried", u.URL, took, p.Status)
	}
	if p.Skew != nil && p.Skew.Abs() > skewWarn {
		result := CheckWarn
		if p.Skew.Abs() > skewFail {
			result = CheckFail
		}
		ahead := "behind"
		if *p.Skew < 0 {
			ahead = "ahead of"
		}
		d.add("clock", result, "let the machine's clock be set from the network (NTP)", "this machine's clock is %v %s that of %s", p.Skew.Abs().Round(time.Second), ahead, u.URL)
	}
}

// ner asks the service that finds names of persons.
func (d *doctor) ner(ctx context.Context) {
	n := d.server.Privacy.NER
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{"text": "Anna Berg lives in Oslo.", "language": n.Language})
	if err != nil {
		return
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(n.URL, "/")+"/analyze", bytes.NewReader(body))
	if err != nil {
		d.add("ner", CheckFail, "privacy.ner.url", "%v", err)
		return
	}
	r.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.add("ner", CheckFail, "is Presidio's analyzer up?", "%v", err)
		return
	}
	defer resp.Body.Close()
	took := time.Since(began)
	var found []json.RawMessage
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&found)
	switch {
	case resp.StatusCode != http.StatusOK || err != nil:
		d.add("ner", CheckFail, "POST /analyze of Presidio's API is wanted", "%s answers %s, and not with a list", n.URL, resp.Status)
	case took > n.Timeout && n.Timeout > 0:
		d.add("ner", CheckWarn, "privacy.ner.timeout, or a faster service", "%s took %v, above its time-out of %v", n.URL, took.Round(time.Millisecond), n.Timeout)
	default:
		d.ok("ner", "%s answers in %v", n.URL, took.Round(time.Millisecond))
	}
}

// scorers compiles them, and asks whether the models that they use are there.
func (d *doctor) scorers(ctx context.Context) {
	if len(d.server.Scorers) == 0 || !d.server.Has(config.RoleWorker) {
		return
	}
	scorers, services, err := compileScorers(d.server, d.o.Env, d.o.Prices)
	if err != nil {
		var all config.Errors
		all.Append(config.Pos{File: d.o.Config}, err)
		for _, e := range all {
			d.add("scorers", CheckFail, "docs/scorers.md", "%s", e.Error())
		}
		return
	}
	defer func() { _ = services.Close() }()
	if !d.o.Offline {
		if err := services.preflight(ctx); err != nil {
			d.add("scorers", CheckFail, "the address and the key of the judge or embedder", "%v", err)
			return
		}
	}
	for _, s := range scorers {
		if s.Costs && s.Budget <= 0 {
			d.add("scorer "+s.Name, CheckWarn, "budget: US dollars a day", "it asks a model, has no budget, and so is not asked")
		}
	}
	d.ok("scorers", "%d scorers", len(scorers))
}

// redacted takes passwords out of addresses, which may be several with commas.
func redacted(address string) string {
	parts := strings.Split(address, ",")
	for i, one := range parts {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			parts[i] = "an address that cannot be read"
			continue
		}
		u.RawQuery = "" // it may hold a password too
		parts[i] = u.Redacted()
	}
	return strings.Join(parts, ",")
}
