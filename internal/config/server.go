package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// The addresses and bounds that hold where server.yaml says nothing.
const (
	DefaultGateway = "127.0.0.1:4000"
	DefaultAPI     = "127.0.0.1:4001"
	DefaultGRPC    = "127.0.0.1:4317"
	DefaultData    = "telltale-data"

	// APIScope among a client key's routes lets it use the HTTP API and the OTLP endpoints.
	APIScope = "api"

	defaultBody    = 32 << 20
	defaultContent = 64 << 10
	maxContent     = 4 << 20
	day            = 24 * time.Hour
)

type wireServer struct {
	Pos       Pos             `json:"-"`
	Schema    string          `json:"$schema,omitempty" jsonschema:"description=Address of this schema; ignored"`
	Listen    wireListen      `json:"listen,omitempty" jsonschema:"description=Where connections are accepted; loopback by default"`
	Data      string          `json:"data,omitempty" jsonschema:"description=Folder of everything that is kept; telltale-data when it is not set"`
	Roles     wireStrings     `json:"roles,omitempty" jsonschema:"description=What the process does: gateway ingest worker api; all of it when it is not set. serve --role says it instead"`
	Routes    []wireRoute     `json:"routes,omitempty" jsonschema:"description=Entry points of the gateway; the first that matches a request serves it"`
	Guards    []wireGuard     `json:"guards,omitempty" jsonschema:"description=Hotfixes that routes and variants name: filters of answers; a schema; changes to requests"`
	Capture   *wireCapture    `json:"capture,omitempty" jsonschema:"description=What is remembered of exchanges"`
	Privacy   *wirePrivacy    `json:"privacy,omitempty" jsonschema:"description=What is done to text before it is written anywhere"`
	Access    *wireAccess     `json:"access,omitempty" jsonschema:"description=Keys of clients"`
	Retention *wireRetention  `json:"retention,omitempty" jsonschema:"description=How long each class of data is kept"`
	Scorers   []wireOnline    `json:"scorers,omitempty" jsonschema:"description=Assertions that score a sample of the exchanges"`
	Targets   []wireTarget    `json:"targets,omitempty" jsonschema:"description=What outside the gateway follows rollouts"`
	Bus       *wireBus        `json:"bus,omitempty" jsonschema:"description=Where records travel; embedded NATS JetStream when it is not set"`
	Store     *wireStoreWhere `json:"store,omitempty" jsonschema:"description=Where exchanges are kept; embedded DuckDB when it is not set"`
}

type wireListen struct {
	Pos      Pos      `json:"-"`
	Gateway  wireText `json:"gateway,omitempty" jsonschema:"description=Address of the gateway; 127.0.0.1:4000; off for none"`
	API      wireText `json:"api,omitempty" jsonschema:"description=Address of the HTTP API and of OTLP over HTTP; 127.0.0.1:4001"`
	OTLPGRPC wireText `json:"otlp_grpc,omitempty" jsonschema:"description=Address of OTLP over gRPC; 127.0.0.1:4317; off for none"`
	TLS      *wireTLS `json:"tls,omitempty" jsonschema:"description=Certificate of all that is listened on"`
	H2C      bool     `json:"h2c,omitempty" jsonschema:"description=true: HTTP/2 without TLS too"`
	Insecure bool     `json:"insecure,omitempty" jsonschema:"description=true: addresses that other machines reach are allowed without keys"`
}

type wireTLS struct {
	Pos  Pos      `json:"-"`
	Cert wireText `json:"cert" jsonschema:"description=PEM file of the certificate chain"`
	Key  wireText `json:"key" jsonschema:"description=PEM file of its key"`
}

