package sim

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ServerOptions says how the HTTP handler behaves.
type ServerOptions struct {
	// APIKey, when set, is required as a bearer token or as x-api-key; others get 401.
	APIKey string
	// MaxBody is the longest request body in bytes, above which the answer is 413; 0 means 16 MiB.
	MaxBody int64
}

const defaultMaxBody = 16 << 20

// Server speaks the wire formats of OpenAI and Anthropic for a Model. It is an http.Handler.
type Server struct {
	m       *Model
	o       ServerOptions
	key     [sha256.Size]byte
	started time.Time
	counts  counters
	buffers sync.Pool
}

// NewServer returns the handler. It starts no goroutine; a request ends when its context does.
func NewServer(m *Model, o ServerOptions) *Server {
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	s := &Server{m: m, o: o, started: time.Now(), key: sha256.Sum256([]byte(o.APIKey))}
	s.buffers.New = func() any { b := make([]byte, 0, 4096); return &b }
	return s
}

// call is one request on its way through the server.
type call struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	dialect dialect
	start   time.Time
	id      uint64
	body    []byte
}

type endpoint struct {
	method  string
	dialect dialect
	name    route
	serve   func(*call) *apiError
}

// endpoints are found with and without the leading /v1, for base URLs are given both ways.
var endpoints = map[string]endpoint{
	"/chat/completions":      {http.MethodPost, openAI, routeChat, (*call).chat},
	"/completions":           {http.MethodPost, openAI, routeCompletions, (*call).completions},
	"/responses":             {http.MethodPost, openAI, routeResponses, (*call).responses},
	"/embeddings":            {http.MethodPost, openAI, routeEmbeddings, (*call).embeddings},
	"/moderations":           {http.MethodPost, openAI, routeModerations, (*call).moderations},
	"/models":                {http.MethodGet, openAI, routeModels, (*call).models},
	"/messages":              {http.MethodPost, anthropic, routeMessages, (*call).messages},
	"/messages/count_tokens": {http.MethodPost, anthropic, routeCountTokens, (*call).countTokens},
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		w.Header()["Content-Type"] = plainType
		_, _ = io.WriteString(w, "ok\n")
		return
	case "/sim/stats":
		s.writeStats(w)
		return
	}
	c := call{s: s, w: w, r: r, start: time.Now()}
	path := strings.TrimPrefix(r.URL.Path, "/v1")
	e, found := endpoints[path]
	if strings.HasPrefix(path, "/messages") {
		c.dialect = anthropic
	}
	n := s.counts.begin(e.name)
	defer s.counts.inFlight.Add(-1)
	c.id = mix(mix(uint64(s.m.o.Seed), uint64(n)), uint64(forID))
	c.headers()
	if err := c.route(e, found, path); err != nil {
		c.writeError(err)
	}
}

func (c *call) route(e endpoint, found bool, path string) *apiError {
	model, one := strings.CutPrefix(path, "/models/")
	switch {
	case !c.authorized():
		return &apiError{status: http.StatusUnauthorized, code: "invalid_api_key", message: "Incorrect API key provided."}
	case one && c.r.Method == http.MethodGet:
		return c.model(model)
	case !found:
		return &apiError{status: http.StatusNotFound, code: "unknown_url", message: "Unknown request URL: " + c.r.Method + " " + c.r.URL.Path}
	case c.r.Method != e.method:
		c.w.Header().Set("Allow", e.method)
		return &apiError{status: http.StatusMethodNotAllowed, message: "Not allowed to " + c.r.Method + " on " + c.r.URL.Path + "; want " + e.method}
	}
	if e.method == http.MethodPost {
		buf := c.s.buffers.Get().(*[]byte)
		defer c.s.release(buf)
		if err := c.read(buf); err != nil {
			return err
		}
	}
	return e.serve(c)
}

// maxKept bounds the buffers that are kept for the next request.
const maxKept = 256 << 10

