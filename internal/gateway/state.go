package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/guard"
)

// What holds where a route says nothing.
const (
	defaultTimeout   = 10 * time.Minute
	defaultFirstByte = 5 * time.Minute
	defaultIdle      = 2 * time.Minute
	defaultMaxBody   = 32 << 20
	defaultEject     = 5
	defaultCooldown  = 10 * time.Second

	maxUpstreams = 64 // of a route: a bit set remembers which were tried
)

// state is a configuration made ready. It is never changed: a reload puts another in its place.
type state struct {
	routes    []*route
	upstreams map[string]*upstream
	certs     []tls.Certificate
	// guarded says that only this machine's own names may be asked for: without keys, a page in a browser must not
	// spend the owner's money.
	guarded bool
	require bool
	guards  map[string]*guard.Guard
	maxBody int64
}

// route is a route made ready.
type route struct {
	name    string
	prefix  string // before /v1
	models  []*regexp.Regexp
	names   []string // models without wildcards
	keys    []string
	tiers   [3][]tier // by the API of the request
	timeout time.Duration
	first   time.Duration
	idle    time.Duration
	maxBody int64
	retries int
	passKey bool
	hold    bool // the usage chunk is asked for on behalf of the gateway, and held back from who did not ask
	edited  bool
	request rules
	answer  rules
	stats   *routeStats
	slot    *slot
	guard   *guard.Guard // nil for none
	// variants are the route's other behaviours, by name; they share its name, counters and slot.
	variants map[string]*route
	// home is the route itself, of which this is a variant or the baseline.
	home *route
}

type rules struct {
	set    http.Header
	remove []string
}

// upstream is a model provider and the connections to it. Routes that name the same one share it.
type upstream struct {
	name    string
	format  string
	host    string
	base    string // path in place of /v1
	key     string
	headers http.Header
	pool    *pool
	health  *health
}