type wireRoute struct {
	Pos       Pos            `json:"-"`
	Name      wireText       `json:"name" jsonschema:"description=Name of the route; in every exchange and report"`
	Path      wireText       `json:"path,omitempty" jsonschema:"description=Path before /v1 such as /support"`
	Models    wireStrings    `json:"models,omitempty" jsonschema:"description=Model names; * stands for any characters"`
	Upstreams []wireUpstream `json:"upstreams" jsonschema:"description=Model providers; without weights the first serves and the others take over when it fails"`
	Set       map[string]any `json:"set,omitempty" jsonschema:"description=Parameters of requests that are overridden; null removes one"`
	Caps      Object         `json:"caps,omitempty" jsonschema:"description=Numeric parameters that are lowered to at most this"`
	Timeouts  *wireTimeouts  `json:"timeouts,omitempty"`
	MaxBody   size           `json:"max_body,omitempty" jsonschema:"description=Largest request such as 32MiB"`
	Retries   *int           `json:"retries,omitempty" jsonschema:"minimum=0,maximum=10,description=Further attempts before the first byte; 1 when it is not set"`
	PassKey   bool           `json:"pass_key,omitempty" jsonschema:"description=true: the client's own key goes to the upstream"`
	Keys      wireStrings    `json:"keys,omitempty" jsonschema:"description=Client keys that may use the route; all when it is not set"`
	Capture   *wireCapture   `json:"capture,omitempty" jsonschema:"description=Instead of the server's"`
	Headers   *wireHeaders   `json:"headers,omitempty"`
	Guard     wireText       `json:"guard,omitempty" jsonschema:"description=Guard that requests and answers go through"`
	Variants  []wireVariant  `json:"variants,omitempty" jsonschema:"description=Other behaviours of the route that a rollout or an experiment gives to users; none is used before"`
}

type wireTimeouts struct {
	Pos       Pos      `json:"-"`
	Request   duration `json:"request,omitempty" jsonschema:"description=Whole request; 10m"`
	FirstByte duration `json:"first_byte,omitempty" jsonschema:"description=Until the answer's headers; 5m"`
	Idle      duration `json:"idle,omitempty" jsonschema:"description=Between two pieces of an answer; 2m"`
}

type wireHeaders struct {
	Pos     Pos             `json:"-"`
	Request *wireHeaderRule `json:"request,omitempty" jsonschema:"description=Headers to the upstream"`
	Answer  *wireHeaderRule `json:"answer,omitempty" jsonschema:"description=Headers to the client"`
}

type wireHeaderRule struct {
	Pos    Pos               `json:"-"`
	Set    map[string]string `json:"set,omitempty"`
	Remove wireStrings       `json:"remove,omitempty"`
}

type wireUpstream struct {
	Pos      Pos               `json:"-"`
	Name     wireText          `json:"name,omitempty" jsonschema:"description=Name in exchanges; the host when it is not set"`
	URL      wireText          `json:"url" jsonschema:"description=Base URL without /v1 such as https://api.openai.com"`
	Format   string            `json:"format,omitempty" jsonschema:"enum=openai,enum=anthropic,description=How the key is sent; by the request's path when it is not set"`
	KeyEnv   wireText          `json:"key_env,omitempty" jsonschema:"description=Environment variable that holds the key"`
	KeyFile  wireText          `json:"key_file,omitempty" jsonschema:"description=File that holds the key"`
	Model    string            `json:"model,omitempty" jsonschema:"description=Model that is asked instead of the request's"`
	Weight   *float64          `json:"weight,omitempty" jsonschema:"minimum=0,description=Share of the load relative to the other weights"`
	Backup   bool              `json:"backup,omitempty" jsonschema:"description=true: used only when no other upstream is healthy"`
	Eject    *int              `json:"eject,omitempty" jsonschema:"minimum=1,description=Failures in a row after which it rests; 5"`
	Cooldown duration          `json:"cooldown,omitempty" jsonschema:"description=How long it rests; 10s"`
	Headers  map[string]string `json:"headers,omitempty" jsonschema:"description=Headers that are added to each request"`
	CACert   wireText          `json:"ca_cert,omitempty" jsonschema:"description=PEM file of authorities that are trusted besides the system's"`
	MaxConns *int              `json:"max_connections,omitempty" jsonschema:"minimum=1,description=Connections to it at a time; more requests wait"`
}