func (s *Server) release(b *[]byte) {
	if cap(*b) <= maxKept {
		*b = (*b)[:0]
		s.buffers.Put(b)
	}
}

// authorized compares hashes, so that the time it takes says nothing about the key.
func (c *call) authorized() bool {
	if c.s.o.APIKey == "" {
		return true
	}
	given := c.r.Header.Get("X-Api-Key")
	if bearer, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer "); ok {
		given = bearer
	}
	h := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(h[:], c.s.key[:]) == 1
}

// read reads the body into a buffer.
func (c *call) read(buf *[]byte) *apiError {
	if c.r.ContentLength > c.s.o.MaxBody {
		return c.tooLarge()
	}
	b := (*buf)[:0]
	if n := int(c.r.ContentLength); n >= cap(b) {
		b = make([]byte, 0, n+1)
	}
	body := http.MaxBytesReader(c.w, c.r.Body, c.s.o.MaxBody)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			*buf, c.body = b, b
			return nil
		}
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return c.tooLarge()
			}
			return badRequest("", "The request body could not be read.")
		}
	}
}

func (c *call) tooLarge() *apiError {
	return &apiError{status: http.StatusRequestEntityTooLarge, code: "request_too_large", message: "The request body is above the limit of " + strconv.FormatInt(c.s.o.MaxBody, 10) + " bytes."}
}

// Header values that never change are shared between answers.
var (
	jsonType   = []string{"application/json"}
	plainType  = []string{"text/plain; charset=utf-8"}
	streamType = []string{"text/event-stream; charset=utf-8"}
	noCache    = []string{"no-cache"}
	limitReqs  = []string{"1000000"}
	leftReqs   = []string{"999999"}
	limitToks  = []string{"1000000000"}
	leftToks   = []string{"999999999"}
	resetSoon  = []string{"1ms"}
	version1   = []string{"2020-10-01"}
	zeroMillis = []string{"0"}
)

// headers sets what every answer carries. The limits are there to be read; nothing enforces them.
func (c *call) headers() {
	h := c.w.Header()
	id := c.requestID()
	if c.dialect == anthropic {
		h["Request-Id"] = []string{id}
		h["Anthropic-Ratelimit-Requests-Limit"] = limitReqs
		h["Anthropic-Ratelimit-Requests-Remaining"] = leftReqs
		h["Anthropic-Ratelimit-Tokens-Limit"] = limitToks
		h["Anthropic-Ratelimit-Tokens-Remaining"] = leftToks
		return
	}
	h["X-Request-Id"] = []string{id}
	h["Openai-Version"] = version1
	h["X-Ratelimit-Limit-Requests"] = limitReqs
	h["X-Ratelimit-Remaining-Requests"] = leftReqs
	h["X-Ratelimit-Limit-Tokens"] = limitToks
	h["X-Ratelimit-Remaining-Tokens"] = leftToks
	h["X-Ratelimit-Reset-Requests"] = resetSoon
}

func (c *call) requestID() string {
	return string(appendHex(append(make([]byte, 0, 20), "req_"...), c.id))
}

// processed sets the time that the answer took.
func (c *call) processed() {
	if c.dialect != openAI {
		return
	}
	if ms := time.Since(c.start).Milliseconds(); ms > 0 {
		c.w.Header()["Openai-Processing-Ms"] = []string{strconv.FormatInt(ms, 10)}
		return
	}
	c.w.Header()["Openai-Processing-Ms"] = zeroMillis
}

// writeError sends an error in the API's own shape.
func (c *call) writeError(e *apiError) {
	c.s.counts.failed(e.status)
	e.headers(c.w.Header())
	c.write(e.status, e.body(make([]byte, 0, 512), c.dialect, c.requestID()))
}

// write sends a whole body.
func (c *call) write(status int, body []byte) {
	c.processed()
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.w.WriteHeader(status)
	if _, err := c.w.Write(body); err != nil {
		c.s.counts.canceled.Add(1)
	}
}
