package otlp

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// GRPCOptions are the options for a server that RegisterGRPC is called on: the size limit.
func (r *Receiver) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.MaxRecvMsgSize(int(r.o.MaxBytes)), grpc.MaxHeaderListSize(64 << 10)}
}

// RegisterGRPC adds the collector's trace and log services to a server.
func (r *Receiver) RegisterGRPC(s *grpc.Server) {
	ptraceotlp.RegisterGRPCServer(s, &traceServer{r: r})
	plogotlp.RegisterGRPCServer(s, &logServer{r: r})
}

type traceServer struct {
	ptraceotlp.UnimplementedGRPCServer
	r *Receiver
}

// Export takes in spans.
func (s *traceServer) Export(ctx context.Context, in ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	out := ptraceotlp.NewExportResponse()
	err := s.r.grpc(ctx, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", int64((&ptrace.ProtoMarshaler{}).TracesSize(in.Traces())), func() error {
		p, err := s.r.traces(ctx, in.Traces(), "otlp")
		if p.rejected > 0 {
			out.PartialSuccess().SetRejectedSpans(p.rejected)
			out.PartialSuccess().SetErrorMessage(p.message)
		}
		return err
	})
	return out, err
}

type logServer struct {
	plogotlp.UnimplementedGRPCServer
	r *Receiver
}

// Export takes in logs.
func (s *logServer) Export(ctx context.Context, in plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	err := s.r.grpc(ctx, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", int64((&plog.ProtoMarshaler{}).LogsSize(in.Logs())), func() error {
		_, err := s.r.logs(ctx, in.Logs())
		return err
	})
	return plogotlp.NewExportResponse(), err
}

// grpc runs one call with what all have in common.
func (r *Receiver) grpc(ctx context.Context, method string, size int64, take func() error) error {
	r.n.requests.Add(1)
	if r.o.Auth != nil {
		if err := r.o.Auth(asHTTP(ctx, method)); err != nil {
			r.n.unauthorized.Add(1)
			return status.Error(codes.Unauthenticated, "not authorized")
		}
	}
	err := r.enter(size)
	if err == nil {
		err = func() error {
			defer r.leave(size)
			return guarded(take)
		}()
	}
	if err == nil {
		return nil
	}
	if m, ok := errors.AsType[malformed](err); ok {
		r.n.malformed.Add(1)
		return status.Error(codes.InvalidArgument, clip(m.Error(), 200))
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return status.Error(codes.Canceled, "canceled")
	}
	r.n.busy.Add(1)
	b := busy(err)
	code := codes.ResourceExhausted
	if b.Down {
		code = codes.Unavailable
	}
	st := status.New(code, b.Error())
	if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(b.RetryAfter)}); err == nil {
		st = with
	}
	return st.Err()
}

// asHTTP shows a call to Options.Auth.
func asHTTP(ctx context.Context, method string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, method, http.NoBody)
	if err != nil {
		req = (&http.Request{Method: http.MethodPost, Header: http.Header{}}).WithContext(ctx)
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		for name, values := range md {
			for _, v := range values {
				req.Header.Add(name, v)
			}
		}
	}
	return req
}