type wireCapture struct {
	Pos       Pos      `json:"-"`
	Content   *float64 `json:"content,omitempty" jsonschema:"minimum=0,maximum=1,description=Share of units whose content is kept; 1"`
	Unit      string   `json:"unit,omitempty" jsonschema:"enum=request,enum=session,enum=user,description=What is sampled together; request"`
	Errors    *bool    `json:"errors,omitempty" jsonschema:"description=Content of failed and flagged exchanges is always kept; true"`
	MaxErrors *int     `json:"max_errors,omitempty" jsonschema:"minimum=0,description=At most so many of these a minute; 60"`
	MaxBytes  size     `json:"max_bytes,omitempty" jsonschema:"description=Content kept of one exchange; 64KiB"`
	TopK      bool     `json:"top_k,omitempty" jsonschema:"description=true: all tokens with their alternatives are kept"`
}

type wireAccess struct {
	Pos     Pos      `json:"-"`
	File    wireText `json:"file,omitempty" jsonschema:"description=File of hashed keys that telltale keys writes; keys.yaml beside this file"`
	Require bool     `json:"require,omitempty" jsonschema:"description=true: requests without a key are refused"`
}

type wireRetention struct {
	Pos       Pos      `json:"-"`
	Content   wireText `json:"content,omitempty" jsonschema:"description=Text of exchanges; 30d; 0 keeps for ever"`
	Exchanges wireText `json:"exchanges,omitempty" jsonschema:"description=Exchanges without their text; 90d"`
	Rollups   wireText `json:"rollups,omitempty" jsonschema:"description=Sums over windows; 400d"`
}

type wireOnline struct {
	Pos    Pos           `json:"-"`
	Name   string        `json:"name,omitempty" jsonschema:"description=Name of the score; the assertion's metric or type when it is not set"`
	Assert wireAssertion `json:"assert" jsonschema:"description=As in a suite"`
	Share  *float64      `json:"share,omitempty" jsonschema:"minimum=0,maximum=1,description=Share of the exchanges with content that are scored; 1"`
	Routes wireStrings   `json:"routes,omitempty" jsonschema:"description=Routes that are scored; all when it is not set"`
	Budget *float64      `json:"budget,omitempty" jsonschema:"minimum=0,description=US dollars a day for a judge that costs"`
}

// size is a number of bytes written as 64KiB, 10MB or a plain number.
type size int64

func (v *size) decodeNode(d *decoder, n ast.Node, p Pos) {
	at := d.pos(n, p)
	s, _, _, ok := d.text(n, at)
	b, err := ParseSize(s)
	if !ok || err != nil {
		d.fail(at, d.show(n), "not a size", "a number of bytes above 0 such as 64KiB, 32MiB or 10GB")
		return
	}
	*v = size(b)
}

