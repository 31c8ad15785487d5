package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
	"github.com/sightglass-ml/sightglass/internal/memory"
)

// Exit codes of a binary.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// Run is the main function of a binary. It runs spec until SIGINT or SIGTERM and returns the exit code. A second signal ends the
// process immediately.
func Run[C any](spec Spec[C], args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := memory.Follow(); err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: cannot follow the container's memory limit: %v\n", spec.Name, err)
	}
	return RunContext(ctx, spec, args, stdout, stderr)
}

// RunContext is Run, but stops when ctx ends.
func RunContext[C any](ctx context.Context, spec Spec[C], args []string, stdout, stderr io.Writer) int {
	spec, err := spec.complete()
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "exporter:", err)
		return exitUsage
	}
	o, code, done := parse(spec, args, stdout, stderr)
	if done {
		return code
	}
	if o.check {
		return check(spec, o, stdout, stderr)
	}
	logger := promslog.New(o.log)
	if err := run(ctx, spec, o, logger); err != nil {
		logger.Error("Stopped by an error", "err", err)
		return exitError
	}
	return exitOK
}

// options are the command-line options.
type options struct {
	configFile  string
	check       bool
	metricsPath string
	maxRequests int
	lifecycle   bool
	pprof       bool
	web         *web.FlagConfig
	log         *promslog.Config
}

// parse reads the command line. done means that the process should exit with code: after --help, --version or a usage error.
func parse[C any](spec Spec[C], args []string, stdout, stderr io.Writer) (o options, code int, done bool) {
	app := kingpin.New(spec.Name, spec.Description).UsageWriter(stdout).ErrorWriter(stderr)
	// kingpin would exit the process here. The first status is kept instead.
	app.Terminate(func(status int) {
		if !done {
			code, done = status, true
		}
	})
	fail := func(err error) (options, int, bool) {
		_, _ = fmt.Fprintf(stderr, "%s: error: %v; see --help\n", spec.Name, err)
		return o, exitUsage, true
	}
	app.HelpFlag.Short('h')
	app.Version(version.Print(spec.Name))
	o.log = &promslog.Config{Writer: stderr}
	app.Flag("config.file", "Path of the configuration file.").StringVar(&o.configFile)
	app.Flag("config.check", "Check the configuration, the file of --web.config.file included, and exit.").BoolVar(&o.check)
	app.Flag("web.telemetry-path", "Path under which to expose metrics.").Default("/metrics").StringVar(&o.metricsPath)
	app.Flag("web.max-requests", "Scrapes served at the same time; more are answered with 503. 0 is no limit.").Default("40").IntVar(&o.maxRequests)
	app.Flag("web.enable-lifecycle", "Take requests that reload the configuration or let go of what the program holds.").BoolVar(&o.lifecycle)
	app.Flag("web.enable-pprof", "Serve profiles of the program itself below /debug/pprof/.").BoolVar(&o.pprof)
	o.web = kingpinflag.AddFlags(app, spec.DefaultAddress)
	promslogflag.AddFlags(app, o.log)
	if spec.Flags != nil {
		spec.Flags(app)
	}

	_, err := app.Parse(args)
	switch {
	case done:
		return o, code, true
	case err != nil:
		return fail(err)
	case o.configFile == "" && !spec.ConfigOptional:
		return fail(errors.New("--config.file is required"))
	case o.maxRequests < 0:
		return fail(errors.New("--web.max-requests must not be negative"))
	case !validMetricsPath(o.metricsPath):
		return fail(fmt.Errorf("--web.telemetry-path %q must start with a slash, outside /-/, and be a plain path", o.metricsPath))
	}
	return o, exitOK, false
}

// validMetricsPath rejects paths that http.ServeMux would panic on or treat as a pattern, and the runtime's own paths.
func validMetricsPath(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && !strings.HasPrefix(p, "/-/") &&
		!strings.ContainsFunc(p, func(r rune) bool {
			return strings.ContainsRune("{}?#%", r) || !unicode.IsGraphic(r) || unicode.IsSpace(r)
		})
}

