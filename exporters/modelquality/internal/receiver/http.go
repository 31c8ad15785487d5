package receiver

import (
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	typeProto = "application/x-protobuf"
	typeJSON  = "application/json"
)

func (r *Receiver) newHTTP() *http.Server {
	routes, protocols := r.Routes(), []string{"h2", "http/1.1"}
	var next map[string]func(*http.Server, *tls.Conn, http.Handler)
	if !r.guard.http2 {
		// A non-nil empty map disables HTTP/2 in net/http.
		protocols, next = protocols[1:], make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r.guard.headers(w.Header())
			routes.ServeHTTP(w, req)
		}),
		TLSConfig:         r.guard.tlsConfig(protocols...),
		TLSNextProto:      next,
		ReadHeaderTimeout: r.Patience.Arrival,
		ReadTimeout:       r.Patience.Arrival + r.Patience.Queue,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(r.Logger.Handler(), slog.LevelDebug),
	}
}

func (r *Receiver) serveHTTP() error {
	if r.http.TLSConfig != nil {
		return r.http.ServeTLS(r.httpListener, "", "")
	}
	return r.http.Serve(r.httpListener)
}

// Routes returns the handler of OTLP over HTTP.
func (r *Receiver) Routes() http.Handler {
	mux := http.NewServeMux()
	for signal, path := range map[Signal]string{Traces: "/v1/traces", Logs: "/v1/logs", Metrics: "/v1/metrics"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) { r.serveRequest(signal, w, req) })
	}
	return mux
}

func (r *Receiver) serveRequest(signal Signal, w http.ResponseWriter, req *http.Request) {
	encoding, answer, no := r.take(signal, w, req)
	r.counted(signal, "http", answer, no)
	if err := respond(w, signal, encoding, answer, no); err != nil {
		r.Logger.Debug("An answer did not arrive", "signal", signal, "err", err)
	}
}

// take also returns the encoding, which the answer must have too.
func (r *Receiver) take(signal Signal, w http.ResponseWriter, req *http.Request) (string, Answer, *refusal) {
	encoding, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	switch {
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return "", Answer{}, refuse("unsupported", codes.Unimplemented, http.StatusMethodNotAllowed, "method %s, expected POST", req.Method)
	case err != nil || encoding != typeProto && encoding != typeJSON:
		return "", Answer{}, refuse("unsupported", codes.InvalidArgument, http.StatusUnsupportedMediaType,
			"content type %q, expected %s or %s", req.Header.Get("Content-Type"), typeProto, typeJSON)
	}
	if no := r.admit(req.Context(), req.Header.Get("Authorization")); no != nil {
		if no.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Basic")
		}
		return encoding, Answer{}, no
	}
	release, no := r.acquire(req.Context())
	if no != nil {
		return encoding, Answer{}, no
	}
	defer release()
	buffer := r.buffer()
	defer r.recycle(buffer)
	if no := r.read(w, req, buffer); no != nil {
		return encoding, Answer{}, no
	}
	body := *buffer
	if encoding == typeJSON && signal != Metrics {
		if body, no = r.fromJSON(req.Context(), signal, body); no != nil {
			return encoding, Answer{}, no
		}
	}
	answer, no := r.export(withClient(req.Context(), req.Header.Get("Authorization"), req.TLS), signal, body)
	return encoding, answer, no
}

// buffer and recycle reuse the memory of bodies, except that of very large ones.
func (r *Receiver) buffer() *[]byte {
	if b, ok := r.bodies.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (r *Receiver) recycle(b *[]byte) {
	if cap(*b) <= 1<<20 {
		*b = (*b)[:0]
		r.bodies.Put(b)
	}
}

// read reads and decompresses the body.
func (r *Receiver) read(w http.ResponseWriter, req *http.Request, into *[]byte) *refusal {
	// MaxBytesReader also closes the connection when the limit is exceeded.
	var body io.Reader = http.MaxBytesReader(w, req.Body, r.MaxRequestBytes)
	switch encoding := req.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return unreadable(err)
		}
		body = z
	default:
		w.Header().Set("Accept-Encoding", "gzip")
		return refuse("unsupported", codes.InvalidArgument, http.StatusUnsupportedMediaType, "content encoding %q, expected gzip or none", encoding)
	}
	limited := io.LimitReader(body, r.MaxRequestBytes+1)
	data := (*into)[:0]
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := limited.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unreadable(err)
		}
	}
	*into = data
	if int64(len(data)) > r.MaxRequestBytes {
		return tooLarge(r.MaxRequestBytes)
	}
	return nil
}

func tooLarge(limit int64) *refusal {
	return refuse("too_large", codes.ResourceExhausted, http.StatusRequestEntityTooLarge, "the request has more than %d bytes; send smaller batches, limit attributes with OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, or raise otlp.max_request_bytes", limit)
}

func unreadable(err error) *refusal {
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return tooLarge(big.Limit)
	}
	return refuse("cut_off", codes.InvalidArgument, http.StatusBadRequest, "the body cannot be read: %v", err)
}

// respond answers in the encoding of the request.
func respond(w http.ResponseWriter, signal Signal, encoding string, answer Answer, no *refusal) error {
	var body []byte
	var err error
	code := http.StatusOK
	switch {
	case no != nil:
		code = no.status
		if no.retry > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(no.retry/time.Second)))
		}
		problem := status.New(no.code, no.message).Proto()
		if encoding == typeProto {
			body, err = proto.Marshal(problem)
		} else {
			encoding = typeJSON
			body, err = protojson.Marshal(problem)
		}
	case encoding == typeJSON && answer.Refused == 0:
		body = []byte("{}")
	case encoding == typeJSON && signal == Logs:
		body, err = logsAnswer(answer).MarshalJSON()
	case encoding == typeJSON:
		body, err = tracesAnswer(answer).MarshalJSON()
	default:
		body, err = answerProto(signal, answer)
	}
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return err
	}
	w.Header().Set("Content-Type", encoding)
	w.WriteHeader(code)
	_, err = w.Write(body)
	return err
}
