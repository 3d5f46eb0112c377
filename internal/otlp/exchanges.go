package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// maxMistakes bounds the mistakes that an answer lists.
const maxMistakes = 20

// exchanges serves POST /v1/exchanges: exchanges as JSON objects, one after the other (NDJSON) or in a list. Either all are
// taken or none.
func (r *Receiver) exchanges(w http.ResponseWriter, req *http.Request) {
	r.n.requests.Add(1)
	if !r.authorized(w, req, true) {
		return
	}
	body, leave, ok := r.body(w, req, true)
	if !ok {
		return
	}
	defer leave()
	xs, err := ReadExchanges(body, r.o.MaxContent)
	if err != nil {
		r.n.malformed.Add(1)
		refuseMistakes(w, err)
		return
	}
	if r.o.Price != nil {
		for i := range xs {
			if x := &xs[i]; x.Cost == nil && x.Usage != nil {
				x.Cost = r.o.Price(firstOf(x.Served, x.Model), *x.Usage)
			}
		}
	}
	if err := r.deliver(req.Context(), xs); err != nil {
		r.failed(w, true, err)
		return
	}
	answer(w, true, http.StatusOK, fmt.Appendf(nil, `{"accepted":%d}`, len(xs)))
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// mistake is one of a config.Errors as clients read it.
type mistake struct {
	Line    int    `json:"line,omitempty"`
	Key     string `json:"key,omitempty"`
	Value   string `json:"value,omitempty"`
	Problem string `json:"problem"`
	Want    string `json:"want,omitempty"`
}

func refuseMistakes(w http.ResponseWriter, errs config.Errors) {
	var out struct {
		Error struct {
			Message  string    `json:"message"`
			Mistakes []mistake `json:"mistakes"`
		} `json:"error"`
	}
	first := *errs[0]
	first.File = "body"
	out.Error.Message = clip(first.Error(), 500)
	for _, e := range errs {
		out.Error.Mistakes = append(out.Error.Mistakes, mistake{e.Line, e.Key, clip(e.Value, 120), e.Problem, e.Want})
	}
	b, err := json.Marshal(out)
	if err != nil {
		b = nil
	}
	answer(w, true, http.StatusBadRequest, b)
}

// ReadExchanges reads exchanges as users write them: a list, or one JSON object after the other. Each must have id and time;
// what else is not given takes its default: source json, route json, variant baseline, api other, propensity and
// inclusion 1. Content is cut to maxContent bytes as everywhere. The mistakes, up to 20, name line, key, value and what was wanted.
func ReadExchanges(data []byte, maxContent int) ([]record.Exchange, config.Errors) {
	in := reader{data: data, max: maxContent}
	dec := json.NewDecoder(bytes.NewReader(data))
	inList := false
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) > 0 && t[0] == '[' {
		inList = true
		if _, err := dec.Token(); err != nil {
			in.syntax(dec, err)
		}
	}
	for len(in.errs) < maxMistakes {
		if inList && !dec.More() {
			if _, err := dec.Token(); err != nil {
				in.syntax(dec, err)
			} else if _, err := dec.Token(); !errors.Is(err, io.EOF) {
				in.add("", "", "something follows the list", "the end")
			}
			break
		}
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) && !inList {
			break
		}
		if err != nil {
			in.syntax(dec, err)
			break
		}
		in.moveTo(int(dec.InputOffset()) - len(raw))
		in.one(raw)
	}
	if len(in.errs) == 0 && len(in.out) == 0 {
		in.add("", "", "no exchange", "one JSON object a line, or a list of them")
	}
	if len(in.errs) > 0 {
		return nil, in.errs
	}
	return in.out, nil
}

type reader struct {
	data []byte
	max  int
	at   int // offset of the line counted in line
	line int // newlines before at
	out  []record.Exchange
	errs config.Errors
}

func (in *reader) moveTo(offset int) {
	offset = max(in.at, min(offset, len(in.data)))
	in.line += bytes.Count(in.data[in.at:offset], []byte{'\n'})
	in.at = offset
}

func (in *reader) add(key, value, problem, want string) {
	in.errs = append(in.errs, &config.Error{Pos: config.Pos{Line: in.line + 1, Key: key}, Value: value, Problem: problem, Want: want})
}

func (in *reader) syntax(dec *json.Decoder, err error) {
	offset := dec.InputOffset()
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = se.Offset
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		offset = int64(len(bytes.TrimRight(in.data, " \t\r\n")))
	}
	in.moveTo(int(offset))
	in.add("", "", "invalid JSON: "+strings.TrimPrefix(err.Error(), "json: "), "an exchange as a JSON object")
}

// fields are the names of an exchange's members.
var fields = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	t := reflect.TypeFor[record.Exchange]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		out[name] = true
	}
	return out
})

// one reads one exchange.
func (in *reader) one(raw json.RawMessage) {
	before := len(in.errs)
	if raw[0] != '{' {
		in.add("", clip(string(raw), 60), "not an object", "an exchange as a JSON object")
		return
	}
	in.names(raw)
	if len(in.errs) > before {
		return
	}
	x := record.Exchange{Source: "json", Route: "json", Variant: "baseline", API: record.APIOther, Propensity: 1, Inclusion: 1}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&x); err != nil {
		in.decodeError(err)
		return
	}
	in.check(&x)
	if len(in.errs) > before {
		return
	}
	x.Time = x.Time.UTC().Truncate(time.Microsecond)
	x.Redaction, x.Found = "", nil // said of what happens here, not elsewhere
	if c := x.Content; c != nil {
		bound(&x, c, in.max/2)
		if len(c.Body) > in.max {
			c.Body = nil
			x.Cut = append(x.Cut, "body")
		}
	}
	in.out = append(in.out, x)
}

