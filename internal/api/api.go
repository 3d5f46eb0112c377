// Package api is telltale's HTTP API: exchanges, snapshots, numbers by interval, deletion of a person's content, and
// the state of the server, with an OpenAPI 3.1 document that is made from the Go types.
//
// It keeps nothing and decides nothing: it turns requests into queries of the store and answers into JSON. Requests from
// web pages of other origins are refused, as is every host name that is not this machine's where the server listens on
// loopback alone. Errors are problem documents (RFC 9457).
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// Options are what the API is made of. Store is required.
type Options struct {
	// Store returns the store, or why there is none at the moment.
	Store func() (store.Store, error)
	// Status returns the state of the server.
	Status func() Status
	// Forget removes the content of a person, named as clients name them.
	Forget func(ctx context.Context, user string) (store.Deleted, error)
	// Tokens returns the names under which a person or a session may be stored that clients name so; nil knows no others.
	Tokens func(name string) []string
	// Ingest takes exchanges from elsewhere: OTLP, Langfuse's path for it, and JSON. Nil takes none.
	Ingest http.Handler
	// Rollouts returns the rollouts, or why there are none at the moment; nil for none.
	Rollouts func() (Rollouts, error)
	// Metrics answers GET /metrics; nil for none.
	Metrics http.Handler
	// Auth says why a request may not be answered; nil lets every request through. The error is Forbidden where another key
	// would do.
	Auth func(*http.Request) error
	// AnyHost answers requests whatever host they name: for servers that other machines are meant to reach.
	AnyHost bool
	Version string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Status is the state of the server.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Config  string    `json:"config" doc:"Hash of the configuration without secrets"`
	Roles   []string  `json:"roles" doc:"What this process does: gateway, ingest, worker, control, api"`
	// ReloadError is why the last change of the configuration was not taken; the one before is still in force.
	ReloadError string         `json:"reload_error,omitempty"`
	Capture     CaptureStatus  `json:"capture"`
	Bus         PartStatus     `json:"bus"`
	Store       PartStatus     `json:"store"`
	Routes      []RouteStatus  `json:"routes"`
	Ingest      map[string]int `json:"ingest,omitempty" doc:"What the OTLP and JSON endpoints took and refused, by reason"`
	// Shadow is of this process' gateway.
	Shadow map[string]int64 `json:"shadow,omitempty" doc:"Copies of requests that were sent to shadows, and those that were not, by reason"`
}

// CaptureStatus counts the exchanges of the gateway since the start: what it saw, and what became of it.
type CaptureStatus struct {
	Seen     int64            `json:"seen" doc:"Requests that the gateway answered"`
	Captured int64            `json:"captured" doc:"Of these, handed to the bus"`
	Stored   int64            `json:"stored" doc:"Of these, in the store"`
	Dropped  map[string]int64 `json:"dropped" doc:"Those that were not captured, by reason"`
}

// PartStatus is the state of the bus or the store.
type PartStatus struct {
	Kind    string           `json:"kind" doc:"embedded, nats, duckdb or clickhouse; none where the process' roles need none"`
	OK      bool             `json:"ok"`
	Error   string           `json:"error,omitempty"`
	Numbers map[string]int64 `json:"numbers,omitempty"`
}

// RouteStatus is a route with its upstreams.
type RouteStatus struct {
	Name      string           `json:"name"`
	Path      string           `json:"path,omitempty"`
	Models    []string         `json:"models,omitempty"`
	Numbers   map[string]int64 `json:"numbers,omitempty"`
	Upstreams []UpstreamStatus `json:"upstreams"`
}

// UpstreamStatus is an upstream without its key.
type UpstreamStatus struct {
	Name    string           `json:"name"`
	URL     string           `json:"url"`
	Healthy bool             `json:"healthy"`
	Numbers map[string]int64 `json:"numbers,omitempty"`
}

// Forbidden is why a key that is valid may not ask.
type Forbidden string

func (f Forbidden) Error() string { return string(f) }

type server struct{ o Options }

// New returns the API's handler. It answers below /v1, /metrics, /openapi.json and /openapi.yaml.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	mux := http.NewServeMux()
	a := humago.New(mux, description(o.Version))
	register(a, &server{o})
	registerRollouts(a, &server{o})
	if o.Ingest != nil {
		for _, path := range []string{"POST /v1/traces", "POST /v1/logs", "POST /v1/exchanges", "POST /v1/exchanges/{id}/scores", "/api/public/otel/"} {
			mux.Handle(path, o.Ingest)
		}
	}
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	return o.guard(mux)
}

func description(version string) huma.Config {
	c := huma.DefaultConfig("telltale", version)
	c.Info.Description = "Exchanges of language models, as telltale serve saw them. Times are RFC 3339 in UTC, durations are seconds, costs are US dollars."
	c.DocsPath, c.SchemasPath = "", ""
	c.CreateHooks = nil // no links to schemas in every answer
	c.RejectUnknownQueryParameters = true
	c.Components.Schemas.RegisterTypeAlias(typeOf[record.Message](), typeOf[messageDoc]())
	return c
}

// guard refuses what a web page of another origin could send, and who has no key where one is needed.
func (o Options) guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, "the request comes from another site's page")
	}))
	return origins.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		switch {
		case !o.AnyHost && !loopback.Host(r.Host):
			problem(w, http.StatusForbidden, "this server answers to localhost only, and the request names another host")
			return
		case o.Auth != nil:
			if err := o.Auth(r); err != nil {
				if no, ok := errors.AsType[Forbidden](err); ok {
					h.Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
					problem(w, http.StatusForbidden, no.Error())
					return
				}
				h.Set("WWW-Authenticate", "Bearer")
				problem(w, http.StatusUnauthorized, err.Error())
				return
			}
		}
		// Half a query would be another question: without a filter that cannot be read, everything is found.
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			problem(w, http.StatusBadRequest, "the query cannot be read: "+err.Error())
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// failure turns an error into a problem document. What is not a caller's mistake says no more than it must.
func failure(err error) error {
	if bad, ok := errors.AsType[*store.QueryError](err); ok {
		if bad.Field == "to" { // as the store has it
			bad = &store.QueryError{Field: "until", Value: bad.Value, Want: "a time after since"}
		}
		return huma.Error422UnprocessableEntity("a value cannot be used", &huma.ErrorDetail{Location: "query." + bad.Field, Message: "want " + bad.Want, Value: bad.Value})
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("no record has this id")
	case errors.Is(err, errNoStore):
		return huma.Error503ServiceUnavailable(err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return huma.Error504GatewayTimeout("the store took too long")
	}
	return huma.Error500InternalServerError(err.Error())
}

var errNoStore = errors.New("the store is not available")

func (s *server) store() (store.Store, error) {
	st, err := s.o.Store()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoStore, err)
	}
	return st, nil
}
