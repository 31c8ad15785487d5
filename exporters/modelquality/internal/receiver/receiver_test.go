package receiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// handler answers as the test wants, or decodes.
type handler func(ctx context.Context, signal Signal, body []byte) (Answer, error)

func (h handler) Export(ctx context.Context, signal Signal, body []byte) (Answer, error) {
	return h(ctx, signal, body)
}

type ignore struct{}

func (ignore) Resource([]otlp.Attribute) {}
func (ignore) Span(*otlp.Span)           {}
func (ignore) Record(*otlp.Record)       {}

// decode takes what can be read.
func decode(_ context.Context, signal Signal, body []byte) (Answer, error) {
	if signal == Logs {
		return Answer{}, new(otlp.Decoder).Logs(body, ignore{})
	}
	return Answer{}, new(otlp.Decoder).Traces(body, ignore{})
}

type server struct {
	*Receiver
	t          testing.TB
	grpc, http string
}

func serve(t testing.TB, h handler, change func(*Options)) *server {
	t.Helper()
	o := Options{GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", MaxRequestBytes: 64 << 10, MaxJSONMemory: 64 << 20, MaxRequests: 2, Logger: promslog.NewNopLogger()}
	if change != nil {
		change(&o)
	}
	r, err := New(o, h)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Serve(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	s := &server{Receiver: r, t: t}
	s.grpc, s.http = r.Addresses()
	return s
}

func oneSpan() ptraceotlp.ExportRequest {
	t := ptrace.NewTraces()
	t.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("predict")
	return ptraceotlp.NewExportRequestFromTraces(t)
}

func oneRecord() plogotlp.ExportRequest {
	l := plog.NewLogs()
	l.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().SetEventName("e")
	return plogotlp.NewExportRequestFromLogs(l)
}

func must(t testing.TB) func(b []byte, err error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		require.NoError(t, err)
		return b
	}
}

func (s *server) post(method, path, contentType string, body io.Reader, headers ...string) (answered, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.http+path, body)
	require.NoError(s.t, err)
	req.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return answered{res.StatusCode, res.Header, res.Proto}, answer
}

// answered is a response without its body.
type answered struct {
	StatusCode int
	Header     http.Header
	Proto      string
}

func (s *server) dial() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, conn.Close()) })
	return conn
}

func (s *server) requireCounted(protocol, result string, signal Signal) {
	s.t.Helper()
	line := `sightglass_otlp_requests_total{protocol="` + protocol + `",result="` + result + `",signal="` + string(signal) + `"} 1`
	require.Contains(s.t, exportertest.Gather(s.t, s.Receiver), line)
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestHTTPAnswersInTheEncodingOfTheRequest(t *testing.T) {
	partial := handler(func(context.Context, Signal, []byte) (Answer, error) {
		return Answer{Refused: 2, Reason: "no times"}, nil
	})
	for name, tc := range map[string]struct {
		handler           handler
		path, contentType string
		body              []byte
		headers           []string
		want              string
		result            string
		signal            Signal
	}{
		"spans in protobuf":             {decode, "/v1/traces", typeProto, must(t)(oneSpan().MarshalProto()), nil, "", "ok", Traces},
		"spans in protobuf, compressed": {decode, "/v1/traces", typeProto, zip(t, must(t)(oneSpan().MarshalProto())), []string{"Content-Encoding", "gzip"}, "", "ok", Traces},
		"spans in JSON":                 {decode, "/v1/traces", "application/json; charset=utf-8", must(t)(oneSpan().MarshalJSON()), nil, `{}`, "ok", Traces},
		"records in protobuf":           {decode, "/v1/logs", typeProto, must(t)(oneRecord().MarshalProto()), nil, "", "ok", Logs},
		"records in JSON":               {decode, "/v1/logs", typeJSON, must(t)(oneRecord().MarshalJSON()), nil, `{}`, "ok", Logs},
		"some spans refused":            {partial, "/v1/traces", typeJSON, []byte(`{}`), nil, `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no times"}}`, "partial", Traces},
		"some records refused":          {partial, "/v1/logs", typeJSON, []byte(`{}`), nil, `{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no times"}}`, "partial", Logs},
		"nothing":                       {decode, "/v1/traces", typeProto, nil, nil, "", "ok", Traces},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.handler, nil)
			res, body := s.post(http.MethodPost, tc.path, tc.contentType, bytes.NewReader(tc.body), tc.headers...)
			require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
			require.Contains(t, tc.contentType, res.Header.Get("Content-Type"))
			if strings.HasPrefix(tc.contentType, typeJSON) {
				require.JSONEq(t, tc.want, string(body))
			} else {
				require.Empty(t, body)
			}
			s.requireCounted("http", tc.result, tc.signal)
		})
	}
}

