// Package wire is what the providers over HTTP share: a client that makes one attempt a call, a
// reader of server-sent events, the mapping of everything that goes wrong to a record.Failure, and
// a strict reader of the settings that such providers have in common.
//
// It knows no API. A provider package says where a request goes and how an answer is read: Client.Do
// sends the request, bounds it in time and size, and hands the answer over whole or event by event.
// A vendor's SDK gets the same behaviour through Client.RoundTripper, which makes a Failure of each
// answer other than 2xx before the SDK sees it. Text from outside passes through Clean, so that no
// credential reaches an error.
package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/redact"
)

const (
	// DefaultTimeout bounds one call, from sending to the last byte.
	DefaultTimeout = 5 * time.Minute
	// DefaultMaxBytes bounds an answer.
	DefaultMaxBytes = 16 << 20
	// checkTimeout bounds the question whether a server is there at all.
	checkTimeout = 10 * time.Second
	// maxErrorBody is how much of an error's body is read.
	maxErrorBody = 64 << 10
	// idlePerHost keeps a connection for every request in flight alive.
	idlePerHost = 512
	// ShownText is how much of a server's words an error repeats.
	ShownText = 300
)

// RetryHeader tells a server which try of a request this is, as OpenAI's and Anthropic's own clients do.
const RetryHeader = "X-Stainless-Retry-Count"

// Options are what a Client is made of.
type Options struct {
	// Base is the server's address, for messages and for Check.
	Base *url.URL
	// Header goes with every request. It must not change afterwards.
	Header http.Header
	// Secrets must not show anywhere.
	Secrets  []string
	Timeout  time.Duration // of one call; 0: DefaultTimeout
	MaxBytes int64         // of one answer; 0: DefaultMaxBytes
}

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	header    http.Header
	timeout   time.Duration
	maxBytes  int64
	transport *http.Transport
	redact    *redact.Redactor
	buffers   sync.Pool // *bytes.Buffer
}

// New returns a client.
func New(o Options) *Client {
	c := &Client{base: o.Base, header: o.Header, timeout: o.Timeout, maxBytes: o.MaxBytes, transport: newTransport()}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.maxBytes <= 0 {
		c.maxBytes = DefaultMaxBytes
	}
	if c.header == nil {
		c.header = http.Header{}
	}
	secrets := o.Secrets
	if pass, ok := o.Base.User.Password(); ok {
		secrets = append(secrets, pass)
	}
	for _, vs := range o.Base.Query() {
		secrets = append(secrets, vs...)
	}
	c.redact = redact.New(secrets...)
	return c
}

// ParseBase reads a base URL. The error does not repeat it, for it may hold a password.
func ParseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("want http://HOST or https://HOST, with the path up to and without the endpoint's own")
	}
	u.Fragment = ""
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

// Shown is an address without what may be secret in it.
func Shown(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return shown.String()
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          idlePerHost * 2,
		MaxIdleConnsPerHost:   idlePerHost,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// An answer counts against the size limit as it is on the wire; a small compressed one
		// could otherwise become a huge one.
		DisableCompression: true,
	}
}

// Header returns the headers that go with every request.
func (c *Client) Header() http.Header { return c.header }

// Timeout is the time limit of one call.
func (c *Client) Timeout() time.Duration { return c.timeout }

// Clean returns text from outside without secrets, shortened to n bytes.
func (c *Client) Clean(s string, n int) string { return config.Clip(c.redact.String(s), n) }

// Close closes idle connections.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Call is one request with how its answer is read.
type Call struct {
	URL    *url.URL
	Method string      // empty: POST
	Header http.Header // nil: the client's
	Body   []byte
	// Attempt is the number of this try, from 0.
	Attempt int
	// Whole reads an answer that came in one piece. The bytes are valid during the call only.
	Whole func(body []byte) *record.Failure
	// Stream reads an answer of server-sent events; nil leaves them to Whole.
	Stream Sink
	// OK says which statuses are answers; nil means 2xx.
	OK func(status int) bool
	// Got is told of the status and headers of an answer before it is read; may be nil.
	Got func(status int, h http.Header)
}

