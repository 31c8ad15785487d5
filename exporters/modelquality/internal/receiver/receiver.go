// Package receiver takes OTLP over gRPC and HTTP.
//
// Input: export requests of traces and logs: protobuf or JSON, compressed or not, from whoever the web configuration
// lets in. Output: the same requests as protobuf, to a Handler, and to the client the answer that OTLP asks for: what
// can be repeated is told apart from what cannot. The Receiver owns the sockets and bounds what is taken at a time.
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

// Signal is what a request is about.
type Signal string

// The signals. Metrics are taken and ignored: an SDK that is told one endpoint sends all three there.
const (
	Traces  Signal = "traces"
	Logs    Signal = "logs"
	Metrics Signal = "metrics"
)

// Handler takes requests.
type Handler interface {
	// Export takes one request in protobuf. It must not keep the body, nor strings made of it without a copy. An error
	// that is otlp.ErrMalformed is the client's; after any other one the client is asked to send the request again.
	Export(ctx context.Context, signal Signal, body []byte) (Answer, error)
}

// Answer says what became of a request's items.
type Answer struct {
	// Refused items make no sense, and sending them again would not change that.
	Refused int64
	Reason  string
}

// Options say where and how much to receive.
type Options struct {
	// GRPCAddress and HTTPAddress are listened on; one that is empty is not.
	GRPCAddress, HTTPAddress string
	// WebConfigFile is the file of --web.config.file, which has TLS and users; it may be empty.
	WebConfigFile string
	// MaxRequestBytes bounds a request, compressed and not.
	MaxRequestBytes int64
	// MaxJSONMemory bounds what all requests in JSON take together while they are decoded, in bytes.
	MaxJSONMemory int64
	// MaxRequests are taken at the same time.
	MaxRequests int
	// Patience is how long a request may take to arrive, and how long one waits for its turn.
	Patience Patience
	Logger   *slog.Logger
}

// Patience are the times that the receiver waits.
type Patience struct{ Arrival, Turn time.Duration }

// DefaultPatience is ten seconds to arrive and one to wait.
var DefaultPatience = Patience{10 * time.Second, time.Second}

// Receiver is a server for both protocols.
type Receiver struct {
	Options
	handler Handler
	guard   *guard
	slots   chan struct{}
	json    *semaphore.Weighted // of MaxJSONMemory
	bodies  sync.Pool

	requests *prometheus.Desc
	metrics  sync.Once // says that they are ignored
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
	return c.Counter("sightglass_otlp_requests_total", "OTLP requests by what became of them.", "signal", "protocol", "result")
}

// BindError says that an address cannot be listened on.
type BindError struct {
	Protocol string // grpc or http
	Err      error
}

func (e *BindError) Error() string { return "receive OTLP: " + e.Err.Error() }

// Unwrap returns what the system said.
func (e *BindError) Unwrap() error { return e.Err }

// New checks the options and binds the addresses. Serve must follow, or Close.
func New(o Options, h Handler) (*Receiver, error) {
	if o.MaxRequestBytes <= 0 || o.MaxJSONMemory <= 0 || o.MaxRequests <= 0 || o.Logger == nil || h == nil {
		return nil, errors.New("a receiver needs a handler, a logger and limits above 0")
	}
	if o.Patience == (Patience{}) {
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

// Addresses are those that are listened on, for tests that bound port 0.
func (r *Receiver) Addresses() (grpcAddress, httpAddress string) {
	if r.grpcListener != nil {
		grpcAddress = r.grpcListener.Addr().String()
	}
	if r.httpListener != nil {
		httpAddress = r.httpListener.Addr().String()
	}
	return grpcAddress, httpAddress
}

// Serve takes requests until ctx ends and those under way have been answered.
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
	const grace = 1500 * time.Millisecond // within the time that the runtime gives
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

// Close gives the addresses back if Serve was never called.
func (r *Receiver) Close() error {
	var errs []error
	for _, l := range []net.Listener{r.grpcListener, r.httpListener} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// refusal is why a request was not taken, in the words of both protocols.
type refusal struct {
	result  string // of the metric
	code    codes.Code
	status  int // of HTTP
	message string
	retry   time.Duration // after which to send it again; 0 is never
}

func (r *refusal) Error() string { return r.message }

func refuse(result string, code codes.Code, status int, format string, args ...any) *refusal {
	// Some messages quote what the client sent, which may be anything.
	message := strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD")
	return &refusal{result: result, code: code, status: status, message: message}
}

// retryAfter is when a request that was not its turn may come again.
const retryAfter = time.Second

// acquire waits for a turn.
func (r *Receiver) acquire(ctx context.Context) (release func(), no *refusal) {
	timer := time.NewTimer(r.Patience.Turn)
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

// Client is who sent the request that a handler is given: the user, or else the first name or the common name of its
// certificate; empty if nobody is asked.
func Client(ctx context.Context) string {
	name, _ := ctx.Value(clientKey{}).(string)
	return name
}

// as tells the handler who sent a request. Whoever comes here was let in.
func as(ctx context.Context, authorization string, connection *tls.ConnectionState) context.Context {
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

// admit lets a request in. It comes before the turns, which belong to those who may come in.
func (r *Receiver) admit(ctx context.Context, authorization string) *refusal {
	if l := r.guard.limiter; l != nil && !l.Allow() {
		return busy("more requests than the rate limit of the web configuration")
	}
	ok, err := r.guard.admits(ctx, authorization, r.Patience.Turn)
	switch {
	case errors.Is(err, errBusy):
		return busy("%v", err)
	case err != nil:
		// A client that was told that its password is wrong would throw its spans away.
		return unavailable("the web configuration cannot be read now")
	case !ok:
		return refuse("unauthenticated", codes.Unauthenticated, http.StatusUnauthorized, "unknown user or wrong password")
	}
	return nil
}

// export hands a request to the handler.
func (r *Receiver) export(ctx context.Context, signal Signal, body []byte) (answer Answer, no *refusal) {
	defer func() {
		if p := recover(); p != nil {
			// One request must not end the process for all others.
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

// counted counts a request by what became of it.
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