func TestHTTPRefusesAsOTLPSays(t *testing.T) {
	span := must(t)(oneSpan().MarshalProto())
	down := handler(func(context.Context, Signal, []byte) (Answer, error) {
		return Answer{}, errors.New("disk full: /secret")
	})
	broken := handler(func(context.Context, Signal, []byte) (Answer, error) { panic("bug") })
	for name, tc := range map[string]struct {
		handler             handler
		method, contentType string
		body                []byte
		encoding            string
		status              int
		code                codes.Code
		message             string
		retry               string
		result              string
	}{
		"malformed protobuf":          {decode, http.MethodPost, typeProto, []byte("hello"), "", 400, codes.InvalidArgument, "malformed OTLP", "", "malformed"},
		"malformed JSON":              {decode, http.MethodPost, typeJSON, []byte("hello"), "", 400, codes.InvalidArgument, "malformed OTLP", "", "malformed"},
		"another content type":        {decode, http.MethodPost, "text/plain", span, "", 415, codes.InvalidArgument, `content type "text/plain", expected`, "", "unsupported"},
		"another compression":         {decode, http.MethodPost, typeProto, span, "br", 415, codes.InvalidArgument, `content encoding "br"`, "", "unsupported"},
		"not compressed as it says":   {decode, http.MethodPost, typeProto, span, "gzip", 400, codes.InvalidArgument, "the body cannot be read", "", "cut_off"},
		"compression cut off":         {decode, http.MethodPost, typeProto, zip(t, span)[:15], "gzip", 400, codes.InvalidArgument, "the body cannot be read", "", "cut_off"},
		"too large":                   {decode, http.MethodPost, typeProto, make([]byte, 64<<10+1), "", 413, codes.ResourceExhausted, "more than 65536 bytes", "", "too_large"},
		"too large once decompressed": {decode, http.MethodPost, typeProto, zip(t, make([]byte, 10<<20)), "gzip", 413, codes.ResourceExhausted, "more than 65536 bytes", "", "too_large"},
		"another method":              {decode, http.MethodPut, typeProto, span, "", 405, codes.Unimplemented, "expected POST", "", "unsupported"},
		"the exporter cannot keep it": {down, http.MethodPost, typeProto, span, "", 503, codes.Unavailable, "cannot be processed now", "5", "unavailable"},
		"a bug of the exporter":       {broken, http.MethodPost, typeProto, span, "", 500, codes.Internal, "could not be processed", "", "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.handler, nil)
			res, body := s.post(tc.method, "/v1/traces", tc.contentType, bytes.NewReader(tc.body), "Content-Encoding", tc.encoding)
			require.Equal(t, tc.status, res.StatusCode, "%s", body)
			require.Equal(t, tc.retry, res.Header.Get("Retry-After"))
			var problem spb.Status
			if res.Header.Get("Content-Type") == typeProto {
				require.NoError(t, proto.Unmarshal(body, &problem))
			} else {
				require.Contains(t, res.Header.Get("Content-Type"), typeJSON)
				require.NoError(t, protojson.Unmarshal(body, &problem))
			}
			require.Equal(t, int32(tc.code), problem.Code)
			require.Contains(t, problem.Message, tc.message)
			require.NotContains(t, problem.Message, "secret")
			s.requireCounted("http", tc.result, Traces)
		})
	}
}

func TestGRPCTakesBothSignals(t *testing.T) {
	var got []Signal
	s := serve(t, func(ctx context.Context, signal Signal, body []byte) (Answer, error) {
		got = append(got, signal)
		if _, err := decode(ctx, signal, body); err != nil {
			return Answer{}, err
		}
		return Answer{Refused: int64(len(got)), Reason: "some"}, nil
	}, nil)
	conn := s.dial()
	spans, err := ptraceotlp.NewGRPCClient(conn).Export(t.Context(), oneSpan(), grpc.UseCompressor("gzip"))
	require.NoError(t, err)
	require.EqualValues(t, 1, spans.PartialSuccess().RejectedSpans())
	records, err := plogotlp.NewGRPCClient(conn).Export(t.Context(), oneRecord())
	require.NoError(t, err)
	require.EqualValues(t, 2, records.PartialSuccess().RejectedLogRecords())
	require.Equal(t, "some", records.PartialSuccess().ErrorMessage())
	require.Equal(t, []Signal{Traces, Logs}, got)
	s.requireCounted("grpc", "partial", Traces)
}

