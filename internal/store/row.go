package store

import (
	"encoding/json"
	"fmt"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/telltale-llm/telltale/internal/record"
)

// Row is an exchange without its content, flat, as both implementations store it in their table exchanges. Pointers are
// columns that may be NULL. Texts are valid UTF-8.
type Row struct {
	Time time.Time
	ID   string
	Key  int64 // KeyOf(ID): what is searched for, because it takes a quarter of the space

	Source, Route, Variant, Snapshot string
	Propensity, Inclusion            float64
	API                              string
	Stream                           bool
	Provider, Upstream               string
	Model, Served, Fingerprint       string
	Endpoint                         string
	Status                           int32
	ErrorKind, Error, FinishReason   string
	Refused, Failed                  bool
	Latency, TTFT, Cost              *float64

	// Tokens are NULL when no usage was reported at all.
	PromptTokens, CompletionTokens, TotalTokens, CachedTokens, ReasoningTokens *int64

	User, Session, Tags, Client string
	Retries, Attempts           int32
	TraceID, SpanID, ParentID   string
	InputHash                   string
	InputBytes, OutputBytes     int64
	Redaction                   string
	Params                      string // JSON object, or empty
	Detail                      string // JSON of detail, or empty
	ScoreNames                  []string
	ScoreValues                 []float64
}

// ReadColumns are the columns of table exchanges in the order of Row.Targets. The lists of scores are only searched: the
// scores themselves are in detail.
const ReadColumns = `time, id, source, route, variant, snapshot, propensity, inclusion, api, stream, provider, upstream, ` +
	`model, served, fingerprint, endpoint, status, error_kind, error, finish_reason, refused, latency, ttft, cost, ` +
	`prompt_tokens, completion_tokens, total_tokens, cached_tokens, reasoning_tokens, user_id, session, tags, client, ` +
	`retries, attempts, trace_id, span_id, parent_id, input_hash, input_bytes, output_bytes, redaction, params, detail`

// Targets are what a row of ReadColumns is scanned into.
func (r *Row) Targets() []any {
	return []any{&r.Time, &r.ID, &r.Source, &r.Route, &r.Variant, &r.Snapshot, &r.Propensity, &r.Inclusion, &r.API, &r.Stream,
		&r.Provider, &r.Upstream, &r.Model, &r.Served, &r.Fingerprint, &r.Endpoint, &r.Status, &r.ErrorKind, &r.Error,
		&r.FinishReason, &r.Refused, &r.Latency, &r.TTFT, &r.Cost, &r.PromptTokens, &r.CompletionTokens, &r.TotalTokens,
		&r.CachedTokens, &r.ReasoningTokens, &r.User, &r.Session, &r.Tags, &r.Client, &r.Retries, &r.Attempts, &r.TraceID,
		&r.SpanID, &r.ParentID, &r.InputHash, &r.InputBytes, &r.OutputBytes, &r.Redaction, &r.Params, &r.Detail}
}

// detail is what no query looks at: numbers and names, nothing that identifies a person.
type detail struct {
	Gaps     *record.Gaps           `json:"gaps,omitempty"`
	Seed     *int64                 `json:"seed,omitempty"`
	Logprobs *record.LogprobSummary `json:"logprobs,omitempty"`
	Found    map[string]int         `json:"found,omitempty"`
	Scores   []record.OnlineScore   `json:"scores,omitempty"` // without their reasons
	Cut      []string               `json:"cut,omitempty"`
	Assigned *record.Assignment     `json:"assigned,omitempty"` // without its unit
	Guard    *record.Guarded        `json:"guard,omitempty"`
}

// KeyOf is the 64-bit hash (xxHash) of an id, as a signed number because every driver takes one.
func KeyOf(id string) int64 { return int64(xxhash.Sum64String(id)) }

// maxID bounds an id, so that a client cannot make the table of ids large.
const maxID = 256

