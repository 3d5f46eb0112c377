package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// messageDoc describes record.Message, whose JSON is made by its own method.
type messageDoc struct {
	Role    string `json:"role"`
	Content any    `json:"content" doc:"A text, or a list of parts as in OpenAI's chat API"`
}

func register(a huma.API, s *server) {
	get := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Errors: append(errors, http.StatusServiceUnavailable)}
	}
	huma.Register(a, get("status", "/v1/status", "State of the server"), s.status)
	huma.Register(a, get("list-exchanges", "/v1/exchanges", "Exchanges, newest first", 422), s.list)
	huma.Register(a, get("export-exchanges", "/v1/exchanges/export", "All exchanges that a filter finds, as NDJSON or Parquet", 422), s.export)
	huma.Register(a, get("get-exchange", "/v1/exchanges/{id}", "One exchange with its content", 404), s.exchange)
	huma.Register(a, get("get-snapshot", "/v1/snapshots/{id}", "What decided the behaviour of exchanges", 404), s.snapshot)
	huma.Register(a, get("route-stats", "/v1/routes/{route}/stats", "Counts, errors, quantiles, tokens and cost by interval", 422), s.stats)
	huma.Register(a, huma.Operation{OperationID: "forget", Method: http.MethodPost, Path: "/v1/forget", Summary: "Remove the content of a person's exchanges, and what identifies them", Errors: []int{422, 503}}, s.forget)
}

func (s *server) status(context.Context, *struct{}) (*struct{ Body Status }, error) {
	return &struct{ Body Status }{s.o.Status()}, nil
}

// Filter are the query parameters that say which exchanges are meant.
type Filter struct {
	Since      string   `query:"since" doc:"Inclusive: a time (RFC 3339), or how long ago such as 15m, 24h or 7d"`
	Until      string   `query:"until" doc:"Exclusive: a time, or how long ago"`
	Route      []string `query:"route"`
	Variant    []string `query:"variant"`
	Snapshot   []string `query:"snapshot"`
	Model      []string `query:"model" doc:"As asked, or as served"`
	Source     []string `query:"source" enum:"gateway,otlp,langfuse,json,file"`
	Status     []int    `query:"status" doc:"HTTP status"`
	Error      []string `query:"error" enum:"canceled,timeout,connection,rate_limited,server,auth,not_found,bad_request,malformed,empty,cut,missing,exited,too_large" doc:"Kind of error"`
	Outcome    string   `query:"outcome" enum:"answered,failed"`
	MinLatency float64  `query:"min_latency" minimum:"0" doc:"Seconds"`
	User       string   `query:"user" doc:"A person as clients name them, or as stored"`
	Session    string   `query:"session" doc:"As clients name it, or as stored"`
	Trace      string   `query:"trace"`
	Tag        []string `query:"tag,explode" doc:"NAME:VALUE; several must all hold"`
	Text       string   `query:"text" doc:"Looked for in the content as it is"`
	Score      []string `query:"score,explode" doc:"NAME, NAME>0.5 or NAME<0.5"`
}

// names are the names under which a person or a session may be stored that a caller names as clients do, or as stored.
func (s *server) names(name string) []string {
	if name == "" {
		return nil
	}
	out := []string{name} // also where there are no others, for without a name everything would be found
	if s.o.Tokens != nil {
		for _, token := range s.o.Tokens(name) {
			if token != name {
				out = append(out, token)
			}
		}
	}
	return out
}

