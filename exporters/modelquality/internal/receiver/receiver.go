// Package receiver receives OTLP over gRPC and HTTP.
//
// Input: export requests of traces and logs in protobuf or JSON, compressed or not, from clients that the web configuration admits. Output:
// the requests as protobuf to a Handler, and the response that OTLP defines, which tells the client whether to retry. State: the sockets,
// and a limit on concurrent requests.
package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// Signal is the type of telemetry in a request.
type Signal string

// Signals. Metrics are received and ignored, because an SDK with one endpoint sends all three signals to it.
const (
	Traces  Signal = "traces"
	Logs    Signal = "logs"
	Metrics Signal = "metrics"
)

// Handler processes requests.
type Handler interface {
	// Export processes one request in protobuf. It must not keep the body, or strings of it without a copy. otlp.ErrMalformed means that
	// the request is invalid. After any other error the client is asked to retry.
	Export(ctx context.Context, signal Signal, body []byte) (Answer, error)
}

// Answer is the result of a request.
type Answer struct {
	// Refused is the number of invalid items. A retry would not help.
	Refused int64
	Reason  string
}

// Options configure a Receiver.
type Options struct {
	// GRPCAddress and HTTPAddress are listen addresses; an empty one is not used.
	GRPCAddress, HTTPAddress string
	// WebConfigFile is the file of --web.config.file with TLS and users; it may be empty.
	WebConfigFile string
	// MaxRequestBytes limits the size of a request, both compressed and uncompressed.
	MaxRequestBytes int64
	// MaxJSONMemory limits the memory of all JSON requests that are decoded at the same time, in bytes.
	MaxJSONMemory int64
	// MaxRequests limits the requests that are processed at the same time.
	MaxRequests int
	// Patience limits the time until a request has arrived, and the time that it waits for a slot.
	Patience Timeouts
	Logger   *slog.Logger
}

// Timeouts has the timeouts of the receiver.
type Timeouts struct{ Arrival, Queue time.Duration }

// DefaultPatience is ten seconds for the arrival and one second for a slot.
var DefaultPatience = Timeouts{10 * time.Second, time.Second}

// Receiver is a server for both protocols.
type Receiver struct {
	Options
	handler Handler
	guard   *guard
	slots   chan struct{}
	json    *semaphore.Weighted // of MaxJSONMemory
	bodies  sync.Pool

	requests *prometheus.Desc
	metrics  sync.Once // logs once that metrics are ignored
	mu       sync.Mutex
	counts   map[count]int64

	grpcListener, httpListener net.Listener
	grpc                       *grpc.Server
	http                       *http.Server
}

var _ prometheus.Collector = (*Receiver)(nil)

type count struct {
	signal           Signal
	protocol, result string
}

// Declare declares the metrics of a Receiver in the reference.
func Declare(c *catalogue.Catalogue) *prometheus.Desc {
	return c.Counter("sightglass_otlp_requests_total", "OTLP requests by result.", "signal", "protocol", "result")
}

// BindError means that the exporter cannot listen on an address.
type BindError struct {
	Protocol string // grpc or http
	Err      error
}

func (e *BindError) Error() string { return "receive OTLP: " + e.Err.Error() }

// Unwrap returns the system's error.
func (e *BindError) Unwrap() error { return e.Err }

// New checks the options and listens on the addresses. The caller must call Serve or Close.
func New(o Options, h Handler) (*Receiver, error) {
	if o.MaxRequestBytes <= 0 || o.MaxJSONMemory <= 0 || o.MaxRequests <= 0 || o.Logger == nil || h == nil {
		return nil, errors.New("a receiver needs a handler, a logger and limits above 0")
	}
	if o.Patience == (Timeouts{}) {
		o.Patience = DefaultPatience
	}
	g, err := newGuard(o.WebConfigFile, o.Logger)
	if err != nil {
		return nil, err
	}
	r := &Receiver{
		Options: o, handler: h, guard: g, slots: make(chan struct{}, o.MaxRequests), json: semaphore.NewWeighted(o.MaxJSONMemory),
		requests: Declare(new(catalogue.Catalogue)), counts: make(map[count]int64),
	}
	for _, l := range []struct {
		protocol, address string
		to                *net.Listener
	}{{"grpc", o.GRPCAddress, &r.grpcListener}, {"http", o.HTTPAddress, &r.httpListener}} {
		if l.address == "" {
			continue
		}
		if *l.to, err = new(net.ListenConfig).Listen(context.Background(), "tcp", l.address); err != nil {
			return nil, errors.Join(&BindError{l.protocol, err}, r.Close())
		}
	}
	r.grpc, r.http = r.newGRPC(), r.newHTTP()
	return r, nil
}

// Addresses returns the listen addresses, for tests with port 0.
func (r *Receiver) Addresses() (grpcAddress, httpAddress string) {
	if r.grpcListener != nil {
		grpcAddress = r.grpcListener.Addr().String()
	}
	if r.httpListener != nil {
		httpAddress = r.httpListener.Addr().String()
	}
	return grpcAddress, httpAddress
}

// Serve handles requests until ctx ends and all requests in progress are answered.
func (r *Receiver) Serve(ctx context.Context) {
	var servers sync.WaitGroup
	if r.grpcListener != nil {
		r.Logger.Info("Receiving OTLP", "tls", r.guard.tls, "protocol", "grpc", "address", r.grpcListener.Addr())
		servers.Go(func() {
			if err := r.grpc.Serve(r.grpcListener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				r.Logger.Error("No longer receiving OTLP", "protocol", "grpc", "err", err)
			}
		})
	}
	if r.httpListener != nil {
		r.Logger.Info("Receiving OTLP", "tls", r.guard.tls, "protocol", "http", "address", r.httpListener.Addr())
		servers.Go(func() {
			if err := r.serveHTTP(); err != nil && !errors.Is(err, http.ErrServerClosed) {
				r.Logger.Error("No longer receiving OTLP", "protocol", "http", "err", err)
			}
		})
	}
	<-ctx.Done()
	const grace = 1500 * time.Millisecond // less than the runtime's limit
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.grpc.GracefulStop()
	}()
	if err := r.http.Shutdown(late); err != nil {
		_ = r.http.Close()
	}
	select {
	case <-stopped:
	case <-late.Done():
		r.grpc.Stop()
		<-stopped
	}
	servers.Wait()
}