// ParseSize reads a number of bytes: 65536, 64KiB, 32MB, 10GiB.
func ParseSize(s string) (int64, error) {
	s = strings.TrimSpace(s)
	number := strings.TrimRight(s, "kKMGTiBb ")
	unit, ok := map[string]float64{"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}[strings.ToLower(strings.TrimSpace(s[len(number):]))]
	f, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(f > 0) || f*unit > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return int64(f * unit), nil
}

// LoadServer reads a server.yaml. Options.Vars, Env and Read are used, and Assertion for the scorers. The error is
// Errors, sorted by place; no secret is ever part of it.
func LoadServer(path string, data []byte, opts Options) (*Server, error) {
	l := &loader{opts: opts, dir: filepath.Dir(path), params: &params{vars: opts.Vars, env: opts.Env}, inline: true}
	d := l.decoder(path)
	body, ok := d.parseYAML(data)
	if !ok {
		return nil, d.errs.Err()
	}
	if _, isMap := d.fields(body, Pos{}); !isMap {
		return nil, &Error{Pos: d.pos(body, Pos{}), Value: d.show(body), Problem: "not a server's configuration", Want: "a mapping with the keys routes, capture and privacy"}
	}
	d.errs = nil
	var w wireServer
	d.into(body, Pos{File: path}, reflect.ValueOf(&w).Elem())
	s := (&serverLoader{loader: l}).server(path, &w)
	sum := sha256.Sum256(data) // keys are not in the file, so they are not in the hash either
	s.Hash = hex.EncodeToString(sum[:8])
	if err := l.mistakes(d, body, append(l.errs, l.params.unsupported...)); err != nil {
		return nil, err
	}
	return s, nil
}

// IsServer says whether a file looks like a server's configuration rather than a suite: by the keys at its top.
func IsServer(path string, data []byte) bool {
	d := &decoder{file: path, params: &params{off: true}}
	body, ok := d.parseYAML(data)
	if !ok {
		return false
	}
	fs, _ := d.fields(body, Pos{})
	ours, suites := jsonKeys(reflect.TypeFor[wireServer]()), jsonKeys(reflect.TypeFor[wireSuite]())
	n := 0
	for _, f := range fs {
		switch server, suite := slices.Contains(ours, f.key), slices.Contains(suites, f.key); {
		case server && !suite:
			n++
		case suite && !server:
			n--
		}
	}
	return n > 0
}

// serverLoader checks a server's configuration and fills in what it leaves out.
type serverLoader struct {
	*loader
	secrets []string
	rolesAt Pos
	// asks says that the process asks upstreams, and needs their keys.
	asks bool
}

func (l *serverLoader) fail(p Pos, value, problem, want string) {
	l.errs = append(l.errs, &Error{Pos: p, Value: value, Problem: problem, Want: want})
}

func (l *serverLoader) server(file string, w *wireServer) *Server {
	l.place(file, w)
	s := &Server{File: file, Data: l.file(wireText{Text: w.Data}, DefaultData), Roles: l.roles(w.Roles)}
	l.asks = s.Has(RoleGateway)
	s.Listen = l.listen(&w.Listen)
	s.Capture = l.capture(w.Capture, Capture{Content: 1, Unit: "request", Errors: true, MaxErrors: 60, MaxBytes: defaultContent})
	names := map[string]Pos{}
	for i := range w.Routes {
		r := l.route(&w.Routes[i], s.Capture)
		if first, twice := names[r.Name]; twice {
			l.fail(w.Routes[i].Name.Pos, r.Name, fmt.Sprintf("two routes have this name, the first at line %d", first.Line), "a name of its own for each")
		}
		names[r.Name] = r.Pos
		s.Routes = append(s.Routes, r)
	}
	l.unreachable(s.Routes)
	s.Guards = l.guards(w.Guards, s.Routes)
	if w.Privacy != nil {
		s.Privacy = l.privacy(w.Privacy)
		for _, name := range sortedKeys(s.Privacy.Routes) {
			if _, ok := names[name]; !ok {
				l.fail(s.Privacy.Routes[name].Pos, name, "there is no such route", l.oneOfRoutes(s.Routes))
			}
		}
	}
	s.Access = l.access(w.Access)
	s.Retention = l.retention(w.Retention)
	s.Scorers = l.online(w.Scorers, s.Routes)
	s.Bus = l.bus(w.Bus)
	s.Store = l.store(w.Store)
	s.Targets = l.targets(w.Targets, s.Routes)
	l.together(s)
	s.Secrets = l.secrets
	return s
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// file is a path beside the configuration, or def there.
func (l *serverLoader) file(t wireText, def string) string {
	name := t.Text
	if name == "" {
		name = def
	}
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(l.dir, name)
}

const off = "off"

func (l *serverLoader) listen(w *wireListen) Listen {
	address := func(t wireText, def string) string {
		switch t.Text {
		case "":
			return def
		case off:
			return ""
		}
		host, port, err := net.SplitHostPort(t.Text)
		n, perr := strconv.Atoi(port)
		if err != nil || perr != nil || n < 0 || n > 65535 || strings.ContainsAny(host, "/ ") {
			l.fail(t.Pos, t.Text, "not an address", "HOST:PORT such as 127.0.0.1:4000, or off")
		}
		return t.Text
	}
	out := Listen{Pos: w.Pos, Gateway: address(w.Gateway, DefaultGateway), API: address(w.API, DefaultAPI), OTLPGRPC: address(w.OTLPGRPC, DefaultGRPC), H2C: w.H2C, Insecure: w.Insecure}
	if w.TLS != nil {
		out.TLSCert, out.TLSKey = l.file(w.TLS.Cert, ""), l.file(w.TLS.Key, "")
		if out.TLSCert == "" || out.TLSKey == "" {
			l.fail(w.TLS.Pos, "", "TLS needs both files", "cert: FILE and key: FILE")
		}
	}
	if out.Gateway != "" && out.Gateway == out.API && !strings.HasSuffix(out.API, ":0") {
		l.fail(at(w.Gateway, w.Pos, "gateway"), out.API, "the API has this address too", "an address of its own")
	}
	return out
}

func (l *serverLoader) capture(w *wireCapture, def Capture) Capture {
	if w == nil {
		return def
	}
	out := def
	out.Pos = w.Pos
	if w.Content != nil {
		out.Content = l.share(w.Pos.At("content"), *w.Content)
	}
	if w.Unit != "" {
		out.Unit = l.choice(w.Pos.At("unit"), w.Unit, "request", "session", "user")
	}
	if w.Errors != nil {
		out.Errors = *w.Errors
	}
	if w.MaxErrors != nil {
		out.MaxErrors = l.least(w.Pos.At("max_errors"), *w.MaxErrors, 0)
	}
	if w.MaxBytes > 0 {
		out.MaxBytes = int(w.MaxBytes)
		if w.MaxBytes > maxContent {
			l.fail(w.Pos.At("max_bytes"), strconv.FormatInt(int64(w.MaxBytes), 10), "too large", "at most 4MiB")
		}
	}
	out.TopK = w.TopK || def.TopK
	return out
}

func (l *serverLoader) share(p Pos, v float64) float64 {
	if v < 0 || v > 1 {
		l.fail(p, fmt.Sprint(v), "not a share", "a number from 0 to 1")
	}
	return v
}

func (l *serverLoader) least(p Pos, v, least int) int {
	if v < least {
		l.fail(p, strconv.Itoa(v), "too small", fmt.Sprintf("at least %d", least))
	}
	return v
}

func (l *serverLoader) choice(p Pos, v string, allowed ...string) string {
	if !slices.Contains(allowed, v) {
		e := &Error{Pos: p, Value: v, Problem: "not one of the choices", Want: strings.Join(allowed, ", ")}
		if best := Nearest(v, allowed); best != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", best)
		}
		l.errs = append(l.errs, e)
	}
	return v
}

func (l *serverLoader) route(w *wireRoute, capture Capture) Route {
	r := Route{
		Pos: w.Pos, Name: w.Name.Text, Path: w.Path.Text, Models: w.Models, Set: w.Set, PassKey: w.PassKey, Keys: w.Keys, Guard: w.Guard.Text,
		Timeout: 10 * time.Minute, FirstByte: 5 * time.Minute, Idle: 2 * time.Minute, MaxBody: defaultBody, Retries: 1,
	}
	if !routeName(r.Name) || r.Name == APIScope || r.Name == "all" {
		l.fail(at(w.Name, w.Pos, "name"), r.Name, "not a name for a route", "letters, digits, - _ and . only, at most 64; not api or all")
	}
	if p := r.Path; p != "" && (p[0] != '/' || p == "/" || path.Clean(p) != p || strings.ContainsAny(p, "?#%{} ") || p == "/v1" || strings.HasPrefix(p, "/v1/")) {
		l.fail(w.Path.Pos, p, "not a path prefix", "a path before /v1 such as /support")
	}
	for i, m := range r.Models {
		if _, err := path.Match(m, ""); err != nil || m == "" {
			l.fail(w.Pos.At("models"+index(i)), m, "not a pattern", "a model's name; * stands for any characters")
		}
	}
	l.setKeys(w.Pos, r.Set)
	r.Caps = l.caps(w.Caps)
	if t := w.Timeouts; t != nil {
		for _, set := range []struct {
			to   *time.Duration
			from duration
		}{{&r.Timeout, t.Request}, {&r.FirstByte, t.FirstByte}, {&r.Idle, t.Idle}} {
			if set.from > 0 {
				*set.to = time.Duration(float64(set.from) * float64(time.Second))
			}
		}
	}
	if w.MaxBody > 0 {
		r.MaxBody = int64(w.MaxBody)
	}
	if w.Retries != nil {
		if r.Retries = l.least(w.Pos.At("retries"), *w.Retries, 0); r.Retries > 10 {
			l.fail(w.Pos.At("retries"), strconv.Itoa(r.Retries), "too many", "at most 10")
		}
	}
	if w.Capture != nil {
		c := l.capture(w.Capture, capture)
		r.Capture = &c
	}
	if h := w.Headers; h != nil {
		r.RequestRules, r.AnswerRules = l.headers(h.Request), l.headers(h.Answer)
	}
	r.Upstreams = l.upstreams(w.Pos, w.Upstreams, r.PassKey)
	l.variants(w.Variants, &r)
	return r
}

// setKeys refuses to set what is the client's.
func (l *serverLoader) setKeys(p Pos, set map[string]any) {
	for _, key := range sortedKeys(set) {
		if slices.Contains([]string{"messages", "input", "prompt", "stream", "system"}, key) {
			l.fail(p.At("set."+key), "", "this is not a parameter", "such as temperature; content and stream are the client's")
		}
	}
}

func (l *serverLoader) caps(w Object) map[string]float64 {
	if len(w.Map) == 0 {
		return nil
	}
	out := map[string]float64{}
	for _, key := range sortedKeys(w.Map) {
		switch v := w.Map[key].(type) {
		case int64:
			out[key] = float64(v)
		case float64:
			out[key] = v
		default:
			l.fail(w.At(key), fmt.Sprint(v), "not a number", "the largest value that is let through")
		}
	}
	return out
}

// at is where a text was written, or where its key belongs.
func at(t wireText, parent Pos, key string) Pos {
	if t.Pos.File == "" {
		return parent.At(key)
	}
	return t.Pos
}

func routeName(s string) bool {
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c)) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// hop are headers that belong to one connection, or to telltale.
var hop = []string{"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization", "proxy-authenticate"}

