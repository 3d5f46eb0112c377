package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
)

// RoundTripper is the client's transport for a vendor's SDK. An answer other than 2xx, a connection
// that fails: each is a *record.Failure as the error of the round trip, which SDKs wrap and Failed
// finds again. Redirects are failures too. An answer that is cut off or too large ends there, and
// Exchange.Failure says so. Requests must have a context from Watch.
func (c *Client) RoundTripper() http.RoundTripper { return roundTripper{c} }

type roundTripper struct{ c *Client }

func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.c.transport.RoundTrip(req)
	if err != nil {
		return nil, t.c.TransportFailure(req.Context(), err, record.Connection)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer func() { _ = resp.Body.Close() }() // its words are in the failure
		return nil, t.c.StatusFailure(req.Context(), resp)
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, c: t.c, ctx: req.Context(), left: t.c.maxBytes}
	note(req.Context(), resp, resp.Body.(*boundedBody))
	return resp, nil
}

// boundedBody reads an answer within its size limit.
type boundedBody struct {
	io.ReadCloser
	c    *Client
	ctx  context.Context
	left int64

	mu   sync.Mutex
	fail *record.Failure
	seen []byte // the start of the answer, for messages
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := 4*ShownText - len(b.seen); room > 0 {
		b.seen = append(b.seen, p[:min(n, room)]...)
	}
	if b.left -= int64(n); b.left < 0 && b.fail == nil {
		b.fail = tooLarge(b.c.maxBytes)
	}
	if err != nil && err != io.EOF && b.fail == nil {
		b.fail = b.c.TransportFailure(b.ctx, err, record.Cut)
	}
	if b.fail != nil {
		// To the SDK the answer just ends: some write read errors to the log of the process.
		return 0, io.EOF
	}
	return n, err
}

// Exchange is what became of the one request that an SDK made with a context from Watch.
type Exchange struct {
	mu     sync.Mutex
	status int
	kind   string
	body   *boundedBody
}

type exchangeKey struct{}

// Watch returns a context whose request is remembered in the Exchange. It carries nothing else: an
// SDK gives a caller no other way to learn what it was sent.
func Watch(ctx context.Context) (context.Context, *Exchange) {
	x := &Exchange{}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

func note(ctx context.Context, resp *http.Response, body *boundedBody) {
	x, ok := ctx.Value(exchangeKey{}).(*Exchange)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status, x.kind, x.body = resp.StatusCode, resp.Header.Get("Content-Type"), body
}

// Failure is what went wrong while the answer was read, nil when nothing did. It must be asked for also
// when the SDK is content.
func (x *Exchange) Failure() *record.Failure {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.body == nil {
		return nil
	}
	x.body.mu.Lock()
	defer x.body.mu.Unlock()
	return x.body.fail
}

// Streams says whether the answer is a stream of events.
func (x *Exchange) Streams() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.HasPrefix(x.kind, "text/event-stream")
}

// Failed turns an SDK's error into a failure: the one that the transport made, the end of the
// context, or else an answer that the SDK could not read.
func (c *Client) Failed(ctx context.Context, x *Exchange, err error) *record.Failure {
	if f, ok := errors.AsType[*record.Failure](err); ok {
		return f
	}
	if f := provider.Interrupted(ctx); f != nil {
		if f.Kind == record.Timeout {
			f.Message = c.HostPort() + " gave no complete answer in time"
		}
		return f
	}
	if f := x.Failure(); f != nil {
		return f
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.body == nil { // the SDK refused the request by itself
		return &record.Failure{Kind: record.BadRequest, Message: c.Clean(OneLine(err.Error()), ShownText)}
	}
	x.body.mu.Lock()
	defer x.body.mu.Unlock()
	return &record.Failure{
		Kind: record.Malformed, Status: x.status,
		Message: "the answer cannot be read: " + c.Clean(OneLine(err.Error()), 100) + ` (content type "` + c.Clean(x.kind, 60) + `"): ` + c.Excerpt(x.body.seen),
	}
}