func (s *server) filter(f *Filter) (out store.Filter, err error) {
	now := s.o.Now()
	out = store.Filter{
		Routes: f.Route, Variants: f.Variant, Snapshots: f.Snapshot, Models: f.Model, Sources: f.Source, Statuses: f.Status, Outcome: store.Outcome(f.Outcome),
		MinLatency: f.MinLatency, Users: s.names(f.User), Sessions: s.names(f.Session), Trace: f.Trace, Text: f.Text,
	}
	if out.From, err = when("since", f.Since, now); err != nil {
		return out, err
	}
	if out.To, err = when("until", f.Until, now); err != nil {
		return out, err
	}
	for _, kind := range f.Error {
		out.ErrorKinds = append(out.ErrorKinds, record.FailureKind(kind))
	}
	for _, tag := range f.Tag {
		name, value, ok := strings.Cut(tag, ":")
		if !ok || name == "" {
			return out, &store.QueryError{Field: "tag", Value: tag, Want: "NAME:VALUE"}
		}
		if out.Tags == nil {
			out.Tags = map[string]string{}
		}
		out.Tags[name] = value
	}
	for _, text := range f.Score {
		sf, err := scoreFilter(text)
		if err != nil {
			return out, err
		}
		out.Scores = append(out.Scores, sf)
	}
	return out, nil
}

func scoreFilter(text string) (store.ScoreFilter, error) {
	i := strings.IndexAny(text, "<>")
	if i < 0 {
		return store.ScoreFilter{Name: text}, nil
	}
	bound, err := strconv.ParseFloat(text[i+1:], 64)
	if err != nil || i == 0 {
		return store.ScoreFilter{}, &store.QueryError{Field: "score", Value: text, Want: "NAME, NAME>0.5 or NAME<0.5"}
	}
	out := store.ScoreFilter{Name: text[:i]}
	if text[i] == '>' {
		out.Above = &bound
	} else {
		out.Below = &bound
	}
	return out, nil
}

// when reads a time, or how long before now.
func when(field, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC(), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 1e5 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))).UTC(), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UTC(), nil
	}
	return time.Time{}, &store.QueryError{Field: field, Value: text, Want: "a time such as 2026-01-31T12:00:00Z, or how long ago such as 15m, 24h or 7d"}
}

type listInput struct {
	Filter
	Content bool   `query:"content" doc:"Read the content too"`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor  string `query:"cursor" doc:"The next of the page before"`
}

type listOutput struct {
	Body struct {
		Exchanges []record.Exchange `json:"exchanges"`
		Next      string            `json:"next,omitempty" doc:"Cursor of the next page; empty on the last one"`
	}
}

func (s *server) list(ctx context.Context, in *listInput) (*listOutput, error) {
	f, err := s.filter(&in.Filter)
	if err != nil {
		return nil, failure(err)
	}
	st, err := s.store()
	if err != nil {
		return nil, failure(err)
	}
	page, err := st.List(ctx, store.Query{Filter: f, Content: in.Content, Limit: in.Limit, Cursor: in.Cursor})
	if err != nil {
		return nil, failure(err)
	}
	var out listOutput
	out.Body.Exchanges, out.Body.Next = page.Exchanges, page.Next
	if out.Body.Exchanges == nil {
		out.Body.Exchanges = []record.Exchange{}
	}
	return &out, nil
}

type idInput struct {
	ID string `path:"id" maxLength:"200"`
}

func (s *server) exchange(ctx context.Context, in *idInput) (*struct{ Body record.Exchange }, error) {
	st, err := s.store()
	if err != nil {
		return nil, failure(err)
	}
	x, err := st.Exchange(ctx, in.ID)
	if err != nil {
		return nil, failure(err)
	}
	return &struct{ Body record.Exchange }{x}, nil
}

func (s *server) snapshot(ctx context.Context, in *idInput) (*struct{ Body record.Snapshot }, error) {
	st, err := s.store()
	if err != nil {
		return nil, failure(err)
	}
	snap, err := st.Snapshot(ctx, in.ID)
	if err != nil {
		return nil, failure(err)
	}
	return &struct{ Body record.Snapshot }{snap}, nil
}

type exportInput struct {
	Filter
	Content bool   `query:"content" doc:"The content too"`
	Format  string `query:"format" enum:"ndjson,parquet" default:"ndjson"`
}