func (l *serverLoader) headers(w *wireHeaderRule) HeaderRules {
	if w == nil {
		return HeaderRules{}
	}
	l.headerNames(w.Pos.At("set"), w.Set)
	return HeaderRules{Set: w.Set, Remove: w.Remove}
}

func (l *serverLoader) headerNames(p Pos, set map[string]string) {
	for _, name := range sortedKeys(set) {
		bad := name == "" || slices.Contains(hop, strings.ToLower(name)) || strings.ContainsAny(set[name], "\r\n\x00")
		for _, c := range name {
			bad = bad || c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
		}
		if bad {
			l.fail(p.At(name), "", "this header cannot be set", "a header of the request, not of the connection")
		}
	}
}

// upstreams are those of a route or variant at p.
func (l *serverLoader) upstreams(p Pos, ws []wireUpstream, pass bool) []Upstream {
	if len(ws) == 0 {
		l.fail(p.At("upstreams"), "", "no upstreams", "at least one, such as {url: https://api.openai.com, key_env: OPENAI_API_KEY}")
		return nil
	}
	var out []Upstream
	names := map[string]bool{}
	weighted := 0
	for i := range ws {
		u := l.upstream(&ws[i], pass)
		if names[u.Name] {
			if ws[i].Name.Text != "" {
				l.fail(ws[i].Name.Pos, u.Name, "two upstreams have this name", "a name of its own for each")
			}
			u.Name = fmt.Sprintf("%s-%d", u.Name, i+1)
		}
		names[u.Name] = true
		if ws[i].Weight != nil {
			weighted++
		}
		out = append(out, u)
	}
	if weighted > 0 {
		sum := 0.
		for i := range out {
			if sum += out[i].Weight; ws[i].Weight == nil && !out[i].Backup {
				l.fail(ws[i].Pos.At("weight"), "", "the route's other upstreams have weights", "weight: NUMBER, or backup: true")
			}
		}
		if !(sum > 0) {
			l.fail(p.At("upstreams"), "", "all weights are 0", "at least one above 0")
		}
	}
	return out
}

