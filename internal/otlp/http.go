package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

// Handler serves OTLP over HTTP, Langfuse's paths of it, and /v1/exchanges.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, prefix := range []string{"/v1", "/api/public/otel/v1"} {
		name := "otlp"
		if prefix != "/v1" {
			name = "langfuse"
		}
		mux.HandleFunc("POST "+prefix+"/traces", r.otlp(r.traceExport(name)))
		mux.HandleFunc("POST "+prefix+"/logs", r.otlp(r.logExport))
	}
	mux.HandleFunc("POST /v1/exchanges", r.exchanges)
	mux.HandleFunc("POST /v1/exchanges/{id}/scores", r.score)
	return mux
}

// export decodes a body, takes it in, and returns the encoded response.
type export func(ctx context.Context, body []byte, isJSON bool) ([]byte, error)

func (r *Receiver) traceExport(name string) export {
	return func(ctx context.Context, body []byte, isJSON bool) ([]byte, error) {
		in := ptraceotlp.NewExportRequest()
		if err := decodeInto(in, body, isJSON); err != nil {
			return nil, malformed{err}
		}
		p, err := r.traces(ctx, in.Traces(), name)
		if err != nil {
			return nil, err
		}
		if p.rejected == 0 {
			return success(isJSON), nil
		}
		out := ptraceotlp.NewExportResponse()
		out.PartialSuccess().SetRejectedSpans(p.rejected)
		out.PartialSuccess().SetErrorMessage(p.message)
		if isJSON {
			return out.MarshalJSON()
		}
		return out.MarshalProto()
	}
}

func (r *Receiver) logExport(ctx context.Context, body []byte, isJSON bool) ([]byte, error) {
	in := plogotlp.NewExportRequest()
	if err := decodeInto(in, body, isJSON); err != nil {
		return nil, malformed{err}
	}
	if _, err := r.logs(ctx, in.Logs()); err != nil {
		return nil, err
	}
	return success(isJSON), nil
}

// success is the response to a request that was taken whole: one without partial success, which the protocol wants
// left out then.
func success(isJSON bool) []byte {
	if isJSON {
		return []byte("{}")
	}
	return nil
}

func decodeInto(in interface {
	UnmarshalJSON([]byte) error
	UnmarshalProto([]byte) error
}, body []byte, isJSON bool) error {
	if isJSON {
		if !json.Valid(body) {
			return errors.New("not JSON")
		}
		return in.UnmarshalJSON(body)
	}
	return in.UnmarshalProto(body)
}

// otlp serves one of OTLP's endpoints.
func (r *Receiver) otlp(take export) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		r.n.requests.Add(1)
		media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
		isJSON := err == nil && media == jsonType
		if err != nil || media != jsonType && media != protobufType {
			r.n.malformed.Add(1)
			refuse(w, isJSON, http.StatusUnsupportedMediaType, codes.InvalidArgument, "want Content-Type "+protobufType+" or "+jsonType, 0)
			return
		}
		if !r.authorized(w, req, isJSON) {
			return
		}
		body, leave, ok := r.body(w, req, isJSON)
		if !ok {
			return
		}
		defer leave()
		var out []byte
		err = guarded(func() (err error) {
			out, err = take(req.Context(), body, isJSON)
			return err
		})
		if err != nil {
			r.failed(w, isJSON, err)
			return
		}
		answer(w, isJSON, http.StatusOK, out)
	}
}

func (r *Receiver) authorized(w http.ResponseWriter, req *http.Request, isJSON bool) bool {
	if r.o.Auth == nil {
		return true
	}
	if err := r.o.Auth(req); err != nil {
		r.n.unauthorized.Add(1)
		w.Header().Add("WWW-Authenticate", `Bearer realm="telltale"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="telltale"`)
		refuse(w, isJSON, http.StatusUnauthorized, codes.Unauthenticated, "not authorized", 0)
		return false
	}
	return true
}

var errTooLarge = errors.New("too large")

// readTime is how long a client may take to send its request.
const readTime = time.Minute