func check[C any](spec Spec[C], o options, stdout, stderr io.Writer) int {
	cfg, err := spec.Load(o.configFile)
	for _, n := range notesOf(cfg) {
		if n.Later && err == nil {
			_, _ = fmt.Fprintf(stderr, "warning: %v\n", n.Error)
		}
	}
	if err == nil {
		err = failing(cfg)
	}
	if webErr := web.Validate(*o.web.WebConfigFile); webErr != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w", *o.web.WebConfigFile, webErr))
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitError
	}
	file := o.configFile
	if file == "" {
		file = "the default configuration"
	}
	_, _ = fmt.Fprintf(stdout, "OK: %s is valid\n", file)
	return exitOK
}

// run runs the process after its command line was parsed.
func run[C any](ctx context.Context, spec Spec[C], o options, logger *slog.Logger) error {
	logger.Info("Starting", "exporter", spec.Name, "version", version.Info(), "build_context", version.BuildContext())
	if err := web.Validate(*o.web.WebConfigFile); err != nil {
		return fmt.Errorf("%s: %w", *o.web.WebConfigFile, err)
	}
	// Registered first, because a SIGHUP while the first instance starts would otherwise end the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	self := newSelfMetrics(spec.Name)
	otelRegistry := prometheus.NewRegistry()
	tel, err := telemetry.Start(ctx, telemetry.Options{
		Service: spec.Name, Version: version.Version, Logger: logger,
		Registerer: otelRegistry, Self: self.registry,
	})
	if err != nil {
		return err
	}
	defer func() {
		flush, cancel := after(ctx, spec.StopTimeout)
		defer cancel()
		if err := tel.Shutdown(flush); err != nil {
			logger.Warn("The last telemetry may be lost", "err", err)
		}
	}()

	s := &supervisor[C]{spec: spec, path: o.configFile, logger: logger, tel: tel, self: self}
	if err := s.start(ctx); errors.Is(err, errStoppedEarly) {
		logger.Info("Stopping", "reason", err)
		return nil
	} else if err != nil {
		return err
	}
	defer s.close(ctx)
	self.registry.MustRegister(s.status())
	data := prometheus.NewRegistry()
	data.MustRegister(s.instance())
	handler, err := s.handler(ctx, o, gatherers{self.registry, otelRegistry, data, prometheus.GathererFunc(s.prepared)})
	if err != nil {
		return err
	}
	defer s.reloadOn(ctx, hangup)()
	logger.Info("Serving", "addresses", strings.Join(*o.web.WebListenAddresses, ","), "metrics", o.metricsPath)
	return serve(ctx, handler, o.web, spec.StopTimeout, logger)
}

// reloadOn reloads at every signal until the returned function is called.
func (s *supervisor[C]) reloadOn(ctx context.Context, hangup chan os.Signal) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangup {
			s.mu.Lock()
			_ = s.reload(ctx) // the error is logged and published
			s.mu.Unlock()
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(hangup)
		late, cancel := after(ctx, s.spec.StopTimeout)
		defer cancel()
		select {
		case <-done:
		case <-late.Done():
			s.logger.Warn("A reload did not end in time and was left behind")
		}
	}
}

// serve answers HTTP requests until ctx ends, and then waits at most patience for the requests in progress.
func serve(ctx context.Context, handler http.Handler, flags *web.FlagConfig, patience time.Duration, logger *slog.Logger) error {
	server := &http.Server{
		Handler: handler,
		// Scrapes and reloads are small and fast. A slow client must not keep a connection.
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- web.ListenAndServe(server, flags, logger) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP at --web.listen-address=%s: %w", strings.Join(*flags.WebListenAddresses, ","), err)
	case <-ctx.Done():
	}
	logger.Info("Stopping")
	grace, cancel := after(ctx, patience)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		logger.Warn("Requests were cut off", "err", err)
		_ = server.Close()
	}
	if err := <-failed; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// after returns a context with a timeout for the work that remains after ctx has ended.
func after(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}