// names refuses members that are not known or given twice. encoding/json takes names in any case, and the last of two.
func (in *reader) names(raw json.RawMessage) {
	seen := make(map[string]bool, 32)
	memberNames(raw, func(name string) bool {
		switch {
		case !fields()[name]:
			in.add(clip(name, 100), "", "unknown key", "a key of an exchange, such as id, time, route, model, usage, content")
		case seen[name]:
			in.add(name, "", "duplicate key", "each key once")
		}
		seen[name] = true
		return len(in.errs) < maxMistakes
	})
}

func (in *reader) decodeError(err error) {
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		in.add(te.Field, te.Value, "is "+te.Value+" in the place of something else", want(te.Type))
		return
	}
	if pe, ok := errors.AsType[*time.ParseError](err); ok {
		in.add("time", strings.Trim(pe.Value, `"`), "not a time", "RFC 3339, such as 2026-01-31T12:00:00Z")
		return
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if name, ok := strings.CutPrefix(text, "unknown field "); ok {
		in.add(strings.Trim(name, `"`), "", "unknown key", "a key as docs/exchange.md lists it")
		return
	}
	in.add("", "", text, "an exchange as docs/exchange.md describes it")
}

// want says in words what a Go type takes.
func want(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64, reflect.Float32:
		return "a number"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

var (
	apis = []string{
		record.APIChat, record.APIResponses, record.APICompletions, record.APIEmbeddings, record.APIModels, record.APIModerations,
		record.APIMessages, record.APICountTokens, record.APIOther,
	}
	kinds = []record.FailureKind{
		"", record.Canceled, record.Timeout, record.Connection, record.RateLimited, record.Server, record.Auth, record.NotFound, record.BadRequest,
		record.Malformed, record.Empty, record.Cut, record.Missing, record.Exited, record.TooLarge,
	}
	sources = []string{"gateway", "otlp", "langfuse", "json", "file"}
)

// check refuses values that no exchange can have.
func (in *reader) check(x *record.Exchange) {
	if x.ID == "" || len(x.ID) > 128 || strings.ContainsFunc(x.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		in.add("id", x.ID, "not an id", "1 to 128 visible ASCII characters")
	}
	switch {
	case x.Time.IsZero():
		in.add("time", "", "missing", "RFC 3339, such as 2026-01-31T12:00:00Z")
	case !possible(x.Time):
		in.add("time", x.Time.Format(time.RFC3339), "no exchange can be of this year", "a time between 2000 and 2200")
	}
	in.among("api", x.API, apis)
	in.among("source", x.Source, sources)
	if !slices.Contains(kinds, x.ErrorKind) {
		in.add("error_kind", string(x.ErrorKind), "not a reason", fmt.Sprint(kinds[1:]))
	}
	if x.Status != 0 && (x.Status < 100 || x.Status > 599) {
		in.add("status", strconv.Itoa(x.Status), "not an HTTP status", "100 to 599")
	}
	in.share("propensity", x.Propensity)
	in.share("inclusion", x.Inclusion)
	in.positive("latency", x.Latency)
	in.positive("ttft", x.TTFT)
	in.positive("cost", x.Cost)
	if u := x.Usage; u != nil && min(u.Prompt, u.Completion, u.Total, u.Cached, u.Reasoning) < 0 {
		in.add("usage", "", "a number of tokens is negative", "0 or more")
	}
	for _, f := range []struct{ key, value string }{
		{"route", x.Route}, {"variant", x.Variant}, {"snapshot", x.Snapshot}, {"provider", x.Provider}, {"upstream", x.Upstream}, {"model", x.Model}, {"served", x.Served},
		{"fingerprint", x.Fingerprint}, {"endpoint", x.Endpoint}, {"finish_reason", x.FinishReason}, {"user", x.User}, {"session", x.Session}, {"client", x.Client},
		{"trace_id", x.TraceID}, {"span_id", x.SpanID}, {"parent_id", x.ParentID}, {"input_hash", x.InputHash},
	} {
		if len(f.value) > maxName {
			in.add(f.key, f.value, strconv.Itoa(len(f.value))+" bytes are too long", "at most 256 bytes")
		}
	}
	for _, l := range []struct {
		key      string
		n, limit int
	}{{"tags", len(x.Tags), 64}, {"params", len(x.Params), 256}, {"embedding", len(x.Embedding), 8192}, {"scores", len(x.Scores), 256}, {"top_k", len(x.TopK), 4096}, {"cut", len(x.Cut), 64}} {
		if l.n > l.limit {
			in.add(l.key, "", strconv.Itoa(l.n)+" entries are too many", "at most "+strconv.Itoa(l.limit))
		}
	}
	x.Error = clip(x.Error, 500)
}

func (in *reader) among(key, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		in.add(key, value, "not known", strings.Join(allowed, ", "))
	}
}

func (in *reader) share(key string, v float64) {
	if !(v > 0 && v <= 1) {
		in.add(key, strconv.FormatFloat(v, 'g', -1, 64), "not a probability", "above 0, up to 1")
	}
}

func (in *reader) positive(key string, v *float64) {
	if v != nil && !(*v >= 0 && *v < math.MaxFloat64) {
		in.add(key, strconv.FormatFloat(*v, 'g', -1, 64), "not possible", "0 or more")
	}
}