// body reads a request's body, decoded. The caller calls leave when it is done with it, for it is used again.
func (r *Receiver) body(w http.ResponseWriter, req *http.Request, isJSON bool) (data []byte, leave func(), ok bool) {
	if req.ContentLength > r.o.MaxBytes {
		r.tooLarge(w, isJSON)
		return nil, nil, false
	}
	encoding := strings.ToLower(req.Header.Get("Content-Encoding"))
	if encoding != "" && encoding != "identity" && encoding != "gzip" {
		r.n.malformed.Add(1)
		refuse(w, isJSON, http.StatusUnsupportedMediaType, codes.InvalidArgument, "want Content-Encoding gzip or none", 0)
		return nil, nil, false
	}
	// What is claimed counts at once, so that slow clients do not add up. Most telemetry shrinks to an eighth.
	claim := req.ContentLength
	switch {
	case claim < 0:
		claim = r.o.MaxBytes
	case encoding == "gzip":
		claim = min(claim*8, r.o.MaxBytes)
	}
	if err := r.enter(claim); err != nil {
		r.failed(w, isJSON, err)
		return nil, nil, false
	}
	buf := buffers.Get().(*bytes.Buffer)
	leave = func() {
		if buf.Cap() <= mostBuffered {
			buf.Reset()
			buffers.Put(buf)
		}
		r.leave(claim)
	}
	// Not every writer can; the server's own limits hold there.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(readTime))
	buf.Grow(int(min(claim, mostBuffered/2)))
	err := readBody(buf, http.MaxBytesReader(w, req.Body, r.o.MaxBytes), encoding == "gzip", r.o.MaxBytes)
	_ = control.SetReadDeadline(time.Time{})
	if err == nil {
		return buf.Bytes(), leave, true
	}
	leave()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, errTooLarge) {
		r.tooLarge(w, isJSON)
		return nil, nil, false
	}
	r.n.malformed.Add(1)
	refuse(w, isJSON, http.StatusBadRequest, codes.InvalidArgument, "the body cannot be read: "+err.Error(), 0)
	return nil, nil, false
}

func (r *Receiver) tooLarge(w http.ResponseWriter, isJSON bool) {
	r.n.tooLarge.Add(1)
	refuse(w, isJSON, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, "want at most "+strconv.FormatInt(r.o.MaxBytes, 10)+" bytes, also after decompression", 0)
}

// Buffers and decoders of bodies are used again, for a body is as large as all that is made of it. What is larger than
// mostBuffered is not kept.
var (
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	zippers = sync.Pool{New: func() any { return new(gzip.Reader) }}
)

const mostBuffered = 4 << 20

func readBody(to *bytes.Buffer, in io.Reader, zipped bool, limit int64) error {
	if zipped {
		z := zippers.Get().(*gzip.Reader)
		defer zippers.Put(z)
		if err := z.Reset(in); err != nil {
			return err
		}
		in = z
	}
	n, err := to.ReadFrom(io.LimitReader(in, limit+1))
	if n > limit {
		return errTooLarge
	}
	return err
}

// failed answers an error: the client's own mistakes with 400, everything else such that it comes again.
func (r *Receiver) failed(w http.ResponseWriter, isJSON bool, err error) {
	if m, ok := errors.AsType[malformed](err); ok {
		r.n.malformed.Add(1)
		refuse(w, isJSON, http.StatusBadRequest, codes.InvalidArgument, "cannot be decoded: "+clip(m.Error(), 200), 0)
		return
	}
	r.n.busy.Add(1)
	b := busy(err)
	status, code := http.StatusTooManyRequests, codes.ResourceExhausted
	if b.Down {
		status, code = http.StatusServiceUnavailable, codes.Unavailable
	}
	refuse(w, isJSON, status, code, b.Error(), b.RetryAfter)
}

// defaultRetry is how long a client is asked to wait where the sink does not say.
const defaultRetry = 5 * time.Second

// busy makes of any error of the sink what the client is told; its text is shown only where it is meant to be.
func busy(err error) Busy {
	b := Busy{Down: true, Reason: "records cannot be stored at present"}
	if told, ok := errors.AsType[*Busy](err); ok {
		b = *told
	}
	if b.RetryAfter <= 0 {
		b.RetryAfter = defaultRetry
	}
	return b
}

// refuse answers with a google.rpc.Status, as OTLP has it.
func refuse(w http.ResponseWriter, isJSON bool, status int, code codes.Code, message string, retry time.Duration) {
	s := &spb.Status{Code: int32(code), Message: strings.ToValidUTF8(message, "\ufffd")} //nolint:gosec // codes are small
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
		if d, err := anypb.New(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)}); err == nil {
			s.Details = append(s.Details, d)
		}
	}
	var out []byte
	var err error
	if isJSON {
		out, err = json.Marshal(map[string]any{"code": s.Code, "message": s.Message})
	} else {
		out, err = proto.Marshal(s)
	}
	if err != nil {
		out = nil
	}
	answer(w, isJSON, status, out)
}

func answer(w http.ResponseWriter, isJSON bool, status int, body []byte) {
	w.Header().Set("Content-Type", protobufType)
	if isJSON {
		w.Header().Set("Content-Type", jsonType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone comes again
}
