package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// ServerEnv and APIKeyEnv name the server that commands ask, and hold the key that it wants.
const (
	ServerEnv = "TELLTALE_SERVER"
	APIKeyEnv = "TELLTALE_API_KEY"
)

// Remote asks a running server over its HTTP API.
type Remote struct {
	base string
	key  string
	http *http.Client
}

// NewRemote returns a client of the server at address, or of the default one when it is empty. The key may be empty.
func NewRemote(address, key string) (*Remote, error) {
	if address == "" {
		address = "http://" + config.DefaultAPI
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, &config.Error{Pos: config.Pos{Key: "--server"}, Value: address, Problem: "not a server's address", Want: "http://HOST:PORT, without user or query"}
	}
	return &Remote{base: strings.TrimRight(u.String(), "/"), key: key, http: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: 2 * time.Minute}}}, nil
}

// List returns one page of exchanges.
func (r *Remote) List(ctx context.Context, query url.Values) (store.Page, error) {
	var page store.Page
	return page, r.get(ctx, "/v1/exchanges", query, &page)
}

// Tail calls f for each exchange that the query finds and that is stored after since, as store.Tail does.
func (r *Remote) Tail(ctx context.Context, query url.Values, since time.Time, f func(record.Exchange) error) error {
	list := func(ctx context.Context, q store.Query) (store.Page, error) {
		query.Set("since", q.From.UTC().Format(time.RFC3339Nano))
		query.Set("content", "true")
		query.Set("limit", strconv.Itoa(q.Limit))
		query.Del("cursor")
		if q.Cursor != "" {
			query.Set("cursor", q.Cursor)
		}
		return r.List(ctx, query)
	}
	return store.Tail(ctx, list, store.Query{Content: true, Limit: tailPage}, store.TailOptions{Since: since}, f)
}

const tailPage = 1000

// Exchange returns one exchange with its content.
func (r *Remote) Exchange(ctx context.Context, id string) (record.Exchange, error) {
	var x record.Exchange
	return x, r.get(ctx, "/v1/exchanges/"+url.PathEscape(id), nil, &x)
}

// Snapshot returns what decided the behaviour of exchanges.
func (r *Remote) Snapshot(ctx context.Context, id string) (record.Snapshot, error) {
	var s record.Snapshot
	return s, r.get(ctx, "/v1/snapshots/"+url.PathEscape(id), nil, &s)
}

// RouteStats are a route's numbers by interval.
type RouteStats struct {
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	By     []string        `json:"by"`
	Points []api.PointBody `json:"points"`
}

// Stats returns the numbers of a route; all stands for every route.
func (r *Remote) Stats(ctx context.Context, route string, query url.Values) (RouteStats, error) {
	var s RouteStats
	return s, r.get(ctx, "/v1/routes/"+url.PathEscape(route)+"/stats", query, &s)
}

// Status returns the server's state.
func (r *Remote) Status(ctx context.Context) (api.Status, error) {
	var s api.Status
	return s, r.get(ctx, "/v1/status", nil, &s)
}

// Forget removes a person's content.
func (r *Remote) Forget(ctx context.Context, user string) (store.Deleted, error) {
	var d store.Deleted
	body, err := json.Marshal(map[string]string{"user": user})
	if err != nil {
		return d, err
	}
	resp, err := r.do(ctx, http.MethodPost, "/v1/forget", nil, "application/json", bytes.NewReader(body))
	if err != nil {
		return d, err
	}
	return d, read(resp, &d)
}

// Export copies all exchanges that the query finds to w. A file that ended early is an error.
func (r *Remote) Export(ctx context.Context, query url.Values, w io.Writer) error {
	resp, err := r.do(ctx, http.MethodGet, "/v1/exchanges/export", query, "", nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return r.failed(fmt.Errorf("the export ended early: %w", err))
	}
	return nil
}

// Taken is what became of exchanges that were sent in.
type Taken struct {
	Accepted int `json:"accepted"`
}