// FlattenAll turns a batch into rows, contents parallel to them, nil where there is none. The error is an *InvalidError, of the
// first exchange that cannot be stored. A large batch is done in parts, for whoever stores it waits.
func FlattenAll(xs []record.Exchange) ([]Row, []*ContentRow, error) {
	rows, contents := make([]Row, len(xs)), make([]*ContentRow, len(xs))
	parts := max(1, min(runtime.GOMAXPROCS(0), len(xs)/flattenPart))
	if parts == 1 {
		return rows, contents, flattenRange(xs, rows, contents, 0, len(xs))
	}
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for n := range parts {
		from, to := len(xs)*n/parts, len(xs)*(n+1)/parts
		wg.Go(func() { errs[n] = flattenRange(xs, rows, contents, from, to) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, nil, err
		}
	}
	return rows, contents, nil
}

// flattenPart is from how many exchanges on a part of a batch is worth a goroutine.
const flattenPart = 500

func flattenRange(xs []record.Exchange, rows []Row, contents []*ContentRow, from, to int) error {
	for i := from; i < to; i++ {
		why := check(&xs[i])
		if why == "" {
			var err error
			if contents[i], err = flatten(&rows[i], &xs[i]); err != nil {
				why = err.Error()
			}
		}
		if why != "" {
			return &InvalidError{Index: i, ID: xs[i].ID, Why: why}
		}
	}
	return nil
}

// check says why an exchange cannot be stored, or "".
func check(x *record.Exchange) string {
	switch {
	case x.ID == "":
		return "it has no id"
	case len(x.ID) > maxID:
		return fmt.Sprintf("its id has %d bytes, at most %d are allowed", len(x.ID), maxID)
	case !utf8.ValidString(x.ID):
		return "its id is not UTF-8"
	case x.Time.Year() < 1970 || x.Time.Year() > 2261:
		return fmt.Sprintf("its time is %s, which is before 1970 or too late", x.Time.Format(time.RFC3339))
	case x.Redaction == "":
		return "it has not been redacted"
	}
	return ""
}

func flatten(r *Row, x *record.Exchange) (*ContentRow, error) {
	*r = Row{
		Time: x.Time.UTC().Truncate(time.Microsecond), ID: x.ID, Key: KeyOf(x.ID), Source: clean(x.Source), Route: clean(x.Route),
		Variant: clean(x.Variant), Snapshot: clean(x.Snapshot), Propensity: x.Propensity, Inclusion: x.Inclusion, API: clean(x.API),
		Stream: x.Stream, Provider: clean(x.Provider), Upstream: clean(x.Upstream), Model: clean(x.Model), Served: clean(x.Served),
		Fingerprint: clean(x.Fingerprint), Endpoint: clean(x.Endpoint), Status: int32(x.Status), ErrorKind: clean(string(x.ErrorKind)),
		Error: clean(x.Error), FinishReason: clean(x.FinishReason), Refused: x.Refused, Failed: x.Failed(), Latency: x.Latency,
		TTFT: x.TTFT, Cost: x.Cost, User: clean(x.User), Session: clean(x.Session), Tags: joinTags(x.Tags), Client: clean(x.Client),
		Retries: int32(x.Retries), Attempts: int32(x.Attempts), TraceID: clean(x.TraceID), SpanID: clean(x.SpanID),
		ParentID: clean(x.ParentID), InputHash: clean(x.InputHash), InputBytes: x.InputBytes, OutputBytes: x.OutputBytes,
		Redaction: clean(x.Redaction),
	}
	if u := x.Usage; u != nil {
		r.PromptTokens, r.CompletionTokens, r.TotalTokens = whole(u.Prompt), whole(u.Completion), whole(u.Total)
		r.CachedTokens, r.ReasoningTokens = whole(u.Cached), whole(u.Reasoning)
	}
	d := detail{Gaps: x.Gaps, Seed: x.Seed, Logprobs: x.Logprobs, Found: x.Found, Cut: x.Cut, Guard: x.Guard}
	if a := x.Assigned; a != nil {
		d.Assigned = &record.Assignment{Rollout: a.Rollout, Stage: a.Stage, Pairs: a.Pairs}
	}
	var reasons []string
	if len(x.Scores) > 0 {
		d.Scores = make([]record.OnlineScore, len(x.Scores))
		for i, s := range x.Scores {
			if s.Value != nil {
				r.ScoreNames = append(r.ScoreNames, clean(s.Name))
				r.ScoreValues = append(r.ScoreValues, *s.Value)
			}
			if s.Reason != "" {
				if reasons == nil {
					reasons = make([]string, len(x.Scores))
				}
				reasons[i], s.Reason = s.Reason, ""
			}
			d.Scores[i] = s
		}
	}
	var err error
	if len(x.Params) > 0 {
		if r.Params, err = encode(x.Params); err != nil {
			return nil, fmt.Errorf("params: %w", err)
		}
	}
	if d.Gaps != nil || d.Seed != nil || d.Logprobs != nil || d.Assigned != nil || d.Guard != nil || len(d.Found)+len(d.Scores)+len(d.Cut) > 0 {
		if r.Detail, err = encode(&d); err != nil {
			return nil, err
		}
	}
	return flattenContent(r, x, reasons)
}

// Exchange is the inverse of flatten. Without a content row what depends on it is left out.
func (r *Row) Exchange(c *ContentRow) (record.Exchange, error) {
	x := record.Exchange{
		ID: r.ID, Source: r.Source, Time: r.Time.UTC(), Route: r.Route, Variant: r.Variant, Snapshot: r.Snapshot,
		Propensity: r.Propensity, Inclusion: r.Inclusion, API: r.API, Stream: r.Stream, Provider: r.Provider, Upstream: r.Upstream,
		Model: r.Model, Served: r.Served, Fingerprint: r.Fingerprint, Endpoint: r.Endpoint, Status: int(r.Status),
		ErrorKind: record.FailureKind(r.ErrorKind), Error: r.Error, FinishReason: r.FinishReason, Refused: r.Refused,
		Latency: r.Latency, TTFT: r.TTFT, Cost: r.Cost, User: r.User, Session: r.Session, Tags: splitTags(r.Tags), Client: r.Client,
		Retries: int(r.Retries), Attempts: int(r.Attempts), TraceID: r.TraceID, SpanID: r.SpanID, ParentID: r.ParentID,
		InputHash: r.InputHash, InputBytes: r.InputBytes, OutputBytes: r.OutputBytes, Redaction: r.Redaction,
	}
	if r.PromptTokens != nil {
		x.Usage = &record.Usage{Prompt: number(r.PromptTokens), Completion: number(r.CompletionTokens), Total: number(r.TotalTokens),
			Cached: number(r.CachedTokens), Reasoning: number(r.ReasoningTokens)}
	}
	if r.Params != "" {
		if err := json.Unmarshal([]byte(r.Params), &x.Params); err != nil {
			return x, fmt.Errorf("exchange %s: params: %w", r.ID, err)
		}
	}
	if r.Detail != "" {
		var d detail
		if err := json.Unmarshal([]byte(r.Detail), &d); err != nil {
			return x, fmt.Errorf("exchange %s: detail: %w", r.ID, err)
		}
		x.Gaps, x.Seed, x.Logprobs, x.Found, x.Scores, x.Cut = d.Gaps, d.Seed, d.Logprobs, d.Found, d.Scores, d.Cut
		x.Assigned, x.Guard = d.Assigned, d.Guard
	}
	if c != nil {
		if err := c.fill(&x); err != nil {
			return x, fmt.Errorf("exchange %s: content: %w", r.ID, err)
		}
	}
	return x, nil
}

// Exchanges turns rows into exchanges, with their content where it is in the map, by id.
func Exchanges(rows []Row, contents map[string]*ContentRow) ([]record.Exchange, error) {
	out := make([]record.Exchange, len(rows))
	for i := range rows {
		var err error
		if out[i], err = rows[i].Exchange(contents[rows[i].ID]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Keys lists the rows' keys, for IN.
func Keys(rows []Row) string {
	var b strings.Builder
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(KeyOf(rows[i].ID), 10))
	}
	return b.String()
}

// Qualified puts a table's name before each column.
func Qualified(table, columns string) string {
	return table + "." + strings.ReplaceAll(columns, ", ", ", "+table+".")
}

func whole(n int) *int64 { v := int64(n); return &v }

func number(p *int64) int {
	if p == nil {
		return 0
	}
	return int(*p)
}

// clean makes text valid UTF-8: the engines refuse or drop other bytes.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// Tags are one text in which each tag stands between separators, so that "has this tag" is a search for a substring and
// forgetting a person is an update in place, which lists do not have in DuckDB.
const (
	tagSep   = "\x1f"
	tagEqual = "\x1e" // stands for = in names
)

var tagName = strings.NewReplacer(tagSep, " ", "=", tagEqual)

func joinTags(tags map[string]string) string {
	if len(tags) == 0 {
		return ""
	}
	names := make([]string, 0, len(tags))
	for k := range tags {
		names = append(names, k)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, k := range names {
		b.WriteString(tag(k, tags[k]))
	}
	b.WriteString(tagSep)
	return b.String()
}

// tag is one tag with the separator before it.
func tag(name, value string) string {
	return tagSep + tagName.Replace(clean(name)) + "=" + strings.ReplaceAll(clean(value), tagSep, " ")
}

func splitTags(s string) map[string]string {
	if s == "" {
		return nil
	}
	tags := map[string]string{}
	for t := range strings.SplitSeq(strings.Trim(s, tagSep), tagSep) {
		k, v, _ := strings.Cut(t, "=")
		tags[strings.ReplaceAll(k, tagEqual, "=")] = v
	}
	return tags
}
