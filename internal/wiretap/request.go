package wiretap

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/record"
)

const (
	maxParam = 16 << 10 // bytes of one parameter
	maxName  = 256      // bytes of a model's name, a user, a tag and the like
	maxTags  = 32
)

// request is what a body says while it is read.
type request struct {
	c       cursor
	x       *record.Exchange
	system  []string
	input   []record.Message
	hashed  [2][]byte // the system prompt's and the input's bytes, for the hash
	user    string
	session string
}

// perRequest are the fields of a body that belong to one request and do not decide how the system behaves.
var perRequest = map[string]bool{
	"store": true, "stream_options": true, "prompt_cache_key": true, "previous_response_id": true, "prediction": true, "background": true,
	"prompt_cache_retention": true,
}

func readRequest(x *record.Exchange, in *Request, o *Options) {
	if x.API == "" {
		x.API = Classify(in.Method, in.Path)
	}
	x.Endpoint, _, _ = strings.Cut(in.Path, "?")
	x.InputBytes = size(in.Size, in.Body)
	body, cut := in.Body, in.Cut
	if len(body) > 0 {
		body, cut = decode(in.Headers.Get("Content-Encoding"), body, cut, o.MaxDecoded)
	}
	r := request{c: cursor{b: body}, x: x}
	whole := false
	if len(body) > 0 {
		whole = r.body() && !cut
	}
	if len(in.Body) > 0 && !whole {
		x.Cut = addCut(x.Cut, "input")
	}
	r.headers(in.Headers)
	x.User, x.Session = clip(r.user, maxName), clip(r.session, maxName)
	x.Model = clip(x.Model, maxName)
	if whole {
		x.InputHash = hashInput(r.hashed, o.HashKey)
	}
	content := &record.Content{}
	content.System, content.Input = r.trim(o.MaxContent / 2)
	switch {
	case whole && len(body) <= o.MaxContent && utf8.Valid(body):
		content.Body = append(json.RawMessage(nil), body...)
	case len(in.Body) > 0:
		x.Cut = addCut(x.Cut, "body")
	}
	x.Content = content
}

func size(told int64, b []byte) int64 {
	if told > 0 {
		return told
	}
	return int64(len(b))
}

// body reads the document and says whether it was well-formed to its end.
func (r *request) body() bool {
	c := &r.c
	if c.space() != '{' {
		return false
	}
	for c.open('{'); c.more('}'); {
		key := string(c.key())
		if c.bad {
			break
		}
		r.field(key)
	}
	return c.end()
}

// field reads one member of the body.
func (r *request) field(key string) {
	c, x := &r.c, r.x
	switch key {
	case "model":
		x.Model = c.str()
	case "stream":
		x.Stream = c.truth()
	case "seed":
		if v, ok := c.number(); ok && v == float64(int64(v)) {
			seed := int64(v)
			x.Seed = &seed
		}
	case "user":
		if v := c.str(); r.user == "" {
			r.user = v
		}
	case "safety_identifier":
		if v := c.str(); v != "" {
			r.user = v
		}
	case "metadata":
		r.metadata()
	case "conversation":
		if c.space() == '{' {
			for c.open('{'); c.more('}'); {
				if string(c.key()) == "id" {
					r.session = c.str()
				} else {
					c.skip()
				}
			}
		} else {
			r.session = c.str()
		}
	default:
		if x.API == record.APIOther || perRequest[key] {
			c.skip()
			return
		}
		if !r.said(key) {
			r.param(key)
		}
	}
}

// said reads a member that holds what was said, by the rules of the API.
func (r *request) said(key string) bool {
	c := &r.c
	c.space()
	start, part := c.i, 1
	switch r.x.API + " " + key {
	case record.APIChat + " messages", record.APIMessages + " messages", record.APICountTokens + " messages":
		for c.open('['); c.more(']'); {
			r.chatMessage()
			r.thin()
		}
	case record.APIMessages + " system", record.APICountTokens + " system":
		part = 0
		var m record.Message
		r.content(&m)
		r.addSystem(m.Text())
	case record.APIResponses + " instructions":
		part = 0
		r.addSystem(c.str())
	case record.APIResponses + " input":
		r.items()
	case record.APIResponses + " prompt":
		r.storedPrompt()
		return true
	case record.APICompletions + " prompt", record.APIEmbeddings + " input", record.APIModerations + " input":
		r.texts()
	case record.APICompletions + " suffix":
		if s := c.str(); s != "" {
			r.input = append(r.input, record.Message{Role: "suffix", Content: s})
		}
	default:
		return false
	}
	if r.hashed[part] == nil {
		r.hashed[part] = c.b[min(start, len(c.b)):c.i]
	}
	return true
}

func (r *request) addSystem(s string) {
	if s != "" {
		r.system = append(r.system, s)
	}
}