func (l *serverLoader) upstream(w *wireUpstream, pass bool) Upstream {
	u := Upstream{
		Pos: w.Pos, Name: w.Name.Text, URL: strings.TrimRight(w.URL.Text, "/"), Model: w.Model, Backup: w.Backup, Headers: w.Headers,
		CACert: l.file(w.CACert, ""), Eject: 5, Cooldown: 10 * time.Second,
	}
	parsed, err := url.Parse(u.URL)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.User != nil {
		shown := u.URL
		if parsed != nil && parsed.User != nil {
			shown = parsed.Redacted()
		}
		l.fail(at(w.URL, w.Pos, "url"), shown, "not a base URL", "http(s)://HOST without user, query or fragment; the key goes into key_env")
	} else {
		u.URL = strings.TrimSuffix(u.URL, "/v1")
		if u.Name == "" {
			u.Name = parsed.Host
		}
	}
	if w.Format != "" {
		u.Format = l.choice(w.Pos.At("format"), w.Format, "openai", "anthropic")
	}
	if l.asks {
		u.Key = l.secret(w.KeyEnv, w.KeyFile)
	}
	if u.Key != "" && pass {
		l.fail(w.Pos, "", "the route passes the client's key, and this upstream has one of its own", "pass_key or a key, not both")
	}
	if w.Weight != nil {
		if u.Weight = *w.Weight; u.Weight < 0 {
			l.fail(w.Pos.At("weight"), fmt.Sprint(u.Weight), "below 0", "a weight from 0")
		}
	}
	if w.Eject != nil {
		u.Eject = l.least(w.Pos.At("eject"), *w.Eject, 1)
	}
	if w.Cooldown > 0 {
		u.Cooldown = time.Duration(float64(w.Cooldown) * float64(time.Second))
	}
	if w.MaxConns != nil {
		u.MaxConns = l.least(w.Pos.At("max_connections"), *w.MaxConns, 1)
	}
	l.headerNames(w.Pos.At("headers"), w.Headers)
	return u
}