// Send stores exchanges given as NDJSON. When it returns without an error they are durable.
func (r *Remote) Send(ctx context.Context, lines []byte) (Taken, error) {
	var t Taken
	resp, err := r.do(ctx, http.MethodPost, "/v1/exchanges", nil, "application/x-ndjson", bytes.NewReader(lines))
	if err != nil {
		return t, err
	}
	return t, read(resp, &t)
}

func (r *Remote) get(ctx context.Context, path string, query url.Values, into any) error {
	resp, err := r.do(ctx, http.MethodGet, path, query, "", nil)
	if err != nil {
		return err
	}
	return read(resp, into)
}

func read(resp *http.Response, into any) error {
	err := json.NewDecoder(io.LimitReader(resp.Body, 256<<20)).Decode(into)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return &CouldNotRun{Err: fmt.Errorf("the server's answer cannot be read: %w", err)}
	}
	return nil
}

// Refusal is an answer of the server that is no success.
type Refusal struct {
	Status  int
	Message string
	// RetryAfter is how long the server asked to wait; empty when it did not.
	RetryAfter string
}

// Error names status and message.
func (e *Refusal) Error() string {
	return fmt.Sprintf("the server answered %d: %s", e.Status, e.Message)
}

func (r *Remote) do(ctx context.Context, method, path string, query url.Values, kind string, body io.Reader) (*http.Response, error) {
	target := r.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, r.failed(err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	return nil, r.refused(resp)
}

// failed explains why there was no answer.
func (r *Remote) failed(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return &CouldNotRun{Err: fmt.Errorf("no server answers at %s; telltale serve starts one, --server names another", r.base)}
	}
	return &CouldNotRun{Err: err}
}

// refused turns a problem document into an error: a mistake of the caller's is one of configuration.
func (r *Remote) refused(resp *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	err = errors.Join(err, resp.Body.Close())
	var p struct {
		Detail string `json:"detail"`
		Errors []struct {
			Location string `json:"location"`
			Message  string `json:"message"`
			Value    any    `json:"value"`
		} `json:"errors"`
	}
	if json.Unmarshal(b, &p) != nil || p.Detail == "" {
		var ingest struct { // the ingest endpoints answer in the APIs' own shape
			Error struct{ Message string }
		}
		if json.Unmarshal(b, &ingest) == nil && ingest.Error.Message != "" {
			b = []byte(ingest.Error.Message)
		}
		return errors.Join(&CouldNotRun{Err: &Refusal{resp.StatusCode, strings.TrimSpace(string(b)), resp.Header.Get("Retry-After")}}, err)
	}
	switch status := resp.StatusCode; {
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity, status == http.StatusConflict && len(p.Errors) > 0:
		var errs config.Errors
		for _, e := range p.Errors {
			name := strings.TrimPrefix(strings.TrimPrefix(e.Location, "query."), "body.")
			one := &config.Error{Pos: config.Pos{Key: name}, Problem: e.Message}
			if e.Value != nil {
				one.Value = fmt.Sprint(e.Value)
			}
			errs = append(errs, one)
		}
		if len(errs) > 0 {
			return errs
		}
		return &config.Error{Problem: p.Detail}
	case status == http.StatusNotFound:
		e := &config.Error{Problem: p.Detail}
		if i := strings.LastIndexByte(resp.Request.URL.Path, '/'); i >= 0 && !strings.HasPrefix(resp.Request.URL.Path, "/v1/rollouts/") {
			e.Key = resp.Request.URL.Path[i+1:] // the id that was asked for
		}
		return e
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		if resp.Header.Get("WWW-Authenticate") == "" {
			break // not for want of a key
		}
		return &config.Error{Pos: config.Pos{Key: APIKeyEnv}, Problem: p.Detail, Want: "a key with the scope api"}
	}
	return &CouldNotRun{Err: &Refusal{resp.StatusCode, p.Detail, resp.Header.Get("Retry-After")}}
}