// compile builds everything that can fail. Upstreams, their health and their counters live on from the old state
// where their configuration is the same.
func (g *Gateway) compile(cfg *config.Server, old *state) (*state, error) {
	guards, err := compileGuards(cfg.Guards)
	if err != nil {
		return nil, err
	}
	s := &state{guards: guards, upstreams: map[string]*upstream{}, require: cfg.Access.Require, guarded: !cfg.Access.Require && ownAddress(cfg.Listen.Gateway)}
	var errs config.Errors
	names := map[string]bool{}
	for i := range cfg.Routes {
		rc := &cfg.Routes[i]
		if names[rc.Name] {
			errs.Append(rc.Pos, &config.Error{Pos: rc.Pos.At("name"), Value: rc.Name, Problem: "another route has this name"})
			continue
		}
		names[rc.Name] = true
		r, err := g.route(s, rc, "", old)
		if err != nil {
			errs.Append(rc.Pos, err)
			continue
		}
		r.home = r
		r.variants = make(map[string]*route, len(rc.Variants))
		for k := range rc.Variants {
			with := rc.With(&rc.Variants[k])
			v, err := g.route(s, &with, rc.Variants[k].Name, old)
			if err != nil {
				errs.Append(rc.Variants[k].Pos, err)
				continue
			}
			v.home = r
			r.variants[rc.Variants[k].Name] = v
		}
		s.routes = append(s.routes, r)
		s.maxBody = max(s.maxBody, r.maxBody)
	}
	if s.maxBody == 0 {
		s.maxBody = defaultMaxBody
	}
	if cfg.Listen.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.Listen.TLSCert, cfg.Listen.TLSKey)
		if err != nil {
			errs = append(errs, &config.Error{Pos: cfg.Listen.Pos.At("tls"), Value: cfg.Listen.TLSCert, Problem: "certificate and key cannot be loaded", Want: "PEM files that belong together", Err: err})
		}
		s.certs = append(s.certs, cert)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func orDuration(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// route makes a route ready, or with a name one of its variants.
func (g *Gateway) route(s *state, rc *config.Route, variant string, old *state) (*route, error) {
	r := &route{
		name: rc.Name, prefix: strings.TrimSuffix(rc.Path, "/"), keys: rc.Keys, passKey: rc.PassKey, retries: max(0, rc.Retries),
		timeout: orDuration(rc.Timeout, defaultTimeout), first: orDuration(rc.FirstByte, defaultFirstByte), idle: orDuration(rc.Idle, defaultIdle),
		maxBody: rc.MaxBody, request: compileRules(rc.RequestRules), answer: compileRules(rc.AnswerRules),
		stats: g.stats.route(rc.Name), slot: g.slotOf(rc.Name), guard: s.guards[rc.Guard],
	}
	if r.maxBody <= 0 {
		r.maxBody = defaultMaxBody
	}
	if r.prefix != "" && r.prefix[0] != '/' {
		r.prefix = "/" + r.prefix
	}
	for _, m := range rc.Models {
		if !strings.Contains(m, "*") {
			r.names = append(r.names, m)
			continue
		}
		r.models = append(r.models, regexp.MustCompile(`^`+strings.ReplaceAll(regexp.QuoteMeta(m), `\*`, `(?s:.*)`)+`$`))
	}
	for _, h := range []http.Header{r.request.set, r.answer.set} {
		for k := range h {
			if unsafeHeader(k) || unsafeHeader(h.Get(k)) {
				return nil, &config.Error{Pos: rc.Pos.At("headers"), Problem: "a header with control characters", Want: "one line of text"}
			}
		}
	}
	switch {
	case len(rc.Upstreams) == 0:
		return nil, &config.Error{Pos: rc.Pos.At("upstreams"), Problem: "the route has no upstream", Want: "at least one"}
	case len(rc.Upstreams) > maxUpstreams:
		return nil, &config.Error{Pos: rc.Pos.At("upstreams"), Value: strconv.Itoa(len(rc.Upstreams)), Problem: "too many upstreams", Want: fmt.Sprintf("at most %d", maxUpstreams)}
	}
	set, err := compileSet(rc.Set)
	if err == nil && len(set)+len(rc.Caps) >= maxEdits {
		err = fmt.Errorf("more than %d parameters are changed", maxEdits-1)
	}
	if err != nil {
		return nil, &config.Error{Pos: rc.Pos.At("set"), Problem: err.Error()}
	}
	r.hold = setsUsage(set)
	common := compileCaps(set, rc.Caps)
	members := make([]member, len(rc.Upstreams))
	for i := range rc.Upstreams {
		uc := &rc.Upstreams[i]
		u, err := s.open(uc, variant, old)
		if err != nil {
			return nil, err
		}
		members[i] = member{upstream: u, index: i, weight: uc.Weight, edits: common, stats: r.stats.upstream(u.name)}
		if uc.Model != "" {
			raw, err := marshal(uc.Model)
			if err != nil {
				return nil, &config.Error{Pos: uc.Pos.At("model"), Value: uc.Model, Problem: "not a model's name", Err: err}
			}
			members[i].model, members[i].modelEdit = uc.Model, []edit{{key: "model", raw: raw}}
			members[i].edits = append(members[i].modelEdit, slices.DeleteFunc(slices.Clone(common), func(e edit) bool { return e.key == "model" })...)
		}
		r.edited = r.edited || len(members[i].edits) > 0
	}
	for a := range r.tiers {
		r.tiers[a] = tiersFor(api(a), members, rc.Upstreams)
	}
	return r, nil
}

// tiersFor groups the upstreams that speak a: those with a weight share the load, the others follow in order, then
// the backups.
func tiersFor(a api, members []member, ups []config.Upstream) []tier {
	var shared tier
	var single, backup []tier
	for i, m := range members {
		if m.format != "" && a != anyAPI && m.format != a.String() {
			continue
		}
		switch {
		case ups[i].Backup:
			m.weight = 1
			backup = append(backup, tier{[]member{m}})
		case m.weight > 0:
			shared.members = append(shared.members, m)
		default:
			m.weight = 1
			single = append(single, tier{[]member{m}})
		}
	}
	var out []tier
	if len(shared.members) > 0 {
		out = append(out, shared)
	}
	return append(append(out, single...), backup...)
}

// setsUsage says whether the route asks for the usage of streams.
func setsUsage(set []edit) bool {
	for _, e := range set {
		if e.key != "stream_options" {
			continue
		}
		if asksUsage(e.raw) {
			return true
		}
		for _, in := range e.inner {
			if in.key == "include_usage" && string(in.raw) == "true" {
				return true
			}
		}
	}
	return false
}

func compileRules(c config.HeaderRules) rules {
	var r rules
	for k, v := range c.Set {
		if r.set == nil {
			r.set = http.Header{}
		}
		r.set.Set(k, v)
	}
	for _, k := range c.Remove {
		r.remove = append(r.remove, http.CanonicalHeaderKey(k))
	}
	return r
}

// versioned finds base URLs that say which version of the API is meant.
var versioned = regexp.MustCompile(`/v[0-9][0-9a-z]*(/|$)`)

// open returns the upstream of a configuration: one that is already known, or a new one. Variants have their own, for what
// fails with a candidate's model must not take the upstream from the others.
func (s *state) open(uc *config.Upstream, variant string, old *state) (*upstream, error) {
	same := *uc
	same.Pos, same.Weight, same.Backup, same.Model = config.Pos{}, 0, false, ""
	id := fmt.Sprintf("%s %#v", variant, same)
	if u := s.upstreams[id]; u != nil {
		return u, nil
	}
	if old != nil && old.upstreams[id] != nil {
		s.upstreams[id] = old.upstreams[id]
		return s.upstreams[id], nil
	}
	wrong := &config.Error{Pos: uc.Pos.At("url"), Value: redactURL(uc.URL), Want: "a base URL such as https://api.openai.com"}
	u, err := url.Parse(uc.URL)
	switch {
	case err != nil:
		wrong.Problem = "not a URL"
		return nil, wrong
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		wrong.Problem = "not an HTTP URL"
		return nil, wrong
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		wrong.Problem = "credentials, query or fragment in a base URL"
		return nil, wrong
	}
	up := &upstream{name: uc.Name, format: uc.Format, host: u.Host, base: strings.TrimRight(u.EscapedPath(), "/"), key: uc.Key, headers: http.Header{}}
	if up.name == "" {
		up.name = u.Hostname()
	}
	if !versioned.MatchString(up.base) {
		up.base += "/v1"
	}
	for k, v := range uc.Headers {
		if strings.EqualFold(k, "host") {
			up.host = v
			continue
		}
		up.headers.Set(k, v)
	}
	if unsafeHeader(up.key) || unsafeHeader(up.host) {
		return nil, &config.Error{Pos: uc.Pos, Problem: "the key or a header of the upstream has control characters", Want: "one line of text"}
	}
	for k := range up.headers {
		if unsafeHeader(k) || unsafeHeader(up.headers.Get(k)) {
			return nil, &config.Error{Pos: uc.Pos.At("headers"), Problem: "a header with control characters", Want: "one line of text"}
		}
	}
	up.health = &health{eject: int32(uc.Eject), cooldown: orDuration(uc.Cooldown, defaultCooldown)}
	if up.health.eject <= 0 {
		up.health.eject = defaultEject
	}
	up.pool = &pool{addr: hostPort(u), url: u, proxy: proxyOf}
	if uc.MaxConns > 0 {
		up.pool.slots = make(chan struct{}, uc.MaxConns)
	}
	if u.Scheme == "https" {
		up.pool.secure = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64), NextProtos: []string{"http/1.1"}}
		if up.pool.secure.RootCAs, err = authorities(uc); err != nil {
			return nil, err
		}
	}
	s.upstreams[id] = up
	return up, nil
}

// authorities returns the system's and the file's; nil means the system's.
func authorities(uc *config.Upstream) (*x509.CertPool, error) {
	if uc.CACert == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(uc.CACert)
	if err != nil {
		return nil, &config.Error{Pos: uc.Pos.At("ca_cert"), Value: uc.CACert, Problem: "cannot be read", Want: "a PEM file", Err: err}
	}
	all, err := x509.SystemCertPool()
	if err != nil {
		all = x509.NewCertPool()
	}
	if !all.AppendCertsFromPEM(pem) {
		return nil, &config.Error{Pos: uc.Pos.At("ca_cert"), Value: uc.CACert, Problem: "holds no certificate", Want: "a PEM file"}
	}
	return all, nil
}

// proxyOf is the environment's proxy, as net/http's own client finds it.
func proxyOf(u *url.URL) (*url.URL, error) {
	return http.ProxyFromEnvironment(&http.Request{URL: u})
}

// redactURL takes a password out of a URL that is shown.
func redactURL(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "…"
}

// unsafeHeader says whether s would break out of a header.
func unsafeHeader(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func ownAddress(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