// secret resolves a key from the environment or a file. Its value is remembered, so that it can be kept out of
// everything that is written.
func (l *serverLoader) secret(env, file wireText) string {
	var value string
	switch {
	case env.Text != "" && file.Text != "":
		l.fail(file.Pos, "", "a key from the environment and from a file", "one of them")
		return ""
	case l.opts.WithoutKeys:
		return ""
	case env.Text != "":
		if l.opts.Env != nil {
			value, _ = l.opts.Env(env.Text)
		}
		if value == "" {
			l.fail(env.Pos, env.Text, "this environment variable is not set", "the name of a variable that holds the key")
			return ""
		}
	case file.Text != "":
		if l.opts.Read == nil {
			return ""
		}
		b, err := l.opts.Read(l.file(file, ""))
		if err != nil {
			l.errs = append(l.errs, &Error{Pos: file.Pos, Value: file.Text, Problem: "cannot be read", Err: err})
			return ""
		}
		if value = strings.TrimSpace(string(b)); value == "" {
			l.fail(file.Pos, file.Text, "the file is empty", "a file that holds the key")
			return ""
		}
	default:
		return ""
	}
	if strings.ContainsAny(value, "\r\n\x00") {
		l.fail(at(env, file.Pos, ""), "", "the key has a line break in it", "one line")
		return ""
	}
	l.secrets = append(l.secrets, value)
	return value
}

