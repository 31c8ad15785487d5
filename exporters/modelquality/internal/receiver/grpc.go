package receiver

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // Registers itself as a compression that clients may use.
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// newGRPC creates the server. The services are declared as streams with one message in each direction. The bytes on the wire are the same,
// but a stream handler can wait for its slot before it reads the message.
func (r *Receiver) newGRPC() *grpc.Server {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(raw{}),
		grpc.MaxRecvMsgSize(int(r.MaxRequestBytes)),
		grpc.MaxConcurrentStreams(uint32(r.MaxRequests)),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.ConnectionTimeout(r.Patience.Arrival),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: 10 * time.Minute,
			// Without a maximum age, clients would never connect to a new replica.
			MaxConnectionAge: 10 * time.Minute, MaxConnectionAgeGrace: time.Minute,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if t := r.guard.tlsConfig("h2"); t != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(t)))
	}
	s := grpc.NewServer(options...)
	for signal, service := range map[Signal]string{
		Traces:  "opentelemetry.proto.collector.trace.v1.TraceService",
		Logs:    "opentelemetry.proto.collector.logs.v1.LogsService",
		Metrics: "opentelemetry.proto.collector.metrics.v1.MetricsService",
	} {
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: service,
			HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{
				StreamName: "Export",
				Handler:    func(_ any, stream grpc.ServerStream) error { return r.serveStream(signal, stream) },
			}},
		}, nil)
	}
	return s
}

// frame is an encoded message.
type frame struct{ buffer mem.Buffer }

// raw is the codec that does not decode messages.
type raw struct{}

// Name implements encoding.CodecV2.
func (raw) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("%T, expected a frame", v)
	}
	return mem.BufferSlice{f.buffer}, nil
}

// Unmarshal implements encoding.CodecV2.
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("%T, expected a frame", v)
	}
	f.buffer = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

func (r *Receiver) serveStream(signal Signal, stream grpc.ServerStream) error {
	answer, no := r.receive(signal, stream)
	r.counted(signal, "grpc", answer, no)
	if no != nil {
		s := status.New(no.code, no.message)
		if no.retry > 0 {
			if detailed, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(no.retry)}); err == nil {
				s = detailed
			}
		}
		return s.Err()
	}
	body, err := answerProto(signal, answer)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return stream.SendMsg(&frame{mem.SliceBuffer(body)})
}

func (r *Receiver) receive(signal Signal, stream grpc.ServerStream) (Answer, *refusal) {
	ctx := stream.Context()
	var authorization string
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		authorization = values[0]
	}
	if no := r.admit(ctx, authorization); no != nil {
		return Answer{}, no
	}
	release, no := r.acquire(ctx)
	if no != nil {
		return Answer{}, no
	}
	defer release()
	f, no := r.arrival(stream)
	if no != nil {
		return Answer{}, no
	}
	defer f.buffer.Free()
	var connection *tls.ConnectionState
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			connection = &info.State
		}
	}
	return r.export(withClient(ctx, authorization, connection), signal, f.buffer.ReadOnlyData())
}

// arrival reads the message of a stream with a timeout. gRPC has none, so a client that stops sending would occupy its slot.
func (r *Receiver) arrival(stream grpc.ServerStream) (*frame, *refusal) {
	type result struct {
		frame *frame
		err   error
	}
	done := make(chan result, 1)
	go func() {
		f := new(frame)
		done <- result{f, stream.RecvMsg(f)}
	}()
	timer := time.NewTimer(r.Patience.Arrival)
	defer timer.Stop()
	select {
	case got := <-done:
		if got.err == nil {
			return got.frame, nil
		}
		switch s := status.Convert(got.err); s.Code() {
		case codes.ResourceExhausted:
			return nil, refuse("too_large", codes.ResourceExhausted, http.StatusRequestEntityTooLarge, "%s", s.Message())
		case codes.Canceled, codes.DeadlineExceeded:
			return nil, refuse("cut_off", s.Code(), http.StatusBadRequest, "%s", s.Message())
		default:
			return nil, refuse("malformed", codes.InvalidArgument, http.StatusBadRequest, "%s", s.Message())
		}
	case <-timer.C: // RecvMsg returns when the stream has ended
	}
	return nil, refuse("cut_off", codes.DeadlineExceeded, http.StatusRequestTimeout, "the request did not arrive within %s", r.Patience.Arrival)
}

// answerProto returns the response of an export in protobuf. The response of a full success must not have the field partial_success, but
// pdata writes it even if it is empty.
func answerProto(signal Signal, a Answer) ([]byte, error) {
	if a.Refused == 0 {
		return nil, nil
	}
	if signal == Logs {
		return logsAnswer(a).MarshalProto()
	}
	return tracesAnswer(a).MarshalProto()
}

func tracesAnswer(a Answer) ptraceotlp.ExportResponse {
	response := ptraceotlp.NewExportResponse()
	response.PartialSuccess().SetRejectedSpans(a.Refused)
	response.PartialSuccess().SetErrorMessage(a.Reason)
	return response
}

func logsAnswer(a Answer) plogotlp.ExportResponse {
	response := plogotlp.NewExportResponse()
	response.PartialSuccess().SetRejectedLogRecords(a.Refused)
	response.PartialSuccess().SetErrorMessage(a.Reason)
	return response
}
