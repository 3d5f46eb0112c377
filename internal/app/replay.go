package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/golden"
	"github.com/telltale-llm/telltale/internal/privacy"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/redact"
	"github.com/telltale-llm/telltale/internal/wiretap"
)

// ReplayOptions say what is sent again, and to whom.
type ReplayOptions struct {
	Exchange record.Exchange
	Snapshot record.Snapshot // its zero value when it is not there
	Server   *config.Server
	Repeats  int
	Timeout  time.Duration
	// Progress is called after each answer; may be nil.
	Progress func(done int)
}

// Replay is what the same request gave now, beside what it gave then.
type Replay struct {
	ID       string  `json:"id"`
	Upstream string  `json:"upstream"`
	Then     Replied `json:"then"`
	// Now are the answers in the order in which they came. Agree counts those that are the same as then, byte for byte;
	// Alike those that are once case, space and punctuation are left out.
	Now   []Replied `json:"now"`
	Agree int       `json:"agree"`
	Alike int       `json:"alike"`
	// Apart says how the answers of now agree with one another: the size of the largest group of equal ones.
	Largest int `json:"largest_group"`
	// Notes say what keeps the request from being the one of then.
	Notes []string `json:"notes,omitempty"`
}

// Replied is one answer.
type Replied struct {
	Output       string            `json:"output"`
	ToolCalls    []record.ToolCall `json:"tool_calls,omitempty"`
	FinishReason string            `json:"finish_reason,omitempty"`
	Served       string            `json:"served,omitempty"`
	Fingerprint  string            `json:"fingerprint,omitempty"`
	Usage        *record.Usage     `json:"usage,omitempty"`
	Latency      *float64          `json:"latency,omitempty"`
	Error        string            `json:"error,omitempty"`
}

func replied(x *record.Exchange) Replied {
	out := Replied{FinishReason: x.FinishReason, Served: x.Served, Fingerprint: x.Fingerprint, Usage: x.Usage, Latency: x.Latency, Error: x.Error}
	if out.Error == "" {
		out.Error = string(x.ErrorKind)
	}
	if x.Content != nil {
		out.Output, out.ToolCalls = x.Content.Output, x.Content.ToolCalls
	}
	return out
}

// said is what two answers are compared by.
func (r *Replied) said() string {
	text := r.Output
	for _, c := range r.ToolCalls {
		text += "\x00" + c.Name + "\x00" + c.Arguments
	}
	return text
}