// unreachable reports routes that no request can get to, since one before takes them all.
func (l *serverLoader) unreachable(routes []Route) {
	for i, r := range routes {
		for _, before := range routes[:i] {
			if before.Path == r.Path && (len(before.Models) == 0 || len(r.Models) > 0 && slices.Equal(before.Models, r.Models)) {
				l.fail(r.Pos, r.Name, fmt.Sprintf("no request gets here: the route %q takes them all", before.Name), "another path or other models, or a place before it")
				break
			}
		}
	}
}

func (l *serverLoader) oneOfRoutes(routes []Route) string {
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.Name
	}
	return "one of " + strings.Join(names, ", ")
}

func (l *serverLoader) access(w *wireAccess) Access {
	if w == nil {
		return Access{File: l.file(wireText{}, "keys.yaml")}
	}
	return Access{Pos: w.Pos, File: l.file(w.File, "keys.yaml"), Require: w.Require}
}

func (l *serverLoader) retention(w *wireRetention) Retention {
	out := Retention{Content: 30 * day, Exchanges: 90 * day, Rollups: 400 * day}
	if w == nil {
		return out
	}
	out.Pos = w.Pos
	read := func(t wireText, to *time.Duration) {
		switch t.Text {
		case "":
			return
		case "0":
			*to = 0
			return
		}
		d, err := ParseDays(t.Text)
		if err != nil {
			l.fail(t.Pos, t.Text, "not a duration", "such as 30d or 12h; 0 keeps for ever")
			return
		}
		*to = d
	}
	read(w.Content, &out.Content)
	read(w.Exchanges, &out.Exchanges)
	read(w.Rollups, &out.Rollups)
	if out.Exchanges > 0 && (out.Content == 0 || out.Content > out.Exchanges) {
		l.fail(at(w.Content, w.Pos, "content"), w.Content.Text, "content would be kept longer than its exchange", "at most retention.exchanges")
	}
	return out
}

// ParseDays is ParseDuration, in which d is a day.
func ParseDays(s string) (time.Duration, error) {
	if n, isDays := strings.CutSuffix(s, "d"); isDays {
		f, err := strconv.ParseFloat(n, 64)
		if err != nil || !(f > 0) || f > 100_000 {
			return 0, fmt.Errorf("%q is not a number of days", s)
		}
		return time.Duration(f * float64(day)), nil
	}
	return ParseDuration(s)
}

func (l *serverLoader) online(ws []wireOnline, routes []Route) []OnlineScorer {
	var out []OnlineScorer
	names := map[string]bool{}
	for i := range ws {
		w := &ws[i]
		if w.Assert.Pos.File == "" {
			w.Assert.Pos = w.Pos.At("assert")
		}
		a, ok := l.assertion(&w.Assert)
		if !ok {
			continue
		}
		s := OnlineScorer{Pos: w.Pos, Assert: a, Name: w.Name, Share: 1, Routes: w.Routes}
		if s.Name == "" {
			if s.Name = a.Metric; s.Name == "" {
				s.Name = a.Type
			}
		}
		if names[s.Name] {
			l.fail(w.Pos.At("name"), s.Name, "two scorers have this name", "a name of its own for each")
		}
		names[s.Name] = true
		if w.Share != nil {
			s.Share = l.share(w.Pos.At("share"), *w.Share)
		}
		if w.Budget != nil {
			if s.Budget = *w.Budget; s.Budget < 0 {
				l.fail(w.Pos.At("budget"), fmt.Sprint(s.Budget), "below 0", "US dollars a day")
			}
		}
		for j, name := range w.Routes {
			if !slices.ContainsFunc(routes, func(r Route) bool { return r.Name == name }) {
				l.fail(w.Pos.At("routes"+index(j)), name, "there is no such route", l.oneOfRoutes(routes))
			}
		}
		out = append(out, s)
	}
	return out
}