// export streams. An error after the first byte breaks the connection off, so that half a file never looks whole.
func (s *server) export(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	f, err := s.filter(&in.Filter)
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		return nil, failure(err)
	}
	st, err := s.store()
	if err != nil {
		return nil, failure(err)
	}
	q := store.Query{Filter: f, Content: in.Content}
	write := func(w io.Writer) error { return ndjson(ctx, st, q, w) }
	kind := "application/x-ndjson"
	if in.Format == "parquet" {
		kind = "application/vnd.apache.parquet"
		write = func(w io.Writer) error { _, err := st.Export(ctx, q, w); return err }
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", kind)
		if err := write(hc.BodyWriter()); err != nil {
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// ndjson writes page after page, newest first.
func ndjson(ctx context.Context, st store.Store, q store.Query, w io.Writer) error {
	enc := json.NewEncoder(w)
	for q.Limit = 1000; ; {
		page, err := st.List(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Exchanges {
			if err := enc.Encode(&page.Exchanges[i]); err != nil {
				return err
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

type statsInput struct {
	Route string   `path:"route" doc:"Name of a route; all stands for every route"`
	Since string   `query:"since" default:"1h" doc:"A time, or how long ago"`
	Until string   `query:"until" doc:"A time, or how long ago; now when it is not set"`
	Every string   `query:"every" doc:"Length of the intervals such as 1m; one interval when it is not set"`
	By    []string `query:"by" doc:"What is told apart: variant, snapshot, model, status, error_kind and the like"`
	Score []string `query:"score" doc:"Names of scores whose mean is wanted"`
}

// PointBody is a point of a series, with its error rate.
type PointBody struct {
	store.Point
	ErrorRate *float64 `json:"error_rate" doc:"Failed of those that were not given up by the client; null when there were none"`
}

type statsOutput struct {
	Body struct {
		From   time.Time   `json:"from"`
		To     time.Time   `json:"to"`
		By     []string    `json:"by"`
		Points []PointBody `json:"points"`
	}
}

func (s *server) stats(ctx context.Context, in *statsInput) (*statsOutput, error) {
	now := s.o.Now()
	q := store.SeriesQuery{Scores: in.Score}
	if in.Route != "all" {
		q.Routes = []string{in.Route}
	}
	var err error
	if q.From, err = when("since", in.Since, now); err != nil {
		return nil, failure(err)
	}
	if q.To, err = when("until", in.Until, now); err != nil {
		return nil, failure(err)
	}
	if q.To.IsZero() {
		q.To = now.UTC()
	}
	if in.Every != "" {
		if q.Every, err = time.ParseDuration(in.Every); err != nil {
			return nil, failure(&store.QueryError{Field: "every", Value: in.Every, Want: "a duration such as 10s, 1m or 1h"})
		}
	}
	for _, key := range in.By {
		q.By = append(q.By, store.Key(key))
	}
	st, err := s.store()
	if err != nil {
		return nil, failure(err)
	}
	points, err := st.Series(ctx, q)
	if err != nil {
		return nil, failure(err)
	}
	var out statsOutput
	out.Body.From, out.Body.To, out.Body.By = q.From, q.To, append([]string{}, in.By...)
	out.Body.Points = make([]PointBody, len(points))
	for i, p := range points {
		out.Body.Points[i].Point = p
		if rate, ok := p.ErrorRate(); ok {
			out.Body.Points[i].ErrorRate = &rate
		}
	}
	return &out, nil
}

type forgetInput struct {
	Body struct {
		User string `json:"user" minLength:"1" maxLength:"512" doc:"As clients name the person"`
	}
}

func (s *server) forget(ctx context.Context, in *forgetInput) (*struct{ Body store.Deleted }, error) {
	if _, err := s.store(); err != nil {
		return nil, failure(err)
	}
	d, err := s.o.Forget(ctx, in.Body.User)
	if err != nil {
		return nil, failure(err)
	}
	return &struct{ Body store.Deleted }{d}, nil
}

// problem writes an error before huma has the request.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
}