// RunReplay sends the request of an exchange again, with the model and parameters of its snapshot and with its seed, straight
// to the upstream that answered it, and compares the answers. It is not streamed and not captured.
func RunReplay(ctx context.Context, o ReplayOptions) (*Replay, error) {
	x := &o.Exchange
	if x.Content == nil || len(x.Content.Body) == 0 {
		return nil, &config.Error{Pos: config.Pos{Key: x.ID}, Problem: "the request of this exchange was not kept whole", Want: "an exchange whose content was captured; capture.content and capture.max_bytes say which are"}
	}
	route, up, err := replayUpstream(o.Server, x)
	if err != nil {
		return nil, err
	}
	redactor, err := replayRedactor(o.Server)
	if err != nil {
		return nil, err
	}
	body, notes, err := replayBody(x, &o.Snapshot, redactor)
	if err != nil {
		return nil, err
	}
	out := &Replay{ID: x.ID, Upstream: up.Name, Then: replied(x), Notes: notes}
	if route.PassKey {
		out.Notes = append(out.Notes, "the route passes the client's key, which is not kept: the request goes without one")
	}
	client := &http.Client{Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	secrets := redact.New(o.Server.Secrets...)
	for i := range o.Repeats {
		now := replayOnce(ctx, client, up, x, body, secrets)
		// The answer of then was redacted, so that of now is compared, and shown, as it would have been kept.
		if err := redactor.Exchange(ctx, now); err != nil {
			return nil, err
		}
		out.Now = append(out.Now, replied(now))
		if o.Progress != nil {
			o.Progress(i + 1)
		}
	}
	out.count()
	return out, nil
}

func (r *Replay) count() {
	then := r.Then.said()
	groups := map[string]int{}
	for i := range r.Now {
		now := &r.Now[i]
		if now.Error != "" {
			continue
		}
		said := now.said()
		groups[said]++
		r.Largest = max(r.Largest, groups[said])
		if said == then {
			r.Agree++
		}
		if golden.Normalize(said) == golden.Normalize(then) {
			r.Alike++
		}
	}
}

func replayUpstream(s *config.Server, x *record.Exchange) (*config.Route, *config.Upstream, error) {
	i := slices.IndexFunc(s.Routes, func(r config.Route) bool { return r.Name == x.Route })
	if i < 0 {
		return nil, nil, &config.Error{Pos: config.Pos{File: s.File, Key: "routes"}, Value: x.Route, Problem: "the exchange's route is not there any more", Want: "a configuration that has it"}
	}
	route := &s.Routes[i]
	ups := upstreamsOf(route)
	for _, variant := range append([]string{x.Variant}, slices.Sorted(maps.Keys(ups))...) { // a shadow's may be any
		if j := slices.IndexFunc(ups[variant], func(u config.Upstream) bool { return u.Name == x.Upstream }); j >= 0 {
			return route, &ups[variant][j], nil
		}
	}
	return nil, nil, &config.Error{Pos: route.Pos.At("upstreams"), Value: x.Upstream, Problem: "the upstream that answered is not there any more", Want: "a configuration that has it"}
}

// replayRedactor redacts as the server does, with the key that the server made for itself where that can be read.
func replayRedactor(s *config.Server) (*privacy.Redactor, error) {
	p := s.Privacy
	if len(p.Key) == 0 {
		if key, err := os.ReadFile(filepath.Join(s.Data, privacyKeyFile)); err == nil {
			p.Key, p.KeyID = key, ownKeyID
		}
	}
	return privacy.New(p, privacy.Options{})
}

// replayBody is the request as it was kept, with what the snapshot says laid over it.
func replayBody(x *record.Exchange, snap *record.Snapshot, redactor *privacy.Redactor) (body []byte, notes []string, err error) {
	dec := json.NewDecoder(bytes.NewReader(x.Content.Body))
	dec.UseNumber()
	m := map[string]any{}
	if err := dec.Decode(&m); err != nil {
		return nil, nil, &config.Error{Pos: config.Pos{Key: x.ID}, Problem: "the request that was kept is not JSON", Err: err}
	}
	if snap.ID == "" {
		notes = append(notes, "the store has no snapshot "+x.Snapshot+" of this exchange, as when it was imported: model and parameters are those of the request itself, not what the route made of them")
	}
	for name, v := range snap.Params {
		if name != snapshotGuard { // not a parameter: see wiretap.Snapshot
			m[name] = v
		}
	}
	if snap.Model != "" && m["model"] != nil {
		m["model"] = snap.Model
	}
	delete(m, "stream")
	delete(m, "stream_options")
	if x.Seed != nil {
		m["seed"] = *x.Seed
	} else {
		notes = append(notes, "the request had no seed: answers may differ by chance")
	}
	if n := redactor.Marks(string(x.Content.Body)); n > 0 {
		notes = append(notes, fmt.Sprintf("%d values of the request were redacted when it was kept, so that it is not the one of then", n))
	} else if len(x.Found) > 0 && redactor.Removes() {
		notes = append(notes, "values were removed when it was kept, so that the request may not be the one of then")
	}
	if note := replayGuard(x, snap); note != "" {
		notes = append(notes, note)
	}
	if len(x.Cut) > 0 {
		notes = append(notes, fmt.Sprintf("what was kept is cut: %v", x.Cut))
	}
	body, err = json.Marshal(m)
	return body, notes, err
}

// snapshotGuard is the key of a snapshot's parameters that has the guard's id.
const snapshotGuard = "guard"

// replayGuard says what the guard of then means for an answer of now; "" where there was none.
func replayGuard(x *record.Exchange, snap *record.Snapshot) string {
	id, _ := snap.Params[snapshotGuard].(string)
	name, did := id, ""
	if g := x.Guard; g != nil {
		name = fmt.Sprintf("%s (%s)", g.Name, g.ID)
		if g.Outcome != "passed" {
			did = ", and the answer of then was " + g.Outcome + " by it"
		}
	} else if _, own := x.Params[snapshotGuard]; own || !record.IsSnapshotID(id) {
		return "" // a parameter of the request's
	}
	return "the guard " + name + " is not applied to the answers of now, which are the model's own" + did + "; what it changed in the request is in what was kept"
}

const mostReplayed = 32 << 20 // bytes of an answer

func replayOnce(ctx context.Context, client *http.Client, up *config.Upstream, x *record.Exchange, body []byte, secrets *redact.Redactor) *record.Exchange {
	failed := func(err error) *record.Exchange {
		return &record.Exchange{Route: x.Route, Error: secrets.String(err.Error())}
	}
	path := x.Endpoint
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, up.URL+path, bytes.NewReader(body))
	if err != nil {
		return failed(err)
	}
	req.Header.Set("Content-Type", "application/json")
	anthropic := x.API == record.APIMessages || x.API == record.APICountTokens
	if anthropic {
		req.Header.Set("anthropic-version", "2023-06-01")
	}
	if up.Key != "" {
		if up.Format == "anthropic" || up.Format == "" && anthropic {
			req.Header.Set("x-api-key", up.Key)
		} else {
			req.Header.Set("Authorization", "Bearer "+up.Key)
		}
	}
	for name, value := range up.Headers {
		req.Header.Set(name, value)
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return failed(err)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, mostReplayed+1))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return failed(err)
	}
	took := time.Since(start).Seconds()
	now := record.Exchange{Route: x.Route, Latency: &took}
	wiretap.Read(&now, &wiretap.Request{Method: http.MethodPost, Path: path, Headers: req.Header, Body: body},
		&wiretap.Answer{Status: resp.StatusCode, Headers: resp.Header, Body: b[:min(len(b), mostReplayed)], Cut: len(b) > mostReplayed}, wiretap.Options{MaxContent: mostReplayed})
	now.Error = secrets.String(now.Error)
	return &now
}
