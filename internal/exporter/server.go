package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
)

// handler returns the handler of all routes. The context is the process's.
func (s *supervisor[C]) handler(ctx context.Context, o options, gatherers prometheus.Gatherer) (http.Handler, error) {
	mux := http.NewServeMux()
	// Stronger compression took half of the time of a scrape.
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	mux.Handle(o.metricsPath, compressed(promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{s.logger},
		// A source with an invalid metric must not suppress the metrics of the others.
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            s.self.registry,
		MaxRequestsInFlight: o.maxRequests,
		EnableOpenMetrics:   true, // the only text format with exemplars
		DisableCompression:  true, // the wrapper compresses
	})))
	mux.HandleFunc("/-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, "Healthy")
	})
	mux.HandleFunc("/-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.current.Load().ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		answer(w, "Ready")
	})
	mux.HandleFunc("/-/reload", func(w http.ResponseWriter, r *http.Request) { s.serveReload(ctx, w, r) })

	if o.pprof {
		// Index serves the profiles that have no handler of their own.
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}

	landing, err := s.landingPage(o)
	if err != nil {
		return nil, fmt.Errorf("make the landing page: %w", err)
	}
	if o.metricsPath != "/" {
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			if h, pattern := s.current.Load().mux.Handler(r); pattern != "" {
				h.ServeHTTP(w, r)
				return
			}
			landing.ServeHTTP(w, r)
		})
	}
	return http.MaxBytesHandler(lifecycle(mux, o.lifecycle), s.spec.MaxRequestBytes), nil
}

// lifecycle rejects requests to /-/ that change something, including the instance's own routes, unless a flag enables them, as
// Prometheus does. It always rejects requests that another site makes a browser send. Basic auth or mTLS of --web.config.file applies
// to these paths as to all others.
func lifecycle(next http.Handler, enabled bool) http.Handler {
	csrf := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions; {
		case safe || !strings.HasPrefix(r.URL.Path, "/-/"):
		case !enabled:
			http.Error(w, "The lifecycle API is not enabled; start the program with --web.enable-lifecycle, or send it SIGHUP to reload.", http.StatusForbidden)
			return
		case csrf.Check(r) != nil:
			http.Error(w, "This request comes from another site.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serveReload reloads. It answers 503 while another reload runs.
func (s *supervisor[C]) serveReload(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.Header().Set("Allow", "POST, PUT")
		http.Error(w, "This endpoint requires a POST or PUT request.", http.StatusMethodNotAllowed)
		return
	}
	if !s.mu.TryLock() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "Another reload is under way.", http.StatusServiceUnavailable)
		return
	}
	defer s.mu.Unlock()
	if err := s.reload(ctx); err != nil {
		http.Error(w, fmt.Sprintf("Reload failed: %v", err), http.StatusInternalServerError)
		return
	}
	answer(w, "Reloaded")
}

// answer writes to a client. An error means that the client is gone, and is ignored.
func answer(w io.Writer, text string) { _, _ = fmt.Fprintln(w, text) }

func (s *supervisor[C]) landingPage(o options) (http.Handler, error) {
	return web.NewLandingPage(web.LandingConfig{
		Name:        s.spec.Name,
		Description: s.spec.Description,
		Version:     version.Info(),
		Profiling:   strconv.FormatBool(o.pprof),
		Links: append([]web.LandingLinks{
			{Address: o.metricsPath, Text: "Metrics"},
			{Address: "/-/healthy", Text: "Health"},
			{Address: "/-/ready", Text: "Readiness"},
		}, s.spec.Links...),
	})
}

// scrapeLog logs promhttp's errors. One error may have a line for each metric.
type scrapeLog struct{ logger *slog.Logger }

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) {
	for _, part := range v {
		var many prometheus.MultiError
		if err, ok := part.(error); ok && errors.As(err, &many) {
			l.logger.Error("Some metrics could not be exposed", "errors", len(many), "first", many[0])
			return
		}
	}
	l.logger.Error("Metrics could not be exposed", "err", fmt.Sprint(v...))
}