func TestGRPCRefusesAsOTLPSays(t *testing.T) {
	large := ptrace.NewTraces()
	large.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName(strings.Repeat("x", 64<<10))
	for name, tc := range map[string]struct {
		handler handler
		request ptraceotlp.ExportRequest
		code    codes.Code
		result  string
		retry   time.Duration
	}{
		"malformed":                   {func(context.Context, Signal, []byte) (Answer, error) { return Answer{}, otlp.ErrMalformed }, oneSpan(), codes.InvalidArgument, "malformed", 0},
		"too large":                   {decode, ptraceotlp.NewExportRequestFromTraces(large), codes.ResourceExhausted, "too_large", 0},
		"the exporter cannot keep it": {func(context.Context, Signal, []byte) (Answer, error) { return Answer{}, errors.New("disk full") }, oneSpan(), codes.Unavailable, "unavailable", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.handler, nil)
			_, err := ptraceotlp.NewGRPCClient(s.dial()).Export(t.Context(), tc.request)
			require.Equal(t, tc.code, status.Code(err), "%v", err)
			require.Equal(t, tc.retry, retryDelay(err))
			s.requireCounted("grpc", tc.result, Traces)
		})
	}
}

// retryDelay is when to send a request again, 0 if never.
func retryDelay(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.RetryDelay.AsDuration()
		}
	}
	return 0
}

func TestRequestAboveTheConcurrencyLimitIsRetryable(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	s := serve(t, func(context.Context, Signal, []byte) (Answer, error) {
		started <- struct{}{}
		<-release
		return Answer{}, nil
	}, func(o *Options) { o.MaxRequests, o.Patience = 1, Timeouts{10 * time.Second, 10 * time.Millisecond} })
	first := make(chan int)
	go func() {
		res, _ := s.post(http.MethodPost, "/v1/traces", typeProto, http.NoBody)
		first <- res.StatusCode
	}()
	<-started
	res, _ := s.post(http.MethodPost, "/v1/traces", typeProto, http.NoBody)
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.Equal(t, "1", res.Header.Get("Retry-After"))
	_, err := ptraceotlp.NewGRPCClient(s.dial()).Export(t.Context(), oneSpan())
	require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
	require.Equal(t, time.Second, retryDelay(err))
	close(release)
	require.Equal(t, http.StatusOK, <-first)
	s.requireCounted("http", "busy", Traces)
	s.requireCounted("grpc", "busy", Traces)
}

func TestStalledRequestIsCutOff(t *testing.T) {
	s := serve(t, decode, func(o *Options) { o.MaxRequests, o.Patience = 1, Timeouts{50 * time.Millisecond, 20 * time.Second} })
	t.Run("http", func(t *testing.T) {
		conn, err := net.Dial("tcp", s.http)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		_, err = io.WriteString(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nx")
		require.NoError(t, err)
	})
	t.Run("grpc", func(t *testing.T) {
		stream, err := s.dial().NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
		require.NoError(t, err)
		require.Equal(t, codes.DeadlineExceeded, status.Code(stream.RecvMsg(new(spb.Status))))
		s.requireCounted("grpc", "cut_off", Traces)
	})
	res, body := s.post(http.MethodPost, "/v1/logs", typeProto, http.NoBody)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
}

func TestUsersOfTheWebConfiguration(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, []byte("basic_auth_users: {scorer: '"+string(hash)+"'}\n"), 0o600))
	s := serve(t, decode, func(o *Options) { o.WebConfigFile = file })
	client := ptraceotlp.NewGRPCClient(s.dial())
	for credentials, admitted := range map[string]bool{"scorer:right": true, "scorer:wrong": false, "nobody:right": false, "scorer:": false, "": false} {
		for range 2 { // the second time from the cache
			header := "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
			if credentials == "" {
				header = "Bearer x"
			}
			res, _ := s.post(http.MethodPost, "/v1/traces", typeProto, http.NoBody, "Authorization", header)
			_, err := client.Export(metadata.AppendToOutgoingContext(t.Context(), "authorization", header), oneSpan())
			if admitted {
				require.Equal(t, http.StatusOK, res.StatusCode)
				require.NoError(t, err)
			} else {
				require.Equal(t, http.StatusUnauthorized, res.StatusCode)
				require.Equal(t, codes.Unauthenticated, status.Code(err))
			}
		}
	}
	require.Contains(t, exportertest.Gather(t, s.Receiver), `sightglass_otlp_requests_total{protocol="grpc",result="unauthenticated",signal="traces"} 8`)

	_, err = New(Options{WebConfigFile: file + ".missing", MaxRequestBytes: 1, MaxJSONMemory: 1, MaxRequests: 1, Logger: promslog.NewNopLogger()}, handler(decode))
	require.ErrorContains(t, err, "no such file")
}

func TestAddressInUseIsAnError(t *testing.T) {
	s := serve(t, decode, nil)
	_, err := New(Options{GRPCAddress: s.http, MaxRequestBytes: 1, MaxJSONMemory: 1, MaxRequests: 1, Logger: promslog.NewNopLogger()}, handler(decode))
	require.ErrorContains(t, err, "receive OTLP: listen tcp")
}