// Close closes the sockets if Serve was never called.
func (r *Receiver) Close() error {
	var errs []error
	for _, l := range []net.Listener{r.grpcListener, r.httpListener} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// refusal is why a request was refused, for both protocols.
type refusal struct {
	result  string // value of the label result
	code    codes.Code
	status  int // HTTP status
	message string
	retry   time.Duration // retry after this time; 0 means never
}

func (r *refusal) Error() string { return r.message }

func refuse(result string, code codes.Code, status int, format string, args ...any) *refusal {
	// Some messages quote the client's text, which may be invalid UTF-8.
	message := strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD")
	return &refusal{result: result, code: code, status: status, message: message}
}

// retryAfter is the time after which a client may retry if no slot was free.
const retryAfter = time.Second

// acquire waits for a slot.
func (r *Receiver) acquire(ctx context.Context) (release func(), no *refusal) {
	timer := time.NewTimer(r.Patience.Queue)
	defer timer.Stop()
	select {
	case r.slots <- struct{}{}:
		return func() { <-r.slots }, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, busy("%d requests are being taken, the most at a time", r.MaxRequests)
}

func busy(format string, args ...any) *refusal {
	no := refuse("busy", codes.ResourceExhausted, http.StatusTooManyRequests, format, args...)
	no.retry = retryAfter
	return no
}

type clientKey struct{}

// Client returns the client of a handler's request: the user, otherwise the first DNS name or the common name of its certificate. It is
// empty without authentication.
func Client(ctx context.Context) string {
	name, _ := ctx.Value(clientKey{}).(string)
	return name
}

// withClient adds the client to the context of an admitted request.
func withClient(ctx context.Context, authorization string, connection *tls.ConnectionState) context.Context {
	name := ""
	if user, _, ok := (&http.Request{Header: http.Header{"Authorization": {authorization}}}).BasicAuth(); ok {
		name = user
	} else if connection != nil && len(connection.VerifiedChains) > 0 {
		c := connection.PeerCertificates[0]
		name = c.Subject.CommonName
		if len(c.DNSNames) > 0 {
			name = c.DNSNames[0]
		}
	}
	return context.WithValue(ctx, clientKey{}, name)
}

func unavailable(message string) *refusal {
	no := refuse("unavailable", codes.Unavailable, http.StatusServiceUnavailable, "%s", message)
	no.retry = 5 * retryAfter
	return no
}

// admit authenticates a request. This happens before it waits for a slot, so that only admitted clients use slots.
func (r *Receiver) admit(ctx context.Context, authorization string) *refusal {
	if l := r.guard.limiter; l != nil && !l.Allow() {
		return busy("more requests than the rate limit of the web configuration")
	}
	ok, err := r.guard.admits(ctx, authorization, r.Patience.Queue)
	switch {
	case errors.Is(err, errBusy):
		return busy("%v", err)
	case err != nil:
		// A client that gets "wrong password" would discard its spans.
		return unavailable("the web configuration cannot be read now")
	case !ok:
		return refuse("unauthenticated", codes.Unauthenticated, http.StatusUnauthorized, "unknown user or wrong password")
	}
	return nil
}

// export passes a request to the handler.
func (r *Receiver) export(ctx context.Context, signal Signal, body []byte) (answer Answer, no *refusal) {
	defer func() {
		if p := recover(); p != nil {
			// A panic of one request must not end the process.
			r.Logger.Error("A request made the exporter panic", "signal", signal, "panic", p)
			no = refuse("failed", codes.Internal, http.StatusInternalServerError, "the request could not be processed")
		}
	}()
	if signal == Metrics {
		r.metrics.Do(func() {
			r.Logger.Info("OTLP metrics are accepted and ignored: only spans and log records are read; OTEL_METRICS_EXPORTER=none in the service saves sending them")
		})
		return Answer{}, nil
	}
	answer, err := r.handler.Export(ctx, signal, body)
	switch {
	case errors.Is(err, otlp.ErrMalformed):
		return answer, refuse("malformed", codes.InvalidArgument, http.StatusBadRequest, "%v", err)
	case err != nil:
		r.Logger.Warn("A request was not taken", "signal", signal, "err", err)
		return answer, unavailable("the request cannot be processed now")
	}
	return answer, nil
}

// counted counts a request by its result.
func (r *Receiver) counted(signal Signal, protocol string, answer Answer, no *refusal) {
	result := "ok"
	switch {
	case no != nil:
		result = no.result
	case answer.Refused > 0:
		result = "partial"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[count{signal, protocol, result}]++
}

// Describe implements prometheus.Collector.
func (r *Receiver) Describe(ch chan<- *prometheus.Desc) { ch <- r.requests }

// Collect implements prometheus.Collector.
func (r *Receiver) Collect(ch chan<- prometheus.Metric) {
	var m exporter.Metrics
	r.mu.Lock()
	for c, n := range r.counts {
		m.Counter(r.requests, float64(n), string(c.signal), c.protocol, c.result)
	}
	r.mu.Unlock()
	for _, metric := range m {
		ch <- metric
	}
}