// param keeps a parameter. One that is null counts as not given; one that is too long leaves its hash.
func (r *request) param(key string) {
	c := &r.c
	c.space()
	start := c.i
	v := c.value()
	if c.bad || v == nil {
		return
	}
	key = clip(strings.ToValidUTF8(key, "\ufffd"), maxName)
	if raw := c.b[start:c.i]; len(raw) > maxParam {
		v = map[string]any{"sha256": record.HashBytes(raw), "bytes": float64(len(raw))}
		r.x.Cut = addCut(r.x.Cut, "params."+key)
	}
	if r.x.Params == nil {
		r.x.Params = make(map[string]any, 4)
	}
	r.x.Params[key] = v
}

// storedPrompt reads the reference to a prompt that OpenAI keeps: which one it is decides the behaviour, the values of
// its variables are what was said.
func (r *request) storedPrompt() {
	c := &r.c
	if c.space() != '{' {
		c.skip()
		return
	}
	kept := map[string]any{}
	for c.open('{'); c.more('}'); {
		key := string(c.key())
		if key == "id" || key == "version" {
			kept[key] = c.str()
			continue
		}
		raw := c.raw()
		if key == "variables" && len(raw) > 0 && raw[0] == '{' {
			r.hashed[0] = raw
			r.input = append(r.input, record.Message{Role: "variables", Content: strings.ToValidUTF8(string(raw), "\ufffd")})
		}
	}
	if r.x.Params == nil {
		r.x.Params = map[string]any{}
	}
	r.x.Params["prompt"] = kept
}

// metadata takes tags, and Anthropic's user.
func (r *request) metadata() {
	c := &r.c
	for c.open('{'); c.more('}'); {
		key := text(c.key(), false)
		if c.space() != '"' {
			c.skip()
			continue
		}
		v := c.str()
		if key == "user_id" && (r.x.API == record.APIMessages || r.x.API == record.APICountTokens) {
			r.user = v
			continue
		}
		r.tag(key, v)
	}
}

func (r *request) tag(name, value string) {
	x := r.x
	if _, known := x.Tags[name]; !known && len(x.Tags) >= maxTags {
		x.Cut = addCut(x.Cut, "tags")
		return
	}
	if x.Tags == nil {
		x.Tags = map[string]string{}
	}
	x.Tags[clip(name, maxName)] = clip(value, 2*maxName)
}

const tagHeader = "Telltale-Tag-"

// headers reads what a client says about a request outside of its body. It wins over the body.
func (r *request) headers(h http.Header) {
	x := r.x
	if v := first(h, "Telltale-User"); v != "" {
		r.user = v
	}
	if v := first(h, "Telltale-Session"); v != "" {
		r.session = v
	}
	if n, err := strconv.Atoi(first(h, "X-Stainless-Retry-Count")); err == nil && n > 0 && n < 1000 {
		x.Retries = n
	}
	for name, values := range h {
		if len(name) > len(tagHeader) && strings.EqualFold(name[:len(tagHeader)], tagHeader) && len(values) > 0 {
			r.tag(strings.ToLower(name[len(tagHeader):]), strings.ToValidUTF8(values[0], "\ufffd"))
		}
	}
	for _, name := range [...]string{"Anthropic-Beta", "Openai-Beta"} {
		if v := h[name]; len(v) > 0 && x.API != record.APIOther {
			if x.Params == nil {
				x.Params = map[string]any{}
			}
			x.Params[strings.ToLower(name)] = clip(strings.ToValidUTF8(strings.Join(v, ","), "\ufffd"), maxName)
		}
	}
	traceParent(x, first(h, "Traceparent"))
}

// first is the header's first value, as UTF-8. The names here are in canonical form.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return strings.ToValidUTF8(v[0], "\ufffd")
	}
	return ""
}

// traceParent takes the ids of the client's own trace (W3C Trace Context), so that the exchange and the spans that the
// client reports are found together.
func traceParent(x *record.Exchange, v string) {
	// 2 digits of version, 32 of trace, 16 of span, 2 of flags.
	if len(v) < 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return
	}
	trace, span := v[3:35], v[36:52]
	for _, id := range [...]string{trace, span} {
		zero := true
		for i := range len(id) {
			if ch := id[i]; !hexDigit(ch) || ch >= 'A' && ch <= 'F' {
				return
			}
			zero = zero && id[i] == '0'
		}
		if zero {
			return
		}
	}
	x.TraceID, x.ParentID = trace, span
}

// hashInput is the hash by which equal inputs are found.
func hashInput(parts [2][]byte, key []byte) string {
	if len(parts[0])+len(parts[1]) == 0 {
		return ""
	}
	var h hash.Hash
	if key != nil {
		h = hmac.New(sha256.New, key)
	} else {
		h = sha256.New()
	}
	var sum [sha256.Size]byte
	if len(parts[0]) > 0 {
		h.Write(parts[0])
		h.Write([]byte{0}) // never part of JSON
	}
	h.Write(parts[1])
	return hex.EncodeToString(h.Sum(sum[:0])[:8])
}

// addCut adds a name to a list of cuts once.
func addCut(list []string, name string) []string {
	for _, n := range list {
		if n == name {
			return list
		}
	}
	return append(list, name)
}

// clip shortens s to n bytes at most, at a rune's boundary.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