// Do makes one attempt. It returns how long the answer took, to its last byte.
func (c *Client) Do(ctx context.Context, call Call) (latency time.Duration, fail *record.Failure) {
	if f := provider.Interrupted(ctx); f != nil {
		return 0, f
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	start := time.Now()
	resp, err := c.transport.RoundTrip(c.request(ctx, &call))
	if err != nil {
		return 0, c.TransportFailure(ctx, err, record.Connection)
	}
	defer func() { _ = resp.Body.Close() }() // reading is over; nothing depends on it
	ok := resp.StatusCode >= 200 && resp.StatusCode <= 299
	if call.OK != nil {
		ok = call.OK(resp.StatusCode)
	}
	if !ok {
		return 0, c.StatusFailure(ctx, resp)
	}
	if call.Got != nil {
		call.Got(resp.StatusCode, resp.Header)
	}
	if call.Stream != nil && mediaType(resp.Header) == "text/event-stream" {
		latency, fail = c.ReadStream(ctx, cancel, resp.Body, start, call.Stream)
	} else if fail = c.readWhole(ctx, resp, call.Whole); fail == nil {
		latency = time.Since(start)
	}
	if fail != nil {
		fail.Status = resp.StatusCode
		return 0, fail
	}
	return latency, nil
}

// request makes the HTTP request. Header and URL are shared by all calls, for a transport only
// reads them; the one header of its own makes a copy necessary on a retry alone.
func (c *Client) request(ctx context.Context, call *Call) *http.Request {
	h := call.Header
	if h == nil {
		h = c.header
	}
	if call.Attempt > 0 && h.Get(RetryHeader) != "" {
		h = h.Clone()
		h.Set(RetryHeader, strconv.Itoa(call.Attempt))
	}
	method := call.Method
	if method == "" {
		method = http.MethodPost
	}
	body := call.Body
	req := &http.Request{
		Method: method, URL: call.URL, Host: call.URL.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if body != nil {
		req.ContentLength = int64(len(body))
		req.Body = io.NopCloser(bytes.NewReader(body))
		// With it the transport can repeat a request that a dying idle connection never carried.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	return req.WithContext(ctx)
}

func mediaType(h http.Header) string {
	ct := h.Get("Content-Type")
	if ct == "application/json" { // nearly always; parsing it costs more than all the rest here
		return ct
	}
	mt, _, err := mime.ParseMediaType(ct)
	if err != nil {
		return ct
	}
	return mt
}

// readWhole reads an answer that is one document.
func (c *Client) readWhole(ctx context.Context, resp *http.Response, read func([]byte) *record.Failure) *record.Failure {
	buf, _ := c.buffers.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	buf.Reset()
	defer c.buffers.Put(buf)
	n, err := buf.ReadFrom(io.LimitReader(resp.Body, c.maxBytes+1))
	if err != nil {
		return c.TransportFailure(ctx, err, record.Cut)
	}
	if n > c.maxBytes {
		return tooLarge(c.maxBytes)
	}
	fail := read(buf.Bytes())
	if fail != nil && fail.Kind == record.Malformed {
		fail.Message += fmt.Sprintf(" (content type %q): %s", c.Clean(resp.Header.Get("Content-Type"), 60), c.Excerpt(buf.Bytes()))
	}
	return fail
}

func tooLarge(limit int64) *record.Failure {
	return &record.Failure{Kind: record.TooLarge, Message: fmt.Sprintf("the answer is larger than max_bytes (%d)", limit)}
}

// Check asks with a GET of u whether the server is there and takes the key. Servers answer such
// questions with 404 or worse, and some guard them more than the model itself, so only a refused
// key is certain.
func (c *Client) Check(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: c.header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return c.TransportFailure(ctx, err, record.Connection)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusUnauthorized {
		return c.StatusFailure(ctx, resp)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody) // so that the connection can be used again
	return nil
}

// Cost is a price per token in US dollars for both directions.
type Cost struct{ Input, Output *float64 }

// Of returns the price of a call when the user has given one, else nil.
func (c Cost) Of(u record.Usage) (cost *float64, given bool) {
	if c.Input == nil && c.Output == nil {
		return nil, false
	}
	var price provider.Price
	if c.Input != nil {
		price.Input = *c.Input * 1e6
	}
	if c.Output != nil {
		price.Output = *c.Output * 1e6
	}
	return price.Cost(u), true
}
